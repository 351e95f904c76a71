//! Bowline's own resources, held in memory by application.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Client, api::ApiResource};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Announcer, Changes, Dues, Feed, FeedEvent, Pulse, Target,
    store::{Kept, Store, Unreadable},
};
use crate::{
    api::{Application, Release, RollbackRequest, Suspension, SyncRequest},
    cluster::OwnerKey,
};

/// After so many failures in a row a watch is reported as failing.
const FAILING_AFTER: u32 = 2;

/// Applications, releases, requests and suspensions, as the API server has
/// them. Clones are the same; the watches end with the last one.
#[derive(Clone)]
pub struct OwnResources(Arc<Shared>);

struct Shared {
    /// One for all namespaces, or one for each that is served.
    parts: Vec<Part>,
    told: Arc<Told>,
}

/// What is known of one namespace, or of all.
struct Part {
    namespace: Option<String>,
    stores: Arc<Stores>,
    feeds: Vec<OneFeed>,
}

impl Part {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// What tells of changes and of lists.
#[derive(Default)]
struct Told {
    announcer: Announcer,
    listed: watch::Sender<()>,
}

struct OneFeed {
    kind: String,
    task: JoinHandle<()>,
    pulse: Pulse,
    retry: Arc<tokio::sync::Notify>,
    dues: Arc<Dues>,
    failure: Arc<Mutex<Option<String>>>,
}

#[derive(Default)]
struct Stores {
    applications: Mutex<Store<Application>>,
    releases: Mutex<Store<Release>>,
    sync_requests: Mutex<Store<SyncRequest>>,
    rollback_requests: Mutex<Store<RollbackRequest>>,
    suspensions: Mutex<Store<Suspension>>,
}

impl Stores {
    fn is_listed(&self) -> bool {
        lock(&self.applications).is_listed()
            && lock(&self.releases).is_listed()
            && lock(&self.sync_requests).is_listed()
            && lock(&self.rollback_requests).is_listed()
            && lock(&self.suspensions).is_listed()
    }
}

/// How one of the watches is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWatchReport {
    /// The kind.
    pub kind: String,
    /// What is wrong, if it does not work.
    pub failure: Option<String>,
    /// How long ago it was last heard of.
    pub age: Duration,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for feed in self.parts.iter().flat_map(|part| &part.feeds) {
            feed.task.abort();
        }
    }
}

impl OwnResources {
    /// Starts the watches: of the namespaces given, or of all where none is.
    pub fn start(client: &Client, namespaces: &BTreeSet<String>) -> Self {
        let told = Arc::new(Told::default());
        let each: Vec<Option<&String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(Some).collect() };
        let part = |namespace: Option<&String>| {
            let stores = Arc::new(Stores::default());
            let place = Place { client, namespace: namespace.map(String::as_str), stores: &stores, told: &told };
            let feeds = vec![
                follow(&place, |stores| &stores.applications),
                follow(&place, |stores| &stores.releases),
                follow(&place, |stores| &stores.sync_requests),
                follow(&place, |stores| &stores.rollback_requests),
                follow(&place, |stores| &stores.suspensions),
            ];
            Part { namespace: namespace.cloned(), stores, feeds }
        };
        let parts = each.into_iter().map(part).collect();
        Self(Arc::new(Shared { parts, told }))
    }

    /// Whether everything was listed once.
    pub fn is_ready(&self) -> bool {
        self.0.parts.iter().all(|part| part.stores.is_listed())
    }

    /// Waits until everything was listed once.
    pub async fn ready(&self) {
        let mut listed = self.0.told.listed.subscribe();
        while !self.is_ready() {
            if listed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells from now on for which applications something changed.
    pub fn changed(&self) -> Changes {
        self.0.told.announcer.subscribe()
    }

    /// The applications that exist, those that cannot be read among them.
    pub fn applications(&self) -> BTreeSet<OwnerKey> {
        let of = |stores: &Stores| lock(&stores.applications).applications().cloned().collect::<Vec<_>>();
        self.0.parts.iter().flat_map(|part| of(&part.stores)).collect()
    }

    /// How many applications exist.
    pub fn count(&self) -> usize {
        self.0.parts.iter().map(|part| lock(&part.stores.applications).applications().count()).sum()
    }

    /// An application; `None` where there is none, or it cannot be read.
    pub fn application(&self, key: &OwnerKey) -> Option<Arc<Application>> {
        self.of(key, |stores| &stores.applications).into_iter().next()
    }

    /// Whether another application waits for this one (`spec.dependsOn`).
    pub fn is_waited_for(&self, key: &OwnerKey) -> bool {
        let Some(part) = self.part(key.namespace()) else { return false };
        let applications = lock(&part.stores.applications);
        let beside = applications.applications().filter(|other| other.namespace() == key.namespace());
        beside
            .flat_map(|other| applications.of(other))
            .any(|other| other.spec.depends_on.iter().any(|name| name == key.name()))
    }

    /// The releases of an application, by number.
    pub fn releases(&self, key: &OwnerKey) -> Vec<Arc<Release>> {
        let mut releases = self.of(key, |stores| &stores.releases);
        releases.sort_by_key(|release| release.spec.number);
        releases
    }

    /// The applications that have releases, whether they exist or not.
    pub fn applications_with_releases(&self) -> BTreeSet<OwnerKey> {
        let of = |stores: &Stores| lock(&stores.releases).applications().cloned().collect::<Vec<_>>();
        self.0.parts.iter().flat_map(|part| of(&part.stores)).collect()
    }

    /// The requests for a sync of an application, by name.
    pub fn sync_requests(&self, key: &OwnerKey) -> Vec<Arc<SyncRequest>> {
        self.of(key, |stores| &stores.sync_requests)
    }

    /// The requests for a rollback of an application, by name.
    pub fn rollback_requests(&self, key: &OwnerKey) -> Vec<Arc<RollbackRequest>> {
        self.of(key, |stores| &stores.rollback_requests)
    }

    /// The suspensions of an application, by name.
    pub fn suspensions(&self, key: &OwnerKey) -> Vec<Arc<Suspension>> {
        self.of(key, |stores| &stores.suspensions)
    }

    /// The objects about an application that cannot be read.
    pub fn unreadable(&self, key: &OwnerKey) -> Vec<Unreadable> {
        let Some(Part { stores, .. }) = self.part(key.namespace()) else { return Vec::new() };
        let mut all = lock(&stores.applications).unreadable_of(key);
        all.extend(lock(&stores.releases).unreadable_of(key));
        all.extend(lock(&stores.sync_requests).unreadable_of(key));
        all.extend(lock(&stores.rollback_requests).unreadable_of(key));
        all.extend(lock(&stores.suspensions).unreadable_of(key));
        all
    }

    fn part(&self, namespace: &str) -> Option<&Part> {
        self.0.parts.iter().find(|part| part.covers(namespace))
    }

    fn of<K: Kept>(&self, key: &OwnerKey, store: fn(&Stores) -> &Mutex<Store<K>>) -> Vec<Arc<K>> {
        self.part(key.namespace()).map(|part| lock(store(&part.stores)).of(key)).unwrap_or_default()
    }

    /// Takes the server's answer to a write of our own, so that it is known
    /// before its watch event comes. Objects of other kinds are not taken.
    pub fn record(&self, object: Value) {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let Some(Part { stores, .. }) = self.part(namespace) else { return };
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let changed = match kind {
            "Application" => lock(&stores.applications).record(object),
            "Release" => lock(&stores.releases).record(object),
            "SyncRequest" => lock(&stores.sync_requests).record(object),
            "RollbackRequest" => lock(&stores.rollback_requests).record(object),
            "Suspension" => lock(&stores.suspensions).record(object),
            _ => return,
        };
        self.0.told.announcer.announce(changed);
    }

    /// A write of our own was answered with this version of an object of a
    /// kind in a namespace: its watch is to tell of it.
    pub fn owe(&self, kind: &str, namespace: &str, version: u64) {
        let feeds = self.part(namespace).into_iter().flat_map(|part| &part.feeds);
        for feed in feeds.filter(|feed| feed.kind == kind) {
            feed.dues.owe(version);
        }
    }

    /// How the watches are doing.
    pub fn watches(&self) -> Vec<OwnWatchReport> {
        let report = |feed: &OneFeed| OwnWatchReport {
            kind: feed.kind.clone(),
            failure: lock(&feed.failure).clone(),
            age: feed.pulse.age(),
        };
        self.feeds().map(report).collect()
    }

    /// Tries failing watches again at once.
    pub fn retry(&self) {
        for feed in self.feeds() {
            feed.retry.notify_waiters();
        }
    }

    fn feeds(&self) -> impl Iterator<Item = &OneFeed> {
        self.0.parts.iter().flat_map(|part| &part.feeds)
    }
}

/// Where a watch looks, and what it tells.
struct Place<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    stores: &'a Arc<Stores>,
    told: &'a Arc<Told>,
}

fn follow<K: Kept>(place: &Place<'_>, store: fn(&Stores) -> &Mutex<Store<K>>) -> OneFeed {
    let namespace = place.namespace.map(str::to_owned);
    let target = Target { resource: ApiResource::erase::<K>(&()), namespace, labels: None };
    let kind = target.resource.kind.clone();
    let feed = Feed::new(place.client.clone(), target);
    let (pulse, retry, dues) = (feed.pulse(), feed.retry(), feed.dues());
    let failure: Arc<Mutex<Option<String>>> = Arc::default();
    let tell = {
        let (stores, told) = (place.stores.clone(), place.told.clone());
        let (failure, kind) = (failure.clone(), kind.clone());
        move |event| {
            let mut changed = BTreeSet::new();
            let mut listed = false;
            {
                let mut store = lock(store(&stores));
                match event {
                    FeedEvent::ListStarted => store.list_started(),
                    FeedEvent::Listed(object) => changed = store.listed(lean(object)),
                    FeedEvent::ListDone(version) => {
                        changed = store.list_done(version);
                        listed = true;
                        *lock(&failure) = None;
                    }
                    FeedEvent::Changed(object) => changed = store.changed(lean(object)),
                    FeedEvent::Deleted(object) => changed = store.deleted(&object),
                    FeedEvent::Alive(version) => store.alive(version),
                    FeedEvent::Resumed => *lock(&failure) = None,
                    FeedEvent::Failed(failed) if failed.attempt >= FAILING_AFTER => {
                        let known = lock(&failure).replace(failed.message.clone());
                        if known.as_ref() != Some(&failed.message) {
                            tracing::warn!(%kind, message = %failed.message, "cannot watch a kind of our own");
                        }
                    }
                    FeedEvent::Failed(_) => {}
                }
            }
            if listed {
                told.listed.send_replace(());
            }
            told.announcer.announce(changed);
        }
    };
    OneFeed { kind, task: tokio::spawn(feed.run(tell)), pulse, retry, dues, failure }
}

/// Without what is never read and would fill the memory.
fn lean(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_at(object: &Value, name: &str) -> Option<OwnerKey> {
    let namespace = object.pointer("/metadata/namespace")?.as_str()?;
    Some(OwnerKey::new(namespace, object.pointer(name)?.as_str()?))
}

macro_rules! kept {
    ($kind:ty, $pointer:literal, $object:ident => $name:expr) => {
        impl Kept for $kind {
            fn application(&self) -> OwnerKey {
                let $object = self;
                OwnerKey::new($object.metadata.namespace.as_deref().unwrap_or_default(), $name)
            }

            fn application_of(object: &Value) -> Option<OwnerKey> {
                key_at(object, $pointer)
            }
        }
    };
}

kept!(Application, "/metadata/name", object => object.metadata.name.as_deref().unwrap_or_default());
kept!(Release, "/spec/application", object => &object.spec.application);
kept!(SyncRequest, "/spec/applicationRef/name", object => &object.spec.application_ref.name);
kept!(RollbackRequest, "/spec/applicationRef/name", object => &object.spec.application_ref.name);
kept!(Suspension, "/spec/applicationRef/name", object => &object.spec.application_ref.name);
