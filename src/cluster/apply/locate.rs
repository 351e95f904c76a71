//! Where the fields that were added by hand are after the apply.
//!
//! A plan names them by their place in the object that it was made on. The
//! apply may move list items: it restores their order, and adds new ones. So
//! each place is found again by what stands there, and nothing is removed that
//! is not what the plan saw, or that `manager` owns.

use serde_json::Value;

use crate::plan::ownership::{FieldSet, entry_of};

/// Fields by which the items of Kubernetes' keyed lists are told apart, those
/// that are compared together in one entry.
const KEYS: &[&[&str]] = &[
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["type"],
    &["key"],
    &["ip"],
    &["uid"],
    &["topologyKey", "whenUnsatisfiable"],
];

/// The places in `left` of what stands at `pointers` in `planned`. What the
/// apply removed or took back already is left out. An error names a place where
/// something else stands now.
pub(super) fn locate(pointers: &[String], planned: &Value, left: &Value, manager: &str) -> Result<Vec<String>, String> {
    let ours = entry_of(left, manager);
    let mut found = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        match find(pointer, planned, left, ours) {
            Place::At(pointer) => found.push(pointer),
            Place::Gone => {}
            Place::Doubtful => return Err(format!("{pointer} is no longer what the plan would remove")),
        }
    }
    Ok(found)
}

enum Place {
    At(String),
    Gone,
    Doubtful,
}

fn find(pointer: &str, planned: &Value, object: &Value, ours: Option<FieldSet<'_>>) -> Place {
    let (mut planned, mut left) = (planned, object);
    let mut place = String::new();
    let mut tokens = Vec::new();
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let (step, next_planned, next_left) = match (planned, left) {
            (Value::Object(planned), Value::Object(left)) => {
                let Some(next) = planned.get(&name) else { return Place::Doubtful };
                let Some(next_left) = left.get(&name) else { return Place::Gone };
                (token.to_owned(), next, next_left)
            }
            (Value::Array(planned), Value::Array(left)) => {
                let Some(next) = name.parse().ok().and_then(|index: usize| planned.get(index)) else {
                    return Place::Doubtful;
                };
                match index_of(next, left) {
                    Found::At(index) => (index.to_string(), next, &left[index]),
                    Found::Gone => return Place::Gone,
                    Found::Doubtful => return Place::Doubtful,
                }
            }
            _ => return Place::Doubtful,
        };
        place.push('/');
        place.push_str(&step);
        tokens.push(if left.is_array() { step } else { name });
        (planned, left) = (next_planned, next_left);
    }
    match ours.and_then(|ours| ours.at(object, &tokens)) {
        Some(ours) if ours.owns_itself() => return Place::Gone,
        Some(_) => return Place::Doubtful,
        None => {}
    }
    // An emptied pointer would be the whole object.
    if place.is_empty() || planned != left { Place::Doubtful } else { Place::At(place) }
}

enum Found {
    At(usize),
    Gone,
    Doubtful,
}

/// The item of a list that is the same as `item`: by its key if it has one,
/// else by its whole value.
fn index_of(item: &Value, items: &[Value]) -> Found {
    let key = KEYS.iter().find(|key| item.get(key[0]).is_some());
    let same = |other: &Value| match key {
        Some(key) => key.iter().all(|field| item.get(field) == other.get(field)),
        None => item == other,
    };
    let mut indices = items.iter().enumerate().filter(|(_, other)| same(other)).map(|(index, _)| index);
    match (indices.next(), indices.next()) {
        (Some(index), None) => Found::At(index),
        (None, _) => Found::Gone,
        // Two of the same key: the one that is wholly the same is meant.
        (Some(_), Some(_)) => match items.iter().position(|other| other == item) {
            Some(index) => Found::At(index),
            None => Found::Doubtful,
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn planned() -> Value {
        json!({"metadata": {"annotations": {"a/b": "1"}, "managedFields": [{"manager": "us", "operation": "Apply",
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:name": {}}}}]}, "spec": {"containers": [
            {"name": "hand", "image": "x"},
            {"name": "main", "image": "old", "env": [{"name": "A", "value": "1"}], "args": ["-a", "-b"]}]}})
    }

    #[rstest]
    #[case::the_order_was_restored("/spec/containers/0",
        json!({"spec": {"containers": [{"name": "main", "image": "new"}, {"name": "hand", "image": "x"}]}}),
        Ok(vec!["/spec/containers/1"]))]
    #[case::the_item_around_it_moved_and_changed("/spec/containers/1/env/0",
        json!({"spec": {"containers": [{"name": "main", "image": "new", "env": [{"name": "B"}, {"name": "A", "value": "1"}]}]}}),
        Ok(vec!["/spec/containers/0/env/1"]))]
    #[case::names_with_slashes("/metadata/annotations/a~1b", planned(), Ok(vec!["/metadata/annotations/a~1b"]))]
    #[case::items_without_a_key("/spec/containers/1/args/1",
        json!({"spec": {"containers": [{"name": "main", "args": ["-x", "-a", "-b"]}]}}),
        Ok(vec!["/spec/containers/0/args/2"]))]
    #[case::the_apply_removed_it("/spec/containers/0", json!({"spec": {"containers": []}}), Ok(vec![]))]
    #[case::somebody_changed_it("/spec/containers/0",
        json!({"spec": {"containers": [{"name": "hand", "image": "y"}]}}), Err(()))]
    #[case::it_never_was("/spec/replicas", planned(), Err(()))]
    #[case::the_whole_object("", planned(), Err(()))]
    fn a_field_is_found_again_by_what_it_is(
        #[case] pointer: &str,
        #[case] left: Value,
        #[case] expected: Result<Vec<&str>, ()>,
    ) {
        let found = locate(&[pointer.to_owned()], &planned(), &left, "us").map_err(drop);
        assert_eq!(found, expected.map(|places| places.into_iter().map(str::to_owned).collect()));
    }

    #[rstest]
    #[case::taken_back("/spec/containers/1/image", Ok(vec![]))]
    #[case::holds_what_is_ours("/spec/containers/1", Err(()))]
    #[case::beside_ours("/spec/containers/1/args", Ok(vec!["/spec/containers/1/args".to_owned()]))]
    #[case::within_a_map_that_was_ours_when_it_was_empty(
        "/spec/containers/1/env/0/value", Ok(vec!["/spec/containers/1/env/0/value".to_owned()]))]
    fn nothing_of_ours_is_ever_removed(#[case] pointer: &str, #[case] expected: Result<Vec<String>, ()>) {
        let mut left = planned();
        left["spec"]["containers"][1]["image"] = json!("ours again");
        left["metadata"]["managedFields"] = json!([{"manager": "us", "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {
                "f:image": {}, "f:env": {"k:{\"name\":\"A\"}": {}}}}}}}]);
        assert_eq!(locate(&[pointer.to_owned()], &planned(), &left, "us").map_err(drop), expected);
    }
}
