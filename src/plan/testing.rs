//! Objects for the tests of this module.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};

use super::{Membership, Owned, Policy, body, ownership};
use crate::manifest::{BundleDigest, Digest, GroupVersionKind, Manifest, ManifestDigest, ObjectId};

pub(crate) const MANAGER: &str = "bowline/team-a/shop";

/// A Deployment as an API server returns it, with its entries.
pub(crate) fn deployment() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/live/deployment.json")).unwrap()
}

pub(crate) fn hands() -> BTreeSet<String> {
    Policy::HAND_MANAGERS.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn policy() -> Policy {
    Policy {
        membership: Arc::new(Membership {
            set: "set-of-shop".into(),
            application: "team-a/shop".into(),
            manager: MANAGER.into(),
        }),
        prune: true,
        preflight: true,
        conflicts: super::ConflictPolicy::Take,
        ignore: Vec::new(),
        hand_managers: hands(),
        max_prune_percent: 50,
        allow_prune: None,
        rollback: None,
        create_namespace: None,
        hooks: None,
        elsewhere: Default::default(),
        given_up: Default::default(),
    }
}

pub(crate) fn bundle() -> BundleDigest {
    BundleDigest(Digest::of(b"bundle"))
}

pub(crate) fn manifest(value: Value) -> Arc<Manifest> {
    let gvk =
        GroupVersionKind::from_api_version(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap())
            .unwrap();
    let namespace = value["metadata"]["namespace"].as_str().map(str::to_owned);
    let id = ObjectId::new(gvk.group_kind(), namespace, value["metadata"]["name"].as_str().unwrap());
    let digest = ManifestDigest(Digest::of(value.to_string().as_bytes()));
    Arc::new(Manifest { id, gvk, value: value.into(), digest, origin: None })
}

pub(crate) fn config_map(name: &str, content: &str) -> Arc<Manifest> {
    manifest(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "team-a"}, "data": {"key": content}}))
}

pub(crate) fn uid_of(id: &ObjectId) -> String {
    format!("uid-of-{}", id.name)
}

/// The object as it is after the apply of a manifest.
pub(crate) fn live(manifest: &Manifest) -> Value {
    let body = body(manifest, None, &policy());
    let mut object = body.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".into(), json!(uid_of(&manifest.id)));
    metadata.insert("resourceVersion".into(), json!("100"));
    with_entry(&mut object, MANAGER, "Apply", fields_of(&body));
    object
}

/// What the inventory has of an object after the apply of its manifest.
pub(crate) fn owned(manifest: &Manifest) -> Owned {
    Owned {
        gvk: manifest.gvk.clone(),
        uid: Some(uid_of(&manifest.id)),
        manifest: Some(manifest.digest.clone()),
        fingerprint: ownership::fingerprint(&live(manifest), MANAGER, &[], &hands()),
        done: false,
        hook: false,
    }
}

/// Adds an entry to the managed fields.
pub(crate) fn with_entry(object: &mut Value, manager: &str, operation: &str, fields: Value) {
    let entry = json!({"apiVersion": object["apiVersion"], "fieldsType": "FieldsV1", "manager": manager,
        "operation": operation, "fieldsV1": fields});
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.entry("managedFields").or_insert(json!([])).as_array_mut().unwrap().push(entry);
}

/// Replaces the fields of our entry.
pub(crate) fn set_own_fields(object: &mut Value, fields: Value) {
    let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.retain(|entry| entry["manager"] != MANAGER);
    with_entry(object, MANAGER, "Apply", fields);
}

/// The fields of an applied body, as the server names them.
pub(crate) fn fields_of(body: &Value) -> Value {
    let mut fields = set_of(body);
    fields.remove("f:apiVersion");
    fields.remove("f:kind");
    if let Some(metadata) = fields.get_mut("f:metadata").and_then(Value::as_object_mut) {
        metadata.remove("f:name");
        metadata.remove("f:namespace");
    }
    Value::Object(fields)
}

fn set_of(value: &Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, child)| (format!("f:{name}"), set_of(child).into())).collect()
        }
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => items
            .iter()
            .map(|item| {
                let mut set = set_of(item);
                set.insert(".".into(), json!({}));
                (format!("k:{}", json!({"name": item["name"]})), set.into())
            })
            .collect(),
        _ => Map::new(),
    }
}
