//! Fields of other field managers, objects that are adopted, and what could
//! not be tried.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::plan::{ConflictPolicy, Propagation};

/// The object of a manifest, on which `manager` has set the key otherwise, and
/// what a forced apply makes of it.
fn contested(old: &Arc<Manifest>, new: &Arc<Manifest>, manager: &str) -> Observation {
    let mut object = live(old);
    object["data"]["key"] = json!("theirs");
    set_own_fields(&mut object, json!({"f:metadata": fields_of(&live(old))["f:metadata"]}));
    with_entry(&mut object, manager, "Update", json!({"f:data": {"f:key": {}}}));
    let Observation::Live { object, dry_run: DryRun::Would(mut result) } = met(*Box::new(object), new) else {
        unreachable!()
    };
    let entries = result["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.retain(|entry| entry["manager"] != manager);
    Observation::Live { object, dry_run: DryRun::Would(result) }
}

fn refusing(policy: &mut Policy) {
    policy.conflicts = ConflictPolicy::Refuse;
}

#[test]
fn a_field_of_another_manager_is_taken_and_it_is_said_from_whom() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, contested(&old, &new, "operator")).plan();
    let action = only(&plan);
    assert_eq!(action.reason, "its manifest changed; takes data.key from operator");
    assert_eq!(action.takes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["data.key from operator"]);
}

#[test]
fn what_is_put_back_names_who_changed_it_once() {
    let a = config_map("a", "1");
    let plan = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, contested(&a, &a, "operator")).plan();
    assert_eq!(only(&plan).reason, "drifted (changed by operator)");
}

#[test]
fn with_refuse_a_field_of_another_manager_stops_the_plan_and_names_the_ways_out() {
    let (old, new, b) = (config_map("a", "1"), config_map("a", "2"), config_map("b", "1"));
    let scene = Scene::new().wants(&new).wants(&b).has(&old).sees(&b.id, absent());
    let plan = scene.sees(&new.id, contested(&old, &new, "operator")).with(refusing).plan();
    let refusal = &plan.refusals[0];
    assert_eq!((plan.refusals.len(), refusal.reason, refusal.transient), (1, RefusalReason::FieldConflict, false));
    insta::assert_snapshot!(
        format!("{refusal}\n{}", refusal.hint.as_ref().unwrap()),
        @r"
    ConfigMap team-a/a: other field managers have another value of data.key (set by operator)
    leave the field to them with a rule in sync.ignore, take it out of the manifest, or set sync.conflicts: Take
    "
    );
}

#[test]
fn with_refuse_a_repair_leaves_a_program_what_it_took() {
    let a = config_map("a", "1");
    let scene = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, contested(&a, &a, "operator"));
    assert_eq!(scene.with(refusing).plan().refusals[0].reason, RefusalReason::FieldConflict);
}

#[rstest]
#[case::an_edit("kubectl-edit")]
#[case::a_label("kubectl-label")]
fn what_people_change_is_drift_and_no_conflict(#[case] manager: &str) {
    let a = config_map("a", "1");
    let scene = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, contested(&a, &a, manager));
    let plan = scene.with(refusing).plan();
    assert_eq!((only(&plan).verb, plan.refusals.len()), (Verb::Update, 0));
}

#[test]
fn who_counts_as_people_is_the_policys_to_say() {
    let a = config_map("a", "1");
    let scene = Scene::new().wants(&a).has(&a).drifted(&a.id).sees(&a.id, contested(&a, &a, "console"));
    let plan = scene.with(refusing).with(|policy| policy.hand_managers.extend(["console".into()])).plan();
    assert_eq!(plan.refusals, []);
}

#[test]
fn without_a_dry_run_conflicts_are_found_by_our_own_reading() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let Observation::Live { object, .. } = contested(&old, &new, "operator") else { unreachable!() };
    let seen = Observation::Live { object, dry_run: DryRun::NotTried };
    let scene = Scene::new().wants(&new).has(&old).sees(&new.id, seen).with(|policy| policy.preflight = false);
    assert_eq!(only(&scene.plan()).reason, "its manifest changed; takes data.key from operator");
    assert_eq!(scene.with(refusing).plan().refusals[0].reason, RefusalReason::FieldConflict);
}

/// An object that kubectl made, with an entry of its own and a further key.
fn made_by(manager: &str, annotations: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "1", "old": "2"}, "metadata": {
        "name": "a", "namespace": "team-a", "uid": "theirs", "resourceVersion": "7", "annotations": annotations}});
    let fields = json!({"f:data": {".": {}, "f:key": {}, "f:old": {}}, "f:metadata": {"f:annotations": {".": {}}}});
    with_entry(&mut object, manager, "Update", fields);
    object
}

/// The same after an apply, which leaves what others own.
fn adopted(object: Value, manifest: &Manifest) -> Observation {
    let Observation::Live { object, dry_run: DryRun::Would(mut result) } = met(object, manifest) else {
        unreachable!()
    };
    result["data"] = object["data"].clone();
    Observation::Live { object, dry_run: DryRun::Would(result) }
}

#[test]
fn an_object_of_kubectl_apply_is_adopted_as_the_next_kubectl_apply_would_leave_it() {
    let a = config_map("a", "1");
    let files = json!({"kind": "ConfigMap", "data": {"key": "1", "old": "2"}}).to_string();
    let object =
        made_by("kubectl-client-side-apply", json!({"kubectl.kubernetes.io/last-applied-configuration": files}));
    let plan = Scene::new().wants(&a).sees(&a.id, adopted(object, &a)).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.drops.as_slice()), (Verb::Adopt, &["/data/old".to_owned()][..]));
    assert_eq!(action.former, ["kubectl-client-side-apply"]);
    assert_eq!(
        action.reason,
        "exists already, and nobody claims it; fields that the manifest does not have go (set by \
         kubectl-client-side-apply)"
    );
}

#[test]
fn what_kubectl_apply_would_leave_is_not_dropped_unasked() {
    let a = config_map("a", "1");
    let seen = adopted(made_by("kubectl-create", json!({})), &a);
    let plan = Scene::new().wants(&a).sees(&a.id, seen).plan();
    insta::assert_snapshot!(
        format!("{}\n{}", plan.refusals[0], plan.refusals[0].hint.as_ref().unwrap()),
        @r#"
    ConfigMap team-a/a: exists already, with fields that the manifest does not have: data.old
    add them to the manifest, or annotate it bowline.dev/take-over: "true" to drop them
    "#
    );
}

#[test]
fn an_object_that_was_never_anybodys_migrates_nothing_later() {
    let (old, new) = (config_map("a", "1"), config_map("a", "2"));
    let mut object = live(&old);
    with_entry(&mut object, "kubectl", "Apply", json!({"f:data": {"f:key": {}}}));
    let plan = Scene::new().wants(&new).has(&old).sees(&new.id, met(object, &new)).plan();
    assert_eq!(only(&plan).former, Vec::<String>::new());
}

#[test]
fn an_object_that_a_webhook_keeps_from_being_tried_is_written_and_said_to_be_untried() {
    let (a, old, new) = (config_map("a", "1"), config_map("b", "1"), config_map("b", "2"));
    let webhook = || DryRun::NotSupported("audit.example.com".into());
    let scene = Scene::new().wants(&a).wants(&new).has(&old).sees(&a.id, Observation::Absent { dry_run: webhook() });
    let plan = scene.sees(&new.id, Observation::Live { object: Box::new(live(&old)), dry_run: webhook() }).plan();
    assert_eq!(said(&plan), [(Verb::Create, "a", 0), (Verb::Update, "b", 0)]);
    assert_eq!(plan.refusals, []);
    let words = "is tried only when it is written: admission webhook audit.example.com does not support dry-run";
    assert_eq!(plan.notes, [format!("ConfigMap team-a/a {words}"), format!("ConfigMap team-a/b {words}")]);
}

#[rstest]
#[case::not_annotated(None, Some(Propagation::Background))]
#[case::foreground(Some("Foreground"), Some(Propagation::Foreground))]
#[case::orphan(Some("Orphan"), Some(Propagation::Orphan))]
#[case::a_word_that_nobody_knows(Some("foreground"), None)]
fn a_live_object_says_what_becomes_of_what_it_owns(#[case] word: Option<&str>, #[case] expected: Option<Propagation>) {
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    let mut object = live(&a);
    if let Some(word) = word {
        object["metadata"]["annotations"]["bowline.dev/deletion-propagation"] = json!(word);
    }
    let plan = Scene::new().wants(&b).has(&b).has(&a).sees(&a.id, met(object, &a)).plan();
    match expected {
        Some(propagation) => assert_eq!((only(&plan).verb, only(&plan).propagation), (Verb::Delete, propagation)),
        None => {
            assert_eq!(only(&plan).verb, Verb::Leave);
            assert!(only(&plan).reason.contains("none of Background, Foreground and Orphan"));
        }
    }
}
