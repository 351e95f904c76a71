//! An Application is deleted: its objects stay, or go with it.

use tracing::{info, warn};

use super::{Actor, StepError, known::Content, outcome};
use crate::{
    api::{CommitRecord, DeletionPolicy},
    controller::{decide::ContentId, settings::Occasion},
    manifest::{InputDigest, bundle_digest},
    plan::Action,
};

/// The finalizer of Applications whose objects are deleted with them.
pub(super) const FINALIZER: &str = "bowline.dev/prune";

impl Actor {
    /// Keeps the finalizer as the deletion policy says.
    pub(super) async fn keep_finalizer(&mut self) -> Result<(), StepError> {
        let metadata = &self.known.application.metadata;
        if metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let wanted = self.known.application.spec.deletion_policy == DeletionPolicy::Prune;
        let there = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        if wanted != there && !self.shared.options.observe_only {
            self.shared.store.set_finalizer(self.known.application.as_ref(), FINALIZER, wanted).await?;
        }
        Ok(())
    }

    /// Carries out the deletion. It never blocks for ever: what cannot be
    /// deleted is named in an event and left, and the Application goes.
    pub(super) async fn delete(&mut self) -> Result<(), StepError> {
        let prunes =
            self.known.application.spec.deletion_policy == DeletionPolicy::Prune && !self.shared.options.observe_only;
        let there = self.known.application.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        if !there {
            return Ok(());
        }
        if prunes {
            self.prune_all().await?;
        }
        self.store.delete_inventory(&self.known.stored).await?;
        self.shared.store.set_finalizer(self.known.application.as_ref(), FINALIZER, false).await?;
        info!("the application is deleted");
        Ok(())
    }

    async fn prune_all(&mut self) -> Result<(), StepError> {
        let bundle = bundle_digest(&[]);
        let inputs = InputDigest(crate::manifest::Digest::of(b""));
        let id = ContentId { bundle, inputs, commit: CommitRecord::default() };
        let content = Content { id, manifests: Vec::new().into() };
        let mut occasion = Occasion { prune: Some(true), ..Occasion::default() };
        // Deleting the Application with this policy is the permission that the
        // guards ask for.
        let (plan, _) = self.plan(&content, &occasion).await;
        occasion.allow_prune = Some(plan.digest);
        let (plan, observations) = self.plan(&content, &occasion).await;
        for refusal in &plan.refusals {
            warn!(%refusal, "an object stays");
            self.event("NotDeleted", &refusal.to_string(), true);
        }
        let actions: Vec<&Action> = plan.writes().collect();
        let results = self.write(&actions, &observations).await;
        for failed in results.iter().filter(|result| !result.outcome.is_done()) {
            let message = format!("{} stays: {}", failed.id, outcome::message(&failed.outcome));
            warn!(message, "an object could not be deleted");
            self.event("NotDeleted", &message, true);
        }
        self.take_results(&actions, &results).await
    }
}
