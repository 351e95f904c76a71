//! Making our own what was added by hand, so that an apply takes it away.
//!
//! An apply that brings back what somebody took away may not be possible while
//! what they put in its place is there: two ports of one name. What we own and
//! do not send goes by the same apply, so that the entries are moved first.

use serde_json::{Map, Value};

use super::ByHand;

/// The `managedFields` of an object with the fields that were added by hand
/// moved from the entries of who added them into that of `manager`. None where
/// there is no entry of `manager`, or nothing to move that is written in its
/// version.
pub fn handed_over(object: &Value, manager: &str, by_hand: &[ByHand]) -> Option<Value> {
    let mut entries = object.pointer("/metadata/managedFields")?.as_array()?.clone();
    let is_ours = |entry: &Value| {
        entry["manager"] == manager && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    };
    let mut ours = entries.remove(entries.iter().position(is_ours)?);
    let version = ours["apiVersion"].clone();
    let mut moved = false;
    for field in by_hand {
        let theirs = entries.iter_mut().filter(|entry| {
            entry["manager"] == *field.manager && entry["apiVersion"] == version && entry.get("subresource").is_none()
        });
        for entry in theirs {
            let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) else { continue };
            if let Some(taken) = take(fields, field.steps()) {
                give(ours.get_mut("fieldsV1")?.as_object_mut()?, field.steps(), taken);
                moved = true;
            }
        }
    }
    entries.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
    entries.insert(0, ours);
    moved.then_some(Value::Array(entries))
}

/// Takes what is owned at a place out of a set, and the nodes above it that
/// own nothing any more: an empty node would own all that it holds.
fn take(fields: &mut Map<String, Value>, steps: &[String]) -> Option<Value> {
    let (first, rest) = steps.split_first()?;
    if rest.is_empty() {
        return fields.remove(first);
    }
    let child = fields.get_mut(first)?.as_object_mut()?;
    let taken = take(child, rest)?;
    if child.is_empty() {
        fields.remove(first);
    }
    Some(taken)
}

/// Puts what is owned into a set. A node that was owned as a whole says so.
fn give(fields: &mut Map<String, Value>, steps: &[String], given: Value) {
    let Some((first, rest)) = steps.split_first() else { return };
    if rest.is_empty() {
        fields.insert(first.clone(), given);
        return;
    }
    let is_new = !fields.contains_key(first);
    let child = fields.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Some(child) = child.as_object_mut() {
        if child.is_empty() && !is_new {
            child.insert(".".to_owned(), Value::Object(Map::new()));
        }
        give(child, rest, given);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::plan::{
        ownership::{added_by_hand, entry_of},
        testing::hands,
    };

    const HAND: &str = r#"k:{"port":81,"protocol":"TCP"}"#;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn service(hand: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"app": "web"}, "managedFields": [
                entry("controller", "Update", json!({"f:metadata": {"f:labels": {"f:app": {}}}})),
                entry("ours", "Apply", json!({"f:spec": {"f:selector": {}}})),
                hand,
            ]},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 81, "protocol": "TCP"}], "paused": true},
        })
    }

    #[test]
    fn what_was_added_by_hand_becomes_ours_and_the_rest_stays_where_it_is() {
        let port = json!({".": {}, "f:name": {}, "f:port": {}});
        let hand = json!({"f:spec": {"f:paused": {}, "f:ports": {HAND: port}}});
        let object = service(entry("kubectl-edit", "Update", hand));
        let by_hand = added_by_hand(&object, "ours", &hands());
        let ports: Vec<ByHand> = by_hand.into_iter().filter(|field| field.pointer.starts_with("/spec/ports")).collect();
        let managed = handed_over(&object, "ours", &ports).unwrap();
        assert_eq!(
            managed,
            json!([
                entry("ours", "Apply", json!({"f:spec": {"f:selector": {}, "f:ports": {HAND: port}}})),
                entry("controller", "Update", json!({"f:metadata": {"f:labels": {"f:app": {}}}})),
                entry("kubectl-edit", "Update", json!({"f:spec": {"f:paused": {}}})),
            ])
        );
    }

    #[test]
    fn an_entry_with_nothing_left_goes_and_nothing_is_by_hand_any_more() {
        let mut object =
            service(entry("kubectl-edit", "Update", json!({"f:spec": {"f:ports": {HAND: {".": {}, "f:port": {}}}}})));
        let by_hand = added_by_hand(&object, "ours", &hands());
        object["metadata"]["managedFields"] = handed_over(&object, "ours", &by_hand).unwrap();
        assert_eq!(object["metadata"]["managedFields"].as_array().unwrap().len(), 2);
        assert!(added_by_hand(&object, "ours", &hands()).is_empty());
    }

    #[test]
    fn a_map_that_we_own_as_a_whole_stays_so() {
        let mut object = service(entry("kubectl-edit", "Update", json!({"f:spec": {"f:selector": {"f:more": {}}}})));
        object["spec"]["selector"]["more"] = json!("1");
        let by_hand = added_by_hand(&object, "ours", &hands());
        object["metadata"]["managedFields"] = handed_over(&object, "ours", &by_hand).unwrap();
        let selector = entry_of(&object, "ours").unwrap().field("spec").unwrap().field("selector").unwrap();
        assert!(selector.owns_itself() && selector.field("more").is_some());
    }

    #[test]
    fn nothing_is_moved_from_another_version_nor_without_an_entry_of_ours() {
        let mut hand = entry("kubectl-edit", "Update", json!({"f:spec": {"f:ports": {HAND: {".": {}, "f:port": {}}}}}));
        hand["apiVersion"] = json!("v2");
        let object = service(hand);
        let by_hand = added_by_hand(&object, "ours", &hands());
        assert!(!by_hand.is_empty());
        assert_eq!(handed_over(&object, "ours", &by_hand), None);
        assert_eq!(handed_over(&object, "others", &by_hand), None);
        assert_eq!(handed_over(&object, "ours", &[]), None);
    }
}
