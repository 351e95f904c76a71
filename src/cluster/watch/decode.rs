//! Reading an object into its type, with the field that is wrong by name.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads an object. The error begins with the path of the field at fault.
pub fn decode<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    serde_json::from_value(object.clone()).map_err(|error| {
        let message = error.to_string();
        let mut path = Vec::new();
        let mut copy = object.clone();
        blame::<T>(&mut copy, &mut path, &message);
        if path.is_empty() { message } else { format!("{}: {message}", path.join(".")) }
    })
}

/// Finds the deepest field without which the error is another one: the parser
/// itself does not say where it was.
fn blame<T: DeserializeOwned>(object: &mut Value, path: &mut Vec<String>, message: &str) {
    let pointer: String = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
    let steps: Vec<String> = match object.pointer(&pointer) {
        Some(Value::Object(fields)) => fields.keys().cloned().collect(),
        Some(Value::Array(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => return,
    };
    for step in steps {
        let child = format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"));
        let Some(taken) = take(object, &pointer, &step) else { continue };
        let same = matches!(T::deserialize(&*object), Err(error) if error.to_string() == message);
        put_back(object, &pointer, &step, taken);
        if !same && object.pointer(&child).is_some() {
            path.push(step);
            blame::<T>(object, path, message);
            return;
        }
    }
}

fn take(object: &mut Value, pointer: &str, step: &str) -> Option<Value> {
    match object.pointer_mut(pointer)? {
        Value::Object(fields) => fields.remove(step),
        Value::Array(items) => {
            step.parse().ok().filter(|&index| index < items.len()).map(|index: usize| items.remove(index))
        }
        _ => None,
    }
}

fn put_back(object: &mut Value, pointer: &str, step: &str, taken: Value) {
    match object.pointer_mut(pointer) {
        Some(Value::Object(fields)) => {
            fields.insert(step.to_owned(), taken);
        }
        Some(Value::Array(items)) => {
            let index = step.parse().unwrap_or(items.len()).min(items.len());
            items.insert(index, taken);
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::api::Application;

    fn application() -> Value {
        json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Application",
            "metadata": {"namespace": "team-a", "name": "shop"},
            "spec": {"source": {"repoURL": "https://example.com/shop.git"}},
        })
    }

    #[test]
    fn a_good_object_is_read() {
        assert_eq!(decode::<Application>(&application()).unwrap().metadata.name.as_deref(), Some("shop"));
    }

    #[rstest]
    #[case("/spec/source/interval", json!("soon"), "spec.source.interval: ")]
    #[case("/spec/sync", json!({"mode": "Sometimes"}), "spec.sync.mode: ")]
    #[case("/spec/sync", json!({"ignore": [{"pointers": []}, {"pointers": [5]}]}), "spec.sync.ignore.1.pointers.0: ")]
    #[case("/metadata/labels", json!([]), "metadata.labels: ")]
    fn the_field_at_fault_is_named(#[case] pointer: &str, #[case] value: Value, #[case] expected: &str) {
        let mut object = application();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
        let message = decode::<Application>(&object).unwrap_err();
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn a_missing_field_is_named_by_the_parser() {
        let mut object = application();
        object["spec"]["source"].as_object_mut().unwrap().remove("repoURL");
        let message = decode::<Application>(&object).unwrap_err();
        assert!(message.contains("repoURL"), "{message}");
    }
}
