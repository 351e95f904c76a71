//! Ending a release, and what follows from it.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Actor, StepError};
use crate::{
    api::{Phase, ReleaseAfter, ReleaseOutcome, RollbackVerdict},
    cluster::explain,
    controller::{
        brake::Brake,
        decide::{End, Stage, Watched},
    },
    health::HealthStatus,
    manifest::ObjectId,
    plan::Owned,
};

/// The pause before what a late watch tells is looked at.
const BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// How many of the objects that failed are looked into.
const EXPLAINED: usize = 3;
/// How many objects are read before a release fails for their health.
const READ_AGAIN: usize = 10;
/// How long that may take for each.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(3);

impl Actor {
    /// Ends a release: its outcome is written once.
    pub(super) async fn end(&mut self, mut end: End) -> Result<(), StepError> {
        if self.is_behind(&end).await {
            // Not the release is late, but what is known of it.
            warn!(release = end.release, "the objects are healthy, and a watch has not told of it: it is begun anew");
            self.shared.index.renew(&self.known.owner);
            self.rest_for(BEHIND_PAUSE).await;
            return Ok(());
        }
        self.explain(&mut end).await;
        if end.phase == Phase::Failed {
            self.run_failure_hooks(&end).await?;
        }
        let Some(release) = self.known.history.get(end.release) else { return Ok(()) };
        let attempt = self.known.attempt.as_ref().filter(|attempt| attempt.release == end.release);
        let now = Timestamp::now();
        // Without an attempt in this process nobody can tell that nothing was written.
        let touched = attempt.is_none_or(|attempt| attempt.touched);
        let outcome = ReleaseOutcome {
            phase: end.phase,
            message: cut(&end.message),
            failures: end.failures.clone(),
            written: attempt.map(|attempt| attempt.written).unwrap_or_default(),
            touched_cluster: touched,
            rollback: end.rollback,
            durations: self.known.took.durations(release, now),
            ended_at: now,
        };
        let ended = self.store.set_outcome(release, outcome).await?;
        let (cause, commit) = (ended.spec.cause, ended.spec.commit.short.clone());
        self.known.history.put(ended);
        self.known.watched = self.known.attempt.take().filter(|_| end.phase == Phase::Healthy).map(|attempt| Watched {
            release: attempt.release,
            changed: attempt.changed,
            irreversible: attempt.irreversible,
        });
        self.known.underway = None;
        self.known.repair_not_before = None;
        self.known.repair_failures = 0;
        self.known.found_by_deep_check.clear();
        self.known.degraded_since = None;
        self.put_off_another_try(Timestamp::now());
        let chain = self.known.history.tip();
        info!(release = end.release, outcome = %end.phase, commit, chain = ?chain, message = end.message, "the release ended");
        self.shared.metrics.release_ended(cause.as_str(), end.phase.as_str());
        self.known.trace.ended(end.phase, &end.message);
        self.tell_of_end(&end, &commit);
        self.tell_brake(end.phase, touched);
        if end.phase != Phase::Superseded {
            self.forget_old(now).await;
        }
        self.propose_head();
        Ok(())
    }

    /// Whether a release is about to fail for objects that are healthy by now.
    /// A deadline is judged by what the server has, and not by the silence of a
    /// watch that died.
    async fn is_behind(&self, end: &End) -> bool {
        let waits = self.known.attempt.as_ref().is_some_and(|attempt| attempt.stage == Stage::Applied);
        if end.phase != Phase::Failed || !waits || self.known.live.unhealthy.is_empty() {
            return false;
        }
        for (id, _) in self.known.live.unhealthy.iter().take(READ_AGAIN) {
            let Some(owned) = self.known.stored.objects.get(id) else { return false };
            let identity = self.identity();
            let reading = explain(&self.shared.cluster, &identity, &self.known.checks, id, &owned.gvk);
            let Ok(Some(health)) = tokio::time::timeout(EXPLAIN_TIMEOUT, reading).await else { return false };
            if !matches!(health.status, HealthStatus::Healthy | HealthStatus::Suspended) {
                return false;
            }
        }
        true
    }

    /// Ends a release that nobody goes on with.
    pub(super) async fn abandon(&mut self, release: u64, why: &str) -> Result<(), StepError> {
        let (phase, rollback) = (Phase::Superseded, RollbackVerdict::None);
        self.end(End { release, phase, message: why.to_owned(), failures: Vec::new(), rollback }).await
    }

    /// Reads the pods and events behind the objects that made a release fail,
    /// so that its outcome says why, and not only that.
    async fn explain(&self, end: &mut End) {
        let unhealthy = self.known.live.unhealthy.iter();
        let failed = unhealthy.filter(|(id, _)| end.failures.iter().any(|failure| failure.object == id.to_string()));
        let failed: Vec<_> = failed.take(EXPLAINED).collect();
        if end.phase != Phase::Failed {
            return;
        }
        for (id, before) in failed {
            let Some(owned) = self.known.stored.objects.get(id) else { continue };
            let identity = self.identity();
            let reading = explain(&self.shared.cluster, &identity, &self.known.checks, id, &owned.gvk);
            let Ok(Some(health)) = tokio::time::timeout(EXPLAIN_TIMEOUT, reading).await else { continue };
            if health.reason.is_empty() || health.reason == before.reason {
                continue;
            }
            end.message = end.message.replacen(&before.reason, &health.reason, 1);
            for failure in end.failures.iter_mut().filter(|failure| failure.object == id.to_string()) {
                failure.message.clone_from(&health.reason);
            }
        }
    }

    /// What breaks counts for the brake on rollbacks of all applications; what was
    /// refused before anything was written breaks nothing.
    fn tell_brake(&self, phase: Phase, touched: bool) {
        match phase {
            Phase::Healthy => self.brake().release(self.known.owner.as_str()),
            Phase::Failed if touched => self.brake().note(self.known.owner.as_str(), Timestamp::now()),
            _ => {}
        }
    }

    /// The brake on rollbacks of all applications.
    pub(super) fn brake(&self) -> MutexGuard<'_, Brake> {
        self.shared.brake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_of_end(&self, end: &End, commit: &str) {
        let number = end.release;
        match end.phase {
            Phase::Healthy => self.event("Healthy", &format!("release {number} ({commit}) is healthy"), false),
            Phase::Superseded => {
                self.event("Superseded", &format!("release {number} ({commit}): {}", end.message), false)
            }
            _ => self.event("Failed", &format!("release {number} ({commit}) failed: {}", end.message), true),
        }
        if end.rollback == RollbackVerdict::Person {
            self.event("NeedsPerson", &end.message, true);
        }
    }

    /// What is to be written down before a rest: that a release goes on for
    /// longer, that it waits for health, and Jobs that were seen complete.
    pub(super) async fn settle(&mut self) -> Result<(), StepError> {
        // Of a release that is over at once its end tells enough.
        if !std::mem::replace(&mut self.known.beginning_told, true)
            && let Some(running) = self.known.history.running()
        {
            let (number, commit, cause) = (running.spec.number, running.spec.commit.short.clone(), running.spec.cause);
            self.event(cause.as_str(), &format!("release {number} ({commit}) is on its way"), false);
        }
        self.remember_told().await?;
        let waits = self.known.attempt.as_ref().filter(|attempt| attempt.stage == Stage::Applied);
        if let (Some(attempt), false) = (waits, self.known.waiting_noted) {
            if let Some(release) = self.known.history.get(attempt.release) {
                let waiting = self.store.set_phase(release, Phase::Waiting, Some(Timestamp::now())).await?;
                self.known.history.put(waiting);
            }
            self.known.waiting_noted = true;
        }
        let owned = |id: &ObjectId| self.known.stored.objects.get(id).filter(|owned| !owned.done);
        let done = self.known.summary.done.iter();
        let done = done.filter_map(|id| Some((id.clone(), Some(Owned { done: true, ..owned(id)?.clone() })))).collect();
        self.save_inventory(done).await
    }

    /// Notes on a release what happened to it after its end.
    pub(super) async fn note_after(
        &mut self,
        number: u64,
        change: impl FnOnce(&mut ReleaseAfter),
    ) -> Result<(), StepError> {
        let Some(release) = self.known.history.get(number) else { return Ok(()) };
        let mut after = release.status.as_ref().and_then(|status| status.after.clone()).unwrap_or_default();
        change(&mut after);
        let noted = self.store.set_after(release, after).await?;
        self.known.history.put(noted);
        Ok(())
    }

    /// Notes that a healthy release degraded later, and whether it goes back.
    pub(super) async fn note_degraded(
        &mut self,
        number: u64,
        message: String,
        rollback: RollbackVerdict,
        by_analysis: bool,
    ) -> Result<(), StepError> {
        let now = Timestamp::now();
        warn!(release = number, message, verdict = %rollback, "the release degraded after it had been healthy");
        let message = cut(&message);
        self.note_after(number, |after| {
            after.degraded_at = Some(now);
            after.degraded.clone_from(&message);
            after.by_analysis = by_analysis;
            after.rollback = Some(rollback).filter(|verdict| *verdict != RollbackVerdict::None);
        })
        .await?;
        self.event("Degraded", &format!("release {number} {message}"), true);
        if rollback == RollbackVerdict::Person {
            self.event("NeedsPerson", &message, true);
        }
        Ok(())
    }
}

/// A message as long as the schema takes.
fn cut(message: &str) -> String {
    message.chars().take(4_000).collect()
}
