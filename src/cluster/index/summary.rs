//! What the index knows of an application, held against what it should have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    BrokenReason, KindKey, KindStatus, Scope, State,
    state::{Entry, Kind},
};
use crate::{
    cluster::OwnerKey,
    health::{Health, HealthStatus},
    manifest::{GroupVersionKind, ObjectId},
    plan::Owned,
};

/// A kind whose watch does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenKind {
    /// Which.
    pub kind: KindKey,
    /// Why.
    pub reason: BrokenReason,
    /// What the server said.
    pub message: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// What is known of the objects of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSummary {
    /// Whether every kind in use is known or reported broken: before that no
    /// absence and no deadline is judged.
    pub in_sync: bool,
    /// Kinds whose watch does not work; their objects are Unknown.
    pub broken: Vec<BrokenKind>,
    /// Objects that differ from what was applied, or that somebody made anew.
    pub drifted: BTreeSet<ObjectId>,
    /// Objects that existed and do not any more.
    pub gone: BTreeSet<ObjectId>,
    /// Objects that are being deleted.
    pub deleting: BTreeSet<ObjectId>,
    /// Objects that keep a release from being healthy, with their reasons.
    pub unhealthy: BTreeMap<ObjectId, Health>,
    /// How many objects there are of each health.
    pub counts: BTreeMap<HealthStatus, u32>,
    /// Jobs that completed.
    pub done: BTreeSet<ObjectId>,
}

impl LiveSummary {
    /// The worst health of any object; Healthy where there is none.
    pub fn worst(&self) -> HealthStatus {
        self.counts.keys().next_back().copied().unwrap_or(HealthStatus::Healthy)
    }

    /// Whether all that is known lets a release be Healthy.
    pub fn lets_a_release_be_healthy(&self) -> bool {
        self.in_sync && self.unhealthy.is_empty()
    }
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveObject {
    /// uid.
    pub uid: String,
    /// resourceVersion.
    pub version: u64,
    /// Hash over the fields that its application owns.
    pub fingerprint: Option<crate::manifest::Fingerprint>,
    /// Its health.
    pub health: Health,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is a Job that completed.
    pub done: bool,
}

/// What a lookup of an object finds.
enum Found<'a> {
    /// Its kind is not known yet.
    NotYet,
    /// Its kind cannot be watched.
    Broken(&'a Arc<str>),
    /// Its kind is known, and there is no such object of the application.
    Absent,
    /// It is known; whether it was read under the current policy is said beside it.
    Entry(&'a Entry, bool),
}

impl State {
    /// Holds what is known of an application against the objects that it
    /// should have. Costs a lookup an object, whatever else the index holds.
    pub fn summary<'a>(
        &self,
        owner: &OwnerKey,
        expected: impl IntoIterator<Item = (&'a ObjectId, &'a Owned)>,
    ) -> LiveSummary {
        let mut summary = LiveSummary { in_sync: self.owners.contains_key(owner), ..LiveSummary::default() };
        for (key, kind) in &self.kinds {
            if !kind.wanted.contains_key(owner) {
                continue;
            }
            match &kind.status {
                KindStatus::Broken { reason, message, since } => summary.broken.push(BrokenKind {
                    kind: key.clone(),
                    reason: *reason,
                    message: message.clone(),
                    since: *since,
                }),
                KindStatus::InSync if self.is_read(kind, owner) => {}
                KindStatus::InSync | KindStatus::Syncing => summary.in_sync = false,
            }
        }
        summary.broken.sort_by(|left, right| left.kind.cmp(&right.kind));
        let mut place: Option<Place<'_, '_>> = None;
        for (id, owned) in expected {
            if owned.hook {
                continue;
            }
            // Neighbours are mostly of one kind and namespace.
            let place = match place {
                Some(last) if last.is_of(id, owned) => last,
                _ => *place.insert(self.place(owner, id, owned)),
            };
            let health = match place.find(owner, id) {
                Found::NotYet => {
                    summary.in_sync = false;
                    Health::new(HealthStatus::Unknown, "not read yet")
                }
                Found::Broken(message) => {
                    Health::new(HealthStatus::Unknown, format!("the kind cannot be watched: {message}"))
                }
                // It ran and was cleaned away.
                Found::Absent if owned.done => Health::healthy(),
                Found::Absent => {
                    if owned.uid.is_some() {
                        summary.gone.insert(id.clone());
                    }
                    Health::new(HealthStatus::Missing, "does not exist")
                }
                Found::Entry(entry, is_read) => {
                    if is_read && has_drifted(entry, owned) {
                        summary.drifted.insert(id.clone());
                    }
                    if entry.deleting {
                        summary.deleting.insert(id.clone());
                    }
                    if entry.done {
                        summary.done.insert(id.clone());
                    }
                    Health::new(entry.health, entry.reason.as_deref().unwrap_or_default())
                }
            };
            *summary.counts.entry(health.status).or_default() += 1;
            if !health.status.lets_a_release_be_healthy() {
                summary.unhealthy.insert(id.clone(), health);
            }
        }
        summary
    }

    /// What is known of one object of an application; `None` where nothing is.
    pub fn object(&self, owner: &OwnerKey, id: &ObjectId, owned: &Owned) -> Option<LiveObject> {
        match self.place(owner, id, owned).find(owner, id) {
            Found::Entry(entry, _) => Some(LiveObject {
                uid: entry.uid.to_string(),
                version: entry.version,
                fingerprint: entry.fingerprint.clone(),
                health: Health::new(entry.health, entry.reason.as_deref().unwrap_or_default()),
                deleting: entry.deleting,
                done: entry.done,
            }),
            Found::NotYet | Found::Broken(_) | Found::Absent => None,
        }
    }

    /// Where an object of an application would be known.
    fn place<'a>(&self, owner: &OwnerKey, id: &'a ObjectId, owned: &'a Owned) -> Place<'_, 'a> {
        let narrow = id.namespace.clone().map(Scope::Namespace);
        let kind = narrow
            .into_iter()
            .chain([Scope::Cluster])
            .find_map(|scope| self.kinds.get(&KindKey::new(owned.gvk.clone(), scope)));
        let kind = kind.map(|kind| (kind, self.is_read(kind, owner)));
        Place { gvk: &owned.gvk, namespace: id.namespace.as_deref(), kind }
    }

    /// Whether all objects of an owner in a kind were read under its current policy.
    fn is_read(&self, kind: &Kind, owner: &OwnerKey) -> bool {
        let current = self.owners.get(owner).map(|known| known.generation);
        current.is_some() && kind.wanted.get(owner).copied().flatten() == current
    }
}

/// The kind that an object is of, and whether all of its application's objects
/// were read under the current policy.
#[derive(Clone, Copy)]
struct Place<'s, 'a> {
    gvk: &'a GroupVersionKind,
    namespace: Option<&'a str>,
    kind: Option<(&'s Kind, bool)>,
}

impl<'s> Place<'s, '_> {
    fn is_of(&self, id: &ObjectId, owned: &Owned) -> bool {
        *self.gvk == owned.gvk && self.namespace == id.namespace.as_deref()
    }

    fn find(self, owner: &OwnerKey, id: &ObjectId) -> Found<'s> {
        let Some((kind, is_read)) = self.kind else { return Found::NotYet };
        if let KindStatus::Broken { message, .. } = &kind.status {
            return Found::Broken(message);
        }
        match kind.entries.get(id) {
            Some(entry) if entry.owner == *owner => Found::Entry(entry, is_read),
            _ if kind.status == KindStatus::InSync && is_read => Found::Absent,
            _ => Found::NotYet,
        }
    }
}

/// A missing fingerprint, or one of a scheme that this version does not know,
/// is found out by a dry-run: it is no drift.
fn has_drifted(entry: &Entry, owned: &Owned) -> bool {
    if owned.uid.as_deref().is_some_and(|uid| *uid != *entry.uid) {
        return true;
    }
    match &owned.fingerprint {
        Some(applied) if applied.is_current_scheme() => entry.fingerprint.as_ref() != Some(applied),
        _ => false,
    }
}
