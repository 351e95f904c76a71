//! On which line each field of a manifest was written.
//!
//! Kept for blame, for every manifest of every bundle, so it is small: one
//! number for each value, in the order in which they are walked, counted from
//! the line on which the object begins. Where objects move within their files
//! the numbers stay the same, and so does what is stored of them.

use std::{borrow::Cow, num::NonZeroUsize};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Position,
    yaml::{Place, Positions},
};

/// The lines of the fields of one manifest. Empty where they are not known.
///
/// As text, each value has the distance of its line from that of the value
/// before: most of them are one letter, and objects of one shape are one text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct FieldLines(Box<[u16]>);

/// The letters of small distances: 0, -1, 1, -2, 2 and so on.
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl From<FieldLines> for String {
    fn from(lines: FieldLines) -> Self {
        let mut text = Self::new();
        let mut before = 0;
        for line in lines.0 {
            let distance = i32::from(line) - before;
            before = i32::from(line);
            let folded =
                usize::try_from(if distance < 0 { -2 * distance - 1 } else { 2 * distance }).unwrap_or_default();
            match LETTERS.get(folded) {
                Some(letter) => text.push(char::from(*letter)),
                None => text.push_str(&format!("{folded}.")),
            }
        }
        text
    }
}

impl From<String> for FieldLines {
    /// What is no such text says nothing: lines only serve people.
    fn from(text: String) -> Self {
        let mut lines = Vec::new();
        let mut before = 0_i32;
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let folded = match LETTERS.iter().position(|letter| letter == first) {
                Some(folded) => {
                    rest = after;
                    i32::try_from(folded).ok()
                }
                None => {
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let number =
                        std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse::<i32>().ok());
                    let ended = rest.get(digits) == Some(&b'.');
                    rest = rest.get(digits + 1..).unwrap_or_default();
                    number.filter(|_| ended)
                }
            };
            let distance = folded.map(|folded| if folded % 2 == 0 { folded / 2 } else { -(folded / 2) - 1 });
            let line =
                distance.and_then(|distance| before.checked_add(distance)).and_then(|line| u16::try_from(line).ok());
            let Some(line) = line else { return Self::default() };
            before = i32::from(line);
            lines.push(line);
        }
        Self(lines.into_boxed_slice())
    }
}

impl FieldLines {
    /// The lines of all values of `manifest`, in the order of [`FieldLines::of`].
    /// A value that the file does not have, such as a namespace that was filled
    /// in, has the line of what it is in.
    pub(super) fn new(manifest: &Value, positions: &Positions, begin: Position) -> Self {
        let mut lines = Vec::new();
        let root = positions.root();
        // What a Secret says in `stringData` is under `data` in the canonical form.
        let strings = root.child("stringData").filter(|_| is_secret(manifest));
        collect(manifest, root, Beside { data: strings, fields: None }, begin.line, &mut lines);
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

/// Where else fields of a value may be written.
#[derive(Clone, Copy, Default)]
struct Beside<'a> {
    /// Those of its field `data`.
    data: Option<Place<'a>>,
    /// Its own. They outrank what is in its place.
    fields: Option<Place<'a>>,
}

fn is_secret(manifest: &Value) -> bool {
    manifest["apiVersion"] == "v1" && manifest["kind"] == "Secret"
}

/// Walks the value beside the places of the document.
fn collect(value: &Value, place: Place<'_>, beside: Beside<'_>, begin: u32, lines: &mut Vec<Option<u16>>) {
    lines.push(u16::try_from(place.position().line.saturating_sub(begin)).ok());
    for (key, child) in children(value) {
        let strings = beside.data.filter(|_| key == "data");
        let own = beside.fields.and_then(|fields| fields.child(&key)).or_else(|| place.child(&key));
        let nested = own.or(strings).unwrap_or(place);
        collect(child, nested, Beside { data: None, fields: strings }, begin, lines);
    }
}

/// The children of a value in the order in which they are counted: that of
/// their names, as the map has them, or of their places.
fn children(value: &Value) -> Box<dyn Iterator<Item = (Cow<'_, str>, &Value)> + '_> {
    match value {
        Value::Object(fields) => Box::new(fields.iter().map(|(key, value)| (key.as_str().into(), value))),
        Value::Array(items) => Box::new(items.iter().enumerate().map(|(index, item)| (index.to_string().into(), item))),
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
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{
        super::{Manifest, Origin, Scope, yaml},
        *,
    };

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

    /// It only looks like a Secret.
    const VAULT: &str = "\
apiVersion: vault.example.com/v1
kind: Secret
metadata:
  name: login
data:
  password: kept
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
    #[case::of_a_custom_resource(VAULT, "/data/password", 6)]
    #[case::beside_it(VAULT, "/stringData/password", 8)]
    fn each_field_has_the_line_that_it_was_written_on(#[case] text: &str, #[case] pointer: &str, #[case] line: u32) {
        let manifest = read(text);
        assert_eq!(manifest.line_of(pointer), Some(line));
    }

    #[test]
    fn most_lines_are_one_letter() {
        let lines = read(DEPLOYMENT).origin.unwrap().lines;
        insta::assert_snapshot!(String::from(lines), @"aaccaacecaaccaaccceacdb");
    }

    #[rstest]
    #[case::no_letter("a-b")]
    #[case::no_end("120")]
    #[case::below_the_first_line("b")]
    #[case::beyond_the_last("131072.")]
    #[case::no_number("99999999999.")]
    fn what_is_no_text_of_lines_says_nothing(#[case] text: &str) {
        assert_eq!(FieldLines::from(text.to_owned()), FieldLines::default());
    }

    proptest! {
        #[test]
        fn lines_are_read_as_they_were_written(lines: Vec<u16>) {
            let lines = FieldLines(lines.into_boxed_slice());
            prop_assert_eq!(FieldLines::from(String::from(lines.clone())), lines);
        }

        #[test]
        fn any_text_is_read_or_says_nothing(text: String) {
            let _ = FieldLines::from(text);
        }
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
