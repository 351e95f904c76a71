//! Lists into their items, as `kubectl` takes them apart.

use serde_json::{Map, Value};

use crate::manifest::{
    Origin, Problem,
    yaml::{Document, Positions},
};

/// An object of a file, still without a checked identity.
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Where each value was written, if it was written in that file: a
    /// rendered object was not.
    pub(super) positions: Option<Positions>,
}

impl Object {
    /// An object as it stands in a file.
    pub(super) fn read(file: &str, document: Document) -> Self {
        let origin = Origin::new(file, Some(document.position));
        Self { value: document.value, origin, positions: Some(document.positions) }
    }
}

/// Takes an object apart if it is a list. Lists may hold lists.
pub(super) fn flatten(mut object: Object, objects: &mut Vec<Object>, problems: &mut Vec<Problem>) {
    // `{}` says as little as a document that is empty: templates leave it behind.
    if object.value.as_object().is_some_and(Map::is_empty) {
        return;
    }
    let Some(item_kind) = object.value.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"))
    else {
        return objects.push(object);
    };
    let item_kind = item_kind.to_owned();
    let api_version = object.value.get("apiVersion").cloned();
    let position_of = |pointer: &str| object.positions.as_ref().map(|positions| positions.nearest(pointer));
    let items = match object.value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        // A kind of this name whose objects are no lists.
        None if !item_kind.is_empty() => return objects.push(object),
        None | Some(Value::Null) => return,
        Some(_) => {
            let mut problem = Problem::in_file(&object.origin.file, "items of a list must be a list");
            problem.position = position_of("/items");
            return problems.push(problem);
        }
    };
    for (index, mut value) in items.into_iter().enumerate() {
        let pointer = format!("/items/{index}");
        if let Value::Object(fields) = &mut value {
            // The items of a PodList need not repeat what they are.
            let bare = ["apiVersion", "kind"].iter().all(|field| fields.get(*field).is_none_or(Value::is_null));
            if bare && !item_kind.is_empty() {
                fields.insert("kind".to_owned(), Value::String(item_kind.clone()));
                if let Some(api_version) = &api_version {
                    fields.insert("apiVersion".to_owned(), api_version.clone());
                }
            }
        }
        let origin = Origin::new(object.origin.file.clone(), position_of(&pointer));
        let below = |positions: &Positions| positions.below(&pointer).unwrap_or_else(|| positions.clone());
        let positions = object.positions.as_ref().map(below);
        flatten(Object { value, origin, positions }, objects, problems);
    }
}
