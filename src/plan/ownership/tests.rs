//! What a fingerprint covers and what counts as added by hand, on objects with
//! the entries that an API server writes.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::plan::{
    IgnoreRule,
    testing::{MANAGER, deployment, hands, with_entry},
};

const WEB: &str = "/spec/template/spec/containers/0";

fn hash(object: &Value) -> crate::manifest::Fingerprint {
    fingerprint(object, MANAGER, &[], &hands()).unwrap()
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(fields) => {
            fields.insert(name.replace("~1", "/"), value);
        }
        Value::Array(items) if name == "-" => items.push(value),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        _ => panic!("no parent at {parent}"),
    }
}

#[rstest]
#[case::status("/status/readyReplicas", json!(0))]
#[case::resource_version("/metadata/resourceVersion", json!("4712"))]
#[case::generation("/metadata/generation", json!(3))]
#[case::a_defaulted_field("/spec/progressDeadlineSeconds", json!(300))]
#[case::a_controllers_annotation("/metadata/annotations/deployment.kubernetes.io~1revision", json!("2"))]
#[case::an_injected_container("/spec/template/spec/containers/-", json!({"name": "proxy", "image": "p"}))]
fn what_the_application_does_not_own_leaves_the_fingerprint(#[case] pointer: &str, #[case] value: Value) {
    let mut object = deployment();
    set(&mut object, pointer, value);
    assert_eq!(hash(&object), hash(&deployment()));
}

#[rstest]
#[case::a_scalar("/spec/replicas", json!(3))]
#[case::of_a_list_item("/spec/template/spec/containers/0/image", json!("example.com/web:2"))]
#[case::of_an_item_in_an_item("/spec/template/spec/containers/0/env/1/value", json!("x"))]
#[case::of_an_item_with_two_key_fields("/spec/template/spec/containers/0/ports/0/name", json!("web"))]
#[case::an_atomic_list("/spec/template/spec/containers/0/args", json!([":8080", "--listen"]))]
#[case::an_atomic_map("/spec/selector", json!({"matchLabels": {"app": "other"}}))]
#[case::within_an_empty_leaf("/spec/template/spec/volumes/0/emptyDir", json!({"medium": "Memory"}))]
#[case::the_membership("/metadata/labels/bowline.dev~1set", json!("other"))]
#[case::the_type("/spec/replicas", json!("2"))]
fn a_changed_owned_value_changes_the_fingerprint(#[case] pointer: &str, #[case] value: Value) {
    let mut object = deployment();
    set(&mut object, pointer, value);
    assert_ne!(hash(&object), hash(&deployment()));
}

#[test]
fn a_field_that_another_manager_took_changes_the_fingerprint() {
    let mut object = deployment();
    let own = &mut object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    own.as_object_mut().unwrap().remove("f:replicas");
    assert_ne!(hash(&object), hash(&deployment()));
}

#[test]
fn an_owned_field_that_is_gone_changes_the_fingerprint() {
    let mut object = deployment();
    object["spec"].as_object_mut().unwrap().remove("replicas");
    assert_ne!(hash(&object), hash(&deployment()));
}

#[rstest]
#[case::containers("/spec/template/spec/containers")]
#[case::env("/spec/template/spec/containers/0/env")]
fn the_order_of_keyed_items_counts(#[case] list: &str) {
    let mut object = deployment();
    object.pointer_mut(list).unwrap().as_array_mut().unwrap().reverse();
    assert_ne!(hash(&object), hash(&deployment()));
}

#[test]
fn an_item_that_another_program_puts_between_ours_does_not_count() {
    let mut object = deployment();
    object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().insert(1, json!({"name": "proxy"}));
    assert_eq!(hash(&object), hash(&deployment()));
}

#[test]
fn what_another_program_owns_within_a_leaf_of_ours_does_not_count() {
    let mut object = deployment();
    set(&mut object, "/spec/template/spec/volumes/0/emptyDir", json!({"sizeLimit": "1Gi"}));
    let volume = json!({"f:emptyDir": {"f:sizeLimit": {}}});
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:volumes": {r#"k:{"name":"tmp"}"#: volume}}}}});
    with_entry(&mut object, "volume-sizer", "Update", fields);
    assert_eq!(hash(&object), hash(&deployment()));
}

#[test]
fn without_an_entry_there_is_no_fingerprint() {
    let mut object = deployment();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(fingerprint(&object, MANAGER, &[], &hands()), None);
    assert_eq!(fingerprint(&deployment(), "bowline/team-a/other", &[], &hands()), None);
}

#[test]
fn an_update_under_our_name_or_through_a_subresource_is_no_entry_of_ours() {
    let mut object = deployment();
    object["metadata"]["managedFields"][0]["operation"] = json!("Update");
    assert!(entry_of(&object, MANAGER).is_none());
    let mut object = deployment();
    object["metadata"]["managedFields"][0]["subresource"] = json!("scale");
    assert!(entry_of(&object, MANAGER).is_none());
}

#[test]
fn the_entry_tells_the_version_it_was_written_in() {
    assert_eq!(entry_api_version(&deployment(), MANAGER), Some("apps/v1"));
}

#[test]
fn the_order_of_keys_in_the_text_does_not_count() {
    fn reversed(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let parts: Vec<String> =
                    fields.iter().rev().map(|(name, child)| format!("{}:{}", json!(name), reversed(child))).collect();
                format!("{{{}}}", parts.join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }
    let object: Value = serde_json::from_str(&reversed(&deployment())).unwrap();
    assert_eq!(hash(&object), hash(&deployment()));
}

#[rstest]
#[case::the_field_itself("/spec/replicas", "/spec/replicas", json!(7))]
#[case::a_parent("/spec/template/spec/containers/0/env", "/spec/template/spec/containers/0/env/0/value", json!("7"))]
#[case::within_an_atomic_map("/spec/selector/matchLabels/app", "/spec/selector/matchLabels/app", json!("x"))]
fn ignored_fields_are_no_part_of_the_fingerprint(#[case] ignored: &str, #[case] changed: &str, #[case] value: Value) {
    let rules = [IgnoreRule { pointers: vec![ignored.to_owned()], ..IgnoreRule::default() }];
    let mut object = deployment();
    set(&mut object, changed, value);
    let hash = |object| fingerprint(object, MANAGER, &rules, &hands());
    assert_eq!(hash(&object), hash(&deployment()));
}

/// A container, an environment entry and an annotation that `kubectl edit` added.
fn edited() -> Value {
    let mut object = deployment();
    set(&mut object, "/metadata/annotations/note", json!("by hand"));
    set(&mut object, "/spec/template/spec/containers/-", json!({"name": "debug", "image": "busybox"}));
    set(&mut object, &format!("{WEB}/env/-"), json!({"name": "DEBUG", "value": "1"}));
    set(&mut object, &format!("{WEB}/workingDir"), json!("/srv"));
    let fields = json!({
        "f:metadata": {"f:annotations": {"f:note": {}}},
        "f:spec": {"f:template": {"f:spec": {"f:containers": {
            r#"k:{"name":"debug"}"#: {".": {}, "f:image": {}, "f:name": {}},
            r#"k:{"name":"web"}"#: {
                "f:env": {r#"k:{"name":"DEBUG"}"#: {".": {}, "f:name": {}, "f:value": {}}},
                "f:workingDir": {},
            },
        }}}},
    });
    with_entry(&mut object, "kubectl-edit", "Update", fields);
    object
}

fn pointers(object: &Value) -> Vec<String> {
    added_by_hand(object, MANAGER, &hands()).into_iter().map(|field| field.pointer).collect()
}

#[test]
fn what_kubectl_edit_added_is_found_with_whole_items_as_one() {
    let found = added_by_hand(&edited(), MANAGER, &hands());
    let found: Vec<_> = found.iter().map(|f| (f.pointer.as_str(), f.path_for_people.as_str())).collect();
    assert_eq!(
        found,
        [
            ("/spec/template/spec/containers/2", "spec.template.spec.containers[debug]"),
            ("/spec/template/spec/containers/0/workingDir", "spec.template.spec.containers[web].workingDir"),
            ("/spec/template/spec/containers/0/env/2", "spec.template.spec.containers[web].env[DEBUG]"),
            ("/metadata/annotations/note", "metadata.annotations.note"),
        ]
    );
}

#[test]
fn removing_what_was_found_in_its_order_gives_the_object_back() {
    let mut object = edited();
    set(&mut object, &format!("{WEB}/env/-"), json!({"name": "MORE", "value": "1"}));
    let more = json!({r#"k:{"name":"MORE"}"#: {".": {}, "f:name": {}, "f:value": {}}});
    let web = json!({r#"k:{"name":"web"}"#: {"f:env": more}});
    with_entry(
        &mut object,
        "kubectl-patch",
        "Update",
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": web}}}}),
    );
    let removals: Vec<Value> =
        pointers(&object).into_iter().map(|pointer| json!({"op": "remove", "path": pointer})).collect();
    let patch: json_patch::Patch = serde_json::from_value(json!(removals)).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    assert_eq!(object["spec"], deployment()["spec"]);
}

#[test]
fn additions_by_hand_and_their_values_are_part_of_the_fingerprint() {
    assert_ne!(hash(&edited()), hash(&deployment()));
    let mut changed = edited();
    set(&mut changed, &format!("{WEB}/workingDir"), json!("/tmp"));
    assert_ne!(hash(&changed), hash(&edited()));
}

#[rstest]
#[case::pointer(IgnoreRule { pointers: vec!["/metadata/annotations".into()], ..IgnoreRule::default() }, 3)]
#[case::manager(IgnoreRule { managers: vec!["kubectl-edit".into()], ..IgnoreRule::default() }, 0)]
fn ignored_additions_do_not_count(#[case] rule: IgnoreRule, #[case] left: usize) {
    let found = super::fingerprint::by_hand_counting(&edited(), MANAGER, &[rule], &hands());
    assert_eq!(found.len(), left);
}

#[rstest]
#[case::edit("kubectl-edit", "Update", 1)]
#[case::server_side_apply_of_kubectl("kubectl", "Apply", 1)]
#[case::create("kubectl-create", "Update", 1)]
#[case::update_named_kubectl("kubectl", "Update", 0)]
#[case::rollout_restart("kubectl-rollout", "Update", 0)]
#[case::annotate("kubectl-annotate", "Update", 0)]
#[case::label("kubectl-label", "Update", 0)]
#[case::before_first_apply("before-first-apply", "Update", 0)]
#[case::a_controller("some-operator", "Update", 0)]
fn only_hand_managers_add_by_hand(#[case] manager: &str, #[case] operation: &str, #[case] expected: usize) {
    let mut object = deployment();
    set(&mut object, "/spec/paused", json!(true));
    with_entry(&mut object, manager, operation, json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(pointers(&object).len(), expected);
}

#[test]
fn managers_that_are_meant_to_stay_do_so_even_when_they_are_named_as_hands() {
    let mut object = deployment();
    set(&mut object, "/spec/paused", json!(true));
    with_entry(&mut object, "kubectl-rollout", "Update", json!({"f:spec": {"f:paused": {}}}));
    let named = ["kubectl-rollout".to_owned()].into();
    assert!(added_by_hand(&object, MANAGER, &named).is_empty());
}

#[test]
fn a_subresource_is_never_by_hand() {
    let mut object = deployment();
    set(&mut object, "/spec/paused", json!(true));
    with_entry(&mut object, "kubectl-edit", "Update", json!({"f:spec": {"f:paused": {}}}));
    object["metadata"]["managedFields"][2]["subresource"] = json!("scale");
    assert!(pointers(&object).is_empty());
}

#[rstest]
#[case::ours(json!({"f:spec": {"f:replicas": {}}}), None)]
#[case::a_controllers_too(json!({"f:spec": {"f:paused": {}}}), Some("some-operator"))]
#[case::live_before_the_first_apply(json!({"f:spec": {"f:paused": {}}}), Some("before-first-apply"))]
fn what_somebody_else_owns_as_well_is_left(#[case] fields: Value, #[case] also: Option<&str>) {
    let mut object = deployment();
    set(&mut object, "/spec/paused", json!(true));
    with_entry(&mut object, "kubectl-edit", "Update", fields.clone());
    if let Some(also) = also {
        with_entry(&mut object, also, "Update", fields);
    }
    assert!(pointers(&object).is_empty());
}

#[test]
fn a_medium_added_to_our_empty_volume_is_by_hand() {
    let mut object = deployment();
    set(&mut object, "/spec/template/spec/volumes/0/emptyDir", json!({"medium": "Memory"}));
    let volume = json!({"f:emptyDir": {"f:medium": {}}});
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:volumes": {r#"k:{"name":"tmp"}"#: volume}}}}});
    with_entry(&mut object, "kubectl-edit", "Update", fields);
    assert_eq!(pointers(&object), ["/spec/template/spec/volumes/0/emptyDir/medium"]);
}

#[test]
fn lost_fields_name_who_has_them_now() {
    let mut now = deployment();
    set(&mut now, "/spec/replicas", json!(5));
    now["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].as_object_mut().unwrap().remove("f:replicas");
    with_entry(&mut now, "autoscaler", "Update", json!({"f:spec": {"f:replicas": {}}}));
    let lost = lost_fields(&deployment(), &now, MANAGER);
    assert_eq!(lost, [LostField { path: "spec.replicas".into(), managers: vec!["autoscaler".into()] }]);
    assert!(lost_fields(&deployment(), &deployment(), MANAGER).is_empty());
}

#[test]
fn owned_values_name_place_and_value() {
    let object = deployment();
    let values = owned_values(&object, MANAGER).unwrap();
    let image = values.iter().find(|value| value.path == "spec.template.spec.containers[web].image").unwrap();
    assert_eq!(image.value, Some(&json!("example.com/web:1")));
    assert_eq!(image.pointer.as_deref(), Some("/spec/template/spec/containers/0/image"));
}

proptest! {
    #[test]
    fn any_value_at_any_owned_leaf_other_than_its_own_changes_the_fingerprint(pick: prop::sample::Index, text in "[a-z]{1,8}") {
        let object = deployment();
        let leaves: Vec<String> =
            owned_values(&object, MANAGER).unwrap().into_iter().filter_map(|value| value.pointer).collect();
        let pointer = pick.get(&leaves);
        let mut changed = object.clone();
        *changed.pointer_mut(pointer).unwrap() = json!(text);
        prop_assume!(changed != object);
        prop_assert_ne!(hash(&changed), hash(&object));
    }

    #[test]
    fn any_managed_fields_are_read_without_a_panic(steps in prop::collection::vec("([fkvi]:)?.{0,6}", 0..6)) {
        let mut fields = json!({});
        for step in steps {
            fields = json!({ step: fields });
        }
        let mut object = deployment();
        with_entry(&mut object, "kubectl-edit", "Update", fields.clone());
        with_entry(&mut object, "x", "Apply", fields);
        added_by_hand(&object, MANAGER, &hands());
        fingerprint(&object, "x", &[], &hands());
        owned_values(&object, "x");
    }
}
