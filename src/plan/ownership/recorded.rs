//! The same on objects that an API server (1.37.2) returned: applied by us,
//! then changed with `kubectl edit`, `set env`, `patch`, `rollout restart`,
//! `annotate`, `label` and `scale`, applied again, and with the additions
//! dropped by one JSON patch.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::plan::testing::{MANAGER, hands};

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../../tests/fixtures/live/", $name, ".json"))).unwrap()
    };
}

fn pointers(object: &Value) -> Vec<String> {
    added_by_hand(object, MANAGER, &hands()).into_iter().map(|field| field.pointer).collect()
}

#[test]
fn every_addition_by_kubectl_is_found_and_no_other_change() {
    assert_eq!(
        pointers(&recorded!("deployment-edited-by-hand")),
        [
            "/spec/template/spec/volumes/0/emptyDir/medium",
            "/spec/template/spec/containers/2/env",
            "/spec/template/spec/containers/1/env/3",
            "/spec/template/spec/containers/1/env/2",
            "/spec/template/spec/containers/0",
            "/spec/minReadySeconds",
            "/metadata/annotations/note",
        ]
    );
    assert_eq!(
        pointers(&recorded!("service-patched-by-hand")),
        ["/spec/type", "/spec/sessionAffinityConfig", "/spec/sessionAffinity"]
    );
}

#[rstest]
#[case::deployment(recorded!("deployment-edited-by-hand"), recorded!("deployment-with-additions-dropped"))]
#[case::service(recorded!("service-patched-by-hand"), recorded!("service-with-additions-dropped"))]
fn what_the_server_has_after_the_drop_is_known_as_undrifted(#[case] edited: Value, #[case] restored: Value) {
    let hash = |object: &Value| fingerprint(object, MANAGER, &[], &hands()).unwrap();
    assert_ne!(hash(&edited), hash(&restored));
    assert!(pointers(&restored).is_empty());
    let mut dropped = edited.clone();
    let removals: Vec<Value> =
        pointers(&edited).into_iter().map(|pointer| json!({"op": "remove", "path": pointer})).collect();
    let patch: json_patch::Patch = serde_json::from_value(json!(removals)).unwrap();
    json_patch::patch(&mut dropped, &patch).unwrap();
    assert_eq!(hash(&dropped), hash(&restored), "defaults and the pods' restart are no part of it");
}

#[rstest]
#[case::with_defaults_in_the_entry_of_kubectl_create(recorded!("deployment-adopted"))]
#[case::with_the_label_of_its_name(recorded!("namespace-adopted"))]
#[case::with_what_its_controller_set(recorded!("job-adopted"))]
fn defaults_and_allocations_of_an_adopted_object_are_not_by_hand(#[case] object: Value) {
    assert!(entry_of(&object, MANAGER).is_some());
    assert_eq!(pointers(&object), Vec::<String>::new());
}
