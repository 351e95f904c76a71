//! What is still encrypted when it is about to become a manifest.

use serde_json::Value;

use super::{cipher::BEGIN, file::is_of_operator, metadata::FIELD};

/// Why an object may not be applied: SOPS encrypted it, and it was not
/// decrypted. The pointer to what shows it, and words.
pub(in crate::render) fn left_encrypted(object: &Value) -> Option<(String, &'static str)> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    if is_of_operator(text("apiVersion"), text("kind")) {
        return None;
    }
    if object.pointer("/sops/mac").is_some() || object.pointer("/sops/lastmodified").is_some() {
        let words = "is encrypted by SOPS, and is not decrypted: it is not at the top of a file of its own, or comes \
                     out of a template";
        return Some((format!("/{FIELD}"), words));
    }
    if text("kind") != "Secret" {
        return None;
    }
    // In JSON a value of `data` is base64; this one could be of `stringData`.
    ["data", "stringData"].iter().find_map(|field| {
        let fields = object.get(*field)?.as_object()?;
        let (key, _) = fields.iter().find(|(_, value)| value.as_str().is_some_and(|text| text.starts_with(BEGIN)))?;
        let pointer = format!("/{field}/{}", key.replace('~', "~0").replace('/', "~1"));
        Some((pointer, "holds a value that SOPS encrypted, and the file has no SOPS metadata: it is not whole"))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"kind": "Secret", "stringData": {"a/b": "ENC[AES256_GCM,data:x]"}}), Some("/stringData/a~1b"))]
    #[case(json!({"kind": "Secret", "data": {"a": "ENC[AES256_GCM,data:x]"}}), Some("/data/a"))]
    #[case(json!({"kind": "ConfigMap", "data": {"a": "ENC[AES256_GCM,data:x]"}}), None)]
    #[case(json!({"kind": "Deployment", "sops": {"mac": "x"}}), Some("/sops"))]
    #[case(json!({"kind": "SopsSecret", "apiVersion": "isindir.github.com/v1alpha3", "sops": {"mac": "x"}}), None)]
    #[case(json!({"kind": "SopsSecret", "apiVersion": "v1", "sops": {"mac": "x"}}), Some("/sops"))]
    #[case(json!({"kind": "Secret", "data": {"a": "aHVudGVyMjI="}}), None)]
    #[case(json!({"kind": "Config", "sops": {"enabled": true}}), None)]
    fn what_is_still_encrypted_is_seen(#[case] object: Value, #[case] expected: Option<&str>) {
        let found = left_encrypted(&object).map(|(pointer, _)| pointer);
        assert_eq!(found.as_deref(), expected);
    }
}
