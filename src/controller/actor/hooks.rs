//! Hooks of the release that is running: which are to be run, how those that
//! run are getting on, and what is done when they end. That a run ended is in
//! the Release before its object is deleted: it is not run twice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Actor, StepError, known::Content};
use crate::{
    api::{Cause, HookResult, Include, Phase},
    cluster::{apply::ActionResult, observe::observe},
    controller::{
        decide::{End, HookProgress, hook_failed},
        settings::Occasion,
    },
    health::HealthStatus,
    plan::{
        Action, ActiveHook, HookRuns, Observations, Owned, Plan, Precondition, Proposal, Verb, conclude,
        schedule::{Hook, HookRun},
    },
};

/// A message that the schema takes.
const MESSAGE_KEPT: usize = 1024;

/// A hook of the running release.
#[derive(Debug, Clone)]
pub(super) struct RunningHook {
    pub(super) hook: Hook,
    /// Whether its object was made for this release.
    pub(super) begun: bool,
}

impl Actor {
    /// Which hooks the plan of a release runs; of one that is only shown, where
    /// there is no number yet.
    pub(super) fn hook_runs(&self, number: Option<u64>, cause: Cause, include: &[Include]) -> Option<HookRuns> {
        let rollback = matches!(cause, Cause::Rollback | Cause::AutomaticRollback);
        if rollback && !include.contains(&Include::Hooks) {
            return None;
        }
        let healthy = |release: &crate::api::Release| {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            Some(release.spec.number) != number && outcome.is_some_and(|outcome| outcome.phase == Phase::Healthy)
        };
        Some(HookRuns {
            release: number.unwrap_or_default(),
            first: !self.known.history.iter().any(healthy),
            ended: number.map(|number| self.ended_hooks(number)).unwrap_or_default().into_keys().collect(),
            failed: false,
        })
    }

    /// The runs of a release that ended, with their result.
    fn ended_hooks(&self, number: u64) -> BTreeMap<HookRun, HookProgress> {
        let status = self.known.history.get(number).and_then(|release| release.status.as_ref());
        status.into_iter().flat_map(|status| &status.hooks).filter_map(of_result).collect()
    }

    /// Takes in which hooks a plan runs.
    pub(super) fn take_hooks(&mut self, hooks: &[ActiveHook]) {
        for ActiveHook { run, hook, begun } in hooks {
            let known = self.known.hooks.entry(run.clone());
            let known = known.or_insert_with(|| RunningHook { hook: hook.clone(), begun: false });
            known.begun |= begun;
        }
    }

    /// Notes that the object of a hook was made.
    pub(super) fn hook_begun(&mut self, action: &Action) {
        let Some(phase) = action.hook else { return };
        let run = HookRun { phase, id: action.id.clone() };
        if let Some(known) = self.known.hooks.get_mut(&run) {
            known.begun = true;
            info!(hook = %action.id, %phase, "the hook runs");
        }
    }

    /// How the hooks of the running release are getting on.
    pub(super) fn hook_progress(&self) -> BTreeMap<HookRun, HookProgress> {
        let Some(running) = self.known.history.running() else { return BTreeMap::new() };
        let mut progress = self.ended_hooks(running.spec.number);
        for (run, known) in &self.known.hooks {
            if known.begun && !progress.contains_key(run) {
                progress.insert(run.clone(), self.progress_of(run));
            }
        }
        progress
    }

    fn progress_of(&self, run: &HookRun) -> HookProgress {
        let Some(owned) = self.known.stored.objects.get(&run.id) else {
            return HookProgress::Running("it is being made".to_owned());
        };
        if self.shared.index.summary(&self.known.owner, [(&run.id, &Owned { hook: false, ..owned.clone() })]).in_sync {
            let found = self.shared.index.object(&self.known.owner, &run.id, owned);
            return match found.filter(|found| owned.uid.as_deref() == Some(found.uid.as_str())) {
                Some(found) => progress(run, found.done, found.health.status, found.health.reason),
                None => HookProgress::Failed(
                    "it was deleted before it was seen to end (a hook needs no ttlSecondsAfterFinished: see bowline.dev/hook-delete)".to_owned(),
                ),
            };
        }
        HookProgress::Running("its watch is not in sync".to_owned())
    }

    /// Writes down which hooks ended, and deletes their objects where they say so.
    pub(super) async fn finish_hooks(&mut self) -> Result<(), StepError> {
        let Some(running) = self.known.history.running() else {
            self.known.hooks.clear();
            return Ok(());
        };
        if self.known.hooks.is_empty() {
            return Ok(());
        }
        let known = self.ended_hooks(running.spec.number);
        let ended: Vec<(HookRun, HookProgress)> = self
            .hook_progress()
            .into_iter()
            .filter(|(run, progress)| !known.contains_key(run) && !matches!(progress, HookProgress::Running(_)))
            .collect();
        if ended.is_empty() {
            return Ok(());
        }
        let mut results = running.status.as_ref().map(|status| status.hooks.clone()).unwrap_or_default();
        results.extend(ended.iter().map(|(run, progress)| to_result(run, progress)));
        let recorded = self.store.set_hooks(running, results).await?;
        self.known.history.put(recorded);
        for (run, progress) in ended {
            let succeeded = progress == HookProgress::Succeeded;
            match &progress {
                HookProgress::Failed(why) => {
                    let message = hook_failed(&run, why);
                    warn!(message, "a hook failed");
                    self.event("HookFailed", &message, true);
                }
                _ => info!(hook = %run.id, phase = %run.phase, "the hook succeeded"),
            }
            let deleted = self.known.hooks.get(&run).is_some_and(|known| known.hook.is_deleted_after(succeeded));
            if deleted {
                self.delete_hook(&run).await?;
            }
        }
        self.look(Timestamp::now());
        Ok(())
    }

    async fn delete_hook(&mut self, run: &HookRun) -> Result<(), StepError> {
        let Some(owned) = self.known.stored.objects.get(&run.id).cloned() else { return Ok(()) };
        let delete = Action {
            precondition: Precondition { uid: owned.uid, resource_version: None },
            hook: Some(run.phase),
            ..Action::new(run.id.clone(), owned.gvk, Verb::Delete, "the hook ended")
        };
        let results = self.write(&[&delete], &Observations::new()).await;
        if let Some(failed) = results.iter().find(|result| !result.outcome.is_done()) {
            // It is only left over: the release goes on.
            warn!(hook = %run.id, outcome = ?failed.outcome, "the object of a hook could not be deleted");
        }
        self.take_results(&[&delete], &results).await
    }

    /// Runs the hooks that are meant for a failed release, before its outcome
    /// is written. Nothing waits for them, and nothing depends on them.
    pub(super) async fn run_failure_hooks(&mut self, end: &End) -> Result<(), StepError> {
        let Some(running) = self.known.history.running().filter(|running| running.spec.number == end.release) else {
            return Ok(());
        };
        let (number, cause) = (running.spec.number, running.spec.cause);
        let Some(content) = self.known.running_content.clone() else { return Ok(()) };
        let Some(runs) = self.hook_runs(Some(number), cause, &running.spec.include) else { return Ok(()) };
        let occasion = Occasion { hooks: Some(HookRuns { failed: true, ..runs }), ..Occasion::default() };
        let proposal = Proposal { candidates: Vec::new(), guards: Vec::new(), ..self.proposal(&content, &occasion) };
        if proposal.hooks.is_empty() {
            return Ok(());
        }
        let (plan, observations) = self.plan_failure_hooks(&content, &proposal, &occasion).await;
        for refusal in &plan.refusals {
            let message = format!("a SyncFailed hook cannot be run: {refusal}");
            warn!(message, "a hook was refused");
            self.event("HookFailed", &message, true);
        }
        self.intend(&plan, false).await?;
        let actions: Vec<&Action> = plan.writes().collect();
        let results = self.write(&actions, &observations).await;
        for result in results.iter().filter(|result| !result.outcome.is_done()) {
            let message = format!("the SyncFailed hook {} could not be run: {}", result.id, words_of(result));
            warn!(message, "a hook failed");
            self.event("HookFailed", &message, true);
        }
        self.take_results(&actions, &results).await
    }

    async fn plan_failure_hooks(
        &self,
        content: &Content,
        proposal: &Proposal,
        occasion: &Occasion,
    ) -> (Plan, Observations) {
        self.watch_kinds(&content.manifests).await;
        let policy = self.policy(occasion);
        let observations = observe(&self.shared.cluster, &self.identity(), proposal, &policy).await;
        (conclude(proposal, &observations, &policy), observations)
    }
}

fn words_of(result: &ActionResult) -> String {
    super::outcome::message(&result.outcome)
}

/// What the health of a hook's object says of its run: Jobs and Pods end, other
/// objects are well or not.
fn progress(run: &HookRun, done: bool, health: HealthStatus, reason: String) -> HookProgress {
    let ends = matches!((run.id.group.as_str(), run.id.kind.as_str()), ("batch", "Job") | ("", "Pod"));
    match health {
        HealthStatus::Degraded => HookProgress::Failed(reason),
        _ if ends && done => HookProgress::Succeeded,
        HealthStatus::Healthy if !ends => HookProgress::Succeeded,
        _ => HookProgress::Running(reason),
    }
}

fn of_result(result: &HookResult) -> Option<(HookRun, HookProgress)> {
    let progress =
        if result.succeeded { HookProgress::Succeeded } else { HookProgress::Failed(result.message.clone()) };
    Some((HookRun { phase: result.phase.parse().ok()?, id: result.object.clone() }, progress))
}

fn to_result(run: &HookRun, progress: &HookProgress) -> HookResult {
    let message = match progress {
        HookProgress::Failed(why) | HookProgress::Running(why) => why.chars().take(MESSAGE_KEPT).collect(),
        HookProgress::Succeeded => String::new(),
    };
    HookResult {
        phase: run.phase.to_string(),
        object: run.id.clone(),
        succeeded: *progress == HookProgress::Succeeded,
        message,
        ended_at: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        manifest::{GroupKind, ObjectId},
        plan::schedule::HookPhase,
    };

    #[rstest]
    #[case::a_job_that_runs("batch", "Job", false, HealthStatus::Progressing, "runs")]
    #[case::a_job_that_completed("batch", "Job", true, HealthStatus::Healthy, "succeeded")]
    #[case::a_job_that_failed("batch", "Job", false, HealthStatus::Degraded, "failed")]
    #[case::a_job_that_is_suspended("batch", "Job", false, HealthStatus::Suspended, "runs")]
    #[case::a_pod_that_is_ready_has_not_ended("", "Pod", false, HealthStatus::Healthy, "runs")]
    #[case::a_pod_that_succeeded("", "Pod", true, HealthStatus::Healthy, "succeeded")]
    #[case::a_config_map_is_done_when_it_is_there("", "ConfigMap", false, HealthStatus::Healthy, "succeeded")]
    #[case::a_workflow_that_runs("argoproj.io", "Workflow", false, HealthStatus::Progressing, "runs")]
    #[case::a_kind_that_cannot_be_read("argoproj.io", "Workflow", false, HealthStatus::Unknown, "runs")]
    fn the_end_of_a_run_is_told_by_kind(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] done: bool,
        #[case] health: HealthStatus,
        #[case] expected: &str,
    ) {
        let id = ObjectId::new(GroupKind::new(group, kind), Some("team-a".into()), "hook");
        let run = HookRun { phase: HookPhase::PreSync, id };
        let word = match progress(&run, done, health, String::new()) {
            HookProgress::Running(_) => "runs",
            HookProgress::Succeeded => "succeeded",
            HookProgress::Failed(_) => "failed",
        };
        assert_eq!(word, expected);
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written() {
        let run = HookRun {
            phase: HookPhase::Test,
            id: ObjectId::new(GroupKind::new("batch", "Job"), Some("team-a".into()), "smoke"),
        };
        for progress in [HookProgress::Succeeded, HookProgress::Failed("exit code 1".to_owned())] {
            assert_eq!(of_result(&to_result(&run, &progress)), Some((run.clone(), progress)));
        }
    }
}
