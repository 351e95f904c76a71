//! Reading the API server's audit log: who asked for what.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{At, Result};

/// The audit log of a cluster. It has every request but the control plane's
/// own. A request is written when its answer is complete, a watch when it begins.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// One request, as the API server saw it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The same for all lines of one request.
    #[serde(rename = "auditID")]
    pub id: String,
    /// `get`, `list`, `watch`, `create`, `patch` and so on.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// The client's name for itself.
    #[serde(default)]
    pub user_agent: String,
    /// Who asked.
    pub user: User,
    /// Whom the request was made as, if it impersonated somebody.
    pub impersonated_user: Option<User>,
    /// What it was about; absent for `/healthz`, discovery and the like.
    pub object_ref: Option<ObjectRef>,
    /// The answer; absent while a watch runs.
    pub response_status: Option<ResponseStatus>,
    /// When the request came, as RFC 3339 with microseconds.
    pub request_received_timestamp: String,
}

/// A user of the audit log.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// The full name, such as `system:serviceaccount:shop:bowline-deployer`.
    #[serde(default)]
    pub username: String,
    /// The groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What a request was about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// The plural, such as `deployments`.
    pub resource: String,
    /// The subresource, or nothing.
    pub subresource: String,
    /// The API group, or nothing for the core.
    pub api_group: String,
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name, or nothing for lists and watches.
    pub name: String,
}

/// The answer to a request.
#[derive(Debug, Clone, Deserialize)]
pub struct ResponseStatus {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        AuditLog { path }
    }

    /// The file, one JSON object a line.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The end of the log as it is now, for [`AuditLog::since`].
    pub fn mark(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path).at("read", &self.path)?.len())
    }

    /// The requests after the mark, in the order of their first line, each once.
    pub fn since(&self, mark: u64) -> Result<Vec<Request>> {
        let mut file = File::open(&self.path).at("open", &self.path)?;
        file.seek(SeekFrom::Start(mark)).at("read", &self.path)?;
        let mut requests: Vec<Request> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for line in BufReader::new(file).lines() {
            let line = line.at("read", &self.path)?;
            // The last line may be in the middle of being written.
            let Ok(request) = serde_json::from_str::<Request>(&line) else {
                continue;
            };
            match seen.get(&request.id) {
                // The later line of a watch has the final status.
                Some(&index) => requests[index] = request,
                None => {
                    seen.insert(request.id.clone(), requests.len());
                    requests.push(request);
                }
            }
        }
        Ok(requests)
    }

    /// The requests after the mark of the clients whose name for themselves begins so.
    pub fn by_user_agent(&self, mark: u64, prefix: &str) -> Result<Vec<Request>> {
        let mut requests = self.since(mark)?;
        requests.retain(|request| request.user_agent.starts_with(prefix));
        Ok(requests)
    }
}
