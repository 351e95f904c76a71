//! What names an object: its group, kind, namespace and name, never its version.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A group and a kind, the version-free type of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group, empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind, for example `Deployment`.
    pub kind: String,
}

impl GroupKind {
    /// Makes a group-kind.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// A group, version and kind: the type by which a manifest is applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupVersionKind {
    /// API group, empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Version, for example `v1`.
    pub version: String,
    /// Kind, for example `Deployment`.
    pub kind: String,
}

impl GroupVersionKind {
    /// Makes a group-version-kind.
    pub fn new(group: impl Into<String>, version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// Splits an `apiVersion` (`v1`, `apps/v1`) and joins it with a kind.
    /// `None` where the `apiVersion` is empty or has more than one slash.
    pub fn from_api_version(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() || version.contains('/') || kind.is_empty() || api_version.starts_with('/') {
            return None;
        }
        Some(Self::new(group, version, kind))
    }

    /// The `apiVersion` as a manifest writes it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The type without its version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

/// The identity of an object within a cluster. Two manifests of the same
/// object in different API versions have the same identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// API group, empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectId {
    /// Makes an identity.
    pub fn new(group_kind: GroupKind, namespace: Option<String>, name: impl Into<String>) -> Self {
        Self { group: group_kind.group, kind: group_kind.kind, namespace, name: name.into() }
    }

    /// The type of the object.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }

    /// The unambiguous form for programs: `kind.group/namespace/name`, with an
    /// empty namespace for cluster-scoped objects.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.group_kind(), self.namespace.as_deref().unwrap_or_default(), self.name)
    }
}

impl fmt::Display for ObjectId {
    /// The form for people: `Deployment team-a/worker`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {}/{}", self.kind, namespace, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("v1", "Pod", Some(("", "v1")))]
    #[case("apps/v1", "Deployment", Some(("apps", "v1")))]
    #[case("", "Pod", None)]
    #[case("/v1", "Pod", None)]
    #[case("a/b/c", "Pod", None)]
    #[case("apps/", "Pod", None)]
    #[case("v1", "", None)]
    fn api_versions_are_split(#[case] api_version: &str, #[case] kind: &str, #[case] expected: Option<(&str, &str)>) {
        let parsed = GroupVersionKind::from_api_version(api_version, kind);
        assert_eq!(parsed, expected.map(|(group, version)| GroupVersionKind::new(group, version, kind)));
    }

    #[test]
    fn identity_reads_well_and_is_unambiguous() {
        let id = ObjectId::new(GroupKind::new("apps", "Deployment"), Some("team-a".into()), "web");
        assert_eq!(id.to_string(), "Deployment team-a/web");
        assert_eq!(id.key(), "Deployment.apps/team-a/web");
        let cluster_scoped = ObjectId::new(GroupKind::new("", "Namespace"), None, "team-a");
        assert_eq!(cluster_scoped.key(), "Namespace//team-a");
    }
}
