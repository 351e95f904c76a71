//! What can go wrong between us and an API server.

mod answer;
mod secrets;

use std::{path::PathBuf, time::Duration};

pub use answer::{from_answer, is_field_manager_conflict, lacks_dry_run};
use thiserror::Error;

use crate::plan::ServerError;

/// A request that did not end well, with the time the server asks us to wait.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", describe(.error))]
pub struct RequestError {
    /// What the server said, masked.
    pub error: ServerError,
    /// How long it wants us to wait, from `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The kind that the error is about, plural and lower case, where the
    /// server named one: `namespaces` when an object's namespace is absent.
    pub about: Option<Box<About>>,
}

/// What an error of the server is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The plural, lower case kind as the server names it, for example `namespaces`.
    pub kind: String,
    /// The name, for example of the namespace.
    pub name: String,
}

impl RequestError {
    /// An error without an answer: no connection, or no answer in time.
    pub fn no_answer(reason: &str, message: impl Into<String>) -> Self {
        let error = ServerError {
            code: 0,
            reason: reason.to_owned(),
            message: message.into(),
            fields: Vec::new(),
            transient: true,
        };
        Self { error, retry_after: None, about: None }
    }

    /// A request that cannot be made from what we were given.
    pub fn unsendable(message: impl Into<String>) -> Self {
        let error = ServerError {
            code: 0,
            reason: "Invalid".into(),
            message: message.into(),
            fields: Vec::new(),
            transient: false,
        };
        Self { error, retry_after: None, about: None }
    }

    /// Whether there is no such object, namespace or kind.
    pub fn is_not_found(&self) -> bool {
        self.error.code == 404
    }

    /// The namespace that does not exist, where that is what the error says.
    pub fn absent_namespace(&self) -> Option<&str> {
        let about = self.about.as_ref()?;
        (self.error.code == 404 && about.kind == "namespaces").then_some(about.name.as_str())
    }

    /// Whether the path itself is not served: the answer is plain text and
    /// names no object.
    pub fn is_absent_path(&self) -> bool {
        self.error.code == 404 && self.about.is_none()
    }

    /// Whether another write came first, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.error.code == 409
    }

    /// Whether the same request is worth sending again at once, after a pause.
    /// A webhook that is out of reach is not: it comes back in its own time.
    pub fn is_worth_a_retry(&self) -> bool {
        self.error.transient
            && matches!(self.error.code, 0 | 429 | 500 | 502 | 503 | 504)
            && !self.error.message.contains("failed calling webhook")
    }
}

impl From<RequestError> for ServerError {
    fn from(error: RequestError) -> Self {
        error.error
    }
}

fn describe(error: &ServerError) -> String {
    match (error.code, error.reason.is_empty()) {
        (0, _) => error.message.clone(),
        (code, true) => format!("{} ({code})", error.message),
        (code, false) => format!("{} ({code} {})", error.message, error.reason),
    }
}

/// Why there is no connection to a cluster.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The kubeconfig file cannot be used.
    #[error("the kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The context of the kubeconfig cannot be used.
    #[error("the context {context} of the kubeconfig cannot be used")]
    Context {
        /// Its name.
        context: String,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Neither a kubeconfig nor a cluster around us was found.
    #[error("no cluster is configured: there is no usable kubeconfig, and this is not a pod")]
    NotConfigured(#[source] Box<kube::config::InferConfigError>),
    /// The user agent is not a header value.
    #[error("the user agent {0:?} is not a valid header value")]
    UserAgent(String),
    /// The configuration names something that no client can be made of.
    #[error("no client can be made for this cluster")]
    Client(#[source] Box<kube::Error>),
    /// A request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl ClusterError {
    /// The reason as conditions, events and metrics carry it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } | Self::Context { .. } | Self::NotConfigured(_) => "InvalidKubeconfig",
            Self::UserAgent(_) | Self::Client(_) => "InvalidConfiguration",
            Self::Request(error) if error.error.code == 0 => "Unreachable",
            Self::Request(error) if error.error.code == 403 => "Forbidden",
            Self::Request(_) => "RequestFailed",
        }
    }
}

/// The whole chain of an error in one line, without the repetitions that
/// arise where a message holds its source's.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    // Sources could form a cycle in a foreign implementation.
    for _ in 0..16 {
        let Some(cause) = source else { break };
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
