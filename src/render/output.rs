//! A render as people and programs read it.

use std::sync::Arc;

use serde_json::Value;

use crate::manifest::{Manifest, Masker, writer};

/// All manifests as one JSON array, secrets masked unless they are to be shown.
pub fn json_array(manifests: &[Arc<Manifest>], show_secrets: bool, masker: &Masker) -> Value {
    manifests.iter().map(|manifest| shown(manifest, show_secrets, masker)).collect()
}

/// All manifests as a stream of YAML documents that Kubernetes reads back as
/// the same, secrets masked unless they are to be shown.
pub fn yaml_stream(manifests: &[Arc<Manifest>], show_secrets: bool, masker: &Masker) -> String {
    manifests
        .iter()
        .map(|manifest| format!("---\n{}", writer::to_yaml(&shown(manifest, show_secrets, masker))))
        .collect()
}

fn shown(manifest: &Manifest, show_secrets: bool, masker: &Masker) -> Value {
    let value = manifest.value.read();
    if show_secrets { value.into_owned() } else { masker.object(&value) }
}
