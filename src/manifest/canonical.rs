//! The canonical form: what of an object counts for its digest and is applied.
//!
//! `docs/canonical-form.md` states it; the scheme `v1` of the digests names it.

use std::borrow::Borrow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde_json::{Map, Number, Value};

use super::{BundleDigest, Digest, GroupVersionKind, Manifest, ManifestDigest};

/// Fields of metadata that the server sets.
const SERVER_SET: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Why an object has no canonical form. The value itself is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The object, or a part of it that must be one, is no mapping.
    #[error("{} must be a mapping", named(.pointer))]
    NotAMapping {
        /// JSON pointer of the value.
        pointer: String,
    },
    /// A value that must be text is something else.
    #[error("{} must be text", named(.pointer))]
    NotText {
        /// JSON pointer of the value.
        pointer: String,
    },
    /// A value of a Secret's or ConfigMap's binary data is not base64.
    #[error("{} is not base64", named(.pointer))]
    NotBase64 {
        /// JSON pointer of the value.
        pointer: String,
    },
}

impl CanonicalError {
    /// JSON pointer of the value that is wrong.
    pub fn pointer(&self) -> &str {
        match self {
            Self::NotAMapping { pointer } | Self::NotText { pointer } | Self::NotBase64 { pointer } => pointer,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAMapping { .. } => None,
            Self::NotText { .. } => Some("quote it to make it text"),
            Self::NotBase64 { .. } => {
                Some("encode it, or put it into stringData (of a Secret) or data (of a ConfigMap)")
            }
        }
    }
}

/// A JSON pointer as people write a field: `metadata.labels.app`.
pub(crate) fn named(pointer: &str) -> String {
    let segments: Vec<_> =
        pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
    if segments.is_empty() { "the document".to_owned() } else { segments.join(".") }
}

/// A key as a segment of a JSON pointer, with its slash.
pub(crate) fn segment(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Brings an object into the canonical form. Doing so again changes nothing.
///
/// # Errors
/// The object is no mapping, or the data of a Secret or ConfigMap holds what
/// it cannot hold.
pub fn canonical(value: Value, gvk: &GroupVersionKind) -> Result<Value, CanonicalError> {
    let (value, faults) = canonical_with_faults(value, gvk)?;
    faults.into_iter().next().map_or(Ok(value), Err)
}

/// As [`canonical`], with everything that is wrong within the object; what is
/// wrong stays as it is.
pub(super) fn canonical_with_faults(
    value: Value,
    gvk: &GroupVersionKind,
) -> Result<(Value, Vec<CanonicalError>), CanonicalError> {
    let Value::Object(mut object) = value else { return Err(CanonicalError::NotAMapping { pointer: String::new() }) };
    let mut faults = Vec::new();
    object.remove("status");
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Secret") => secret_data(&mut object, &mut faults),
        ("", "ConfigMap") => {
            text_values(&mut object, "data", &mut faults);
            binary_values(&mut object, "binaryData", &mut faults);
        }
        ("rbac.authorization.k8s.io", "ClusterRole")
            if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) =>
        {
            // The controller fills them; to state them is to fight it.
            object.remove("rules");
        }
        _ => {}
    }
    metadata(&mut object, &mut faults);
    if is_built_in(&gvk.group) {
        let crd = gvk.group == "apiextensions.k8s.io";
        drop_nulls(&mut object, crd);
    } else {
        for field in ["apiVersion", "kind", "metadata"] {
            if object.get(field).is_some_and(Value::is_null) {
                object.remove(field);
            }
        }
    }
    object.values_mut().for_each(store_numbers);
    Ok((Value::Object(object), faults))
}

/// The canonical form as JSON text with sorted keys and no white space.
pub fn canonical_json(value: &Value) -> Vec<u8> {
    // The map of serde_json is sorted; a value of it always has a text.
    value.to_string().into_bytes()
}

/// The digest of an object in canonical form.
pub fn manifest_digest(value: &Value) -> ManifestDigest {
    ManifestDigest(Digest::of(&canonical_json(value)))
}

/// The digest of a bundle: of the identities and digests of its manifests,
/// whatever their order.
pub fn bundle_digest<M: Borrow<Manifest>>(manifests: &[M]) -> BundleDigest {
    let manifests = manifests.iter().map(Borrow::borrow);
    let mut lines: Vec<_> = manifests.map(|manifest| (manifest.id.key(), manifest.digest.to_string())).collect();
    lines.sort_unstable();
    BundleDigest(Digest::of_parts(lines.into_iter().flat_map(|(id, digest)| [id, digest])))
}

/// Whether a group belongs to Kubernetes itself, so that its kinds are no
/// custom resources.
pub fn is_built_in(group: &str) -> bool {
    // Groups without a dot, and those that Kubernetes serves under its domain.
    // Projects beside it use that domain for custom resources too.
    if !group.contains('.') {
        return true;
    }
    matches!(
        group,
        "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "certificates.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "events.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "imagepolicy.k8s.io"
            | "internal.apiserver.k8s.io"
            | "lifecycle.k8s.io"
            | "networking.k8s.io"
            | "node.k8s.io"
            | "rbac.authorization.k8s.io"
            | "resource.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
            | "storagemigration.k8s.io"
    )
}

fn metadata(object: &mut Map<String, Value>, faults: &mut Vec<CanonicalError>) {
    match object.get_mut("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) => {
            for field in SERVER_SET {
                metadata.remove(field);
            }
            drop_nulls(metadata, false);
            for field in ["labels", "annotations"] {
                if metadata.get(field).and_then(Value::as_object).is_some_and(Map::is_empty) {
                    metadata.remove(field);
                }
            }
        }
        Some(_) => faults.push(CanonicalError::NotAMapping { pointer: "/metadata".to_owned() }),
    }
}

/// Turns `stringData` into `data`, over which it has precedence.
fn secret_data(object: &mut Map<String, Value>, faults: &mut Vec<CanonicalError>) {
    binary_values(object, "data", faults);
    text_values(object, "stringData", faults);
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    let data = object.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if !data.is_object() {
        *data = Value::Object(Map::new());
    }
    if let Value::Object(data) = data {
        for (key, text) in texts {
            let encoded = match text {
                Value::String(text) => Value::String(STANDARD.encode(text)),
                fault => fault,
            };
            data.insert(key, encoded);
        }
    }
}

/// Null is stored as an empty text; everything else must be text.
fn text_values(object: &mut Map<String, Value>, field: &str, faults: &mut Vec<CanonicalError>) {
    each_value(object, field, faults, |_| Some(()));
}

/// As texts, in base64 of the one form that the server writes.
fn binary_values(object: &mut Map<String, Value>, field: &str, faults: &mut Vec<CanonicalError>) {
    each_value(object, field, faults, |text| {
        let engine = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
        );
        let bytes = engine.decode(text.replace(['\r', '\n'], "")).ok()?;
        *text = STANDARD.encode(bytes);
        Some(())
    });
}

/// Changes each text of a field; `None` of the change is that it is not base64.
fn each_value(
    object: &mut Map<String, Value>,
    field: &str,
    faults: &mut Vec<CanonicalError>,
    mut change: impl FnMut(&mut String) -> Option<()>,
) {
    let values = match object.get_mut(field) {
        None | Some(Value::Null) => return,
        Some(Value::Object(values)) => values,
        Some(_) => return faults.push(CanonicalError::NotAMapping { pointer: segment(field) }),
    };
    for (key, value) in values {
        let pointer = || format!("{}{}", segment(field), segment(key));
        match value {
            Value::Null => *value = Value::String(String::new()),
            Value::String(text) => {
                if change(text).is_none() {
                    faults.push(CanonicalError::NotBase64 { pointer: pointer() });
                }
            }
            _ => faults.push(CanonicalError::NotText { pointer: pointer() }),
        }
    }
}

/// Drops fields that are null, at any depth. Items of lists stay, since others
/// would move. The default of a CRD's schema may be null and mean it.
fn drop_nulls(object: &mut Map<String, Value>, crd: bool) {
    object.retain(|key, value| !value.is_null() || (crd && key == "default"));
    for value in object.values_mut() {
        drop_nulls_within(value, crd);
    }
}

fn drop_nulls_within(value: &mut Value, crd: bool) {
    match value {
        Value::Object(object) => drop_nulls(object, crd),
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls_within(item, crd)),
        _ => {}
    }
}

/// Numbers as the server keeps them: an integer of 64 bits where the value is
/// one, else a float.
fn store_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(stored) = stored(number) {
                *number = stored;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(store_numbers),
        Value::Object(fields) => fields.values_mut().for_each(store_numbers),
        _ => {}
    }
}

fn stored(number: &Number) -> Option<Number> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.is_i64() {
        return None;
    }
    let float = number.as_f64()?;
    if float.fract() == 0.0 && (-LIMIT..LIMIT).contains(&float) {
        return Some(Number::from(float as i64));
    }
    Number::from_f64(float)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::manifest::arbitrary;

    fn gvk(object: &Value) -> GroupVersionKind {
        GroupVersionKind::from_api_version(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap())
            .unwrap()
    }

    #[rstest]
    #[case::status(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Running"}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
    )]
    #[case::server_set_metadata(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "a", "uid": "u", "resourceVersion": "1", "generation": 1, "creationTimestamp": null,
            "managedFields": [], "selfLink": "/a", "deletionTimestamp": "t", "deletionGracePeriodSeconds": 1,
            "finalizers": ["x"]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "finalizers": ["x"]}}),
    )]
    #[case::empty_labels_and_annotations(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {}, "annotations": null}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
    )]
    #[case::nulls_of_built_in_kinds(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"replicas": null, "template": {"metadata": {"creationTimestamp": null}}, "list": [null, 1]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"template": {"metadata": {}}, "list": [null, 1]}}),
    )]
    #[case::nulls_of_custom_resources_stay(
        json!({"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": null},
            "spec": {"replicas": null}}),
        json!({"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"replicas": null}}),
    )]
    #[case::null_defaults_of_schemas_stay(
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"a": null, "schema": {"default": null}}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"schema": {"default": null}}}),
    )]
    #[case::nulls_in_a_config_map_are_empty_texts(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": null}, "binaryData": {"b": null}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": ""}, "binaryData": {"b": ""}}),
    )]
    #[case::string_data_goes_over_data(
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "b2xk", "b": null}, "stringData": {"a": "new", "c": null}}),
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "bmV3", "b": "", "c": ""}}),
    )]
    #[case::string_data_without_data(
        json!({"apiVersion": "v1", "kind": "Secret", "data": null, "stringData": {"a": "x"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA=="}}),
    )]
    #[case::base64_on_lines(
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "YWJj\nZGVm\n"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "YWJjZGVm"}}),
    )]
    #[case::aggregated_rules(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "aggregationRule": {}, "rules": []}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "aggregationRule": {}}),
    )]
    #[case::rules_of_other_roles_stay(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}),
    )]
    #[case::numbers(
        json!({"apiVersion": "example.com/v1", "kind": "A", "a": 1.0, "b": [-0.0, 1.5], "c": u64::MAX, "d": i64::MIN}),
        json!({"apiVersion": "example.com/v1", "kind": "A", "a": 1, "b": [0, 1.5], "c": 18_446_744_073_709_551_615.0, "d": i64::MIN}),
    )]
    fn the_canonical_form(#[case] object: Value, #[case] expected: Value) {
        let gvk = gvk(&object);
        assert_eq!(canonical(object, &gvk).unwrap(), expected);
    }

    #[rstest]
    #[case(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a/b": 1}}), "data.a/b must be text", "/data/a~1b")]
    #[case(json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": true}}), "stringData.a must be text", "/stringData/a")]
    #[case(json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "not base64!"}}), "data.a is not base64", "/data/a")]
    #[case(json!({"apiVersion": "v1", "kind": "Secret", "data": ["a"]}), "data must be a mapping", "/data")]
    fn what_has_no_canonical_form(#[case] object: Value, #[case] message: &str, #[case] pointer: &str) {
        let gvk = gvk(&object);
        let error = canonical(object, &gvk).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.pointer()), (message, pointer));
    }

    #[test]
    fn the_text_is_sorted() {
        let value: Value = serde_json::from_str(r#"{"b": 1, "a": {"d": 1, "c": 2}}"#).unwrap();
        assert_eq!(String::from_utf8(canonical_json(&value)).unwrap(), r#"{"a":{"c":2,"d":1},"b":1}"#);
    }

    #[test]
    fn a_bundle_has_a_digest_whatever_the_order() {
        let manifest = |name: &str| {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            Manifest::from_value(object, Some("team-a"), crate::manifest::Scope::Namespaced, None).unwrap()
        };
        let (one, two) = (manifest("one"), manifest("two"));
        assert_eq!(bundle_digest(&[one.clone(), two.clone()]), bundle_digest(&[two.clone(), one.clone()]));
        assert_ne!(bundle_digest(std::slice::from_ref(&one)), bundle_digest(&[one, two]));
    }

    proptest! {
        #[test]
        fn to_be_canonical_again_changes_nothing(
            content in arbitrary::object(),
            metadata in arbitrary::object(),
            (version, kind) in prop::sample::select(vec![
                ("v1", "Secret"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("example.com/v1", "Thing"),
                ("rbac.authorization.k8s.io/v1", "ClusterRole"),
                ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ]),
        ) {
            let mut object = content;
            object["apiVersion"] = version.into();
            object["kind"] = kind.into();
            object["metadata"] = metadata;
            let gvk = gvk(&object);
            if let Ok(once) = canonical(object, &gvk) {
                let twice = canonical(once.clone(), &gvk);
                prop_assert_eq!(twice, Ok(once));
            }
        }
    }
}
