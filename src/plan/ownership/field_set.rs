//! A set of fields as the server writes it (`FieldsV1`).
//!
//! `f:<name>` is a field, `k:<json>` an item of a keyed list, `v:<json>` a
//! member of a set of scalars, `i:<n>` an item by its place, and `.` the node
//! itself. A node without children is a leaf: it is owned with all it holds.

use serde_json::{Map, Value};

/// A set of fields, or the part of one beneath a node. It borrows from the
/// object, so that looking at it costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct FieldSet<'a> {
    node: &'a Map<String, Value>,
}

/// One step of a path in a field set.
#[derive(Debug, Clone, PartialEq)]
pub enum Element<'a> {
    /// A field of an object.
    Field(&'a str),
    /// The item of a list whose fields have these values.
    Key(Map<String, Value>),
    /// The member of a list of scalars that has this value.
    Member(Value),
    /// The item of a list at this place.
    Index(usize),
}

impl<'a> Element<'a> {
    /// Reads a step. `None` where it is malformed.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest)),
            "k" => serde_json::from_str(rest).ok().map(Self::Key),
            "v" => serde_json::from_str(rest).ok().map(Self::Member),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// Finds what the step leads to: its token in a JSON pointer and its value.
    pub fn find<'v>(&self, value: &'v Value) -> Option<(String, &'v Value)> {
        match self {
            Self::Field(name) => value.as_object()?.get(*name).map(|child| ((*name).to_owned(), child)),
            Self::Key(key) => nth(value, |item| has_key(item, key)),
            Self::Member(member) => nth(value, |item| item == member),
            Self::Index(index) => value.as_array()?.get(*index).map(|item| (index.to_string(), item)),
        }
    }

    /// Whether the step leads to this item of a list.
    fn leads_to(&self, index: usize, item: &Value) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Key(key) => has_key(item, key),
            Self::Member(member) => item == member,
            Self::Index(own) => *own == index,
        }
    }
}

/// Whether an item of a list has the key fields with these values.
pub(super) fn has_key(item: &Value, key: &Map<String, Value>) -> bool {
    item.as_object().is_some_and(|fields| key.iter().all(|(name, value)| fields.get(name) == Some(value)))
}

fn nth(list: &Value, wanted: impl Fn(&Value) -> bool) -> Option<(String, &Value)> {
    list.as_array()?.iter().enumerate().find(|(_, item)| wanted(item)).map(|(index, item)| (index.to_string(), item))
}

impl<'a> FieldSet<'a> {
    /// Reads the `fieldsV1` of an entry. `None` where it is no object.
    pub fn new(fields: &'a Value) -> Option<Self> {
        fields.as_object().map(|node| Self { node })
    }

    /// Whether two sets hold the same fields.
    pub fn is_same(left: FieldSet<'_>, right: FieldSet<'_>) -> bool {
        left.node == right.node
    }

    /// Whether the node is owned with all it holds.
    pub fn is_leaf(self) -> bool {
        self.node.is_empty() || (self.node.len() == 1 && self.node.contains_key("."))
    }

    /// Whether the node itself is owned, and not only something beneath it.
    pub fn owns_itself(self) -> bool {
        self.node.is_empty() || self.node.contains_key(".")
    }

    /// The steps beneath the node as they are written, with what is owned
    /// there, in the order of their text.
    pub(crate) fn raw_children(self) -> impl Iterator<Item = (&'a str, FieldSet<'a>)> {
        self.node
            .iter()
            .filter(|(step, _)| step.as_str() != ".")
            .filter_map(|(step, fields)| Some((step.as_str(), FieldSet::new(fields)?)))
    }

    /// The steps beneath the node, with what is owned there. Malformed steps
    /// are left out.
    pub fn children(self) -> impl Iterator<Item = (Element<'a>, FieldSet<'a>)> {
        self.raw_children().filter_map(|(step, fields)| Some((Element::parse(step)?, fields)))
    }

    /// What is owned beneath a step as it is written.
    pub(crate) fn raw_child(self, step: &str) -> Option<FieldSet<'a>> {
        self.node.get(step).and_then(FieldSet::new)
    }

    /// What is owned beneath a field.
    pub fn field(self, name: &str) -> Option<FieldSet<'a>> {
        self.raw_child(&format!("f:{name}"))
    }

    /// What is owned of an item of a list.
    pub fn item(self, index: usize, item: &Value) -> Option<FieldSet<'a>> {
        self.children().find(|(element, _)| element.leads_to(index, item)).map(|(_, fields)| fields)
    }

    /// Whether something is owned at a place of the object, or beneath it, or
    /// the place is part of a leaf that is owned as a whole.
    pub fn covers<S: AsRef<str>>(self, object: &Value, tokens: &[S]) -> bool {
        let mut place = (self, Some(object));
        for (depth, token) in tokens.iter().enumerate() {
            // The root is never owned as a whole, however little an entry holds.
            if depth > 0 && place.0.is_leaf() {
                return true;
            }
            match step(place, token.as_ref()) {
                Some(next) => place = next,
                None => return false,
            }
        }
        true
    }

    /// What is owned at a place of the object and beneath it. A place within a
    /// leaf is not in the set: others may own something there beside it.
    pub fn at<S: AsRef<str>>(self, object: &Value, tokens: &[S]) -> Option<Self> {
        let mut place = (self, Some(object));
        for token in tokens {
            place = step(place, token.as_ref())?;
        }
        Some(place.0)
    }
}

/// One step further into a set and an object; none where nothing is owned.
fn step<'a, 'v>(
    (fields, value): (FieldSet<'a>, Option<&'v Value>),
    token: &str,
) -> Option<(FieldSet<'a>, Option<&'v Value>)> {
    match value {
        Some(Value::Array(items)) => {
            let index = token.parse().ok()?;
            let item = items.get(index)?;
            Some((fields.item(index, item)?, Some(item)))
        }
        Some(Value::Object(children)) => Some((fields.field(token)?, children.get(token))),
        _ => Some((fields.field(token)?, None)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({"spec": {
            "replicas": 2,
            "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
            "containers": [{"name": "log"}, {"name": "web", "image": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "finalizers": ["x", "y"],
            "args": ["1", "2"],
        }})
    }

    fn fields() -> Value {
        json!({"f:spec": {
            "f:absent": {},
            "f:volumes": {r#"k:{"name":"tmp"}"#: {".": {}, "f:emptyDir": {}, "f:name": {}}},
            "f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}, "f:ports": {
                r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}}}},
            "f:finalizers": {r#"v:"y""#: {}},
            "f:args": {},
            "broken": {}, "k:{": {}, "i:x": {},
        }})
    }

    #[rstest]
    #[case("/spec/containers/1/image", true)]
    #[case("/spec/containers/1", true)]
    #[case("/spec/containers/1/ports/0/containerPort", true)]
    #[case("/spec/containers/1/command", false)]
    #[case("/spec/containers/0", false)]
    #[case("/spec/containers/9", false)]
    #[case("/spec/containers/x", false)]
    #[case("/spec/replicas", false)]
    #[case("/spec/absent", true)]
    #[case("/spec/volumes/0/emptyDir/medium", true)]
    #[case("/spec/finalizers/1", true)]
    #[case("/spec/finalizers/0", false)]
    #[case("/spec/args/1", true)]
    #[case("/spec", true)]
    #[case("/status", false)]
    fn a_place_is_covered_where_something_at_or_beneath_it_is_owned(#[case] pointer: &str, #[case] expected: bool) {
        let (object, fields) = (object(), fields());
        let tokens = super::super::tokens_of(pointer);
        assert_eq!(FieldSet::new(&fields).unwrap().covers(&object, &tokens), expected);
    }

    #[rstest]
    #[case::above_what_is_owned("/spec", Some(false))]
    #[case::a_list("/spec/containers", Some(false))]
    #[case::an_item("/spec/containers/1", Some(true))]
    #[case::a_leaf("/spec/args", Some(true))]
    #[case::an_empty_map("/spec/volumes/0/emptyDir", Some(true))]
    #[case::within_a_leaf("/spec/volumes/0/emptyDir/medium", None)]
    #[case::beside_what_is_owned("/spec/replicas", None)]
    fn what_is_at_a_place_is_owned_itself_where_the_entry_says_so(
        #[case] pointer: &str,
        #[case] expected: Option<bool>,
    ) {
        let (object, fields) = (object(), fields());
        let tokens = super::super::tokens_of(pointer);
        assert_eq!(FieldSet::new(&fields).unwrap().at(&object, &tokens).map(FieldSet::owns_itself), expected);
    }

    #[test]
    fn malformed_steps_are_left_out() {
        let fields = fields();
        let spec = FieldSet::new(&fields).unwrap().field("spec").unwrap();
        assert_eq!(spec.children().count(), 5);
    }
}
