//! Putting drifted objects back, and knowing when to stop.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{Instrument as _, info, warn};

use super::{Actor, StepError, outcome, trace};
use crate::{
    api::Cause,
    cluster::apply::{self, ActionResult, Outcome},
    controller::{
        contest::{self, Contest},
        decide::Content as From,
        settings::Occasion,
    },
    manifest::ObjectId,
    plan::{Action, Observation, Observations, Plan, Refusal, RefusalReason, ownership::by_hand_counting},
};

/// The first pause after a repair that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest where the server could not serve, or somebody else was faster:
/// that ends by itself.
const LONGEST_PAUSE_OF_SERVER: Duration = Duration::from_secs(5);

impl Actor {
    /// Puts drifted objects back to what the release in the cluster says.
    pub(super) async fn repair(&mut self) -> Result<(), StepError> {
        let Some(applied) = self.known.history.applied() else { return Ok(()) };
        let number = applied.spec.number;
        // What a rollback left alone, its repairs leave alone too.
        let rollback = matches!(applied.spec.cause, Cause::Rollback | Cause::AutomaticRollback)
            .then(|| applied.spec.include.clone());
        let began = std::time::Instant::now();
        let content = self.content_of(From::Release(number)).await?;
        // A repair puts back; what is to go was decided by a release.
        let occasion = Occasion { prune: Some(false), rollback, ..Occasion::default() };
        let span = self.known.trace.plan();
        let (plan, observations) = self.plan(&content, &occasion).instrument(span.clone()).await;
        trace::planned(&span, &plan);
        drop(span);
        self.known.server_trouble = observations.values().any(Observation::is_for_want_of_a_server);
        match plan.refusals.first() {
            Some(refusal) if self.known.server_trouble => {
                self.repair_failed(&refusal.to_string());
                return Ok(());
            }
            Some(_) => {
                if !self.hand_over(&plan.refusals, &observations).await {
                    self.leave_alone(&plan.refusals);
                }
                return Ok(());
            }
            None => {}
        }
        self.intend(&plan, true).await?;
        for words in &plan.overruled {
            warn!(words, "an apply does not change it");
            self.event("Overruled", words, true);
        }
        for (id, _) in &plan.confirmed {
            self.known.found_by_deep_check.remove(id);
        }
        for stage in 0..plan.stages() {
            let actions: Vec<&Action> = plan.writes().filter(|action| action.stage == stage).collect();
            if let Some(id) = plan.gate(stage).gone.iter().next() {
                let message = format!("{id} is being deleted; it is made anew when it is gone");
                self.repair_failed(&message);
                return Ok(());
            }
            let results = self.write(&actions, &observations).await;
            self.take_results(&actions, &results).await?;
            if let Some(failed) = results.iter().find(|result| !result.outcome.is_done()) {
                let message = format!("{}: {}", failed.id, outcome::message(&failed.outcome));
                self.known.server_trouble = match &failed.outcome {
                    Outcome::Failed(error) => error.is_of_the_server(),
                    outcome => matches!(outcome, Outcome::Stale(_)),
                };
                self.repair_failed(&message);
                return Ok(());
            }
            self.repaired(number, &plan, &observations, &results, began.elapsed()).await?;
        }
        let now = Timestamp::now();
        self.known.repair_failures = 0;
        self.known.repair_not_before = None;
        self.look(now);
        let left: Vec<ObjectId> = self.known.live.drifted.iter().chain(&self.known.live.gone).cloned().collect();
        if !left.is_empty() && plan.writes().count() == 0 {
            // Nothing was to be written and yet it differs: looking again at
            // once would give the same.
            self.repair_failed(&format!("{} differs, and nothing is to be changed", left[0]));
        }
        Ok(())
    }

    /// Where the server refuses to put an object back because of what was
    /// added to it by hand, that is made ours, so that it goes with the next
    /// try. Returns whether there is to be one.
    async fn hand_over(&self, refusals: &[Refusal], observations: &Observations) -> bool {
        let policy = self.policy(&Occasion::default());
        let manager = &policy.membership.manager;
        let (permit, identity) = (|| self.shared.leadership.may_write(), self.identity());
        let stage =
            apply::Stage { cluster: &self.shared.cluster, identity: &identity, manager, observations, permit: &permit };
        let mut again = false;
        for refusal in refusals.iter().filter(|refusal| refusal.reason == RefusalReason::Invalid) {
            let Some(id) = &refusal.object else { continue };
            let Some(Observation::Live { object, .. }) = observations.get(id) else { continue };
            let by_hand = by_hand_counting(object, manager, &policy.ignore_for(id), &policy.hand_managers);
            match apply::hand_over(&stage, id, &by_hand).await {
                Ok(moved) => again |= moved,
                Err(error) => {
                    warn!(object = %id, error = error.message, "what was added by hand could not be made ours")
                }
            }
        }
        again
    }

    /// Objects that cannot be put back are left alone for a while, so that they
    /// do not keep the others.
    fn leave_alone(&mut self, refusals: &[Refusal]) {
        let now = Timestamp::now();
        let Some(first) = refusals.first() else { return };
        if refusals.iter().any(|refusal| refusal.object.is_none()) {
            let message = first.to_string();
            self.repair_failed(&message);
            return;
        }
        for refusal in refusals {
            let Some(id) = &refusal.object else { continue };
            let words = format!("cannot be put back: {}", refusal.message);
            let message = format!("{id} {words}");
            let contest = self.known.contests.entry(id.clone()).or_insert_with(Contest::new);
            contest.refused(now, refusal.transient, words);
            warn!(message, "left alone for a while");
            self.event("RepairFailed", &message, true);
        }
        self.shared.metrics.repaired("failed", refusals.len() as u64);
    }

    fn repair_failed(&mut self, message: &str) {
        let longest = if self.known.server_trouble { LONGEST_PAUSE_OF_SERVER } else { LONGEST_PAUSE };
        let pause = FIRST_PAUSE.saturating_mul(1 << self.known.repair_failures.min(12)).min(longest);
        let pause = pause.mul_f64(rand::random_range(0.8..1.2));
        self.known.repair_failures += 1;
        self.shared.metrics.repaired("failed", 1);
        self.known.trace.alone_failed("RepairFailed", message);
        warn!(message, ?pause, "drift could not be repaired");
        self.event("RepairFailed", &format!("drift could not be repaired: {message}"), true);
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(1));
        self.known.repair_not_before = Some(Timestamp::now() + pause);
    }

    /// Counts repairs on the release, tells of them, and backs off from an
    /// object that drifts again and again.
    async fn repaired(
        &mut self,
        number: u64,
        plan: &Plan,
        observations: &Observations,
        results: &[ActionResult],
        took: Duration,
    ) -> Result<(), StepError> {
        let now = Timestamp::now();
        let mut words = Vec::new();
        for result in results.iter().filter(|result| outcome::wrote(&result.outcome)) {
            let Some(action) = plan.actions.iter().find(|action| action.id == result.id) else { continue };
            let what = repair_words(action);
            info!(object = %action.id, what, ?took, "repaired");
            self.known.found_by_deep_check.remove(&action.id);
            let live = match observations.get(&action.id) {
                Some(Observation::Live { object, .. }) => Some(&**object),
                _ => None,
            };
            self.count_repair(action, live, now);
            words.push(what);
        }
        let Some(last) = words.last().cloned() else { return Ok(()) };
        let repairs = u32::try_from(words.len()).unwrap_or(u32::MAX);
        self.shared.metrics.repaired("succeeded", u64::from(repairs));
        let more = if words.len() > 1 { format!(" (and {} more)", words.len() - 1) } else { String::new() };
        self.event("Repaired", &format!("{last}{more}"), false);
        self.note_after(number, |after| {
            after.repairs = after.repairs.saturating_add(repairs);
            after.last_repair = last;
            after.last_repair_at = Some(now);
        })
        .await
    }

    /// Backs off from an object that was repaired again and again.
    fn count_repair(&mut self, action: &Action, live: Option<&serde_json::Value>, now: Timestamp) {
        let contest = self.known.contests.entry(action.id.clone()).or_insert_with(Contest::new);
        if !contest.repaired(now) {
            return;
        }
        let words = contest::words(action, live, &self.membership().manager);
        let message = format!("{} is {words}", action.id);
        if let Some(contest) = self.known.contests.get_mut(&action.id) {
            contest.leave_alone(now, words);
        }
        warn!(message, "contested");
        self.event("Contested", &message, true);
    }
}

/// `ConfigMap a/env data.BATCH: drifted (changed by kubectl-edit)`.
fn repair_words(action: &Action) -> String {
    match action.changes.first() {
        Some(change) => format!("{} {}: {}", action.id, change.path, action.reason),
        None => format!("{}: {}", action.id, action.reason),
    }
}
