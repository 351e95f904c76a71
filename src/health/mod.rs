//! Object → health, with its reason.
//!
//! Pure: the object comes in as JSON, what is known of its pods and events
//! comes in beside it, and a verdict goes out. Nothing here asks a server.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The health of an object or an application, a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HealthStatus {
    /// Does what it is for.
    Healthy,
    /// Paused on purpose.
    Suspended,
    /// Could not be read, or its rule failed.
    Unknown,
    /// Not yet, and may get there by itself.
    Progressing,
    /// Should exist and does not.
    Missing,
    /// Failed, or will not get there by itself.
    Degraded,
}

impl HealthStatus {
    /// Whether a release that has this object may be Healthy: Healthy,
    /// Suspended or Unknown.
    pub fn lets_a_release_be_healthy(self) -> bool {
        matches!(self, Self::Healthy | Self::Suspended | Self::Unknown)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Unknown => "Unknown",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Why, for a person: empty where a healthy object needs no words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Health {
    /// A verdict with a reason.
    pub fn new(status: HealthStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// Healthy, with nothing to say.
    pub fn healthy() -> Self {
        Self { status: HealthStatus::Healthy, reason: String::new() }
    }
}
