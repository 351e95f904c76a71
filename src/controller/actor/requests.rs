//! What people ask for: dry runs, revisions, answers.

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Actor, StepError, known::Content};
use crate::{
    api::{Cause, Pin, RequestPhase, RequestStatus},
    controller::{
        decide::{Content as From, HeadView, Resolution},
        plan_view::plan_view,
        poller::{Failure, Found},
        settings::Occasion,
    },
    plan::conclude,
};

/// A plan in a request's status has at most this many bytes.
const PLAN_BYTES: usize = 512 << 10;

impl Actor {
    /// Tells a person what became of a request.
    pub(super) async fn answer(
        &mut self,
        uid: &str,
        phase: RequestPhase,
        message: impl Into<String>,
        release: Option<u64>,
    ) -> Result<(), StepError> {
        let message = message.into();
        let ended = matches!(phase, RequestPhase::Succeeded | RequestPhase::Failed | RequestPhase::Refused);
        let ended_at = ended.then(Timestamp::now);
        let status = RequestStatus { phase: Some(phase), message: message.clone(), release, plan: None, ended_at };
        self.write_answer(uid, &status).await?;
        if phase == RequestPhase::Running {
            self.known.pinned_by = None;
        }
        if phase == RequestPhase::Refused {
            self.unpin(uid).await?;
            self.event("RequestRefused", &message, true);
        }
        Ok(())
    }

    async fn write_answer(&mut self, uid: &str, status: &RequestStatus) -> Result<(), StepError> {
        info!(request = uid, phase = ?status.phase, message = status.message, "answered");
        let (shared, leads) = (&self.shared, || self.shared.leadership.may_write());
        let open = |known: Option<&RequestStatus>| known.is_none_or(|known| known.ended_at.is_none());
        // An answer is given once: what another replica answered stays.
        let written = match (self.known.sync_requests.get(uid), self.known.rollback_requests.get(uid)) {
            (Some(request), _) => shared
                .store
                .write_status_while(request.as_ref(), status, |read| leads() && open(read.status.as_ref()))
                .await
                .map(|written| shared.record(written.as_ref())),
            (None, Some(request)) => shared
                .store
                .write_status_while(request.as_ref(), status, |read| leads() && open(read.status.as_ref()))
                .await
                .map(|written| shared.record(written.as_ref())),
            (None, None) => Ok(()),
        };
        match written {
            // Whoever asked has taken it back.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
        if !leads() {
            return Err(StepError::NotLeading);
        }
        self.known.told.insert(uid.to_owned());
        for request in self.known.requests.iter_mut().filter(|request| request.uid == uid) {
            request.told = true;
        }
        if status.ended_at.is_some() {
            self.known.answered.insert(uid.to_owned());
            self.known.requests.retain(|request| request.uid != uid);
        }
        Ok(())
    }

    async fn previewed_or(&self, preview: Option<Content>, from: From) -> Result<Content, StepError> {
        match preview {
            Some(content) => Ok(content),
            None => self.content_of(from).await,
        }
    }

    /// Makes the plan that a dry run asks for.
    pub(super) async fn dry_run(&mut self, uid: &str, from: From) -> Result<(), StepError> {
        let preview = self.known.previews.get(uid).cloned();
        if let (From::Head, None, HeadView::Broken { message, .. }) = (from, &preview, &self.known.head) {
            let message = message.clone();
            return self.answer(uid, RequestPhase::Refused, message, None).await;
        }
        let content = match self.previewed_or(preview, from).await {
            Ok(content) => content,
            Err(error @ StepError::Content { .. }) => {
                if let (From::Release(number), StepError::Content { message, .. }) = (from, &error) {
                    self.content_is_damaged(number, message.clone());
                }
                return self.answer(uid, RequestPhase::Refused, error.to_string(), None).await;
            }
            Err(error) => return Err(error),
        };
        let cause = if self.known.rollback_requests.contains_key(uid) { Cause::Rollback } else { Cause::Request };
        let occasion = self.occasion(Some(uid), cause);
        let (mut plan, observations) = self.plan(&content, &occasion).await;
        let guards: Vec<String> = plan.refusals.iter().map(ToString::to_string).collect();
        let only_guards = plan.refusals.iter().all(|refusal| refusal.reason.can_be_allowed());
        if cause == Cause::Rollback && only_guards && !guards.is_empty() {
            // The person who reads this plan decides; what is asked for by its
            // digest is then allowed.
            let occasion = Occasion { allow_prune: Some(plan.digest), ..occasion };
            plan = conclude(&self.proposal(&content, &occasion), &observations, &self.policy(&occasion));
            plan.notes.extend(guards);
        }
        let to = match from {
            From::Release(number) => Some(number),
            From::Head => None,
        };
        // Equal values are shown alike within one plan and differently in the
        // next, so that nobody collects them.
        let salt: [u8; 16] = rand::random();
        let view = plan_view(&plan, &content.id.commit.short, to, &salt, PLAN_BYTES);
        let writes = plan.writes().count();
        let message = match view.refusals.first() {
            Some(refusal) => format!("it would be refused: {refusal}"),
            None => format!("{} to change", crate::controller::words::count(writes, "object")),
        };
        let status = RequestStatus {
            phase: Some(RequestPhase::Succeeded),
            message,
            release: None,
            plan: Some(view),
            ended_at: Some(Timestamp::now()),
        };
        self.write_answer(uid, &status).await
    }

    /// Looks at the repository for a request, beside the work: a server that
    /// hangs holds up nothing else.
    pub(super) fn look_for(&mut self, uid: &str) {
        let Some(request) = self.known.sync_requests.get(uid) else { return };
        let wanted = request.spec.revision.clone().or_else(|| self.asked().revision);
        self.known.resolutions.insert(uid.to_owned(), Resolution::Looking);
        let (shared, owner, uid) = (self.shared.clone(), self.known.owner.clone(), uid.to_owned());
        let (tell, stop) = (self.tell_looked.clone(), self.stop.clone());
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                found = shared.poller.find(&owner, wanted.as_deref()) => {
                    // The actor may have ended meanwhile.
                    let _ = tell.send((uid, found)).await;
                }
            }
        });
    }

    /// Takes in what was looked up for a request. Without a dry run, the
    /// revision that is asked for becomes the head.
    pub(super) async fn take_looked(&mut self, uid: String, looked: Result<Found, Failure>) -> Result<(), StepError> {
        let Some(request) = self.known.sync_requests.get(&uid).cloned() else { return Ok(()) };
        if looked.as_ref().is_ok_and(|found| !self.is_verified(found)) {
            // The Application changed meanwhile.
            self.known.resolutions.insert(uid, Resolution::Pending);
            return Ok(());
        }
        let resolution = match (looked, request.spec.revision.clone()) {
            (Err(failure), _) => {
                warn!(request = uid, message = failure.message, "what was asked for cannot be read");
                Resolution::Failed(failure.message)
            }
            (Ok(found), None) => {
                self.known.reference.clone_from(&found.reference);
                self.known.found = Some(found);
                self.render_head().await;
                Resolution::Found
            }
            (Ok(found), Some(_)) if request.spec.dry_run => match self.preview(&found).await {
                Ok(content) => {
                    self.known.previews.insert(uid.clone(), content);
                    Resolution::Found
                }
                Err(message) => Resolution::Failed(message),
            },
            (Ok(found), Some(revision)) => {
                let before = (self.known.pin.clone(), self.known.pinned.clone());
                match self.pin(revision, found, &request.spec.requested_by).await {
                    Ok(resolution) => {
                        self.known.pinned_by = Some(uid.clone());
                        resolution
                    }
                    Err(error) => {
                        (self.known.pin, self.known.pinned) = before;
                        self.known.resolutions.insert(uid, Resolution::Pending);
                        return Err(error);
                    }
                }
            }
        };
        self.known.resolutions.insert(uid, resolution);
        Ok(())
    }

    /// Takes back a pin whose request was refused.
    async fn unpin(&mut self, uid: &str) -> Result<(), StepError> {
        if self.known.pinned_by.as_deref() != Some(uid) {
            return Ok(());
        }
        self.known.pinned_by = None;
        self.known.pin = None;
        self.known.pinned = None;
        self.save_pin().await?;
        self.render_head().await;
        Ok(())
    }

    /// Makes a revision that a person asked for the head, until the real head
    /// changes.
    async fn pin(&mut self, revision: String, found: Found, by: &str) -> Result<Resolution, StepError> {
        let Some(head) = self.known.found.as_ref().map(|found| found.commit.id.to_string()) else {
            let message = "the repository has not been read yet, so that nobody could tell when its head changes";
            return Ok(Resolution::Failed(message.to_owned()));
        };
        let commit = found.commit.id.to_string();
        self.known.pin = (commit != head).then(|| Pin { revision, commit, head_then: head, by: by.to_owned() });
        self.known.pinned = Some(found);
        // It is in the cluster before it is acted on.
        self.save_pin().await?;
        self.render_head().await;
        Ok(Resolution::Found)
    }
}
