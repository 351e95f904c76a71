//! What becomes of kubectl's entries when an object is adopted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{by_hand::is_by_people, entries};

/// The hand managers that have an entry of the object itself: when the object
/// is adopted, their entries go. Otherwise what `kubectl create` or `kubectl
/// apply` once set would stay when a later manifest no longer has it, since the
/// server keeps a field for as long as anybody owns it.
pub fn former_managers(object: &Value, manager: &str, hand_managers: &BTreeSet<String>) -> Vec<String> {
    let names: BTreeSet<&str> = entries(object)
        .filter(|entry| entry.manager != manager && is_by_people(entry, hand_managers))
        .map(|entry| entry.manager)
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The managed fields of an object without the entries of `former`, but for
/// those of subresources. `None` where there is nothing to take away. The
/// values stay as they are: an entry is only about who answers for them.
pub fn without_entries(object: &Value, former: &[String]) -> Option<Vec<Value>> {
    let all = object.get("metadata")?.get("managedFields")?.as_array()?;
    let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let goes = |entry: &Value| text(entry, "subresource").is_empty() && former.contains(&text(entry, "manager"));
    let kept: Vec<Value> = all.iter().filter(|entry| !goes(entry)).cloned().collect();
    // An empty list would make the server begin anew.
    (kept.len() < all.len() && !kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::plan::testing::{MANAGER, hands, with_entry};

    fn adopted() -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        with_entry(&mut object, "kubectl-client-side-apply", "Update", json!({"f:data": {"f:a": {}}}));
        with_entry(&mut object, "kubectl-rollout", "Update", json!({"f:metadata": {}}));
        with_entry(&mut object, "operator", "Update", json!({"f:data": {"f:b": {}}}));
        with_entry(&mut object, "before-first-apply", "Update", json!({"f:data": {"f:c": {}}}));
        with_entry(&mut object, "kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        object["metadata"]["managedFields"][4]["subresource"] = json!("scale");
        with_entry(&mut object, MANAGER, "Apply", json!({"f:data": {"f:a": {}}}));
        object
    }

    #[test]
    fn the_entries_of_people_go_and_all_others_stay() {
        let former = former_managers(&adopted(), MANAGER, &hands());
        assert_eq!(former, ["before-first-apply", "kubectl-client-side-apply"]);
        let kept = without_entries(&adopted(), &former).unwrap();
        let names: Vec<_> = kept.iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
        assert_eq!(names, ["kubectl-rollout", "operator", "kubectl", MANAGER]);
        let after = json!({"metadata": {"managedFields": kept}});
        assert_eq!(without_entries(&after, &former), None, "once is enough");
    }

    #[test]
    fn a_list_of_entries_is_never_emptied() {
        let mut object = json!({"apiVersion": "v1", "metadata": {}});
        with_entry(&mut object, "kubectl-create", "Update", json!({}));
        assert_eq!(without_entries(&object, &["kubectl-create".to_owned()]), None);
    }
}
