//! Which objects may need something done, from what is known without asking.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Candidate, HookCandidate, Owned, OwnedObjects, Policy, Proposal, Refusal, RefusalReason, Why,
    schedule::{Hook, HookOccasion, HookPhase, HookRun, Role, Schedule, role},
};
use crate::manifest::{BundleDigest, GroupKind, Manifest, ObjectId, ObjectKey, pairs};

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
    let Roles { members: wanted, hooks, left_out, mut problems } = Roles::of(desired);
    let (schedule, unobeyable) = Schedule::of(wanted.iter().map(|(_, manifest)| manifest.as_ref()));
    problems.extend(unobeyable);
    let is_hook = |id: &ObjectId| hooks.iter().any(|(manifest, _)| manifest.id == *id);
    let mut candidates = Vec::new();
    let mut unchanged = 0;
    let mut moved = BTreeSet::new();
    let mut left_over = Vec::new();

    for pair in pairs(wanted.iter().copied(), owned) {
        let (id, manifest, known) = match pair {
            (Some((id, manifest)), known) => (id, manifest, known.or_else(|| former_of(id, &wanted, owned))),
            (None, Some(known)) => {
                left_over.push(known);
                continue;
            }
            (None, None) => continue,
        };
        if let Some((old, _)) = known.filter(|(old, _)| *old != id) {
            moved.insert(old.clone());
        }
        let owned = known.map(|(_, owned)| owned);
        let here = known.map(|(id, _)| id);
        let among = |set: &BTreeSet<ObjectId>| set.contains(id) || here.is_some_and(|here| set.contains(here));
        match why(manifest, owned, among(drifted), among(gone)) {
            Some(why) => candidates.push(Candidate {
                id: id.clone(),
                gvk: manifest.gvk.clone(),
                desired: Some(Arc::clone(manifest)),
                owned: owned.cloned(),
                why,
            }),
            None => unchanged += 1,
        }
    }

    let mut removed = 0;
    for (id, owned) in left_over {
        // Without pruning, what is gone by itself is still to be forgotten.
        if moved.contains(id) || is_hook(id) || !(policy.prune || gone.contains(id)) {
            continue;
        }
        removed += usize::from(policy.prune && owned.uid.is_some() && !owned.hook);
        candidates.push(Candidate {
            id: id.clone(),
            gvk: owned.gvk.clone(),
            desired: None,
            owned: Some(owned.clone()),
            why: Why::Removed,
        });
    }
    // Two sorted runs, which is next to nothing.
    candidates.sort_by(|one, other| one.id.cmp(&other.id));

    Proposal {
        bundle: bundle.clone(),
        candidates,
        unchanged,
        objects: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        kinds: wanted.iter().filter_map(|(_, manifest)| defines(manifest)).collect(),
        namespaces: wanted.iter().filter(|(id, _)| is_namespace(id)).map(|(id, _)| id.name.clone()).collect(),
        moved: moved.into_iter().collect(),
        guards: guards(wanted.len(), owned, removed, policy),
        hooks: hook_candidates(&hooks, owned, policy),
        schedule,
        problems,
        left_out,
    }
}

/// What is wrong with the order that manifests ask for, whatever the cluster
/// says: for those who look before they push.
pub fn unobeyable(manifests: &[Arc<Manifest>]) -> Vec<Refusal> {
    let Roles { members, mut problems, .. } = Roles::of(manifests);
    problems.extend(Schedule::of(members.iter().map(|(_, manifest)| manifest.as_ref())).1);
    problems
}

/// A manifest that is to be in the cluster, by its identity.
type Member<'a> = (&'a ObjectId, &'a Arc<Manifest>);

/// The manifests of a bundle by what they are to a release.
#[derive(Default)]
struct Roles<'a> {
    /// Sorted by identity, each once.
    members: Vec<Member<'a>>,
    hooks: Vec<(&'a Arc<Manifest>, Hook)>,
    left_out: Vec<(ObjectId, String)>,
    problems: Vec<Refusal>,
}

impl<'a> Roles<'a> {
    fn of(desired: &'a [Arc<Manifest>]) -> Self {
        let mut roles = Self::default();
        roles.members.reserve(desired.len());
        for manifest in desired {
            match role(manifest) {
                Ok(Role::Member) => roles.members.push((&manifest.id, manifest)),
                Ok(Role::Hook(hook)) => roles.hooks.push((manifest, hook)),
                Ok(Role::LeftOut(why)) => roles.left_out.push((manifest.id.clone(), why)),
                // What is meant to be a hook is no member, however it is misspelt.
                Err(refusal) => roles.problems.push(*refusal),
            }
        }
        // A bundle is sorted, and has each object once.
        if !roles.members.is_sorted_by(|(one, _), (other, _)| one < other) {
            let by_id: BTreeMap<_, _> = std::mem::take(&mut roles.members).into_iter().collect();
            roles.members = by_id.into_iter().collect();
        }
        roles
    }
}

/// The hooks that are still to be run, phase by phase in the order of their
/// waves.
fn hook_candidates(hooks: &[(&Arc<Manifest>, Hook)], owned: &OwnedObjects, policy: &Policy) -> Vec<HookCandidate> {
    let Some(runs) = &policy.hooks else { return Vec::new() };
    let mut found = Vec::new();
    for (manifest, hook) in hooks {
        let is_due = match hook.occasion {
            HookOccasion::Every => true,
            HookOccasion::First => runs.first,
            HookOccasion::Later => !runs.first,
        };
        let phases = hook.phases.iter().filter(|phase| (**phase == HookPhase::SyncFailed) == runs.failed);
        for phase in phases.filter(|_| is_due) {
            let run = HookRun { phase: *phase, id: manifest.id.clone() };
            if runs.ended.contains(&run) {
                continue;
            }
            let candidate = Candidate {
                id: manifest.id.clone(),
                gvk: manifest.gvk.clone(),
                desired: Some(Arc::clone(manifest)),
                owned: owned.get(&manifest.id).cloned(),
                why: Why::Hook,
            };
            found.push(HookCandidate { candidate, run, hook: hook.clone(), level: 0 });
        }
    }
    found.sort_by(|one, other| {
        (one.run.phase, one.hook.wave, &one.run.id).cmp(&(other.run.phase, other.hook.wave, &other.run.id))
    });
    let mut before: Option<(HookPhase, i32)> = None;
    let mut level = 0;
    for hook in &mut found {
        let place = (hook.run.phase, hook.hook.wave);
        level = match before {
            Some(before) if before == place => level,
            Some((phase, _)) if phase == place.0 => level + 1,
            _ => 0,
        };
        before = Some(place);
        hook.level = level;
    }
    found
}

fn why(manifest: &Manifest, owned: Option<&Owned>, drifted: bool, gone: bool) -> Option<Why> {
    let Some(owned) = owned else { return Some(Why::New) };
    if owned.hook {
        return Some(Why::Unconfirmed);
    }
    // A digest of another scheme says nothing about the content.
    let Some(digest) = owned.manifest.as_ref().filter(|digest| digest.is_current_scheme()) else {
        return Some(Why::Unconfirmed);
    };
    if *digest != manifest.digest || owned.gvk != manifest.gvk {
        return Some(Why::Changed);
    }
    // A Job that a rollback left alone is recorded as done without ever having
    // been made.
    if owned.done && (gone || owned.uid.is_none()) {
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

pub(super) fn is_namespace(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Namespace"
}

/// The kind that a CustomResourceDefinition defines.
pub(super) fn defines(manifest: &Manifest) -> Option<GroupKind> {
    if manifest.id.group != "apiextensions.k8s.io" || manifest.id.kind != "CustomResourceDefinition" {
        return None;
    }
    let spec = manifest.value.get("spec")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    Some(GroupKind::new(text(spec.get("group"))?, text(spec.get("names")?.get("kind"))?))
}

/// What the application has under an identity that an object had before its
/// kind moved, or has after, unless that one is wanted as well.
fn former_of<'o>(id: &ObjectId, wanted: &[Member<'_>], owned: &'o OwnedObjects) -> Option<(&'o ObjectId, &'o Owned)> {
    let is_wanted = |old: &ObjectId| wanted.binary_search_by(|(known, _)| (*known).cmp(old)).is_ok();
    former(id).into_iter().find_map(|old| if is_wanted(&old) { None } else { owned.get_key_value(&old) })
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
        .map(|group| ObjectId::of(ObjectKey { group: group.to_owned(), ..ObjectKey::clone(id) }))
        .collect()
}

fn guards(desired: usize, owned: &OwnedObjects, removed: usize, policy: &Policy) -> Vec<Refusal> {
    let have = owned.values().filter(|owned| owned.uid.is_some() && !owned.hook).count();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{
        manifest::{Digest, Fingerprint, GroupVersionKind, ManifestDigest},
        plan::testing::{bundle, config_map, manifest, owned, policy},
    };

    fn none() -> BTreeSet<ObjectId> {
        BTreeSet::new()
    }

    fn inventory(manifests: &[Arc<Manifest>]) -> OwnedObjects {
        manifests.iter().map(|manifest| (manifest.id.clone(), owned(manifest))).collect()
    }

    fn many(count: usize) -> Vec<Arc<Manifest>> {
        (0..count).map(|index| config_map(&format!("c{index:03}"), "x")).collect()
    }

    fn foreign(digest: &Digest) -> Digest {
        format!("v0:{}", digest.hex()).parse().unwrap()
    }

    #[rstest]
    #[case::as_it_was(|_: &mut Owned| {}, None)]
    #[case::another_manifest(|o: &mut Owned| o.manifest = Some(ManifestDigest(Digest::of(b"old"))), Some(Why::Changed))]
    #[case::another_version(|o: &mut Owned| o.gvk = GroupVersionKind::new("", "v1beta1", "ConfigMap"), Some(Why::Changed))]
    #[case::only_intended(|o: &mut Owned| o.uid = None, Some(Why::Unconfirmed))]
    #[case::no_manifest(|o: &mut Owned| o.manifest = None, Some(Why::Unconfirmed))]
    #[case::no_fingerprint(|o: &mut Owned| o.fingerprint = None, Some(Why::Unconfirmed))]
    #[case::a_digest_of_another_scheme(
        |o: &mut Owned| o.manifest = o.manifest.take().map(|d| ManifestDigest(foreign(&d))), Some(Why::Unconfirmed))]
    #[case::a_fingerprint_of_another_scheme(
        |o: &mut Owned| o.fingerprint = o.fingerprint.take().map(|d| Fingerprint(foreign(&d))), Some(Why::Unconfirmed))]
    fn an_object_is_a_candidate_for_what_the_inventory_says(#[case] change: fn(&mut Owned), #[case] why: Option<Why>) {
        let desired = [config_map("a", "x")];
        let mut owned = inventory(&desired);
        owned.values_mut().for_each(change);
        let proposal = propose(&desired, &bundle(), &owned, &none(), &none(), &policy());
        assert_eq!(proposal.candidates.first().map(|candidate| candidate.why), why);
        assert_eq!(proposal.unchanged, u32::from(why.is_none()));
    }

    #[test]
    fn new_drifted_gone_and_removed_objects_are_candidates() {
        let desired =
            [config_map("drifted", "x"), config_map("gone", "x"), config_map("new", "x"), config_map("same", "x")];
        let mut owned = inventory(&desired);
        owned.remove(&desired[2].id);
        let removed = config_map("removed", "x");
        owned.extend(inventory(std::slice::from_ref(&removed)));
        let (drifted, gone) = ([desired[0].id.clone()].into(), [desired[1].id.clone()].into());
        let proposal = propose(&desired, &bundle(), &owned, &drifted, &gone, &policy());
        let found: Vec<_> = proposal.candidates.iter().map(|c| (c.id.name.as_str(), c.why)).collect();
        assert_eq!(
            found,
            [("drifted", Why::Drifted), ("gone", Why::Gone), ("new", Why::New), ("removed", Why::Removed)]
        );
        assert_eq!((proposal.unchanged, proposal.objects), (1, 4));
        assert!(proposal.guards.is_empty());

        let keep = Policy { prune: false, ..policy() };
        let proposal = propose(&desired, &bundle(), &owned, &drifted, &gone, &keep);
        assert!(proposal.candidates.iter().all(|candidate| candidate.why != Why::Removed));
    }

    #[test]
    fn a_job_that_was_seen_complete_is_done_when_it_is_gone() {
        let job = manifest(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "team-a"}}),
        );
        let desired = [Arc::clone(&job)];
        let mut owned = inventory(&desired);
        let gone = [job.id.clone()].into();
        let why = |owned: &OwnedObjects| {
            propose(&desired, &bundle(), owned, &none(), &gone, &policy()).candidates.first().map(|c| c.why)
        };
        assert_eq!(why(&owned), Some(Why::Gone));
        owned.values_mut().for_each(|owned| owned.done = true);
        assert_eq!(why(&owned), None);
        owned.values_mut().for_each(|owned| owned.manifest = Some(ManifestDigest(Digest::of(b"old"))));
        assert_eq!(why(&owned), Some(Why::Changed), "new content is a new run");
    }

    #[rstest]
    #[case::moved("extensions/v1beta1", 1, 1)]
    #[case::another_object("knative.dev/v1", 2, 0)]
    fn a_kind_that_moved_to_another_group_is_the_same_object(
        #[case] old: &str,
        #[case] candidates: usize,
        #[case] moved: usize,
    ) {
        let ingress = |version: &str| {
            manifest(
                json!({"apiVersion": version, "kind": "Ingress", "metadata": {"name": "web", "namespace": "team-a"}}),
            )
        };
        let desired = [ingress("networking.k8s.io/v1")];
        let owned = inventory(&[ingress(old)]);
        let proposal = propose(&desired, &bundle(), &owned, &none(), &none(), &policy());
        assert_eq!((proposal.candidates.len(), proposal.moved.len()), (candidates, moved));
        assert_eq!(proposal.candidates.iter().filter(|c| c.why == Why::Removed).count(), candidates - 1);
    }

    #[rstest]
    #[case::nothing_left(20, 0, Some(RefusalReason::EmptyRender))]
    #[case::nothing_left_of_one(1, 0, Some(RefusalReason::EmptyRender))]
    #[case::more_than_half(20, 9, Some(RefusalReason::PruneLimit))]
    #[case::just_half(20, 10, None)]
    #[case::a_small_application(10, 1, None)]
    #[case::eleven_are_not_small(11, 1, Some(RefusalReason::PruneLimit))]
    #[case::nothing_yet(0, 0, None)]
    fn guards_refuse_deletion_by_accident(
        #[case] have: usize,
        #[case] keep: usize,
        #[case] expected: Option<RefusalReason>,
    ) {
        let all = many(have);
        let proposal = propose(&all[..keep], &bundle(), &inventory(&all), &none(), &none(), &policy());
        assert_eq!(proposal.guards.first().map(|refusal| refusal.reason), expected);
    }

    #[test]
    fn what_is_looked_at_stays_packed_in_memory() {
        let all = many(20);
        // The inventory is made from other copies: making it reads the manifests.
        let owned = inventory(&many(20)[..10]);
        let proposal = propose(&all, &bundle(), &owned, &none(), &none(), &policy());
        assert_eq!((proposal.candidates.len(), proposal.unchanged), (10, 10));
        assert!(all.iter().all(|manifest| manifest.value.is_packed()));
    }

    #[test]
    fn objects_that_were_only_intended_trip_no_guard() {
        let mut owned = inventory(&many(20));
        owned.values_mut().for_each(|owned| owned.uid = None);
        assert!(propose(&[], &bundle(), &owned, &none(), &none(), &policy()).guards.is_empty());
    }

    proptest! {
        #[test]
        fn an_unchanged_inventory_yields_no_candidate(names in prop::collection::btree_set("[a-z]{1,5}", 0..30)) {
            let desired: Vec<_> = names.iter().map(|name| config_map(name, "x")).collect();
            let proposal = propose(&desired, &bundle(), &inventory(&desired), &none(), &none(), &policy());
            prop_assert!(proposal.candidates.is_empty());
            prop_assert_eq!(proposal.unchanged as usize, desired.len());
        }

        #[test]
        fn candidates_come_in_the_order_of_identity_and_never_from_nowhere(
            have in prop::collection::btree_set("[a-c]{1,2}", 0..9),
            want in prop::collection::btree_set("[a-c]{1,2}", 0..9),
        ) {
            let make = |names: &BTreeSet<String>| names.iter().map(|name| config_map(name, "x")).collect::<Vec<_>>();
            let proposal = propose(&make(&want), &bundle(), &inventory(&make(&have)), &none(), &none(), &policy());
            prop_assert!(proposal.candidates.is_sorted_by(|a, b| a.id < b.id));
            for candidate in &proposal.candidates {
                prop_assert_eq!(candidate.desired.is_some(), want.contains(&candidate.id.name));
                prop_assert_eq!(candidate.owned.is_some(), have.contains(&candidate.id.name));
            }
        }
    }
}
