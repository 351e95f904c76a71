//! What differs between two renders of the same files.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use crate::manifest::{Manifest, ObjectId};

/// How many fields of an object are named.
const NAMED: usize = 5;

/// A field that differs each time the same files are rendered: a chart took it
/// from chance or from the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsteady {
    /// The object.
    pub id: ObjectId,
    /// JSON pointers of the fields, or none where the object itself is there
    /// only sometimes.
    pub pointers: Vec<String>,
}

impl fmt::Display for Unsteady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointers.is_empty() {
            return write!(f, "{} is there only in some renders of the same files", self.id);
        }
        let named: Vec<&str> = self.pointers.iter().take(NAMED).map(String::as_str).collect();
        let more = self.pointers.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        write!(f, "{}: {}{more} differs with each render of the same files", self.id, named.join(", "))
    }
}

/// The objects and fields that differ, sorted by identity.
pub(super) fn differences(one: &[Arc<Manifest>], other: &[Arc<Manifest>]) -> Vec<Unsteady> {
    let by_id = |manifests: &[Arc<Manifest>]| -> BTreeMap<ObjectId, Arc<Manifest>> {
        manifests.iter().map(|manifest| (manifest.id.clone(), manifest.clone())).collect()
    };
    let (one, other) = (by_id(one), by_id(other));
    let mut found: BTreeMap<&ObjectId, Vec<String>> = BTreeMap::new();
    for (id, manifest) in &one {
        match other.get(id) {
            None => {
                found.insert(id, Vec::new());
            }
            Some(second) if second.digest != manifest.digest => {
                let mut pointers = Vec::new();
                compare(&manifest.value.read(), &second.value.read(), String::new(), &mut pointers);
                found.insert(id, pointers);
            }
            Some(_) => {}
        }
    }
    for id in other.keys().filter(|id| !one.contains_key(id)) {
        found.insert(id, Vec::new());
    }
    found.into_iter().map(|(id, pointers)| Unsteady { id: id.clone(), pointers }).collect()
}

fn compare(one: &Value, other: &Value, pointer: String, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(first), Value::Object(second)) if first.keys().eq(second.keys()) => {
            for ((name, value), (_, other)) in first.iter().zip(second) {
                let name = name.replace('~', "~0").replace('/', "~1");
                compare(value, other, format!("{pointer}/{name}"), found);
            }
        }
        (Value::Array(first), Value::Array(second)) if first.len() == second.len() => {
            for (index, (value, other)) in first.iter().zip(second).enumerate() {
                compare(value, other, format!("{pointer}/{index}"), found);
            }
        }
        (one, other) if one == other => {}
        _ => found.push(pointer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_differ_are_named_by_their_pointers() {
        let one = json!({"data": {"a/b": "1", "same": "x"}, "spec": [{"a": 1}, {"a": 2}], "gone": {"x": 1}});
        let other = json!({"data": {"a/b": "2", "same": "x"}, "spec": [{"a": 1}, {"a": 3}], "gone": {"y": 1}});
        let mut found = Vec::new();
        compare(&one, &other, String::new(), &mut found);
        assert_eq!(found, ["/data/a~1b", "/gone", "/spec/1/a"]);
    }
}
