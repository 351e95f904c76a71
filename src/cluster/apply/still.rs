//! Whether an object is still as the plan was made for, though its
//! resourceVersion moved: a status was written, say.

use serde_json::{Map, Value};

/// Annotations that controllers write together with a status.
const STATUS_ANNOTATIONS: &[&str] = &["deployment.kubernetes.io/revision"];

/// Whether all that a plan can rely on is the same in both: everything but the
/// status, the version, and what other writers' entries say about the status.
pub(super) fn is_as_planned(planned: &Value, live: &Value) -> bool {
    let (Some(planned), Some(live)) = (planned.as_object(), live.as_object()) else { return false };
    same_except(planned, live, &["metadata", "status"])
        && match (metadata(planned), metadata(live)) {
            (Some(planned), Some(live)) => {
                same_except(planned, live, &["resourceVersion", "managedFields", "annotations"])
                    && annotations(planned).eq(annotations(live))
                    && owners(planned).eq(owners(live))
            }
            _ => false,
        }
}

fn metadata(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

fn same_except(left: &Map<String, Value>, right: &Map<String, Value>, names: &[&str]) -> bool {
    let rest = |object: &'_ Map<String, Value>| object.keys().filter(|key| !names.contains(&key.as_str())).count();
    rest(left) == rest(right)
        && left
            .iter()
            .filter(|(key, _)| !names.contains(&key.as_str()))
            .all(|(key, value)| right.get(key) == Some(value))
}

fn annotations(metadata: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let annotations = metadata.get("annotations").and_then(Value::as_object);
    annotations.into_iter().flatten().filter(|(name, _)| !STATUS_ANNOTATIONS.contains(&name.as_str()))
}

/// Who owns what of the object itself, without the times.
fn owners(metadata: &Map<String, Value>) -> impl Iterator<Item = (Option<&Value>, Option<&Value>, Option<&Value>)> {
    let entries = metadata.get("managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").and_then(Value::as_str).unwrap_or_default().is_empty())
        .map(|entry| (entry.get("manager"), entry.get("operation"), entry.get("fieldsV1")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn planned() -> Value {
        json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 1,
                "annotations": {"deployment.kubernetes.io/revision": "1", "a": "1"}, "managedFields": [
                {"manager": "bowline/a/b", "operation": "Apply", "time": "t1", "fieldsV1": {"f:spec": {}}},
                {"manager": "kcm", "operation": "Update", "subresource": "status", "fieldsV1": {}}]},
            "spec": {"replicas": 1},
            "status": {"ready": 0}
        })
    }

    #[rstest]
    #[case::nothing("/metadata/resourceVersion", json!("2"), true)]
    #[case::status("/status/ready", json!(1), true)]
    #[case::status_owner("/metadata/managedFields/1/fieldsV1", json!({"f:status": {}}), true)]
    #[case::time("/metadata/managedFields/0/time", json!("t2"), true)]
    #[case::revision("/metadata/annotations/deployment.kubernetes.io~1revision", json!("2"), true)]
    #[case::annotation("/metadata/annotations/a", json!("2"), false)]
    #[case::spec("/spec/replicas", json!(2), false)]
    #[case::owner("/metadata/managedFields/0/manager", json!("kubectl-edit"), false)]
    #[case::other_object("/metadata/uid", json!("v"), false)]
    #[case::generation("/metadata/generation", json!(2), false)]
    fn a_plan_relies_on_all_but_status_and_version(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        let mut live = planned();
        *live.pointer_mut(pointer).unwrap() = value;
        assert_eq!(is_as_planned(&planned(), &live), expected);
    }

    #[test]
    fn an_object_that_began_to_be_deleted_is_not_as_planned() {
        let mut live = planned();
        live["metadata"]["deletionTimestamp"] = json!("now");
        assert!(!is_as_planned(&planned(), &live));
    }
}
