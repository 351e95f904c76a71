//! The memory that the live index takes, in a process of its own so that
//! nothing else is measured.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bowline::{
    cluster::{
        OwnerKey,
        index::{FingerprintPolicy, KindKey, Reading, Scope, Sighting, State, Subject, assess},
    },
    health::OwnChecks,
    manifest::GroupVersionKind,
    plan::Membership,
};
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const BUDGET: usize = 20 << 20;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A Deployment whose rollout is not finished, so that a reason
/// is kept as well.
fn deployment(number: usize) -> Value {
    let name = format!("some-service-with-a-name-{number:05}");
    let environment: Vec<Value> =
        (0..8).map(|index| json!({"name": format!("VARIABLE_{index}"), "value": "a value of some length"})).collect();
    let owned: serde_json::Map<String, Value> = (0..8)
        .map(|index| (format!("k:{{\"name\":\"VARIABLE_{index}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}})))
        .collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "namespace": "team-a", "name": name, "uid": format!("11111111-2222-3333-4444-{number:012}"),
            "resourceVersion": (number + 1).to_string(), "generation": 2,
            "labels": {"bowline.dev/set": "set"}, "annotations": {"bowline.dev/application": "team-a/shop"},
            "managedFields": [{
                "manager": "bowline/team-a/shop", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:image": {}, "f:env": owned}}}}}},
            }],
        },
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "main", "image": "app:1", "env": environment}]}}},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 1},
    })
}

#[test]
fn ten_thousand_objects_fit_into_the_budget() {
    let owner = OwnerKey::new("team-a", "shop");
    let key = KindKey::new(GroupVersionKind::new("apps", "v1", "Deployment"), Scope::Cluster);
    let membership =
        Membership { set: "set".into(), application: owner.to_string(), manager: "bowline/team-a/shop".into() };
    let policy = FingerprintPolicy {
        membership,
        ignore: Vec::new(),
        hand_managers: BTreeSet::new(),
        checks: OwnChecks::default(),
    };
    let mut state = State::default();
    state.set_policy(&owner, policy);
    state.want(&owner, &BTreeSet::from([key.clone()]));
    state.list_started(&key);
    let mut tell = |number: usize| {
        let object = deployment(number);
        let sighting = Sighting::read(&object).unwrap();
        let (policy, generation) = state.policy_for(&sighting).unwrap();
        let assessed = assess(&Subject { object: &object, owner: &owner, policy: &policy, has_status: Some(true) });
        assert!(assessed.fingerprint.is_some() && !assessed.health.reason.is_empty());
        state.listed(&key, Reading { sighting, assessed: Some((assessed, generation)) }).unwrap();
    };
    // What is allocated once for all objects is no part of it.
    tell(0);
    let before = resident();
    for number in 1..OBJECTS {
        tell(number);
    }
    let taken = resident().saturating_sub(before);
    state.list_done(&key, Some(u64::MAX));
    assert_eq!(state.len(), OBJECTS);
    let each = taken / OBJECTS;
    assert!(taken < BUDGET, "{OBJECTS} objects take {taken} bytes, {each} each");
    assert!(each < 1024, "a few hundred bytes an object, and not {each}");
}
