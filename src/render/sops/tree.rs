//! All values of a file in their order: decrypted at their paths, and counted
//! into the code over all.

use sha2::{Digest as _, Sha512};

use super::{
    cipher::{BEGIN, Clear, DataKey, Kind},
    metadata::Metadata,
    refusal::Refusal,
};
use crate::{
    manifest::{
        Position,
        yaml::{Content, Field, Written},
    },
    render::secrets,
};

/// What the code over encrypted values only begins with, so that it is never
/// one over all values: the SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Paths of what names an object, which is public whatever is encrypted.
const PUBLIC: &[&[&str]] = &[&["apiVersion"], &["kind"], &["metadata", "name"], &["metadata", "namespace"]];

/// How many characters of a path are shown.
const PATH_SHOWN: usize = 200;

/// A file while its values are decrypted.
pub(super) struct Opening<'a> {
    metadata: &'a Metadata,
    key: &'a DataKey,
    code: Sha512,
    /// What no message may hold.
    secrets: Vec<String>,
}

/// Why a file cannot be opened, and where that shows.
pub(super) type Refused = (Refusal, Option<Position>);

/// A value and whether it had been encrypted.
enum Value {
    Same,
    Clear(Clear),
}

impl<'a> Opening<'a> {
    pub(super) fn new(metadata: &'a Metadata, key: &'a DataKey) -> Self {
        let mut code = Sha512::new();
        if metadata.mac_only_encrypted {
            code.update(ONLY_ENCRYPTED);
        }
        Self { metadata, key, code, secrets: Vec::new() }
    }

    /// Decrypts what is encrypted below a value.
    ///
    /// # Errors
    /// A value was changed or moved, or is not encrypted and has to be.
    pub(super) fn value(&mut self, written: &mut Written, path: &mut Vec<String>) -> Result<(), Refused> {
        let at = Some(written.position);
        match &mut written.content {
            Content::Null => Ok(()),
            Content::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for mut item in std::mem::take(items) {
                    if !self.is_comment(&item, path)? {
                        self.value(&mut item, path)?;
                        values.push(item);
                    }
                }
                *items = values;
                Ok(())
            }
            Content::Mapping(fields) => {
                for Field { key, value, .. } in fields {
                    path.push(key.clone());
                    self.value(value, path)?;
                    path.pop();
                }
                Ok(())
            }
            content => {
                let before = bytes_of(content);
                match self.scalar(content.text(), &before, path).map_err(|refusal| (refusal, at))? {
                    Value::Same => {}
                    Value::Clear(clear) => *content = self.content(&clear, path).map_err(|refusal| (refusal, at))?,
                }
                Ok(())
            }
        }
    }

    /// Decrypts a text that may hold any bytes.
    ///
    /// # Errors
    /// It was changed or moved, or is not encrypted and has to be.
    pub(super) fn bytes(&mut self, text: &str, path: &[String]) -> Result<Vec<u8>, Refusal> {
        Ok(match self.scalar(Some(text), text.as_bytes(), path)? {
            Value::Same => text.as_bytes().to_vec(),
            Value::Clear(clear) => {
                self.keep(&clear, path);
                match clear.kind {
                    Kind::Bool => clear.bytes.to_ascii_lowercase(),
                    _ => clear.bytes.to_vec(),
                }
            }
        })
    }

    /// A comment as it was; it counts for nothing, so one that cannot be
    /// decrypted stays.
    pub(super) fn comment(&mut self, text: &str) -> Vec<u8> {
        let encrypted = self.metadata.rule.encrypts(&[], Some(text));
        match self.key.decrypt(text, &additional(&[])) {
            Ok(clear) if encrypted => {
                self.keep(&clear, &[]);
                clear.bytes.to_vec()
            }
            _ => text.as_bytes().to_vec(),
        }
    }

    /// Holds the code over all values against the one of the file.
    ///
    /// # Errors
    /// They differ: something was changed, added, left out or moved.
    pub(super) fn verify(self) -> Result<Vec<String>, Refusal> {
        let code: String = self.code.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
        let expected = self.key.decrypt(&self.metadata.mac, &self.metadata.last_modified);
        match expected {
            Ok(expected) if expected.bytes.as_slice() == code.as_bytes() => Ok(self.secrets),
            _ => Err(Refusal::Changed),
        }
    }

    /// In a list, a comment takes the place of an item.
    fn is_comment(&self, item: &Written, path: &[String]) -> Result<bool, Refused> {
        let Some(text) = item.text().filter(|text| text.ends_with(",type:comment]")) else { return Ok(false) };
        if !self.metadata.rule.encrypts(path, Some(text)) {
            return Ok(false);
        }
        let clear = self.key.decrypt(text, &additional(path));
        clear.map(|_| true).map_err(|_| (Refusal::Value(named(path)), Some(item.position)))
    }

    fn scalar(&mut self, text: Option<&str>, bytes: &[u8], path: &[String]) -> Result<Value, Refusal> {
        if !self.metadata.rule.encrypts(path, text) {
            if !self.metadata.mac_only_encrypted {
                self.code.update(bytes);
            }
            return Ok(Value::Same);
        }
        let text = match text {
            Some("") => return Ok(Value::Same),
            Some(text) if text.starts_with(BEGIN) => text,
            _ => return Err(Refusal::NotEncrypted(named(path))),
        };
        let clear = self.key.decrypt(text, &additional(path)).map_err(|_| Refusal::Value(named(path)))?;
        self.code.update(counted(&clear).ok_or_else(|| Refusal::Value(named(path)))?);
        Ok(Value::Clear(clear))
    }

    fn content(&mut self, clear: &Clear, path: &[String]) -> Result<Content, Refusal> {
        let text = std::str::from_utf8(&clear.bytes).map_err(|_| Refusal::NotText(named(path)))?;
        self.keep(clear, path);
        let wrong = || Refusal::Value(named(path));
        Ok(match clear.kind {
            Kind::Text | Kind::Bytes | Kind::Time => Content::Text(text.to_owned()),
            Kind::Int => Content::Int(text.parse().map_err(|_| wrong())?),
            Kind::Float => Content::Float(float(text).ok_or_else(wrong)?),
            Kind::Bool => Content::Bool(boolean(text).ok_or_else(wrong)?),
            Kind::Comment => return Err(wrong()),
        })
    }

    fn keep(&mut self, clear: &Clear, path: &[String]) {
        let public = clear.kind == Kind::Bool || PUBLIC.iter().any(|public| public.iter().eq(path.iter()));
        if !public {
            secrets::collect_text(&String::from_utf8_lossy(&clear.bytes), &mut self.secrets);
        }
    }
}

/// What of a value that is not encrypted goes into the code.
fn bytes_of(content: &Content) -> Vec<u8> {
    match content {
        Content::Bool(boolean) => title(*boolean).as_bytes().to_vec(),
        Content::Int(integer) => integer.to_string().into_bytes(),
        Content::Float(number) => float_text(*number).into_bytes(),
        Content::Text(text) => text.clone().into_bytes(),
        Content::Null | Content::List(_) | Content::Mapping(_) => Vec::new(),
    }
}

/// What of a decrypted value goes into the code. `None` if it is not of its type.
fn counted(clear: &Clear) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(&clear.bytes).ok();
    Some(match clear.kind {
        Kind::Text | Kind::Bytes | Kind::Time => clear.bytes.to_vec(),
        Kind::Int => text()?.parse::<i64>().ok()?.to_string().into_bytes(),
        Kind::Float => float_text(float(text()?)?).into_bytes(),
        Kind::Bool => title(boolean(text()?)?).as_bytes().to_vec(),
        Kind::Comment => Vec::new(),
    })
}

/// As SOPS has them since it was written in Python.
fn title(boolean: bool) -> &'static str {
    if boolean { "True" } else { "False" }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The shortest decimal text without an exponent that reads back the same.
fn float_text(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        float.to_string()
    }
}

/// What a value is bound to: the keys on the way to it. Items of a list have
/// the path of the list.
fn additional(path: &[String]) -> String {
    format!("{}:", path.join(":"))
}

/// A path for people, of bounded length.
fn named(path: &[String]) -> String {
    if path.is_empty() { "a value".to_owned() } else { path.join(".").chars().take(PATH_SHOWN).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        manifest::yaml::{Limits, read_if_has},
        render::sops::testing::encrypted,
    };

    const KEY: [u8; 32] = [7; 32];
    const TIME: &str = "2024-05-06T07:08:09Z";

    /// Opens `{"list": [...]}` with items of these types and clear texts, under
    /// a code over these bytes.
    fn open(items: &[(&str, &[u8])], counted: &[u8]) -> Result<Content, String> {
        let code: String = Sha512::digest(counted).iter().map(|byte| format!("{byte:02X}")).collect();
        let items: Vec<String> = items.iter().map(|(kind, clear)| encrypted(&KEY, clear, kind, "list:")).collect();
        let file = serde_json::json!({
            "list": items,
            "sops": {
                "mac": encrypted(&KEY, code.as_bytes(), "str", TIME),
                "lastmodified": TIME,
                "age": [{"recipient": "age1x", "enc": "x"}],
            },
        });
        let read = read_if_has("f", file.to_string().as_bytes(), &Limits::default(), "sops", |_| true);
        let mut document = read.unwrap().unwrap().remove(0);
        let metadata = Metadata::read(document.field("sops").unwrap()).map_err(|refusal| refusal.to_string())?;
        let Content::Mapping(fields) = &mut document.content else { return Err("no mapping".to_owned()) };
        fields.retain(|field| field.key != "sops");
        let key = DataKey::new(&KEY).unwrap();
        let mut opening = Opening::new(&metadata, &key);
        opening.value(&mut document, &mut Vec::new()).map_err(|(refusal, _)| refusal.to_string())?;
        opening.verify().map_err(|refusal| refusal.to_string())?;
        Ok(document.field("list").unwrap().content.clone())
    }

    fn contents(list: Content) -> Vec<Content> {
        match list {
            Content::List(items) => items.into_iter().map(|item| item.content).collect(),
            other => vec![other],
        }
    }

    #[rstest]
    #[case("str", b"12", b"12", Content::Text("12".into()))]
    #[case("bytes", b"12", b"12", Content::Text("12".into()))]
    #[case("time", b"2024-05-06T07:08:09.5Z", b"2024-05-06T07:08:09.5Z", Content::Text("2024-05-06T07:08:09.5Z".into()))]
    #[case("int", b"012", b"12", Content::Int(12))]
    #[case("float", b"1e3", b"1000", Content::Float(1000.0))]
    #[case("float", b"0.10", b"0.1", Content::Float(0.1))]
    #[case("bool", b"true", b"True", Content::Bool(true))]
    #[case("bool", b"False", b"False", Content::Bool(false))]
    fn each_type_is_read_and_counted_in_its_own_form(
        #[case] kind: &str,
        #[case] clear: &[u8],
        #[case] counted: &[u8],
        #[case] expected: Content,
    ) {
        assert_eq!(contents(open(&[(kind, clear)], counted).unwrap()), [expected]);
    }

    #[test]
    fn a_comment_among_the_items_is_left_out_and_counts_for_nothing() {
        let opened = open(&[("str", b"a"), ("comment", b" why"), ("str", b"b")], b"ab").unwrap();
        assert_eq!(contents(opened), [Content::Text("a".into()), Content::Text("b".into())]);
    }

    #[rstest]
    #[case(&[("str", "b"), ("str", "a")], "was changed after it was encrypted: the message authentication code of SOPS does not fit")]
    #[case(&[("comment", "a"), ("str", "b")], "was changed after it was encrypted: the message authentication code of SOPS does not fit")]
    #[case(&[("int", "ab")], "list cannot be decrypted: it was changed or moved after it was encrypted")]
    #[case(&[("bool", "ab")], "list cannot be decrypted: it was changed or moved after it was encrypted")]
    fn what_moved_within_a_list_or_has_another_type_is_refused(#[case] items: &[(&str, &str)], #[case] expected: &str) {
        let items: Vec<(&str, &[u8])> = items.iter().map(|(kind, clear)| (*kind, clear.as_bytes())).collect();
        assert_eq!(open(&items, b"ab").unwrap_err(), expected);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let expected = "list is encrypted by SOPS and is not text, which no manifest can hold";
        assert_eq!(open(&[("str", b"\xff")], b"\xff").unwrap_err(), expected);
    }
}
