//! Nodes and volumes of a cluster, created through its API like anything else.

use std::path::Path;

use serde_json::{Value, json};

use super::Options;

/// A `List` of the fake nodes, StorageClass `standard` and its static volumes.
pub(super) fn nodes_and_volumes(options: &Options, volumes: &Path) -> Value {
    let mut items: Vec<Value> = (1..=options.nodes).map(node).collect();
    items.push(storage_class());
    items.extend((1..=options.volumes).map(|number| volume(number, volumes)));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// How many nodes of a NodeList are ready.
pub(super) fn ready_nodes(list: &Value) -> usize {
    let ready = |node: &&Value| {
        node["status"]["conditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
    };
    list["items"].as_array().map_or(0, |items| items.iter().filter(ready).count())
}

fn node(number: usize) -> Value {
    let name = format!("node-{number}");
    let size = json!({ "cpu": "32", "memory": "128Gi", "pods": "500", "ephemeral-storage": "500Gi" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": format!("zone-{}", (number - 1) % 3 + 1),
            },
            "annotations": { "rig.bowline.dev/fixture": "a node that kwok pretends; it runs no containers" },
        },
        "status": { "capacity": size, "allocatable": size },
    })
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    })
}

fn volume(number: usize, volumes: &Path) -> Value {
    let name = format!("volume-{number:03}");
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
            "hostPath": { "path": volumes.join(&name).display().to_string() },
        },
    })
}
