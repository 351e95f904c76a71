//! Carrying out what was decided: plan and apply.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::{Instrument as _, info, warn};

use super::{
    Actor, StepError,
    known::{Content, Foreseen, Underway},
    outcome, trace,
};
use crate::{
    api::{Cause, ObjectFailure},
    cluster::{
        apply::{self, ActionResult, Outcome},
        identity::service_account_exists,
        index::FingerprintPolicy,
        observe::observe,
    },
    controller::{
        decide::{Content as From, Decision, Stage},
        settings::{Occasion, policy},
        words::count,
    },
    history::inventory::Changes,
    manifest::ObjectId,
    plan::{
        Action, Gate, Observation, Observations, Owned, Plan, Policy, Proposal, Refusal, RefusalReason, Verb, conclude,
    },
    telemetry::Step,
};

/// The first pause before a release is tried again.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The longest where the server could not serve: that ends by itself.
const LONGEST_RETRY_OF_SERVER: Duration = Duration::from_secs(5);
/// The pause after an object changed between plan and apply: what is planned
/// anew is most likely right.
const STALE_RETRY: Duration = Duration::from_millis(50);
/// The pause between two repairs of a release that waits for health.
const PAUSE_BETWEEN_REPAIRS: Duration = Duration::from_secs(2);
/// How often later stages are planned anew without a pause.
const REPLANS_AT_ONCE: u32 = 3;
/// How many failures are named.
const FAILURES_NAMED: usize = 20;

impl Actor {
    /// Does what was decided.
    pub(super) async fn carry_out(&mut self, decision: Decision) -> Result<(), StepError> {
        if matches!(decision, Decision::Plan | Decision::Apply | Decision::End(_)) {
            self.known.trace.works();
        }
        match decision {
            Decision::Rest(_) => Ok(()),
            Decision::Look { request } => {
                self.look_for(&request);
                Ok(())
            }
            Decision::Answer(answer) => {
                self.answer(&answer.request, answer.phase, answer.message, answer.release).await
            }
            Decision::DryRun { request, content } => self.dry_run(&request, content).await,
            Decision::Begin(begin) => self.begin(begin).await,
            Decision::Plan => self.plan_running().await,
            Decision::Apply => self.apply_next().await,
            Decision::TellBrake => {
                self.brake().note(self.known.owner.as_str(), Timestamp::now());
                Ok(())
            }
            Decision::End(end) => self.end(end).await,
            Decision::TryAgain => self.try_again().await,
            Decision::Repair => {
                self.known.trace.alone("repair");
                let repaired = self.repair().await;
                self.known.trace.alone_ended();
                repaired
            }
            Decision::NoteDegraded { release, message, rollback, by_analysis } => {
                self.note_degraded(release, message, rollback, by_analysis).await
            }
        }
    }

    /// What is special about carrying out a request, or a rollback.
    pub(super) fn occasion(&self, request: Option<&str>, cause: Cause) -> Occasion {
        let uid = request.unwrap_or_default();
        let asked = self.known.rollback_requests.get(uid);
        Occasion {
            // A person who goes back by a plan that was shown has seen what it
            // deletes.
            allow_prune: self
                .known
                .sync_requests
                .get(uid)
                .and_then(|request| request.spec.allow_prune.clone())
                .or_else(|| asked.and_then(|request| request.spec.plan_digest.clone())),
            rollback: matches!(cause, Cause::Rollback | Cause::AutomaticRollback)
                .then(|| asked.map(|request| request.spec.include.clone()).unwrap_or_default()),
            prune: asked.and_then(|request| request.spec.prune),
            hooks: self.hook_runs(None, cause, asked.map_or(&[], |request| request.spec.include.as_slice())),
            preflight: false,
        }
    }

    /// The occasion of the release that is running, also after a restart.
    fn running_occasion(&self) -> Occasion {
        let Some(running) = self.known.history.running() else { return Occasion::default() };
        let mut occasion = self.occasion(Some(running.spec.request.as_str()), running.spec.cause);
        if let Some(include) = &mut occasion.rollback
            && include.is_empty()
        {
            include.clone_from(&running.spec.include);
        }
        occasion.prune = occasion.prune.or(running.spec.prune);
        occasion.hooks = self.hook_runs(Some(running.spec.number), running.spec.cause, &running.spec.include);
        occasion
    }

    pub(super) fn policy(&self, occasion: &Occasion) -> Policy {
        policy(&self.known.application, &self.membership(), occasion)
    }

    /// The plan that would bring some content: what is asked of the server are
    /// reads and dry-runs.
    pub(super) async fn plan(&self, content: &Content, occasion: &Occasion) -> (Plan, Observations) {
        let proposal = self.proposal(content, occasion);
        let observations = self.observe(&proposal, occasion).await;
        (self.conclude(&proposal, &observations, occasion), observations)
    }

    /// What the server says of the candidates.
    pub(super) async fn observe(&self, proposal: &Proposal, occasion: &Occasion) -> Observations {
        observe(&self.shared.cluster, &self.identity(), proposal, &self.policy(occasion)).await
    }

    /// What follows from what was proposed and observed.
    pub(super) fn conclude(&self, proposal: &Proposal, observations: &Observations, occasion: &Occasion) -> Plan {
        let policy = self.with_moves(self.policy(occasion), proposal, observations);
        conclude(proposal, observations, &policy)
    }

    /// The plan of a release that has just begun, by what was read when a person's
    /// approval was looked at a moment ago; if that is not it any more, anew.
    async fn plan_as_foreseen(&mut self, content: &Content, occasion: &Occasion) -> (Plan, Observations) {
        let proposal = self.proposal(content, occasion);
        let foreseen = self.known.foreseen.take();
        let foreseen = foreseen.filter(|foreseen| foreseen.occasion == *occasion && foreseen.is_of(&proposal));
        let observations = match foreseen {
            Some(Foreseen { observations, .. }) => observations,
            None => self.observe(&proposal, occasion).await,
        };
        (self.conclude(&proposal, &observations, occasion), observations)
    }

    /// Plans the release that is running. After a restart nothing of it is in
    /// memory: what was applied before shows itself as unchanged.
    async fn plan_running(&mut self) -> Result<(), StepError> {
        let Some(number) = self.known.history.running().map(|release| release.spec.number) else { return Ok(()) };
        let content = match &self.known.running_content {
            Some(content) if self.known.attempt.as_ref().is_some_and(|attempt| attempt.release == number) => {
                content.clone()
            }
            _ => self.content_of(From::Release(number)).await?,
        };
        let occasion = self.running_occasion();
        if self.known.attempt.as_ref().is_none_or(|attempt| attempt.release != number) {
            info!(release = number, "going on with the release that was begun before");
            self.take_up(number, content.clone(), true).await;
        }
        if self
            .known
            .attempt
            .as_ref()
            .is_some_and(|attempt| matches!(attempt.stage, Stage::Applied | Stage::Planned { .. }))
        {
            let pause = SignedDuration::try_from(PAUSE_BETWEEN_REPAIRS).unwrap_or(SignedDuration::from_secs(1));
            self.known.repair_not_before = Some(Timestamp::now() + pause);
        }
        self.watch_kinds(&content.manifests).await;
        if self.waits_before_deleting(number, &content, &occasion) {
            return Ok(());
        }
        let began = std::time::Instant::now();
        let span = self.known.trace.plan();
        let (plan, observations) = self.plan_as_foreseen(&content, &occasion).instrument(span.clone()).await;
        let plan = self.still_approved(number, plan, &content, &observations, &occasion);
        trace::planned(&span, &plan);
        drop(span);
        self.shared.metrics.took(Step::Plan, began.elapsed());
        self.known.took.planned(began.elapsed());
        self.known.server_trouble = observations.values().any(Observation::is_for_want_of_a_server);
        if self.waits_for_claims(number, &plan.refusals) {
            return Ok(());
        }
        if !plan.refusals.is_empty() {
            match self.missing_account(&plan.refusals).await {
                Some(message) => self.set_stage(Stage::Failed { message, failures: Vec::new() }),
                None => self.refused(&plan.refusals),
            }
            return Ok(());
        }
        let to_apply = u32::try_from(plan.writes().count()).unwrap_or(u32::MAX);
        if occasion.allow_prune.is_some() {
            self.known.approved_release = Some(number);
        }
        info!(release = number, plan = plan.digest.short(12), writes = to_apply, took = ?began.elapsed(), "planned");
        if let Some(id) = plan.gate(0).gone.iter().find(|id| !self.known.summary.deleting.contains(*id)) {
            // The watch has not told yet, so that it could not tell the end either.
            let message = format!("{id} is being deleted");
            self.retry_later(message, None);
            return Ok(());
        }
        // What the server has already as it should be is ours from now on.
        self.intend(&plan, false).await?;
        self.take_hooks(&plan.hooks);
        let applied = self.known.underway.as_ref().map_or(0, |before| before.applied);
        self.let_go(&plan);
        self.tell_of_kept(&plan);
        let stages_left = if to_apply == 0 { 0 } else { plan.stages() };
        self.set_gate(if stages_left == 0 { plan.last_gate.clone() } else { plan.gate(0) });
        let to_apply = applied + to_apply;
        self.known.underway = Some(Underway { plan, observations, next_stage: 0, applied, to_apply });
        self.set_stage(if stages_left == 0 { Stage::Applied } else { Stage::Planned { stages_left } });
        Ok(())
    }

    fn set_gate(&mut self, gate: std::sync::Arc<Gate>) {
        if let Some(attempt) = &mut self.known.attempt {
            attempt.gate = gate;
        }
    }

    /// A release whose plan a person allowed is planned anew for its later
    /// stages and tries. That plan is another one, with what is done left out;
    /// the allowance goes on for what is left of it.
    fn still_approved(
        &self,
        number: u64,
        plan: Plan,
        content: &Content,
        observations: &Observations,
        occasion: &Occasion,
    ) -> Plan {
        let only_guards = plan.refusals.iter().all(|refusal| refusal.reason.can_be_allowed());
        if plan.refusals.is_empty() || !only_guards || self.known.approved_release != Some(number) {
            return plan;
        }
        let occasion = Occasion { allow_prune: Some(plan.digest), ..occasion.clone() };
        self.conclude(&self.proposal(content, &occasion), observations, &occasion)
    }

    /// The API server lets one act as a ServiceAccount that does not exist, and
    /// then refuses for want of rights: that it is missing is the better word.
    async fn missing_account(&self, refusals: &[Refusal]) -> Option<String> {
        let identity = self.identity();
        let forbidden = refusals.iter().any(|refusal| refusal.reason == RefusalReason::Forbidden);
        if !forbidden || !matches!(service_account_exists(&self.shared.cluster, &identity).await, Ok(false)) {
            return None;
        }
        Some(format!("{identity} does not exist; {}", identity.missing_account_advice()?))
    }

    /// What a refused plan means for the release.
    fn refused(&mut self, refusals: &[Refusal]) {
        let permanent: Vec<&Refusal> = refusals.iter().filter(|refusal| !refusal.transient).collect();
        if let Some(first) = permanent.first() {
            let failures = refusals.iter().take(FAILURES_NAMED).map(failure_of).collect();
            let more = refusals.len() - 1;
            let others = if more > 0 { format!(" (and {} more)", count(more, "refusal")) } else { String::new() };
            let hint = first.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            self.set_stage(Stage::Failed { message: format!("{first}{others}{hint}"), failures });
            return;
        }
        let message = refusals.first().map(ToString::to_string).unwrap_or_default();
        self.retry_later(message, None);
    }

    /// Applies the next stage of the plan.
    async fn apply_next(&mut self) -> Result<(), StepError> {
        let Some(underway) = self.known.underway.take() else {
            self.set_stage(Stage::Unplanned);
            return Ok(());
        };
        let stage = underway.next_stage;
        let actions: Vec<&Action> = underway.plan.writes().filter(|action| action.stage == stage).collect();
        let unproven = actions.iter().any(|action| action.unproven);
        if unproven {
            // What the stage before made is here now: it is planned anew, with
            // a dry-run of its own.
            if stage > 0 {
                self.shared.cluster.discovery().invalidate();
                self.known.replans += 1;
                if self.known.replans > REPLANS_AT_ONCE {
                    let what = actions.first().map(|action| action.id.to_string()).unwrap_or_default();
                    self.retry_later(format!("{what} waits for what defines it"), None);
                } else {
                    self.set_stage(Stage::Unplanned);
                }
                return Ok(());
            }
        }
        let began = std::time::Instant::now();
        self.publish_progress(underway.applied, underway.to_apply);
        let results = self.write(&actions, &underway.observations).await;
        self.shared.metrics.took(Step::Apply, began.elapsed());
        self.known.took.applied(began.elapsed());
        let written = results.iter().filter(|result| outcome::wrote(&result.outcome)).count();
        let hooks: Vec<&Action> = actions.iter().copied().filter(|action| action.hook.is_some()).collect();
        if let Some(attempt) = &mut self.known.attempt {
            // A hook that ran changed nothing that could be taken back.
            let mut members = results.iter().filter(|result| !is_hook(&hooks, result));
            attempt.touched |= members.any(|result| outcome::may_have_written(&result.outcome));
            attempt.written += u32::try_from(written).unwrap_or(u32::MAX);
        }
        let of_server = |outcome: &Outcome| matches!(outcome, Outcome::Failed(error) if error.is_of_the_server());
        self.known.server_trouble = results.iter().any(|result| of_server(&result.outcome));
        self.take_results(&actions, &results).await?;
        for action in &hooks {
            let made = |result: &&ActionResult| result.id == action.id && matches!(result.outcome, Outcome::Applied(_));
            if results.iter().any(|result| made(&result)) {
                self.hook_begun(action);
            }
        }
        self.tell_of_writes(&actions, &results);
        let failed: Vec<&ActionResult> = results.iter().filter(|result| !result.outcome.is_done()).collect();
        if !failed.is_empty() {
            self.apply_failed(&failed);
            return Ok(());
        }
        info!(stage, written, took = ?began.elapsed(), "applied");
        if underway.plan.stages() == stage + 1
            && let Some(fetched) = self.known.fetched_at.take()
        {
            // What Bowline itself adds between the fetch and the cluster.
            let milliseconds = u64::try_from(fetched.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(after_fetch_ms = milliseconds, "live");
        }
        self.known.tries = 0;
        self.known.replans = 0;
        let Underway { plan, observations, next_stage, applied, to_apply } = underway;
        let next_stage = next_stage + 1;
        let stages_left = plan.stages().saturating_sub(next_stage);
        let applied = applied + u32::try_from(written).unwrap_or(u32::MAX);
        self.set_gate(if stages_left == 0 { plan.last_gate.clone() } else { plan.gate(next_stage) });
        self.known.progress = Some((applied, to_apply));
        // A plan that is carried out is of no more use, and may be large.
        self.known.underway =
            (stages_left > 0).then_some(Underway { plan, observations, next_stage, applied, to_apply });
        self.set_stage(if stages_left == 0 { Stage::Applied } else { Stage::Planned { stages_left } });
        Ok(())
    }

    /// What failed writes mean for the release.
    fn apply_failed(&mut self, failed: &[&ActionResult]) {
        let permanent = failed.iter().find(|result| outcome::is_permanent(&result.outcome));
        if let Some(first) = permanent {
            let failures = failed
                .iter()
                .take(FAILURES_NAMED)
                .map(|result| ObjectFailure {
                    object: result.id.to_string(),
                    health: None,
                    message: outcome::message(&result.outcome),
                })
                .collect();
            let message = format!("{}: {}", first.id, outcome::message(&first.outcome));
            warn!(message, "the release cannot be applied");
            self.set_stage(Stage::Failed { message, failures });
            return;
        }
        let stale = failed.iter().all(|result| matches!(result.outcome, Outcome::Stale(_)));
        let first = failed.first().map(|result| format!("{}: {}", result.id, outcome::message(&result.outcome)));
        self.retry_later(first.unwrap_or_default(), (stale && self.known.tries < 5).then_some(STALE_RETRY));
    }

    fn retry_later(&mut self, message: String, pause: Option<Duration>) {
        let pause = pause.unwrap_or_else(|| {
            let doubled = FIRST_RETRY.saturating_mul(1 << self.known.tries.min(10));
            let longest = if self.known.server_trouble { LONGEST_RETRY_OF_SERVER } else { LONGEST_RETRY };
            doubled.min(longest).mul_f64(rand::random_range(0.8..1.2))
        });
        self.known.tries += 1;
        info!(message, ?pause, "the release is tried again");
        let at = Timestamp::now() + SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(1));
        self.set_stage(Stage::Retry { at, message });
        self.known.underway = None;
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(attempt) = &mut self.known.attempt {
            attempt.stage = stage;
        }
    }

    /// Writes to the cluster, while this replica leads.
    pub(super) async fn write(&self, actions: &[&Action], observations: &Observations) -> Vec<ActionResult> {
        let policy = FingerprintPolicy::new(&self.policy(&Occasion::default()), self.known.checks.clone());
        let permit = || self.shared.leadership.may_write();
        let (manager, identity) = (self.membership().manager, self.identity());
        let stage = apply::Stage {
            cluster: &self.shared.cluster,
            identity: &identity,
            manager: &manager,
            observations,
            permit: &permit,
        };
        let span = self.known.trace.apply(actions);
        let writing = apply::apply_stage(&stage, actions, |done| {
            if let Outcome::Applied(applied) = &mut done.outcome {
                self.shared.index.record(&applied.object);
                applied.fingerprint = policy.fingerprint(&applied.object);
                // Ten thousand objects as they are in the cluster fill the memory.
                *applied.object = serde_json::Value::Null;
            }
        });
        let results = writing.instrument(span.clone()).await;
        trace::applied(&span, &results);
        results
    }

    /// Notes in the inventory what is about to be created, so that a crash
    /// leaves no object that nobody knows of. A repair leaves what is known of
    /// its objects: no release is begun that would be gone on with, and where
    /// it breaks off, what was gone must still be seen to be gone.
    pub(super) async fn intend(&mut self, plan: &Plan, repair: bool) -> Result<(), StepError> {
        let objects = &self.known.stored.objects;
        let mut changes = Changes::new();
        // The namespace of `createNamespace` has no manifest: it is no member.
        let members = plan.writes().filter(|action| action.manifest.is_some() && action.verb != Verb::Delete);
        for action in members {
            let gvk = action.gvk.clone();
            let hook = action.hook.is_some();
            let intended = Owned { gvk, uid: None, manifest: None, fingerprint: None, done: false, hook };
            let mut entry = objects.get(&action.id).cloned().unwrap_or(intended);
            entry.hook = hook;
            if action.verb == Verb::Create && !repair {
                // The object of the uid that is known is gone; the new one is
                // found by its marks until its own uid is known.
                entry.uid = None;
                entry.fingerprint = None;
            }
            changes.insert(action.id.clone(), Some(entry));
        }
        changes.extend(plan.confirmed.iter().map(|(id, owned)| (id.clone(), Some(owned.clone()))));
        changes.extend(plan.forgotten.iter().map(|id| (id.clone(), None)));
        self.save_inventory(changes).await
    }

    /// Takes what came of writes into the inventory and the live index.
    pub(super) async fn take_results(
        &mut self,
        actions: &[&Action],
        results: &[ActionResult],
    ) -> Result<(), StepError> {
        let objects = &self.known.stored.objects;
        let mut changes = Changes::new();
        let actions: BTreeMap<&ObjectId, &&Action> = actions.iter().map(|action| (&action.id, action)).collect();
        for result in results {
            let Some(action) = actions.get(&result.id) else { continue };
            match &result.outcome {
                Outcome::Applied(applied) if action.manifest.is_some() => {
                    let hook = action.hook.is_some();
                    let entry = Owned {
                        gvk: action.gvk.clone(),
                        uid: Some(applied.uid.clone()),
                        manifest: action.manifest.clone(),
                        fingerprint: applied.fingerprint.clone().filter(|_| !hook),
                        done: false,
                        hook,
                    };
                    changes.insert(action.id.clone(), Some(entry));
                }
                Outcome::Deleted => {
                    changes.insert(action.id.clone(), None);
                }
                // It goes when its finalizers are done: its absence is
                // expected, and should it come back, it is looked at anew.
                Outcome::Deleting { .. } => {
                    if let Some(owned) = objects.get(&action.id) {
                        let leaves = Owned { done: true, manifest: None, fingerprint: None, ..owned.clone() };
                        changes.insert(action.id.clone(), Some(leaves));
                    }
                }
                _ => {}
            }
        }
        self.save_inventory(changes).await
    }
}

/// Whether a result is of one of these hooks.
fn is_hook(hooks: &[&Action], result: &ActionResult) -> bool {
    hooks.iter().any(|action| action.id == result.id)
}

fn failure_of(refusal: &Refusal) -> ObjectFailure {
    ObjectFailure {
        object: refusal.object.as_ref().map(ToString::to_string).unwrap_or_default(),
        health: None,
        message: refusal.message.clone(),
    }
}
