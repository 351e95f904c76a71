//! What servers outside are shown: from a Secret of the Application's namespace
//! for those that it names, from files for those that the operator named.

use std::path::{Path, PathBuf};

use super::{
    poller::CredentialStore as _,
    shared::{Secrets, Shared},
};
use crate::notify::{Access, Key, Target};

/// A server that the operator named.
#[derive(Debug, Clone)]
pub struct OperatorServer {
    /// Where it is.
    pub target: Target,
    /// The file with the key that signs what is sent.
    pub key_file: Option<PathBuf>,
    /// The file with the token that it is shown.
    pub token_file: Option<PathBuf>,
    /// The file with the authorities that are trusted.
    pub ca_file: Option<PathBuf>,
}

impl OperatorServer {
    /// What it is shown. The files are read each time: what is in them may be
    /// renewed at any time.
    pub(super) async fn access(&self) -> Result<Access, String> {
        let mut access = Access::default();
        if let Some(file) = &self.token_file {
            access = access.with_token(&read(file).await?).map_err(|why| of_file(file, &why))?;
        }
        if let Some(file) = &self.ca_file {
            access = access.with_authorities(&read(file).await?).map_err(|why| of_file(file, &why))?;
        }
        if let Some(file) = &self.key_file {
            access = access.with_key(Key::read(&read(file).await?).map_err(|why| of_file(file, &why))?);
        }
        Ok(access)
    }
}

/// What the Secret of an Application has for a server.
pub(super) async fn access_of(shared: &Shared, namespace: &str, name: &str) -> Result<Access, String> {
    let said = |why: String| format!("Secret {namespace}/{name}: {why}");
    let data = Secrets(shared.store.clone()).secret(namespace, name).await.map_err(said)?;
    Access::from_secret(&data).map_err(|why| said(why.to_string()))
}

async fn read(file: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(file).await.map_err(|error| of_file(file, &error))
}

fn of_file(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("the file {} cannot be used: {why}", file.display())
}
