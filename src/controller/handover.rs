//! Which application wants which object, so that an object that moves from one
//! to another is handed over and never deleted in between.
//!
//! Each application says here what its head renders. Before one deletes what
//! its head no longer has, it looks whether the head of another has it now, and
//! lets go of it instead; the other may then take it, though it still carries
//! the marks of the first. After a restart it is empty: until an application has
//! looked at its head, nobody knows what it wants, and deletions wait a while.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::poller::Asked;
use crate::{
    cluster::OwnerKey,
    manifest::{Manifest, ObjectId},
};

/// What an application's head says.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Where the head is.
    pub(super) asked: Asked,
    /// The commit that was looked at last, whatever came of it.
    pub(super) commit: String,
    /// What was rendered last; none while nothing was.
    pub(super) manifests: Option<Arc<[Arc<Manifest>]>>,
    /// Whether what the head says is carried out without a person.
    pub(super) automatic: bool,
    /// Wakes the application's task.
    pub(super) wake: Arc<Notify>,
}

#[derive(Debug)]
struct Entry {
    wish: Wish,
    /// Objects that it let go of for others to take.
    released: BTreeSet<ObjectId>,
    /// Whether somebody let go of an object for it since it looked last.
    offered: bool,
    /// Whether its repository can be read.
    readable: bool,
}

/// What all applications want.
#[derive(Debug, Default)]
pub(super) struct Handover {
    entries: Mutex<HashMap<OwnerKey, Entry>>,
    /// Who has looked at its repository, whatever came of it.
    looked: Mutex<BTreeSet<OwnerKey>>,
}

impl Handover {
    /// Takes in what the head of an application says. A head that cannot be
    /// rendered leaves what was known of it.
    pub(super) fn note(&self, owner: &OwnerKey, wish: Wish) {
        self.looked().insert(owner.clone());
        let mut entries = self.entries();
        match entries.get_mut(owner) {
            Some(entry) => {
                let manifests = wish.manifests.clone().or_else(|| entry.wish.manifests.take());
                entry.wish = Wish { manifests, ..wish };
                entry.readable = true;
                let wanted = |id: &ObjectId| wants(&entry.wish, id) == Some(true);
                entry.released.retain(|id| !wanted(id));
            }
            None => {
                entries
                    .insert(owner.clone(), Entry { wish, released: BTreeSet::new(), offered: false, readable: true });
            }
        }
    }

    /// An application cannot read its repository: nobody waits for it to look.
    pub(super) fn cannot_read(&self, owner: &OwnerKey) {
        self.looked().insert(owner.clone());
        if let Some(entry) = self.entries().get_mut(owner) {
            entry.readable = false;
        }
    }

    /// Forgets an application.
    pub(super) fn forget(&self, owner: &OwnerKey) {
        self.entries().remove(owner);
        self.looked().remove(owner);
    }

    /// Whether an application has looked at its repository since the start.
    pub(super) fn has_looked(&self, owner: &OwnerKey) -> bool {
        self.looked().contains(owner)
    }

    /// The applications of the same revision of the same repository that have
    /// not looked at this commit yet: what it moved to them is not known.
    pub(super) fn behind(&self, owner: &OwnerKey) -> Vec<OwnerKey> {
        let entries = self.entries();
        let Some(own) = entries.get(owner).map(|entry| &entry.wish) else { return Vec::new() };
        let same = |wish: &Wish| wish.asked.url == own.asked.url && wish.asked.revision == own.asked.revision;
        let others = entries.iter().filter(|(other, _)| *other != owner);
        let mut behind: Vec<OwnerKey> = others
            .filter(|(_, entry)| entry.readable && same(&entry.wish) && entry.wish.commit != own.commit)
            .map(|(other, _)| other.clone())
            .collect();
        behind.sort();
        behind
    }

    /// Which of these objects the heads of others have, and whose.
    pub(super) fn elsewhere(&self, owner: &OwnerKey, ids: &BTreeSet<ObjectId>) -> BTreeMap<ObjectId, OwnerKey> {
        let mut found = BTreeMap::new();
        if ids.is_empty() {
            return found;
        }
        for (other, entry) in self.entries().iter().filter(|(other, _)| *other != owner) {
            for manifest in entry.wish.manifests.iter().flat_map(|manifests| manifests.iter()) {
                if ids.contains(&manifest.id) {
                    found.insert(manifest.id.clone(), other.clone());
                }
            }
        }
        found
    }

    /// Whether an application has given an object up: its head does not have
    /// it, and that is carried out by itself or was already.
    pub(super) fn has_given_up(&self, owner: &OwnerKey, id: &ObjectId) -> bool {
        let entries = self.entries();
        let Some(entry) = entries.get(owner) else { return false };
        let unwanted = wants(&entry.wish, id) == Some(false);
        unwanted && (entry.wish.automatic || entry.released.contains(id))
    }

    /// Lets go of an object for another to take, and wakes that one.
    pub(super) fn release(&self, owner: &OwnerKey, id: &ObjectId, to: &OwnerKey) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(owner) {
            entry.released.insert(id.clone());
        }
        if let Some(entry) = entries.get_mut(to) {
            entry.offered = true;
            entry.wish.wake.notify_one();
        }
    }

    /// Whether something was let go of for this application since it was asked
    /// last: what was refused may be tried again.
    pub(super) fn take_offer(&self, owner: &OwnerKey) -> bool {
        self.entries().get_mut(owner).is_some_and(|entry| std::mem::take(&mut entry.offered))
    }

    fn looked(&self) -> MutexGuard<'_, BTreeSet<OwnerKey>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<OwnerKey, Entry>> {
        // Each entry is whole at any time.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a head has an object, if that is known.
fn wants(wish: &Wish, id: &ObjectId) -> Option<bool> {
    Some(wish.manifests.as_ref()?.iter().any(|manifest| manifest.id == *id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::{Digest, GroupVersionKind, ManifestDigest};

    fn owner(name: &str) -> OwnerKey {
        OwnerKey::new("team", name)
    }

    fn manifest(name: &str) -> Arc<Manifest> {
        let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
        let id = ObjectId::new(gvk.group_kind(), Some("team".into()), name);
        let digest = ManifestDigest(Digest::of(name.as_bytes()));
        Arc::new(Manifest { id, gvk, value: json!({}).into(), digest, origin: None })
    }

    fn wish(commit: &str, names: Option<&[&str]>) -> Wish {
        let manifests = names.map(|names| names.iter().map(|name| manifest(name)).collect::<Vec<_>>().into());
        let asked = Asked {
            url: "https://git.example/shop".into(),
            secret: None,
            revision: None,
            verify: None,
            submodules: None,
        };
        Wish { asked, commit: commit.into(), manifests, automatic: true, wake: Arc::default() }
    }

    fn ids(names: &[&str]) -> BTreeSet<ObjectId> {
        names.iter().map(|name| manifest(name).id.clone()).collect()
    }

    #[test]
    fn what_another_head_has_is_found_and_ones_own_is_not() {
        let all = Handover::default();
        all.note(&owner("first"), wish("1", Some(&["a", "b"])));
        all.note(&owner("second"), wish("1", Some(&["b", "c"])));
        let found = all.elsewhere(&owner("first"), &ids(&["a", "b", "c"]));
        assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), ids(&["b", "c"]));
        all.forget(&owner("second"));
        assert!(all.elsewhere(&owner("first"), &ids(&["b"])).is_empty());
    }

    #[test]
    fn who_has_not_looked_at_the_commit_is_behind() {
        let all = Handover::default();
        all.note(&owner("first"), wish("2", Some(&[])));
        all.note(&owner("second"), wish("1", Some(&["a"])));
        let mut elsewhere = wish("1", Some(&[]));
        elsewhere.asked.revision = Some("stable".into());
        all.note(&owner("third"), elsewhere);
        assert_eq!(all.behind(&owner("first")), [owner("second")]);
        all.cannot_read(&owner("second"));
        assert!(all.behind(&owner("first")).is_empty(), "nobody waits for what may never come");
        assert!(all.has_looked(&owner("second")) && !all.has_looked(&owner("fourth")));
        all.note(&owner("second"), wish("1", None));
        assert_eq!(all.behind(&owner("first")), [owner("second")]);
        // A commit that it cannot render was looked at, and changes nothing.
        all.note(&owner("second"), wish("2", None));
        assert!(all.behind(&owner("first")).is_empty());
        assert!(all.elsewhere(&owner("first"), &ids(&["a"])).contains_key(&manifest("a").id));
    }

    #[test]
    fn an_object_is_given_up_when_the_head_says_so_and_that_is_carried_out() {
        let (all, first, a) = (Handover::default(), owner("first"), manifest("a").id.clone());
        assert!(!all.has_given_up(&first, &a), "nobody knows such an application");
        all.note(&first, wish("1", None));
        assert!(!all.has_given_up(&first, &a), "its head is not known");
        all.note(&first, wish("1", Some(&["a"])));
        assert!(!all.has_given_up(&first, &a));
        all.note(&first, Wish { automatic: false, ..wish("2", Some(&[])) });
        assert!(!all.has_given_up(&first, &a), "a person decides on it");
        all.release(&first, &a, &owner("second"));
        assert!(all.has_given_up(&first, &a));
        all.note(&first, wish("3", Some(&["a"])));
        all.note(&first, Wish { automatic: false, ..wish("4", Some(&[])) });
        assert!(!all.has_given_up(&first, &a), "it wanted it again meanwhile");
    }

    #[test]
    fn who_is_offered_something_is_told_once() {
        let all = Handover::default();
        all.note(&owner("first"), wish("1", Some(&[])));
        all.note(&owner("second"), wish("1", Some(&["a"])));
        assert!(!all.take_offer(&owner("second")));
        all.release(&owner("first"), &manifest("a").id, &owner("second"));
        assert!(all.take_offer(&owner("second")));
        assert!(!all.take_offer(&owner("second")));
    }
}
