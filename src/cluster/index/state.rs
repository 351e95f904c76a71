//! The index as a pure structure: events in, owners that changed out.
//!
//! Everything hangs on one order, that of resourceVersions. A list says what
//! exists at its version; an event and an answer to a write say what one object
//! is at theirs; `Kind::version` is the version up to which a watch has told
//! everything. So whatever the order in which our own answers and the watch's
//! events arrive, the end is the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;

use super::sighting::{Assessed, FingerprintPolicy, Sighting};
use crate::{
    cluster::OwnerKey,
    health::HealthStatus,
    manifest::{Fingerprint, GroupVersionKind, ObjectId},
};

/// Where the objects of a watch are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere in the cluster, and cluster-scoped objects.
    Cluster,
    /// In one namespace, where rights are namespaced.
    Namespace(String),
}

/// What one watch is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindKey {
    /// Type, with the version that is read: ownership is recorded by version.
    pub gvk: GroupVersionKind,
    /// Where.
    pub scope: Scope,
}

impl KindKey {
    /// Makes a key.
    pub fn new(gvk: GroupVersionKind, scope: Scope) -> Self {
        Self { gvk, scope }
    }
}

impl fmt::Display for KindKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Cluster => write!(f, "{}", self.gvk.group_kind()),
            Scope::Namespace(namespace) => write!(f, "{} in {namespace}", self.gvk.group_kind()),
        }
    }
}

/// Why a watch does not work, a closed list for metrics and conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokenReason {
    /// The controller may not list or watch the kind.
    Forbidden,
    /// The kind is not served.
    NotServed,
    /// The kind is served and cannot be watched.
    NotWatchable,
    /// The server answers again and again with an error, or not in time: a
    /// conversion webhook, an aggregated API without its backend.
    ServerError,
}

impl BrokenReason {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::NotServed => "NotServed",
            Self::NotWatchable => "NotWatchable",
            Self::ServerError => "ServerError",
        }
    }
}

/// What a watch can be relied on for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindStatus {
    /// What exists is being read: nothing is judged.
    Syncing,
    /// Everything up to some moment ago is known.
    InSync,
    /// It does not work: its objects are Unknown and their absence is never judged.
    Broken {
        /// Why.
        reason: BrokenReason,
        /// What the server said.
        message: Arc<str>,
        /// Since when.
        since: Timestamp,
    },
}

/// What the index keeps of an object: no more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub owner: OwnerKey,
    pub uid: Box<str>,
    pub version: u64,
    pub fingerprint: Option<Fingerprint>,
    pub health: HealthStatus,
    pub reason: Option<Box<str>>,
    pub deleting: bool,
    pub done: bool,
}

/// The longest reason that is kept of an object's health, in bytes.
const REASON_MAX: usize = 512;

#[derive(Debug)]
pub(super) struct Kind {
    pub status: KindStatus,
    /// The version up to which the watch has told everything; `None` before the first list.
    version: Option<u64>,
    /// Objects that the list in progress has told so far.
    listing: Option<HashSet<ObjectId>>,
    pub entries: HashMap<ObjectId, Entry>,
    /// Who uses the kind, with the generation of the policy under which all
    /// of its objects were read; `None` before they were.
    pub wanted: BTreeMap<OwnerKey, Option<u64>>,
    /// Generations of the policies when the list in progress began.
    listing_under: HashMap<OwnerKey, u64>,
    /// While objects of some owners are read again: what went meanwhile, at which version.
    gone_meanwhile: Option<HashMap<ObjectId, u64>>,
}

/// Who tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A list or an event of the watch.
    Watch,
    /// The answer to a write of our own.
    OwnWrite,
    /// A list of some owners' objects beside the watch.
    ReadingAgain,
}

#[derive(Debug)]
pub(super) struct Owner {
    pub policy: Arc<FingerprintPolicy>,
    pub generation: u64,
}

/// The owners for whom something changed.
pub type Changed = BTreeSet<OwnerKey>;

/// An object with what was concluded from it, and under which policy.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What the object says.
    pub sighting: Sighting,
    /// What was concluded, with the generation of the policy; `None` where the
    /// object is of no application that the index knows.
    pub assessed: Option<(Assessed, u64)>,
}

/// An application whose objects of a kind have to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The application.
    pub owner: OwnerKey,
    /// The generation of its policy.
    pub generation: u64,
    /// The value of its set label.
    pub set: String,
}

/// A reading was made under a policy that is no longer the current one: read
/// the object again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated;

/// The index.
#[derive(Debug, Default)]
pub struct State {
    pub(super) kinds: HashMap<KindKey, Kind>,
    pub(super) owners: HashMap<OwnerKey, Owner>,
    generation: u64,
}

impl State {
    /// Sets how the objects of an application are read. What is known of them
    /// is read again where that is a change; true is returned then.
    pub fn set_policy(&mut self, owner: &OwnerKey, policy: FingerprintPolicy) -> bool {
        if self.owners.get(owner).is_some_and(|known| *known.policy == policy) {
            return false;
        }
        self.generation += 1;
        self.owners.insert(owner.clone(), Owner { policy: Arc::new(policy), generation: self.generation });
        true
    }

    /// Whether an application uses a kind.
    pub fn wants(&self, owner: &OwnerKey, key: &KindKey) -> bool {
        self.kinds.get(key).is_some_and(|kind| kind.wanted.contains_key(owner))
    }

    /// The applications whose objects are known, or will be.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerKey> {
        self.owners.keys()
    }

    /// Forgets an application. The kinds that nobody uses any more are returned.
    pub fn forget(&mut self, owner: &OwnerKey) -> Vec<KindKey> {
        let unused = self.want(owner, &BTreeSet::new());
        self.owners.remove(owner);
        for kind in self.kinds.values_mut() {
            kind.entries.retain(|_, entry| entry.owner != *owner);
        }
        unused
    }

    /// Sets which kinds an application uses. Kinds that are new begin as
    /// Syncing; those that nobody uses any more are forgotten and returned.
    pub fn want(&mut self, owner: &OwnerKey, kinds: &BTreeSet<KindKey>) -> Vec<KindKey> {
        for key in kinds {
            let kind = self.kinds.entry(key.clone()).or_insert_with(Kind::new);
            kind.wanted.entry(owner.clone()).or_insert(None);
        }
        let mut unused = Vec::new();
        self.kinds.retain(|key, kind| {
            if !kinds.contains(key) && kind.wanted.remove(owner).is_some() {
                kind.entries.retain(|_, entry| entry.owner != *owner);
            }
            let used = !kind.wanted.is_empty();
            if !used {
                unused.push(key.clone());
            }
            used
        });
        unused
    }

    /// The policy under which an object is to be read, with its generation:
    /// that of the application which the object names, if the object's set
    /// label is that application's.
    pub fn policy_for(&self, sighting: &Sighting) -> Option<(Arc<FingerprintPolicy>, u64)> {
        let owner = self.owners.get(sighting.owner.as_ref()?)?;
        (sighting.set.as_deref() == Some(owner.policy.membership.set.as_str()))
            .then(|| (owner.policy.clone(), owner.generation))
    }

    /// A list begins: what exists is told from the start.
    pub fn list_started(&mut self, key: &KindKey) -> Changed {
        let under = self.owners.iter().map(|(owner, known)| (owner.clone(), known.generation)).collect();
        let Some(kind) = self.kinds.get_mut(key) else { return Changed::new() };
        kind.listing = Some(HashSet::new());
        kind.listing_under = under;
        match kind.status {
            // A broken kind stays broken until its list is whole.
            KindStatus::Broken { .. } | KindStatus::Syncing => Changed::new(),
            KindStatus::InSync => kind.set_status(KindStatus::Syncing),
        }
    }

    /// The list tells an object.
    pub fn listed(&mut self, key: &KindKey, reading: Reading) -> Result<Changed, Outdated> {
        let id = reading.sighting.id(&key.gvk);
        let changed = self.put(key, &id, reading, Told::Watch)?;
        if let Some(listing) = self.kinds.get_mut(key).and_then(|kind| kind.listing.as_mut()) {
            listing.insert(id);
        }
        Ok(changed)
    }

    /// The list is whole. What it did not tell is gone, except what our own
    /// writes made after the list's version.
    pub fn list_done(&mut self, key: &KindKey, version: Option<u64>) -> Changed {
        let Some(kind) = self.kinds.get_mut(key) else { return Changed::new() };
        let listed = kind.listing.take().unwrap_or_default();
        kind.entries.retain(|id, entry| {
            listed.contains(id) || version.is_some_and(|version| version != 0 && entry.version > version)
        });
        kind.version = version;
        // What was being read again beside the watch is older than this list.
        kind.gone_meanwhile = None;
        let under = std::mem::take(&mut kind.listing_under);
        for (owner, fresh) in &mut kind.wanted {
            *fresh = under.get(owner).copied().or(*fresh);
        }
        kind.status = KindStatus::InSync;
        kind.wanted.keys().cloned().collect()
    }

    /// The watch tells that an object was made or changed.
    pub fn changed(&mut self, key: &KindKey, reading: Reading) -> Result<Changed, Outdated> {
        let version = reading.sighting.version;
        let id = reading.sighting.id(&key.gvk);
        let changed = self.put(key, &id, reading, Told::Watch)?;
        self.alive(key, version);
        Ok(changed)
    }

    /// The watch tells that an object is gone, or that it lost our label.
    pub fn deleted(&mut self, key: &KindKey, sighting: &Sighting) -> Changed {
        let Some(kind) = self.kinds.get_mut(key) else { return Changed::new() };
        let id = sighting.id(&key.gvk);
        let stale = |entry: &Entry| sighting.version != 0 && entry.version > sighting.version;
        let mut changed = Changed::new();
        if kind.entries.get(&id).is_some_and(|entry| !stale(entry))
            && let Some(entry) = kind.entries.remove(&id)
        {
            changed.insert(entry.owner);
        }
        if let Some(gone) = &mut kind.gone_meanwhile {
            gone.insert(id, sighting.version);
        }
        self.alive(key, sighting.version);
        changed
    }

    /// The watch has told everything up to a version.
    pub fn alive(&mut self, key: &KindKey, version: u64) {
        if let Some(kind) = self.kinds.get_mut(key)
            && let Some(known) = kind.version
        {
            kind.version = Some(known.max(version));
        }
    }

    /// The watch does not work.
    pub fn broken(&mut self, key: &KindKey, reason: BrokenReason, message: &str, now: Timestamp) -> Changed {
        let Some(kind) = self.kinds.get_mut(key) else { return Changed::new() };
        let since = match &kind.status {
            KindStatus::Broken { since, reason: known, message: said } => {
                if *known == reason && **said == *message {
                    return Changed::new();
                }
                *since
            }
            _ => now,
        };
        kind.set_status(KindStatus::Broken { reason, message: message.into(), since })
    }

    /// The watch is interrupted, and it is not known yet for how long: nothing
    /// is judged until it goes on.
    pub fn interrupted(&mut self, key: &KindKey) -> Changed {
        match self.kinds.get_mut(key) {
            Some(kind) if kind.status == KindStatus::InSync => kind.set_status(KindStatus::Syncing),
            _ => Changed::new(),
        }
    }

    /// A watch that was interrupted or broken goes on from where it was,
    /// without a list.
    pub fn resumed(&mut self, key: &KindKey) -> Changed {
        match self.kinds.get_mut(key) {
            Some(kind) if kind.version.is_some() && kind.listing.is_none() && kind.status != KindStatus::InSync => {
                kind.set_status(KindStatus::InSync)
            }
            _ => Changed::new(),
        }
    }

    /// The answer to a write of our own. It says what the object was at its
    /// version; what the watch has told up to a later one outranks it.
    pub fn record(&mut self, gvk: &GroupVersionKind, reading: &Reading) -> Result<Changed, Outdated> {
        let mut changed = Changed::new();
        for scope in [Scope::Namespace(reading.sighting.namespace.clone()), Scope::Cluster] {
            let key = KindKey::new(gvk.clone(), scope);
            if self.kinds.contains_key(&key) {
                let id = reading.sighting.id(&key.gvk);
                changed.extend(self.put(&key, &id, reading.clone(), Told::OwnWrite)?);
            }
        }
        Ok(changed)
    }

    /// Whose objects of a kind have to be read again.
    pub fn unread(&self, key: &KindKey) -> Vec<Unread> {
        let Some(kind) = self.kinds.get(key) else { return Vec::new() };
        if kind.status != KindStatus::InSync {
            return Vec::new();
        }
        kind.wanted
            .iter()
            .filter_map(|(owner, fresh)| {
                let known = self.owners.get(owner)?;
                (*fresh != Some(known.generation)).then(|| Unread {
                    owner: owner.clone(),
                    generation: known.generation,
                    set: known.policy.membership.set.clone(),
                })
            })
            .collect()
    }

    /// Objects of some owners are about to be listed beside the watch.
    pub fn reread_started(&mut self, key: &KindKey) {
        if let Some(kind) = self.kinds.get_mut(key) {
            kind.gone_meanwhile = Some(HashMap::new());
        }
    }

    /// The list beside the watch tells an object.
    pub fn reread(&mut self, key: &KindKey, reading: Reading) -> Result<Changed, Outdated> {
        let id = reading.sighting.id(&key.gvk);
        self.put(key, &id, reading, Told::ReadingAgain)
    }

    /// The list beside the watch, of these owners, is whole: what of theirs
    /// was not in it is gone.
    pub fn reread_done(
        &mut self,
        key: &KindKey,
        owners: &[Unread],
        listed: &HashSet<ObjectId>,
        version: Option<u64>,
    ) -> Changed {
        let Some(kind) = self.kinds.get_mut(key) else { return Changed::new() };
        if kind.gone_meanwhile.take().is_none() {
            return Changed::new();
        }
        let mut changed = Changed::new();
        for unread in owners {
            kind.entries.retain(|id, entry| {
                entry.owner != unread.owner
                    || listed.contains(id)
                    || version.is_some_and(|version| entry.version > version)
            });
            if let Some(fresh) = kind.wanted.get_mut(&unread.owner) {
                *fresh = Some(unread.generation);
                changed.insert(unread.owner.clone());
            }
        }
        changed
    }

    /// The status of all kinds in use.
    pub fn kinds(&self) -> impl Iterator<Item = (&KindKey, &KindStatus)> {
        self.kinds.iter().map(|(key, kind)| (key, &kind.status))
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.kinds.values().map(|kind| kind.entries.len()).sum()
    }

    /// Whether no object is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&mut self, key: &KindKey, id: &ObjectId, reading: Reading, told: Told) -> Result<Changed, Outdated> {
        let Reading { sighting, assessed } = reading;
        let current = self.policy_for(&sighting).map(|(_, generation)| generation);
        if current != assessed.as_ref().map(|(_, generation)| *generation) {
            return Err(Outdated);
        }
        let Some(kind) = self.kinds.get_mut(key) else { return Ok(Changed::new()) };
        let mut changed = Changed::new();
        let version = sighting.version;
        let outranked = match (kind.entries.get(id), told) {
            (Some(known), _) => version != 0 && version < known.version,
            // The watch has told what came after this write, and the object went.
            (None, Told::OwnWrite) => version != 0 && kind.version.is_some_and(|told| version <= told),
            (None, Told::ReadingAgain) => kind
                .gone_meanwhile
                .as_ref()
                .is_none_or(|gone| gone.get(id).is_some_and(|&gone| gone == 0 || version < gone)),
            (None, Told::Watch) => false,
        };
        if outranked {
            return Ok(changed);
        }
        let entry = assessed.zip(sighting.owner.as_ref()).map(|((assessed, _), owner)| Entry {
            // The key that the index has already is shared by all objects of the owner.
            owner: self.owners.get_key_value(owner).map_or_else(|| owner.clone(), |(owner, _)| owner.clone()),
            uid: sighting.uid.as_str().into(),
            version,
            fingerprint: assessed.fingerprint,
            health: assessed.health.status,
            reason: shortened(&assessed.health.reason),
            deleting: sighting.deleting,
            done: sighting.done,
        });
        match entry {
            Some(entry) => {
                let owner = entry.owner.clone();
                match kind.entries.get_mut(id) {
                    Some(known) => {
                        let same = Entry { version: known.version, ..entry.clone() } == *known;
                        if !same {
                            changed.insert(owner);
                            changed.insert(known.owner.clone());
                        }
                        *known = entry;
                    }
                    None => {
                        changed.insert(owner);
                        kind.entries.insert(id.clone(), entry);
                    }
                }
            }
            None => {
                if let Some(known) = kind.entries.remove(id) {
                    changed.insert(known.owner);
                }
                if let Some(gone) = &mut kind.gone_meanwhile {
                    gone.insert(id.clone(), version);
                }
            }
        }
        Ok(changed)
    }
}

impl Kind {
    fn new() -> Self {
        Self {
            status: KindStatus::Syncing,
            version: None,
            listing: None,
            entries: HashMap::new(),
            wanted: BTreeMap::new(),
            listing_under: HashMap::new(),
            gone_meanwhile: None,
        }
    }

    fn set_status(&mut self, status: KindStatus) -> Changed {
        self.status = status;
        self.wanted.keys().cloned().collect()
    }
}

fn shortened(reason: &str) -> Option<Box<str>> {
    let end = (0..=REASON_MAX.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    (end > 0).then(|| reason[..end].into())
}
