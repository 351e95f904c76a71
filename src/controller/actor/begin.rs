//! Beginning a release: the intent is in the cluster before the act.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    Actor, StepError,
    known::{Content, Foreseen},
};
use crate::{
    api::{Cause, Phase, ReleaseCounts, ReleaseSpec, RequestPhase},
    controller::{
        decide::{Attempt, Begin, Content as From, ContentId, Dependencies},
        settings::Occasion,
        status_waits::waiting_words,
    },
    history::bundles,
    manifest::{Manifest, ObjectId, Pair, pairs},
    plan::{Proposal, Why, irreversible, propose},
};

impl Actor {
    /// What would be looked at to bring some content.
    pub(super) fn proposal(&self, content: &Content, occasion: &Occasion) -> Proposal {
        let policy = self.policy(occasion);
        let live = &self.known.live;
        propose(&content.manifests, &content.id.bundle, &self.known.stored.objects, &live.drifted, &live.gone, &policy)
    }

    /// The content of the head, or that of a kept release from the cluster.
    pub(super) async fn content_of(&self, from: From) -> Result<Content, StepError> {
        let number = match from {
            From::Head => {
                return self.known.content.clone().ok_or_else(|| StepError::Content {
                    release: 0,
                    message: "the head is not rendered any more".into(),
                });
            }
            From::Release(number) => number,
        };
        let refuse = |message: String| StepError::Content { release: number, message };
        let release = self.known.history.get(number).ok_or_else(|| refuse("the release is not kept".into()))?;
        let id = ContentId {
            bundle: release.spec.bundle.clone(),
            inputs: release.spec.inputs.clone(),
            commit: release.spec.commit.clone(),
        };
        let same = |content: &&Content| content.id.bundle == id.bundle;
        let known = self.known.content.iter().chain(&self.known.running_content).find(same);
        let manifests = match known {
            Some(content) => content.manifests.clone(),
            None => {
                let loaded = self.store.load_bundle(&id.bundle).await;
                match loaded {
                    Ok(manifests) => manifests.into(),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    Err(error) => return Err(refuse(error.to_string())),
                }
            }
        };
        Ok(Content { id, manifests, renderer: release.spec.renderer.clone() })
    }

    /// Begins a release: content first, then the Release that names it.
    pub(super) async fn begin(&mut self, begin: Begin) -> Result<(), StepError> {
        self.known.foreseen = None;
        let read = self.content_of(begin.content).await;
        if let (From::Release(number), Err(StepError::Content { message, .. })) = (begin.content, &read) {
            let message = message.clone();
            self.content_is_damaged(number, message);
        }
        let content = match read {
            Ok(content) => content,
            Err(error @ StepError::Content { .. }) if begin.request.is_some() => {
                let uid = begin.request.clone().unwrap_or_default();
                return self.answer(&uid, RequestPhase::Refused, error.to_string(), None).await;
            }
            Err(error @ StepError::Content { .. }) if begin.cause == Cause::AutomaticRollback => {
                let From::Release(target) = begin.content else { return Err(error) };
                let message = format!("{error}, so going back is left to a person");
                warn!(message, "no automatic rollback");
                self.event("NeedsPerson", &message, true);
                self.known.unusable_target = Some(target);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let occasion = self.occasion(begin.request.as_deref(), begin.cause);
        if let Some(refusal) = self.objection(&begin, &content, &occasion).await {
            let uid = begin.request.clone().unwrap_or_default();
            self.known.foreseen = None;
            return self.answer(&uid, RequestPhase::Refused, refusal, None).await;
        }
        let proposal = self.proposal(&content, &occasion);
        let spec = self.release(&begin, &content, &proposal, &occasion);
        let number = spec.number;
        let (name, known) = (self.known.owner.name(), &self.known.chunks);
        let pack = || bundles::pack_beside(name, &content.manifests, &content.id.bundle, known);
        // Compressing thousands of manifests would hold up the runtime's thread.
        let packed = tokio::task::block_in_place(pack)
            .map_err(|error| StepError::Content { release: number, message: error.to_string() })?;
        let added = self.store.store_bundle(&packed).await?;
        self.keeps(self.known.kept_bytes + added);
        self.known.chunks = packed.known;
        if self.known.damage.is_missing_something() {
            // What was missing may have been stored anew.
            self.look_at_content().await;
        }
        if let From::Release(number) = begin.content {
            self.known.damage.mended(number);
        }
        let created = match self.store.create_release(spec).await {
            Ok(created) => created,
            Err(error) => {
                // Somebody else made it, or the answer was lost: what is in the
                // cluster counts.
                self.known.loaded = false;
                return Err(error.into());
            }
        };
        info!(release = number, cause = %begin.cause, commit = content.id.commit.short, "the release begins");
        self.known.history.put(created);
        self.known.offered = false;
        let of_head = (begin.content == From::Head).then(|| content.id.commit.id.clone());
        self.known.took.begun(of_head.as_deref());
        self.take_up(number, content, false).await;
        self.announce(&begin, number).await
    }

    /// Takes up a release that is to be carried out.
    pub(super) async fn take_up(&mut self, number: u64, content: Content, resumed: bool) {
        if let Some(release) = self.known.history.get(number) {
            self.known.trace.taken_up(release);
        }
        let before = self.healthy_before(number).await;
        let mut attempt = Attempt::new(number);
        attempt.changed = changed(before.as_ref(), &content);
        if resumed {
            // Nobody can tell how far it had come, nor what was unhealthy then.
            attempt.touched = true;
        } else {
            attempt.unhealthy_before = self.known.live.unhealthy.iter().map(|(id, _)| id.clone()).collect();
        }
        attempt.irreversible = before.and_then(|before| irreversible(&before.manifests, &content.manifests));
        self.known.attempt = Some(attempt);
        self.known.underway = None;
        self.known.tries = 0;
        self.known.replans = 0;
        self.known.hooks.clear();
        self.known.waiting_noted = false;
        self.known.beginning_told = resumed;
        self.known.running_content = Some(content);
    }

    /// The content of the last release before this one that was healthy.
    pub(super) async fn healthy_before(&self, number: u64) -> Option<Content> {
        let before = self.known.history.iter().rev().find(|release| {
            release.spec.number < number
                && release
                    .status
                    .as_ref()
                    .and_then(|status| status.outcome.as_ref())
                    .is_some_and(|outcome| outcome.phase == Phase::Healthy)
        })?;
        // Content that cannot be read cannot be gone back to either, which is
        // said when it is tried.
        self.content_of(From::Release(before.spec.number)).await.ok()
    }

    /// Why a person's request is not carried out after all: the plan is not
    /// the one that was seen, or what was allowed is not what would be done.
    async fn objection(&mut self, begin: &Begin, content: &Content, occasion: &Occasion) -> Option<String> {
        let uid = begin.request.as_deref()?;
        let seen = self.known.rollback_requests.get(uid).and_then(|request| request.spec.plan_digest.clone());
        if seen.is_none() && occasion.allow_prune.is_none() {
            return None;
        }
        let proposal = self.proposal(content, occasion);
        let observations = self.observe(&proposal, occasion).await;
        let plan = self.conclude(&proposal, &observations, occasion);
        self.known.foreseen = Some(Foreseen::new(&proposal, occasion.clone(), observations));
        if let Some(seen) = seen.filter(|seen| *seen != plan.digest) {
            return Some(format!(
                "the plan has changed since it was shown (it was {}, it is {}): look again",
                seen.short(12),
                plan.digest.short(12)
            ));
        }
        occasion.allow_prune.as_ref().filter(|allowed| **allowed != plan.digest).map(|allowed| {
            format!(
                "what was allowed is plan {}, but the plan is {} by now: look again",
                allowed.short(12),
                plan.digest.short(12)
            )
        })
    }

    fn release(&self, begin: &Begin, content: &Content, proposal: &Proposal, occasion: &Occasion) -> ReleaseSpec {
        let known = &self.known;
        let number = known.history.next_number();
        let (requested_by, verified, reason) = self.requester(begin);
        let to = match begin.content {
            From::Release(number) => Some(number),
            From::Head => None,
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let removed = proposal.candidates.iter().filter(|candidate| candidate.why == Why::Removed).count();
        ReleaseSpec {
            application: known.owner.name().to_owned(),
            number,
            cause: begin.cause,
            commit: content.id.commit.clone(),
            bundle: content.id.bundle.clone(),
            inputs: content.id.inputs.clone(),
            renderer: content.renderer.clone(),
            counts: ReleaseCounts {
                objects: count(content.manifests.len()),
                changed: count(proposal.candidates.len() - removed),
                removed: count(removed),
            },
            plan: None,
            rollback_to: to,
            rejects: to.map(|target| known.history.rejections_for(target)).unwrap_or_default(),
            accepts: begin.accepts,
            include: occasion.rollback.clone().unwrap_or_default(),
            prune: occasion.prune,
            application_uid: known.application.metadata.uid.clone().unwrap_or_default(),
            requested_by,
            verified,
            reason,
            request: begin.request.clone().unwrap_or_default(),
            previous: known.history.tip(),
            generation: known.settings.generation,
            created_at: Timestamp::now(),
        }
    }

    /// Who asked for a release and why.
    fn requester(&self, begin: &Begin) -> (String, bool, String) {
        let uid = begin.request.as_deref().unwrap_or_default();
        let asked = match (self.known.sync_requests.get(uid), self.known.rollback_requests.get(uid)) {
            (Some(request), _) => Some((&request.spec.requested_by, &request.spec.reason)),
            (_, Some(request)) => Some((&request.spec.requested_by, &request.spec.reason)),
            (None, None) => None,
        };
        match asked {
            Some((by, why)) => {
                let verified = self.shared.policies.names_are_verified() && !by.is_empty();
                (by.clone(), verified, why.clone())
            }
            None => (String::new(), false, begin.reason.clone()),
        }
    }

    /// Tells who should know that a release began.
    async fn announce(&mut self, begin: &Begin, number: u64) -> Result<(), StepError> {
        if matches!(begin.cause, Cause::Rollback | Cause::AutomaticRollback) {
            self.shared.metrics.rollback_began(begin.cause.as_str());
        }
        let left = self.known.history.get(number - 1).map(|release| release.spec.number);
        let message = match (begin.cause, begin.content) {
            (Cause::Rollback, From::Release(to)) => {
                Some(format!("release {number} goes back to the content of release {to}"))
            }
            (Cause::AutomaticRollback, From::Release(to)) => {
                Some(format!("release {number} takes it back to the content of release {to}: {}", begin.reason))
            }
            _ => None,
        };
        if let Some(message) = &message {
            self.event(begin.cause.as_str(), message, begin.cause == Cause::AutomaticRollback);
        }
        self.known.beginning_told = message.is_some();
        if let (Cause::Rollback | Cause::AutomaticRollback, Some(left)) = (begin.cause, left) {
            self.note_after(left, |after| after.rolled_back_by = Some(number)).await?;
        }
        if let Some(uid) = begin.request.clone() {
            // Who asks for a sync decides that it goes ahead of what it depends on.
            let ahead = match &self.known.dependencies {
                Dependencies::Waiting(waiting) if begin.cause == Cause::Request => {
                    format!(", without waiting for {}", waiting_words(waiting))
                }
                _ => String::new(),
            };
            let message = format!("release {number} is on its way{ahead}");
            self.answer(&uid, RequestPhase::Running, message, Some(number)).await?;
        }
        Ok(())
    }
}

/// The objects of some content that an earlier one had not, or not so.
pub(super) fn changed(before: Option<&Content>, content: &Content) -> BTreeSet<ObjectId> {
    let before = before.map(|before| &*before.manifests).unwrap_or_default();
    let differs = |pair: Pair<&Arc<Manifest>, &Arc<Manifest>>| match pair {
        (before, Some(after)) if before.is_none_or(|before| before.digest != after.digest) => Some(after.id.clone()),
        _ => None,
    };
    pairs(before, content.manifests.iter()).filter_map(differs).collect()
}
