//! A small world for tests of `decide`: it does what is decided, as the actor
//! does, but in memory. Time moves only when a test says so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    Answer, Ask, Attempt, Begin, BrakeView, Content, ContentId, Decision, Dependencies, End, HeadView, Live, Request,
    Resolution, Settings, Stage, View, Watched, decide,
};
use crate::{
    api::{
        CommitRecord, DriftPolicy, Phase, Release, ReleaseCounts, ReleaseOutcome, ReleaseSpec, ReleaseStatus, SyncMode,
    },
    health::{Health, HealthStatus},
    history::History,
    manifest::{BundleDigest, Digest, GroupKind, InputDigest, ObjectId},
};

/// How the cluster takes to some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It gets healthy.
    Healthy,
    /// It is applied and never gets healthy.
    Hangs,
    /// The server refuses it before anything is written.
    Refused,
    /// It fails half-way.
    Breaks,
    /// The server does not answer.
    Unanswered,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) settings: Settings,
    pub(super) suspended: bool,
    pub(super) head: HeadView,
    pub(super) history: History,
    pub(super) attempt: Option<Attempt>,
    pub(super) live: Live,
    pub(super) requests: Vec<Request>,
    pub(super) brake: BrakeView,
    pub(super) inherits: bool,
    pub(super) offered: bool,
    pub(super) repairs: u32,
    pub(super) tries: u32,
    pub(super) repair_not_before: Option<Timestamp>,
    pub(super) degraded_since: Option<Timestamp>,
    pub(super) watched: Option<Watched>,
    pub(super) analysis: Option<String>,
    pub(super) dependencies: Dependencies,
    pub(super) try_again_at: Option<Timestamp>,
    pub(super) lifted: Option<BundleDigest>,
    pub(super) answers: Vec<Answer>,
    /// What happens to content, by the name it was pushed under.
    pub(super) fates: Vec<(BundleDigest, Fate)>,
    /// How often something was decided since the last rest.
    pub(super) steps: u32,
}

pub(super) fn web() -> ObjectId {
    ObjectId::new(GroupKind::new("apps", "Deployment"), Some("team".into()), "web")
}

pub(super) fn bundle(name: &str) -> BundleDigest {
    BundleDigest(Digest::of(name.as_bytes()))
}

pub(super) fn content(name: &str) -> ContentId {
    ContentId {
        bundle: bundle(name),
        inputs: InputDigest(Digest::of(format!("files of {name}").as_bytes())),
        commit: CommitRecord { id: name.repeat(8), short: name.to_owned(), ..CommitRecord::default() },
    }
}

/// What an application allows unless it says otherwise.
pub(super) fn settings() -> Settings {
    Settings {
        mode: SyncMode::Automatic,
        drift: DriftPolicy::Repair,
        automatic_rollback: true,
        timeout: SignedDuration::from_mins(5),
        watch: SignedDuration::from_mins(10),
        request_expiry: SignedDuration::from_mins(10),
        observe_only: false,
        generation: 1,
    }
}

/// A view in which nothing is out of the ordinary.
pub(super) fn view<'a>(
    now: Timestamp,
    settings: &'a Settings,
    head: &'a HeadView,
    history: &'a History,
    live: &'a Live,
) -> View<'a> {
    View {
        now,
        settings,
        suspended: false,
        suspended_until: None,
        head,
        history,
        attempt: None,
        live,
        requests: &[],
        brake: BrakeView::Off,
        repair_not_before: None,
        degraded_since: None,
        watched: None,
        analysis: None,
        inherits: false,
        offered: false,
        unusable_target: None,
        dependencies: &Dependencies::Met,
        try_again_at: None,
        lifted: None,
    }
}

/// The release that is begun.
pub(super) fn release_spec(
    begin: &Begin,
    content: ContentId,
    history: &History,
    generation: i64,
    now: Timestamp,
) -> ReleaseSpec {
    let to = match begin.content {
        Content::Head => None,
        Content::Release(number) => Some(number),
    };
    ReleaseSpec {
        application: "shop".into(),
        number: history.next_number(),
        cause: begin.cause,
        commit: content.commit,
        bundle: content.bundle,
        inputs: content.inputs,
        renderer: String::new(),
        counts: ReleaseCounts::default(),
        plan: None,
        rollback_to: to,
        rejects: to.map(|target| history.rejections_for(target)).unwrap_or_default(),
        accepts: begin.accepts,
        include: Vec::new(),
        prune: None,
        application_uid: String::new(),
        requested_by: String::new(),
        verified: false,
        reason: begin.reason.clone(),
        request: begin.request.clone().unwrap_or_default(),
        previous: history.tip(),
        generation,
        created_at: now,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24),
            settings: settings(),
            suspended: false,
            head: HeadView::Unknown,
            history: History::default(),
            attempt: None,
            live: Live { settled: true, ..Live::default() },
            requests: Vec::new(),
            brake: BrakeView::Off,
            inherits: false,
            offered: false,
            repairs: 0,
            tries: 0,
            repair_not_before: None,
            degraded_since: None,
            watched: None,
            analysis: None,
            dependencies: Dependencies::Met,
            try_again_at: None,
            lifted: None,
            answers: Vec::new(),
            fates: Vec::new(),
            steps: 0,
        }
    }

    pub(super) fn push(&mut self, name: &str, fate: Fate) -> &mut Self {
        let content = content(name);
        if !self.fates.iter().any(|(known, _)| *known == content.bundle) {
            self.fates.push((content.bundle.clone(), fate));
        }
        self.head = HeadView::Rendered { content: Box::new(content), candidates: 1, guards: Vec::new() };
        self
    }

    pub(super) fn ask(&mut self, uid: &str, ask: Ask) -> &mut Self {
        self.requests.push(Request {
            uid: uid.to_owned(),
            name: format!("request {uid}"),
            created_at: self.now,
            ask,
            told: false,
            dry_run: false,
            inadmissible: None,
        });
        self
    }

    pub(super) fn sync(accept: Option<&str>) -> Ask {
        Ask::Sync { looked: Resolution::Found, accept: accept.map(bundle), allow_prune: None, from_release: None }
    }

    pub(super) fn rollback(from: u64, to: Option<u64>) -> Ask {
        Ask::Rollback { from, to, include: Vec::new() }
    }

    pub(super) fn pass(&mut self, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }

    /// An object that is live degrades.
    pub(super) fn degrade(&mut self, id: ObjectId, why: &str) -> &mut Self {
        self.live.unhealthy = vec![(id, Health::new(HealthStatus::Degraded, why))];
        self.degraded_since = Some(self.now);
        self
    }

    /// All is healthy again.
    pub(super) fn heal(&mut self) -> &mut Self {
        self.live.unhealthy.clear();
        self.degraded_since = None;
        self
    }

    /// The process dies and comes back: only what is in the cluster is left.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.attempt = None;
        self
    }

    pub(super) fn decide(&self) -> Decision {
        decide(&View {
            suspended: self.suspended,
            attempt: self.attempt.as_ref(),
            requests: &self.requests,
            brake: self.brake,
            repair_not_before: self.repair_not_before,
            degraded_since: self.degraded_since,
            watched: self.watched.as_ref(),
            analysis: self.analysis.as_deref(),
            inherits: self.inherits,
            offered: self.offered,
            dependencies: &self.dependencies,
            try_again_at: self.try_again_at,
            lifted: self.lifted.as_ref(),
            ..view(self.now, &self.settings, &self.head, &self.history, &self.live)
        })
    }

    /// Does what is decided until nothing is. Returns when to look again.
    pub(super) fn settle(&mut self) -> Option<Timestamp> {
        self.steps = 0;
        loop {
            self.steps += 1;
            assert!(self.steps < 200, "it does not come to rest: {:?}", self.decide());
            match self.decide() {
                Decision::Rest(until) => return until,
                decision => self.carry_out(decision),
            }
        }
    }

    /// Does one thing.
    pub(super) fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Rest(_) => {}
            Decision::Look { .. } | Decision::DryRun { .. } => unreachable!("no test asks for it"),
            Decision::Answer(answer) => {
                if answer.phase == crate::api::RequestPhase::Running {
                    self.requests.iter_mut().filter(|one| one.uid == answer.request).for_each(|one| one.told = true);
                } else {
                    self.requests.retain(|request| request.uid != answer.request);
                }
                self.answers.push(answer);
            }
            Decision::Begin(begin) => self.begin(&begin),
            Decision::Plan => self.plan(),
            Decision::Apply => self.apply(),
            Decision::TellBrake => self.brake = BrakeView::Listens(self.now + SignedDuration::from_secs(2)),
            Decision::End(end) => self.end(end),
            Decision::Repair => {
                self.repairs += 1;
                self.live.drifted.clear();
                self.live.gone.clear();
            }
            Decision::TryAgain => {
                self.tries += 1;
                let head = self.head.content().unwrap().bundle.clone();
                let refused = self
                    .fates
                    .iter()
                    .any(|(known, fate)| *known == head && matches!(fate, Fate::Refused | Fate::Unanswered));
                self.lifted = (!refused).then_some(head);
                self.try_again_at = refused.then(|| self.now + SignedDuration::from_secs(60));
            }
            Decision::NoteDegraded { release, message, rollback, by_analysis } => {
                let mut noted = self.history.get(release).unwrap().clone();
                let after = noted.status.get_or_insert_default().after.get_or_insert_default();
                assert!(after.degraded_at.is_none(), "it is noted once");
                after.degraded_at = Some(self.now);
                after.degraded = message;
                after.by_analysis = by_analysis;
                after.rollback = Some(rollback).filter(|verdict| *verdict != crate::api::RollbackVerdict::None);
                self.history.put(noted);
            }
        }
    }

    fn begin(&mut self, begin: &Begin) {
        let content = match begin.content {
            Content::Head => self.head.content().unwrap().clone(),
            Content::Release(number) => {
                let spec = &self.history.get(number).unwrap().spec;
                ContentId { bundle: spec.bundle.clone(), inputs: spec.inputs.clone(), commit: spec.commit.clone() }
            }
        };
        self.inherits = false;
        assert!(self.history.running().is_none(), "two releases are in progress");
        let number = self.history.next_number();
        let spec = release_spec(begin, content, &self.history, self.settings.generation, self.now);
        let mut release = Release::new(&format!("shop-{number}"), spec);
        release.status = Some(ReleaseStatus::default());
        self.history.put(release);
        let mut attempt = Attempt::new(number);
        attempt.changed = BTreeSet::from([web()]);
        attempt.counting_since = Some(self.now);
        self.attempt = Some(attempt);
    }

    fn fate(&self) -> Fate {
        let running = self.history.running().unwrap();
        self.fates.iter().find(|(known, _)| *known == running.spec.bundle).map_or(Fate::Healthy, |(_, fate)| *fate)
    }

    fn plan(&mut self) {
        let number = self.history.running().unwrap().spec.number;
        let (fate, now) = (self.fate(), self.now);
        if self.attempt.as_ref().is_none_or(|attempt| attempt.release != number) {
            let mut attempt = Attempt::new(number);
            attempt.changed = BTreeSet::from([web()]);
            self.attempt = Some(attempt);
        }
        let attempt = self.attempt.as_mut().unwrap();
        if attempt.stage == Stage::Applied {
            self.repair_not_before = Some(now + SignedDuration::from_secs(2));
        }
        attempt.counting_since.get_or_insert(now);
        attempt.stage = match fate {
            Fate::Refused => Stage::Failed { message: "it is refused".into(), failures: Vec::new() },
            Fate::Unanswered => Stage::Retry { at: now + SignedDuration::from_secs(30), message: "no answer".into() },
            Fate::Healthy | Fate::Hangs | Fate::Breaks => Stage::Planned { stages_left: 1 },
        };
    }

    fn apply(&mut self) {
        let fate = self.fate();
        let attempt = self.attempt.as_mut().unwrap();
        attempt.touched = true;
        attempt.stage = Stage::Applied;
        self.live.unhealthy.clear();
        self.live.drifted.clear();
        self.live.gone.clear();
        match fate {
            Fate::Hangs => {
                self.live.unhealthy.push((web(), Health::new(HealthStatus::Progressing, "0 of 3 replicas available")));
            }
            Fate::Breaks => {
                attempt.stage = Stage::Failed { message: "it breaks half-way".into(), failures: Vec::new() };
            }
            Fate::Healthy | Fate::Refused | Fate::Unanswered => {}
        }
    }

    fn end(&mut self, end: End) {
        let touched = self.attempt.as_ref().is_none_or(|attempt| attempt.touched);
        let mut release = self.history.get(end.release).unwrap().clone();
        let status = release.status.get_or_insert_default();
        assert!(status.outcome.is_none(), "an outcome is written once");
        status.outcome = Some(ReleaseOutcome {
            phase: end.phase,
            message: end.message,
            failures: end.failures,
            written: 1,
            touched_cluster: touched,
            rollback: end.rollback,
            durations: crate::api::ReleaseDurations::default(),
            ended_at: self.now,
        });
        let healthy = end.phase == Phase::Healthy;
        self.watched = self.attempt.take().filter(|_| healthy).map(|attempt| Watched {
            release: attempt.release,
            changed: attempt.changed,
            irreversible: attempt.irreversible,
        });
        self.history.put(release);
        self.lifted = None;
        self.try_again_at = Some(self.now + SignedDuration::from_secs(60));
    }

    /// The story so far, one word a release: `1:a:Push:Healthy`.
    pub(super) fn story(&self) -> String {
        let releases = self.history.iter().map(|release| {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            let phase = outcome.map_or("running".to_owned(), |outcome| outcome.phase.to_string());
            format!("{} {} {} {phase}", release.spec.number, release.spec.commit.short, release.spec.cause)
        });
        releases.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn newest_phase(&self) -> Option<Phase> {
        Some(self.history.current()?.status.as_ref()?.outcome.as_ref()?.phase)
    }
}
