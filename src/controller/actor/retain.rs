//! Forgetting: releases that are too many or too old, and content that no
//! release names any more; and how much is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::Actor;
use crate::{
    api::RollbackRequest,
    cluster::store::KeptContent,
    history::{self, History, Keep, bundles::KnownChunks},
};

/// How long after a release was forgotten its content is looked for.
const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// How long after something could not be deleted it is tried again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Releases whose content is not whole, with what is wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage {
    missing: BTreeMap<u64, String>,
    /// Found when it was to be read.
    unreadable: BTreeMap<u64, String>,
}

impl Damage {
    /// Each release of a history whose content is damaged, once.
    pub(super) fn of(&self, history: &History) -> Vec<(u64, &str)> {
        let numbers: BTreeSet<&u64> = self.missing.keys().chain(self.unreadable.keys()).collect();
        let kept = numbers.into_iter().filter(|number| history.get(**number).is_some());
        let what = |number: &u64| self.unreadable.get(number).or(self.missing.get(number)).map(String::as_str);
        kept.filter_map(|number| Some((*number, what(number)?))).collect()
    }

    /// The content of a release was read, and is whole.
    pub(super) fn mended(&mut self, release: u64) {
        self.unreadable.remove(&release);
        self.missing.remove(&release);
    }

    /// Whether something is known to be missing.
    pub(super) fn is_missing_something(&self) -> bool {
        !self.missing.is_empty()
    }
}

impl Actor {
    /// When releases are to be looked at for their age, if that can be done: not
    /// before the head is known.
    pub(super) fn forget_due(&self) -> Option<Timestamp> {
        self.known.forget_due.filter(|_| self.known.head.content().is_some())
    }

    /// Deletes releases beyond the limit, and those that are too old. Nothing
    /// goes while it is not known what the head renders: one of them may be why
    /// that stays out.
    pub(super) async fn forget_old(&mut self, now: Timestamp) {
        let Some(head) = self.known.head.content() else {
            self.known.forget_due = Some(now);
            return;
        };
        let (bundle, inputs) = (head.bundle.clone(), head.inputs.clone());
        let head = Some((&bundle, &inputs));
        let retention = &self.known.application.spec.rollback;
        let limit = retention.history_limit as usize;
        let age = retention.history_age.map(crate::api::Duration::signed);
        let since = age.and_then(|age| now.checked_sub(age).ok());
        // What somebody asks to go back to is not forgotten before that is done.
        let is_open =
            |request: &&Arc<RollbackRequest>| request.status.as_ref().is_none_or(|status| status.ended_at.is_none());
        let open = self.known.rollback_requests.values().filter(is_open);
        let wanted: BTreeSet<u64> = open.filter_map(|request| request.spec.to_release).collect();
        let old = history::trim(&self.known.history, Keep { limit, since }, head, &wanted);
        let mut trouble = false;
        for number in &old {
            let Some(release) = self.known.history.get(*number) else { continue };
            match self.store.delete_release(release).await {
                Ok(()) => self.known.history.forget(*number),
                // What is newer stays until then too, so that the chain has no gap.
                Err(error) => {
                    warn!(%error, release = number, "an old release could not be deleted");
                    trouble = true;
                    break;
                }
            }
        }
        let next = age.and_then(|age| history::next_too_old(&self.known.history, limit, age, head, &wanted));
        self.known.forget_due = if trouble { Some(now + AGAIN_AFTER) } else { next };
        if old.is_empty() {
            return;
        }
        info!(releases = ?old, "old releases are forgotten");
        // Nothing goes before it is old, so there is no hurry, and many releases
        // in a row are swept up after once.
        let due = now + SWEEP_AFTER;
        self.known.sweep_due = Some(self.known.sweep_due.map_or(due, |known| known.min(due)));
    }

    /// Deletes content that no release names any more. What is too young for
    /// that gives the time of the next sweep.
    pub(super) async fn sweep(&mut self) {
        let wanted = self.known.history.iter().map(|release| release.spec.bundle.clone()).collect();
        match self.store.sweep_bundles(&wanted, Timestamp::now()).await {
            Ok(swept) => {
                self.known.sweep_due = swept.due;
                if swept.chunks > 0 {
                    self.known.chunks = KnownChunks::default();
                }
                self.take_kept(&swept.kept);
            }
            Err(error) => {
                warn!(%error, "old content could not be swept");
                self.known.sweep_due = Some(Timestamp::now() + AGAIN_AFTER);
            }
        }
    }

    /// The look when a controller begins, which is shared where it can be.
    pub(super) async fn look_first_at_content(&mut self) {
        let newest = self.known.history.current().map(|release| release.spec.created_at);
        let namespaces = &self.shared.options.watch_namespaces;
        match self.shared.first_look.of(&self.known.owner, newest, &self.shared.store, namespaces).await {
            Some(kept) => self.take_kept(&kept),
            None => self.look_at_content().await,
        }
    }

    /// Looks how much content is kept, and whether something of it is missing:
    /// once when a controller begins, and where there is a reason to.
    pub(super) async fn look_at_content(&mut self) {
        match self.store.kept_content().await {
            Ok(kept) => self.take_kept(&kept),
            // Nothing is decided by it, and the next look has it.
            Err(error) => warn!(%error, "what is kept of the releases' content is not known"),
        }
    }

    fn take_kept(&mut self, kept: &KeptContent) {
        self.keeps(kept.bytes);
        let (namespace, name) = (self.known.owner.namespace(), self.known.owner.name());
        let missing =
            self.known.history.iter().filter_map(|release| {
                Some((release.spec.number, kept.missing(namespace, name, &release.spec.bundle)?))
            });
        let missing: BTreeMap<u64, String> = missing.collect();
        for (release, what) in missing.iter().filter(|(release, _)| !self.known.damage.missing.contains_key(release)) {
            self.tell_of_damage(*release, what);
        }
        self.known.damage.missing = missing;
    }

    /// The content of a release could not be read: it is missing, or is not what
    /// its digest says.
    pub(super) fn content_is_damaged(&mut self, release: u64, what: String) {
        if self.known.history.get(release).is_none() {
            return;
        }
        if self.known.damage.unreadable.insert(release, what.clone()).is_none() {
            self.tell_of_damage(release, &what);
        }
    }

    fn tell_of_damage(&self, release: u64, what: &str) {
        warn!(release, what, "the content of a release is damaged");
        let message = format!("the content of release {release} is damaged, and nothing is made of it: {what}");
        self.event("ContentDamaged", &message, true);
    }

    /// So many bytes of content are kept.
    pub(super) fn keeps(&mut self, bytes: u64) {
        self.known.kept_bytes = bytes;
        self.shared.metrics.set_history_bytes(self.known.owner.as_str(), bytes);
    }
}
