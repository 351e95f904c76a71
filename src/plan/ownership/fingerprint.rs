//! The hash by which a watch event is compared with the last apply.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Element, FieldSet, added_by_hand, entries, entry_of, tokens_of};
use crate::{
    manifest::{Digest, Fingerprint},
    plan::IgnoreRule,
};

/// Hashes what an application answers for on a live object: the names and
/// values of the fields that `manager` owns by server-side apply, the order of
/// the keyed list items among them, and what hand managers added beside them.
/// Status, defaults and the fields of other managers do not count.
///
/// `ignore` are the rules for this object (see `Policy::ignore_for`): their
/// pointers, as places in the live object, are left out, and the additions of
/// their managers too. `None` where `manager` has no entry: somebody cleared
/// the managed fields, or the object was never applied. The object is to be
/// read in the version that [`super::entry_api_version`] names.
///
/// A field that is owned as a whole counts with all it holds (`emptyDir: {}`
/// stays ours when somebody adds a medium), except what other programs own in
/// it.
pub fn fingerprint(
    object: &Value,
    manager: &str,
    ignore: &[IgnoreRule],
    hand_managers: &BTreeSet<String>,
) -> Option<Fingerprint> {
    let own = entry_of(object, manager)?;
    let pointers: Vec<Vec<String>> =
        ignore.iter().flat_map(|rule| &rule.pointers).map(|pointer| tokens_of(pointer)).collect();
    let ignored: Vec<&[String]> = pointers.iter().map(Vec::as_slice).collect();
    let others: Vec<FieldSet<'_>> = entries(object)
        .filter(|entry| entry.manager != manager && !hand_managers.contains(entry.manager))
        .map(|entry| entry.fields)
        .collect();
    let mut walk = Walk { others, steps: Vec::with_capacity(16), bytes: Vec::with_capacity(4096) };
    walk.node(own, Some(object), &ignored);
    for field in by_hand_counting(object, manager, ignore, hand_managers) {
        walk.name(b'+', &field.path_for_people);
        match object.pointer(&field.pointer) {
            Some(value) => walk.value(value, &[], &[]),
            None => walk.bytes.push(b'-'),
        }
    }
    Some(Fingerprint(Digest::of(&walk.bytes)))
}

/// The additions by hand that no ignore rule covers.
pub(crate) fn by_hand_counting(
    object: &Value,
    manager: &str,
    ignore: &[IgnoreRule],
    hand_managers: &BTreeSet<String>,
) -> Vec<super::ByHand> {
    let mut added = added_by_hand(object, manager, hand_managers);
    added.retain(|field| {
        !ignore.iter().any(|rule| {
            rule.managers.contains(&field.manager)
                || rule.pointers.iter().any(|pointer| is_at_or_beneath(&field.pointer, pointer))
        })
    });
    added
}

fn is_at_or_beneath(pointer: &str, ancestor: &str) -> bool {
    pointer.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Writes an unambiguous form of owned fields: each name with its length, each
/// value with its type, so that no two different states have the same bytes.
struct Walk<'a> {
    /// The fields of other programs.
    others: Vec<FieldSet<'a>>,
    /// The steps from the root to the current node, as the entry writes them.
    steps: Vec<&'a str>,
    bytes: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn node(&mut self, fields: FieldSet<'a>, value: Option<&Value>, ignored: &[&[String]]) {
        self.bytes.push(b'(');
        if value.is_none() {
            self.bytes.push(b'-');
        }
        // Keyed items come in the order of the live list, which matters;
        // everything else comes in the order of its name.
        let mut keyed = Vec::new();
        for (step, child) in fields.raw_children() {
            if step.starts_with("k:") {
                keyed.push((step, child));
                continue;
            }
            let Some(element) = Element::parse(step) else { continue };
            match value.and_then(|value| element.find(value)) {
                Some((token, child_value)) => self.child(step, child, Some(child_value), &token, ignored),
                None => {
                    let token = if let Element::Field(name) = element { name } else { "" };
                    self.child(step, child, None, token, ignored);
                }
            }
        }
        if !keyed.is_empty() {
            self.keyed(keyed, value, ignored);
        }
        self.bytes.push(b')');
    }

    fn keyed(&mut self, mut keyed: Vec<(&'a str, FieldSet<'a>)>, value: Option<&Value>, ignored: &[&[String]]) {
        let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut keys: Vec<Option<Map<String, Value>>> = keyed
            .iter()
            .map(|(step, _)| step.strip_prefix("k:").and_then(|key| serde_json::from_str(key).ok()))
            .collect();
        for (index, item) in items.iter().enumerate() {
            // Items are mostly in the order in which the entry has them left,
            // so that the search is short even for long lists.
            let found =
                keys.iter().position(|key| key.as_ref().is_some_and(|key| super::field_set::has_key(item, key)));
            if let Some(position) = found {
                let (step, child) = keyed.remove(position);
                keys.remove(position);
                let token = index.to_string();
                self.child(step, child, Some(item), &token, ignored);
            }
        }
        for (step, child) in keyed {
            self.child(step, child, None, "", ignored);
        }
    }

    fn child(
        &mut self,
        step: &'a str,
        fields: FieldSet<'a>,
        value: Option<&Value>,
        token: &str,
        ignored: &[&[String]],
    ) {
        let mut beneath: Vec<&[String]> = Vec::new();
        for pointer in ignored {
            match pointer.split_first() {
                Some((first, rest)) if first == token => {
                    if rest.is_empty() {
                        return;
                    }
                    beneath.push(rest);
                }
                _ => {}
            }
        }
        self.name(b'.', step);
        if !fields.is_leaf() {
            self.steps.push(step);
            self.node(fields, value, &beneath);
            self.steps.pop();
            return;
        }
        match value {
            None => self.bytes.push(b'-'),
            Some(value @ (Value::Object(_) | Value::Array(_))) if !self.others.is_empty() => {
                self.steps.push(step);
                let others: Vec<FieldSet<'a>> = self
                    .others
                    .iter()
                    .filter_map(|other| self.steps.iter().try_fold(*other, |fields, step| fields.raw_child(step)))
                    .filter(|other| !other.is_leaf())
                    .collect();
                self.steps.pop();
                self.value(value, &others, &beneath);
            }
            Some(value) => self.value(value, &[], &beneath),
        }
    }

    fn value(&mut self, value: &Value, others: &[FieldSet<'a>], ignored: &[&[String]]) {
        match value {
            Value::Null => self.bytes.push(b'0'),
            Value::Bool(flag) => self.bytes.push(if *flag { b't' } else { b'f' }),
            Value::Number(number) => self.name(b'n', &number.to_string()),
            Value::String(text) => self.name(b's', text),
            Value::Array(items) => {
                self.bytes.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    let theirs = others.iter().filter_map(|other| other.item(index, item)).collect::<Vec<_>>();
                    self.held(&index.to_string(), None, item, &theirs, ignored);
                }
                self.bytes.push(b']');
            }
            Value::Object(fields) => {
                self.bytes.push(b'{');
                for (name, child) in fields {
                    let theirs = others.iter().filter_map(|other| other.field(name)).collect::<Vec<_>>();
                    self.held(name, Some(name), child, &theirs, ignored);
                }
                self.bytes.push(b'}');
            }
        }
    }

    /// A value within a leaf: left out where another program owns it or a rule
    /// ignores it.
    fn held(&mut self, token: &str, name: Option<&str>, value: &Value, theirs: &[FieldSet<'a>], ignored: &[&[String]]) {
        if theirs.iter().any(|other| other.owns_itself()) {
            return;
        }
        let mut beneath: Vec<&[String]> = Vec::new();
        for pointer in ignored {
            match pointer.split_first() {
                Some((first, [])) if first == token => return,
                Some((first, rest)) if first == token => beneath.push(rest),
                _ => {}
            }
        }
        if let Some(name) = name {
            self.name(b'.', name);
        }
        self.value(value, theirs, &beneath);
    }

    fn name(&mut self, tag: u8, text: &str) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }
}
