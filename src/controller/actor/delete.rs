//! An Application is deleted: its objects stay, or go with it.

use tracing::{info, warn};

use super::{Actor, StepError, known::Content, outcome};
use crate::{
    api::{CommitRecord, DeletionPolicy},
    cluster::apply::ActionResult,
    controller::{decide::ContentId, settings::Occasion},
    manifest::{InputDigest, Manifest, bundle_digest},
    plan::{Action, Observation},
};

/// How often a deletion is tried, over about two minutes, before what is left
/// is named and left.
const DELETION_TRIES: u32 = 8;
/// The finalizer of Applications whose objects are deleted with them.
pub(super) const FINALIZER: &str = "bowline.dev/prune";

impl Actor {
    /// Keeps the finalizer as the deletion policy says.
    pub(super) async fn keep_finalizer(&mut self) -> Result<(), StepError> {
        let metadata = &self.known.application.metadata;
        if metadata.deletion_timestamp.is_some() || self.shared.options.observe_only {
            return Ok(());
        }
        let wanted = self.known.application.spec.deletion_policy == DeletionPolicy::Prune;
        let there = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        // Once for each state of the object: the watch tells what came of it.
        if wanted == there || self.known.finalizer_at == metadata.resource_version {
            return Ok(());
        }
        self.known.finalizer_at.clone_from(&metadata.resource_version);
        match self.shared.store.set_finalizer(self.known.application.as_ref(), FINALIZER, wanted).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Carries out the deletion. It never blocks for ever: what the server
    /// refuses to delete is named in an event and left. What may succeed later
    /// is tried again.
    pub(super) async fn delete(&mut self) -> Result<(), StepError> {
        if self.shared.options.observe_only {
            return Ok(());
        }
        let number = self.known.history.running().map(|release| release.spec.number);
        if let Some(number) = number {
            self.abandon(number, "the application was deleted").await?;
        }
        let there = self.known.application.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        if !there {
            return Ok(());
        }
        if self.known.application.spec.deletion_policy == DeletionPolicy::Prune {
            self.known.trace.alone("delete");
            let pruned = self.prune_all().await;
            self.known.trace.alone_ended();
            pruned?;
        }
        if !self.shared.leadership.may_write() {
            return Err(StepError::NotLeading);
        }
        self.store.delete_inventory(&self.known.stored).await?;
        self.shared.store.set_finalizer(self.known.application.as_ref(), FINALIZER, false).await?;
        info!("the application is deleted");
        Ok(())
    }

    async fn prune_all(&mut self) -> Result<(), StepError> {
        let bundle = bundle_digest::<Manifest>(&[]);
        let inputs = InputDigest(crate::manifest::Digest::of(b""));
        let id = ContentId { bundle, inputs, commit: CommitRecord::default() };
        let content = Content { id, manifests: Vec::new().into(), renderer: String::new() };
        let mut occasion = Occasion { prune: Some(true), ..Occasion::default() };
        // Deleting the Application with this policy is the permission that the
        // guards ask for.
        let (plan, _) = self.plan(&content, &occasion).await;
        occasion.allow_prune = Some(plan.digest);
        let (plan, observations) = self.plan(&content, &occasion).await;
        self.let_go(&plan);
        for refusal in &plan.refusals {
            warn!(%refusal, "an object stays");
            self.event("NotDeleted", &refusal.to_string(), true);
        }
        let actions: Vec<&Action> = plan.writes().collect();
        let results = self.write(&actions, &observations).await;
        self.take_results(&actions, &results).await?;
        self.tell_of_writes(&actions, &results);
        let again = |result: &&ActionResult| !result.outcome.is_done() && !outcome::is_permanent(&result.outcome);
        let later = plan.refusals.iter().find(|refusal| refusal.transient).map(ToString::to_string).or_else(|| {
            results.iter().find(again).map(|result| format!("{}: {}", result.id, outcome::message(&result.outcome)))
        });
        // What could not be read may be there all the same.
        let unread = observations.iter().find_map(|(id, seen)| match seen {
            Observation::Unreadable(error) if error.transient => Some(format!("{id}: {}", error.message)),
            _ => None,
        });
        let later = later.or(unread);
        if let Some(message) = later
            && self.known.deletion_tries < DELETION_TRIES
        {
            self.known.deletion_tries += 1;
            return Err(StepError::NotDeleted(message));
        }
        self.tell_of_kept(&plan);
        for failed in results.iter().filter(|result| !result.outcome.is_done()) {
            let message = format!("{} stays: {}", failed.id, outcome::message(&failed.outcome));
            warn!(message, "an object could not be deleted");
            self.event("NotDeleted", &message, true);
        }
        Ok(())
    }
}
