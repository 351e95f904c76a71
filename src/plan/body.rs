//! What is sent: the manifest, marked as the application's own, without what
//! is to be left alone.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value};

use super::{
    APPLICATION_ANNOTATION, Membership, Policy, SET_LABEL,
    ownership::{Element, FieldSet, entries, entry_of, tokens_of},
};
use crate::manifest::{Manifest, Packed};

/// The body of the server-side apply that brings a manifest, for its dry-run
/// as well as for the write itself.
///
/// Fields that an ignore rule names are sent as the manifest has them when the
/// object is made. Later, what we still own is sent as it is live, so that it
/// is neither changed nor reset to a default; what somebody else took over is
/// left out. Fields that a manager of a rule owns are left out too.
pub fn body(manifest: &Manifest, live: Option<&Value>, policy: &Policy) -> Value {
    let Some(live) = live else { return marked(manifest, &policy.membership) };
    let mut body = manifest.value.read().into_owned();
    for rule in policy.ignore.iter().filter(|rule| rule.concerns(&manifest.id)) {
        for pointer in &rule.pointers {
            keep_as_live(&mut body, live, &tokens_of(pointer), &policy.membership.manager);
        }
        for entry in entries(live) {
            if entry.manager != policy.membership.manager && rule.managers.iter().any(|name| name == entry.manager) {
                leave_out(&mut body, entry.fields, true);
            }
        }
    }
    mark_as(&mut body, &policy.membership);
    body
}

/// What is sent for an object of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Its manifest with the marks of the application, put together whenever it
    /// is sent: for thousands of new objects it would be all of them once more.
    Marked(Arc<Manifest>, Arc<Membership>),
    /// Something of its own.
    Own(Packed),
}

impl Body {
    /// The body.
    pub fn read(&self) -> Cow<'_, Value> {
        match self {
            Self::Marked(manifest, membership) => Cow::Owned(marked(manifest, membership)),
            Self::Own(body) => body.read(),
        }
    }
}

impl From<Value> for Body {
    fn from(body: Value) -> Self {
        Self::Own(body.into())
    }
}

/// A manifest as it is sent for an object that is to be made.
fn marked(manifest: &Manifest, membership: &Membership) -> Value {
    let mut body = manifest.value.read().into_owned();
    mark_as(&mut body, membership);
    body
}

fn mark_as(body: &mut Value, membership: &Membership) {
    mark(body, "labels", SET_LABEL, &membership.set);
    mark(body, "annotations", APPLICATION_ANNOTATION, &membership.application);
}

fn mark(body: &mut Value, map: &str, name: &str, value: &str) {
    let metadata = object_in(body, "metadata");
    if let Some(entries) = metadata.and_then(|metadata| object_in(metadata, map)).and_then(Value::as_object_mut) {
        entries.insert(name.to_owned(), Value::String(value.to_owned()));
    }
}

/// The object in a field, made where there is none.
fn object_in<'v>(parent: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    let child = parent.as_object_mut()?.entry(name).or_insert(Value::Null);
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    Some(child)
}

/// Puts the live value of an ignored field in the place of the manifest's if
/// it is still ours, and takes the field out if it is not.
fn keep_as_live(body: &mut Value, live: &Value, tokens: &[String], manager: &str) {
    let places = live_places(body, live, tokens);
    let live_value = places.as_ref().and_then(|places| at(live, places));
    let ours = places.as_ref().is_some_and(|places| {
        // A leaf that is owned without being there is a null that was sent.
        entry_of(live, manager).is_some_and(|fields| fields.covers(live, places))
    });
    match live_value {
        Some(value) if ours => put(body, tokens, value.clone()),
        _ => {
            remove(body, tokens);
        }
    }
}

fn at<'v>(value: &'v Value, tokens: &[String]) -> Option<&'v Value> {
    tokens.iter().try_fold(value, |value, token| match value {
        Value::Object(fields) => fields.get(token),
        Value::Array(items) => items.get(token.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The same place in the live object. List items are found by the fields that
/// name them in any entry, and by their place where nothing names them.
fn live_places(body: &Value, live: &Value, tokens: &[String]) -> Option<Vec<String>> {
    let mut places = Vec::with_capacity(tokens.len());
    let (mut wanted, mut actual) = (Some(body), Some(live));
    let mut sets: Vec<FieldSet<'_>> = entries(live).map(|entry| entry.fields).collect();
    for token in tokens {
        let item = wanted.and_then(|value| at(value, std::slice::from_ref(token)));
        let place = match (actual, item) {
            (Some(Value::Array(items)), Some(item)) if item.is_object() => {
                let keyed = sets.iter().flat_map(|fields| fields.children()).find(|(element, _)| {
                    matches!(element, Element::Key(_)) && element.find(&Value::Array(vec![item.clone()])).is_some()
                });
                match keyed {
                    Some((element, _)) => element.find(actual?)?.0,
                    None if items.get(token.parse::<usize>().ok()?).is_some() => token.clone(),
                    None => return None,
                }
            }
            _ => token.clone(),
        };
        let next = actual.and_then(|value| at(value, std::slice::from_ref(&place)));
        sets = match (actual, next) {
            (Some(Value::Array(_)), Some(item)) => {
                let index = place.parse::<usize>().ok()?;
                sets.iter().filter_map(|fields| fields.item(index, item)).collect()
            }
            _ => sets.iter().filter_map(|fields| fields.field(&place)).collect(),
        };
        (wanted, actual) = (item, next);
        places.push(place);
    }
    Some(places)
}

/// Sets a value; objects on the way are made, list items are not.
fn put(body: &mut Value, tokens: &[String], value: Value) {
    let Some((last, parents)) = tokens.split_last() else { return };
    let mut node = body;
    for token in parents {
        let next = match node {
            Value::Object(fields) => Some(fields.entry(token.as_str()).or_insert_with(|| Value::Object(Map::new()))),
            Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return,
        }
    }
    match node {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) => {
            if let Some(item) = last.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = value;
            }
        }
        _ => {}
    }
}

/// Takes a field out, and objects on the way that become empty by that: an
/// empty object would be owned as a whole. Returns whether `node` became empty.
fn remove(node: &mut Value, tokens: &[String]) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return false };
    match node {
        Value::Object(fields) => {
            let gone = match fields.get_mut(first) {
                None => return false,
                Some(_) if rest.is_empty() => true,
                Some(child) => remove(child, rest),
            };
            if gone {
                fields.remove(first);
            }
            gone && fields.is_empty()
        }
        Value::Array(items) => {
            let Some(index) = first.parse::<usize>().ok().filter(|index| *index < items.len()) else { return false };
            let gone = rest.is_empty() || remove(&mut items[index], rest);
            if gone {
                items.remove(index);
            }
            gone && items.is_empty()
        }
        _ => false,
    }
}

/// Takes out the leaves that another manager owns. What names the object or an
/// item of a list stays.
fn leave_out(body: &mut Value, fields: FieldSet<'_>, root: bool) -> bool {
    let mut changed = false;
    for (element, child) in fields.children() {
        match (&element, &mut *body) {
            (Element::Field(name), Value::Object(values)) => {
                if root && matches!(*name, "apiVersion" | "kind") {
                    continue;
                }
                let Some(value) = values.get_mut(*name) else { continue };
                let gone = if child.is_leaf() {
                    true
                } else {
                    leave_out(value, child, false) && value.as_object().is_some_and(Map::is_empty)
                };
                if gone {
                    values.remove(*name);
                }
                changed |= gone;
            }
            (Element::Key(key), list @ Value::Array(_)) => {
                let Some((index, _)) = element.find(list) else { continue };
                let Some(item) = index.parse::<usize>().ok().and_then(|index| list.get_mut(index)) else { continue };
                leave_out(item, child, false);
                if let Some(values) = item.as_object_mut() {
                    values.extend(key.clone());
                }
            }
            (Element::Member(member), Value::Array(items)) => {
                items.retain(|item| item != member);
            }
            _ => {}
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::{
        IgnoreRule,
        testing::{deployment, manifest, policy, set_own_fields, with_entry},
    };

    fn desired() -> Manifest {
        let container =
            json!({"name": "web", "image": "example.com/web:2", "resources": {"limits": {"memory": "32Mi"}}});
        let log = json!({"name": "log", "image": "example.com/log:2"});
        let web = manifest(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "team-a"},
            "spec": {
                "replicas": 4, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [log, container]}},
            },
        }));
        (*web).clone()
    }

    fn ignoring(pointers: &[&str], managers: &[&str]) -> Policy {
        let rule = IgnoreRule {
            kind: Some("Deployment".into()),
            pointers: pointers.iter().map(|text| (*text).to_owned()).collect(),
            managers: managers.iter().map(|text| (*text).to_owned()).collect(),
            ..IgnoreRule::default()
        };
        Policy { ignore: vec![rule], ..policy() }
    }

    #[test]
    fn every_body_carries_label_and_annotation_beside_its_own() {
        let mut manifest = desired();
        manifest.value["metadata"]["labels"] = json!({"app": "web"});
        let body = body(&manifest, None, &policy());
        assert_eq!(body["metadata"]["labels"], json!({"app": "web", "bowline.dev/set": "set-of-shop"}));
        assert_eq!(body["metadata"]["annotations"], json!({"bowline.dev/application": "team-a/shop"}));
        assert_eq!(body["spec"], manifest.value["spec"]);
    }

    #[test]
    fn an_ignored_field_is_sent_when_the_object_is_made() {
        let body = body(&desired(), None, &ignoring(&["/spec/replicas"], &[]));
        assert_eq!(body["spec"]["replicas"], json!(4));
    }

    #[test]
    fn an_ignored_field_that_is_still_ours_is_sent_as_it_is_live() {
        let body = body(&desired(), Some(&deployment()), &ignoring(&["/spec/replicas"], &[]));
        assert_eq!(body["spec"]["replicas"], json!(2));
    }

    #[test]
    fn an_ignored_field_that_is_ours_stays_although_the_manifest_no_longer_has_it() {
        let mut manifest = desired();
        manifest.value["spec"].as_object_mut().unwrap().remove("replicas");
        let body = body(&manifest, Some(&deployment()), &ignoring(&["/spec/replicas"], &[]));
        assert_eq!(body["spec"]["replicas"], json!(2), "left out, the server would set it to 1");
    }

    #[test]
    fn an_ignored_field_that_another_took_is_left_out() {
        let mut live = deployment();
        live["spec"]["replicas"] = json!(9);
        live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].as_object_mut().unwrap().remove("f:replicas");
        let body = body(&desired(), Some(&live), &ignoring(&["/spec/replicas"], &[]));
        assert_eq!(body["spec"].get("replicas"), None);
    }

    #[test]
    fn an_ignored_field_of_a_list_item_is_found_by_the_name_of_the_item() {
        let pointer = "/spec/template/spec/containers/1/image";
        let body = body(&desired(), Some(&deployment()), &ignoring(&[pointer], &[]));
        assert_eq!(body.pointer(pointer), Some(&json!("example.com/web:1")), "the second here, the first there");
        assert_eq!(body.pointer("/spec/template/spec/containers/0/image"), Some(&json!("example.com/log:2")));
    }

    #[test]
    fn what_is_left_out_leaves_no_empty_object_behind() {
        let mut live = deployment();
        set_own_fields(&mut live, json!({"f:metadata": {"f:labels": {"f:app": {}}}}));
        let pointer = "/spec/template/spec/containers/1/resources/limits/memory";
        let body = body(&desired(), Some(&live), &ignoring(&[pointer], &[]));
        assert_eq!(
            body["spec"]["template"]["spec"]["containers"][1],
            json!({"name": "web", "image": "example.com/web:2"})
        );
    }

    #[test]
    fn what_a_manager_of_a_rule_owns_is_left_out_but_for_what_names_an_item() {
        let mut live = deployment();
        let web = json!({".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:memory": {}}}});
        let fields = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            r#"k:{"name":"web"}"#: web}}}}});
        with_entry(&mut live, "autoscaler", "Update", fields);
        let body = body(&desired(), Some(&live), &ignoring(&[], &["autoscaler"]));
        assert_eq!(body["spec"].get("replicas"), None);
        assert_eq!(
            body["spec"]["template"]["spec"]["containers"][1],
            json!({"name": "web", "image": "example.com/web:2"})
        );
    }

    #[rstest]
    #[case(IgnoreRule { kind: Some("StatefulSet".into()), ..IgnoreRule::default() }, false)]
    #[case(IgnoreRule { group: Some("apps".into()), name: Some("web".into()), ..IgnoreRule::default() }, true)]
    #[case(IgnoreRule { namespace: Some("team-b".into()), ..IgnoreRule::default() }, false)]
    #[case(IgnoreRule { group: Some(String::new()), ..IgnoreRule::default() }, false)]
    fn a_rule_concerns_the_objects_that_its_selectors_name(#[case] rule: IgnoreRule, #[case] expected: bool) {
        assert_eq!(rule.concerns(&desired().id), expected);
    }
}
