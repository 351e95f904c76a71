//! Inventory: what an application has in the cluster, by identity and uid, in
//! hash buckets so that a small change rewrites one of them.

use std::{fmt, str::FromStr};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{Digest, Fingerprint, GroupKind, GroupVersionKind, ManifestDigest, ObjectId};

/// One bucket of the inventory of an application.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Inventory",
    plural = "inventories",
    namespaced,
    selectable = ".spec.application",
    category = "bowline",
    derive = "PartialEq",
    doc = "One bucket of what an application has in the cluster, with the digests by which drift is found."
)]
#[serde(rename_all = "camelCase")]
pub struct InventorySpec {
    /// Name of the Application.
    #[schemars(length(min = 1, max = 52))]
    pub application: String,
    /// Grows whenever the number of buckets changes; the newest complete generation counts.
    #[serde(default)]
    pub generation: u32,
    /// Number of the bucket.
    pub bucket: u32,
    /// How many buckets there are.
    pub buckets: u32,
    /// The objects, sorted by identity, a line each: API version, kind, uid, digest of the manifest, fingerprint, flags, and namespace and name with a slash; `-` where there is no value.
    #[serde(default)]
    #[schemars(with = "Vec<String>", length(max = 4096))]
    pub entries: Vec<InventoryEntry>,
}

/// One object that an application has in the cluster, or is about to create.
///
/// In the cluster it is one line of text, fields between spaces, `-` where one
/// has no value: API version, kind, uid, digest of the manifest, fingerprint,
/// flags, and namespace and name with a slash. A structure would say the same
/// and cost the API server twice the work, for thousands of objects at each
/// release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InventoryEntry {
    /// Identity; its group is that of the API version.
    pub id: ObjectId,
    /// API version by which it was applied last.
    pub api_version: String,
    /// uid of the live object; none while it is only intended.
    pub uid: Option<String>,
    /// Digest of the manifest that was applied last.
    pub manifest: Option<ManifestDigest>,
    /// Hash of the owned fields after that apply.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it was seen complete: a Job that is done is not run again.
    pub done: bool,
    /// Whether it is the object of a hook.
    pub hook: bool,
}

/// Why a line is no entry of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no entry of an inventory: {1}")]
pub struct NotAnEntry(String, &'static str);

/// What stands where there is no value.
const NONE: &str = "-";
/// The flag of an object that was seen complete.
const DONE: &str = "done";
/// The flag of the object of a hook.
const HOOK: &str = "hook";

impl InventoryEntry {
    /// The type by which it was applied last.
    pub fn gvk(&self) -> Option<GroupVersionKind> {
        GroupVersionKind::from_api_version(&self.api_version, &self.id.kind)
    }
}

impl fmt::Display for InventoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, api_version, uid, manifest, fingerprint, done, hook } = self;
        let flags = match (done, hook) {
            (false, false) => NONE,
            (true, false) => DONE,
            (false, true) => HOOK,
            (true, true) => "done,hook",
        };
        write!(f, "{api_version} {} {}", id.kind, uid.as_deref().unwrap_or(NONE))?;
        match manifest {
            Some(manifest) => write!(f, " {manifest}")?,
            None => write!(f, " {NONE}")?,
        }
        match fingerprint {
            Some(fingerprint) => write!(f, " {fingerprint}")?,
            None => write!(f, " {NONE}")?,
        }
        // A name may have spaces, so it stands at the end.
        write!(f, " {flags} {}/{}", id.namespace.as_deref().unwrap_or_default(), id.name)
    }
}

impl FromStr for InventoryEntry {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn value(text: &str) -> Option<&str> {
            Some(text).filter(|text| *text != NONE)
        }
        let refuse = |because| NotAnEntry(text.to_owned(), because);
        let fields: Vec<&str> = text.splitn(7, ' ').collect();
        let [api_version, kind, uid, manifest, fingerprint, flags, name] = fields[..] else {
            return Err(refuse("it has fewer than seven fields"));
        };
        let (namespace, name) = name.split_once('/').ok_or_else(|| refuse("its name has no slash"))?;
        if namespace.contains(' ') {
            return Err(refuse("it has a space where none can be"));
        }
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(str::to_owned);
        let (mut done, mut hook) = (false, false);
        for flag in value(flags).into_iter().flat_map(|flags| flags.split(',')) {
            match flag {
                DONE => done = true,
                HOOK => hook = true,
                _ => return Err(refuse("it has a flag that is not known")),
            }
        }
        let digest = |text: &str| Digest::try_from(text.to_owned()).map_err(|_| refuse("it has a digest that is none"));
        Ok(Self {
            id: ObjectId::new(GroupKind::new(group, kind), namespace, name),
            api_version: api_version.to_owned(),
            uid: value(uid).map(str::to_owned),
            manifest: value(manifest).map(digest).transpose()?.map(ManifestDigest),
            fingerprint: value(fingerprint).map(digest).transpose()?.map(Fingerprint),
            done,
            hook,
        })
    }
}

impl From<InventoryEntry> for String {
    fn from(entry: InventoryEntry) -> Self {
        entry.to_string()
    }
}

impl TryFrom<String> for InventoryEntry {
    type Error = NotAnEntry;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The schema of an identity.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct InventoryId {
    #[serde(default)]
    group: String,
    kind: String,
    #[serde(default)]
    namespace: Option<String>,
    name: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "v1:0000000000000000000000000000000000000000000000000000000000000000";

    #[rstest]
    #[case("v1 ConfigMap 1c2d-uid DIGEST DIGEST - team-a/web")]
    #[case("apps/v1 Deployment - - - - team-a/web")]
    #[case("batch/v1 Job uid DIGEST - done,hook team-a/web")]
    #[case("batch/v1 Job uid DIGEST - hook team-a/web")]
    #[case("rbac.authorization.k8s.io/v1 ClusterRole uid - DIGEST done /a role: with spaces")]
    fn an_entry_is_a_line(#[case] line: &str) {
        let line = line.replace("DIGEST", DIGEST);
        let entry: InventoryEntry = line.parse().unwrap();
        assert_eq!(entry.to_string(), line);
        assert_eq!(entry.gvk().unwrap().group_kind(), entry.id.group_kind());
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(json, line);
        assert_eq!(serde_json::from_value::<InventoryEntry>(json).unwrap(), entry);
    }

    #[rstest]
    #[case("v1 ConfigMap team-a/web", "it has fewer than seven fields")]
    #[case("v1 ConfigMap - - - - web", "its name has no slash")]
    #[case("v1 ConfigMap - v1:xyz - - team-a/web", "it has a digest that is none")]
    #[case("v1 ConfigMap - - - soon team-a/web", "it has a flag that is not known")]
    #[case("v1 Config Map - - - - team-a/web", "it has a space where none can be")]
    fn what_is_no_entry_is_told(#[case] line: &str, #[case] because: &str) {
        let error = line.parse::<InventoryEntry>().unwrap_err().to_string();
        assert_eq!(error, format!("{line:?} is no entry of an inventory: {because}"));
    }
}
