//! What others see of an application: its status and events.

use jiff::Timestamp;

use super::Actor;
use crate::{
    api::{Application, ApplicationStatus, ConditionType, ObjectCounts, ObjectProblem, SyncStatus},
    cluster::OwnerKey,
    controller::{
        contest::Contest,
        decide::{HeadView, Stage},
        outbox::Statuses,
        status::{Facts, application_status},
        status_news::differs_by_the_commit_only,
    },
    health::HealthStatus,
};

impl Actor {
    /// Writes the status if it says something else than before. The write is
    /// handed over: what is to be done next does not wait for it.
    pub(super) fn publish(&mut self, now: Timestamp) {
        let underway = self.known.underway.as_ref().map(|underway| (underway.applied, underway.to_apply));
        let applied = self.known.attempt.as_ref().is_some_and(|attempt| attempt.stage == Stage::Applied);
        let progress = underway.or(self.known.progress.filter(|_| applied));
        self.publish_with(now, progress, Statuses::write);
    }

    /// Shows how far an apply has come.
    pub(super) fn publish_progress(&mut self, applied: u32, to_apply: u32) {
        self.publish_with(Timestamp::now(), Some((applied, to_apply)), Statuses::write_soon);
    }

    fn publish_with(
        &mut self,
        now: Timestamp,
        progress: Option<(u32, u32)>,
        write: impl Fn(&Statuses, &OwnerKey, &Application, ApplicationStatus),
    ) {
        if self.is_only_starting() {
            return;
        }
        let status = self.status(now, progress);
        if self.known.published.as_ref() == Some(&status) {
            let (owner, application) = (&self.known.owner, &self.known.application);
            if self.shared.statuses.is_overwritten(owner, application, &status) {
                self.shared.statuses.write(owner, application, status);
            }
            return;
        }
        if let Some(hold) = &status.hold
            && self.known.published.as_ref().is_none_or(|before| before.hold.is_none())
        {
            let message = format!("content {} stays out: {}", hold.bundle.short(12), status.note);
            self.event("Held", &message, true);
        }
        self.tell_of_dependencies(&status);
        let (statuses, owner, application) = (&self.shared.statuses, &self.known.owner, &self.known.application);
        if self.is_in_no_hurry(&status) {
            statuses.write_at_leisure(owner, application, status.clone());
        } else {
            write(statuses, owner, application, status.clone());
        }
        self.known.published = Some(status);
    }

    /// Whether all there is to say is that a commit of a repository that many
    /// share changed nothing here, and nobody waits to hear it.
    fn is_in_no_hurry(&self, status: &ApplicationStatus) -> bool {
        let known = &self.known;
        known.of_many
            && known.published.as_ref().is_some_and(|before| differs_by_the_commit_only(before, status))
            && !self.shared.own.is_waited_for(&known.owner)
    }

    /// Tells once of each new reason why the dependencies hold up new content.
    fn tell_of_dependencies(&self, status: &ApplicationStatus) {
        let held_up = |status: &ApplicationStatus| {
            let kind = ConditionType::DependenciesReady.as_str();
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
            condition.filter(|condition| condition.status == "False").cloned()
        };
        let Some(now) = held_up(status) else { return };
        let before = self.known.published.as_ref().and_then(held_up);
        let live = status.sync == Some(SyncStatus::Synced);
        let circle = now.reason == "Circle";
        if before.is_some_and(|before| before.reason == now.reason) || (live && !circle) {
            return;
        }
        let reason = if circle { "DependencyCircle" } else { "WaitsForDependencies" };
        self.event(reason, &now.message, circle);
    }

    /// Whether this process does not know yet what an earlier one has published:
    /// a restart changes no status.
    fn is_only_starting(&self) -> bool {
        let told_before = self.known.published.as_ref().is_some_and(|status| status.sync.is_some());
        let knows = !matches!(self.known.head, HeadView::Unknown)
            && (self.known.live.settled || self.known.stored.objects.is_empty());
        told_before && !knows && self.known.attempt.is_none()
    }

    fn status(&self, now: Timestamp, progress: Option<(u32, u32)>) -> ApplicationStatus {
        let known = &self.known;
        let view = known.view(now);
        let spec = &known.application.spec;
        let reference = known.reference.as_deref().unwrap_or_default();
        let short = reference.strip_prefix("refs/heads/").or(reference.strip_prefix("refs/tags/")).unwrap_or(reference);
        let asked = known.pin.as_ref().map(|pin| pin.revision.as_str()).or(spec.source.revision.as_deref());
        let revision = match asked {
            // A range is shown with the tag that it chose.
            Some(asked)
                if known.pin.is_none() && !short.is_empty() && asked != short && !asked.starts_with("refs/") =>
            {
                format!("{asked} {short}")
            }
            Some(asked) => asked.to_owned(),
            None => short.to_owned(),
        };
        let total = u32::try_from(known.stored.objects.len()).unwrap_or(u32::MAX);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let differs = count(known.summary.drifted.len() + known.summary.gone.len());
        let counts = ObjectCounts {
            total,
            in_sync: total.saturating_sub(differs),
            drifted: differs,
            healthy: total.saturating_sub(count(known.summary.unhealthy.len())),
        };
        let facts = Facts {
            application: self.known.owner.name(),
            view: &view,
            revision: &revision,
            head_commit: known.head_commit.as_ref(),
            fetch_error: known.fetch_error.as_deref(),
            step_error: known.step_error.as_deref(),
            analysis: known.analysed.problem.as_deref(),
            counts,
            health: self.health(),
            progress,
            depends: !spec.depends_on.is_empty(),
            checks: &known.checks,
            pin: known.pin.as_ref(),
            suspension: self.suspension(now),
            drift: self.drift(now),
            previous: known.published.as_ref(),
        };
        application_status(&facts)
    }

    /// The worst health, where an object that is gone is Missing.
    fn health(&self) -> HealthStatus {
        let summary = &self.known.summary;
        if !summary.in_sync && !self.known.stored.objects.is_empty() {
            return HealthStatus::Unknown;
        }
        let missing = if summary.gone.is_empty() { HealthStatus::Healthy } else { HealthStatus::Missing };
        summary.worst().max(missing)
    }

    fn suspension(&self, now: Timestamp) -> Option<String> {
        let standing =
            self.known.suspensions.iter().find(|suspension| suspension.spec.until.is_none_or(|until| until > now))?;
        let spec = &standing.spec;
        let who = if spec.requested_by.is_empty() { "a person" } else { &spec.requested_by };
        let until = spec.until.map(|until| format!(" until {until}")).unwrap_or_default();
        Some(format!("suspended by {who}{until}: \"{}\"", spec.reason))
    }

    fn drift(&self, now: Timestamp) -> Vec<ObjectProblem> {
        let problem = |id: &crate::manifest::ObjectId, message: &str| {
            let contest = self.known.contests.get(id).filter(|contest| contest.left_alone_until(now).is_some());
            let contested = contest.map(Contest::words);
            let explained = self.known.explained.get(id).map(|explained| explained.words.as_str());
            let compared = self.known.found_by_deep_check.get(id).map(String::as_str);
            let known = [contested, compared, explained].into_iter().flatten().find(|words| !words.is_empty());
            ObjectProblem { object: id.to_string(), health: None, message: known.unwrap_or(message).to_owned() }
        };
        let drifted = self.known.summary.drifted.iter().map(|id| problem(id, "differs from what was applied"));
        let gone = self.known.summary.gone.iter().map(|id| problem(id, "is gone"));
        let broken = self.known.summary.broken.iter().map(|broken| ObjectProblem {
            object: broken.kind.to_string(),
            health: Some(HealthStatus::Unknown),
            message: format!("cannot be watched ({}): {}", broken.reason.as_str(), broken.message),
        });
        let damaged = self.known.damage.of(&self.known.history).into_iter().map(|(number, what)| ObjectProblem {
            object: format!("Release {}-{number}", self.known.owner.name()),
            health: None,
            message: format!("its content is damaged, and it cannot be gone back to: {what}"),
        });
        drifted.chain(gone).chain(broken).chain(damaged).collect()
    }

    /// Tells of something by a Kubernetes event on the Application.
    pub(super) fn event(&self, reason: &str, message: &str, warning: bool) {
        self.shared.events.tell(&self.known.application, reason, message, warning);
    }
}
