//! A webhook, as GitLab sends it after a push.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use serde_json::json;

use super::Result;
use crate::Outcome;

/// Where the secret is, and where webhooks are received.
#[derive(Debug)]
pub(super) struct Hook {
    address: String,
    secret: String,
}

impl Hook {
    /// Makes a secret in a directory, for `--hooks-secrets`.
    pub(super) fn write_secret(directory: &Path) -> Result<String> {
        let mut random = [0_u8; 24];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("gitlab"), &secret)?;
        Ok(secret)
    }

    pub(super) fn new(address: String, secret: String) -> Self {
        Self { address, secret }
    }

    /// Tells of a push to a repository.
    pub(super) fn announce(&self, repository: &str) -> Outcome {
        let body = json!({"object_kind": "push", "project": {"git_http_url": repository}}).to_string();
        let head = format!(
            "POST /hooks/gitlab HTTP/1.1\r\nHost: bowline\r\nConnection: close\r\nContent-Type: application/json\r\n\
             X-Gitlab-Event: Push Hook\r\nX-Gitlab-Token: {}\r\nContent-Length: {}\r\n\r\n",
            self.secret,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 202") {
            return Ok(());
        }
        Err(format!("the webhook was not taken: {}", answer.lines().next().unwrap_or_default()).into())
    }
}
