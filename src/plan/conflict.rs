//! Fields that other field managers have: taken, or left to them.

use serde_json::Value;

use super::{
    ConflictPolicy, DryRun, Policy, Refusal, RefusalReason,
    diff::asked,
    ownership::{TakenField, entries, is_person, taken_fields},
};
use crate::manifest::ObjectId;

/// How many fields are named in one sentence.
const NAMED: usize = 5;

/// What an apply of `body` takes from other field managers: by the server's
/// own answer where there is one, and else by our reading.
pub(super) fn takes(live: &Value, dry_run: &DryRun, body: &Value, manager: &str) -> Vec<TakenField> {
    match dry_run {
        DryRun::Would(result) => taken_fields(live, result, manager),
        DryRun::Error(_) => Vec::new(),
        DryRun::NotTried | DryRun::NotSupported(_) => asked(live, body, manager)
            .into_iter()
            // What is given up is nobody's gain.
            .filter(|change| change.after_at.is_some())
            .filter_map(|change| {
                let at = change.before_at?;
                let mut managers: Vec<String> = entries(live)
                    .filter(|entry| entry.manager != manager && entry.fields.covers(live, &at))
                    .map(|entry| entry.manager.to_owned())
                    .collect();
                managers.sort();
                managers.dedup();
                (!managers.is_empty()).then_some(TakenField { path: change.path, managers })
            })
            .collect(),
    }
}

/// The refusal of an apply that would take fields of other programs, where the
/// policy leaves them to those. What people set by hand is no conflict: it is
/// drift, which has a policy of its own.
pub(super) fn refuse(id: &ObjectId, takes: &[TakenField], policy: &Policy) -> Option<Refusal> {
    if policy.conflicts == ConflictPolicy::Take {
        return None;
    }
    let of_programs: Vec<String> = takes
        .iter()
        .filter_map(|taken| {
            let programs: Vec<&str> = taken
                .managers
                .iter()
                .map(String::as_str)
                .filter(|name| !is_person(name, &policy.hand_managers))
                .collect();
            (!programs.is_empty()).then(|| format!("{} (set by {})", taken.path, programs.join(", ")))
        })
        .collect();
    if of_programs.is_empty() {
        return None;
    }
    Some(Refusal {
        reason: RefusalReason::FieldConflict,
        object: Some(id.clone()),
        message: format!("other field managers have another value of {}", listed(&of_programs)),
        hint: Some(
            "leave the field to them with a rule in sync.ignore, take it out of the manifest, or set sync.conflicts: \
             Take"
                .to_owned(),
        ),
        transient: false,
    })
}

/// `takes spec.replicas from kube-controller-manager`, for the reason of an
/// action.
pub(super) fn words(takes: &[TakenField]) -> Option<String> {
    let texts: Vec<String> = takes.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| format!("takes {}", listed(&texts)))
}

/// The first few, and how many more there are.
pub(super) fn listed<S: AsRef<str>>(texts: &[S]) -> String {
    let named: Vec<&str> = texts.iter().take(NAMED).map(AsRef::as_ref).collect();
    match texts.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
