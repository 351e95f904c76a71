//! The name of a plan: what an approval is given for.

use super::{Action, Propagation, Verb};
use crate::manifest::{BundleDigest, Digest, PlanDigest};

/// Hashes what a plan does: actions in the order of identity, uids, desired
/// digests, changes of owned fields and what is dropped. resourceVersions,
/// reasons, stages and consequences in fields of others are no part of it, so
/// that neither a status update nor a namespace that came to be voids an
/// approval.
pub(super) fn plan_digest(bundle: &BundleDigest, actions: &[Action]) -> PlanDigest {
    let mut sorted: Vec<&Action> = actions.iter().collect();
    sorted.sort_by(|left, right| (&left.id, left.verb).cmp(&(&right.id, right.verb)));
    let mut parts = vec![bundle.to_string()];
    for action in sorted {
        parts.push(action.id.key());
        parts.push(action.gvk.api_version());
        parts.push(format!("{:?}", action.verb));
        parts.push(action.precondition.uid.clone().unwrap_or_default());
        parts.push(action.manifest.as_ref().map(ToString::to_string).unwrap_or_default());
        // The digest of the manifest says all about what is made of it.
        let made = action.verb == Verb::Create && action.manifest.is_some();
        let owned: Vec<_> = action.changes.iter().filter(|change| change.owned && !made).collect();
        parts.push(owned.len().to_string());
        for change in owned {
            parts.push(change.path.clone());
            parts.push(change.before.as_ref().map(ToString::to_string).unwrap_or_default());
            parts.push(change.after.as_ref().map(ToString::to_string).unwrap_or_default());
        }
        if action.propagation != Propagation::default() {
            parts.push(action.propagation.as_str().to_owned());
        }
        parts.push(action.drops.len().to_string());
        parts.extend(action.drops.iter().cloned());
    }
    PlanDigest(Digest::of_parts(parts))
}
