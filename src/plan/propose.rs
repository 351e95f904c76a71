//! Which objects may need something done, from what is known without asking.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Candidate, Owned, OwnedObjects, Policy, Proposal, Refusal, RefusalReason, Why};
use crate::manifest::{BundleDigest, Manifest, ObjectId};

/// An application with this many objects or fewer may lose any share of them.
const SMALL: usize = 10;

/// Kinds that moved from one API group to another: objects of the same kind,
/// namespace and name in both are one object.
const MOVED: &[(&str, &str, &str)] = &[
    ("Ingress", "extensions", "networking.k8s.io"),
    ("NetworkPolicy", "extensions", "networking.k8s.io"),
    ("Deployment", "extensions", "apps"),
    ("DaemonSet", "extensions", "apps"),
    ("ReplicaSet", "extensions", "apps"),
    ("PodSecurityPolicy", "extensions", "policy"),
    ("Event", "", "events.k8s.io"),
];

/// Names the objects that may need something done: those that the application
/// does not have, whose manifest changed, of which the last apply's result is
/// not known, that drifted or are gone, and, where the policy prunes, that the
/// bundle no longer has. Objects in `gone` that are Jobs seen complete are done
/// and no candidates.
///
/// The guards are judged here as well; whether a person let them pass is known
/// in [`super::conclude`], where the plan has its digest.
pub fn propose(
    desired: &[Arc<Manifest>],
    bundle: &BundleDigest,
    owned: &OwnedObjects,
    drifted: &BTreeSet<ObjectId>,
    gone: &BTreeSet<ObjectId>,
    policy: &Policy,
) -> Proposal {
    let wanted: BTreeMap<&ObjectId, &Arc<Manifest>> = desired.iter().map(|manifest| (&manifest.id, manifest)).collect();
    let mut candidates = BTreeMap::new();
    let mut unchanged = 0;
    let mut moved = BTreeSet::new();

    for (id, manifest) in &wanted {
        let known = owned.get_key_value(*id).or_else(|| {
            former(id)
                .into_iter()
                .find_map(|old| if wanted.contains_key(&old) { None } else { owned.get_key_value(&old) })
        });
        if let Some((old, _)) = known.filter(|(old, _)| old != id) {
            moved.insert(old.clone());
        }
        let owned = known.map(|(_, owned)| owned);
        let here = known.map(|(id, _)| id);
        let among = |set: &BTreeSet<ObjectId>| set.contains(*id) || here.is_some_and(|here| set.contains(here));
        match why(manifest, owned, among(drifted), among(gone)) {
            Some(why) => {
                let candidate = Candidate {
                    id: (*id).clone(),
                    gvk: manifest.gvk.clone(),
                    desired: Some(Arc::clone(manifest)),
                    owned: owned.cloned(),
                    why,
                };
                candidates.insert((*id).clone(), candidate);
            }
            None => unchanged += 1,
        }
    }

    let mut removed = 0;
    for (id, owned) in owned {
        if wanted.contains_key(id) || moved.contains(id) || !policy.prune {
            continue;
        }
        removed += usize::from(owned.uid.is_some());
        let candidate = Candidate {
            id: id.clone(),
            gvk: owned.gvk.clone(),
            desired: None,
            owned: Some(owned.clone()),
            why: Why::Removed,
        };
        candidates.insert(id.clone(), candidate);
    }

    Proposal {
        bundle: bundle.clone(),
        candidates: candidates.into_values().collect(),
        unchanged,
        objects: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        moved: moved.into_iter().collect(),
        guards: guards(wanted.len(), owned, removed, policy),
    }
}

fn why(manifest: &Manifest, owned: Option<&Owned>, drifted: bool, gone: bool) -> Option<Why> {
    let Some(owned) = owned else { return Some(Why::New) };
    // A digest of another scheme says nothing about the content.
    let Some(digest) = owned.manifest.as_ref().filter(|digest| digest.is_current_scheme()) else {
        return Some(Why::Unconfirmed);
    };
    if *digest != manifest.digest || owned.gvk != manifest.gvk {
        return Some(Why::Changed);
    }
    if owned.done && gone {
        return None;
    }
    let confirmed = owned.uid.is_some() && owned.fingerprint.as_ref().is_some_and(|hash| hash.is_current_scheme());
    if !confirmed {
        return Some(Why::Unconfirmed);
    }
    if gone {
        return Some(Why::Gone);
    }
    drifted.then_some(Why::Drifted)
}

/// The identities that an object had before its kind moved, or has after, where
/// an older manifest is brought back.
fn former(id: &ObjectId) -> Vec<ObjectId> {
    MOVED
        .iter()
        .filter(|(kind, _, _)| *kind == id.kind)
        .filter_map(|(_, old, new)| match id.group.as_str() {
            group if group == *new => Some(*old),
            group if group == *old => Some(*new),
            _ => None,
        })
        .map(|group| ObjectId { group: group.to_owned(), ..id.clone() })
        .collect()
}

fn guards(desired: usize, owned: &OwnedObjects, removed: usize, policy: &Policy) -> Vec<Refusal> {
    let have = owned.values().filter(|owned| owned.uid.is_some()).count();
    let refuse = |reason, message, hint: &str| {
        vec![Refusal { reason, object: None, message, hint: Some(hint.to_owned()), transient: false }]
    };
    if desired == 0 && have > 0 {
        let message = format!("the render has no object and the application has {have}; nothing is deleted");
        return refuse(RefusalReason::EmptyRender, message, "check source.path, render.include and the revision");
    }
    let share = u64::from(policy.max_prune_percent);
    if have > SMALL && removed as u64 * 100 > share * have as u64 {
        let message =
            format!("{removed} of {have} objects would be deleted, more than {share} % (sync.guards.maxPrunePercent)");
        return refuse(RefusalReason::PruneLimit, message, "check that the objects are meant to go");
    }
    Vec::new()
}
