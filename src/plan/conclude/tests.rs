//! What a plan says of each kind of meeting between bundle and cluster.
#![allow(clippy::unwrap_used)]

mod conflicts;
mod laws;
mod order;
mod removed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    manifest::{Digest, Manifest, ManifestDigest},
    plan::{
        Body, DryRun, Owned, OwnedObjects, RefusalReason, RollbackPolicy, ServerError, body, propose,
        testing::{
            MANAGER, bundle, config_map, fields_of, live, manifest, owned, policy, set_own_fields, uid_of, with_entry,
        },
    },
};

/// A bundle, an inventory and what the server says: what a plan is made of.
#[derive(Debug)]
struct Scene {
    desired: Vec<Arc<Manifest>>,
    owned: OwnedObjects,
    drifted: BTreeSet<ObjectId>,
    seen: Observations,
    policy: Policy,
}

impl Scene {
    fn new() -> Self {
        Self {
            desired: Vec::new(),
            owned: BTreeMap::new(),
            drifted: BTreeSet::new(),
            seen: BTreeMap::new(),
            policy: policy(),
        }
    }

    fn wants(mut self, manifest: &Arc<Manifest>) -> Self {
        self.desired.push(Arc::clone(manifest));
        self
    }

    fn has(mut self, manifest: &Manifest) -> Self {
        self.owned.insert(manifest.id.clone(), owned(manifest));
        self
    }

    fn knows(mut self, id: &ObjectId, owned: Owned) -> Self {
        self.owned.insert(id.clone(), owned);
        self
    }

    fn sees(mut self, id: &ObjectId, observation: Observation) -> Self {
        self.seen.insert(id.clone(), observation);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    fn drifted(mut self, id: &ObjectId) -> Self {
        self.drifted.insert(id.clone());
        self
    }

    fn plan(&self) -> Plan {
        let proposal = propose(&self.desired, &bundle(), &self.owned, &self.drifted, &BTreeSet::new(), &self.policy);
        conclude(&proposal, &self.seen, &self.policy)
    }
}

#[test]
fn a_plan_of_very_many_creations_keeps_the_content_of_few_and_its_digest_covers_all() {
    let many = |last: &str| -> Vec<Arc<Manifest>> {
        let content = |number: usize| if number == 599 { last.to_owned() } else { number.to_string() };
        (0..600).map(|number| config_map(&format!("c{number:03}"), &content(number))).collect()
    };
    let plan = |manifests: &[Arc<Manifest>]| {
        manifests.iter().fold(Scene::new(), |scene, it| scene.wants(it).sees(&it.id, absent())).plan()
    };
    let (one, other) = (plan(&many("one")), plan(&many("other")));
    let in_full = one.actions.iter().filter(|action| !action.changes.is_empty()).count();
    assert_eq!((one.writes().count(), in_full), (600, CREATIONS_IN_FULL));
    assert!(one.actions.iter().all(|action| matches!(action.body, Some(Body::Marked(..)))));
    assert_ne!(one.digest, other.digest);
}

fn absent() -> Observation {
    Observation::Absent { dry_run: DryRun::Would(Box::new(json!({}))) }
}

/// A live object, and what an apply of the manifest would make of it.
fn met(object: Value, manifest: &Manifest) -> Observation {
    let body = body(manifest, Some(&object), &policy());
    let mut result = object.clone();
    // What an apply does to the objects of these tests: it sets what the body
    // has, and takes away the content that it does not have.
    for field in ["data", "spec"] {
        match body.get(field) {
            Some(value) => result[field] = value.clone(),
            None => {
                result.as_object_mut().unwrap().remove(field);
            }
        }
    }
    for map in ["labels", "annotations"] {
        let entries = body["metadata"][map].as_object().unwrap().clone();
        let of_result = result["metadata"].as_object_mut().unwrap().entry(map).or_insert(json!({}));
        of_result.as_object_mut().unwrap().extend(entries);
    }
    if result["metadata"].get("managedFields").is_none() {
        result["metadata"]["managedFields"] = json!([]);
    }
    set_own_fields(&mut result, fields_of(&body));
    Observation::Live { object: Box::new(object), dry_run: DryRun::Would(Box::new(result)) }
}

fn refused(object: Value, code: u16, message: &str) -> Observation {
    Observation::Live { object: Box::new(object), dry_run: DryRun::Error(error(code, message)) }
}

fn error(code: u16, message: &str) -> ServerError {
    let transient = code == 0 || code >= 500;
    ServerError { code, reason: String::new(), message: message.into(), fields: Vec::new(), transient }
}

fn of_kind(api_version: &str, kind: &str, name: &str) -> Arc<Manifest> {
    manifest(
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "team-a"}, "spec": {"a": 1}}),
    )
}

fn cluster_scoped(api_version: &str, kind: &str, name: &str) -> Arc<Manifest> {
    manifest(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": {"a": 1}}))
}

fn definition() -> Arc<Manifest> {
    manifest(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Namespaced"}}))
}

fn said(plan: &Plan) -> Vec<(Verb, &str, u32)> {
    plan.actions.iter().map(|action| (action.verb, action.id.name.as_str(), action.stage)).collect()
}

fn only(plan: &Plan) -> &Action {
    assert_eq!(plan.actions.len(), 1, "{:?}", plan.actions);
    &plan.actions[0]
}

#[test]
fn a_new_object_is_created_with_its_marks() {
    let a = config_map("a", "1");
    let plan = Scene::new().wants(&a).sees(&a.id, absent()).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.reason.as_str()), (Verb::Create, "is new"));
    assert_eq!(action.precondition, Precondition::default());
    assert_eq!(action.body.as_ref().unwrap().read()["metadata"]["labels"]["bowline.dev/set"], json!("set-of-shop"));
    assert_eq!(action.manifest.as_ref(), Some(&a.digest));
    let changes: Vec<_> = action.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changes, ["data"], "what identifies it is no change, nor are the marks");
    assert!(plan.refusals.is_empty());
}

#[test]
fn a_changed_object_is_updated_under_uid_and_resource_version() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, met(live(&old), &new)).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.reason.as_str()), (Verb::Update, "its manifest changed"));
    assert_eq!(action.precondition.uid.as_deref(), Some("uid-of-a"));
    assert_eq!(action.precondition.resource_version.as_deref(), Some("100"));
    let change = &action.changes[0];
    assert_eq!(
        (change.path.as_str(), &change.before, &change.after),
        ("data.key", &Some(json!("1")), &Some(json!("2")))
    );
    assert!(change.owned && action.changes.len() == 1 && action.drops.is_empty());
}

#[test]
fn an_object_that_is_as_it_should_be_is_confirmed_without_a_write() {
    let a = config_map("a", "1");
    let unconfirmed = Owned { uid: None, manifest: None, fingerprint: None, ..owned(&a) };
    let plan = Scene::new().wants(&a).knows(&a.id, unconfirmed).sees(&a.id, met(live(&a), &a)).plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.unchanged, 1);
    assert_eq!(plan.confirmed, [(a.id.clone(), owned(&a))]);
}

#[test]
fn a_value_that_was_set_back_by_hand_leaves_only_the_ownership_to_regain() {
    let a = config_map("a", "1");
    let mut object = live(&a);
    set_own_fields(&mut object, json!({"f:metadata": fields_of(&live(&a))["f:metadata"]}));
    with_entry(&mut object, "kubectl-edit", "Update", json!({"f:data": {"f:key": {}}}));
    let plan = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, met(object, &a)).plan();
    let action = only(&plan);
    assert_eq!(action.verb, Verb::Update);
    assert!(action.reason.starts_with("regains ownership of "), "{}", action.reason);
    assert!(action.reason.contains("data.key") && action.reason.contains("kubectl-edit"), "{}", action.reason);
}

#[test]
fn what_was_added_by_hand_is_dropped_and_named() {
    let a = config_map("a", "1");
    let mut object = live(&a);
    object["data"]["extra"] = json!("by hand");
    with_entry(&mut object, "kubectl-edit", "Update", json!({"f:data": {"f:extra": {}}}));
    let Observation::Live { object, .. } = met(object, &a) else { unreachable!() };
    let would = Observation::Live { dry_run: DryRun::Would(object.clone()), object };
    let plan = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, would).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.drops.as_slice()), (Verb::Update, &["/data/extra".to_owned()][..]));
    assert_eq!(action.reason, "drifted; fields were added by kubectl-edit");
    let change = &action.changes[0];
    assert_eq!((change.path.as_str(), &change.before, &change.after), ("data.extra", &Some(json!("by hand")), &None));

    let ignoring = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, met(live(&a), &a)).with(|policy| {
        policy.ignore = vec![crate::plan::IgnoreRule { pointers: vec!["/data/extra".into()], ..Default::default() }];
    });
    assert!(ignoring.plan().actions.is_empty());
}

#[test]
fn what_a_hand_took_of_ours_is_taken_back_and_not_dropped() {
    let a = config_map("a", "1");
    let mut object = live(&a);
    object["data"] = json!({"key": "by hand", "added": "too"});
    set_own_fields(&mut object, json!({"f:metadata": fields_of(&live(&a))["f:metadata"]}));
    with_entry(&mut object, "kubectl-edit", "Update", json!({"f:data": {"f:key": {}, "f:added": {}}}));
    let Observation::Live { object, dry_run: DryRun::Would(mut result) } = met(object, &a) else { unreachable!() };
    result["data"]["added"] = json!("too");
    let seen = Observation::Live { object, dry_run: DryRun::Would(result) };
    let scene = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, seen);
    assert_eq!(only(&scene.plan()).drops, ["/data/added"]);

    let mut untried = scene.seen[&a.id].clone();
    if let Observation::Live { dry_run, .. } = &mut untried {
        *dry_run = DryRun::NotTried;
    }
    assert_eq!(only(&scene.sees(&a.id, untried).plan()).drops, ["/data/added"]);
}

#[test]
fn consequences_in_fields_of_others_alone_are_no_reason_to_write() {
    let a = config_map("a", "1");
    let Observation::Live { object, dry_run: DryRun::Would(mut result) } = met(live(&a), &a) else { unreachable!() };
    result["metadata"]["annotations"]["webhook.example.com/seen"] = json!("now");
    let seen = Observation::Live { object, dry_run: DryRun::Would(result) };
    let plan = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, seen).plan();
    assert!(plan.actions.is_empty(), "a webhook that stamps each write would be followed for ever");
}

#[test]
fn an_object_that_nobody_claims_is_adopted() {
    let a = config_map("a", "1");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "0"},
        "metadata": {"name": "a", "namespace": "team-a", "uid": "theirs", "resourceVersion": "7"}});
    let plan = Scene::new().wants(&a).sees(&a.id, met(object, &a)).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.reason.as_str()), (Verb::Adopt, "exists already, and nobody claims it"));
    assert_eq!(action.precondition.uid.as_deref(), Some("theirs"));
}

#[test]
fn an_object_that_was_made_anew_by_somebody_is_adopted_and_said_to_be() {
    let a = config_map("a", "1");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "team-a", "uid": "another", "resourceVersion": "7"}});
    let plan = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, met(object, &a)).plan();
    assert_eq!(only(&plan).verb, Verb::Adopt);
    assert!(only(&plan).reason.starts_with("was made anew"));
}

fn helms(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["uid"] = json!("theirs");
    object["metadata"]["labels"] = json!({});
    object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "shop"});
    object["metadata"]["managedFields"] = json!([]);
    object
}

#[test]
fn an_object_of_another_tool_is_refused_by_name_with_the_way_to_take_it_over() {
    let a = config_map("a", "1");
    let plan = Scene::new().wants(&a).sees(&a.id, met(helms(&live(&a)), &a)).plan();
    assert_eq!(said(&plan), [(Verb::Refuse, "a", 0)]);
    let refusal = &plan.refusals[0];
    assert_eq!(
        (refusal.reason, refusal.message.as_str()),
        (RefusalReason::OwnedByOther, "belongs to the Helm release shop")
    );
    assert!(refusal.hint.as_ref().unwrap().contains("bowline.dev/take-over"));
}

#[test]
fn the_annotation_lets_it_be_taken_over() {
    let mut a = (*config_map("a", "1")).clone();
    a.value["metadata"]["annotations"] = json!({"bowline.dev/take-over": "true"});
    let a = Arc::new(a);
    let plan = Scene::new().wants(&a).sees(&a.id, met(helms(&live(&a)), &a)).plan();
    assert_eq!(only(&plan).verb, Verb::Adopt);
    assert_eq!(only(&plan).reason, "is taken over from the Helm release shop (bowline.dev/take-over)");
}

#[test]
fn an_object_of_ours_that_another_tool_marked_later_stays_ours() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let mut object = live(&old);
    object["metadata"]["labels"]["argocd.argoproj.io/instance"] = json!("x");
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, met(object, &new)).plan();
    assert_eq!(only(&plan).verb, Verb::Update);
}

#[test]
fn an_unreadable_object_is_refused_for_now_and_never_taken_for_absent() {
    let (a, gone) = (config_map("a", "1"), config_map("b", "1"));
    let scene = Scene::new().wants(&a).has(&gone);
    let unreadable = || Observation::Unreadable(error(503, "no endpoints"));
    let plan = scene.plan();
    assert_eq!(said(&plan), [(Verb::Refuse, "a", 0), (Verb::Refuse, "b", 0)], "nobody looked");
    let plan = scene.sees(&a.id, unreadable()).sees(&gone.id, unreadable()).plan();
    assert_eq!(said(&plan), [(Verb::Refuse, "a", 0), (Verb::Leave, "b", 0)]);
    assert!(plan.refusals.iter().all(|refusal| refusal.reason == RefusalReason::Unreadable && refusal.transient));
    assert!(plan.forgotten.is_empty());
}

#[test]
fn a_removed_object_of_a_kind_that_cannot_be_read_keeps_nothing_else_from_happening() {
    let (a, gone) = (config_map("a", "1"), of_kind("broken.example.com/v1", "Widget", "w"));
    let scene = Scene::new().wants(&a).has(&gone).sees(&a.id, absent());
    let scene = scene.sees(&gone.id, Observation::Unreadable(error(503, "no endpoints")));
    let plan = scene.plan();
    assert_eq!(said(&plan), [(Verb::Create, "a", 0), (Verb::Leave, "w", 0)]);
    assert_eq!((plan.refusals.len(), plan.forgotten.len()), (0, 0), "it stays in the inventory");
    assert!(plan.notes[0].contains("left for the next release: no endpoints"), "{:?}", plan.notes);

    // The whole cluster out of reach for a moment is waited for.
    let plan = scene.sees(&gone.id, Observation::Unreadable(error(0, "no answer"))).plan();
    assert_eq!(plan.refusals.len(), 1);
}

#[test]
fn an_object_of_nobody_that_is_being_deleted_is_tried_again_and_its_finalizers_are_named() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let mut object = live(&old);
    object["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let plan = Scene::new().wants(&new).sees(&new.id, met(object, &new)).plan();
    let refusal = &plan.refusals[0];
    assert_eq!((refusal.reason, refusal.transient), (RefusalReason::Terminating, true));
    assert_eq!(refusal.message, "is being deleted and waits for its finalizer example.com/hold");
}

#[test]
fn all_errors_of_all_objects_are_reported() {
    let manifests = [config_map("a", "1"), config_map("b", "1"), config_map("c", "1")];
    let mut scene = Scene::new().wants(&manifests[0]).wants(&manifests[1]).wants(&manifests[2]);
    for manifest in &manifests[..2] {
        scene = scene.sees(&manifest.id, Observation::Absent { dry_run: DryRun::Error(error(422, "bad")) });
    }
    let plan = scene.sees(&manifests[2].id, absent()).plan();
    assert_eq!(plan.refusals.len(), 2);
    assert_eq!(plan.actions.iter().filter(|action| action.verb == Verb::Create).count(), 1);
}

#[rstest]
#[case::nobody_makes_it(None, false, &[(Verb::Refuse, "a", 0)])]
#[case::create_namespace(Some("team-a"), false, &[(Verb::Create, "team-a", 0), (Verb::Create, "a", 1)])]
#[case::another_namespace(Some("team-b"), false, &[(Verb::Refuse, "a", 0)])]
#[case::the_bundle(None, true, &[(Verb::Create, "team-a", 0), (Verb::Create, "a", 1)])]
#[case::both(Some("team-a"), true, &[(Verb::Create, "team-a", 0), (Verb::Create, "a", 1)])]
fn an_absent_namespace_is_made_first_or_refused(
    #[case] create: Option<&str>,
    #[case] in_bundle: bool,
    #[case] expected: &[(Verb, &str, u32)],
) {
    let a = config_map("a", "1");
    let namespace = cluster_scoped("v1", "Namespace", "team-a");
    let mut scene = Scene::new().wants(&a).sees(&a.id, Observation::NamespaceAbsent);
    if in_bundle {
        scene = scene.wants(&namespace).sees(&namespace.id, absent());
    }
    let plan = scene.with(|policy| policy.create_namespace = create.map(str::to_owned)).plan();
    assert_eq!(said(&plan), expected);
    let unproven = plan.actions.iter().find(|action| action.id.name == "a").unwrap().unproven;
    assert_eq!(unproven, plan.refusals.is_empty());
    if !in_bundle && plan.refusals.is_empty() {
        assert_eq!(plan.actions[0].manifest, None, "the namespace is no member");
        assert_eq!(plan.stages(), 2);
    }
}

#[test]
fn a_kind_that_the_plan_defines_comes_in_the_next_stage() {
    let (definition, widget) = (definition(), of_kind("example.com/v1", "Widget", "w"));
    let scene = Scene::new().wants(&widget).sees(&widget.id, Observation::KindAbsent);
    let refusal = &scene.plan().refusals[0];
    assert_eq!((refusal.reason, refusal.transient), (RefusalReason::KindAbsent, false));
    let plan = scene.wants(&definition).sees(&definition.id, absent()).plan();
    assert_eq!(said(&plan), [(Verb::Create, "widgets.example.com", 0), (Verb::Create, "w", 1)]);
    assert!(plan.actions[1].unproven && plan.refusals.is_empty());
}

#[test]
fn a_kind_whose_definition_is_written_already_is_waited_for() {
    let (definition, widget) = (definition(), of_kind("example.com/v1", "Widget", "w"));
    let scene = Scene::new().wants(&definition).has(&definition).wants(&widget);
    let plan = scene.sees(&widget.id, Observation::KindAbsent).plan();
    assert_eq!((plan.refusals[0].reason, plan.refusals[0].transient), (RefusalReason::KindAbsent, true));
}

#[test]
fn a_namespace_of_the_bundle_that_vanished_a_moment_ago_is_waited_for() {
    let (namespace, a) = (cluster_scoped("v1", "Namespace", "team-a"), config_map("a", "1"));
    let scene = Scene::new().wants(&namespace).has(&namespace).wants(&a);
    let plan = scene.sees(&a.id, Observation::NamespaceAbsent).plan();
    assert_eq!((plan.refusals[0].reason, plan.refusals[0].transient), (RefusalReason::NamespaceAbsent, true));
}

#[test]
fn an_object_is_not_judged_by_a_definition_that_the_plan_changes() {
    let mut old = (*definition()).clone();
    old.value["spec"]["scope"] = json!("Cluster");
    old.digest = ManifestDigest(Digest::of(b"old"));
    let (new, widget) = (definition(), of_kind("example.com/v1", "Widget", "w"));
    let unknown_field = Observation::Absent { dry_run: DryRun::Error(error(400, "unknown field spec.a")) };
    let scene = Scene::new().wants(&new).wants(&widget).has(&old).sees(&widget.id, unknown_field);
    let plan = scene.sees(&new.id, met(live(&old), &new)).plan();
    assert_eq!(said(&plan), [(Verb::Update, "widgets.example.com", 0), (Verb::Create, "w", 1)]);
    assert!(plan.refusals.is_empty());
}

#[test]
fn writing_goes_by_kind_and_deletion_comes_last_in_reverse() {
    let new = [of_kind("apps/v1", "Deployment", "web"), config_map("web", "1"), of_kind("v1", "Service", "web")];
    let old = [of_kind("apps/v1", "Deployment", "old"), config_map("old", "1"), of_kind("v1", "ServiceAccount", "old")];
    let mut scene = Scene::new();
    for manifest in &new {
        scene = scene.wants(manifest).sees(&manifest.id, absent());
    }
    for manifest in &old {
        scene = scene.has(manifest).sees(&manifest.id, met(live(manifest), manifest));
    }
    let plan = scene.plan();
    let order: Vec<_> = plan.actions.iter().map(|action| (action.verb, action.id.kind.as_str())).collect();
    assert_eq!(
        order,
        [
            (Verb::Create, "ConfigMap"),
            (Verb::Create, "Service"),
            (Verb::Create, "Deployment"),
            (Verb::Delete, "Deployment"),
            (Verb::Delete, "ConfigMap"),
            (Verb::Delete, "ServiceAccount"),
        ]
    );
}

#[rstest]
#[case::a_job_that_is_gone("batch/v1", "Job", true, Verb::Leave)]
#[case::a_job("batch/v1", "Job", false, Verb::Leave)]
#[case::a_claim("v1", "PersistentVolumeClaim", false, Verb::Leave)]
#[case::a_claim_that_is_gone("v1", "PersistentVolumeClaim", true, Verb::Create)]
#[case::a_definition("apiextensions.k8s.io/v1", "CustomResourceDefinition", false, Verb::Leave)]
#[case::anything_else("apps/v1", "Deployment", false, Verb::Update)]
fn a_rollback_leaves_what_it_is_not_told_to_take_back(
    #[case] version: &str,
    #[case] kind: &str,
    #[case] gone: bool,
    #[case] expected: Verb,
) {
    let now = of_kind(version, kind, "a");
    let mut target = (*now).clone();
    target.value["spec"]["a"] = json!(0);
    target.digest = ManifestDigest(Digest::of(b"target"));
    let target = Arc::new(target);
    let seen = if gone { absent() } else { met(live(&now), &target) };
    let scene = Scene::new().wants(&target).sees(&now.id, seen);
    let scene = if gone { scene } else { scene.has(&now) };
    let scene = scene.with(|policy| policy.rollback = Some(RollbackPolicy::default()));
    let plan = scene.plan();
    assert_eq!(only(&plan).verb, expected);
    if expected == Verb::Leave {
        let (_, record) = &plan.confirmed[0];
        assert!(record.done == (kind == "Job") && record.manifest.as_ref() == Some(&target.digest));
        let after = [(target.id.clone(), record.clone())].into();
        let none = BTreeSet::new();
        let next = propose(&[Arc::clone(&target)], &bundle(), &after, &none, &none, &policy());
        assert!(next.candidates.is_empty(), "a later repair does not change it");
    }
    let told = RollbackPolicy { jobs: true, claims: true, namespaces: true, crds: true };
    let plan = scene.with(|policy| policy.rollback = Some(told)).plan();
    assert_eq!(only(&plan).verb, if gone { Verb::Create } else { Verb::Update });
}

#[test]
fn an_immutable_field_is_refused_with_its_values() {
    let now = of_kind("apps/v1", "Deployment", "a");
    let mut new = (*now).clone();
    new.value["spec"]["a"] = json!(2);
    new.digest = ManifestDigest(Digest::of(b"new"));
    let new = Arc::new(new);
    let mut seen = refused(live(&now), 422, "spec.a: Invalid value: 2: field is immutable");
    if let Observation::Live { dry_run: DryRun::Error(error), .. } = &mut seen {
        error.fields = vec!["spec.a".into()];
    }
    let plan = Scene::new().wants(&new).has(&now).sees(&new.id, seen).plan();
    assert_eq!(plan.refusals[0].to_string(), "Deployment team-a/a: cannot be changed: spec.a: 1 → 2");
}

#[test]
fn without_preflight_changes_are_told_by_our_own_reading_and_said_to_be() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let seen = Observation::Live { object: Box::new(live(&old)), dry_run: DryRun::NotTried };
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, seen).with(|policy| policy.preflight = false).plan();
    assert_eq!(only(&plan).changes[0].path, "data.key");
    assert!(plan.notes[0].starts_with("preflight is off"));
}

#[test]
fn the_former_identity_of_a_kind_that_moved_is_forgotten_and_the_object_updated() {
    let ingress = |version: &str| of_kind(version, "Ingress", "web");
    let (old, new) = (ingress("extensions/v1beta1"), ingress("networking.k8s.io/v1"));
    // It is read in the new version; the entry still names the old one.
    let mut object = live(&old);
    object["apiVersion"] = json!("networking.k8s.io/v1");
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, met(object, &new)).plan();
    assert_eq!(said(&plan), [(Verb::Update, "web", 0)]);
    assert_eq!(plan.forgotten.as_slice(), std::slice::from_ref(&old.id));
}
