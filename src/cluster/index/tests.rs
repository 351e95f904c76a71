//! The index, driven with objects and without a server.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Assessed, BrokenReason, Changed, FingerprintPolicy, KindKey, LiveSummary, Outdated, Reading, Scope, Sighting,
    State, Unread,
};
use crate::{
    cluster::OwnerKey,
    health::{Health, HealthStatus, OwnChecks, checks::Check},
    manifest::{Digest, Fingerprint, GroupKind, GroupVersionKind, ObjectId},
    plan::{Membership, Owned, OwnedObjects},
};

fn shop() -> OwnerKey {
    OwnerKey::new("team-a", "shop")
}

fn billing() -> OwnerKey {
    OwnerKey::new("team-a", "billing")
}

fn set_of(owner: &OwnerKey) -> String {
    format!("set-{}", owner.name())
}

fn policy(owner: &OwnerKey, ignore: &str) -> FingerprintPolicy {
    FingerprintPolicy {
        membership: Membership {
            set: set_of(owner),
            application: owner.to_string(),
            manager: format!("bowline/{owner}"),
        },
        ignore: Vec::new(),
        hand_managers: BTreeSet::new(),
        checks: match ignore {
            "" => OwnChecks::default(),
            kind => OwnChecks::of(&[Check { kind: kind.to_owned(), ..Check::default() }]),
        },
    }
}

fn config_map_type() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "ConfigMap")
}

fn config_maps() -> KindKey {
    KindKey::new(config_map_type(), Scope::Cluster)
}

fn secrets() -> KindKey {
    KindKey::new(GroupVersionKind::new("", "v1", "Secret"), Scope::Cluster)
}

fn config_map(owner: &OwnerKey, name: &str, version: u64, data: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "namespace": "team-a", "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": version.to_string(),
            "labels": {"bowline.dev/set": set_of(owner)},
            "annotations": {"bowline.dev/application": owner.to_string()},
        },
        "data": {"key": data},
    })
}

fn without_label(mut object: Value) -> Value {
    object.pointer_mut("/metadata").unwrap().as_object_mut().unwrap().remove("labels");
    object
}

fn fingerprint(data: &str, checks: &str) -> Fingerprint {
    Fingerprint(Digest::of(format!("{checks}{data}").as_bytes()))
}

/// The stand-in for the real rules: data is the fingerprint, a word in the data
/// is the health.
fn assess(object: &Value, _: &OwnerKey, policy: &FingerprintPolicy) -> Assessed {
    let data = object.pointer("/data/key").and_then(Value::as_str).unwrap_or_default();
    let health = match data {
        "broken" => Health::new(HealthStatus::Degraded, "it is broken"),
        "starting" => Health::new(HealthStatus::Progressing, "it starts"),
        _ => Health::healthy(),
    };
    let checks = if policy.checks.is_empty() { String::new() } else { format!("{:?}", policy.checks) };
    Assessed { fingerprint: Some(fingerprint(data, &checks)), health }
}

fn read(state: &State, object: &Value) -> Reading {
    let sighting = Sighting::read(object).unwrap();
    let assessed = state
        .policy_for(&sighting)
        .map(|(policy, generation)| (assess(object, sighting.owner.as_ref().unwrap(), &policy), generation));
    Reading { sighting, assessed }
}

/// What a test does with an index.
struct Index(State);

impl Index {
    /// An index in which shop uses ConfigMaps, before anything was listed.
    fn of_shop() -> Self {
        let mut state = State::default();
        state.set_policy(&shop(), policy(&shop(), ""));
        state.want(&shop(), &BTreeSet::from([config_maps()]));
        Self(state)
    }

    fn listed(mut self, version: u64, objects: &[Value]) -> Self {
        self.list(version, objects);
        self
    }

    fn list(&mut self, version: u64, objects: &[Value]) -> Changed {
        let mut changed = self.0.list_started(&config_maps());
        for object in objects {
            let reading = read(&self.0, object);
            changed.extend(self.0.listed(&config_maps(), reading).unwrap());
        }
        changed.extend(self.0.list_done(&config_maps(), Some(version)));
        changed
    }

    fn changed(&mut self, object: &Value) -> Changed {
        let reading = read(&self.0, object);
        self.0.changed(&config_maps(), reading).unwrap()
    }

    fn deleted(&mut self, object: &Value) -> Changed {
        self.0.deleted(&config_maps(), &Sighting::read(object).unwrap())
    }

    fn record(&mut self, object: &Value) -> Changed {
        let reading = read(&self.0, object);
        self.0.record(&config_map_type(), &reading).unwrap()
    }

    fn summary(&self, expected: &OwnedObjects) -> LiveSummary {
        self.0.summary(&shop(), expected)
    }

    fn known(&self) -> Vec<ObjectId> {
        let mut ids: Vec<ObjectId> = self.0.kinds[&config_maps()].entries.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }
}

fn id(name: &str) -> ObjectId {
    ObjectId::new(GroupKind::new("", "ConfigMap"), Some("team-a".into()), name)
}

fn owned(name: &str, data: &str) -> Owned {
    Owned {
        gvk: config_map_type(),
        uid: Some(format!("uid-of-{name}")),
        manifest: None,
        fingerprint: Some(fingerprint(data, "")),
        done: false,
        hook: false,
    }
}

fn expected(objects: &[(&str, &str)]) -> OwnedObjects {
    objects.iter().map(|(name, data)| (id(name), owned(name, data))).collect()
}

fn changed_for(owners: &[OwnerKey]) -> Changed {
    owners.iter().cloned().collect()
}

#[test]
fn nothing_is_judged_before_the_first_list_is_whole() {
    let mut index = Index::of_shop();
    let objects = expected(&[("a", "1")]);
    assert!(!index.summary(&objects).in_sync);
    index.0.list_started(&config_maps());
    let summary = index.summary(&objects);
    assert!(!summary.in_sync);
    assert_eq!(summary.gone, BTreeSet::new());
    assert_eq!(summary.worst(), HealthStatus::Unknown);
    index.0.list_done(&config_maps(), Some(5));
    let summary = index.summary(&objects);
    assert!(summary.in_sync);
    assert_eq!(summary.gone, BTreeSet::from([id("a")]));
    assert_eq!(summary.worst(), HealthStatus::Missing);
}

#[test]
fn an_application_that_nobody_introduced_is_not_in_sync() {
    assert!(!State::default().summary(&shop(), &OwnedObjects::new()).in_sync);
}

#[test]
fn an_edit_is_drift_and_the_repair_ends_it() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let objects = expected(&[("a", "1")]);
    assert_eq!(index.summary(&objects).drifted, BTreeSet::new());
    assert_eq!(index.changed(&config_map(&shop(), "a", 6, "edited")), changed_for(&[shop()]));
    assert_eq!(index.summary(&objects).drifted, BTreeSet::from([id("a")]));
    assert_eq!(index.record(&config_map(&shop(), "a", 7, "1")), changed_for(&[shop()]));
    assert_eq!(index.summary(&objects).drifted, BTreeSet::new());
}

#[test]
fn an_event_older_than_our_own_write_says_nothing() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    index.record(&config_map(&shop(), "a", 9, "2"));
    assert_eq!(index.changed(&config_map(&shop(), "a", 8, "edited")), Changed::new());
    assert_eq!(index.deleted(&config_map(&shop(), "a", 7, "1")), Changed::new());
    assert_eq!(index.summary(&expected(&[("a", "2")])).drifted, BTreeSet::new());
}

#[test]
fn an_answer_that_arrives_after_the_deletion_does_not_revive_the_object() {
    let mut index = Index::of_shop().listed(5, &[]);
    index.changed(&config_map(&shop(), "a", 6, "1"));
    index.deleted(&config_map(&shop(), "a", 8, "1"));
    assert_eq!(index.record(&config_map(&shop(), "a", 6, "1")), Changed::new());
    assert_eq!(index.known(), []);
}

#[test]
fn a_change_that_changes_nothing_of_ours_is_no_news() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    assert_eq!(index.changed(&config_map(&shop(), "a", 6, "1")), Changed::new());
}

#[test]
fn a_deletion_and_a_lost_label_are_gone() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1"), config_map(&shop(), "b", 4, "1")]);
    let objects = expected(&[("a", "1"), ("b", "1")]);
    assert_eq!(index.deleted(&config_map(&shop(), "a", 6, "1")), changed_for(&[shop()]));
    assert_eq!(index.changed(&without_label(config_map(&shop(), "b", 7, "1"))), changed_for(&[shop()]));
    assert_eq!(index.summary(&objects).gone, BTreeSet::from([id("a"), id("b")]));
}

#[test]
fn an_object_made_anew_by_somebody_is_drift() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let mut anew = config_map(&shop(), "a", 8, "1");
    anew["metadata"]["uid"] = json!("another");
    index.deleted(&config_map(&shop(), "a", 7, "1"));
    index.changed(&anew);
    assert_eq!(index.summary(&expected(&[("a", "1")])).drifted, BTreeSet::from([id("a")]));
}

#[test]
fn a_fingerprint_that_is_missing_or_of_another_scheme_is_no_drift() {
    let index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1"), config_map(&shop(), "b", 4, "1")]);
    let mut objects = expected(&[("a", "1"), ("b", "1")]);
    objects.get_mut(&id("a")).unwrap().fingerprint = None;
    let old = Digest::of(b"x").to_string().replacen("v1:", "v0:", 1);
    objects.get_mut(&id("b")).unwrap().fingerprint = Some(old.parse().unwrap());
    assert_eq!(index.summary(&objects).drifted, BTreeSet::new());
}

#[test]
fn an_object_that_was_only_intended_is_missing_and_not_gone() {
    let index = Index::of_shop().listed(5, &[]);
    let mut objects = expected(&[("a", "1")]);
    objects.get_mut(&id("a")).unwrap().uid = None;
    let summary = index.summary(&objects);
    assert_eq!(summary.gone, BTreeSet::new());
    assert_eq!(summary.unhealthy[&id("a")].status, HealthStatus::Missing);
}

#[test]
fn a_job_that_completed_may_disappear() {
    let job = ObjectId::new(GroupKind::new("batch", "Job"), Some("team-a".into()), "migrate");
    let gvk = GroupVersionKind::new("batch", "v1", "Job");
    let key = KindKey::new(gvk.clone(), Scope::Cluster);
    let mut state = State::default();
    state.set_policy(&shop(), policy(&shop(), ""));
    state.want(&shop(), &BTreeSet::from([key.clone()]));
    let mut object = config_map(&shop(), "migrate", 3, "1");
    object["apiVersion"] = json!("batch/v1");
    object["kind"] = json!("Job");
    object["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    state.list_started(&key);
    let reading = read(&state, &object);
    state.listed(&key, reading).unwrap();
    state.list_done(&key, Some(5));
    let mut objects = OwnedObjects::from([(job.clone(), Owned { gvk, ..owned("migrate", "1") })]);
    assert_eq!(state.summary(&shop(), &objects).done, BTreeSet::from([job.clone()]));
    objects.get_mut(&job).unwrap().done = true;
    state.deleted(&key, &Sighting::read(&object).unwrap());
    let summary = state.summary(&shop(), &objects);
    assert_eq!((summary.worst(), summary.gone), (HealthStatus::Healthy, BTreeSet::new()));
}

#[test]
fn health_is_counted_and_the_reasons_kept() {
    let index = Index::of_shop().listed(
        5,
        &[
            config_map(&shop(), "a", 1, "1"),
            config_map(&shop(), "b", 2, "starting"),
            config_map(&shop(), "c", 3, "broken"),
        ],
    );
    let summary = index.summary(&expected(&[("a", "1"), ("b", "starting"), ("c", "broken")]));
    assert_eq!(
        summary.counts,
        BTreeMap::from([(HealthStatus::Healthy, 1), (HealthStatus::Progressing, 1), (HealthStatus::Degraded, 1)])
    );
    assert_eq!(summary.worst(), HealthStatus::Degraded);
    assert_eq!(summary.unhealthy[&id("c")].reason, "it is broken");
    assert!(!summary.lets_a_release_be_healthy());
}

#[test]
fn a_broken_kind_makes_its_own_objects_unknown_and_no_others() {
    let mut index = Index::of_shop();
    index.0.want(&shop(), &BTreeSet::from([config_maps(), secrets()]));
    let mut index = index.listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let changed = index.0.broken(&secrets(), BrokenReason::Forbidden, "secrets is forbidden", since);
    assert_eq!(changed, changed_for(&[shop()]));
    let mut objects = expected(&[("a", "1"), ("missing", "1")]);
    let secret = ObjectId::new(GroupKind::new("", "Secret"), Some("team-a".into()), "s");
    objects.insert(secret.clone(), Owned { gvk: secrets().gvk, ..owned("s", "1") });
    let summary = index.summary(&objects);
    assert!(summary.in_sync, "a kind that is reported broken counts as in sync");
    assert_eq!(summary.gone, BTreeSet::from([id("missing")]));
    assert_eq!(summary.counts[&HealthStatus::Unknown], 1);
    assert_eq!(summary.broken[0].reason, BrokenReason::Forbidden);
    let later: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
    let again = index.0.broken(&secrets(), BrokenReason::Forbidden, "secrets is forbidden", later);
    assert_eq!(again, Changed::new(), "the same error again is no news");
    index.0.broken(&secrets(), BrokenReason::NotServed, "not found", later);
    assert_eq!(index.summary(&objects).broken[0].since, since, "it is broken since the first error");
}

#[test]
fn a_short_interruption_judges_nothing_and_loses_nothing() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let objects = expected(&[("a", "1"), ("missing", "1")]);
    index.0.interrupted(&config_maps());
    let summary = index.summary(&objects);
    assert!(!summary.in_sync);
    assert_eq!(summary.gone, BTreeSet::new());
    assert_eq!(summary.counts[&HealthStatus::Healthy], 1);
    assert_eq!(index.0.resumed(&config_maps()), changed_for(&[shop()]));
    assert_eq!(index.summary(&objects).gone, BTreeSet::from([id("missing")]));
}

#[test]
fn a_new_list_drops_what_went_and_keeps_what_we_wrote_after_it() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "old", 3, "1")]);
    index.record(&config_map(&shop(), "new", 30, "1"));
    index.list(20, &[]);
    assert_eq!(index.known(), [id("new")]);
}

#[test]
fn a_version_that_is_no_integer_is_never_old() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let mut opaque = config_map(&shop(), "a", 0, "edited");
    opaque["metadata"]["resourceVersion"] = json!("opaque");
    assert_eq!(index.changed(&opaque), changed_for(&[shop()]));
}

#[test]
fn an_object_whose_label_is_not_that_of_its_annotation_is_nobodys() {
    let mut forged = config_map(&shop(), "a", 3, "1");
    forged["metadata"]["labels"]["bowline.dev/set"] = json!("set-of-another-installation");
    let index = Index::of_shop().listed(5, &[forged, json!({"metadata": {"name": "bare"}})]);
    assert!(index.0.is_empty());
}

#[test]
fn an_object_that_changes_hands_is_news_for_both() {
    let mut index = Index::of_shop();
    index.0.set_policy(&billing(), policy(&billing(), ""));
    index.0.want(&billing(), &BTreeSet::from([config_maps()]));
    let mut index = index.listed(5, &[config_map(&shop(), "a", 3, "1")]);
    assert_eq!(index.changed(&config_map(&billing(), "a", 6, "1")), changed_for(&[shop(), billing()]));
    assert_eq!(index.summary(&expected(&[("a", "1")])).gone, BTreeSet::from([id("a")]));
}

#[test]
fn a_changed_policy_reads_the_objects_again_before_anything_is_judged() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    let objects = expected(&[("a", "1")]);
    assert!(!index.0.set_policy(&shop(), policy(&shop(), "")), "the same policy is no change");
    assert_eq!(index.0.unread(&config_maps()), vec![]);
    let outdated = read(&index.0, &config_map(&shop(), "a", 6, "1"));
    assert!(index.0.set_policy(&shop(), policy(&shop(), "other rules")));
    assert_eq!(index.0.changed(&config_maps(), outdated), Err(Outdated));
    let unread = index.0.unread(&config_maps());
    assert_eq!(unread.len(), 1);
    let summary = index.summary(&objects);
    assert!(!summary.in_sync);
    assert_eq!(summary.drifted, BTreeSet::new());
    index.0.reread_started(&config_maps());
    let reading = read(&index.0, &config_map(&shop(), "a", 3, "1"));
    index.0.reread(&config_maps(), reading).unwrap();
    let listed = HashSet::from([id("a")]);
    let changed = index.0.reread_done(&config_maps(), &unread, &listed, Some(7));
    assert_eq!(changed, changed_for(&[shop()]));
    let summary = index.summary(&objects);
    assert!(summary.in_sync);
    assert_eq!(summary.drifted, BTreeSet::from([id("a")]), "the fingerprint of the old rules is another");
}

#[test]
fn a_second_application_of_a_known_kind_has_only_its_own_objects_read() {
    let mut index =
        Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1"), config_map(&billing(), "b", 4, "1")]);
    assert_eq!(index.known(), [id("a")]);
    index.0.set_policy(&billing(), policy(&billing(), ""));
    index.0.want(&billing(), &BTreeSet::from([config_maps()]));
    assert!(index.summary(&expected(&[("a", "1")])).in_sync, "the first one goes on");
    let unread = index.0.unread(&config_maps());
    assert_eq!(unread.iter().map(|unread| unread.set.as_str()).collect::<Vec<_>>(), vec!["set-billing"]);
}

#[test]
fn a_kind_that_nobody_uses_is_forgotten() {
    let mut index = Index::of_shop().listed(5, &[config_map(&shop(), "a", 3, "1")]);
    assert_eq!(index.0.want(&shop(), &BTreeSet::from([secrets()])), vec![config_maps()]);
    assert!(index.0.is_empty());
    assert_eq!(index.0.forget(&shop()), vec![secrets()]);
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let mut state = Index::of_shop().0;
    let sighting = Sighting::read(&config_map(&shop(), "a", 3, "1")).unwrap();
    let (_, generation) = state.policy_for(&sighting).unwrap();
    let health = Health::new(HealthStatus::Degraded, "ä".repeat(2000));
    let reading = Reading { sighting, assessed: Some((Assessed { fingerprint: None, health }, generation)) };
    state.changed(&config_maps(), reading).unwrap();
    let summary = state.summary(&shop(), &expected(&[("a", "1")]));
    assert_eq!(summary.unhealthy[&id("a")].reason, "ä".repeat(256));
}

/// What happened to the objects at the server: at version `(index + 1) * 10`,
/// one of three objects got new data, or was deleted.
type History = Vec<(usize, bool)>;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn version_of(step: usize) -> u64 {
    (step as u64 + 1) * 10
}

fn object_at(history: &History, step: usize) -> Value {
    config_map(&shop(), NAMES[history[step].0], version_of(step), &format!("at step {step}"))
}

/// What exists after the first `steps` steps.
fn snapshot(history: &History, steps: usize) -> Vec<Value> {
    let mut live = BTreeMap::new();
    for (step, (object, exists)) in history.iter().enumerate().take(steps) {
        if *exists {
            live.insert(*object, object_at(history, step))
        } else {
            live.remove(object)
        };
    }
    live.into_values().collect()
}

fn told(steps: usize) -> u64 {
    // Other objects of the kind have versions too: a list's lies between two of ours.
    steps as u64 * 10 + 5
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Our own answers may arrive at any time, the watch may begin anywhere and
    /// lose its place, objects may be read again meanwhile: the end is what the
    /// server has.
    #[test]
    fn any_interleaving_of_answers_and_events_ends_in_what_the_server_has(
        history in prop::collection::vec((0usize..3, any::<bool>()), 1..14),
        list_at in any::<prop::sample::Index>(),
        relists in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3),
        rereads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..2),
        answers in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..8),
    ) {
        let steps = history.len();
        let mut index = Index::of_shop();
        // The answers to arrive before each step of the watch.
        let mut arriving: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (write, when) in &answers {
            let write = write.index(steps);
            if history[write].1 {
                arriving.entry(when.index(steps + 2)).or_default().push(write);
            }
        }
        let arrive = |index: &mut Index, moment: usize| {
            for write in arriving.get(&moment).into_iter().flatten() {
                index.record(&object_at(&history, *write));
            }
        };
        let mut position = list_at.index(steps + 1);
        index.0.list_started(&config_maps());
        arrive(&mut index, 0);
        for object in snapshot(&history, position) {
            let reading = read(&index.0, &object);
            index.0.listed(&config_maps(), reading).unwrap();
        }
        index.0.list_done(&config_maps(), Some(told(position)));
        let mut reading_again: Option<(usize, Vec<Value>, usize)> = None;
        while position < steps {
            arrive(&mut index, position + 1);
            if let Some((_, to)) = relists.iter().find(|(from, _)| from.index(steps) == position)
                && position + 1 < steps
            {
                let to = position + 1 + to.index(steps - position - 1);
                index.list(told(to), &snapshot(&history, to));
                position = to;
                continue;
            }
            if reading_again.is_none()
                && let Some((_, at, until)) = rereads.iter().find(|(from, ..)| from.index(steps) == position)
            {
                let at = position + at.index(steps - position + 1);
                let until = position + until.index(steps - position + 1);
                index.0.reread_started(&config_maps());
                reading_again = Some((until, snapshot(&history, at), at));
            }
            if history[position].1 {
                let object = object_at(&history, position);
                index.changed(&object);
            } else {
                let object = object_at(&history, position);
                index.deleted(&object);
            }
            position += 1;
            if let Some((until, objects, at)) = reading_again.take() {
                if until <= position {
                    finish_reading_again(&mut index, &objects, at);
                } else {
                    reading_again = Some((until, objects, at));
                }
            }
        }
        if let Some((_, objects, at)) = reading_again {
            finish_reading_again(&mut index, &objects, at);
        }
        arrive(&mut index, steps + 1);
        let live = snapshot(&history, steps);
        let ids: Vec<ObjectId> =
            live.iter().map(|object| Sighting::read(object).unwrap().id(&config_maps().gvk)).collect();
        prop_assert_eq!(index.known(), ids);
        for object in &live {
            let sighting = Sighting::read(object).unwrap();
            let entry = &index.0.kinds[&config_maps()].entries[&sighting.id(&config_maps().gvk)];
            prop_assert_eq!(entry.version, sighting.version);
            let data = object.pointer("/data/key").unwrap().as_str().unwrap();
            prop_assert_eq!(entry.fingerprint.as_ref(), Some(&fingerprint(data, "")));
        }
    }
}

fn finish_reading_again(index: &mut Index, objects: &[Value], at: usize) {
    let mut listed = HashSet::new();
    for object in objects {
        let reading = read(&index.0, object);
        listed.insert(reading.sighting.id(&config_maps().gvk));
        index.0.reread(&config_maps(), reading).unwrap();
    }
    let owners = [Unread { owner: shop(), generation: index.0.owners[&shop()].generation, set: set_of(&shop()) }];
    index.0.reread_done(&config_maps(), &owners, &listed, Some(told(at)));
}
