//! What the server makes of single requests: preconditions, managers, objects
//! and namespaces on their way out, watches, partial objects. What is built on
//! these answers is tested elsewhere; here they are held themselves.

use std::time::Duration;

use bowline::cluster::{
    Identity, RequestError,
    client::{Answer, Call, path},
};
use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::World;

const APPLY: &str = "application/apply-patch+yaml";

/// The server's answer: its code, and its body or what its error says.
#[derive(Debug)]
struct Said {
    code: u16,
    body: Value,
    error: String,
}

fn said(answer: Result<Answer, RequestError>) -> Said {
    match answer {
        Ok(answer) => Said { code: answer.code, body: answer.json().unwrap(), error: String::new() },
        Err(error) => Said { code: error.error.code, body: Value::Null, error: error.error.message },
    }
}

/// An apply that is not forced, of a ConfigMap with this in its metadata.
async fn apply(world: &World, name: &str, manager: &str, metadata: Value, value: &str) -> Said {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": value},
        "metadata": {"name": name, "namespace": world.namespace}});
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    let place = path::core(Some(&world.namespace), "configmaps", name).unwrap();
    let place = path::with_query(&place, &[("fieldManager", manager)]);
    said(world.cluster.request(&Call::write(Method::PATCH, place, &Identity::Own, APPLY, &object)).await)
}

async fn create(world: &World, object: Value) -> Said {
    let place = path::core(Some(&world.namespace), "configmaps", "").unwrap();
    said(world.cluster.request(&Call::write(Method::POST, place, &Identity::Own, "application/json", &object)).await)
}

async fn get(world: &World, query: &str, accept: Option<&'static str>) -> Result<Answer, RequestError> {
    let place = path::core(Some(&world.namespace), "configmaps", "").unwrap();
    world.cluster.request(&Call { accept, ..Call::get(format!("{place}?{query}"), &Identity::Own) }).await
}

#[rstest]
#[case::another_uid_is_unprocessable(true, json!({"uid": "00000000-0000-0000-0000-000000000000"}), 422)]
#[case::a_uid_without_an_object_is_a_conflict(false, json!({"uid": "00000000-0000-0000-0000-000000000000"}), 409)]
#[case::an_old_version_is_a_conflict(true, json!({"resourceVersion": "1"}), 409)]
#[case::a_version_without_an_object_creates_it(false, json!({"resourceVersion": "1"}), 201)]
#[case::version_zero_is_no_precondition(true, json!({"resourceVersion": "0"}), 200)]
#[case::without_any_it_updates(true, json!({}), 200)]
#[case::without_any_it_creates(false, json!({}), 201)]
#[tokio::test]
async fn a_precondition_of_an_apply(#[case] exists: bool, #[case] metadata: Value, #[case] code: u16) {
    let world = World::as_admin().await;
    if exists {
        assert_eq!(apply(&world, "a", "one", json!({}), "1").await.code, 201);
    }
    let said = apply(&world, "a", "one", metadata, "2").await;
    assert_eq!(said.code, code, "{said:?}");
}

#[tokio::test]
async fn an_apply_needs_a_name() {
    let world = World::as_admin().await;
    let said = apply(&world, "a", "one", json!({"generateName": "a-", "name": ""}), "1").await;
    assert!((400..500).contains(&said.code), "{said:?}");
}

#[tokio::test]
async fn one_manager_for_two_applications_is_blind_and_a_manager_each_is_told() {
    let world = World::as_admin().await;
    let set = |set: &str| json!({"labels": {"bowline.dev/set": set}});
    let made = apply(&world, "a", "both", json!({"labels": {"bowline.dev/set": "one", "only": "one"}}), "1").await;
    assert_eq!(made.code, 201);
    let taken = apply(&world, "a", "both", set("two"), "1").await;
    assert_eq!(taken.code, 200, "not forced, and not refused");
    assert_eq!(taken.body["metadata"]["labels"], json!({"bowline.dev/set": "two"}), "the first one's keys are gone");
    let refused = apply(&world, "a", "other", set("three"), "1").await;
    assert_eq!(refused.code, 409);
    assert!(refused.error.contains("bowline.dev/set"), "the label is named: {}", refused.error);
    let long = apply(&world, "b", &"m".repeat(128), json!({}), "1").await;
    let too_long = apply(&world, "c", &"m".repeat(129), json!({}), "1").await;
    assert_eq!((long.code, (400..500).contains(&too_long.code)), (201, true), "{too_long:?}");
}

#[tokio::test]
async fn an_object_on_its_way_out_takes_applies_and_no_other_may_take_its_name() {
    let world = World::as_admin().await;
    let held = json!({"finalizers": ["example.com/held"]});
    assert_eq!(apply(&world, "a", "one", held.clone(), "1").await.code, 201);
    world.kubectl(&["delete", "configmap", "a", "-n", &world.namespace, "--wait=false"]);
    let taken = apply(&world, "a", "one", held, "2").await;
    assert_eq!(taken.code, 200, "{taken:?}");
    assert!(taken.body["metadata"].get("deletionTimestamp").is_some());
    let metadata = json!({"name": "a", "namespace": world.namespace});
    let second = create(&world, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).await;
    assert_eq!(second.code, 409);
    assert!(second.error.contains("object is being deleted"), "{}", second.error);
    // An apply that leaves out a finalizer that it owned finishes the deletion.
    assert_eq!(apply(&world, "a", "one", json!({}), "3").await.code, 200);
    let gone = world.kubectl(&["get", "configmap", "a", "-n", &world.namespace, "--ignore-not-found"]);
    assert_eq!(gone, "");
}

#[tokio::test]
async fn a_namespace_on_its_way_out_takes_updates_and_no_creations() {
    let world = World::as_admin().await;
    assert_eq!(apply(&world, "a", "one", json!({"finalizers": ["example.com/held"]}), "1").await.code, 201);
    world.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]);
    let refused = apply(&world, "b", "one", json!({}), "1").await;
    assert_eq!(refused.code, 403, "{refused:?}");
    assert!(refused.error.contains("because it is being terminated"), "{}", refused.error);
    let taken = apply(&world, "a", "two", json!({"annotations": {"example.com/a": "1"}}), "1").await;
    assert_eq!(taken.code, 200, "{taken:?}");
    let free = r#"[{"op":"remove","path":"/metadata/finalizers"}]"#;
    world.kubectl(&["patch", "configmap", "a", "-n", &world.namespace, "--type=json", "-p", free]);
}

#[tokio::test]
async fn a_watch_from_an_old_version_is_told_410_in_its_first_event() {
    let world = World::as_admin().await;
    // The server remembers nothing from before a kind was defined, so that this
    // version is too old for certain; that of an old kind may go back to the first.
    let group = format!("{}.example.com", world.namespace);
    world.create(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    }));
    let name = format!("crd/gadgets.{group}");
    world.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=30s"]);
    let place = format!("/apis/{group}/v1/gadgets?watch=true&timeoutSeconds=2&resourceVersion=1");
    let first = loop {
        let first: Value = match world.cluster.request(&Call::get(place.clone(), &Identity::Own)).await {
            Ok(answer) => serde_json::from_slice(answer.body.split(|byte| *byte == b'\n').next().unwrap()).unwrap(),
            Err(error) => json!({"type": "ERROR", "object": {"code": error.error.code}}),
        };
        // So it answers until it has read the kind for the first time.
        if first["object"]["code"] != 429 {
            break first;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    world.kubectl(&["delete", &name, "--wait=false"]);
    assert_eq!((&first["type"], &first["object"]["code"]), (&json!("ERROR"), &json!(410)), "{first}");
}

#[tokio::test]
async fn a_quiet_watch_ends_with_a_bookmark() {
    let world = World::as_admin().await;
    let list: Value = get(&world, "limit=1", None).await.unwrap().json().unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    // The server sends them about 2 s before its time-out.
    let query = format!("watch=true&timeoutSeconds=6&allowWatchBookmarks=true&resourceVersion={version}");
    let answer = get(&world, &query, None).await.unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains(r#""type":"BOOKMARK""#), "{text}");
}

#[tokio::test]
async fn a_partial_object_shows_ownership_without_content() {
    let world = World::as_admin().await;
    apply(&world, "a", "one", json!({}), "content").await;
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list: Value = get(&world, "fieldSelector=metadata.name%3Da", Some(partial)).await.unwrap().json().unwrap();
    let item = &list["items"][0];
    assert_eq!(item.get("data"), None);
    assert_eq!(item["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:key"], json!({}));
}

#[tokio::test]
async fn managed_fields_can_be_forged_by_an_update() {
    let world = World::as_admin().await;
    apply(&world, "a", "one", json!({}), "1").await;
    let forged = json!({"metadata": {"managedFields": [{"manager": "bowline/team/shop", "operation": "Apply",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:key": {}}}}]}});
    world.kubectl(&["patch", "configmap", "a", "-n", &world.namespace, "--type=merge", "-p", &forged.to_string()]);
    let live = world.kubectl(&["get", "configmap", "a", "-n", &world.namespace, "-o", "json", "--show-managed-fields"]);
    assert!(live.contains("bowline/team/shop"), "an entry alone proves nothing: {live}");
}
