//! What can go wrong in the rig, in words that say what to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A result of the rig.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot run `{program}`: is it installed and on the PATH?")]
    Program { program: String, source: std::io::Error },
    #[error("`{command}` failed with {status}:\n{output}")]
    Command { command: String, status: std::process::ExitStatus, output: String },
    #[error("{name} {version} is not built: run `cargo xtask tools`")]
    ToolMissing { name: &'static str, version: String },
    #[error("no tool of the rig is named {0}")]
    ToolUnknown(String),
    #[error("{} does not require {module}, so that its version is unknown", path.display())]
    ToolVersion { path: PathBuf, module: &'static str },
    #[error("{component} ended with {status} before it was ready; the end of its log:\n{log}")]
    ComponentEnded { component: String, status: std::process::ExitStatus, log: String },
    #[error("{what} was not ready within {}s; the end of the log of {component}:\n{log}", limit.as_secs())]
    NotReady { what: String, component: String, limit: Duration, log: String },
    #[error("{name} is not running")]
    NotRunning { name: String },
    #[error("no free port of 127.0.0.1 was found between {first} and {last}")]
    NoPort { first: u16, last: u16 },
    #[error("cannot make a certificate for {subject}")]
    Certificate { subject: String, source: rcgen::Error },
    #[error("a certificate for {user} carries at most {limit} groups")]
    Groups { user: String, limit: usize },
    #[error("TLS set-up failed: {0}")]
    Tls(String),
    #[error("cannot listen on {at}")]
    Listen { at: std::net::SocketAddr, source: std::io::Error },
    #[error("no node can run here: {0}")]
    NoNode(String),
    #[error("request to {url} failed: {reason}")]
    Request { url: String, reason: String },
    #[error(
        "{variable} is not set: run the tests by `cargo xtask test`, or first run `eval $(cargo xtask cluster up)`"
    )]
    NoSharedCluster { variable: &'static str },
    #[error("{} is not what was expected: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error("the thread that starts programs has ended")]
    SpawnerGone,
}

/// Names the path and the action in an I/O error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { action, path: path.to_owned(), source })
    }
}
