//! Drift that is not put back: what is said of it, and objects that are
//! compared although nothing tells of drift.

use std::collections::BTreeSet;

use tracing::{debug, warn};

use super::{Actor, StepError, known::Explained};
use crate::{
    api::{Cause, DriftPolicy, Phase},
    cluster::observe::observe,
    controller::{decide::Content as From, deep_check::next_object, settings::Occasion},
    manifest::ObjectId,
    plan::{Action, Plan, conclude},
    telemetry::DeepCheck,
};

/// How many objects that drifted are looked at to say what differs: as many as
/// a status names.
const EXPLAINED: usize = 5;
/// How many fields are named.
const FIELDS_NAMED: usize = 3;

impl Actor {
    /// Finds out which fields differ, and who set them, where drift is only
    /// reported. An object is looked at once for each state that it is in.
    pub(super) async fn explain_drift(&mut self) -> Result<(), StepError> {
        let reports = self.known.settings.drift == DriftPolicy::Report || self.known.settings.observe_only;
        if !reports || !self.known.live.settled || self.known.history.running().is_some() {
            self.known.explained.clear();
            return Ok(());
        }
        let drifted: Vec<ObjectId> = self.known.live.drifted.iter().take(EXPLAINED).cloned().collect();
        self.known.explained.retain(|id, _| drifted.contains(id));
        let mut unknown = BTreeSet::new();
        for id in drifted {
            let Some(owned) = self.known.stored.objects.get(&id) else { continue };
            let live = self.shared.index.object(&self.known.owner, &id, owned);
            let state = live.and_then(|live| live.fingerprint);
            if self.known.explained.get(&id).is_none_or(|explained| explained.state != state) {
                self.known.explained.insert(id.clone(), Explained { state, words: String::new() });
                unknown.insert(id);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let Some(plan) = self.plan_of(&unknown).await? else { return Ok(()) };
        for action in &plan.actions {
            if let Some(explained) = self.known.explained.get_mut(&action.id) {
                explained.words = drift_words(action);
            }
        }
        Ok(())
    }

    /// Compares one object by the server's dry-run, if it is this
    /// application's turn and there is nothing else to do. Returns whether it
    /// found drift.
    pub(super) async fn deep_check(&mut self) -> Result<bool, StepError> {
        if !self.shared.deep_checks.take(&self.known.owner) || !self.is_at_rest() {
            return Ok(false);
        }
        let objects = &self.known.stored.objects;
        if self.known.compared_last.is_none() && !objects.is_empty() {
            // Else a controller that starts often would always see the same ones.
            let start = rand::random_range(0..objects.len());
            self.known.compared_last = objects.keys().nth(start).cloned();
        }
        let summary = &self.known.summary;
        let differs = |id: &ObjectId| summary.drifted.contains(id) || summary.gone.contains(id);
        let next = next_object(objects, self.known.compared_last.as_ref(), differs).cloned();
        let Some(id) = next else { return Ok(false) };
        self.known.compared_last = Some(id.clone());
        let plan = match self.plan_of(&BTreeSet::from([id.clone()])).await {
            Ok(Some(plan)) if plan.refusals.is_empty() => plan,
            Ok(_) => {
                self.shared.metrics.deep_checked(DeepCheck::Unknown);
                return Ok(false);
            }
            Err(error) => {
                debug!(%error, object = %id, "it could not be compared");
                self.shared.metrics.deep_checked(DeepCheck::Unknown);
                return Ok(false);
            }
        };
        let Some(action) = plan.writes().next() else {
            debug!(object = %id, "compared: as it should be");
            self.shared.metrics.deep_checked(DeepCheck::Same);
            return Ok(false);
        };
        self.shared.metrics.deep_checked(DeepCheck::Different);
        let words = format!("{}, found by a deep check though its fingerprint is as recorded", drift_words(action));
        let message = format!("{id} {words}");
        warn!(message, "a fingerprint did not tell of drift");
        self.event("DeepCheckFound", &message, true);
        self.known.found_by_deep_check.insert(id, words);
        Ok(true)
    }

    /// Whether the application is kept as its last release left it.
    fn is_at_rest(&self) -> bool {
        let known = &self.known;
        let healthy = known.history.applied().is_some_and(|release| {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            outcome.is_some_and(|outcome| outcome.phase == Phase::Healthy)
        });
        let (suspended, _) = known.suspended(jiff::Timestamp::now());
        healthy && !suspended && !known.inherits() && known.history.running().is_none() && known.live.settled
    }

    /// What would be done about some objects of the release in the cluster.
    async fn plan_of(&mut self, objects: &BTreeSet<ObjectId>) -> Result<Option<Plan>, StepError> {
        let Some(applied) = self.known.history.applied() else { return Ok(None) };
        let rollback = matches!(applied.spec.cause, Cause::Rollback | Cause::AutomaticRollback)
            .then(|| applied.spec.include.clone());
        let content = self.content_of(From::Release(applied.spec.number)).await?;
        let occasion = Occasion { prune: Some(false), rollback, ..Occasion::default() };
        let policy = self.policy(&occasion);
        let mut proposal = crate::plan::propose(
            &content.manifests,
            &content.id.bundle,
            &self.known.stored.objects,
            objects,
            &BTreeSet::new(),
            &policy,
        );
        // Read from the cluster once, and not for each object anew.
        self.known.running_content = Some(content);
        proposal.candidates.retain(|candidate| objects.contains(&candidate.id));
        let observations = observe(&self.shared.cluster, &self.identity(), &proposal, &policy).await;
        Ok(Some(conclude(&proposal, &observations, &policy)))
    }
}

/// `data.BATCH: drifted (changed by kubectl-edit)`.
fn drift_words(action: &Action) -> String {
    let changed: Vec<&str> =
        action.changes.iter().filter(|change| change.owned).map(|change| change.path.as_str()).collect();
    let more = changed.len().saturating_sub(FIELDS_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match changed.as_slice() {
        [] => action.reason.clone(),
        changed => format!("{}{more}: {}", changed[..changed.len().min(FIELDS_NAMED)].join(", "), action.reason),
    }
}
