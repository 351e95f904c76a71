//! The status of an Application, from the same facts that `decide` looks at.
//! Pure: a status is written only when this gives another one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    decide::{
        Dependencies, HeadView, Stage, View, goes_back_at, is_live, is_refused_before, is_rejected, may_try_again,
        waits_for,
    },
    status_waits::{circle_words, waiting_words},
};
use crate::{
    api::{
        ApplicationStatus, Cause, CommitRecord, ConditionType, CurrentRelease, DriftPolicy, Head, HoldStatus,
        ObjectCounts, ObjectProblem, Phase, Pin, Release, RollbackVerdict, SyncMode, SyncStatus,
    },
    health::{HealthStatus, OwnChecks},
    history::release_digest,
};

/// How many problems a status names.
const PROBLEMS_NAMED: usize = 5;

/// What a status is made of, beside the view.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What `decide` looks at.
    pub view: &'a View<'a>,
    /// The application's name, for the commands that are named.
    pub application: &'a str,
    /// The revision as it was asked for, or the branch that is the default.
    pub revision: &'a str,
    /// The commit that it resolves to, rendered or not.
    pub head_commit: Option<&'a CommitRecord>,
    /// Why the repository could not be read the last time, though what it gave
    /// before is still known.
    pub fetch_error: Option<&'a str>,
    /// Counts of objects.
    pub counts: ObjectCounts,
    /// The worst health of the objects.
    pub health: HealthStatus,
    /// How many of how many objects are written.
    pub progress: Option<(u32, u32)>,
    /// Why the last step could not be done, if it could not.
    pub step_error: Option<&'a str>,
    /// Why the analysis tells nothing, if so.
    pub analysis: Option<&'a str>,
    /// Whether it depends on other applications.
    pub depends: bool,
    /// How the health of its objects is judged.
    pub checks: &'a OwnChecks,
    /// A revision that a person asked for.
    pub pin: Option<&'a Pin>,
    /// Who suspended it and why, in one phrase.
    pub suspension: Option<String>,
    /// Drift that is not being repaired, in words.
    pub drift: Vec<ObjectProblem>,
    /// The status before, for the times of the conditions.
    pub previous: Option<&'a ApplicationStatus>,
}

/// The status.
pub fn application_status(facts: &Facts<'_>) -> ApplicationStatus {
    let view = facts.view;
    let sync = sync_status(facts);
    let (note, next) = words(facts, sync);
    let mut status = ApplicationStatus {
        observed_generation: Some(view.settings.generation),
        sync: Some(sync),
        health: Some(facts.health),
        note,
        next,
        head: head(facts),
        release: view.history.current().map(|release| current_release(facts, release)),
        last_healthy_release: view.history.last_healthy().map(|release| release.spec.number),
        hold: hold(view),
        pin: facts.pin.cloned(),
        objects: Some(facts.counts.clone()),
        problems: problems(facts),
        chain: view.history.releases().iter().rev().find_map(release_digest),
        conditions: Vec::new(),
    };
    let before = facts.previous.map(|previous| previous.conditions.as_slice()).unwrap_or_default();
    status.conditions = conditions(facts, &status, sync)
        .into_iter()
        .map(|condition| with_transition(condition, before, view))
        .collect();
    status
}

fn sync_status(facts: &Facts<'_>) -> SyncStatus {
    let view = facts.view;
    if view.history.running().is_some() {
        return SyncStatus::Syncing;
    }
    if view.suspended {
        return SyncStatus::Suspended;
    }
    let content = match view.head {
        HeadView::Unknown => return SyncStatus::Unknown,
        HeadView::Broken { .. } if view.head.is_refused() => return SyncStatus::Failed,
        HeadView::Broken { .. } => return SyncStatus::Unknown,
        HeadView::Rendered { content, .. } => content,
    };
    if is_live(view) {
        // What is contested is left out of what is to be repaired, and counted.
        let drifts = facts.counts.drifted > 0;
        let to_repair = !view.live.drifted.is_empty() || !view.live.gone.is_empty();
        let left = view.settings.drift == DriftPolicy::Report
            || view.settings.observe_only
            || view.repair_not_before.is_some()
            || !to_repair;
        return if drifts && left { SyncStatus::OutOfSync } else { SyncStatus::Synced };
    }
    if is_rejected(view, content) {
        return SyncStatus::Held;
    }
    if is_refused_before(view, content) || !guards(view).is_empty() {
        return SyncStatus::Failed;
    }
    if view.settings.mode == SyncMode::Manual || view.settings.observe_only {
        return SyncStatus::OutOfSync;
    }
    match view.dependencies {
        Dependencies::Met => SyncStatus::Syncing,
        Dependencies::Waiting(_) => SyncStatus::OutOfSync,
        Dependencies::Circle(_) => SyncStatus::Failed,
    }
}

fn guards<'a>(view: &'a View<'_>) -> &'a [crate::plan::Refusal] {
    match view.head {
        HeadView::Rendered { guards, .. } => guards,
        HeadView::Unknown | HeadView::Broken { .. } => &[],
    }
}

fn head(facts: &Facts<'_>) -> Option<Head> {
    let commit = facts.head_commit?;
    let content = facts.view.head.content();
    Some(Head {
        short: format!("{} {}", facts.revision, commit.short).trim_start().to_owned(),
        commit: commit.id.clone(),
        subject: commit.subject.clone(),
        author: commit.author.clone(),
        committed_at: commit.committed_at,
        bundle: content.map(|content| content.bundle.clone()),
        inputs: content.map(|content| content.inputs.clone()),
    })
}

fn phase(facts: &Facts<'_>, release: &Release) -> Phase {
    let recorded = release.status.as_ref();
    if let Some(outcome) = recorded.and_then(|status| status.outcome.as_ref()) {
        return outcome.phase;
    }
    match facts.view.attempt.filter(|attempt| attempt.release == release.spec.number).map(|attempt| &attempt.stage) {
        Some(Stage::Applied) => Phase::Waiting,
        Some(Stage::Unplanned) | None => recorded.and_then(|status| status.phase).unwrap_or(Phase::Pending),
        Some(_) => Phase::Applying,
    }
}

fn current_release(facts: &Facts<'_>, release: &Release) -> CurrentRelease {
    let phase = phase(facts, release);
    let progress = facts.progress.filter(|_| !phase.is_final());
    CurrentRelease {
        number: release.spec.number,
        phase,
        commit: release.spec.commit.id.clone(),
        bundle: release.spec.bundle.clone(),
        applied: progress.map(|(applied, _)| applied),
        to_apply: progress.map(|(_, to_apply)| to_apply),
    }
}

fn hold(view: &View<'_>) -> Option<HoldStatus> {
    let content = view.head.content()?;
    if is_live(view) || view.history.running().is_some() {
        return None;
    }
    let rejected = view.history.rejection_of(&content.bundle, &content.inputs)?;
    Some(HoldStatus {
        bundle: content.bundle.clone(),
        rejected_release: rejected.release,
        rejected_by: rejected.by.spec.number,
        by: rejected.by.spec.requested_by.clone(),
        reason: rejected.by.spec.reason.clone(),
    })
}

fn problems(facts: &Facts<'_>) -> Vec<ObjectProblem> {
    let view = facts.view;
    let unhealthy = view.live.unhealthy.iter().map(|(id, health)| ObjectProblem {
        object: id.to_string(),
        health: Some(health.status),
        message: health.reason.clone(),
    });
    let refused = guards(view).iter().map(|refusal| ObjectProblem {
        object: refusal.object.as_ref().map(ToString::to_string).unwrap_or_default(),
        health: None,
        message: refusal.message.clone(),
    });
    unhealthy.chain(facts.drift.iter().cloned()).chain(refused).take(PROBLEMS_NAMED).collect()
}

/// The note and the next step.
fn words(facts: &Facts<'_>, sync: SyncStatus) -> (String, String) {
    let view = facts.view;
    let (note, next) = match sync {
        SyncStatus::Syncing => (syncing(facts), String::new()),
        SyncStatus::Suspended => (
            facts.suspension.clone().unwrap_or_else(|| "suspended by spec.suspend".into()),
            "goes on when it is resumed".into(),
        ),
        SyncStatus::Held => held(facts),
        SyncStatus::Failed => failed(facts),
        SyncStatus::OutOfSync => out_of_sync(facts),
        SyncStatus::Unknown => match view.head {
            HeadView::Broken { message, .. } => {
                (message.clone(), "what runs is left alone; it is tried again at the next poll".into())
            }
            HeadView::Unknown | HeadView::Rendered { .. } => {
                ("the repository has not been read yet".into(), String::new())
            }
        },
        SyncStatus::Synced => (synced(facts), after_synced(facts)),
    };
    let trouble = facts.step_error.or(facts.fetch_error);
    match trouble {
        Some(error) if sync != SyncStatus::Unknown => {
            let note = if note.is_empty() { error.to_owned() } else { format!("{note}; {error}") };
            (note, next)
        }
        _ => (note, next),
    }
}

fn syncing(facts: &Facts<'_>) -> String {
    let view = facts.view;
    if let Some(Stage::Retry { message, .. }) = view.attempt.map(|attempt| &attempt.stage) {
        return format!("trying again: {message}");
    }
    let applied = facts.progress.map(|(applied, to_apply)| format!("{applied}/{to_apply} applied"));
    let waiting = view.attempt.and_then(|attempt| waits_for(view, attempt)).map(|what| format!("waiting for {what}"));
    [applied, waiting].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn held(facts: &Facts<'_>) -> (String, String) {
    let view = facts.view;
    let application = facts.application;
    let rejected = view.head.content().and_then(|content| view.history.rejection_of(&content.bundle, &content.inputs));
    let note = match rejected {
        Some(rejected) => {
            let commit = view
                .history
                .get(rejected.release)
                .map_or_else(|| format!("release {}", rejected.release), |release| release.spec.commit.short.clone());
            taken_back(&commit, rejected.by)
        }
        None => String::new(),
    };
    let next = format!(
        "goes on by itself when Git renders different content; to let this content in: bowline sync {application} --accept"
    );
    (note, next)
}

/// `9a77e10 was rolled back by ada: "queue backs up"`.
fn taken_back(commit: &str, by: &Release) -> String {
    if by.spec.cause == Cause::AutomaticRollback {
        return format!("{commit} was taken back: {}", by.spec.reason);
    }
    let who = if by.spec.requested_by.is_empty() { "a person" } else { &by.spec.requested_by };
    let why = if by.spec.reason.is_empty() { String::new() } else { format!(": \"{}\"", by.spec.reason) };
    format!("{commit} was rolled back by {who}{why}")
}

fn failed(facts: &Facts<'_>) -> (String, String) {
    let view = facts.view;
    if let HeadView::Broken { message, reason } = view.head {
        let next = match reason.as_str() {
            "SignatureRefused" => "what runs is left alone; the commit and the keys are looked at again at each poll",
            _ => "what runs is left alone; fix it in Git",
        };
        return (message.clone(), next.into());
    }
    let application = facts.application;
    let refused = view.head.content().is_some_and(|content| is_refused_before(view, content));
    if let (Dependencies::Circle(path), true, false) = (view.dependencies, guards(view).is_empty(), refused) {
        return (circle_words(path), "take one of them out of dependsOn; what runs is left alone".into());
    }
    if let Some(guard) = guards(view).first() {
        let hint = guard.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
        let command = format!("to let it pass once: bowline sync {application} --allow-prune");
        return (guard.to_string(), format!("{hint}{command}"));
    }
    let Some(outcome) = view.history.current().and_then(|release| release.status.as_ref()?.outcome.as_ref()) else {
        return (String::new(), String::new());
    };
    // Where commands would help, the message has them.
    let helped_by_commands = outcome.message.contains("`kubectl ");
    let again = may_try_again(view);
    let next = match outcome.rollback {
        RollbackVerdict::Person => format!("fix it in Git, or: bowline rollback {application}"),
        RollbackVerdict::None | RollbackVerdict::Automatic if helped_by_commands && again => {
            format!("when that is put right it goes on by itself within 15m; at once: bowline sync {application}")
        }
        RollbackVerdict::None | RollbackVerdict::Automatic if helped_by_commands => {
            format!("when that is put right: bowline sync {application}")
        }
        RollbackVerdict::None | RollbackVerdict::Automatic if again => {
            format!(
                "fix it in Git; if it is put right elsewhere it goes on by itself within 15m, or at once: bowline sync {application}"
            )
        }
        RollbackVerdict::None | RollbackVerdict::Automatic => {
            format!("fix it in Git; to try again as it is: bowline sync {application}")
        }
    };
    (outcome.message.clone(), next)
}

fn out_of_sync(facts: &Facts<'_>) -> (String, String) {
    let view = facts.view;
    let application = facts.application;
    if is_live(view) {
        let first =
            facts.drift.first().map(|problem| format!("{}: {}", problem.object, problem.message)).unwrap_or_default();
        return (first, format!("to put it back: bowline sync {application}"));
    }
    let commit = view.head.content().map(|content| content.commit.short.clone()).unwrap_or_default();
    if view.settings.observe_only {
        return (format!("commit {commit} would be applied; the controller only observes"), String::new());
    }
    if let (Dependencies::Waiting(waiting), SyncMode::Automatic) = (view.dependencies, view.settings.mode) {
        return (
            format!("commit {commit} waits for {}", waiting_words(waiting)),
            format!("goes on by itself when they are Synced and Healthy; to go ahead now: bowline sync {application}"),
        );
    }
    (
        format!("commit {commit} waits for a person (sync.mode is Manual)"),
        format!("to apply it: bowline sync {application}"),
    )
}

fn synced(facts: &Facts<'_>) -> String {
    if let Dependencies::Circle(path) = facts.view.dependencies {
        return circle_words(path);
    }
    if let Some(degraded) = by_analysis(facts) {
        return degraded.to_owned();
    }
    match facts.view.live.unhealthy.first() {
        Some((id, health)) if health.reason.is_empty() => format!("{id}: {}", health.status),
        Some((id, health)) => format!("{id}: {}", health.reason),
        None if facts.analysis.is_some() => facts.analysis.unwrap_or_default().to_owned(),
        None => facts
            .pin
            .map(|pin| {
                format!(
                    "{} as {} asked, until the head changes",
                    pin.revision,
                    if pin.by.is_empty() { "a person" } else { &pin.by }
                )
            })
            .unwrap_or_default(),
    }
}

/// What the analysis said of the newest release, where that is left to a
/// person: no health tells when it is over.
fn by_analysis<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    let after = facts.view.history.current()?.status.as_ref()?.after.as_ref()?;
    let left = after.by_analysis && after.rollback == Some(RollbackVerdict::Person);
    left.then_some(after.degraded.as_str())
}

/// What happens next to a release that degraded.
fn after_synced(facts: &Facts<'_>) -> String {
    let view = facts.view;
    let application = facts.application;
    let Some(newest) = view.history.current() else { return String::new() };
    let target = || view.history.rollback_target(newest.spec.number).map(|target| target.spec.number);
    if let (Some(at), Some(target)) = (goes_back_at(view), target()) {
        return format!("goes back to release {target} if it is still Degraded at {at:.0}");
    }
    let after = newest.status.as_ref().and_then(|status| status.after.as_ref());
    match after.and_then(|after| after.rollback) {
        Some(RollbackVerdict::Person) if view.degraded_since.is_some() || by_analysis(facts).is_some() => {
            format!("fix it in Git, or: bowline rollback {application}")
        }
        _ => String::new(),
    }
}

fn conditions(facts: &Facts<'_>, status: &ApplicationStatus, sync: SyncStatus) -> Vec<Condition> {
    let view = facts.view;
    let healthy = facts.health.lets_a_release_be_healthy();
    let (ready, reason) = match sync {
        SyncStatus::Synced if healthy => ("True", "Synced".to_owned()),
        SyncStatus::Synced => ("False", facts.health.to_string()),
        SyncStatus::Syncing | SyncStatus::Unknown => ("Unknown", sync.to_string()),
        _ => ("False", sync.to_string()),
    };
    let message = match (ready, status.note.as_str()) {
        ("True", "") => "the cluster is what Git says, and healthy".to_owned(),
        (_, note) => note.to_owned(),
    };
    let mut conditions = vec![condition(ConditionType::Ready, ready, &reason, &message)];
    conditions.push(match view.head {
        HeadView::Unknown => {
            condition(ConditionType::Rendered, "Unknown", "NotReadYet", "the repository has not been read yet")
        }
        HeadView::Broken { reason, message } => condition(ConditionType::Rendered, "False", reason, message),
        HeadView::Rendered { content, .. } => condition(
            ConditionType::Rendered,
            "True",
            "Rendered",
            &format!("commit {} was rendered", content.commit.short),
        ),
    });
    conditions.extend(facts.depends.then(|| match view.dependencies {
        Dependencies::Met => {
            condition(ConditionType::DependenciesReady, "True", "Ready", "each is Synced and Healthy at its own head")
        }
        Dependencies::Waiting(waiting) => condition(
            ConditionType::DependenciesReady,
            "False",
            "Waiting",
            &format!("new content waits for {}", waiting_words(waiting)),
        ),
        Dependencies::Circle(path) => {
            condition(ConditionType::DependenciesReady, "False", "Circle", &circle_words(path))
        }
    }));
    conditions.extend((!facts.checks.is_empty()).then(|| match facts.checks.problem() {
        None => {
            let message = format!("checks in use: {}", facts.checks.len());
            condition(ConditionType::ChecksAccepted, "True", "Accepted", &message)
        }
        Some(problem) => condition(ConditionType::ChecksAccepted, "False", "Refused", problem),
    }));
    if status.hold.is_some() {
        let (note, _) = held(facts);
        conditions.push(condition(ConditionType::Held, "True", "Rejected", &note));
    }
    conditions
}

fn condition(kind: ConditionType, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_string(),
        status: status.to_owned(),
        reason: if reason.is_empty() { "Unknown".to_owned() } else { reason.to_owned() },
        // The API server takes at most 32 KiB; a person reads much less.
        message: message.chars().take(2_000).collect(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn with_transition(mut condition: Condition, before: &[Condition], view: &View<'_>) -> Condition {
    let same = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
    condition.observed_generation = Some(view.settings.generation);
    condition.last_transition_time = same.map_or(Time(view.now), |old| old.last_transition_time.clone());
    condition
}
