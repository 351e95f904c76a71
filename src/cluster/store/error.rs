//! What goes wrong when Bowline's own resources are written or read.

use crate::history::{bundles::BundleError, inventory::InventoryError};

/// Why one of Bowline's own resources could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server did not answer in time. Whether it carried out a write
    /// is not known.
    #[error("cannot {what}: the API server did not answer within {seconds} seconds")]
    TimedOut {
        /// What was tried: `create Release team-a/shop-3`.
        what: String,
        /// How long it had.
        seconds: u64,
    },
    /// The API server refused.
    #[error("cannot {what}: {message}")]
    Refused {
        /// What was tried.
        what: String,
        /// HTTP status code.
        code: u16,
        /// The server's reason, for example `Forbidden`.
        reason: String,
        /// What it said.
        message: String,
    },
    /// The API server could not be reached, or broke off.
    #[error("cannot {what}: the API server cannot be reached")]
    Unreachable {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// What is in the cluster is not what its type says.
    #[error("cannot {what}: what is stored cannot be read")]
    Unreadable {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is no such object.
    #[error("{0} does not exist")]
    Absent(String),
    /// A release has ended already: its outcome is written once.
    #[error("release {0} has ended already")]
    Ended(u64),
    /// The release of this number is another one: somebody else made it first.
    #[error("release {0} was made by somebody else")]
    LostRace(u64),
    /// A bundle cannot be put together.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// An inventory cannot be put together.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl StoreError {
    pub(super) fn of(what: String, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                Self::Refused { what, code: status.code, reason: status.reason, message: status.message }
            }
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Unreadable { what, source: Box::new(error) },
            other => Self::Unreachable { what, source: Box::new(other) },
        }
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Absent(_)) || matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether an object of this name exists already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason == "AlreadyExists")
    }

    /// Whether the object has been changed or replaced since it was read.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. }) && !self.is_already_exists()
    }

    /// Whether somebody else was faster: what is known must be read again.
    pub fn is_lost_race(&self) -> bool {
        matches!(self, Self::LostRace(_) | Self::Ended(_)) || self.is_conflict()
    }

    /// Whether the server does not let the controller do it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 401 | 403, .. })
    }

    /// Whether the same request may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Unreachable { .. } => true,
            // A too large object is a 500 of the storage, and stays too large.
            Self::Refused { code, message, .. } => {
                matches!(code, 429 | 500..=599) && !message.contains("request is too large")
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> StoreError {
        StoreError::Refused { what: "create X".into(), code, reason: reason.into(), message: message.into() }
    }

    #[rstest]
    #[case::absent(refused(404, "NotFound", ""), "not found")]
    #[case::exists(refused(409, "AlreadyExists", ""), "exists")]
    #[case::changed(refused(409, "Conflict", ""), "conflict")]
    #[case::no_right(refused(403, "Forbidden", ""), "forbidden")]
    #[case::busy(refused(429, "TooManyRequests", ""), "transient")]
    #[case::overloaded(refused(503, "", ""), "transient")]
    #[case::too_large(refused(500, "", "etcdserver: request is too large"), "")]
    #[case::invalid(refused(422, "Invalid", ""), "")]
    #[case::no_answer(StoreError::TimedOut { what: "x".into(), seconds: 10 }, "transient")]
    #[case::another_made_it(StoreError::LostRace(3), "lost race")]
    fn an_error_says_what_it_calls_for(#[case] error: StoreError, #[case] expected: &str) {
        let said = [
            (error.is_not_found(), "not found"),
            (error.is_already_exists(), "exists"),
            (error.is_conflict(), "conflict"),
            (error.is_forbidden(), "forbidden"),
            (error.is_transient(), "transient"),
            (error.is_lost_race() && !error.is_conflict(), "lost race"),
        ];
        let said: Vec<&str> = said.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        assert_eq!(said.join(" "), expected);
    }
}
