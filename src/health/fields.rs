//! Reading fields of an object in place, without copying it.

use serde_json::Value;

/// The value at a dotted path (`status.phase`). Path segments are names of
/// fields; a field whose name has a dot is read with [`key`].
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// A text that is not empty.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path)?.as_str().filter(|text| !text.is_empty())
}

/// A whole number; also one that is written as text.
pub(super) fn number(value: &Value, path: &str) -> Option<i64> {
    integer(at(value, path)?)
}

/// The whole number that a value is, or says.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whether the path holds `true`.
pub(super) fn flag(value: &Value, path: &str) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items of a list; none where the path holds no list.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An annotation.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    at(object, "metadata.annotations")?.get(name)?.as_str()
}

/// Whether a value says nothing: null, empty text, an empty list, or an object
/// of such values.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The verdict where a controller has not yet seen the object as it is now:
/// `status.observedGeneration` is lower than `metadata.generation`. A kind
/// that writes no observed generation is not judged by it.
pub(super) fn generation_behind(object: &Value) -> Option<super::Health> {
    let generation = number(object, "metadata.generation")?;
    // Flux begins at -1, and stays there until its first success.
    let observed = number(object, "status.observedGeneration").filter(|&observed| observed >= 0)?;
    (observed < generation).then(|| {
        super::Health::progressing(format!(
            "its controller has not seen generation {generation} yet (observed {observed})"
        ))
    })
}

/// `1 replica`, `3 replicas`.
pub(super) fn count(number: i64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
