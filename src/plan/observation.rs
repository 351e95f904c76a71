//! What the server said of a candidate.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::ObjectId;

/// An error of the API server, as far as planning is concerned. Texts are
/// masked already: they never hold the value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// HTTP status code; 0 where there was no answer.
    pub code: u16,
    /// The server's reason, for example `Invalid`, `Forbidden`, `Conflict`.
    pub reason: String,
    /// What it said.
    pub message: String,
    /// Fields that it named: `spec.clusterIP`.
    pub fields: Vec<String>,
    /// Whether the same request may succeed later without a change.
    pub transient: bool,
}

/// The reason of an error that says that a kind could not be found out: it may
/// be served, or not.
pub const KIND_UNKNOWN: &str = "KindUnknown";
impl ServerError {
    /// Whether the server could not serve at all, for now: it says nothing of
    /// what was asked.
    pub fn is_of_the_server(&self) -> bool {
        self.transient && matches!(self.code, 0 | 429 | 502 | 503 | 504)
    }
}

/// The server's answer to the dry-run of a server-side apply.
#[derive(Debug, Clone, PartialEq)]
pub enum DryRun {
    /// What the object would be. Nothing is told of one that would be made:
    /// ten thousand of them would fill the memory with what their manifests
    /// say anyway.
    Would(Box<Value>),
    /// Why it would be refused.
    Error(ServerError),
    /// It was not tried: preflight is off, or nothing would be written.
    NotTried,
    /// This admission webhook has side effects, so that the server does not
    /// let it take part in a dry-run: whether it lets the object through shows
    /// when that is written.
    NotSupported(String),
}

/// What the server said of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// There is no such object.
    Absent {
        /// The dry-run of its creation.
        dry_run: DryRun,
    },
    /// There is one.
    Live {
        /// The whole object.
        object: Box<Value>,
        /// The dry-run of its update.
        dry_run: DryRun,
    },
    /// Its namespace does not exist.
    NamespaceAbsent,
    /// Its kind is not served, and discovery is complete.
    KindAbsent,
    /// It could not be found out: never taken for absence.
    Unreadable(ServerError),
}

impl Observation {
    /// Whether the server could not serve when this was asked.
    pub fn is_for_want_of_a_server(&self) -> bool {
        match self {
            Self::Absent { dry_run: DryRun::Error(error) }
            | Self::Live { dry_run: DryRun::Error(error), .. }
            | Self::Unreadable(error) => error.is_of_the_server(),
            _ => false,
        }
    }
}

/// What the server said, by candidate.
pub type Observations = BTreeMap<ObjectId, Observation>;
