//! What differs between two states of one object, field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    FieldChange,
    ownership::{PeoplePath, owned_values, pointer_of, tokens_of},
    settle::field_change,
};

/// A difference of one field, item or list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// Where, for people.
    pub(super) path: String,
    /// Where in the state before; none where it is not there.
    pub(super) before_at: Option<Vec<String>>,
    /// Where in the state after; none where it is not there.
    pub(super) after_at: Option<Vec<String>>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Metadata that the server sets at each write or creation.
const SERVER_METADATA: [&str; 9] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// Fields that name the items of a list, tried in this order: the first that
/// all items have, and no two the same, is taken.
const KEYS: &[&[&str]] = &[
    &["name"],
    &["containerPort"],
    &["containerPort", "protocol"],
    &["port"],
    &["port", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["topologyKey", "whenUnsatisfiable"],
    &["ip"],
    &["uid"],
];

/// All differences, in the order of the fields' names. `status` and what the
/// server sets in the metadata do not count.
pub(super) fn diff(before: &Value, after: &Value) -> Vec<Difference> {
    let mut walk = Walk { found: Vec::new(), before_at: Vec::new(), after_at: Vec::new() };
    walk.values(Some(&stripped(before)), Some(&stripped(after)), &PeoplePath::default());
    walk.found
}

/// What differs between two states of one object, in the order of the fields'
/// names: `Null` stands for one that is not there. `status` and what the server
/// sets in the metadata do not count.
pub fn compared(before: &Value, after: &Value) -> Vec<FieldChange> {
    let empty = Value::Object(Map::new());
    let or_empty = |value| if Value::is_null(value) { &empty } else { value };
    diff(or_empty(before), or_empty(after)).into_iter().map(|change| field_change(change, true)).collect()
}

fn stripped(object: &Value) -> Value {
    let Some(fields) = object.as_object() else { return object.clone() };
    let mut kept: Map<String, Value> = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("status", _) => {}
            ("metadata", Value::Object(metadata)) => {
                let metadata = metadata.iter().filter(|(name, _)| !SERVER_METADATA.contains(&name.as_str()));
                let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
                kept.insert(name.clone(), Value::Object(metadata));
            }
            _ => {
                kept.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(kept)
}

struct Walk {
    found: Vec<Difference>,
    before_at: Vec<String>,
    after_at: Vec<String>,
}

impl Walk {
    fn values(&mut self, before: Option<&Value>, after: Option<&Value>, path: &PeoplePath) {
        if before == after {
            return;
        }
        match (before, after) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for name in names {
                    self.child(name, name, old.get(name), new.get(name), &path.field(name));
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => self.lists(old, new, path),
            _ => self.differ(before, after, path),
        }
    }

    fn child(&mut self, old: &str, new: &str, before: Option<&Value>, after: Option<&Value>, path: &PeoplePath) {
        self.before_at.push(old.to_owned());
        self.after_at.push(new.to_owned());
        self.values(before, after, path);
        self.before_at.pop();
        self.after_at.pop();
    }

    fn lists(&mut self, old: &[Value], new: &[Value], path: &PeoplePath) {
        let objects = old.iter().chain(new).all(Value::is_object);
        if let Some(names) = key_of(old, new).filter(|_| objects) {
            return self.keyed(old, new, names, path);
        }
        if objects && old.len() == new.len() {
            for (index, (before, after)) in old.iter().zip(new).enumerate() {
                let token = index.to_string();
                self.child(&token, &token, Some(before), Some(after), &path.index(index));
            }
            return;
        }
        self.differ(Some(&Value::Array(old.to_vec())), Some(&Value::Array(new.to_vec())), path);
    }

    fn keyed(&mut self, old: &[Value], new: &[Value], names: &[&str], path: &PeoplePath) {
        let key = |item: &Value| -> Map<String, Value> {
            names.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect()
        };
        let old_keys: Vec<_> = old.iter().map(key).collect();
        let new_keys: Vec<_> = new.iter().map(key).collect();
        for (index, item) in old.iter().enumerate() {
            let path = path.key(&old_keys[index]);
            match new_keys.iter().position(|key| *key == old_keys[index]) {
                Some(position) => {
                    self.child(&index.to_string(), &position.to_string(), Some(item), Some(&new[position]), &path);
                }
                None => self.child(&index.to_string(), "-", Some(item), None, &path),
            }
        }
        for (index, item) in new.iter().enumerate() {
            if !old_keys.contains(&new_keys[index]) {
                self.child("-", &index.to_string(), None, Some(item), &path.key(&new_keys[index]));
            }
        }
        let shared = |keys: &[Map<String, Value>], others: &[Map<String, Value>]| -> Vec<Value> {
            keys.iter().filter(|key| others.contains(key)).map(name_of).collect()
        };
        let (before, after) = (shared(&old_keys, &new_keys), shared(&new_keys, &old_keys));
        if before != after {
            self.differ(Some(&Value::Array(before)), Some(&Value::Array(after)), &path.field("(order)"));
        }
    }

    fn differ(&mut self, before: Option<&Value>, after: Option<&Value>, path: &PeoplePath) {
        self.found.push(Difference {
            path: path.as_str().to_owned(),
            before_at: before.map(|_| self.before_at.clone()),
            after_at: after.map(|_| self.after_at.clone()),
            before: before.cloned(),
            after: after.cloned(),
        });
    }
}

fn name_of(key: &Map<String, Value>) -> Value {
    match (key.len(), key.values().next()) {
        (1, Some(value)) => value.clone(),
        _ => Value::Object(key.clone()),
    }
}

fn key_of(old: &[Value], new: &[Value]) -> Option<&'static [&'static str]> {
    KEYS.iter().copied().find(|names| {
        [old, new].iter().all(|items| {
            let keys: Vec<Vec<Option<&Value>>> =
                items.iter().map(|item| names.iter().map(|name| item.get(*name)).collect()).collect();
            // A list is short; two items of one name are looked for pair by pair.
            keys.iter().all(|key| key.iter().all(Option::is_some))
                && keys.iter().enumerate().all(|(index, key)| !keys[..index].contains(key))
        })
    })
}

/// What an apply of `body` asks to change on the live object, as far as can be
/// told without the server: what `body` has otherwise, and what `manager` owns
/// and `body` no longer has. Values that the server writes differently
/// (`1000m` is `1`) count as different here.
pub(super) fn asked(live: &Value, body: &Value, manager: &str) -> Vec<Difference> {
    let mut found = diff(live, &merged(live, body));
    for owned in owned_values(live, manager).unwrap_or_default() {
        let Some(pointer) = owned.pointer else { continue };
        let tokens = tokens_of(&pointer);
        let there = super::ownership::same_place(live, body, &tokens);
        if body.pointer(&pointer_of(&there)).is_none() && !is_key_field(&tokens) {
            found.push(Difference {
                path: owned.path,
                before_at: Some(tokens),
                after_at: None,
                before: owned.value.cloned(),
                after: None,
            });
        }
    }
    found
}

fn is_key_field(tokens: &[String]) -> bool {
    matches!(tokens, [.., index, last] if index.parse::<usize>().is_ok() && last == "name")
}

fn merged(live: &Value, body: &Value) -> Value {
    match (live, body) {
        (Value::Object(old), Value::Object(new)) => {
            let mut fields = old.clone();
            for (name, value) in new {
                let value = old.get(name).map_or_else(|| value.clone(), |old| merged(old, value));
                fields.insert(name.clone(), value);
            }
            Value::Object(fields)
        }
        (Value::Array(old), Value::Array(new)) => {
            let objects = old.iter().chain(new).all(Value::is_object);
            let Some(names) = key_of(old, new).filter(|_| objects) else { return body.clone() };
            let same = |one: &Value, other: &Value| names.iter().all(|name| one.get(*name) == other.get(*name));
            let ours = new.iter().map(|item| {
                old.iter().find(|old| same(old, item)).map_or_else(|| item.clone(), |old| merged(old, item))
            });
            let theirs = old.iter().filter(|old| !new.iter().any(|item| same(old, item))).cloned();
            Value::Array(ours.chain(theirs).collect())
        }
        _ => body.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::{MANAGER, deployment};

    fn shown(found: &[Difference]) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        found.iter().map(|d| format!("{}: {} → {}", d.path, text(&d.before), text(&d.after))).collect()
    }

    #[rstest]
    #[case::a_scalar(json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 2}}), &["spec.replicas: 1 → 2"])]
    #[case::an_item_by_its_name(
        json!({"containers": [{"name": "log"}, {"name": "web", "image": "a"}]}),
        json!({"containers": [{"name": "log"}, {"name": "web", "image": "b"}]}),
        &[r#"containers[web].image: "a" → "b""#])]
    #[case::an_added_item(
        json!({"env": [{"name": "A"}]}), json!({"env": [{"name": "A"}, {"name": "B", "value": "2"}]}),
        &[r#"env[B]: - → {"name":"B","value":"2"}"#])]
    #[case::a_removed_item(
        json!({"env": [{"name": "A"}, {"name": "B"}]}), json!({"env": [{"name": "B"}]}),
        &[r#"env[A]: {"name":"A"} → -"#])]
    #[case::the_order_of_items(
        json!({"env": [{"name": "A"}, {"name": "B"}]}), json!({"env": [{"name": "B"}, {"name": "A"}]}),
        &[r#"env[(order)]: ["A","B"] → ["B","A"]"#])]
    #[case::ports_by_number(
        json!({"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "targetPort": 1}]}),
        json!({"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "targetPort": 2}]}),
        &["ports[port=53,protocol=UDP].targetPort: 1 → 2"])]
    #[case::scalars_as_a_whole(json!({"args": ["a"]}), json!({"args": ["b"]}), &[r#"args: ["a"] → ["b"]"#])]
    #[case::items_without_a_name(
        json!({"rules": [{"verbs": ["get"]}]}), json!({"rules": [{"verbs": ["list"]}]}),
        &[r#"rules[0].verbs: ["get"] → ["list"]"#])]
    #[case::a_name_with_dots(
        json!({"metadata": {"labels": {"a.b/c": "1"}}}), json!({"metadata": {"labels": {"a.b/c": "2"}}}),
        &[r#"metadata.labels[a.b/c]: "1" → "2""#])]
    #[case::another_type(json!({"a": {"b": 1}}), json!({"a": "x"}), &[r#"a: {"b":1} → "x""#])]
    #[case::status_and_server_metadata(
        json!({"status": {"a": 1}, "metadata": {"uid": "1", "resourceVersion": "1", "generation": 1}}),
        json!({"metadata": {"uid": "2", "resourceVersion": "2", "managedFields": []}}), &[])]
    fn differences_are_named_as_people_would(#[case] before: Value, #[case] after: Value, #[case] expected: &[&str]) {
        let found = shown(&diff(&before, &after));
        assert_eq!(found, expected);
    }

    #[test]
    fn each_side_has_its_own_place() {
        let before = json!({"env": [{"name": "A"}, {"name": "B", "value": "1"}]});
        let after = json!({"env": [{"name": "B", "value": "2"}]});
        let found = diff(&before, &after);
        let value = found.iter().find(|d| d.path == "env[B].value").unwrap();
        assert_eq!(value.before_at.as_deref().map(pointer_of).as_deref(), Some("/env/1/value"));
        assert_eq!(value.after_at.as_deref().map(pointer_of).as_deref(), Some("/env/0/value"));
    }

    #[test]
    fn what_a_body_asks_for_leaves_defaults_alone_and_names_what_it_takes_back() {
        let container = json!({"name": "web", "image": "example.com/web:2", "args": ["--listen", ":8080"]});
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "team-a"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [container]}}}});
        let found = shown(&asked(&deployment(), &body, MANAGER));
        assert!(found.contains(
            &r#"spec.template.spec.containers[web].image: "example.com/web:1" → "example.com/web:2""#.into()
        ));
        assert!(found.contains(&"spec.replicas: 2 → -".into()));
        assert!(!found.iter().any(|line| line.contains("progressDeadlineSeconds") || line.contains("selector")));
    }

    proptest::proptest! {
        #[test]
        fn a_state_does_not_differ_from_itself(numbers in proptest::collection::vec(0..9i32, 0..5)) {
            let value = json!({"spec": {"numbers": numbers, "items": numbers.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()}});
            proptest::prop_assert!(diff(&value, &value).is_empty());
        }
    }
}
