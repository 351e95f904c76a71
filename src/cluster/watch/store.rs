//! The objects of one of Bowline's own kinds, by application: pure.
//!
//! The order of resourceVersions rules here as in the live index: an answer to
//! a write of our own is taken at once, and older events say nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::decode::decode;
use crate::cluster::OwnerKey;

/// A kind of Bowline's own that is kept by application.
pub trait Kept: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// The application that the object is about.
    fn application(&self) -> OwnerKey;

    /// The same of an object that cannot be decoded, as far as it can be told.
    fn application_of(object: &Value) -> Option<OwnerKey>;
}

/// An object of ours that cannot be read: it is reported by itself, and the
/// others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its kind.
    pub kind: String,
    /// Its namespace and name.
    pub name: String,
    /// The field, and what is wrong with it.
    pub message: String,
}

#[derive(Debug)]
enum Content<K> {
    Read(Arc<K>),
    Unreadable(Unreadable),
}

#[derive(Debug)]
struct Item<K> {
    version: u64,
    application: Option<OwnerKey>,
    content: Content<K>,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Store<K> {
    items: HashMap<String, Item<K>>,
    by_application: BTreeMap<OwnerKey, BTreeSet<String>>,
    /// The version up to which the watch has told everything; `None` before the first list.
    told: Option<u64>,
    listing: Option<BTreeSet<String>>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { items: HashMap::new(), by_application: BTreeMap::new(), told: None, listing: None }
    }
}

impl<K: Kept> Store<K> {
    /// A list begins.
    pub fn list_started(&mut self) {
        self.listing = Some(BTreeSet::new());
    }

    /// The list tells an object.
    pub fn listed(&mut self, object: Value) -> BTreeSet<OwnerKey> {
        if let (Some(listing), Some(key)) = (&mut self.listing, key_of(&object)) {
            listing.insert(key);
        }
        self.put(object, false)
    }

    /// The list is whole: what it did not tell is gone, except what we wrote after it.
    pub fn list_done(&mut self, version: Option<u64>) -> BTreeSet<OwnerKey> {
        let listed = self.listing.take().unwrap_or_default();
        self.told = Some(version.unwrap_or(0));
        let gone: Vec<String> = self
            .items
            .iter()
            .filter(|(key, item)| !listed.contains(*key) && version.is_none_or(|version| item.version <= version))
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The watch tells that an object was made or changed.
    pub fn changed(&mut self, object: Value) -> BTreeSet<OwnerKey> {
        let version = version_of(&object);
        let changed = self.put(object, false);
        self.alive(version);
        changed
    }

    /// The watch tells that an object is gone.
    pub fn deleted(&mut self, object: &Value) -> BTreeSet<OwnerKey> {
        let version = version_of(object);
        let gone = key_of(object)
            .filter(|key| self.items.get(key).is_some_and(|item| version == 0 || item.version <= version))
            .and_then(|key| self.remove(&key));
        self.alive(version);
        gone.into_iter().collect()
    }

    /// The watch has told everything up to a version.
    pub fn alive(&mut self, version: u64) {
        self.told = self.told.map(|told| told.max(version));
    }

    /// The answer to a write of our own.
    pub fn record(&mut self, object: Value) -> BTreeSet<OwnerKey> {
        self.put(object, true)
    }

    /// Whether the first list was whole.
    pub fn is_listed(&self) -> bool {
        self.told.is_some()
    }

    /// The applications that have objects of this kind.
    pub fn applications(&self) -> impl Iterator<Item = &OwnerKey> {
        self.by_application.keys()
    }

    /// The objects of an application, by name.
    pub fn of(&self, application: &OwnerKey) -> Vec<Arc<K>> {
        self.items_of(application)
            .filter_map(|item| match &item.content {
                Content::Read(object) => Some(object.clone()),
                Content::Unreadable(_) => None,
            })
            .collect()
    }

    /// The objects of an application that cannot be read.
    pub fn unreadable_of(&self, application: &OwnerKey) -> Vec<Unreadable> {
        self.items_of(application)
            .filter_map(|item| match &item.content {
                Content::Read(_) => None,
                Content::Unreadable(unreadable) => Some(unreadable.clone()),
            })
            .collect()
    }

    fn items_of(&self, application: &OwnerKey) -> impl Iterator<Item = &Item<K>> {
        self.by_application.get(application).into_iter().flatten().filter_map(|key| self.items.get(key))
    }

    fn put(&mut self, object: Value, own: bool) -> BTreeSet<OwnerKey> {
        let Some(key) = key_of(&object) else { return BTreeSet::new() };
        let version = version_of(&object);
        let outranked = match self.items.get(&key) {
            // The same version again is no news either.
            Some(known) => version != 0 && version <= known.version,
            None => own && version != 0 && self.told.is_some_and(|told| version <= told),
        };
        if outranked {
            return BTreeSet::new();
        }
        let (application, content) = match decode::<K>(&object) {
            Ok(read) => (Some(read.application()), Content::Read(Arc::new(read))),
            Err(message) => {
                let unreadable = Unreadable { kind: K::kind(&()).into_owned(), name: key.clone(), message };
                tracing::warn!(kind = %unreadable.kind, name = %unreadable.name, message = %unreadable.message, "cannot read an object");
                (K::application_of(&object), Content::Unreadable(unreadable))
            }
        };
        let mut changed: BTreeSet<OwnerKey> = self.remove(&key).into_iter().collect();
        if let Some(application) = &application {
            self.by_application.entry(application.clone()).or_default().insert(key.clone());
            changed.insert(application.clone());
        }
        self.items.insert(key, Item { version, application, content });
        changed
    }

    fn remove(&mut self, key: &str) -> Option<OwnerKey> {
        let application = self.items.remove(key)?.application?;
        if let Some(keys) = self.by_application.get_mut(&application) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_application.remove(&application);
            }
        }
        Some(application)
    }
}

fn key_of(object: &Value) -> Option<String> {
    let metadata = object.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    Some(format!("{}/{name}", metadata.get("namespace").and_then(Value::as_str).unwrap_or_default()))
}

fn version_of(object: &Value) -> u64 {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Suspension;

    fn suspension(name: &str, version: u64, application: &str) -> Value {
        json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Suspension",
            "metadata": {"namespace": "team-a", "name": name, "resourceVersion": version.to_string()},
            "spec": {"applicationRef": {"name": application}, "reason": "freeze"},
        })
    }

    fn shop() -> OwnerKey {
        OwnerKey::new("team-a", "shop")
    }

    fn names(store: &Store<Suspension>) -> Vec<String> {
        store.of(&shop()).iter().filter_map(|object| object.metadata.name.clone()).collect()
    }

    fn store_with(version: u64, objects: Vec<Value>) -> Store<Suspension> {
        let mut store = Store::default();
        list(&mut store, version, objects);
        store
    }

    fn list(store: &mut Store<Suspension>, version: u64, objects: Vec<Value>) {
        store.list_started();
        for object in objects {
            store.listed(object);
        }
        store.list_done(Some(version));
    }

    #[test]
    fn objects_are_found_by_their_application() {
        let store = store_with(9, vec![suspension("a", 1, "shop"), suspension("b", 2, "billing")]);
        assert_eq!(names(&store), vec!["a"]);
        assert_eq!(store.applications().map(OwnerKey::name).collect::<Vec<_>>(), vec!["billing", "shop"]);
        assert!(store.is_listed());
    }

    #[test]
    fn one_object_that_cannot_be_read_does_not_stop_the_others() {
        let mut broken = suspension("bad", 2, "shop");
        broken["spec"]["reason"] = json!(7);
        let store = store_with(9, vec![suspension("a", 1, "shop"), broken]);
        assert_eq!(names(&store), vec!["a"]);
        let unreadable = store.unreadable_of(&shop());
        assert_eq!(unreadable[0].name, "team-a/bad");
        assert_eq!(unreadable[0].message, "spec.reason: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn an_object_that_becomes_readable_is_read() {
        let mut broken = suspension("a", 2, "shop");
        broken["spec"]["reason"] = json!(7);
        let mut store = store_with(9, vec![broken]);
        assert_eq!(store.changed(suspension("a", 10, "shop")), BTreeSet::from([shop()]));
        assert_eq!(names(&store), vec!["a"]);
        assert_eq!(store.unreadable_of(&shop()), vec![]);
    }

    #[test]
    fn our_own_writes_are_known_at_once_and_their_echo_is_no_news() {
        let mut store = store_with(9, vec![]);
        assert_eq!(store.record(suspension("a", 11, "shop")), BTreeSet::from([shop()]));
        assert_eq!(store.changed(suspension("a", 11, "shop")), BTreeSet::new());
        assert_eq!(names(&store), vec!["a"]);
    }

    #[test]
    fn an_answer_that_arrives_after_the_deletion_revives_nothing() {
        let mut store = store_with(9, vec![]);
        store.changed(suspension("a", 11, "shop"));
        store.deleted(&suspension("a", 12, "shop"));
        store.record(suspension("a", 11, "shop"));
        assert_eq!(names(&store), Vec::<String>::new());
    }

    #[test]
    fn a_new_list_drops_what_went() {
        let mut store = store_with(9, vec![suspension("a", 1, "shop"), suspension("b", 2, "shop")]);
        store.record(suspension("new", 30, "shop"));
        list(&mut store, 20, vec![suspension("b", 2, "shop")]);
        assert_eq!(names(&store), vec!["b", "new"]);
    }

    #[test]
    fn a_deletion_is_told_to_its_application() {
        let mut store = store_with(9, vec![suspension("a", 1, "shop")]);
        assert_eq!(store.deleted(&suspension("a", 10, "shop")), BTreeSet::from([shop()]));
        assert_eq!(store.applications().count(), 0);
    }
}
