//! One controller: what it knows of the application, and how it does what is
//! decided, step by step as the actor does, with every place at which it may
//! die or be left without an answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{
        Ask, Attempt, BrakeView, Decision, End, HeadView, Live, Request, Resolution, Settings, Stage, View, Watched,
        decide, world,
    },
    cluster::{Cluster, Stop, is_final},
    happening::Trap,
    laws::{self, broken},
};
use crate::{
    api::{Phase, Release, RequestPhase, RollbackVerdict},
    health::HealthStatus,
    history::History,
    manifest::BundleDigest,
};

/// How long the brake listens.
const MOMENT: SignedDuration = SignedDuration::from_secs(2);

/// What a controller holds in memory.
pub(super) struct Controller {
    /// Whether its writes to objects reach the server: it holds the lease.
    pub(super) holds: bool,
    /// How many things that it began as the leader still reach the server.
    pub(super) in_flight: u8,
    pub(super) trap: Option<(u8, Trap)>,
    pub(super) deaf: bool,
    pub(super) settled: bool,
    pub(super) loaded: bool,
    pub(super) history: History,
    pub(super) head: HeadView,
    pub(super) heard: u64,
    pub(super) settings: Settings,
    pub(super) suspended: bool,
    pub(super) brake: bool,
    /// When the brake was told that the application breaks.
    pub(super) told_brake: Option<Timestamp>,
    pub(super) application: String,
    pub(super) live: Live,
    pub(super) attempt: Option<Attempt>,
    pub(super) planned_on: u64,
    pub(super) stages: u32,
    pub(super) tries: u32,
    pub(super) waiting_noted: bool,
    pub(super) requests: Vec<Request>,
    pub(super) told: BTreeSet<String>,
    pub(super) answered: BTreeSet<String>,
    pub(super) resolutions: BTreeMap<String, Resolution>,
    pub(super) repair_not_before: Option<Timestamp>,
    pub(super) degraded_since: Option<Timestamp>,
    pub(super) watched: Option<Watched>,
    pub(super) unusable_target: Option<u64>,
    pub(super) try_again_at: Option<Timestamp>,
    pub(super) lifted: Option<BundleDigest>,
    pub(super) tried: Option<BundleDigest>,
    pub(super) looks: u32,
}

impl Controller {
    /// A process that has just started. What it does not know it reads.
    pub(super) fn started(holds: bool) -> Self {
        Self {
            holds,
            in_flight: 0,
            trap: None,
            deaf: false,
            settled: true,
            loaded: false,
            history: History::default(),
            head: HeadView::Unknown,
            heard: 0,
            settings: world::settings(),
            suspended: false,
            brake: false,
            told_brake: None,
            application: String::new(),
            live: Live::default(),
            attempt: None,
            planned_on: 0,
            stages: 0,
            tries: 0,
            waiting_noted: false,
            requests: Vec::new(),
            told: BTreeSet::new(),
            answered: BTreeSet::new(),
            resolutions: BTreeMap::new(),
            repair_not_before: None,
            degraded_since: None,
            watched: None,
            unusable_target: None,
            try_again_at: None,
            lifted: None,
            tried: None,
            looks: 0,
        }
    }

    /// The process dies and comes back; it reads everything anew.
    pub(super) fn restart(&mut self, cluster: &Cluster) {
        *self = Self { settled: self.settled, ..Self::started(self.holds) };
        self.hear(cluster);
    }

    /// Whether it does anything: it leads, or has begun something while it did.
    pub(super) fn acts(&self) -> bool {
        self.holds || self.in_flight > 0
    }

    /// Hears of the head.
    pub(super) fn hear(&mut self, cluster: &Cluster) {
        if self.heard < cluster.commits {
            self.heard = cluster.commits;
            // What was rendered before stays known when the next cannot be.
            self.head = cluster.head.clone();
        }
    }

    /// Takes in what the watches say.
    pub(super) fn notice(&mut self, cluster: &Cluster) {
        if !self.deaf || self.application.is_empty() {
            if self.application != cluster.uid() {
                // Another Application took the name: nothing known is of it.
                *self = Self {
                    application: cluster.uid(),
                    trap: self.trap,
                    in_flight: self.in_flight,
                    settled: self.settled,
                    ..Self::started(self.holds)
                };
                self.hear(cluster);
                self.load(cluster);
            }
            if self.is_overtaken(cluster) {
                self.load(cluster);
            }
            self.settings = cluster.settings.clone();
            self.suspended = cluster.suspended;
            self.brake = cluster.brake;
            self.look_for_requests(cluster);
            self.see(cluster);
        }
        self.count_time(cluster.now());
    }

    /// Whether another controller has written since.
    pub(super) fn is_overtaken(&self, cluster: &Cluster) -> bool {
        let ended = |release: &Release| release.status.as_ref().is_some_and(|status| status.outcome.is_some());
        let newest = self.history.current().map_or(0, |release| release.spec.number);
        let running = self.history.running().map(|release| release.spec.number);
        let degraded = |release: &Release| {
            let after = release.status.as_ref().and_then(|status| status.after.as_ref());
            after.is_some_and(|after| after.degraded_at.is_some())
        };
        let is_news = |release: &Release| {
            let known = self.history.get(release.spec.number);
            known.is_some_and(|known| degraded(release) && !degraded(known))
        };
        cluster.history.iter().any(is_news)
            || cluster.history.current().is_some_and(|release| release.spec.number > newest)
            || running.and_then(|number| cluster.history.get(number)).is_some_and(ended)
    }

    pub(super) fn look_for_requests(&mut self, cluster: &Cluster) {
        let open = cluster.requests.iter().filter(|asked| !asked.phase.is_some_and(is_final));
        self.requests = open
            .filter(|asked| !self.answered.contains(&asked.request.uid))
            .map(|asked| {
                let mut request = asked.request.clone();
                request.told = self.told.contains(&request.uid) || asked.phase == Some(RequestPhase::Running);
                if let Ask::Sync { looked, .. } = &mut request.ask {
                    *looked = self.resolutions.get(&request.uid).cloned().unwrap_or(Resolution::Pending);
                }
                request
            })
            .collect();
    }

    /// Looks at the objects, as after a write of its own.
    pub(super) fn see(&mut self, cluster: &Cluster) {
        let (now, settled) = (cluster.now(), self.settled);
        self.live = cluster.live(settled);
        let degraded = self.live.unhealthy.iter().any(|(_, health)| health.status == HealthStatus::Degraded);
        let degraded = settled && degraded && self.history.running().is_none();
        self.degraded_since = if degraded { self.degraded_since.or(Some(now)) } else { None };
        self.count_time(now);
    }

    pub(super) fn count_time(&mut self, now: Timestamp) {
        let Some(attempt) = &mut self.attempt else { return };
        let counts = self.live.settled || attempt.stage != Stage::Applied;
        match (counts, attempt.counting_since) {
            (true, None) => attempt.counting_since = Some(now),
            (false, Some(since)) => {
                attempt.counted += now.duration_since(since).max(SignedDuration::ZERO);
                attempt.counting_since = None;
            }
            _ => {}
        }
    }

    fn brake(&self, now: Timestamp) -> BrakeView {
        match self.told_brake {
            _ if self.brake => BrakeView::Pulled,
            None => BrakeView::Untold,
            Some(told) if now < told + MOMENT => BrakeView::Listens(told + MOMENT),
            Some(_) => BrakeView::Off,
        }
    }

    pub(super) fn view(&self, now: Timestamp) -> View<'_> {
        View {
            suspended: self.suspended,
            attempt: self.attempt.as_ref(),
            requests: &self.requests,
            brake: self.brake(now),
            repair_not_before: self.repair_not_before,
            inherits: self.inherits(),
            degraded_since: self.degraded_since,
            watched: self.watched.as_ref(),
            try_again_at: self.try_again_at,
            lifted: self.lifted.as_ref(),
            unusable_target: self.unusable_target,
            ..world::view(now, &self.settings, &self.head, &self.history, &self.live)
        }
    }

    /// What it knows, for who wants to judge it.
    pub(super) fn with_view<T>(&self, cluster: &Cluster, look: impl FnOnce(&View<'_>) -> T) -> T {
        look(&self.view(cluster.now()))
    }

    pub(super) fn inherits(&self) -> bool {
        self.history.current().is_some_and(|newest| newest.spec.application_uid != self.application)
    }

    /// One round: what is known, what to do, doing it. Gives what was decided.
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> Result<Decision, Stop> {
        if !self.loaded {
            self.load(cluster);
        }
        self.notice(cluster);
        if let Some(running) = self.history.running()
            && running.spec.application_uid != self.application
        {
            let end = End {
                release: running.spec.number,
                phase: Phase::Superseded,
                message: "another Application of this name took its place".into(),
                failures: Vec::new(),
                rollback: RollbackVerdict::None,
            };
            return self.end(cluster, &end).map(|()| Decision::End(end));
        }
        let now = cluster.now();
        self.recall_watched();
        let decision = decide(&self.view(now));
        let done = match &decision {
            Decision::Rest(until) => {
                self.rested(now, *until)?;
                self.settle(cluster)
            }
            Decision::Look { request } => {
                // The answer comes as an event.
                self.look_for(request, Resolution::Looking);
                Ok(())
            }
            Decision::Answer(answer) => self.answer(cluster, answer),
            Decision::DryRun { request, content } => self.dry_run(cluster, request, *content),
            Decision::Begin(begin) => self.begin(cluster, begin),
            Decision::Plan => self.plan(cluster),
            Decision::Apply => self.apply(cluster),
            Decision::TellBrake => {
                self.told_brake = Some(cluster.now());
                Ok(())
            }
            Decision::End(end) => self.end(cluster, end),
            Decision::Repair => self.repair(cluster),
            Decision::NoteDegraded { release, message, rollback, .. } => {
                self.note_degraded(cluster, *release, message, *rollback)
            }
            Decision::TryAgain => self.try_again(cluster),
        };
        match done {
            Ok(()) => Ok(decision),
            Err(stop) => {
                if stop == Stop::Conflict {
                    self.loaded = false;
                }
                Err(stop)
            }
        }
    }

    pub(super) fn look_for(&mut self, uid: &str, resolution: Resolution) {
        for request in self.requests.iter_mut().filter(|request| request.uid == uid) {
            if let Ask::Sync { looked, .. } = &mut request.ask {
                looked.clone_from(&resolution);
            }
        }
        self.resolutions.insert(uid.to_owned(), resolution);
    }

    /// What was looked up in the repository arrives.
    pub(super) fn take_looked(&mut self, cluster: &Cluster) -> bool {
        let looking = self.resolutions.iter().filter(|(_, resolution)| **resolution == Resolution::Looking);
        let looking: Vec<String> = looking.map(|(uid, _)| uid.clone()).collect();
        for uid in &looking {
            let unreadable = cluster.requests.iter().any(|asked| asked.request.uid == *uid && asked.unreadable);
            if unreadable {
                self.look_for(uid, Resolution::Failed("it cannot be read".into()));
            } else {
                self.look_for(uid, Resolution::Found);
                self.hear(cluster);
            }
        }
        !looking.is_empty()
    }

    pub(super) fn load(&mut self, cluster: &Cluster) {
        self.history = cluster.history.clone();
        let running = self.history.running().map(|release| release.spec.number);
        match &mut self.attempt {
            Some(attempt) if Some(attempt.release) == running => attempt.stage = Stage::Unplanned,
            attempt => *attempt = None,
        }
        self.loaded = true;
        if self.try_again_at.is_none() {
            self.put_off(cluster.now());
        }
    }

    /// A write to what Bowline itself keeps.
    pub(super) fn send<T>(
        &mut self,
        cluster: &mut Cluster,
        write: impl FnOnce(&mut Cluster) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if !self.holds && self.in_flight == 0 {
            return Err(Stop::Unknown);
        }
        let sprung = match &mut self.trap {
            None => None,
            Some((0, trap)) => Some(*trap),
            Some((writes, _)) => {
                *writes -= 1;
                None
            }
        };
        cluster.came_late |= !self.holds;
        let Some(trap) = sprung else { return write(cluster) };
        self.trap = None;
        if matches!(trap, Trap::DiesAfter | Trap::AnswerLost)
            && let Err(Stop::Broken(broken)) = write(cluster)
        {
            return Err(Stop::Broken(broken));
        }
        if matches!(trap, Trap::DiesBefore | Trap::DiesAfter) {
            self.restart(cluster);
            return Err(Stop::Died);
        }
        Err(Stop::Unknown)
    }

    pub(super) fn rested(&self, now: Timestamp, until: Option<Timestamp>) -> Result<(), Stop> {
        if let Some(until) = until
            && until <= now
        {
            broken::<()>(laws::COMES_TO_REST, format!("it rests until {until}, which is over at {now}"))?;
        }
        let Some(attempt) = self.attempt.as_ref().filter(|_| self.history.running().is_some()) else { return Ok(()) };
        if attempt.counting_since.is_some() && !self.settings.observe_only {
            let deadline = now + (self.settings.timeout - attempt.elapsed(now));
            // What is over may wait for the brake, and for nothing else.
            let deadline = match self.brake(now) {
                BrakeView::Listens(listens) => deadline.max(listens),
                _ => deadline,
            };
            if until.is_none_or(|until| until > deadline) {
                broken::<()>(laws::WAKES_UP, format!("it rests until {until:?}, and the deadline is {deadline}"))?;
            }
        }
        Ok(())
    }
}
