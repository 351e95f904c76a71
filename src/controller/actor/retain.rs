//! Forgetting: releases that are too many or too old, and content that no
//! release names any more; and how much is kept.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::Actor;
use crate::history::{self, Keep, bundles::KnownChunks};

/// How long after a release was forgotten its content is looked for.
const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// How long after something could not be deleted it is tried again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

impl Actor {
    /// Deletes releases beyond the limit, and those that are too old.
    pub(super) async fn forget_old(&mut self, now: Timestamp) {
        let retention = &self.known.application.spec.rollback;
        let limit = retention.history_limit as usize;
        let age = retention.history_age.map(crate::api::Duration::signed);
        let since = age.and_then(|age| now.checked_sub(age).ok());
        let head = self.known.head.content().map(|content| (content.bundle.clone(), content.inputs.clone()));
        let head = head.as_ref().map(|(bundle, inputs)| (bundle, inputs));
        // What somebody asks to go back to is not forgotten before that is done.
        let wanted: BTreeSet<u64> =
            self.known.rollback_requests.values().filter_map(|request| request.spec.to_release).collect();
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
        // At that moment itself it is not too old yet.
        let next = next.map(|next| next.max(now) + SignedDuration::from_secs(1));
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
        let kept = self.known.history.iter().map(|release| release.spec.bundle.clone()).collect();
        match self.store.sweep_bundles(&kept, Timestamp::now()).await {
            Ok(swept) => {
                self.known.sweep_due = swept.due;
                self.keeps(swept.kept_bytes);
                if swept.chunks > 0 {
                    self.known.chunks = KnownChunks::default();
                }
            }
            Err(error) => {
                warn!(%error, "old content could not be swept");
                self.known.sweep_due = Some(Timestamp::now() + AGAIN_AFTER);
            }
        }
    }

    /// Reads how much content is kept, once: from then on it is counted.
    pub(super) async fn measure(&mut self) {
        match self.store.kept_bytes().await {
            Ok(bytes) => self.keeps(bytes),
            // It is only a number, and the next sweep has it.
            Err(error) => warn!(%error, "how much content is kept is not known"),
        }
    }

    /// So many bytes of content are kept.
    pub(super) fn keeps(&mut self, bytes: u64) {
        self.known.kept_bytes = bytes;
        self.shared.metrics.set_history_bytes(self.known.owner.as_str(), bytes);
    }
}
