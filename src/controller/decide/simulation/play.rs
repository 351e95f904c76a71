//! A history, played: what happens, what the controllers do, and what must
//! hold in the end.

use super::{
    super::{Ask, Decision, HeadView, Resolution, is_live, is_refused_before, is_rejected, may_try_again},
    cluster::{Cluster, Stop, is_final},
    content::{self, Fate},
    controller::Controller,
    happening::{Accept, Happening, Moment},
    laws::{self, Broken, broken},
};
use crate::{
    api::{DriftPolicy, Phase, SyncMode},
    health::HealthStatus,
    history,
    plan::{Refusal, RefusalReason},
};

/// So many things in a row are done for one input at most.
const DECISIONS: u32 = 60;
/// So often it wakes up by itself at most before everything has ended: a
/// release that is never answered is tried a dozen times until its deadline.
const WAKINGS: u32 = 120;
/// More tries of what was refused than any refusal lasts.
const TRIES_IN_VAIN: u32 = 10;
/// What is further away than that is put off for ever.
const A_WEEK: i64 = 7 * 86_400;

/// Two controllers, and what they share.
struct Play {
    cluster: Cluster,
    controllers: [Controller; 2],
    /// What was done, in words, if somebody wants to read it.
    told: Option<Vec<(String, u32)>>,
    decisions: u32,
    /// So often in a row it did nothing but look whether what was refused
    /// would go through by now.
    in_vain: u32,
}

/// Plays a history to its end.
pub(super) fn play(moments: &[Moment], tell: bool) -> (Result<(), Broken>, Vec<String>) {
    let mut play = Play {
        cluster: Cluster::new(),
        controllers: [Controller::started(true), Controller::started(false)],
        told: tell.then(Vec::new),
        decisions: 0,
        in_vain: 0,
    };
    let mut result = Ok(());
    for (number, moment) in moments.iter().enumerate() {
        play.tell(|| format!("#{} {moment}", number + 1));
        result = play.moment(moment);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        play.tell(|| "then nothing more happens".to_owned());
        result = play.come_to_an_end();
    }
    let told = play.told.unwrap_or_default().into_iter();
    let told = told.map(|(words, times)| if times > 1 { format!("{words} ({times} times)") } else { words });
    (result, told.collect())
}

impl Play {
    fn tell(&mut self, words: impl FnOnce() -> String) {
        let Some(told) = &mut self.told else { return };
        let words = words();
        match told.last_mut() {
            Some((last, times)) if *last == words => *times += 1,
            _ => told.push((words, 1)),
        }
    }

    fn moment(&mut self, moment: &Moment) -> Result<(), Broken> {
        self.happen(moment.happening)?;
        self.work(moment.pace)
    }

    /// Lets both controllers do so many things, or all there is to do.
    fn work(&mut self, pace: Option<u8>) -> Result<(), Broken> {
        for who in 0..2 {
            let mut left = pace.map_or(u32::MAX, u32::from);
            while left > 0 && self.controllers[who].acts() {
                left -= 1;
                if self.step(who)?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One step of one controller; if it rests, until when.
    fn step(&mut self, who: usize) -> Result<Option<Option<jiff::Timestamp>>, Broken> {
        self.decisions += 1;
        if self.decisions > DECISIONS {
            return broken(laws::COMES_TO_REST, format!("{DECISIONS} things were done for one input"));
        }
        let controller = &mut self.controllers[who];
        let step = controller.step(&mut self.cluster);
        if !controller.holds {
            controller.in_flight = controller.in_flight.saturating_sub(1);
        }
        if let Ok(Decision::Rest(until)) = step {
            // What was looked up in the repository arrives in a rest.
            if !controller.deaf && controller.take_looked(&self.cluster) {
                return Ok(None);
            }
            self.decisions = 0;
            return Ok(Some(until));
        }
        self.in_vain = if step == Ok(Decision::TryAgain) { self.in_vain + 1 } else { 0 };
        self.tell(|| {
            let name = if who == 0 { "first" } else { "second" };
            match &step {
                Ok(decision) => format!("      {name}: {}", words(decision)),
                Err(stop) => format!("      {name}: {stop:?}"),
            }
        });
        match step {
            Err(Stop::Broken(broken)) => Err(broken),
            _ => Ok(None),
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        self.decisions = 0;
        match happening {
            Happening::Push { content, fate, late } => {
                self.cluster.fates.insert(content, fate);
                self.push(rendered(content, Vec::new()), late);
            }
            Happening::PushBroken => {
                self.push(HeadView::Broken { reason: "RenderFailed".into(), message: "web.yaml:3:1".into() }, false);
            }
            Happening::PushGuarded { content } => self.push(rendered(content, vec![guard()]), false),
            Happening::Poll => self.poll(),
            Happening::Fate { content, fate } => {
                self.cluster.fates.insert(content, fate);
            }
            Happening::Pass { seconds } => self.pass(i64::from(seconds))?,
            Happening::Jump { seconds } => self.cluster.off += i64::from(seconds),
            Happening::Restart(who) => self.controllers[who].restart(&self.cluster),
            Happening::Trap { who, writes, trap } => self.controllers[who].trap = Some((writes, trap)),
            Happening::LeaseMoves { in_flight } => self.move_lease(in_flight),
            Happening::Sync { accept, allow_prune, dry_run, unreadable } => {
                let accept = match accept {
                    Accept::Nothing => None,
                    Accept::Head => self.cluster.head.content().map(|content| content.bundle.clone()),
                    Accept::Content(content) => Some(content::of(content).bundle.clone()),
                };
                let allow_prune =
                    allow_prune.then(|| crate::manifest::PlanDigest(crate::manifest::Digest::of(b"the plan")));
                let ask = Ask::Sync { looked: Resolution::Pending, accept, allow_prune, from_release: None };
                self.cluster.ask(ask, dry_run, unreadable, None);
            }
            Happening::Rollback { back, stale, dry_run } => {
                let newest = self.cluster.history.current().map_or(1, |release| release.spec.number);
                let from = if stale { newest.saturating_sub(1).max(1) } else { newest };
                let to = back.map(|back| newest.saturating_sub(u64::from(back)).max(1));
                self.cluster.ask(Ask::Rollback { from, to, include: Vec::new() }, dry_run, false, None);
            }
            Happening::Inadmissible => {
                let ask =
                    Ask::Sync { looked: Resolution::Pending, accept: None, allow_prune: None, from_release: None };
                self.cluster.ask(ask, false, false, Some("the right to it could not be checked".into()));
            }
            Happening::Suspend(suspended) => self.cluster.suspended = suspended,
            Happening::Manual(manual) => {
                self.cluster.settings.mode = if manual { SyncMode::Manual } else { SyncMode::Automatic };
            }
            Happening::Brake(pulled) => self.cluster.brake = pulled,
            Happening::AutomaticRollback(on) => self.cluster.settings.automatic_rollback = on,
            Happening::ReportDrift(report) => {
                self.cluster.settings.drift = if report { DriftPolicy::Report } else { DriftPolicy::Repair };
            }
            Happening::Edit => self.cluster.settings.generation += 1,
            Happening::MadeAgain => self.cluster.application += 1,
            Happening::Drift => self.touch(|objects| objects.drifted = true),
            Happening::Gone => self.touch(|objects| objects.gone = true),
            Happening::Neighbour { sick } => self.cluster.objects.neighbour_is_sick = sick,
            Happening::Degrades => self.touch(|objects| objects.health = Some(HealthStatus::Degraded)),
            Happening::Heals => self.touch(|objects| objects.health = Some(HealthStatus::Healthy)),
            Happening::Watches { who, settled } => self.controllers[who].settled = settled,
            Happening::Deaf { who, deaf } => self.controllers[who].deaf = deaf,
            Happening::ContentLost { back } => {
                let newest = self.cluster.history.current().map_or(1, |release| release.spec.number);
                self.cluster.lost.insert(newest.saturating_sub(u64::from(back)));
            }
        }
        Ok(())
    }

    fn touch(&mut self, change: impl FnOnce(&mut super::cluster::Objects)) {
        if self.cluster.objects.bundle.is_some() {
            self.cluster.objects.version += 1;
            change(&mut self.cluster.objects);
        }
    }

    fn push(&mut self, head: HeadView, late: bool) {
        self.cluster.push(head);
        if !late {
            self.poll();
        }
    }

    fn poll(&mut self) {
        for controller in &mut self.controllers {
            controller.hear(&self.cluster);
        }
    }

    fn move_lease(&mut self, in_flight: u8) {
        for controller in &mut self.controllers {
            if controller.holds {
                controller.holds = false;
                controller.in_flight = in_flight;
            } else {
                // Who begins to lead reads everything anew.
                controller.holds = true;
                controller.restart(&self.cluster);
            }
        }
    }

    /// Time passes; who wakes up, or hears that an object's health changed,
    /// does what there is to do.
    fn pass(&mut self, seconds: i64) -> Result<(), Broken> {
        let end = self.cluster.seconds + seconds;
        for _ in 0..WAKINGS {
            let at = self.cluster.next_change().into_iter().chain(self.wake_at()?).min();
            let Some(at) = at.filter(|at| *at <= end) else { break };
            self.cluster.seconds = at.max(self.cluster.seconds);
            self.decisions = 0;
            self.work(None)?;
        }
        self.cluster.seconds = end;
        Ok(())
    }

    /// When one of the controllers wakes up by itself, in the cluster's
    /// seconds.
    fn wake_at(&mut self) -> Result<Option<i64>, Broken> {
        let mut soonest: Option<i64> = None;
        for who in 0..2 {
            let Some(until) = self.until(who)? else { continue };
            let seconds = until.as_second() - self.cluster.off + i64::from(until.subsec_nanosecond() > 0);
            soonest = Some(soonest.map_or(seconds, |soonest| soonest.min(seconds)));
        }
        Ok(soonest)
    }

    /// Until when a controller rests, once it does.
    fn until(&mut self, who: usize) -> Result<Option<jiff::Timestamp>, Broken> {
        while self.controllers[who].holds {
            if let Some(until) = self.step(who)? {
                return Ok(until);
            }
        }
        Ok(None)
    }

    /// Nothing more happens: every event arrives, time passes, and what runs
    /// ends.
    fn come_to_an_end(&mut self) -> Result<(), Broken> {
        for controller in &mut self.controllers {
            controller.deaf = false;
            controller.settled = true;
            controller.trap = None;
            controller.in_flight = 0;
        }
        self.cluster.brake = false;
        self.decisions = 0;
        self.in_vain = 0;
        self.poll();
        let mut wakings = 0;
        while self.in_vain < TRIES_IN_VAIN {
            self.work(None)?;
            let at = self.cluster.next_change().into_iter().chain(self.wake_at()?).min();
            let Some(at) = at.filter(|at| *at < self.cluster.seconds + A_WEEK) else { break };
            wakings += 1;
            if wakings > WAKINGS {
                return broken(laws::COMES_TO_REST, format!("it woke up {WAKINGS} times with nothing new"));
            }
            self.cluster.seconds = at.max(self.cluster.seconds);
            self.decisions = 0;
        }
        self.in_the_end()
    }

    fn in_the_end(&self) -> Result<(), Broken> {
        let cluster = &self.cluster;
        let report = history::verify(cluster.history.releases(), cluster.history.tip().as_ref());
        if !report.problems.is_empty() {
            return broken(laws::CHAIN_IS_WHOLE, format!("{:?}", report.problems));
        }
        if let Some(running) = cluster.history.running() {
            return broken(laws::HEAD_IS_LIVE, format!("release {} still runs", running.spec.number));
        }
        if let Some(asked) = cluster.requests.iter().find(|asked| !asked.phase.is_some_and(is_final)) {
            return broken(laws::REQUESTS_END, format!("{} is still {:?}", asked.request.uid, asked.phase));
        }
        let Some(leader) = self.controllers.iter().find(|controller| controller.holds) else { return Ok(()) };
        leader.with_view(cluster, |view| {
            let Some(content) = view.head.content() else { return Ok(()) };
            let HeadView::Rendered { guards, .. } = view.head else { return Ok(()) };
            if view.suspended || !guards.is_empty() || is_rejected(view, content) {
                return Ok(());
            }
            if !is_live(view) {
                let failed = is_refused_before(view, content);
                let over = may_try_again(view)
                    && !matches!(cluster.fate(&content.bundle), Fate::Refused | Fate::Unanswered(_));
                if view.settings.mode == SyncMode::Manual || (failed && !over) {
                    return Ok(());
                }
                return broken(laws::HEAD_IS_LIVE, format!("{} is not", content.commit.short));
            }
            let objects = &cluster.objects;
            let differs = objects.drifted || objects.gone;
            let is_there = objects.bundle.as_ref() == Some(&content.bundle) && objects.whole;
            let applied = view.history.applied().map(|release| release.spec.number).unwrap_or_default();
            let left = view.settings.drift == DriftPolicy::Report || cluster.lost.contains(&applied);
            if !is_there || (differs && !left) {
                return broken(laws::HEAD_IS_LIVE, format!("{} is said to be live, and is not", content.commit.short));
            }
            Ok(())
        })
    }
}

fn rendered(number: u8, guards: Vec<Refusal>) -> HeadView {
    HeadView::Rendered { content: Box::new(content::of(number).clone()), candidates: 1, guards }
}

fn guard() -> Refusal {
    Refusal {
        reason: RefusalReason::EmptyRender,
        object: None,
        message: "it renders nothing".into(),
        hint: None,
        transient: false,
    }
}

/// What was decided, in a few words.
fn words(decision: &Decision) -> String {
    match decision {
        Decision::Begin(begin) => format!("begins a release ({}, {:?})", begin.cause, begin.content),
        Decision::End(end) => {
            let why = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
            let verdict = match end.phase {
                Phase::Failed => format!(" (rollback: {})", end.rollback),
                _ => String::new(),
            };
            format!("ends release {} as {}{why}{verdict}", end.release, end.phase)
        }
        Decision::Answer(answer) => format!("answers {}: {} ({})", answer.request, answer.phase, answer.message),
        other => format!("{other:?}"),
    }
}
