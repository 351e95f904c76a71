//! What happens to objects that the bundle no longer has.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_removed_object_is_deleted_as_it_was_looked_at() {
    let a = config_map("a", "1");
    let b = config_map("b", "1");
    let plan = Scene::new().wants(&b).has(&b).has(&a).sees(&a.id, met(live(&a), &a)).plan();
    let action = only(&plan);
    assert_eq!((action.verb, action.reason.as_str()), (Verb::Delete, "is no longer in the bundle"));
    assert_eq!(action.precondition.uid.as_deref(), Some("uid-of-a"));
    assert_eq!(action.precondition.resource_version.as_deref(), live(&a)["metadata"]["resourceVersion"].as_str());
    assert!(action.precondition.resource_version.is_some());
}

#[rstest]
#[case::another_uid(|o: &mut Value| o["metadata"]["uid"] = json!("other"), true)]
#[case::no_entry_of_ours(|o: &mut Value| o["metadata"]["managedFields"] = json!([]), false)]
#[case::already_going(|o: &mut Value| o["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z"), false)]
#[case::kept_by_us(|o: &mut Value| o["metadata"]["annotations"]["bowline.dev/prune"] = json!("false"), false)]
#[case::kept_by_helm(|o: &mut Value| o["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep"), false)]
#[case::kept_by_argo_cd(
    |o: &mut Value| o["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] = json!("Validate=false, Prune=false"),
    false
)]
#[case::kept_by_argo_cd_at_its_deletion(
    |o: &mut Value| o["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] = json!("Delete=false"),
    false
)]
#[case::of_another_application(
    |o: &mut Value| {
        o["metadata"]["annotations"]["bowline.dev/application"] = json!("team-b/shop");
        let fields = json!({"f:metadata": {"f:annotations": {"f:bowline.dev/application": {}}}});
        with_entry(o, "bowline/team-b/shop", "Apply", fields);
    },
    true
)]
fn a_removed_object_is_left_where_it_is_not_ours_or_is_to_stay(
    #[case] change: fn(&mut Value),
    #[case] forgotten: bool,
) {
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    let mut object = live(&a);
    change(&mut object);
    let plan = Scene::new().wants(&b).has(&b).has(&a).sees(&a.id, met(object, &a)).plan();
    assert_eq!(said(&plan), [(Verb::Leave, "a", 0)]);
    assert_eq!(plan.forgotten.contains(&a.id), forgotten);
    assert!(plan.refusals.is_empty());
}

#[rstest]
#[case(("v1", "PersistentVolumeClaim"))]
#[case(("v1", "Namespace"))]
#[case(("v1", "PersistentVolume"))]
#[case(("apiextensions.k8s.io/v1", "CustomResourceDefinition"))]
fn kinds_that_hold_other_things_are_deleted_only_if_the_live_object_says_so(#[case] (version, kind): (&str, &str)) {
    let (a, b) = (of_kind(version, kind, "a"), config_map("b", "1"));
    let mut object = live(&a);
    let scene = |object: &Value| Scene::new().wants(&b).has(&b).has(&a).sees(&a.id, met(object.clone(), &a)).plan();
    let plan = scene(&object);
    assert_eq!(only(&plan).verb, Verb::Leave);
    assert!(only(&plan).reason.contains("kubectl annotate") && plan.notes.len() == 1);
    object["metadata"]["annotations"]["bowline.dev/prune"] = json!("true");
    assert_eq!(only(&scene(&object)).verb, Verb::Delete);
}

#[rstest]
#[case::absent(absent())]
#[case::its_namespace_is_gone(Observation::NamespaceAbsent)]
#[case::its_kind_is_gone(Observation::KindAbsent)]
fn a_removed_object_that_is_gone_is_forgotten(#[case] observation: Observation) {
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    let plan = Scene::new().wants(&b).has(&b).has(&a).sees(&a.id, observation).plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.forgotten.as_slice(), std::slice::from_ref(&a.id));
}

#[test]
fn an_object_that_was_only_intended_is_deleted_only_with_all_our_marks() {
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    let intended = Owned { uid: None, fingerprint: None, ..owned(&a) };
    let scene = |object: Value| {
        Scene::new().wants(&b).has(&b).knows(&a.id, intended.clone()).sees(&a.id, met(object, &a)).plan()
    };
    assert_eq!(only(&scene(live(&a))).verb, Verb::Delete);
    let mut object = live(&a);
    object["metadata"]["labels"] = json!({});
    assert_eq!(only(&scene(object)).verb, Verb::Leave);
}

#[test]
fn guards_refuse_until_a_person_allows_this_very_plan() {
    let all: Vec<_> = (0..12).map(|index| config_map(&format!("c{index}"), "1")).collect();
    let mut scene = Scene::new().wants(&all[0]);
    for manifest in &all {
        scene = scene.has(manifest).sees(&manifest.id, met(live(manifest), manifest));
    }
    let plan = scene.plan();
    assert_eq!(plan.refusals[0].reason, RefusalReason::PruneLimit);
    assert!(plan.refusals[0].hint.as_ref().unwrap().contains(&plan.digest.to_string()));
    assert_eq!(plan.writes().count(), 11);

    let digest = plan.digest.clone();
    let allowed = scene.with(|policy| policy.allow_prune = Some(digest)).plan();
    assert_eq!((allowed.refusals.len(), &allowed.digest), (0, &plan.digest));
}

#[test]
fn an_approval_of_another_plan_lets_nothing_pass() {
    let all: Vec<_> = (0..12).map(|index| config_map(&format!("c{index}"), "1")).collect();
    let mut scene = Scene::new();
    for manifest in &all {
        scene = scene.has(manifest).sees(&manifest.id, met(live(manifest), manifest));
    }
    let digest = scene.plan().digest;
    let mut replaced = live(&all[0]);
    replaced["metadata"]["uid"] = json!("another");
    let plan = scene.with(|policy| policy.allow_prune = Some(digest)).sees(&all[0].id, met(replaced, &all[0])).plan();
    assert_eq!(plan.refusals[0].reason, RefusalReason::EmptyRender);
}
