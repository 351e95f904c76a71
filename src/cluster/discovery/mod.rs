//! Which kinds the cluster serves, and where.
//!
//! The answer is read once, kept, and read again only on demand: when a kind
//! is missing from it, at most every few seconds, or when the caller says that
//! a CustomResourceDefinition changed. An idle controller discovers nothing.
//!
//! A kind is [`Absent`](Resolution::Absent) only if its own group and version
//! was asked for directly and does not have it. A group whose discovery failed
//! (the APIService of a dead backend) is [`Unknown`](Resolution::Unknown).

mod direct;
mod snapshot;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use kube::discovery::ApiResource;
use snapshot::Snapshot;
use tokio::time::Instant;

use super::{RequestError, client::Patience};
use crate::manifest::{GroupKind, GroupVersionKind};

/// An answer that lacks a kind is believed for so long.
const RECHECK: Duration = Duration::from_secs(3);

/// A kind as the cluster serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    /// Group, version, kind and the plural name of its path.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it: `get`, `list`, `watch`, `patch` and so on.
    pub verbs: Vec<String>,
    /// Whether it has the subresource `status`.
    pub has_status: bool,
}

impl ServedKind {
    /// Its type.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.resource.group, &self.resource.version, &self.resource.kind)
    }

    /// Whether a verb is served: aggregated APIs may lack some.
    pub fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|served| served == verb)
    }
}

/// What became of the question for a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is served.
    Served(ServedKind),
    /// It is certain that it is not served.
    Absent,
    /// It could not be found out, for this reason. Never taken for absence.
    Unknown(String),
}

/// What the cluster serves, as far as it was asked.
pub struct Discovery {
    client: kube::Client,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    /// One question at a time: many objects miss the same kind at once.
    asking: tokio::sync::Mutex<()>,
    asked_directly: Mutex<HashMap<(String, String), Instant>>,
    /// The last failure: who waited meanwhile need not ask in vain again.
    failed: Mutex<Option<(Instant, RequestError)>>,
}

/// Which kinds are namespaced, as it was known at one moment.
#[derive(Clone)]
pub struct Scopes(Arc<Snapshot>);

impl Scopes {
    /// Whether the objects of a kind live in namespaces; `None` where the kind
    /// is not known.
    pub fn namespaced(&self, group_kind: &GroupKind) -> Option<bool> {
        self.0.preferred(group_kind).map(|served| served.namespaced)
    }

    /// Why the kinds of a group could not be found out, if so.
    pub fn doubt(&self, group: &str) -> Option<&str> {
        self.0.doubt(group)
    }
}

impl Discovery {
    /// Discovery by a client. Nothing is asked yet.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            snapshot: RwLock::new(None),
            asking: tokio::sync::Mutex::new(()),
            asked_directly: Mutex::new(HashMap::new()),
            failed: Mutex::new(None),
        }
    }

    /// Forgets what is known: the next question is answered afresh. To be
    /// called when a CustomResourceDefinition or an APIService changed.
    pub fn invalidate(&self) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.asked_directly.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes sure that something is known, without a request if it is.
    pub async fn ensure(&self) -> Result<(), RequestError> {
        self.fresh(None).await.map(drop)
    }

    /// How a type is served.
    pub async fn resolve(&self, gvk: &GroupVersionKind) -> Resolution {
        let mut snapshot = match self.fresh(None).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Resolution::Unknown(format!("discovery failed: {error}")),
        };
        if let Some(served) = snapshot.kind(gvk) {
            return Resolution::Served(served.clone());
        }
        if snapshot.taken.elapsed() > RECHECK {
            snapshot = match self.fresh(Some(snapshot.taken)).await {
                Ok(snapshot) => snapshot,
                Err(error) => return Resolution::Unknown(format!("discovery failed: {error}")),
            };
            if let Some(served) = snapshot.kind(gvk) {
                return Resolution::Served(served.clone());
            }
        }
        self.resolve_directly(gvk).await
    }

    /// How a kind is served in the version that the server prefers.
    pub async fn resolve_group_kind(&self, group_kind: &GroupKind) -> Resolution {
        let mut snapshot = match self.fresh(None).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Resolution::Unknown(format!("discovery failed: {error}")),
        };
        if let Some(served) = snapshot.preferred(group_kind) {
            return Resolution::Served(served.clone());
        }
        if snapshot.taken.elapsed() > RECHECK {
            snapshot = match self.fresh(Some(snapshot.taken)).await {
                Ok(snapshot) => snapshot,
                Err(error) => return Resolution::Unknown(format!("discovery failed: {error}")),
            };
            if let Some(served) = snapshot.preferred(group_kind) {
                return Resolution::Served(served.clone());
            }
        }
        if let Some(reason) = snapshot.doubt(&group_kind.group) {
            return Resolution::Unknown(reason.to_owned());
        }
        match direct::versions(&self.client, &group_kind.group).await {
            Ok(versions) => {
                for version in versions {
                    let gvk = GroupVersionKind::new(&group_kind.group, version, &group_kind.kind);
                    match self.resolve_directly(&gvk).await {
                        Resolution::Absent => {}
                        found => return found,
                    }
                }
                Resolution::Absent
            }
            Err(error) => Resolution::Unknown(format!("discovery of group {} failed: {error}", group_kind.group)),
        }
    }

    /// Whether the objects of a kind live in namespaces, as far as is known
    /// now; [`ensure`](Self::ensure) first, and [`resolve_group_kind`](Self::resolve_group_kind)
    /// for a kind that is not known.
    pub fn scope(&self, group_kind: &GroupKind) -> Option<bool> {
        let snapshot = self.known()?;
        snapshot.preferred(group_kind).map(|served| served.namespaced)
    }

    /// What is known at one moment, whatever is found out or forgotten later.
    pub async fn scopes(&self) -> Result<Scopes, RequestError> {
        self.fresh(None).await.map(Scopes)
    }

    /// All kinds that are known now, in no particular order.
    pub fn kinds(&self) -> Vec<ServedKind> {
        self.known().map(|snapshot| snapshot.kinds().cloned().collect()).unwrap_or_default()
    }

    /// The groups whose discovery failed, with the reason.
    pub fn doubts(&self) -> Vec<(String, String)> {
        self.known().map(|snapshot| snapshot.doubts()).unwrap_or_default()
    }

    fn known(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known, read anew if nothing is, or nothing newer than `than`.
    async fn fresh(&self, than: Option<Instant>) -> Result<Arc<Snapshot>, RequestError> {
        let good = |snapshot: &Arc<Snapshot>| than.is_none_or(|than| snapshot.taken > than);
        if let Some(snapshot) = self.known().filter(good) {
            return Ok(snapshot);
        }
        let began = Instant::now();
        let _asking = self.asking.lock().await;
        // Somebody may have asked while we waited.
        if let Some(snapshot) = self.known().filter(good) {
            return Ok(snapshot);
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, error)) = failed.filter(|(at, _)| *at >= began) {
            return Err(error);
        }
        let mut patience = Patience::new();
        loop {
            match snapshot::take(&self.client).await {
                Ok(snapshot) => {
                    let snapshot = Arc::new(snapshot);
                    *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
                    return Ok(snapshot);
                }
                Err(error) if error.is_worth_a_retry() && patience.pause(&error).await => {}
                Err(error) => {
                    let failure = Some((Instant::now(), error.clone()));
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failure;
                    return Err(error);
                }
            }
        }
    }

    /// Asks the group and version itself. The aggregated document lags behind
    /// a new CustomResourceDefinition by a second or more.
    async fn resolve_directly(&self, gvk: &GroupVersionKind) -> Resolution {
        let _asking = self.asking.lock().await;
        if let Some(served) = self.known().and_then(|snapshot| snapshot.kind(gvk).cloned()) {
            return Resolution::Served(served);
        }
        let key = (gvk.group.clone(), gvk.version.clone());
        let asked = self.asked_directly.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if asked.is_some_and(|at| at.elapsed() < RECHECK) {
            return Resolution::Absent;
        }
        match direct::kinds(&self.client, &gvk.group, &gvk.version).await {
            Ok(kinds) => {
                if let Some(known) = self.known() {
                    let merged = Arc::new(known.with(kinds));
                    let found = merged.kind(gvk).cloned();
                    *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(merged);
                    if let Some(found) = found {
                        return Resolution::Served(found);
                    }
                } else if let Some(found) = kinds.into_iter().find(|served| served.gvk() == *gvk) {
                    return Resolution::Served(found);
                }
                // Only a certain absence is remembered.
                self.asked_directly.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Instant::now());
                Resolution::Absent
            }
            Err(error) => Resolution::Unknown(format!("discovery of {} failed: {error}", gvk.api_version())),
        }
    }
}
