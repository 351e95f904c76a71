//! What must be sent to make one JSON value of another.

use serde_json::{Map, Value};

/// The JSON merge patch (RFC 7386) from one value to another; none if they
/// are the same. Lists are replaced as a whole.
pub(super) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        // A null in a patch takes the key away: an absent one is as good.
        let changed = match before.get(key) {
            Some(old) => merge_patch(old, value),
            None => Some(value.clone()).filter(|value| !value.is_null()),
        };
        if let Some(changed) = changed {
            patch.insert(key.clone(), changed);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::the_same(json!({"a": 1}), json!({"a": 1}), None)]
    #[case::changed(json!({"a": 1, "b": 1}), json!({"a": 2, "b": 1}), Some(json!({"a": 2})))]
    #[case::gone(json!({"a": 1, "b": {"c": 1}}), json!({"a": 1}), Some(json!({"b": null})))]
    #[case::within(json!({"b": {"c": 1, "d": 1}}), json!({"b": {"c": 1}}), Some(json!({"b": {"d": null}})))]
    #[case::lists_as_a_whole(json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]})))]
    #[case::from_nothing(Value::Null, json!({"a": 1}), Some(json!({"a": 1})))]
    fn only_what_differs_is_sent(#[case] before: Value, #[case] after: Value, #[case] expected: Option<Value>) {
        assert_eq!(merge_patch(&before, &after), expected);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), any::<u8>().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_patch_makes_one_value_of_the_other(before in json(), after in json()) {
            let mut patched = before.clone();
            if let Some(patch) = merge_patch(&before, &after) {
                json_patch::merge(&mut patched, &patch);
            }
            prop_assert_eq!(patched, after);
        }
    }
}
