//! What an adopted object holds beside the manifest.
//!
//! An object that nobody claims becomes the application's own. Bowline does
//! then what the next `kubectl apply` of the manifest would have done: fields
//! that an earlier apply of the files set, and the manifest no longer has, go
//! away. What `kubectl apply` would have left (an edit, a patch, what `kubectl
//! create` set) nobody has a copy of, so that it is not dropped unasked.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Refusal, RefusalReason,
    claim::{TAKE_OVER, annotation},
    conflict::listed,
    ownership::{ByHand, KUBECTL_APPLY, entries, tokens_of},
};
use crate::manifest::ObjectId;

/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields, by their paths for people, that an adoption would drop and the
/// next `kubectl apply` would not.
pub(super) fn dropped_unasked<'f>(
    object: &Value,
    by_hand: &'f [ByHand],
    hand_managers: &BTreeSet<String>,
) -> Vec<&'f str> {
    if by_hand.is_empty() {
        return Vec::new();
    }
    let last_applied = last_applied(object);
    by_hand
        .iter()
        .filter(|field| {
            !is_last_applied(field)
                && last_applied.as_ref().is_none_or(|files| field.pointer_in(files).is_none())
                && !is_applied_alone(object, field, hand_managers)
        })
        .map(|field| field.path_for_people.as_str())
        .collect()
}

/// The refusal of an adoption that would drop what nobody has a copy of.
pub(super) fn refuse(id: &ObjectId, fields: &[&str]) -> Refusal {
    let fields = listed(fields);
    Refusal {
        reason: RefusalReason::OwnedByOther,
        object: Some(id.clone()),
        message: format!("exists already, with fields that the manifest does not have: {fields}"),
        hint: Some(format!("add them to the manifest, or annotate it {TAKE_OVER}: \"true\" to drop them")),
        transient: false,
    }
}

/// The record of `kubectl apply` itself: it would be stale from now on.
fn is_last_applied(field: &ByHand) -> bool {
    field.path_for_people.contains("last-applied-configuration")
}

/// Whether only `kubectl apply --server-side` set a field, of which the server
/// knows that it came from files.
fn is_applied_alone(object: &Value, field: &ByHand, hand_managers: &BTreeSet<String>) -> bool {
    let at = tokens_of(&field.pointer);
    field.manager == KUBECTL_APPLY
        && !entries(object).any(|entry| {
            entry.manager != KUBECTL_APPLY && hand_managers.contains(entry.manager) && entry.fields.covers(object, &at)
        })
}

/// What the files said at the last `kubectl apply`, in the form that the
/// server keeps.
fn last_applied(object: &Value) -> Option<Value> {
    let mut files: Value = serde_json::from_str(annotation(object, LAST_APPLIED)?).ok()?;
    if files.get("kind").and_then(Value::as_str) == Some("Secret")
        && let Some(Value::Object(texts)) = files.as_object_mut()?.remove("stringData")
    {
        let data = files.as_object_mut()?.entry("data").or_insert_with(|| Value::Object(Map::new()));
        data.as_object_mut()?.extend(texts);
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::{
        ownership::added_by_hand,
        testing::{MANAGER, hands, with_entry},
    };

    /// A live object whose fields `kept` are in the manifest too.
    fn object(kind: &str, files: Option<Value>, entries: &[(&str, &str, Value)]) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "annotations": {}},
            "data": {"kept": "1", "old": "2"}});
        if let Some(files) = files {
            object["metadata"]["annotations"][LAST_APPLIED] = json!(files.to_string());
        }
        for (manager, operation, fields) in entries {
            with_entry(&mut object, manager, operation, fields.clone());
        }
        with_entry(&mut object, MANAGER, "Apply", json!({"f:data": {"f:kept": {}}}));
        object
    }

    fn both() -> Value {
        json!({"f:data": {"f:kept": {}, "f:old": {}}})
    }

    #[rstest]
    #[case::by_kubectl_apply(
        "ConfigMap", Some(json!({"kind": "ConfigMap", "data": {"kept": "1", "old": "2"}})),
        &[("kubectl-client-side-apply", "Update", both())], &[])]
    #[case::by_kubectl_apply_of_a_secret(
        "Secret", Some(json!({"kind": "Secret", "stringData": {"old": "2"}})),
        &[("kubectl-client-side-apply", "Update", both())], &[])]
    #[case::by_kubectl_apply_and_edited_since(
        "ConfigMap", Some(json!({"kind": "ConfigMap", "data": {"kept": "1", "old": "0"}})),
        &[("kubectl-edit", "Update", json!({"f:data": {"f:old": {}}}))], &[])]
    #[case::by_an_edit_beside_the_files(
        "ConfigMap", Some(json!({"kind": "ConfigMap", "data": {"kept": "1"}})),
        &[("kubectl-edit", "Update", json!({"f:data": {"f:old": {}}}))], &["data.old"])]
    #[case::by_kubectl_create("ConfigMap", None, &[("kubectl-create", "Update", both())], &["data.old"])]
    #[case::by_server_side_apply("ConfigMap", None, &[("kubectl", "Apply", both())], &[])]
    #[case::by_server_side_apply_and_an_edit(
        "ConfigMap", None,
        &[("kubectl", "Apply", both()), ("kubectl-edit", "Update", json!({"f:data": {"f:old": {}}}))], &["data.old"])]
    #[case::with_a_record_that_cannot_be_read(
        "ConfigMap", Some(json!("no object")), &[("kubectl-client-side-apply", "Update", both())], &["data.old"])]
    fn what_kubectl_apply_would_take_away_needs_no_question(
        #[case] kind: &str,
        #[case] files: Option<Value>,
        #[case] entries: &[(&str, &str, Value)],
        #[case] expected: &[&str],
    ) {
        let object = object(kind, files, entries);
        let by_hand = added_by_hand(&object, MANAGER, &hands());
        assert!(by_hand.iter().any(|field| field.path_for_people == "data.old"), "{by_hand:?}");
        assert_eq!(dropped_unasked(&object, &by_hand, &hands()), expected);
    }
}
