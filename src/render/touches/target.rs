//! Which objects a patch is for.
//!
//! The rules are Kustomize's: names, kinds and the rest are regular expressions
//! that match as a whole, and what is not given matches everything.

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

/// Objects, as Kustomize selects them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// API group; any if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Version of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace as the files have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that it must have, as `kubectl --selector` takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// Annotations that it must have, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_selector: Option<String>,
}

/// A target whose expressions are compiled. Selectors are left to Kustomize.
pub(super) struct Matcher {
    fields: [Option<Regex>; 5],
}

/// What a target says of an object: group, version, kind, name, namespace.
pub(super) fn identity(object: &Value) -> [&str; 5] {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = match text("/apiVersion").split_once('/') {
        Some(both) => both,
        None => ("", text("/apiVersion")),
    };
    [group, version, text("/kind"), text("/metadata/name"), text("/metadata/namespace")]
}

impl Target {
    /// Compiles the expressions; else the field that is none, and why.
    pub(super) fn matcher(&self) -> Result<Matcher, String> {
        let Self { group, version, kind, name, namespace, .. } = self;
        let named = [("group", group), ("version", version), ("kind", kind), ("name", name), ("namespace", namespace)];
        let mut fields = [const { None }; 5];
        for (at, (field, pattern)) in fields.iter_mut().zip(named) {
            let Some(pattern) = pattern.as_deref().filter(|pattern| !pattern.is_empty()) else { continue };
            let whole = Regex::new(&format!("^(?:{pattern})$"));
            let unreadable = |_| format!("target.{field}: {pattern:?} is no regular expression");
            *at = Some(whole.map_err(unreadable)?);
        }
        Ok(Matcher { fields })
    }

    /// In words: `kind Deployment, name web`.
    pub(super) fn words(&self) -> String {
        let Self { group, version, kind, name, namespace, label_selector, annotation_selector } = self;
        let named = [
            ("group", group),
            ("version", version),
            ("kind", kind),
            ("name", name),
            ("namespace", namespace),
            ("labels", label_selector),
            ("annotations", annotation_selector),
        ];
        let words = named.iter().filter_map(|(field, text)| text.as_ref().map(|text| format!("{field} {text}")));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Matcher {
    /// Whether an object is one of the target, whatever its labels are.
    pub(super) fn selects(&self, identity: &[&str; 5]) -> bool {
        self.fields.iter().zip(identity).all(|(field, text)| field.as_ref().is_none_or(|field| field.is_match(text)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::everything(Target::default(), true)]
    #[case::kind(Target { kind: Some("Deployment".into()), ..Target::default() }, true)]
    #[case::part_of_a_kind(Target { kind: Some("Deploy".into()), ..Target::default() }, false)]
    #[case::one_of_two(Target { kind: Some("StatefulSet|Deployment".into()), ..Target::default() }, true)]
    #[case::name(Target { name: Some("web.*".into()), ..Target::default() }, true)]
    #[case::other_name(Target { name: Some("web".into()), ..Target::default() }, false)]
    #[case::group(Target { group: Some("apps".into()), version: Some("v1".into()), ..Target::default() }, true)]
    #[case::no_namespace(Target { namespace: Some("shop".into()), ..Target::default() }, false)]
    fn expressions_match_as_a_whole(#[case] target: Target, #[case] expected: bool) {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-1"}});
        assert_eq!(target.matcher().unwrap().selects(&identity(&object)), expected);
    }

    #[test]
    fn what_is_no_expression_is_named() {
        let target = Target { name: Some("web(".into()), ..Target::default() };
        assert_eq!(target.matcher().err().unwrap(), r#"target.name: "web(" is no regular expression"#);
    }
}
