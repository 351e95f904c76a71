//! What an apply takes from other field managers.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{Element, Entry, FieldSet, PeoplePath, entries, entry_of};

/// A field that an apply takes from other field managers, because it sets
/// another value than theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenField {
    /// Where, for people.
    pub path: String,
    /// Who owned it.
    pub managers: Vec<String>,
}

impl fmt::Display for TakenField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.path, self.managers.join(", "))
    }
}

/// The fields that a forced apply takes: what another manager owns on the live
/// object, does not own in the apply's result, and `manager` owns there. These
/// are the conflicts that the server would report of an apply without force; a
/// field that both set to the same value is shared and no conflict.
///
/// `result` is what the server said that the apply makes of `live`.
pub fn taken_fields(live: &Value, result: &Value, manager: &str) -> Vec<TakenField> {
    let Some(own) = entry_of(result, manager) else { return Vec::new() };
    let mut taken = BTreeMap::<String, Vec<String>>::new();
    for entry in entries(live).filter(|entry| entry.manager != manager) {
        let after = entries(result).find(|other| is_same_writer(other, &entry)).map(|other| other.fields);
        let mut walk = Walk { manager: entry.manager, taken: &mut taken };
        walk.node(entry.fields, after, Some(own), false, &PeoplePath::default());
    }
    let taken = taken.into_iter();
    taken
        .map(|(path, mut managers)| {
            managers.sort();
            managers.dedup();
            TakenField { path, managers }
        })
        .collect()
}

fn is_same_writer(left: &Entry<'_>, right: &Entry<'_>) -> bool {
    (left.manager, left.applied, left.subresource) == (right.manager, right.applied, right.subresource)
}

struct Walk<'w> {
    manager: &'w str,
    taken: &'w mut BTreeMap<String, Vec<String>>,
}

impl Walk<'_> {
    /// `within` says that we own a parent with all it holds.
    fn node(
        &mut self,
        before: FieldSet<'_>,
        after: Option<FieldSet<'_>>,
        own: Option<FieldSet<'_>>,
        within: bool,
        path: &PeoplePath,
    ) {
        for (step, child) in before.raw_children() {
            let Some(element) = Element::parse(step) else { continue };
            let own = own.and_then(|own| own.raw_child(step));
            let within = within || own.is_some_and(FieldSet::is_leaf);
            if own.is_none() && !within {
                continue;
            }
            let after = after.and_then(|after| after.raw_child(step));
            let path = match &element {
                Element::Field(name) => path.field(name),
                Element::Key(key) => path.key(key),
                Element::Member(member) => path.member(member),
                Element::Index(index) => path.index(*index),
            };
            if !child.is_leaf() {
                self.node(child, after, own, within, &path);
            } else if after.is_none() {
                self.taken.entry(path.into_string()).or_default().push(self.manager.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::{MANAGER, with_entry};

    fn object(entries: &[(&str, &str, Value)]) -> Value {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        for (manager, operation, fields) in entries {
            with_entry(&mut object, manager, operation, fields.clone());
        }
        object
    }

    #[rstest]
    #[case::of_an_autoscaler(
        &[("hpa", "Update", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}))],
        &[("hpa", "Update", json!({"f:spec": {"f:paused": {}}})), (MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}))],
        &["spec.replicas from hpa"])]
    #[case::a_whole_entry(
        &[("hpa", "Update", json!({"f:spec": {"f:replicas": {}}}))],
        &[(MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}))],
        &["spec.replicas from hpa"])]
    #[case::of_two(
        &[("b", "Apply", json!({"f:spec": {"f:replicas": {}}})), ("a", "Update", json!({"f:spec": {"f:replicas": {}}}))],
        &[(MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}))],
        &["spec.replicas from a, b"])]
    #[case::shared_since_both_want_the_same(
        &[("hpa", "Update", json!({"f:spec": {"f:replicas": {}}}))],
        &[("hpa", "Update", json!({"f:spec": {"f:replicas": {}}})), (MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}))],
        &[])]
    #[case::beside_ours(
        &[("hpa", "Update", json!({"f:spec": {"f:replicas": {}}}))],
        &[(MANAGER, "Apply", json!({"f:spec": {"f:paused": {}}}))],
        &[])]
    #[case::beneath_what_we_own_as_a_whole(
        &[("other", "Update", json!({"f:spec": {"f:selector": {"f:app": {}}}}))],
        &[(MANAGER, "Apply", json!({"f:spec": {"f:selector": {}}}))],
        &["spec.selector.app from other"])]
    #[case::an_item_of_a_list(
        &[("other", "Update", json!({"f:c": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}, "f:name": {}}}}))],
        &[("other", "Update", json!({"f:c": {r#"k:{"name":"web"}"#: {".": {}, "f:name": {}}}})),
          (MANAGER, "Apply", json!({"f:c": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}, "f:name": {}}}}))],
        &["c[web].image from other"])]
    #[case::our_own_update(
        &[(MANAGER, "Update", json!({"f:spec": {"f:replicas": {}}}))],
        &[(MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}))],
        &[])]
    fn what_another_had_and_we_have_now_is_taken(
        #[case] live: &[(&str, &str, Value)],
        #[case] result: &[(&str, &str, Value)],
        #[case] expected: &[&str],
    ) {
        let taken = taken_fields(&object(live), &object(result), MANAGER);
        assert_eq!(taken.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}
