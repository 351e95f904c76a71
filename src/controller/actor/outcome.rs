//! What came of a write, in the words of the loop.

use crate::cluster::apply::{NotBegun, Outcome};

/// Whether the object is other than before.
pub(super) fn wrote(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(_) | Outcome::Deleted | Outcome::Deleting { .. })
}

/// Whether the object may be other than before, as far as anybody can tell:
/// without an answer nobody knows what the server did.
pub(super) fn may_have_written(outcome: &Outcome) -> bool {
    wrote(outcome) || matches!(outcome, Outcome::Failed(error) if error.code == 0 || error.code >= 500)
}

/// Whether trying again does not help.
pub(super) fn is_permanent(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(error) if !error.transient)
}

/// What went wrong, for a person.
pub(super) fn message(outcome: &Outcome) -> String {
    let held = |finalizers: &[String]| match finalizers {
        [] => "it is being deleted".to_owned(),
        held => format!("it is being deleted and waits for {}", held.join(", ")),
    };
    match outcome {
        Outcome::Applied(_) | Outcome::Deleted => String::new(),
        Outcome::Deleting { finalizers } | Outcome::Terminating { finalizers } => held(finalizers),
        Outcome::Failed(error) => error.message.clone(),
        Outcome::Stale(error) => format!("it changed since the plan was made: {}", error.message),
        Outcome::NotBegun(NotBegun::EarlierFailure) => "not begun, since an object before it failed".into(),
        Outcome::NotBegun(NotBegun::NoPermit) => "not begun, since this replica does not lead any more".into(),
    }
}
