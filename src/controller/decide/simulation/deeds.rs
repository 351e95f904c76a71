//! How a controller does what is decided, write by write.

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{Answer, Ask, Attempt, Begin, Content, ContentId, End, Stage, Watched, world},
    cluster::{Cluster, Stop, is_final},
    content::{self, Fate},
    controller::Controller,
    laws::{self, Knows, broken},
};
use crate::{
    api::{Cause, DriftPolicy, Phase, Release, ReleaseOutcome, RequestPhase, RollbackVerdict},
    history,
    manifest::BundleDigest,
};

/// So many releases are kept: few, so that forgetting happens.
const KEPT: usize = 3;
/// Longer than any history.
const FOR_EVER: SignedDuration = SignedDuration::from_hours(24 * 365);

impl Controller {
    pub(super) fn settle(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        let waits = self.attempt.as_ref().filter(|attempt| attempt.stage == Stage::Applied);
        let Some(number) = waits.map(|attempt| attempt.release).filter(|_| !self.waiting_noted) else { return Ok(()) };
        if let Some(release) = self.history.get(number).cloned() {
            let waiting = self.send(cluster, |cluster| cluster.set_phase(&release, Phase::Waiting))?;
            self.history.put(waiting);
        }
        self.waiting_noted = true;
        Ok(())
    }

    pub(super) fn tell(&mut self, cluster: &mut Cluster, uid: &str, phase: RequestPhase) -> Result<(), Stop> {
        self.send(cluster, |cluster| cluster.answer(uid, phase))?;
        self.told.insert(uid.to_owned());
        self.requests.iter_mut().filter(|request| request.uid == uid).for_each(|request| request.told = true);
        if is_final(phase) {
            self.answered.insert(uid.to_owned());
            self.requests.retain(|request| request.uid != uid);
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, cluster: &mut Cluster, answer: &Answer) -> Result<(), Stop> {
        self.tell(cluster, &answer.request, answer.phase)
    }

    pub(super) fn content_of(&self, cluster: &Cluster, from: Content) -> Option<ContentId> {
        match from {
            Content::Head => self.head.content().cloned(),
            Content::Release(number) => {
                let spec = &self.history.get(number)?.spec;
                let known = self.head.content().is_some_and(|content| content.bundle == spec.bundle);
                (known || !cluster.lost.contains(&number)).then(|| ContentId {
                    bundle: spec.bundle.clone(),
                    inputs: spec.inputs.clone(),
                    commit: spec.commit.clone(),
                })
            }
        }
    }

    pub(super) fn dry_run(&mut self, cluster: &mut Cluster, uid: &str, from: Content) -> Result<(), Stop> {
        let phase = match self.content_of(cluster, from) {
            Some(_) => RequestPhase::Succeeded,
            None => RequestPhase::Refused,
        };
        self.tell(cluster, uid, phase)
    }

    pub(super) fn begin(&mut self, cluster: &mut Cluster, begin: &Begin) -> Result<(), Stop> {
        let knows = Knows {
            suspended: self.suspended,
            manual: self.settings.mode == crate::api::SyncMode::Manual,
            brake: self.brake,
        };
        laws::may_begin(begin, &knows)?;
        let Some(content) = self.content_of(cluster, begin.content) else {
            if let Some(uid) = &begin.request {
                return self.tell(cluster, uid, RequestPhase::Refused);
            }
            if let (Cause::AutomaticRollback, Content::Release(target)) = (begin.cause, begin.content) {
                self.unusable_target = Some(target);
                return Ok(());
            }
            return Ok(broken(laws::KNOWN, "a release begins with content that nobody knows")?);
        };
        let mut spec = world::release_spec(begin, content, &self.history, self.settings.generation, cluster.now());
        spec.application_uid.clone_from(&self.application);
        let (number, lifted) = (spec.number, self.is_lifted(&spec.bundle));
        let created = match self.send(cluster, |cluster| cluster.create(spec, lifted)) {
            Ok(created) => created,
            Err(stop) => {
                self.loaded = false;
                return Err(stop);
            }
        };
        self.history.put(created);
        self.take_up(number, false);
        if matches!(begin.cause, Cause::Rollback | Cause::AutomaticRollback)
            && let Some(left) = self.history.get(number - 1).cloned()
        {
            let noted =
                self.send(cluster, |cluster| cluster.note(&left, |after| after.rolled_back_by = Some(number)))?;
            self.history.put(noted);
        }
        match &begin.request {
            Some(uid) => self.tell(cluster, &uid.clone(), RequestPhase::Running),
            None => Ok(()),
        }
    }

    /// Whether a refusal of this content was seen to be over.
    pub(super) fn is_lifted(&self, bundle: &BundleDigest) -> bool {
        self.lifted.as_ref() == Some(bundle)
    }

    pub(super) fn try_again(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        let now = cluster.now();
        let Some(content) = self.head.content().cloned() else {
            return Ok(broken(laws::KNOWN, "nothing is to be tried again")?);
        };
        self.put_off(now);
        match cluster.fate(&content.bundle) {
            Fate::Refused | Fate::RefusedUntilTry(1..) | Fate::Unanswered(1..) => cluster.tried(&content.bundle),
            _ => self.lifted = Some(content.bundle),
        }
        Ok(())
    }

    pub(super) fn put_off(&mut self, now: Timestamp) {
        let of = self.history.current().map(|release| release.spec.bundle.clone());
        if self.tried != of {
            self.tried = of;
            self.looks = 0;
        }
        self.lifted = None;
        self.try_again_at = Some(now + SignedDuration::from_secs((30 << self.looks.min(5)).min(900)));
        self.looks += 1;
    }

    /// The content of the last release before this one that was healthy.
    fn healthy_before(&self, number: u64) -> Option<BundleDigest> {
        let healthy = |release: &&Release| {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            release.spec.number < number && outcome.is_some_and(|outcome| outcome.phase == Phase::Healthy)
        };
        self.history.iter().rev().find(healthy).map(|release| release.spec.bundle.clone())
    }

    /// Finds out what the live release did, where that is to be judged.
    pub(super) fn recall_watched(&mut self) {
        let Some(live) = self.history.applied().filter(|_| self.degraded_since.is_some()) else { return };
        let (number, bundle) = (live.spec.number, live.spec.bundle.clone());
        if self.watched.as_ref().is_some_and(|watched| watched.release == number) {
            return;
        }
        let before = self.healthy_before(number);
        let mut watched = Watched { release: number, ..Watched::default() };
        if before.as_ref() != Some(&bundle) {
            watched.changed.insert(world::web());
        }
        watched.irreversible = before.and_then(|_| content::irreversible(&bundle));
        self.watched = Some(watched);
    }

    pub(super) fn take_up(&mut self, number: u64, resumed: bool) {
        let before = self.healthy_before(number);
        let mut attempt = Attempt::new(number);
        let Some(bundle) = self.history.get(number).map(|release| &release.spec.bundle) else { return };
        if before.as_ref() != Some(bundle) {
            attempt.changed.insert(world::web());
        }
        attempt.touched = resumed;
        if !resumed {
            attempt.unhealthy_before = self.live.unhealthy.iter().map(|(id, _)| id.clone()).collect();
        }
        attempt.irreversible = before.and_then(|_| content::irreversible(bundle));
        self.attempt = Some(attempt);
        self.tries = 0;
        self.waiting_noted = false;
    }

    pub(super) fn plan(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        let Some(running) = self.history.running() else { return Ok(()) };
        let (number, bundle) = (running.spec.number, running.spec.bundle.clone());
        if self.attempt.as_ref().is_none_or(|attempt| attempt.release != number) {
            self.take_up(number, true);
        }
        let now = cluster.now();
        if self.attempt.as_ref().is_some_and(|attempt| attempt.stage == Stage::Applied) {
            self.repair_not_before = Some(now + SignedDuration::from_secs(2));
        }
        let fate = cluster.fate(&bundle);
        let objects = &cluster.objects;
        let there = objects.bundle.as_ref() == Some(&bundle) && objects.whole && !objects.drifted && !objects.gone;
        match fate {
            Fate::Refused | Fate::RefusedUntilTry(1..) => {
                cluster.tried(&bundle);
                self.set_stage(Stage::Failed { message: "it is refused".into(), failures: Vec::new() });
            }
            Fate::Unanswered(1..) => {
                cluster.tried(&bundle);
                self.retry_later(now, "no answer");
            }
            _ if there => {
                self.see(cluster);
                self.set_stage(Stage::Applied);
            }
            _ => {
                // The contents with odd numbers need two stages.
                self.stages = 1 + u32::from(content::number_of(&bundle) % 2);
                self.planned_on = objects.version;
                self.set_stage(Stage::Planned { stages_left: self.stages });
            }
        }
        Ok(())
    }

    pub(super) fn retry_later(&mut self, now: Timestamp, message: &str) {
        let pause = SignedDuration::from_secs(1 << self.tries.min(6));
        self.tries += 1;
        self.set_stage(Stage::Retry { at: now + pause, message: message.to_owned() });
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(attempt) = &mut self.attempt {
            attempt.stage = stage;
        }
    }

    pub(super) fn apply(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        let Some(running) = self.history.running() else { return Ok(()) };
        let (number, bundle) = (running.spec.number, running.spec.bundle.clone());
        let last = self.stages <= 1;
        let fate = cluster.fate(&bundle);
        let now = cluster.now();
        if !self.holds {
            // The permit is asked before each object.
            self.retry_later(now, "this replica does not lead any more");
            return Ok(());
        }
        let planned_on = self.planned_on;
        // What an old leader sent may have arrived; who has not heard of it yet
        // cannot know.
        let excused = self.deaf && cluster.came_late;
        match self.send(cluster, |cluster| cluster.apply(number, planned_on, &bundle, last, excused)) {
            Ok(()) => {}
            Err(Stop::Conflict) => {
                self.retry_later(now, "it changed since the plan was made");
                return Ok(());
            }
            Err(Stop::Unknown) => {
                // Without an answer nobody knows whether it was written.
                if let Some(attempt) = &mut self.attempt {
                    attempt.touched = true;
                }
                self.retry_later(now, "no answer");
                return Ok(());
            }
            Err(stop) => return Err(stop),
        }
        self.planned_on = cluster.objects.version;
        self.stages = self.stages.saturating_sub(1);
        if let Some(attempt) = &mut self.attempt {
            attempt.touched = true;
        }
        // The answers to the writes are taken in like events.
        self.see(cluster);
        self.set_stage(match (fate, last) {
            (Fate::Breaks, true) => Stage::Failed { message: "it breaks half-way".into(), failures: Vec::new() },
            (_, true) => Stage::Applied,
            (_, false) => Stage::Planned { stages_left: self.stages },
        });
        Ok(())
    }

    pub(super) fn end(&mut self, cluster: &mut Cluster, end: &End) -> Result<(), Stop> {
        let Some(release) = self.history.get(end.release).cloned() else { return Ok(()) };
        if end.rollback == RollbackVerdict::Automatic {
            self.may_go_back(&release)?;
        }
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.release == end.release);
        let outcome = ReleaseOutcome {
            phase: end.phase,
            message: end.message.clone(),
            failures: end.failures.clone(),
            written: 0,
            touched_cluster: attempt.is_none_or(|attempt| attempt.touched),
            rollback: end.rollback,
            durations: crate::api::ReleaseDurations::default(),
            ended_at: cluster.now(),
        };
        let ended = self.send(cluster, |cluster| cluster.end(&release, outcome))?;
        self.history.put(ended);
        self.attempt = None;
        self.told_brake = self.told_brake.filter(|_| end.phase == Phase::Failed);
        self.repair_not_before = None;
        self.degraded_since = None;
        self.put_off(cluster.now());
        if end.phase != Phase::Superseded {
            self.forget_old(cluster)?;
        }
        Ok(())
    }

    /// Whether a release may be taken back by itself, as far as anybody knows.
    pub(super) fn may_go_back(&self, release: &Release) -> Result<(), Stop> {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.release == release.spec.number) else {
            return Ok(broken(laws::GOES_BACK_WHERE_SAFE, "nobody knows what the release did")?);
        };
        let broke = matches!(attempt.stage, Stage::Failed { .. } | Stage::Retry { .. } | Stage::Unplanned);
        let own = |id| attempt.changed.contains(id) && !attempt.unhealthy_before.contains(id);
        let safe = !self.brake
            && self.told_brake.is_some()
            && self.settings.automatic_rollback
            && attempt.irreversible.is_none()
            && attempt.touched
            && (broke || self.live.unhealthy.iter().any(|(id, _)| own(id)));
        if safe {
            return Ok(());
        }
        Ok(broken(laws::GOES_BACK_WHERE_SAFE, format!("release {} is to be taken back", release.spec.number))?)
    }

    pub(super) fn forget_old(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        // One of them may be why what the head renders stays out.
        let Some(head) = self.head.content().cloned() else { return Ok(()) };
        let wanted = self.requests.iter().filter_map(|request| match &request.ask {
            Ask::Rollback { to, .. } => *to,
            Ask::Sync { .. } => None,
        });
        let wanted = wanted.collect();
        let ids = Some((&head.bundle, &head.inputs));
        for number in history::trim(&self.history, history::Keep::newest(KEPT), ids, &wanted) {
            match self.send(cluster, |cluster| cluster.forget(number, Some(&head))) {
                Ok(()) => self.history.forget(number),
                Err(stop @ (Stop::Died | Stop::Broken(_))) => return Err(stop),
                // It is tried again when the next release ends. What is newer
                // stays until then too, so that the chain has no gap.
                Err(Stop::Unknown | Stop::Conflict) => break,
            }
        }
        Ok(())
    }

    pub(super) fn repair(&mut self, cluster: &mut Cluster) -> Result<(), Stop> {
        if self.suspended || self.settings.drift == DriftPolicy::Report || !self.live.settled {
            return Ok(broken(laws::REPAIRS, "a repair that nobody wants")?);
        }
        let Some(applied) = self.history.applied() else { return Ok(()) };
        let (number, bundle) = (applied.spec.number, applied.spec.bundle.clone());
        if self.content_of(cluster, Content::Release(number)).is_none() {
            // It is said, and tried again for ever, with long pauses.
            self.repair_not_before = Some(cluster.now() + FOR_EVER);
            return Ok(());
        }
        if !self.holds {
            self.repair_not_before = Some(cluster.now() + SignedDuration::from_secs(30));
            return Ok(());
        }
        match self.send(cluster, |cluster| cluster.repair(&bundle)) {
            Ok(()) => {}
            Err(Stop::Unknown | Stop::Conflict) => {
                self.repair_not_before = Some(cluster.now() + SignedDuration::from_secs(1));
                return Ok(());
            }
            Err(stop) => return Err(stop),
        }
        self.repair_not_before = None;
        self.see(cluster);
        let Some(release) = self.history.get(number).cloned() else { return Ok(()) };
        let noted = self.send(cluster, |cluster| cluster.note(&release, |after| after.repairs += 1))?;
        self.history.put(noted);
        Ok(())
    }

    pub(super) fn note_degraded(
        &mut self,
        cluster: &mut Cluster,
        number: u64,
        message: &str,
        verdict: RollbackVerdict,
    ) -> Result<(), Stop> {
        let Some(release) = self.history.get(number).cloned() else { return Ok(()) };
        if verdict == RollbackVerdict::Automatic {
            self.may_go_back_though_healthy(&release, cluster.now())?;
        }
        let (now, message) = (cluster.now(), message.to_owned());
        let noted = self.send(cluster, |cluster| {
            cluster.note(&release, |after| {
                after.degraded_at = Some(now);
                after.degraded = message;
                after.rollback = Some(verdict).filter(|verdict| *verdict != RollbackVerdict::None);
            })
        })?;
        self.history.put(noted);
        Ok(())
    }

    /// Whether a release that was healthy may be taken back by itself.
    fn may_go_back_though_healthy(&self, release: &Release, now: Timestamp) -> Result<(), Stop> {
        let number = release.spec.number;
        let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
        let ended = outcome.filter(|outcome| outcome.phase == Phase::Healthy && outcome.touched_cluster);
        let before = self.healthy_before(number);
        let own = before.as_ref() != Some(&release.spec.bundle)
            && self
                .live
                .unhealthy
                .iter()
                .any(|(id, health)| *id == world::web() && health.status == crate::health::HealthStatus::Degraded);
        let in_time = ended.zip(self.degraded_since).is_some_and(|(ended, since)| {
            since <= ended.ended_at + self.settings.watch && since + self.settings.timeout <= now
        });
        let safe = !self.brake
            && self.told_brake.is_some()
            && self.settings.automatic_rollback
            && own
            && in_time
            && content::irreversible(&release.spec.bundle).is_none();
        if safe {
            return Ok(());
        }
        Ok(broken(laws::GOES_BACK_WHERE_SAFE, format!("release {number} degraded and is to be taken back"))?)
    }
}
