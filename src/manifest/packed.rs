//! A JSON object that is kept as its text, so that ten thousand of them take
//! the memory of their text and not three times as much.

use std::{
    borrow::Cow,
    fmt,
    ops::{Deref, DerefMut},
    sync::OnceLock,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What nests deeper than this is kept as it is: a reader of JSON gives up at
/// 128.
const DEEPEST: usize = 100;

/// A JSON value, kept as its text. It can be used like the value itself; then
/// the value is kept beside the text from the first use on. Where that is done
/// to many, [`Packed::read`] makes a value that is not kept.
///
/// A value that its text does not give back exactly (a number that a reader
/// may round, one that nests very deep) is kept as it is.
#[derive(Clone)]
pub struct Packed {
    /// None where the value itself is kept.
    text: Option<Box<str>>,
    /// Annotations of the text, which are asked for more often than anything else.
    annotations: Box<[(Box<str>, Box<str>)]>,
    /// The value of the text, from its first use on.
    used: OnceLock<Box<Value>>,
    /// A value that has no text.
    own: Option<Box<Value>>,
}

impl Packed {
    /// Packs a value.
    pub fn new(value: Value) -> Self {
        if !reads_back(&value, 0) {
            return Self { text: None, annotations: Box::default(), used: OnceLock::new(), own: Some(Box::new(value)) };
        }
        let annotations = value.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let annotations = annotations.and_then(Value::as_object).into_iter().flatten();
        let annotations = annotations.filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into())));
        Self {
            annotations: annotations.collect(),
            text: Some(value.to_string().into_boxed_str()),
            used: OnceLock::new(),
            own: None,
        }
    }

    /// The value, which is not kept if it has to be made.
    pub fn read(&self) -> Cow<'_, Value> {
        match self.own.as_ref().or(self.used.get()) {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(self.parsed()),
        }
    }

    /// The text that gives the value back exactly, if there is one.
    pub(crate) fn exact_text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Whether only the text is kept.
    pub fn is_packed(&self) -> bool {
        self.own.is_none() && self.used.get().is_none()
    }

    /// The value of an annotation, without reading the text.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        match &self.own {
            None => self.annotations.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value),
            Some(value) => value.get("metadata")?.get("annotations")?.get(name)?.as_str(),
        }
    }

    /// What was packed is read back: that was seen to when it was packed.
    fn parsed(&self) -> Value {
        self.text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// Whether the text of a value is read as the same value. Beyond 15 digits a
/// reader may be off by the last bit.
fn reads_back(value: &Value, depth: usize) -> bool {
    match value {
        _ if depth > DEEPEST => false,
        Value::Object(fields) => fields.values().all(|value| reads_back(value, depth + 1)),
        Value::Array(items) => items.iter().all(|value| reads_back(value, depth + 1)),
        Value::Number(number) if number.is_f64() => {
            serde_json::from_str::<Value>(&number.to_string()).ok().as_ref() == Some(value)
        }
        _ => true,
    }
}

impl From<Value> for Packed {
    fn from(value: Value) -> Self {
        Self::new(value)
    }
}

impl Deref for Packed {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.own {
            Some(value) => value,
            None => self.used.get_or_init(|| Box::new(self.parsed())),
        }
    }
}

impl DerefMut for Packed {
    /// From now on the value is kept, and its text is of no more use.
    fn deref_mut(&mut self) -> &mut Value {
        let value = self.own.take().or_else(|| self.used.take()).unwrap_or_else(|| Box::new(self.parsed()));
        self.text = None;
        self.annotations = Box::default();
        self.own.insert(value)
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Some(one), Some(other)) => one == other,
            _ => self.read() == other.read(),
        }
    }
}

impl PartialEq<Value> for Packed {
    fn eq(&self, other: &Value) -> bool {
        *self.read() == *other
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.read().fmt(f),
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.read().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest::arbitrary;

    fn annotated() -> Value {
        json!({"metadata": {"name": "a", "annotations": {"bowline.dev/wave": "2"}}})
    }

    #[test]
    fn an_annotation_is_known_without_reading_the_text() {
        let packed = Packed::new(annotated());
        assert_eq!(packed.annotation("bowline.dev/wave"), Some("2"));
        assert_eq!(packed.annotation("other"), None);
        assert!(packed.is_packed());
    }

    #[test]
    fn what_is_changed_is_what_is_read_from_then_on() {
        let mut packed = Packed::new(annotated());
        packed["metadata"]["annotations"]["bowline.dev/wave"] = json!("3");
        assert_eq!(packed.annotation("bowline.dev/wave"), Some("3"));
        assert_eq!(packed.to_string(), r#"{"metadata":{"annotations":{"bowline.dev/wave":"3"},"name":"a"}}"#);
        assert_ne!(packed, Packed::new(annotated()));
    }

    #[test]
    fn a_value_that_is_used_is_kept_and_one_that_is_read_is_not() {
        let packed = Packed::new(annotated());
        assert_eq!(packed.read().into_owned(), annotated());
        assert!(packed.is_packed());
        assert_eq!(packed["metadata"]["name"], "a");
        assert!(!packed.is_packed());
        assert_eq!(packed, Packed::new(annotated()), "whichever form either has");
    }

    #[test]
    fn a_number_that_a_reader_may_round_and_what_nests_too_deep_are_kept_as_they_are() {
        let rounded = (0..1_000_u32).map(|number| 0.1 + f64::from(number) * 1e-17).map(|number| json!({"a": number}));
        let deep = (0..200).fold(json!("x"), |inner, _| json!([inner]));
        for value in rounded.chain([deep]) {
            assert_eq!(*Packed::new(value.clone()), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(value in arbitrary::object()) {
            let packed = Packed::new(value.clone());
            prop_assert_eq!(packed.read().into_owned(), value.clone());
            prop_assert_eq!(packed.to_string(), value.to_string());
            prop_assert_eq!(&*packed, &value);
        }
    }
}
