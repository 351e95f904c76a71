//! Places in an object: JSON pointers for programs, paths for people.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The tokens of a JSON pointer (RFC 6901), unescaped.
pub(crate) fn tokens_of(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// The JSON pointer of tokens.
pub(crate) fn pointer_of<S: AsRef<str>>(tokens: &[S]) -> String {
    let mut pointer = String::new();
    for token in tokens {
        pointer.push('/');
        pointer.push_str(&token.as_ref().replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// A path as people write it: `spec.template.spec.containers[web].image`,
/// `metadata.labels[app.kubernetes.io/name]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PeoplePath(String);

impl PeoplePath {
    /// The path of a field beneath this one.
    pub(crate) fn field(&self, name: &str) -> Self {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let mut path = self.0.clone();
        if !plain {
            let _ = write!(path, "[{name}]");
        } else if path.is_empty() {
            path.push_str(name);
        } else {
            let _ = write!(path, ".{name}");
        }
        Self(path)
    }

    /// The path of a list item beneath this one, by its place.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of a list item beneath this one, by the fields that name it.
    pub(crate) fn key(&self, key: &Map<String, Value>) -> Self {
        let words: Vec<String> = if let (1, Some(value)) = (key.len(), key.values().next()) {
            vec![plain(value)]
        } else {
            key.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect()
        };
        Self(format!("{}[{}]", self.0, words.join(",")))
    }

    /// The path of a member of a set of scalars.
    pub(crate) fn member(&self, value: &Value) -> Self {
        Self(format!("{}[{}]", self.0, plain(value)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("", &[])]
    #[case("/", &[""])]
    #[case("/spec/replicas", &["spec", "replicas"])]
    #[case("/metadata/annotations/example.com~1a~0b", &["metadata", "annotations", "example.com/a~b"])]
    fn pointers_are_split_and_joined(#[case] pointer: &str, #[case] tokens: &[&str]) {
        assert_eq!(tokens_of(pointer), tokens);
        assert_eq!(pointer_of(tokens), pointer);
    }

    #[test]
    fn paths_read_as_people_write_them() {
        let spec = PeoplePath::default().field("spec");
        let key = |value: Value| value.as_object().cloned().unwrap_or_default();
        assert_eq!(
            spec.field("containers").key(&key(json!({"name": "web"}))).field("image").as_str(),
            "spec.containers[web].image"
        );
        assert_eq!(
            spec.field("ports").key(&key(json!({"port": 80, "protocol": "TCP"}))).as_str(),
            "spec.ports[port=80,protocol=TCP]"
        );
        assert_eq!(spec.field("a.b/c").as_str(), "spec[a.b/c]");
        assert_eq!(spec.field("rules").index(2).as_str(), "spec.rules[2]");
    }
}
