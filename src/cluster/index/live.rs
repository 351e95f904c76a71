//! The index with its watches: what the pure state is told, and by whom.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    Assess, Assessed, BrokenReason, Changed, FingerprintPolicy, KindKey, KindStatus, LiveObject, LiveSummary, Outdated,
    Reading, Scope, Sighting, State, Subject, Unread, sighting::type_of,
};
use crate::{
    api::SET_LABEL,
    cluster::{
        OwnerKey,
        discovery::ServedKind,
        watch::{Announcer, Changes, Dues, Failure, FailureClass, Feed, FeedEvent, Pulse, Target, list_pages},
    },
    health::{Health, HealthStatus},
    manifest::{GroupVersionKind, ObjectId},
    plan::Owned,
};

/// Applications that are read again at once are read by one list.
const GATHER: Duration = Duration::from_millis(20);
/// How many applications a label selector names; more are read by one list of all.
const SELECTOR_MAX: usize = 40;
/// After so many failures in a row a server's error is no interruption.
const BROKEN_AFTER: u32 = 3;
/// A refusal is believed when it was said twice: a server that starts says a
/// few that it does not mean.
const REFUSED_AFTER: u32 = 2;

/// The live index of one cluster. Clones are the same index.
#[derive(Clone)]
pub struct LiveIndex(Arc<Shared>);

struct Shared {
    client: Client,
    assess: Box<Assess>,
    held: Mutex<Held>,
    announcer: Announcer,
}

#[derive(Default)]
struct Held {
    state: State,
    watches: HashMap<KindKey, Watch>,
    /// How many watches were begun: the number of the newest.
    watches_begun: u64,
}

impl Held {
    fn watch_of(&self, gvk: &GroupVersionKind, namespace: &str) -> Option<&Watch> {
        [Scope::Namespace(namespace.to_owned()), Scope::Cluster]
            .into_iter()
            .find_map(|scope| self.watches.get(&KindKey::new(gvk.clone(), scope)))
    }

    fn has_status(&self, gvk: &GroupVersionKind, namespace: &str) -> Option<bool> {
        self.watch_of(gvk, namespace).map(|watch| watch.has_status)
    }
}

/// The tasks of one kind; they end when this is dropped.
struct Watch {
    tasks: [JoinHandle<()>; 2],
    number: u64,
    /// Whether the kind has a status.
    has_status: bool,
    reread: Arc<Notify>,
    retry: Arc<Notify>,
    dues: Arc<Dues>,
    pulse: Pulse,
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A kind that an application uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// It is served, and watched there.
    Served(ServedKind, Scope),
    /// It cannot be watched now.
    Unserved {
        /// Its type.
        gvk: GroupVersionKind,
        /// Where its objects would be.
        scope: Scope,
        /// Why: `NotServed`, or `ServerError` where it could not be found out.
        reason: BrokenReason,
        /// What was said.
        message: String,
    },
}

impl Wanted {
    fn key(&self) -> KindKey {
        match self {
            Self::Served(served, scope) => KindKey::new(served.gvk(), scope.clone()),
            Self::Unserved { gvk, scope, .. } => KindKey::new(gvk.clone(), scope.clone()),
        }
    }
}

/// How a kind's watch is doing.
#[derive(Debug, Clone)]
pub struct WatchReport {
    /// Which.
    pub kind: KindKey,
    /// What it can be relied on for.
    pub status: KindStatus,
    /// How long ago it was last heard of; none where it was never asked.
    pub age: Option<Duration>,
}

impl LiveIndex {
    /// An index that watches nothing yet. `assess` reads one object and must
    /// not block.
    pub fn new(client: Client, assess: impl Fn(&Subject<'_>) -> Assessed + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            client,
            assess: Box::new(assess),
            held: Mutex::default(),
            announcer: Announcer::default(),
        }))
    }

    /// Sets how the objects of an application are read, before
    /// [`LiveIndex::ensure`] of its kinds. Where that is a change, its objects
    /// are read again by a list of them beside the watches, which go on; until
    /// then the application is not in sync and nothing of it is judged.
    pub fn set_policy(&self, owner: &OwnerKey, policy: FingerprintPolicy) {
        let held = &mut *self.0.held();
        if held.state.set_policy(owner, policy) {
            for (key, watch) in &held.watches {
                if !held.state.unread(key).is_empty() {
                    watch.reread.notify_one();
                }
            }
        }
    }

    /// Sets which kinds an application uses, all of them served: see
    /// [`LiveIndex::ensure_all`].
    pub fn ensure(&self, owner: &OwnerKey, kinds: impl IntoIterator<Item = (ServedKind, Scope)>) {
        self.ensure_all(owner, kinds.into_iter().map(|(kind, scope)| Wanted::Served(kind, scope)));
    }

    /// Sets which kinds an application uses: watches that are missing start,
    /// those that nobody uses any more end. A kind that is not served is broken
    /// until it is handed over as served: without a word of it the objects of
    /// that kind would be awaited for ever.
    pub fn ensure_all(&self, owner: &OwnerKey, kinds: impl IntoIterator<Item = Wanted>) {
        let kinds: HashMap<KindKey, Wanted> = kinds.into_iter().map(|wanted| (wanted.key(), wanted)).collect();
        let held = &mut *self.0.held();
        for unused in held.state.want(owner, &kinds.keys().cloned().collect()) {
            held.watches.remove(&unused);
        }
        let mut changed = Changed::new();
        for (key, wanted) in kinds {
            if let Some(watch) = held.watches.get(&key) {
                // A watch that runs knows better than discovery whether it does.
                if !held.state.unread(&key).is_empty() {
                    watch.reread.notify_one();
                }
                continue;
            }
            let (reason, message) = match wanted {
                Wanted::Served(served, _) if !served.verbs.is_empty() && !served.supports("watch") => {
                    (BrokenReason::NotWatchable, "the API that serves it has no watch".to_owned())
                }
                Wanted::Served(served, _) => {
                    held.watches_begun += 1;
                    let watch = Shared::watch(&self.0, key.clone(), served, held.watches_begun);
                    held.watches.insert(key, watch);
                    continue;
                }
                Wanted::Unserved { reason, message, .. } => (reason, message),
            };
            changed.extend(held.state.broken(&key, reason, &message, Timestamp::now()));
        }
        self.0.announcer.announce(changed);
    }

    /// Forgets an application; watches that nobody uses any more end.
    pub fn release(&self, owner: &OwnerKey) {
        let held = &mut *self.0.held();
        for unused in held.state.forget(owner) {
            held.watches.remove(&unused);
        }
    }

    /// Forgets the applications that are not to be kept.
    pub fn retain(&self, keep: impl Fn(&OwnerKey) -> bool) {
        let others: Vec<OwnerKey> = self.0.held().state.owners().filter(|owner| !keep(owner)).cloned().collect();
        for owner in others {
            self.release(&owner);
        }
    }

    /// Takes the server's answer to a write of our own, so that it is known
    /// before its watch event comes, and older events say nothing.
    pub fn record(&self, object: &Value) {
        if let Some(gvk) = type_of(object) {
            self.0.tell(object, |state, reading| state.record(&gvk, &reading));
            let at = |name: &str| object.pointer(name).and_then(Value::as_str);
            if let Some(version) = at("/metadata/resourceVersion").and_then(|version| version.parse().ok()) {
                let namespace = at("/metadata/namespace").unwrap_or_default();
                if let Some(watch) = self.0.held().watch_of(&gvk, namespace) {
                    watch.dues.owe(version);
                }
            }
        }
    }

    /// Begins the watches of an application's kinds anew, from where they are:
    /// one of them tells nothing any more.
    pub fn renew(&self, owner: &OwnerKey) {
        let held = self.0.held();
        for (key, watch) in &held.watches {
            if held.state.wants(owner, key) {
                watch.dues.renew();
            }
        }
    }

    /// Holds what is known of an application against what it should have.
    pub fn summary<'a>(
        &self,
        owner: &OwnerKey,
        expected: impl IntoIterator<Item = (&'a ObjectId, &'a Owned)>,
    ) -> LiveSummary {
        self.0.held().state.summary(owner, expected)
    }

    /// What is known of one object of an application.
    pub fn object(&self, owner: &OwnerKey, id: &ObjectId, owned: &Owned) -> Option<LiveObject> {
        self.0.held().state.object(owner, id, owned)
    }

    /// Tells from now on for which applications something changed.
    pub fn subscribe(&self) -> Changes {
        self.0.announcer.subscribe()
    }

    /// How every watch is doing, by kind.
    pub fn watches(&self) -> Vec<WatchReport> {
        let held = self.0.held();
        let mut reports: Vec<_> = held
            .state
            .kinds()
            .map(|(kind, status)| {
                let age = held.watches.get(kind).map(|watch| watch.pulse.age());
                WatchReport { kind: kind.clone(), status: status.clone(), age }
            })
            .collect();
        reports.sort_by(|left, right| left.kind.cmp(&right.kind));
        reports
    }

    /// Tries broken watches again at once: rights or kinds have changed.
    pub fn retry_broken(&self) {
        for watch in self.0.held().watches.values() {
            watch.retry.notify_waiters();
        }
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.0.held().state.len()
    }

    /// Whether no object is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(shared: &Arc<Self>, key: KindKey, served: ServedKind, number: u64) -> Watch {
        let ServedKind { resource, has_status, .. } = served;
        let namespace = match &key.scope {
            Scope::Cluster => None,
            Scope::Namespace(namespace) => Some(namespace.clone()),
        };
        let target = Target { resource, namespace, labels: Some(SET_LABEL.to_owned()) };
        let reread = Arc::new(Notify::new());
        let feed = Feed::new(shared.client.clone(), target.clone());
        let (pulse, retry, dues) = (feed.pulse(), feed.retry(), feed.dues());
        // The tasks hold the index weakly: they end with it, and do not keep it.
        let weak = Arc::downgrade(shared);
        let told = {
            let (weak, key, reread) = (weak.clone(), key.clone(), reread.clone());
            move |event| {
                // What a watch says that was replaced meanwhile is not heard.
                if let Some(shared) = weak.upgrade()
                    && shared.held().watches.get(&key).is_some_and(|watch| watch.number == number)
                {
                    shared.handle(&key, event, &reread);
                }
            }
        };
        let following = tokio::spawn(feed.run(told));
        let rereading = tokio::spawn({
            let (reread, client) = (reread.clone(), shared.client.clone());
            async move {
                loop {
                    reread.notified().await;
                    tokio::time::sleep(GATHER).await;
                    let mut attempt = 0;
                    while let Some(unread) = weak.upgrade().and_then(|shared| shared.unread(&key)) {
                        if !read_again(&weak, &client, &key, &target, &unread).await {
                            attempt += 1;
                            tokio::time::sleep(Duration::from_secs(1 << attempt.min(5))).await;
                        }
                    }
                }
            }
        });
        Watch { tasks: [following, rereading], number, has_status, reread, retry, dues, pulse }
    }

    fn unread(&self, key: &KindKey) -> Option<Vec<Unread>> {
        let unread = self.held().state.unread(key);
        (!unread.is_empty()).then_some(unread)
    }

    fn handle(&self, key: &KindKey, event: FeedEvent, reread: &Notify) {
        let changed = match event {
            FeedEvent::ListStarted => self.held().state.list_started(key),
            FeedEvent::Listed(object) => return self.tell(&object, |state, reading| state.listed(key, reading)),
            FeedEvent::ListDone(version) => self.held().state.list_done(key, version),
            FeedEvent::Changed(object) => return self.tell(&object, |state, reading| state.changed(key, reading)),
            FeedEvent::Deleted(object) => match Sighting::read(&object) {
                Some(sighting) => self.held().state.deleted(key, &sighting),
                None => Changed::new(),
            },
            FeedEvent::Alive(version) => {
                self.held().state.alive(key, version);
                return;
            }
            FeedEvent::Resumed => self.held().state.resumed(key),
            FeedEvent::Failed(failure) => self.failed(key, &failure),
        };
        if !self.held().state.unread(key).is_empty() {
            reread.notify_one();
        }
        self.announcer.announce(changed);
    }

    fn failed(&self, key: &KindKey, failure: &Failure) -> Changed {
        let (reason, after) = match failure.class {
            FailureClass::Forbidden => (BrokenReason::Forbidden, REFUSED_AFTER),
            FailureClass::NotServed => (BrokenReason::NotServed, REFUSED_AFTER),
            FailureClass::NotWatchable => (BrokenReason::NotWatchable, REFUSED_AFTER),
            FailureClass::ServerError => (BrokenReason::ServerError, BROKEN_AFTER),
            // Without a server nothing is known of any kind: that breaks none of them.
            FailureClass::Unreachable => (BrokenReason::ServerError, u32::MAX),
        };
        let state = &mut self.held().state;
        if failure.attempt < after {
            return state.interrupted(key);
        }
        let changed = state.broken(key, reason, &failure.message, Timestamp::now());
        if !changed.is_empty() {
            tracing::warn!(kind = %key, reason = reason.as_str(), message = %failure.message, "cannot watch a kind");
        }
        changed
    }

    /// Reads an object outside of the lock and tells the state of it, again if
    /// the policy changed meanwhile.
    fn tell(&self, object: &Value, mut tell: impl FnMut(&mut State, Reading) -> Result<Changed, Outdated>) {
        let Some(sighting) = Sighting::read(object) else {
            tracing::warn!("the server sent an object without a name");
            return;
        };
        let gvk = type_of(object);
        loop {
            let (policy, has_status) = {
                let held = self.held();
                let has_status = gvk.as_ref().and_then(|gvk| held.has_status(gvk, &sighting.namespace));
                (held.state.policy_for(&sighting), has_status)
            };
            let assessed = policy.zip(sighting.owner.as_ref()).map(|((policy, generation), owner)| {
                (self.assess(&Subject { object, owner, policy: &policy, has_status }), generation)
            });
            let told = tell(&mut self.held().state, Reading { sighting: sighting.clone(), assessed });
            if let Ok(changed) = told {
                self.announcer.announce(changed);
                return;
            }
        }
    }

    /// A rule that fails on one object does not end the watch of its kind.
    fn assess(&self, subject: &Subject<'_>) -> Assessed {
        catch_unwind(AssertUnwindSafe(|| (self.assess)(subject))).unwrap_or_else(|_| {
            tracing::error!(application = %subject.owner, "a rule failed on an object");
            Assessed { fingerprint: None, health: Health::new(HealthStatus::Unknown, "its rule failed") }
        })
    }
}

/// Lists the objects of some applications beside the watch; false if that failed.
async fn read_again(
    weak: &std::sync::Weak<Shared>,
    client: &Client,
    key: &KindKey,
    target: &Target,
    unread: &[Unread],
) -> bool {
    let sets: BTreeSet<&str> = unread.iter().map(|unread| unread.set.as_str()).collect();
    let labels = if sets.len() <= SELECTOR_MAX {
        format!("{SET_LABEL} in ({})", sets.into_iter().collect::<Vec<_>>().join(","))
    } else {
        SET_LABEL.to_owned()
    };
    let target = Target { labels: Some(labels), ..target.clone() };
    if let Some(shared) = weak.upgrade() {
        shared.held().state.reread_started(key);
    }
    let mut listed = HashSet::new();
    let version = list_pages(client, &target, |object| {
        if let (Some(shared), Some(sighting)) = (weak.upgrade(), Sighting::read(&object)) {
            listed.insert(sighting.id(&key.gvk));
            shared.tell(&object, |state, reading| state.reread(key, reading));
        }
    })
    .await;
    match version {
        Ok(version) => {
            if let Some(shared) = weak.upgrade() {
                let changed = shared.held().state.reread_done(key, unread, &listed, version.parse().ok());
                shared.announcer.announce(changed);
            }
            true
        }
        Err(error) => {
            tracing::warn!(kind = %key, error = %error, "cannot read the objects of an application again");
            false
        }
    }
}
