//! The entries of `managedFields`, and what ours says.

use serde_json::Value;

use super::{Element, FieldSet, PeoplePath, pointer_of};

/// An entry of `managedFields`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Who wrote.
    pub(crate) manager: &'a str,
    /// Whether by a server-side apply, and not by an update.
    pub(crate) applied: bool,
    /// The subresource that was written through; empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The version that the fields are named in.
    pub(crate) api_version: &'a str,
    /// The fields.
    pub(crate) fields: FieldSet<'a>,
}

/// All entries of an object that can be read.
pub(crate) fn entries(object: &Value) -> impl Iterator<Item = Entry<'_>> {
    let list = object.get("metadata").and_then(|metadata| metadata.get("managedFields")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|entry| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        Some(Entry {
            manager: text("manager"),
            applied: text("operation") == "Apply",
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            fields: FieldSet::new(entry.get("fieldsV1")?)?,
        })
    })
}

fn own_entry<'a>(object: &'a Value, manager: &str) -> Option<Entry<'a>> {
    entries(object).find(|entry| entry.applied && entry.subresource.is_empty() && entry.manager == manager)
}

/// The fields that a manager owns by server-side apply of the object itself,
/// not of a subresource. `None` where it has no entry.
pub fn entry_of<'a>(object: &'a Value, manager: &str) -> Option<FieldSet<'a>> {
    own_entry(object, manager).map(|entry| entry.fields)
}

/// The `apiVersion` that the manager's entry is written in: the object is to
/// be read in that version before its fields are compared.
pub fn entry_api_version<'a>(object: &'a Value, manager: &str) -> Option<&'a str> {
    own_entry(object, manager).map(|entry| entry.api_version)
}

/// A field that a manager owns, with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedValue<'a> {
    /// Where, for people.
    pub path: String,
    /// Where, as a JSON pointer; none where the field is absent.
    pub pointer: Option<String>,
    /// The value; none where the field is owned and absent.
    pub value: Option<&'a Value>,
}

/// The leaves that a manager owns by server-side apply, with their values.
/// `None` where it has no entry.
pub fn owned_values<'a>(object: &'a Value, manager: &str) -> Option<Vec<OwnedValue<'a>>> {
    let mut values = Vec::new();
    collect(entry_of(object, manager)?, Some(object), &PeoplePath::default(), &mut Vec::new(), &mut values);
    Some(values)
}

/// What one entry of `managedFields` owns.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedValues<'a> {
    /// Who wrote.
    pub manager: &'a str,
    /// The subresource that was written through; empty for the object itself.
    pub subresource: &'a str,
    /// The leaves, with their values.
    pub values: Vec<OwnedValue<'a>>,
}

/// The leaves that each manager of an object owns, entry by entry.
pub fn managed_values(object: &Value) -> Vec<ManagedValues<'_>> {
    entries(object)
        .map(|entry| {
            let mut values = Vec::new();
            collect(entry.fields, Some(object), &PeoplePath::default(), &mut Vec::new(), &mut values);
            ManagedValues { manager: entry.manager, subresource: entry.subresource, values }
        })
        .collect()
}

fn collect<'a>(
    fields: FieldSet<'_>,
    value: Option<&'a Value>,
    path: &PeoplePath,
    tokens: &mut Vec<String>,
    into: &mut Vec<OwnedValue<'a>>,
) {
    for (element, child) in fields.children() {
        let path = match &element {
            Element::Field(name) => path.field(name),
            Element::Key(key) => path.key(key),
            Element::Member(member) => path.member(member),
            Element::Index(index) => path.index(*index),
        };
        let found = value.and_then(|value| element.find(value));
        if let Some((token, _)) = &found {
            tokens.push(token.clone());
        }
        let value = found.as_ref().map(|(_, value)| *value);
        if child.is_leaf() {
            let pointer = value.map(|_| pointer_of(tokens));
            into.push(OwnedValue { path: path.into_string(), pointer, value });
        } else {
            collect(child, value, &path, tokens, into);
        }
        if found.is_some() {
            tokens.pop();
        }
    }
}

/// Who but `manager` owns something at a place of an object, or beneath it: a
/// JSON pointer into it.
pub fn managers_at(object: &Value, pointer: &str, manager: &str) -> Vec<String> {
    let tokens = super::tokens_of(pointer);
    let owns = |entry: &Entry<'_>| entry.manager != manager && entry.fields.covers(object, &tokens);
    let mut managers: Vec<String> = entries(object).filter(owns).map(|entry| entry.manager.to_owned()).collect();
    managers.sort();
    managers.dedup();
    managers
}

/// A field that was sent and is no longer owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostField {
    /// Where, for people.
    pub path: String,
    /// Who owns it now; empty where nobody does.
    pub managers: Vec<String>,
}

/// Which fields a manager owned after its apply and does not own now, and who
/// does: the answer to "who changes what?" of a contested object. `before` is
/// the object as the apply left it, or the result of a dry-run.
pub fn lost_fields(before: &Value, now: &Value, manager: &str) -> Vec<LostField> {
    let Some(owned) = owned_values(before, manager) else {
        return Vec::new();
    };
    let mut lost = Vec::new();
    for field in owned {
        let Some(pointer) = &field.pointer else { continue };
        let place = super::tokens_of(pointer);
        let tokens = same_place(before, now, &place);
        if entry_of(now, manager).is_some_and(|fields| fields.covers(now, &tokens)) {
            continue;
        }
        let mut managers: Vec<String> = entries(now)
            .filter(|entry| entry.manager != manager && entry.fields.covers(now, &tokens))
            .map(|entry| entry.manager.to_owned())
            .collect();
        managers.sort();
        managers.dedup();
        lost.push(LostField { path: field.path, managers });
    }
    lost
}

/// The JSON pointer of the same place in another state of the object: list
/// items are found by their name where they have one.
pub fn same_place_of(before: &Value, now: &Value, pointer: &str) -> String {
    pointer_of(&same_place(before, now, &super::tokens_of(pointer)))
}

/// The tokens of the same place in another state of the object: list items are
/// found by their name where they have one.
pub(crate) fn same_place(before: &Value, now: &Value, tokens: &[String]) -> Vec<String> {
    let (mut old, mut new) = (Some(before), Some(now));
    let mut place = Vec::with_capacity(tokens.len());
    for token in tokens {
        let old_child = old.and_then(|value| value.pointer(&pointer_of(&[token])));
        let renamed = match (new, old_child) {
            (Some(Value::Array(items)), Some(item)) => items.iter().position(|other| {
                other == item || (item.get("name").is_some() && other.get("name") == item.get("name"))
            }),
            _ => None,
        };
        let token = renamed.map_or_else(|| token.clone(), |index| index.to_string());
        new = new.and_then(|value| value.pointer(&pointer_of(&[&token])));
        old = old_child;
        place.push(token);
    }
    place
}
