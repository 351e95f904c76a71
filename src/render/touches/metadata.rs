//! Labels and annotations for every object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Adds labels or annotations to an object itself. Whatever is malformed stays
/// so and is told of when the object is read.
pub(super) fn add(object: &mut Value, field: &str, added: &BTreeMap<String, String>) {
    if added.is_empty() {
        return;
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let entry = metadata.entry(field).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    if let Some(entries) = entry.as_object_mut() {
        entries.extend(added.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::none(json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "a", "labels": {"team": "shop"}}}))]
    #[case::null(json!({"metadata": {"labels": null}}), json!({"metadata": {"labels": {"team": "shop"}}}))]
    #[case::beside(json!({"metadata": {"labels": {"app": "web"}}}), json!({"metadata": {"labels": {"app": "web", "team": "shop"}}}))]
    #[case::over(json!({"metadata": {"labels": {"team": "x"}}}), json!({"metadata": {"labels": {"team": "shop"}}}))]
    #[case::malformed(json!({"metadata": {"labels": "x"}}), json!({"metadata": {"labels": "x"}}))]
    #[case::no_metadata(json!({"kind": "x"}), json!({"kind": "x"}))]
    #[case::not_of_pods(
        json!({"metadata": {}, "spec": {"template": {"metadata": {}}}}),
        json!({"metadata": {"labels": {"team": "shop"}}, "spec": {"template": {"metadata": {}}}})
    )]
    fn labels_are_added_to_the_object_itself(#[case] mut object: Value, #[case] expected: Value) {
        add(&mut object, "labels", &[("team".to_owned(), "shop".to_owned())].into());
        assert_eq!(object, expected);
    }
}
