//! Documents as they were written: keys in their order, each scalar with what
//! it means to a reader of YAML 1.2, such as the tool that wrote it.
//!
//! Kubernetes' own rules lose both, and whoever verifies a code over all
//! values of a file needs them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Document, Limits, Position, Positions, Problem,
    decode::json_number,
    node::{Kind, NodeId, Scalar, Tree},
    positions::{Children, Entry, EntryId},
    resolve::{Resolved, resolve},
    split, trees,
};

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    /// Where it begins.
    pub(crate) position: Position,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Written>),
    Mapping(Vec<Field>),
}

/// A field of a mapping; a key is there once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) key: String,
    /// Where the key was written.
    pub(crate) position: Position,
    pub(crate) value: Written,
}

/// Reads all documents of a file if one of them has, at its top, a field of
/// this name whose value is such a one; `None` if none has, also where nothing
/// can be read, which is for others to tell. Documents that are empty are left
/// out.
///
/// # Errors
/// Such a file has aliases, keys that are no text, a key twice, or is no YAML
/// in another document.
pub(crate) fn read_if_has(
    file: &str,
    bytes: &[u8],
    limits: &Limits,
    field: &str,
    such: impl Fn(&Written) -> bool,
) -> Option<Result<Vec<Written>, Vec<Problem>>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= limits.file_bytes)?;
    let (mut problems, mut found, mut has) = (Vec::new(), Vec::new(), false);
    for chunk in split::split(file, text, &mut problems) {
        match trees(file, &chunk, limits) {
            Ok(trees) => {
                has |= trees.iter().any(|tree| field_of(tree, field).is_some_and(|value| such(&value)));
                found.extend(trees);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    if !has {
        return None;
    }
    let mut documents = Vec::new();
    for tree in found.iter().take(limits.documents) {
        match written(file, tree, tree.root) {
            Ok(document) => documents.push(document),
            Err(problem) => problems.push(problem),
        }
    }
    if found.len() > limits.documents {
        problems.push(Problem::in_file(file, format!("has more than {} documents", limits.documents)));
    }
    Some(if problems.is_empty() { Ok(documents) } else { Err(problems) })
}

fn field_of(tree: &Tree, field: &str) -> Option<Written> {
    let Kind::Mapping(pairs) = &tree.nodes.get(tree.root)?.kind else { return None };
    let is_it = |key: &NodeId| match tree.nodes.get(*key).map(|node| &node.kind) {
        Some(Kind::Scalar(scalar)) => scalar.text == field,
        _ => false,
    };
    let (_, value) = pairs.iter().find(|(key, _)| is_it(key))?;
    written("", tree, *value).ok()
}

/// The parser bounds how deep nodes nest.
fn written(file: &str, tree: &Tree, id: NodeId) -> Result<Written, Problem> {
    let Some(node) = tree.nodes.get(id) else { return Err(Problem::in_file(file, "cannot be read")) };
    let position = node.position;
    let content = match &node.kind {
        Kind::Alias(_) => {
            let message = "an alias cannot stand in a file that is encrypted as a whole";
            return Err(Problem::in_file(file, message).at(position).hint("repeat the value"));
        }
        Kind::Json(value) => json(value),
        Kind::Scalar(scalar) => meaning(scalar).map_err(|message| Problem::in_file(file, message).at(position))?,
        Kind::Sequence(items) => {
            Content::List(items.iter().map(|item| written(file, tree, *item)).collect::<Result<_, _>>()?)
        }
        Kind::Mapping(pairs) => {
            let mut first: BTreeMap<&str, Position> = BTreeMap::new();
            let mut fields = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let (text, at) = key_of(file, tree, *key)?;
                if let Some(first) = first.insert(text, at) {
                    let hint = format!("it is set at {}:{} too; keep one of them", first.line, first.column);
                    return Err(Problem::in_file(file, format!("duplicate key {text:?}")).at(at).hint(hint));
                }
                fields.push(Field { key: text.to_owned(), position: at, value: written(file, tree, *value)? });
            }
            Content::Mapping(fields)
        }
    };
    Ok(Written { position, content })
}

fn key_of<'a>(file: &str, tree: &'a Tree, id: NodeId) -> Result<(&'a str, Position), Problem> {
    let node = tree.nodes.get(id);
    let position = node.map_or_else(|| tree.position(), |node| node.position);
    if let Some(Kind::Scalar(scalar)) = node.map(|node| &node.kind)
        && (scalar.text == "<<" || matches!(meaning(scalar), Ok(Content::Text(_))))
    {
        return Ok((&scalar.text, position));
    }
    let message = "a key that is not text cannot stand in a file that is encrypted as a whole";
    Err(Problem::in_file(file, message).at(position).hint("quote it to make it text"))
}

/// Of the words for true and false YAML 1.2 knows two.
fn meaning(scalar: &Scalar) -> Result<Content, String> {
    let text = || Content::Text(scalar.text.clone());
    if scalar.tag.is_none() && !scalar.implicit {
        return Ok(text());
    }
    let resolved = resolve(scalar.tag.as_deref(), &scalar.text).map_err(|error| error.to_string())?;
    Ok(match resolved {
        Resolved::Null => Content::Null,
        Resolved::Bool(boolean) if scalar.text.to_ascii_lowercase() == boolean.to_string() => Content::Bool(boolean),
        Resolved::Bool(_) => text(),
        Resolved::Int(integer) => Content::Int(integer),
        Resolved::Uint(integer) => Content::Float(integer as f64),
        Resolved::Float(float) => Content::Float(float),
        Resolved::Text(text) => Content::Text(text),
    })
}

fn json(value: &Value) -> Content {
    match value {
        Value::Bool(boolean) => Content::Bool(*boolean),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Content::Int(integer),
            None => Content::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        // The reader of JSON has no other values of this kind.
        _ => Content::Null,
    }
}

impl Content {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Written {
    /// The value of a field of a mapping.
    pub(crate) fn field(&self, key: &str) -> Option<&Written> {
        let Content::Mapping(fields) = &self.content else { return None };
        fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        self.content.text()
    }

    /// The same as a document of Kubernetes, with its positions.
    ///
    /// # Errors
    /// A number is none that JSON can hold.
    pub(crate) fn into_document(self, file: &str) -> Result<Document, Problem> {
        let position = self.position;
        let mut entries = Vec::new();
        let (value, root) = self.into_value(file, &mut entries)?;
        Ok(Document { value, position, positions: Positions::new(entries, root) })
    }

    fn into_value(self, file: &str, entries: &mut Vec<Entry>) -> Result<(Value, EntryId), Problem> {
        let position = self.position;
        let mut children = Children::None;
        let value = match self.content {
            Content::Null => Value::Null,
            Content::Bool(boolean) => Value::Bool(boolean),
            Content::Int(integer) => Value::Number(integer.into()),
            Content::Float(float) => Value::Number(json_number(float).ok_or_else(|| {
                Problem::in_file(file, "is not a finite number")
                    .at(position)
                    .hint("Kubernetes' objects are JSON, which has no infinity and no NaN; quote it to make it text")
            })?),
            Content::Text(text) => Value::String(text),
            Content::List(items) => {
                let (mut values, mut ids) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
                for item in items {
                    let (value, id) = item.into_value(file, entries)?;
                    values.push(value);
                    ids.push(id);
                }
                children = Children::Items(ids);
                Value::Array(values)
            }
            Content::Mapping(fields) => {
                let (mut values, mut ids) = (Map::new(), BTreeMap::new());
                for Field { key, position, value } in fields {
                    let (value, id) = value.into_value(file, entries)?;
                    values.insert(key.clone(), value);
                    ids.insert(key, (position, id));
                }
                children = Children::Fields(ids);
                Value::Object(values)
            }
        };
        entries.push(Entry { position, children });
        Ok((value, entries.len() - 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<Result<Vec<Written>, Vec<String>>> {
        let read = read_if_has("f.yaml", text.as_bytes(), &Limits::default(), "mark", |_| true);
        read.map(|read| read.map_err(|problems| problems.iter().map(Problem::to_string).collect()))
    }

    #[test]
    fn a_file_without_the_field_at_a_top_is_none_of_ours_whatever_it_holds() {
        assert_eq!(read("a: &x 1\nb: *x\nc: {mark: 1}\n1: 2\n"), None);
        assert_eq!(read("a: [\n"), None);
        assert_eq!(read("- mark\n"), None);
        let text = "mark: 1\nb: &a 1\nc: *a\n";
        let such = |written: &Written| written.content == Content::Int(2);
        assert_eq!(read_if_has("f.yaml", text.as_bytes(), &Limits::default(), "mark", such), None);
    }

    #[rstest]
    #[case("yes", Content::Text("yes".into()))]
    #[case("True", Content::Bool(true))]
    #[case("0644", Content::Int(420))]
    #[case("'0644'", Content::Text("0644".into()))]
    #[case("1_000", Content::Int(1000))]
    #[case("1.50", Content::Float(1.5))]
    #[case("~", Content::Null)]
    #[case("2024-01-02", Content::Text("2024-01-02".into()))]
    #[case("!!str 1", Content::Text("1".into()))]
    fn scalars_mean_what_they_mean_to_yaml_1_2(#[case] text: &str, #[case] expected: Content) {
        let read = read(&format!("mark: {text}\n")).unwrap().unwrap();
        assert_eq!(read[0].field("mark").unwrap().content, expected);
    }

    #[test]
    fn keys_keep_their_order_and_all_documents_come() {
        let read = read("z: 1\na: 2\nmark: 3\n---\non: {}\n").unwrap().unwrap();
        let keys = |written: &Written| match &written.content {
            Content::Mapping(fields) => fields.iter().map(|field| field.key.clone()).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert_eq!(read.iter().map(keys).collect::<Vec<_>>(), [vec!["z", "a", "mark"], vec!["on"]]);
    }

    #[rstest]
    #[case("mark: &a 1\nb: *a\n", "f.yaml:2:4: an alias cannot stand in a file that is encrypted as a whole")]
    #[case("mark: 1\n2: 3\n", "f.yaml:2:1: a key that is not text cannot stand in a file that is encrypted as a whole")]
    #[case("mark: 1\na: 3\na: 4\n", "f.yaml:3:1: duplicate key \"a\"")]
    fn what_cannot_be_verified_is_refused(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(read(text).unwrap().unwrap_err(), [expected]);
    }

    #[test]
    fn a_document_has_its_values_and_their_places() {
        let read = read("mark: 1\nlist:\n- a\n- {b: 2.0}\n").unwrap().unwrap();
        let document = read[0].clone().into_document("f.yaml").unwrap();
        assert_eq!(document.value, json!({"mark": 1, "list": ["a", {"b": 2}]}));
        assert_eq!(document.positions.of("/list/1/b"), Some(Position { line: 4, column: 4 }));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[-a:{}\\[\\]&*!'\" \nmark]{0,60}") {
            let read = |bytes: &[u8]| read_if_has("f.yaml", bytes, &Limits::default(), "mark", |_| true).is_some();
            let _ = read(&bytes);
            let _ = read(format!("mark: 1\n{text}").as_bytes());
        }
    }
}
