//! YAML for people that Kubernetes reads back as the same value.
//!
//! Texts that any reader could take for something else are quoted (`yes`,
//! `0644`, `1_000`, dates), texts of several lines become literal blocks, and
//! lists are not indented, as is the custom with Kubernetes.

use serde_json::{Map, Value};

use super::yaml::is_plain_string;

/// A key without `?` is read only if its `:` comes soon.
const SIMPLE_KEY_LENGTH: usize = 1000;

/// Writes a value as one document, without a separator, with a line break at
/// its end. An object's `apiVersion`, `kind` and `metadata` come first.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, true, &mut out),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        scalar => {
            inline(scalar, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Fields, each on a line of its own; the first continues the line at hand.
fn mapping(fields: &Map<String, Value>, indent: usize, is_object: bool, out: &mut String) {
    let first: &[&str] = if is_object { &["apiVersion", "kind", "metadata"] } else { &[] };
    let leading = first.iter().filter_map(|key| fields.get_key_value(*key));
    let others = fields.iter().filter(|(key, _)| !first.contains(&key.as_str()));
    for (index, (key, value)) in leading.chain(others).enumerate() {
        if index > 0 {
            out.push_str(&" ".repeat(indent));
        }
        let written = key_text(key);
        if written.chars().count() > SIMPLE_KEY_LENGTH {
            out.push_str("? ");
            out.push_str(&written);
            out.push('\n');
            out.push_str(&" ".repeat(indent));
        } else {
            out.push_str(&written);
        }
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                out.push_str(&" ".repeat(indent + 2));
                mapping(fields, indent + 2, false, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                sequence(items, indent, out);
            }
            scalar => {
                out.push(' ');
                inline(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

/// Items, each on a line of its own; the first continues the line at hand.
fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => mapping(fields, indent + 2, false, out),
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, out),
            scalar => {
                inline(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

/// A value that needs no lines of its own, or a block of text, whose last line
/// break is left to the caller.
fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(boolean) => out.push_str(if *boolean { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) if is_block(text) => block(text, indent, out),
        Value::String(text) => out.push_str(&scalar(text)),
    }
}

fn key_text(key: &str) -> String {
    scalar(key)
}

/// A text on one line: plain where that is safe, else quoted.
fn scalar(text: &str) -> String {
    if is_safely_plain(text) {
        return text.to_owned();
    }
    let has_escapes = text
        .chars()
        .any(|character| escape(character).is_some_and(|escaped| !matches!(escaped.as_str(), "\\\"" | "\\\\")));
    if !has_escapes && text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match escape(character) {
            Some(escaped) => quoted.push_str(&escaped),
            None => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn is_safely_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let dash = first == '-'
        && !text.starts_with("---")
        && text[1..].starts_with(|next: char| next.is_ascii_alphabetic() || next == '-');
    let indicator = "-?:,[]{}#&*!|>'\"%@`=<".contains(first) && !dash;
    !indicator
        && is_plain_string(text)
        && !looks_like_a_number(text)
        && text.trim() == text
        && !text.ends_with(':')
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|character| escape(character).is_none() || matches!(character, '"' | '\\'))
}

/// Dates, times, version numbers and the like: some reader may take them for
/// numbers, so they are quoted.
fn looks_like_a_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'))
        && text.chars().all(|character| character.is_ascii_digit() || "_+-.:eExXoObBtTzZ ".contains(character))
}

/// Whether a text is better read as lines.
fn is_block(text: &str) -> bool {
    text.trim_matches('\n').contains(|character| character != ' ' && character != '\t')
        && text.contains('\n')
        && text.chars().all(|character| escape(character).is_none() || matches!(character, '\n' | '\t' | '"' | '\\'))
}

/// A literal block, indented by two beyond its parent.
fn block(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    // Without a number the first line tells the indentation.
    if text.starts_with([' ', '\t', '\n']) {
        out.push('2');
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    match (body.len() == text.len(), body.ends_with('\n')) {
        (true, _) => out.push('-'),
        (false, true) => out.push('+'),
        (false, false) => {}
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent + 2));
            out.push_str(line);
        }
    }
}

/// The escape of a character within double quotes, if it needs one.
fn escape(character: char) -> Option<String> {
    Some(match character {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{a0}' => "\\_".to_owned(),
        '\u{2028}'
        | '\u{2029}'
        | '\u{feff}'
        | '\u{fffe}'
        | '\u{ffff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => {
            format!("\\u{:04X}", u32::from(character))
        }
        character if character.is_control() => format!("\\x{:02X}", u32::from(character)),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::manifest::{
        GroupVersionKind, arbitrary, canonical,
        yaml::{Limits, read_documents},
    };

    fn read(text: &str) -> Value {
        let (mut documents, problems) = read_documents("written.yaml", text.as_bytes(), &Limits::default());
        assert_eq!(problems, [], "{text}");
        documents.pop().map_or(Value::Null, |document| document.value)
    }

    #[rstest]
    #[case("web", "web")]
    #[case("a b", "a b")]
    #[case("--flag=x", "--flag=x")]
    #[case("registry.example/app:1.2", "registry.example/app:1.2")]
    #[case("yes", "\"yes\"")]
    #[case("on", "\"on\"")]
    #[case("~", "\"~\"")]
    #[case("<<", "\"<<\"")]
    #[case("0644", "\"0644\"")]
    #[case("1_000", "\"1_000\"")]
    #[case("1e3", "\"1e3\"")]
    #[case("2001-01-01", "\"2001-01-01\"")]
    #[case("12:30:45", "\"12:30:45\"")]
    #[case("10.0.0.1", "\"10.0.0.1\"")]
    #[case("", "\"\"")]
    #[case("a: b", "\"a: b\"")]
    #[case("a #b", "\"a #b\"")]
    #[case("*/5 * * * *", "\"*/5 * * * *\"")]
    #[case("{\"a\": 1}", "'{\"a\": 1}'")]
    #[case("\u{1b}[0m", "\"\\x1B[0m\"")]
    fn a_text_is_quoted_where_it_could_be_mistaken(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(to_yaml(&text.into()), format!("{expected}\n"));
    }

    #[test]
    fn an_object_reads_as_people_write_it() {
        let object = json!({
            "data": {"b": "1", "a.conf": "x = 1\n  y = 2\n", "no-end": "p\nq", "spaces": " first\nsecond\n", "empty": {}},
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "a", "finalizers": ["x", "y"], "ports": [{"b": 1, "a": [1, [2]]}, []]},
        });
        insta::assert_snapshot!(to_yaml(&object), @r#"
        apiVersion: v1
        kind: ConfigMap
        metadata:
          finalizers:
          - x
          - "y"
          name: a
          ports:
          - a:
            - 1
            - - 2
            b: 1
          - []
        data:
          a.conf: |
            x = 1
              y = 2
          b: "1"
          empty: {}
          no-end: |-
            p
            q
          spaces: |2
             first
            second
        "#);
        assert_eq!(read(&to_yaml(&object)), object);
    }

    #[test]
    fn a_key_of_any_length_is_read_back() {
        let object = json!({"x": {"k".repeat(2000): {"a": 1}, "l".repeat(2000): ["b"]}});
        assert_eq!(read(&to_yaml(&object)), object);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_written_is_read_back(value in arbitrary::value()) {
            // Numbers in the form in which Kubernetes holds them.
            let gvk = GroupVersionKind::new("example.com", "v1", "Any");
            let stored = canonical(json!({"spec": {"value": value}}), &gvk).unwrap();
            let text = to_yaml(&stored);
            prop_assert_eq!(read(&text), stored, "{}", text);
        }

        #[test]
        fn a_value_by_itself_is_read_back(text in any::<String>()) {
            let value = json!(text);
            prop_assert_eq!(read(&to_yaml(&value)), value);
        }
    }
}
