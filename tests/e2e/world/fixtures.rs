//! Manifests that the stories push.

use serde_json::{Value, json};

/// One ConfigMap with one key.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

/// One Secret with one key.
pub fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}})
}

/// A Deployment of one replica; the tag `missing` of an image never starts.
pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// ConfigMaps `item-0`, `item-1` and so on, as one file.
pub fn many_config_maps(count: usize, value: &str) -> String {
    let all: Vec<_> = (0..count).map(|number| config_map(&format!("item-{number}"), value)).collect();
    yaml(&all)
}

/// Objects as one file of many documents. JSON is YAML too.
pub fn yaml(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object:#}\n")).collect()
}
