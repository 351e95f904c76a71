//! On which line each field of a manifest was written.
//!
//! Kept for blame, for every manifest of every bundle, so it is small: one
//! number for each value, in the order in which they are walked, counted from
//! the line on which the object begins. Where objects move within their files
//! the numbers stay the same, and so does what is stored of them.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Position,
    yaml::{Place, Positions},
};

/// The lines of the fields of one manifest. Empty where they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldLines(Box<[u16]>);

impl FieldLines {
    /// The lines of all values of `manifest`, in the order of [`FieldLines::of`].
    /// A value that the file does not have, such as a namespace that was filled
    /// in, has the line of what it is in.
    pub(super) fn new(manifest: &Value, positions: &Positions, begin: Position) -> Self {
        let mut lines = Vec::new();
        collect(manifest, positions.root(), None, begin.line, &mut lines);
        // An object with more lines than can be counted is left without.
        Self(lines.into_iter().collect::<Option<Vec<u16>>>().unwrap_or_default().into_boxed_slice())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line of the value at a JSON pointer into `manifest`, if it is known,
    /// for an object that begins on the line `begin`.
    pub fn of(&self, manifest: &Value, pointer: &str, begin: u32) -> Option<u32> {
        let index = index_of(manifest, pointer)?;
        self.0.get(index).map(|line| begin + u32::from(*line))
    }
}

/// Walks the value beside the places of the document. `beside` is another
/// place where its fields may be: what a Secret says in `stringData` is under
/// `data` in the canonical form, and outranks what is there.
fn collect(value: &Value, place: Place<'_>, beside: Option<Place<'_>>, begin: u32, lines: &mut Vec<Option<u16>>) {
    lines.push(u16::try_from(place.position().line.saturating_sub(begin)).ok());
    let is_document = lines.len() == 1;
    for (key, child) in children(value) {
        let strings = place.child("stringData").filter(|_| is_document && key == "data");
        let own = beside.and_then(|beside| beside.child(&key)).or_else(|| place.child(&key));
        let nested = own.or(strings).unwrap_or(place);
        collect(child, nested, strings, begin, lines);
    }
}

/// The children of a value in the order in which they are counted.
fn children(value: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            Box::new(sorted.into_iter().map(|(key, value)| (key.clone(), value)))
        }
        Value::Array(items) => Box::new(items.iter().enumerate().map(|(index, item)| (index.to_string(), item))),
        _ => Box::new(std::iter::empty()),
    }
}

/// The number of a value in the order in which they are counted.
fn index_of(value: &Value, pointer: &str) -> Option<usize> {
    let mut index = 0;
    let mut current = value;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let mut found = None;
        index += 1;
        for (key, child) in children(current) {
            if key == token {
                found = Some(child);
                break;
            }
            index += count(child).get();
        }
        current = found?;
    }
    Some(index)
}

/// How many values a value is, itself among them.
fn count(value: &Value) -> NonZeroUsize {
    children(value).fold(NonZeroUsize::MIN, |sum, (_, child)| sum.saturating_add(count(child).get()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::super::{Manifest, Origin, Scope, yaml};

    fn read(text: &str) -> Manifest {
        let (documents, problems) = yaml::read_documents("a.yaml", text.as_bytes(), &yaml::Limits::default());
        assert!(problems.is_empty(), "{problems:?}");
        let document = documents.into_iter().next_back().unwrap();
        let origin = Some(Origin::new("a.yaml", Some(document.position)));
        Manifest::read(document.value, Some("team-a"), Scope::Namespaced, origin, Some(&document.positions)).unwrap()
    }

    const DEPLOYMENT: &str = "\
# A comment.
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  # How many.
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        args: [a,
          b]
";

    const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: login
data:
  user: YWRh
stringData:
  password: hunter22
";

    #[rstest]
    #[case(DEPLOYMENT, "", 3)]
    #[case(DEPLOYMENT, "/spec", 6)]
    #[case(DEPLOYMENT, "/spec/replicas", 8)]
    #[case(DEPLOYMENT, "/spec/template/metadata/labels/app", 11)]
    #[case(DEPLOYMENT, "/spec/template/spec/containers/0/name", 14)]
    #[case(DEPLOYMENT, "/spec/template/spec/containers/0/image", 15)]
    #[case(DEPLOYMENT, "/spec/template/spec/containers/0/args/1", 17)]
    #[case::filled_in(DEPLOYMENT, "/metadata/namespace", 5)]
    #[case(SECRET, "/data/user", 6)]
    #[case::of_string_data(SECRET, "/data/password", 8)]
    fn each_field_has_the_line_that_it_was_written_on(#[case] text: &str, #[case] pointer: &str, #[case] line: u32) {
        let manifest = read(text);
        assert_eq!(manifest.line_of(pointer), Some(line));
    }

    #[test]
    fn a_field_that_is_not_there_has_no_line() {
        assert_eq!(read(DEPLOYMENT).line_of("/spec/paused"), None);
    }

    #[test]
    fn lines_do_not_change_when_an_object_moves_within_its_file() {
        let moved = read(&format!("# One more line.\n{DEPLOYMENT}"));
        let (before, after) = (read(DEPLOYMENT).origin.unwrap(), moved.origin.clone().unwrap());
        assert_eq!(before.lines, after.lines);
        assert_eq!(moved.line_of("/spec/replicas"), Some(9));
    }
}
