//! What names an object: its group, kind, namespace and name, never its version.

use std::{
    cmp::Ordering,
    collections::HashSet,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

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

/// A group, version and kind: the type by which a manifest is applied. Each is
/// kept once, as an [`ObjectId`] is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind(Arc<TypeName>);

/// What a [`GroupVersionKind`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TypeName {
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
        Self::of(TypeName { group: group.into(), version: version.into(), kind: kind.into() })
    }

    fn of(name: TypeName) -> Self {
        let mut types = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = types.known.get(&name) {
            return Self(known.clone());
        }
        if types.known.len() >= types.enough {
            types.known.retain(|known| Arc::strong_count(known) > 1);
            types.enough = (2 * types.known.len()).max(1024);
        }
        let name = Arc::new(name);
        types.known.insert(name.clone());
        Self(name)
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

impl Deref for GroupVersionKind {
    type Target = TypeName;

    fn deref(&self) -> &TypeName {
        &self.0
    }
}

impl fmt::Debug for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupVersionKind({self})")
    }
}

impl Serialize for GroupVersionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GroupVersionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TypeName::deserialize(deserializer).map(Self::of)
    }
}

/// The types that somebody has.
static TYPES: LazyLock<Mutex<Types>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Types {
    known: HashSet<Arc<TypeName>>,
    /// How many there may be until those that nobody has any more are let go.
    enough: usize,
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

/// The identity of an object within a cluster. Two manifests of the same
/// object in different API versions have the same identity.
///
/// Identities are kept once for the whole process and shared: each of thousands
/// of objects is named in many places, and all of them are compared at each
/// commit. To clone one costs no memory, to tell whether two are the same one
/// is to compare their addresses.
#[derive(Clone)]
pub struct ObjectId(Arc<Kept>);

/// What an [`ObjectId`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
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
        let GroupKind { group, kind } = group_kind;
        Self::of(ObjectKey { group, kind, namespace, name: name.into() })
    }

    /// The identity that says this: the one that is there, or a new one.
    pub fn of(identity: ObjectKey) -> Self {
        IDENTITIES.lock().unwrap_or_else(PoisonError::into_inner).get(identity)
    }

    /// What spreads objects evenly and is the same for one for ever: the SHA-256
    /// of [`ObjectId::key`].
    pub fn sha256(&self) -> &[u8; 32] {
        &self.0.hash
    }

    /// The type of the object.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }

    /// The unambiguous form for programs: `kind.group/namespace/name`, with an
    /// empty namespace for cluster-scoped objects.
    pub fn key(&self) -> String {
        unambiguous(self)
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

impl Deref for ObjectId {
    type Target = ObjectKey;

    fn deref(&self) -> &ObjectKey {
        &self.0.identity
    }
}

impl PartialEq for ObjectId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ObjectId {}

impl Hash for ObjectId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Ord for ObjectId {
    /// By group, kind, namespace (none before any) and name.
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        self.0.key.cmp(&other.0.key).then_with(|| ObjectKey::cmp(self, other))
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({})", self.key())
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.identity.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ObjectKey::deserialize(deserializer).map(Self::of)
    }
}

fn unambiguous(ObjectKey { group, kind, namespace, name }: &ObjectKey) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}/{name}", namespace.as_deref().unwrap_or_default())
}

/// An identity with what sorts it.
struct Kept {
    identity: ObjectKey,
    /// All of it, so that one comparison of bytes tells the order; what is equal
    /// here and not the same has names that no object can have.
    key: Box<[u8]>,
    /// The SHA-256 of its unambiguous form.
    hash: [u8; 32],
}

impl Kept {
    fn new(identity: ObjectKey) -> Self {
        let ObjectKey { group, kind, namespace, name } = &identity;
        let mut key =
            Vec::with_capacity(group.len() + kind.len() + namespace.as_ref().map_or(0, String::len) + name.len() + 4);
        // No name has a byte 0, which sorts before all that they have.
        key.extend_from_slice(group.as_bytes());
        key.push(0);
        key.extend_from_slice(kind.as_bytes());
        key.push(0);
        if let Some(namespace) = namespace {
            key.push(1);
            key.extend_from_slice(namespace.as_bytes());
        }
        key.push(0);
        key.extend_from_slice(name.as_bytes());
        let hash = Sha256::digest(unambiguous(&identity)).into();
        Self { key: key.into(), hash, identity }
    }
}

/// The identities that somebody has.
static IDENTITIES: LazyLock<Mutex<Identities>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Identities {
    known: HashSet<ByContent>,
    /// How many there may be until those that nobody has any more are let go.
    enough: usize,
}

impl Identities {
    fn get(&mut self, identity: ObjectKey) -> ObjectId {
        if let Some(known) = self.known.get(&identity) {
            return known.0.clone();
        }
        if self.known.len() >= self.enough {
            self.known.retain(|known| Arc::strong_count(&known.0.0) > 1);
            self.enough = (2 * self.known.len()).max(1024);
        }
        let id = ObjectId(Arc::new(Kept::new(identity)));
        self.known.insert(ByContent(id.clone()));
        id
    }
}

/// Told from others by what it says.
struct ByContent(ObjectId);

impl std::borrow::Borrow<ObjectKey> for ByContent {
    fn borrow(&self) -> &ObjectKey {
        &self.0
    }
}

impl Hash for ByContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ObjectKey::hash(&self.0, state);
    }
}

impl PartialEq for ByContent {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for ByContent {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn identity() -> impl Strategy<Value = ObjectKey> {
        let part = || "[a-c.]{0,3}";
        (part(), part(), proptest::option::of(part()), part()).prop_map(|(group, kind, namespace, name)| ObjectKey {
            group,
            kind,
            namespace,
            name,
        })
    }

    proptest! {
        #[test]
        fn identities_are_one_and_sorted_by_their_fields(one in identity(), other in identity()) {
            let (first, second) = (ObjectId::of(one.clone()), ObjectId::of(other.clone()));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.cmp(&second), one.cmp(&other));
            let text = serde_json::to_string(&first).unwrap_or_default();
            prop_assert_eq!(&text, &serde_json::to_string(&one).unwrap_or_default());
            prop_assert_eq!(serde_json::from_str::<ObjectId>(&text).ok(), Some(first));
        }
    }

    #[test]
    fn what_nobody_has_is_let_go() {
        let mut identities = Identities::default();
        let id = |number: usize| ObjectKey {
            group: String::new(),
            kind: "A".into(),
            namespace: None,
            name: number.to_string(),
        };
        let held = identities.get(id(0));
        for number in 1..10_000 {
            identities.get(id(number));
        }
        assert!(identities.known.len() <= 1024, "{}", identities.known.len());
        assert_eq!(identities.get(id(0)), held);
    }

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
