//! What a rollback leaves as it is unless it is told otherwise, and what it
//! could not bring back at all.

use serde_json::Value;

use super::RollbackPolicy;
use crate::manifest::{Manifest, ObjectId};

/// Why a rollback leaves an object, if it does: a Job would run again, and a
/// claim, a namespace or a definition holds what the manifest knows nothing of.
pub(super) fn left(id: &ObjectId, rollback: RollbackPolicy, manifest: &Manifest, live: &Value) -> Option<String> {
    let reason = match (id.group.as_str(), id.kind.as_str()) {
        ("batch", "Job") if !rollback.jobs => "a rollback runs no Job again (--include jobs)",
        ("", "PersistentVolumeClaim") if !rollback.claims => "a rollback leaves claims as they are (--include claims)",
        ("", "Namespace") if !rollback.namespaces => "a rollback leaves namespaces as they are (--include namespaces)",
        ("apiextensions.k8s.io", "CustomResourceDefinition") if !rollback.crds => {
            "a rollback leaves definitions as they are (--include crds)"
        }
        _ => return None,
    };
    Some(match lasting(id, manifest, live) {
        Some(lasting) => format!("{reason}; {lasting}"),
        None => reason.to_owned(),
    })
}

/// What of the live object cannot be taken back, whoever tries.
fn lasting(id: &ObjectId, manifest: &Manifest, live: &Value) -> Option<String> {
    match id.kind.as_str() {
        "PersistentVolumeClaim" => grown(manifest, live),
        "CustomResourceDefinition" => stored(manifest, live),
        _ => None,
    }
}

/// Storage grows and never shrinks.
fn grown(manifest: &Manifest, live: &Value) -> Option<String> {
    const STORAGE: &str = "/spec/resources/requests/storage";
    let wanted = manifest.value.read().pointer(STORAGE).and_then(Value::as_str).map(str::to_owned)?;
    let there = live.pointer(STORAGE).and_then(Value::as_str)?;
    let larger = quantity(there)? > quantity(&wanted)?;
    larger.then(|| format!("its storage grew from {wanted} to {there}, which cannot be taken back"))
}

/// A version in which objects were stored stays in the definition until they
/// are all written anew and the status says so.
fn stored(manifest: &Manifest, live: &Value) -> Option<String> {
    let manifest = manifest.value.read();
    let versions = manifest.pointer("/spec/versions").and_then(Value::as_array)?;
    let knows = |name: &str| versions.iter().any(|version| version["name"] == name);
    let stored = live.pointer("/status/storedVersions").and_then(Value::as_array)?;
    let lost = stored.iter().filter_map(Value::as_str).find(|name| !knows(name))?;
    Some(format!(
        "objects were stored as {lost}, which the target does not have: that cannot be taken back before they are \
         stored in another version"
    ))
}

/// A quantity as Kubernetes writes them, to be compared and not counted with.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: f64 = match suffix {
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "Pi" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "Ei" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => format!("1{exponent}").parse().ok().filter(|_| exponent.starts_with(['e', 'E']))?,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::manifest;

    fn claim(storage: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "team-a"},
            "spec": {"resources": {"requests": {"storage": storage}}},
        })
    }

    fn definition(versions: &[&str], stored: &[&str]) -> Value {
        let versions: Vec<Value> = versions.iter().map(|name| json!({"name": name})).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"versions": versions}, "status": {"storedVersions": stored},
        })
    }

    fn said(target: Value, live: &Value) -> Option<String> {
        let manifest = manifest(target);
        left(&manifest.id, RollbackPolicy::default(), &manifest, live)
    }

    #[rstest]
    #[case("1Gi", "2Gi", true)]
    #[case("1Gi", "1100Mi", true)]
    #[case("1Gi", "1024Mi", false)]
    #[case("2Gi", "1Gi", false)]
    #[case("1G", "1Gi", true)]
    #[case("1e9", "1Gi", true)]
    #[case("1E", "1000P", false)]
    #[case("nonsense", "1Gi", false)]
    fn a_claim_that_grew_is_told(#[case] target: &str, #[case] live: &str, #[case] told: bool) {
        let said = said(claim(target), &claim(live)).unwrap_or_default();
        assert!(said.starts_with("a rollback leaves claims as they are (--include claims)"), "{said}");
        let grew = format!("; its storage grew from {target} to {live}, which cannot be taken back");
        assert_eq!(said.ends_with(&grew), told, "{said}");
    }

    #[rstest]
    #[case(&["v1"], &["v1", "v2"], true)]
    #[case(&["v1", "v2"], &["v1", "v2"], false)]
    #[case(&["v1"], &["v1"], false)]
    fn a_stored_version_that_the_target_lacks_is_told(
        #[case] target: &[&str],
        #[case] stored: &[&str],
        #[case] told: bool,
    ) {
        let said = said(definition(target, &[]), &definition(target, stored)).unwrap_or_default();
        assert_eq!(said.contains("objects were stored as v2, which the target does not have"), told, "{said}");
    }

    #[test]
    fn what_is_asked_for_is_not_left_and_what_is_ordinary_never_is() {
        let all = RollbackPolicy { jobs: true, claims: true, namespaces: true, crds: true };
        let namespace = manifest(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}));
        assert_eq!(left(&namespace.id, all, &namespace, &json!({})), None);
        assert!(left(&namespace.id, RollbackPolicy::default(), &namespace, &json!({})).is_some());
        let config = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}));
        assert_eq!(left(&config.id, RollbackPolicy::default(), &config, &json!({})), None);
    }
}
