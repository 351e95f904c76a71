//! What must hold at every step, whatever happens. Each law has a name, and is
//! checked against a ledger of its own, which is never trimmed and knows
//! nothing of how `history` finds its answers.

use super::super::{Begin, ContentId};
use crate::{
    api::{Cause, Phase, ReleaseSpec, RollbackVerdict},
    manifest::{BundleDigest, InputDigest},
};

/// A law that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) law: &'static str,
    pub(super) how: String,
}

pub(super) fn broken<T>(law: &'static str, how: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { law, how: how.into() })
}

pub(super) const REJECTED_STAYS_OUT: &str = "rejected content is not applied again without new content or an accept";
pub(super) const ENDS_ONCE: &str = "a release ends exactly once";
pub(super) const ONE_AT_A_TIME: &str = "no two releases of one application are in progress";
pub(super) const CHAIN_IS_WHOLE: &str = "numbers are consecutive and the chain is whole";
pub(super) const COMES_TO_REST: &str = "without new input it comes to rest";
pub(super) const WAKES_UP: &str = "at rest a time to wake up is given while a deadline runs";
pub(super) const HEAD_IS_LIVE: &str = "at rest the head is live, or there is a reason why not";
pub(super) const REQUESTS_END: &str = "a request ends exactly once";
pub(super) const REQUESTS_RUN_ONCE: &str = "a request makes at most one release";
pub(super) const GOES_BACK_TO_GOOD: &str =
    "an automatic rollback goes to healthy content that is neither rejected, degraded nor the same";
pub(super) const NO_LOOPS: &str = "an automatic rollback never follows a rollback";
pub(super) const GOES_BACK_WHERE_SAFE: &str =
    "nothing goes back by itself with the brake on, past what cannot be undone, or for what it did not break";
pub(super) const LAST_HEALTHY_STAYS: &str = "the last healthy release, and why the head is held, are never forgotten";
pub(super) const SUSPENDED: &str = "while it is suspended nothing begins but a rollback that is asked for";
pub(super) const PEOPLE_DECIDE: &str = "in manual mode no new content begins by itself";
pub(super) const FENCED: &str = "nothing is applied for a release that has ended, or after a newer one began";
pub(super) const NOT_TWICE: &str = "the same refusal of the same content makes no second release";
pub(super) const REPAIRS: &str = "a repair puts back what is live, and only where that is wanted";
pub(super) const KNOWN: &str = "the simulation can do whatever is decided";

/// A release, as the ledger remembers it for ever.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: u64,
    cause: Cause,
    bundle: BundleDigest,
    inputs: InputDigest,
    accepts: bool,
    /// What it rejects: the content of each release after its target.
    rejects: Vec<(BundleDigest, InputDigest)>,
    generation: i64,
    application: String,
    request: String,
    outcome: Option<(Phase, RollbackVerdict)>,
    degraded: bool,
    /// Whether it is taken back because it degraded.
    goes_back: bool,
    /// Whether it is still kept.
    kept: bool,
}

/// All releases that ever were.
#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Entry>);

impl Ledger {
    pub(super) fn newest(&self) -> Option<&Entry> {
        self.0.last()
    }

    fn get(&self, number: u64) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.number == number)
    }

    /// Takes in a release that was made, if it may be.
    pub(super) fn begun(&mut self, spec: &ReleaseSpec, lifted: bool) -> Result<(), Broken> {
        let number = spec.number;
        if number != self.newest().map_or(1, |entry| entry.number + 1) {
            return broken(CHAIN_IS_WHOLE, format!("release {number} follows {:?}", self.newest().map(|e| e.number)));
        }
        if let Some(running) = self.0.iter().find(|entry| entry.outcome.is_none()) {
            return broken(ONE_AT_A_TIME, format!("release {number} begins while {} runs", running.number));
        }
        let before = self.0.iter().find(|entry| !spec.request.is_empty() && entry.request == spec.request);
        if let Some(before) = before {
            return broken(REQUESTS_RUN_ONCE, format!("release {number} after release {}", before.number));
        }
        let rejected = self.is_rejected(&spec.bundle, &spec.inputs);
        let by_person = spec.accepts || spec.cause == Cause::Rollback;
        if rejected && !by_person {
            return broken(REJECTED_STAYS_OUT, format!("release {number} ({})", spec.cause));
        }
        let newest = self.newest();
        if spec.cause == Cause::Push
            && let Some(newest) = newest
            && matches!(newest.outcome, Some((Phase::Failed, _)))
            && newest.bundle == spec.bundle
            && newest.generation >= spec.generation
            && newest.application == spec.application_uid
            && !lifted
        {
            return broken(NOT_TWICE, format!("release {number} after release {}", newest.number));
        }
        if spec.cause == Cause::AutomaticRollback {
            self.may_go_back(spec)?;
        }
        let rejects = match spec.rollback_to {
            None => Vec::new(),
            Some(target) => {
                let of = self.get(target);
                let differs = |entry: &&Entry| {
                    of.is_none_or(|target| entry.bundle != target.bundle && entry.inputs != target.inputs)
                };
                let left = self.0.iter().filter(|entry| entry.number > target && entry.kept).filter(differs);
                left.map(|entry| (entry.bundle.clone(), entry.inputs.clone())).collect()
            }
        };
        self.0.push(Entry {
            number,
            cause: spec.cause,
            bundle: spec.bundle.clone(),
            inputs: spec.inputs.clone(),
            accepts: spec.accepts,
            rejects,
            generation: spec.generation,
            application: spec.application_uid.clone(),
            request: spec.request.clone(),
            outcome: None,
            degraded: false,
            goes_back: false,
            kept: true,
        });
        Ok(())
    }

    fn may_go_back(&self, spec: &ReleaseSpec) -> Result<(), Broken> {
        let number = spec.number;
        let Some(left) = self.newest() else { return broken(GOES_BACK_TO_GOOD, "there is nothing to go back from") };
        let target = spec.rollback_to.and_then(|target| self.get(target));
        let Some(target) = target else { return broken(GOES_BACK_TO_GOOD, "there is nothing to go back to") };
        if !matches!(target.outcome, Some((Phase::Healthy, _))) || target.degraded {
            return broken(GOES_BACK_TO_GOOD, format!("release {number} goes back to release {}", target.number));
        }
        if target.bundle == left.bundle || target.inputs == left.inputs {
            return broken(GOES_BACK_TO_GOOD, format!("release {number} has the content of release {}", left.number));
        }
        if matches!(left.cause, Cause::AutomaticRollback | Cause::Rollback) {
            return broken(NO_LOOPS, format!("release {number} after release {} ({})", left.number, left.cause));
        }
        if left.outcome != Some((Phase::Failed, RollbackVerdict::Automatic)) && !left.goes_back {
            return broken(GOES_BACK_WHERE_SAFE, format!("release {number} leaves {:?}", left.outcome));
        }
        Ok(())
    }

    /// Notes an outcome.
    pub(super) fn ended(&mut self, number: u64, phase: Phase, verdict: RollbackVerdict) -> Result<(), Broken> {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.number == number) else {
            return broken(ENDS_ONCE, format!("release {number} ends and never began"));
        };
        if let Some(before) = entry.outcome {
            return broken(ENDS_ONCE, format!("release {number} ends {phase}, and ended {before:?} before"));
        }
        entry.outcome = Some((phase, verdict));
        Ok(())
    }

    pub(super) fn degraded(&mut self, number: u64, goes_back: bool) {
        for entry in self.0.iter_mut().filter(|entry| entry.number == number) {
            entry.degraded = true;
            entry.goes_back = goes_back;
        }
    }

    /// Notes that a release is forgotten, if it may be.
    pub(super) fn forgotten(&mut self, number: u64, head: Option<&ContentId>) -> Result<(), Broken> {
        let good = |entry: &&Entry| matches!(entry.outcome, Some((Phase::Healthy, _))) && !entry.degraded;
        let last_healthy = self.0.iter().rev().find(good).map(|entry| entry.number);
        if last_healthy == Some(number) {
            return broken(LAST_HEALTHY_STAYS, format!("release {number} is forgotten"));
        }
        let held = |ledger: &Self| head.is_some_and(|head| ledger.is_rejected(&head.bundle, &head.inputs));
        let before = held(self);
        self.0.iter_mut().filter(|entry| entry.number == number).for_each(|entry| entry.kept = false);
        if before && !held(self) {
            return broken(LAST_HEALTHY_STAYS, format!("release {number} is why the head is held"));
        }
        Ok(())
    }

    /// Whether content stays out: rejected by a release that is kept, and not
    /// let in since. What a rollback goes to, it does not reject.
    pub(super) fn is_rejected(&self, bundle: &BundleDigest, inputs: &InputDigest) -> bool {
        let mut rejected = false;
        for entry in &self.0 {
            if entry.bundle == *bundle || entry.inputs == *inputs {
                rejected &= !(entry.accepts || entry.cause == Cause::Rollback);
            } else if entry.kept {
                rejected |= entry.rejects.iter().any(|(other, read)| other == bundle || read == inputs);
            }
        }
        rejected
    }

    /// Whether it may be applied for this release.
    pub(super) fn may_apply(&self, number: u64) -> Result<(), Broken> {
        match self.newest() {
            Some(newest) if newest.number == number && newest.outcome.is_none() => Ok(()),
            newest => broken(
                FENCED,
                format!(
                    "release {number} is applied; the newest is {:?}",
                    newest.map(|entry| (entry.number, entry.outcome))
                ),
            ),
        }
    }
}

/// What a controller knows when it begins a release.
pub(super) struct Knows {
    pub(super) suspended: bool,
    pub(super) manual: bool,
    pub(super) brake: bool,
}

/// Whether a release may be begun by what its controller knows.
pub(super) fn may_begin(begin: &Begin, knows: &Knows) -> Result<(), Broken> {
    if knows.suspended && begin.cause != Cause::Rollback {
        return broken(SUSPENDED, format!("a release begins ({})", begin.cause));
    }
    if knows.manual && begin.cause == Cause::Push {
        return broken(PEOPLE_DECIDE, "a release begins (Push)");
    }
    if knows.brake && begin.cause == Cause::AutomaticRollback {
        return broken(GOES_BACK_WHERE_SAFE, "a rollback begins with the brake on");
    }
    Ok(())
}
