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
    stores: Arc<Stores>,
    feeds: Vec<OneFeed>,
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
    announcer: Announcer,
    listed: watch::Sender<()>,
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
        for feed in &self.feeds {
            feed.task.abort();
        }
    }
}

impl OwnResources {
    /// Starts the watches: of one namespace, or of all.
    pub fn start(client: &Client, namespace: Option<&str>) -> Self {
        let stores = Arc::new(Stores::default());
        let feeds = vec![
            follow(client, namespace, &stores, |stores| &stores.applications),
            follow(client, namespace, &stores, |stores| &stores.releases),
            follow(client, namespace, &stores, |stores| &stores.sync_requests),
            follow(client, namespace, &stores, |stores| &stores.rollback_requests),
            follow(client, namespace, &stores, |stores| &stores.suspensions),
        ];
        Self(Arc::new(Shared { stores, feeds }))
    }

    /// Whether everything was listed once.
    pub fn is_ready(&self) -> bool {
        let stores = &self.0.stores;
        lock(&stores.applications).is_listed()
            && lock(&stores.releases).is_listed()
            && lock(&stores.sync_requests).is_listed()
            && lock(&stores.rollback_requests).is_listed()
            && lock(&stores.suspensions).is_listed()
    }

    /// Waits until everything was listed once.
    pub async fn ready(&self) {
        let mut listed = self.0.stores.listed.subscribe();
        while !self.is_ready() {
            if listed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells from now on for which applications something changed.
    pub fn changed(&self) -> Changes {
        self.0.stores.announcer.subscribe()
    }

    /// The applications that exist, those that cannot be read among them.
    pub fn applications(&self) -> BTreeSet<OwnerKey> {
        lock(&self.0.stores.applications).applications().cloned().collect()
    }

    /// How many applications exist.
    pub fn count(&self) -> usize {
        lock(&self.0.stores.applications).applications().count()
    }

    /// An application; `None` where there is none, or it cannot be read.
    pub fn application(&self, key: &OwnerKey) -> Option<Arc<Application>> {
        lock(&self.0.stores.applications).of(key).into_iter().next()
    }

    /// The releases of an application, by number.
    pub fn releases(&self, key: &OwnerKey) -> Vec<Arc<Release>> {
        let mut releases = lock(&self.0.stores.releases).of(key);
        releases.sort_by_key(|release| release.spec.number);
        releases
    }

    /// The applications that have releases, whether they exist or not.
    pub fn applications_with_releases(&self) -> BTreeSet<OwnerKey> {
        lock(&self.0.stores.releases).applications().cloned().collect()
    }

    /// The requests for a sync of an application, by name.
    pub fn sync_requests(&self, key: &OwnerKey) -> Vec<Arc<SyncRequest>> {
        lock(&self.0.stores.sync_requests).of(key)
    }

    /// The requests for a rollback of an application, by name.
    pub fn rollback_requests(&self, key: &OwnerKey) -> Vec<Arc<RollbackRequest>> {
        lock(&self.0.stores.rollback_requests).of(key)
    }

    /// The suspensions of an application, by name.
    pub fn suspensions(&self, key: &OwnerKey) -> Vec<Arc<Suspension>> {
        lock(&self.0.stores.suspensions).of(key)
    }

    /// The objects about an application that cannot be read.
    pub fn unreadable(&self, key: &OwnerKey) -> Vec<Unreadable> {
        let stores = &self.0.stores;
        let mut all = lock(&stores.applications).unreadable_of(key);
        all.extend(lock(&stores.releases).unreadable_of(key));
        all.extend(lock(&stores.sync_requests).unreadable_of(key));
        all.extend(lock(&stores.rollback_requests).unreadable_of(key));
        all.extend(lock(&stores.suspensions).unreadable_of(key));
        all
    }

    /// Takes the server's answer to a write of our own, so that it is known
    /// before its watch event comes. Objects of other kinds are not taken.
    pub fn record(&self, object: Value) {
        let stores = &self.0.stores;
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let changed = match kind {
            "Application" => lock(&stores.applications).record(object),
            "Release" => lock(&stores.releases).record(object),
            "SyncRequest" => lock(&stores.sync_requests).record(object),
            "RollbackRequest" => lock(&stores.rollback_requests).record(object),
            "Suspension" => lock(&stores.suspensions).record(object),
            _ => return,
        };
        stores.announcer.announce(changed);
    }

    /// A write of our own was answered with this version of an object of a
    /// kind: its watch is to tell of it.
    pub fn owe(&self, kind: &str, version: u64) {
        for feed in self.0.feeds.iter().filter(|feed| feed.kind == kind) {
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
        self.0.feeds.iter().map(report).collect()
    }

    /// Tries failing watches again at once.
    pub fn retry(&self) {
        for feed in &self.0.feeds {
            feed.retry.notify_waiters();
        }
    }
}

fn follow<K: Kept>(
    client: &Client,
    namespace: Option<&str>,
    stores: &Arc<Stores>,
    store: fn(&Stores) -> &Mutex<Store<K>>,
) -> OneFeed {
    let target =
        Target { resource: ApiResource::erase::<K>(&()), namespace: namespace.map(str::to_owned), labels: None };
    let kind = target.resource.kind.clone();
    let feed = Feed::new(client.clone(), target);
    let (pulse, retry, dues) = (feed.pulse(), feed.retry(), feed.dues());
    let failure: Arc<Mutex<Option<String>>> = Arc::default();
    let told = {
        let (stores, failure, kind) = (stores.clone(), failure.clone(), kind.clone());
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
                stores.listed.send_replace(());
            }
            stores.announcer.announce(changed);
        }
    };
    OneFeed { kind, task: tokio::spawn(feed.run(told)), pulse, retry, dues, failure }
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
