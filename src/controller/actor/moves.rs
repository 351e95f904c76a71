//! Objects that move from one application to another, and what is told of
//! objects and fields that others have or had.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{Actor, known::Content};
use crate::{
    api::SyncMode,
    cluster::{
        OwnerKey,
        apply::{ActionResult, Outcome},
    },
    controller::{
        decide::{HeadView, Stage},
        handover::Wish,
        settings::{Occasion, membership},
    },
    manifest::ObjectId,
    plan::{
        APPLICATION_ANNOTATION, Action, Observation, Observations, Plan, Policy, Proposal, Refusal, RefusalReason,
        SET_LABEL, Verb, Why,
    },
};

/// How long a release waits at most for applications that have not looked at
/// its commit yet, or not at their repository since the start.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often it looks whether they have.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_millis(50);
/// How many objects an event names.
const NAMED: usize = 5;

impl Actor {
    /// Says what the head of this application has.
    pub(super) fn note_wishes(&self) {
        let known = &self.known;
        let Some(found) = &known.found else { return };
        let (suspended, _) = known.suspended(Timestamp::now());
        let wish = Wish {
            asked: self.asked(),
            commit: found.commit.id.as_str().to_owned(),
            manifests: known.content.as_ref().map(|content| content.manifests.clone()),
            automatic: known.settings.mode == SyncMode::Automatic && !suspended && !known.settings.observe_only,
            wake: self.wake.clone(),
        };
        self.shared.handover.note(&known.owner, wish);
    }

    /// Adds to a policy which objects moved to or from other applications.
    pub(super) fn with_moves(&self, mut policy: Policy, proposal: &Proposal, observations: &Observations) -> Policy {
        let own = &self.known.owner;
        let removed: BTreeSet<ObjectId> = proposal
            .candidates
            .iter()
            .filter(|candidate| candidate.why == Why::Removed)
            .map(|candidate| candidate.id.clone())
            .collect();
        let elsewhere = self.shared.handover.elsewhere(own, &removed);
        policy.elsewhere = elsewhere.into_iter().map(|(id, owner)| (id, owner.as_str().to_owned())).collect();
        for candidate in proposal.candidates.iter().filter(|candidate| candidate.desired.is_some()) {
            let Some(Observation::Live { object, .. }) = observations.get(&candidate.id) else { continue };
            let metadata = &object["metadata"];
            let marked = metadata["annotations"][APPLICATION_ANNOTATION].as_str().and_then(OwnerKey::parse);
            let Some(other) = marked.filter(|other| other != own) else { continue };
            // The same name in another installation is somebody else.
            let set = membership(&self.shared.installation, other.namespace(), other.name()).set;
            if metadata["labels"][SET_LABEL] == set.as_str() && self.shared.handover.has_given_up(&other, &candidate.id)
            {
                policy.given_up.insert(candidate.id.clone());
            }
        }
        policy
    }

    /// Whether a release that would delete waits until the other applications
    /// of its repository have looked at the commit: one of them may have now
    /// what is no longer here.
    pub(super) fn waits_before_deleting(&mut self, number: u64, content: &Content, occasion: &Occasion) -> bool {
        let deletes = self.proposal(content, occasion).candidates.iter().any(|candidate| candidate.why == Why::Removed);
        deletes && self.waits_for_others(number)
    }

    /// Whether a release that was refused for the claim of another application
    /// waits until that one has looked at the commit: it may give the object up.
    pub(super) fn waits_for_claims(&mut self, number: u64, refusals: &[Refusal]) -> bool {
        let claimed = refusals.iter().any(|refusal| refusal.reason == RefusalReason::OwnedByOther);
        claimed && self.waits_for_others(number)
    }

    fn waits_for_others(&mut self, number: u64) -> bool {
        let own = &self.known.owner;
        let mut behind = self.shared.handover.behind(own);
        // After a restart nobody knows what these want.
        let all = self.shared.own.applications();
        behind.extend(all.into_iter().filter(|other| other != own && !self.shared.handover.has_looked(other)));
        let Some(first) = behind.first() else { return false };
        let now = Instant::now();
        let until = match self.known.others_until {
            Some((release, until)) if release == number => until,
            _ => {
                // Their repositories may be asked by other credentials, later.
                behind.iter().for_each(|other| self.shared.poller.look_now(other));
                self.known.others_until = Some((number, now + LONGEST_WAIT));
                now + LONGEST_WAIT
            }
        };
        if now >= until {
            return false;
        }
        let message = format!("waits until the Application {first} has looked at its repository");
        let at = Timestamp::now() + LOOK_AGAIN;
        self.set_stage(Stage::Retry { at, message });
        true
    }

    /// Tells the applications that have now what this one lets go of.
    pub(super) fn let_go(&self, plan: &Plan) {
        let forgotten: BTreeSet<ObjectId> = plan.forgotten.iter().cloned().collect();
        let left = |id: &ObjectId| plan.actions.iter().any(|action| action.verb == Verb::Leave && action.id == *id);
        for (id, other) in self.shared.handover.elsewhere(&self.known.owner, &forgotten) {
            if left(&id) {
                info!(object = %id, to = other.as_str(), "let go of");
                self.event("HandedOver", &format!("{id} is left to the Application {other}, which has it now"), false);
                self.shared.handover.release(&self.known.owner, &id, &other);
            }
        }
    }

    /// Tells of objects that are no longer wanted and stay.
    pub(super) fn tell_of_kept(&self, plan: &Plan) {
        let forgotten = |id: &ObjectId| plan.forgotten.contains(id);
        let kept = plan.actions.iter().filter(|action| action.verb == Verb::Leave && !forgotten(&action.id));
        let texts: Vec<String> = kept.map(|action| format!("{} stays: {}", action.id, action.reason)).collect();
        self.tell_each("Kept", &texts);
    }

    /// Tells of guards that stop the head, when they are new.
    pub(super) fn tell_of_guards(&self, guards: &[Refusal]) {
        let before = match &self.known.head {
            HeadView::Rendered { guards, .. } => guards.as_slice(),
            _ => &[],
        };
        for guard in guards.iter().filter(|guard| !before.contains(guard)) {
            let name = self.known.owner.name();
            let hint = guard.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let message = format!("{guard}{hint}; to let it pass once: bowline sync {name} --allow-prune");
            self.event(guard.reason.as_str(), &message, true);
        }
    }

    /// Tells what writes took from others, and which deletions are not at
    /// their end.
    pub(super) fn tell_of_writes(&self, actions: &[&Action], results: &[ActionResult]) {
        let of = |result: &ActionResult| actions.iter().find(|action| action.id == result.id);
        let taken: Vec<String> = results
            .iter()
            .filter(|result| matches!(result.outcome, Outcome::Applied(_)))
            .filter_map(of)
            .flat_map(|action| action.takes.iter().map(|taken| format!("{} {taken}", action.id)))
            .collect();
        self.tell_each("FieldsTaken", &taken);
        let held = results.iter().filter_map(|result| match &result.outcome {
            Outcome::Deleting { finalizers } if !finalizers.is_empty() => Some(format!(
                "{} is being deleted and goes when its finalizers are done: {}",
                result.id,
                finalizers.join(", ")
            )),
            _ => None,
        });
        self.tell_each("Deleting", &held.collect::<Vec<_>>());
    }

    fn tell_each(&self, reason: &str, texts: &[String]) {
        let Some(first) = texts.first() else { return };
        let more = texts.len().saturating_sub(NAMED);
        let named = texts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        info!(reason, count = texts.len(), first, "told");
        self.event(reason, &format!("{named}{more}"), false);
    }
}
