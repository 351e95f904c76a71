//! Dotenv files: an assignment a line. SOPS writes its metadata as assignments
//! too, with the way to each in the name: `sops_age__list_0__map_recipient`.

use std::collections::BTreeMap;

use super::{metadata::Metadata, refusal::Refusal, tree::Opening};
use crate::manifest::{
    Position,
    yaml::{Content, Field, Written},
};

const PREFIX: &str = "sops_";
const LIST: &str = "__list_";
const MAP: &str = "__map_";

/// A line of a dotenv file.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Comment(&'a str),
    Assignment(&'a str, &'a str),
}

/// Whether a text is such a file, by its metadata.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.lines().any(|line| ["sops_mac=", "sops_lastmodified="].iter().any(|it| line.starts_with(it)))
}

/// The metadata of a file.
///
/// # Errors
/// A line is no assignment, or they are not as SOPS writes them.
pub(super) fn metadata(text: &str) -> Result<Metadata, Refusal> {
    let (mut fields, mut lists) = (Vec::new(), BTreeMap::<&str, BTreeMap<usize, Vec<Field>>>::new());
    for line in lines(text) {
        let Line::Assignment(name, value) = line? else { continue };
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        match name.split_once(LIST) {
            Some((list, rest)) => {
                let (index, field) = rest.split_once(MAP).unwrap_or((rest, ""));
                let Ok(index) = index.parse::<usize>() else { continue };
                lists.entry(list).or_default().entry(index).or_default().push(text_field(field, value));
            }
            None => fields.push(text_field(name, value)),
        }
    }
    for (name, items) in lists {
        let items = items.into_values().map(|fields| at_the_top(Content::Mapping(fields))).collect();
        fields.push(field(name, Content::List(items)));
    }
    Metadata::read(&at_the_top(Content::Mapping(fields)))
}

/// The file as it was.
///
/// # Errors
/// A value was changed or moved, or is not encrypted and has to be.
pub(super) fn decrypt(text: &str, opening: &mut Opening<'_>) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    for line in lines(text) {
        match line? {
            Line::Comment(comment) => {
                out.push(b'#');
                out.extend(opening.comment(comment));
            }
            Line::Assignment(name, _) if name.starts_with(PREFIX) => continue,
            Line::Assignment(name, value) => {
                let clear = opening.bytes(&unescaped(value), &[name.to_owned()])?;
                out.extend(name.as_bytes());
                out.push(b'=');
                clear.iter().for_each(|byte| match byte {
                    b'\n' => out.extend(b"\\n"),
                    byte => out.push(*byte),
                });
            }
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, Refusal>> {
    text.split('\n').enumerate().filter(|(_, line)| !line.is_empty()).map(|(index, line)| {
        match (line.strip_prefix('#'), line.split_once('=')) {
            (Some(comment), _) => Ok(Line::Comment(comment)),
            (None, Some((name, value))) => Ok(Line::Assignment(name, value)),
            (None, None) => Err(Refusal::NoAssignment(index + 1)),
        }
    })
}

fn unescaped(value: &str) -> String {
    value.replace("\\n", "\n")
}

fn text_field(name: &str, value: &str) -> Field {
    field(name, Content::Text(unescaped(value)))
}

fn field(name: &str, content: Content) -> Field {
    Field { key: name.to_owned(), position: TOP, value: at_the_top(content) }
}

fn at_the_top(content: Content) -> Written {
    Written { position: TOP, content }
}

const TOP: Position = Position { line: 1, column: 1 };

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_metadata_are_found_in_the_names() {
        let text = "A=ENC[x]\nsops_age__list_0__map_recipient=age1abc\nsops_age__list_0__map_enc=one\\ntwo\n\
                    sops_lastmodified=2024-05-06T07:08:09Z\nsops_mac=ENC[AES256_GCM,data:x]\nsops_version=3.10.2\n";
        assert!(is_encrypted(text));
        let metadata = metadata(text).unwrap();
        assert_eq!((metadata.age[0].recipient.as_str(), metadata.age[0].encrypted.as_str()), ("age1abc", "one\ntwo"));
    }

    #[test]
    fn another_file_is_none_of_it() {
        assert!(!is_encrypted("A=1\n# sops_mac=x\nSOPS_MAC=x\nsops_version=3.10.2\n"));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_told_by_its_number_alone() {
        let refusal = metadata("A=1\n\nhunter22\n").unwrap_err();
        assert_eq!(refusal.to_string(), "line 3 is no assignment, as each line of a dotenv file is");
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_for_it(text in "(sops_|age|__list_|__map_|[0-9=\n#]|mac){0,40}") {
            let _ = metadata(&text);
        }
    }
}
