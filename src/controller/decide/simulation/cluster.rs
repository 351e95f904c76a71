//! What both controllers share: the repository, the API server with what is
//! stored there, and the objects.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{Ask, ContentId, HeadView, Live, Request, Settings, world},
    content::{self, Fate},
    laws::{self, Broken, Ledger, broken},
};
use crate::{
    api::{Phase, Release, ReleaseAfter, ReleaseOutcome, ReleaseSpec, ReleaseStatus, RequestPhase, RollbackVerdict},
    health::{Health, HealthStatus},
    history::{History, release_digest},
    manifest::{BundleDigest, GroupKind, ObjectId},
};

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody else was faster.
    Conflict,
    /// The server was not reached, or its answer was lost.
    Unknown,
    /// The process died.
    Died,
    /// A law is broken.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// A request as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) unreadable: bool,
    pub(super) phase: Option<RequestPhase>,
}

/// The objects of the application.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    /// Grows with each write, as a resourceVersion does.
    pub(super) version: u64,
    pub(super) bundle: Option<BundleDigest>,
    /// Whether all of it is as the bundle says.
    pub(super) whole: bool,
    applied_at: i64,
    fate: Fate,
    pub(super) drifted: bool,
    pub(super) gone: bool,
    pub(super) neighbour_is_sick: bool,
    pub(super) health: Option<HealthStatus>,
}

/// The shared truth.
pub(super) struct Cluster {
    /// Seconds, which only go forward.
    pub(super) seconds: i64,
    /// By how much the controllers' clock is off.
    pub(super) off: i64,
    pub(super) head: HeadView,
    /// Grows with each commit.
    pub(super) commits: u64,
    pub(super) history: History,
    versions: u64,
    pub(super) requests: Vec<Asked>,
    pub(super) settings: Settings,
    pub(super) suspended: bool,
    pub(super) brake: bool,
    /// Which Application of the name it is.
    pub(super) application: u32,
    pub(super) objects: Objects,
    pub(super) fates: BTreeMap<u8, Fate>,
    pub(super) lost: BTreeSet<u64>,
    pub(super) ledger: Ledger,
    /// Whether something that an old leader sent arrived after it led.
    pub(super) came_late: bool,
}

pub(super) fn neighbour() -> ObjectId {
    ObjectId::new(GroupKind::new("apps", "StatefulSet"), Some("team".into()), "neighbour")
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            seconds: 1_000_000,
            off: 0,
            head: HeadView::Unknown,
            commits: 0,
            history: History::default(),
            versions: 0,
            requests: Vec::new(),
            settings: world::settings(),
            suspended: false,
            brake: false,
            application: 1,
            objects: Objects {
                version: 0,
                bundle: None,
                whole: false,
                applied_at: 0,
                fate: Fate::Healthy,
                drifted: false,
                gone: false,
                neighbour_is_sick: false,
                health: None,
            },
            fates: BTreeMap::new(),
            lost: BTreeSet::new(),
            ledger: Ledger::default(),
            came_late: false,
        }
    }

    /// What the clocks of the controllers show.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.seconds + self.off)
    }

    /// What the server's clock shows.
    fn server_time(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.seconds)
    }

    pub(super) fn uid(&self) -> String {
        format!("application-{}", self.application)
    }

    pub(super) fn push(&mut self, head: HeadView) {
        self.head = head;
        self.commits += 1;
    }

    pub(super) fn ask(&mut self, ask: Ask, dry_run: bool, unreadable: bool, inadmissible: Option<String>) {
        let uid = format!("request-{:03}", self.requests.len() + 1);
        let request =
            Request { name: uid.clone(), uid, created_at: self.server_time(), ask, told: false, dry_run, inadmissible };
        self.requests.push(Asked { request, unreadable, phase: None });
    }

    /// How the cluster takes to some content.
    pub(super) fn fate(&self, bundle: &BundleDigest) -> Fate {
        self.fates.get(&content::number_of(bundle)).copied().unwrap_or(Fate::Healthy)
    }

    /// One try less for what works after some.
    pub(super) fn tried(&mut self, bundle: &BundleDigest) {
        if let Some(Fate::Unanswered(left) | Fate::RefusedUntilTry(left)) =
            self.fates.get_mut(&content::number_of(bundle))
            && *left != u8::MAX
        {
            *left = left.saturating_sub(1);
        }
    }

    /// What the watches say.
    pub(super) fn live(&self, settled: bool) -> Live {
        let mut live = Live { settled, ..Live::default() };
        if self.objects.drifted {
            live.drifted.insert(world::web());
        }
        if self.objects.gone {
            live.gone.insert(world::web());
        } else if let Some(health) = self.health() {
            live.unhealthy.push((world::web(), health));
        }
        if self.objects.neighbour_is_sick {
            live.unhealthy.push((neighbour(), Health::new(HealthStatus::Degraded, "it is sick")));
        }
        live
    }

    fn health(&self) -> Option<Health> {
        self.objects.bundle.as_ref()?;
        let bad = |status, reason: &str| Some(Health::new(status, reason));
        if let Some(status) = self.objects.health {
            return if status == HealthStatus::Healthy { None } else { bad(status, "0 of 3 replicas available") };
        }
        let age = self.seconds - self.objects.applied_at;
        match self.objects.fate {
            Fate::Slow(seconds) if age < i64::from(seconds) => {
                bad(HealthStatus::Progressing, "1 of 3 replicas available")
            }
            Fate::Hangs => bad(HealthStatus::Progressing, "0 of 3 replicas available"),
            Fate::Degrades(seconds) if age >= i64::from(seconds) => bad(HealthStatus::Degraded, "it crashes"),
            _ => None,
        }
    }

    /// When the health of what is live changes next by itself.
    pub(super) fn next_change(&self) -> Option<i64> {
        self.objects.bundle.as_ref()?;
        if self.objects.health.is_some() {
            return None;
        }
        let (Fate::Slow(seconds) | Fate::Degrades(seconds)) = self.objects.fate else { return None };
        Some(self.objects.applied_at + i64::from(seconds)).filter(|at| *at > self.seconds)
    }

    fn next_version(&mut self) -> Option<String> {
        self.versions += 1;
        Some(self.versions.to_string())
    }

    /// Makes a release: its name is the compare-and-swap.
    pub(super) fn create(&mut self, spec: ReleaseSpec, lifted: bool) -> Result<Release, Stop> {
        if let Some(there) = self.history.get(spec.number) {
            return if there.spec == spec { Ok(there.clone()) } else { Err(Stop::Conflict) };
        }
        let tip = self.history.current().and_then(release_digest);
        if spec.previous != tip {
            return Ok(broken(laws::CHAIN_IS_WHOLE, format!("release {} names another one before", spec.number))?);
        }
        self.ledger.begun(&spec, lifted)?;
        let mut release = Release::new(&format!("shop-{}", spec.number), spec);
        release.metadata.resource_version = self.next_version();
        self.history.put(release.clone());
        Ok(release)
    }

    /// Changes the status of a release that is still as it was read.
    fn change(&mut self, known: &Release, change: impl FnOnce(&mut ReleaseStatus)) -> Result<Release, Stop> {
        let Some(stored) = self.history.get(known.spec.number) else { return Err(Stop::Conflict) };
        if stored.metadata.resource_version != known.metadata.resource_version {
            return Err(Stop::Conflict);
        }
        let mut release = stored.clone();
        change(release.status.get_or_insert_default());
        release.metadata.resource_version = self.next_version();
        self.history.put(release.clone());
        Ok(release)
    }

    pub(super) fn end(&mut self, known: &Release, outcome: ReleaseOutcome) -> Result<Release, Stop> {
        let (phase, verdict) = (outcome.phase, outcome.rollback);
        let ended = self.change(known, |status| {
            status.phase = Some(phase);
            status.outcome = Some(outcome);
        })?;
        self.ledger.ended(known.spec.number, phase, verdict)?;
        Ok(ended)
    }

    pub(super) fn set_phase(&mut self, known: &Release, phase: Phase) -> Result<Release, Stop> {
        self.change(known, |status| status.phase = Some(phase))
    }

    pub(super) fn note(&mut self, known: &Release, note: impl FnOnce(&mut ReleaseAfter)) -> Result<Release, Stop> {
        let noted = self.change(known, |status| note(status.after.get_or_insert_default()))?;
        let after = noted.status.as_ref().and_then(|status| status.after.as_ref());
        if let Some(after) = after.filter(|after| after.degraded_at.is_some()) {
            self.ledger.degraded(known.spec.number, after.rollback == Some(RollbackVerdict::Automatic));
        }
        Ok(noted)
    }

    pub(super) fn forget(&mut self, number: u64, head: Option<&ContentId>) -> Result<(), Stop> {
        self.history.forget(number);
        Ok(self.ledger.forgotten(number, head)?)
    }

    pub(super) fn answer(&mut self, uid: &str, phase: RequestPhase) -> Result<(), Stop> {
        let Some(asked) = self.requests.iter_mut().find(|asked| asked.request.uid == uid) else { return Ok(()) };
        if let Some(before) = asked.phase.filter(|phase| is_final(*phase))
            && before != phase
        {
            return Ok(broken(laws::REQUESTS_END, format!("{uid} ends {phase}, and ended {before} before"))?);
        }
        asked.phase = Some(phase);
        Ok(())
    }

    /// Writes a stage of a bundle, on what was planned on.
    pub(super) fn apply(
        &mut self,
        number: u64,
        planned_on: u64,
        bundle: &BundleDigest,
        last: bool,
        excused: bool,
    ) -> Result<(), Stop> {
        if self.objects.version != planned_on {
            return Err(Stop::Conflict);
        }
        if !excused {
            self.ledger.may_apply(number)?;
        }
        let fate = self.fate(bundle);
        self.objects.version += 1;
        self.objects.bundle = Some(bundle.clone());
        self.objects.whole = last && fate != Fate::Breaks;
        self.objects.fate = fate;
        self.objects.applied_at = self.seconds;
        self.objects.health = None;
        if last {
            self.objects.drifted = false;
            self.objects.gone = false;
        }
        Ok(())
    }

    /// Puts back what is live.
    pub(super) fn repair(&mut self, bundle: &BundleDigest) -> Result<(), Stop> {
        if self.objects.bundle.as_ref() != Some(bundle) {
            broken::<()>(laws::REPAIRS, "what is put back is not what is live")?;
        }
        self.objects.version += 1;
        self.objects.drifted = false;
        self.objects.gone = false;
        self.objects.applied_at = self.seconds;
        Ok(())
    }
}

pub(super) fn is_final(phase: RequestPhase) -> bool {
    matches!(phase, RequestPhase::Succeeded | RequestPhase::Failed | RequestPhase::Refused)
}
