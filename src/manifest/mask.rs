//! Masking: the one place that every output but the API server passes.
//!
//! A masked value still tells whether it changed: it has the number of bytes
//! and four digits of a salted digest. The salt is random and lives as long as
//! the process, so that a guess cannot be tried against the digits elsewhere.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{Digest, GroupKind, canonical::segment};

/// The annotation in which `kubectl apply` keeps the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A value of at least so many bytes is masked wherever it occurs in a text; a
/// shorter one only where it stands alone.
const DISTINCT_LENGTH: usize = 6;

/// Masks the values of Secrets in objects, in single fields, and in texts of
/// others that may quote them.
#[derive(Clone)]
pub struct Masker {
    salt: Vec<u8>,
    /// What a known secret value may look like in a text, with its mask;
    /// longest first.
    known: BTreeMap<(std::cmp::Reverse<usize>, String), String>,
}

impl std::fmt::Debug for Masker {
    /// Shows neither the salt nor the values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Masker {
    /// Makes a masker with a random salt of the process.
    pub fn new(salt: impl Into<Vec<u8>>) -> Self {
        Self { salt: salt.into(), known: BTreeMap::new() }
    }

    /// Remembers the values of a Secret, so that [`Masker::text`] finds them.
    /// Objects of other kinds are passed over, those of a list are looked into.
    pub fn learn(&mut self, object: &Value) {
        if let Some(items) = list_items(object) {
            return items.iter().for_each(|item| self.learn(item));
        }
        if !is_secret(object) {
            return;
        }
        for (field, encoded) in [("data", true), ("stringData", false)] {
            let values = object.get(field).and_then(Value::as_object).into_iter().flat_map(Map::values);
            for text in values.filter_map(Value::as_str) {
                self.learn_value(text, encoded);
            }
        }
    }

    /// An object with its secret values masked.
    pub fn object(&self, object: &Value) -> Value {
        if let Some(items) = list_items(object) {
            let mut masked = object.clone();
            masked["items"] = items.iter().map(|item| self.object(item)).collect();
            return masked;
        }
        if is_secret(object) { self.at("", object) } else { object.clone() }
    }

    /// The value of one field of an object, masked where it is secret. The
    /// field is a JSON pointer (`/data/password`); it may be a single value or
    /// any part of the object.
    pub fn field(&self, kind: &GroupKind, pointer: &str, value: &Value) -> Value {
        if kind.group.is_empty() && kind.kind == "Secret" { self.at(pointer, value) } else { value.clone() }
    }

    /// A text of somebody else, such as an error of the API server, in which
    /// known secret values are masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for ((_, value), mask) in &self.known {
            if masked.contains(value.as_str()) {
                masked = Cow::Owned(replace(&masked, value, mask));
            }
        }
        masked
    }

    /// The mask of bytes: `*** (12 bytes, 3f9a)`.
    pub fn mask(&self, bytes: &[u8]) -> String {
        let digest = Digest::of_parts([self.salt.as_slice(), bytes]).short(4);
        let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
        format!("*** ({} {unit}, {digest})", bytes.len())
    }

    fn learn_value(&mut self, text: &str, encoded: bool) {
        let bytes = if encoded { decode(text) } else { text.as_bytes().to_vec() };
        let mask = self.mask(&bytes);
        let mut forms = BTreeSet::from([text.to_owned(), STANDARD.encode(&bytes)]);
        if let Ok(plain) = String::from_utf8(bytes) {
            // As errors quote it, and line by line.
            forms.insert(Value::from(plain.as_str()).to_string().trim_matches('"').to_owned());
            forms.extend(plain.lines().map(str::trim).filter(|line| line.len() >= DISTINCT_LENGTH).map(str::to_owned));
            forms.insert(plain.trim().to_owned());
            forms.insert(plain);
        }
        for form in forms.into_iter().filter(|form| !form.trim().is_empty()) {
            self.known.insert((std::cmp::Reverse(form.len()), form), mask.clone());
        }
    }

    /// Masks the value at a pointer within a Secret.
    fn at(&self, pointer: &str, value: &Value) -> Value {
        let mut segments = pointer.split('/').skip(1);
        let annotation = format!("/metadata/annotations{}", segment(LAST_APPLIED));
        match segments.next() {
            Some(field @ ("data" | "stringData")) => self.secret(field == "data", value),
            _ if pointer == annotation => self.secret(false, value),
            // Only the whole object and metadata hold something secret deeper.
            None | Some("metadata") => match value {
                Value::Object(fields) => {
                    let masked = fields.iter().map(|(key, value)| {
                        let masked = self.at(&format!("{pointer}{}", segment(key)), value);
                        (key.clone(), masked)
                    });
                    Value::Object(masked.collect())
                }
                _ => value.clone(),
            },
            Some(_) => value.clone(),
        }
    }

    fn secret(&self, encoded: bool, value: &Value) -> Value {
        match value {
            Value::Null => Value::Null,
            Value::String(text) if encoded => Value::String(self.mask(&decode(text))),
            Value::String(text) => Value::String(self.mask(text.as_bytes())),
            Value::Object(values) => {
                Value::Object(values.iter().map(|(key, value)| (key.clone(), self.secret(encoded, value))).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.secret(encoded, item)).collect(),
            Value::Bool(_) | Value::Number(_) => Value::String(self.mask(value.to_string().as_bytes())),
        }
    }
}

fn is_secret(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str).is_some_and(|version| !version.contains('/'))
}

fn list_items(object: &Value) -> Option<&Vec<Value>> {
    let kind = object.get("kind").and_then(Value::as_str)?;
    if kind.ends_with("List") { object.get("items").and_then(Value::as_array) } else { None }
}

/// The bytes of base64, or of the text itself where it is none.
fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text.replace(['\r', '\n'], "")).unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn replace(text: &str, value: &str, mask: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find(value) {
        let after = &rest[at + value.len()..];
        let touches = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        let previous = rest[..at].chars().next_back().or(before);
        replaced.push_str(&rest[..at]);
        if value.len() >= DISTINCT_LENGTH || !(touches(previous) || touches(after.chars().next())) {
            replaced.push_str(mask);
        } else {
            replaced.push_str(value);
        }
        before = value.chars().next_back();
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// Replaces user names and passwords in URLs by `***`, and the values of query
/// parameters that are credentials by their names.
pub fn redact_url_credentials(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        redacted.push_str(before);
        let end = after.find(|character: char| ends_url(character)).unwrap_or(after.len());
        let (url, following) = after.split_at(end);
        redact_url(url, &mut redacted);
        rest = following;
    }
    redacted.push_str(rest);
    Cow::Owned(redacted)
}

fn ends_url(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '"' | '\'' | '`' | '<' | '>')
}

fn redact_url(url: &str, redacted: &mut String) {
    // A password may hold a slash that is not escaped, so the last @ counts
    // unless a path is clearly before it.
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let at = url[..authority_end].rfind('@').or_else(|| {
        let at = url.find('@')?;
        url[..at].split_once(':').is_some_and(|(_, port)| !port.starts_with(|c: char| c.is_ascii_digit())).then_some(at)
    });
    let rest = match at {
        Some(at) => {
            redacted.push_str("***");
            &url[at..]
        }
        None => url,
    };
    let Some((path, query)) = rest.split_once('?') else { return redacted.push_str(rest) };
    redacted.push_str(path);
    for (index, parameter) in query.split('&').enumerate() {
        redacted.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if is_credential(name) => {
                redacted.push_str(name);
                redacted.push_str("=***");
            }
            _ => redacted.push_str(parameter),
        }
    }
}

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "password", "passwd", "secret", "signature", "sig", "key", "auth", "code"]
        .iter()
        .any(|word| name == *word || name.ends_with(&format!("_{word}")) || name.ends_with(&format!("-{word}")))
}

/// Escapes control characters of foreign text for terminals and logs, and the
/// characters that change the direction of writing; line breaks and tabs stay.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    let harmful = |character: char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|character| {
        if harmful(character) { character.escape_unicode().to_string() } else { character.to_string() }
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn masker() -> Masker {
        Masker::new(*b"salt of a test")
    }

    fn secret() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "db", "annotations": {LAST_APPLIED: "{\"data\":\"hunter22\"}", "team": "a"}},
            "data": {"password": STANDARD.encode("hunter22"), "pin": STANDARD.encode("42")},
            "stringData": {"user": "admin-user"},
        })
    }

    #[test]
    fn a_secret_shows_keys_and_lengths_but_no_values() {
        let masked = masker().object(&secret());
        let text = masked.to_string();
        for value in ["hunter22", &STANDARD.encode("hunter22"), "admin-user", &STANDARD.encode("42")] {
            assert!(!text.contains(value), "{text}");
        }
        assert!(masked["data"]["password"].as_str().unwrap().starts_with("*** (8 bytes, "));
        assert_eq!(masked["metadata"]["annotations"]["team"], "a");
        assert_eq!(masked["type"], "Opaque");
    }

    #[test]
    fn a_change_is_seen_and_the_same_value_has_the_same_mask() {
        let masker = masker();
        assert_ne!(masker.mask(b"one-value"), masker.mask(b"two-value"));
        let kind = GroupKind::new("", "Secret");
        let encoded = masker.field(&kind, "/data/user", &STANDARD.encode("x").into());
        assert_eq!(encoded, masker.field(&kind, "/stringData/user", &"x".into()));
        assert_ne!(Masker::new(*b"other salt").mask(b"one-value"), masker.mask(b"one-value"));
    }

    #[test]
    fn other_kinds_are_left_as_they_are() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
        assert_eq!(masker().object(&object), object);
        let foreign = json!({"apiVersion": "example.com/v1", "kind": "Secret", "data": {"a": "b"}});
        assert_eq!(masker().object(&foreign), foreign);
    }

    #[test]
    fn the_secrets_of_a_list_are_masked() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [secret()]});
        assert!(!masker().object(&list).to_string().contains(&STANDARD.encode("hunter22")));
    }

    #[rstest]
    #[case::quoted("Invalid value: \"hunter22\": too short")]
    #[case::encoded("cannot use aHVudGVyMjI= here")]
    #[case::within_a_word("xhunter22y")]
    #[case::short_and_alone("pin 42 is wrong")]
    fn an_error_that_quotes_a_value_is_masked(#[case] text: &str) {
        let mut masker = masker();
        masker.learn(&secret());
        let masked = masker.text(text).into_owned();
        assert!(masked.contains("***"), "{masked}");
        assert!(
            !masked.contains("hunter22") && !masked.contains("42 is") && !masked.contains("aHVudGVyMjI="),
            "{masked}"
        );
    }

    #[test]
    fn a_short_value_does_not_shred_a_text() {
        let mut masker = masker();
        masker.learn(&secret());
        assert_eq!(masker.text("replicas 1421 of port 8042"), "replicas 1421 of port 8042");
    }

    #[rstest]
    #[case("clone https://ada:pa55@git.example/x.git failed", "clone https://***@git.example/x.git failed")]
    #[case("https://token@host", "https://***@host")]
    #[case("https://a:p@ss@host/x", "https://***@host/x")]
    #[case("https://host/x@1?a=b", "https://host/x@1?a=b")]
    #[case("https://host:8080/x@1", "https://host:8080/x@1")]
    #[case("'https://host/x?private_token=abc&ref=main'", "'https://host/x?private_token=***&ref=main'")]
    #[case("ssh://git@host/x and http://u:p@h", "ssh://***@host/x and http://***@h")]
    #[case("no url", "no url")]
    fn credentials_in_urls_are_redacted(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(redact_url_credentials(text), expected);
    }

    #[rstest]
    #[case("plain\ttext\n", "plain\ttext\n")]
    #[case("\u{1b}[31mred", "\\u{1b}[31mred")]
    #[case("a\rb\u{7}", "a\\u{d}b\\u{7}")]
    #[case("\u{202e}txt", "\\u{202e}txt")]
    fn control_characters_are_escaped(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(escape_control(text), expected);
    }

    proptest! {
        #[test]
        fn no_learned_value_is_left_in_a_text(value in "[a-zA-Z0-9+/ ]{6,20}", before in ".{0,10}", after in ".{0,10}") {
            prop_assume!(!value.trim().is_empty());
            let mut masker = masker();
            masker.learn(&json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": value.clone()}}));
            let text = format!("{before}{value}{after}");
            let masked = masker.text(&text).into_owned();
            prop_assert!(!masked.contains(&value) || masker.mask(value.as_bytes()).contains(&value), "{}", masked);
        }

        #[test]
        fn any_text_is_redacted_without_a_panic(text: String) {
            let _ = redact_url_credentials(&text);
            let _ = escape_control(&text);
        }
    }
}
