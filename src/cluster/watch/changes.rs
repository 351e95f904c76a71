//! Tells for whom something changed: a set that coalesces, bounded by the
//! number of applications, and never blocks who tells.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use crate::cluster::OwnerKey;

#[derive(Debug, Default)]
struct Mailbox {
    owners: Mutex<BTreeSet<OwnerKey>>,
    filled: Notify,
}

impl Mailbox {
    fn owners(&self) -> MutexGuard<'_, BTreeSet<OwnerKey>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where changes are told.
#[derive(Debug, Default)]
pub struct Announcer(Mutex<Vec<Weak<Mailbox>>>);

impl Announcer {
    /// Somebody who wants to hear of changes from now on.
    pub fn subscribe(&self) -> Changes {
        let mailbox = Arc::new(Mailbox::default());
        let mut subscribers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        subscribers.push(Arc::downgrade(&mailbox));
        Changes(mailbox)
    }

    /// Tells that something changed for some applications.
    pub fn announce(&self, owners: BTreeSet<OwnerKey>) {
        if owners.is_empty() {
            return;
        }
        let subscribers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for mailbox in subscribers.iter().filter_map(Weak::upgrade) {
            mailbox.owners().extend(owners.iter().cloned());
            mailbox.filled.notify_one();
        }
    }
}

/// Whose changes come, coalesced.
#[derive(Debug)]
pub struct Changes(Arc<Mailbox>);

impl Changes {
    /// Waits until something changed, and takes for whom. Nothing is lost if
    /// the wait is dropped.
    pub async fn next(&mut self) -> BTreeSet<OwnerKey> {
        loop {
            let owners = std::mem::take(&mut *self.0.owners());
            if !owners.is_empty() {
                return owners;
            }
            self.0.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(names: &[&str]) -> BTreeSet<OwnerKey> {
        names.iter().map(|name| OwnerKey::new("team-a", name)).collect()
    }

    #[tokio::test]
    async fn changes_are_coalesced_and_told_to_everyone() {
        let announcer = Announcer::default();
        let (mut first, mut second) = (announcer.subscribe(), announcer.subscribe());
        announcer.announce(owners(&["shop"]));
        announcer.announce(owners(&["shop", "billing"]));
        assert_eq!(first.next().await, owners(&["billing", "shop"]));
        assert_eq!(second.next().await, owners(&["billing", "shop"]));
        announcer.announce(BTreeSet::new());
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(20), first.next()).await;
        assert!(quiet.is_err(), "no news is not told");
        announcer.announce(owners(&["shop"]));
        assert_eq!(first.next().await, owners(&["shop"]));
    }
}
