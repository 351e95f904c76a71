//! What somebody is to be told of: worked out from the releases and the state
//! of the application, each time anew. So it needs no memory of its own, and a
//! controller that comes back tells what the one before it did not. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Cause, CommitRecord, HoldStatus, NotifyEvent, Phase, Release, RollbackVerdict},
    history::History,
    notify::{About, Letter},
};

/// How long something is worth telling.
pub(super) const OF_USE: SignedDuration = SignedDuration::from_hours(24);
/// How many notifications about one release are remembered.
pub(super) const MOST_TOLD: usize = 64;
/// How long a message is at most, in characters.
const LONGEST_MESSAGE: usize = 1_000;

/// What there is to tell of.
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    pub(super) installation: &'a str,
    pub(super) namespace: &'a str,
    pub(super) application: &'a str,
    pub(super) uid: &'a str,
    pub(super) history: &'a History,
    /// The hold, while there is one, and the commit that it concerns.
    pub(super) hold: Option<(&'a HoldStatus, &'a CommitRecord)>,
    /// Why what Git asks for cannot even be tried, and what can be done.
    pub(super) refused: Option<Refused<'a>>,
    /// Objects that are left alone since they were put back in vain.
    pub(super) contested: Vec<(String, String)>,
}

/// What Git asks for, and why it makes no release.
pub(super) struct Refused<'a> {
    pub(super) commit: &'a CommitRecord,
    pub(super) message: &'a str,
    pub(super) next: &'a str,
}

/// Something to tell, and the release that remembers that it was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Telling {
    pub(super) letter: Letter,
    pub(super) remembered_by: Option<u64>,
}

/// What was not told yet, as far as the releases remember.
pub(super) fn tellings(facts: &Facts<'_>) -> Vec<Telling> {
    let ours = |release: &&Release| {
        let of = &release.spec.application_uid;
        of.is_empty() || of == facts.uid
    };
    let releases = facts.history.iter().filter(ours);
    let mut tellings: Vec<Telling> = releases.flat_map(|release| of_release(facts, release)).collect();
    tellings.extend(held(facts));
    tellings.extend(refused(facts));
    tellings.extend(contested(facts));
    tellings.retain(|telling| !was_told(facts, telling));
    tellings
}

fn was_told(facts: &Facts<'_>, telling: &Telling) -> bool {
    let release = telling.remembered_by.and_then(|number| facts.history.get(number));
    let after = release.and_then(|release| release.status.as_ref()?.after.as_ref());
    after.is_some_and(|after| after.told.contains(&telling.letter.id) || after.told.len() >= MOST_TOLD)
}

/// What happened to a release.
fn of_release(facts: &Facts<'_>, release: &Release) -> Vec<Telling> {
    let Some(status) = &release.status else { return Vec::new() };
    let mut tellings = Vec::new();
    let worth = |at: Timestamp| facts.now.duration_since(at) < OF_USE;
    let number = release.spec.number;
    let short = &release.spec.commit.short;
    let tell = |event, at, message: String, next| {
        let about = About {
            release: Some(number),
            cause: Some(release.spec.cause),
            commit: Some(release.spec.commit.clone()),
            requested_by: release.spec.requested_by.clone(),
            message: cut(&message),
            next,
            ..about(facts)
        };
        Telling { letter: Letter::new(event, at, &[&number.to_string()], about), remembered_by: Some(number) }
    };
    if let Some(outcome) = status.outcome.as_ref().filter(|outcome| worth(outcome.ended_at)) {
        let is_rollback = matches!(release.spec.cause, Cause::Rollback | Cause::AutomaticRollback);
        match outcome.phase {
            Phase::Failed => {
                let message = format!("release {number} ({short}) failed: {}", outcome.message);
                let next = next(facts, outcome.rollback);
                tellings.push(tell(NotifyEvent::Failed, outcome.ended_at, message, next));
            }
            Phase::Healthy if is_rollback => {
                let mut telling = tell(NotifyEvent::RolledBack, outcome.ended_at, rolled_back(release), String::new());
                telling.letter.data.rollback_to = release.spec.rollback_to;
                telling.letter.data.rejected_release = release.spec.rejects.first().map(|rejection| rejection.release);
                tellings.push(telling);
            }
            _ => {}
        }
    }
    if let Some(after) = &status.after
        && let Some(at) = after.degraded_at.filter(|at| worth(*at))
    {
        let message = format!("release {number} ({short}) {}", after.degraded);
        let next = next(facts, after.rollback.unwrap_or(RollbackVerdict::None));
        tellings.push(tell(NotifyEvent::Degraded, at, message, next));
    }
    tellings
}

fn rolled_back(release: &Release) -> String {
    let spec = &release.spec;
    let number = spec.number;
    let to = spec.rollback_to.unwrap_or_default();
    let left = spec.rejects.first().map(|rejection| format!(", and that of release {} stays out", rejection.release));
    let who = match spec.cause {
        Cause::AutomaticRollback => "by itself".to_owned(),
        _ if spec.requested_by.is_empty() => "by a person".to_owned(),
        _ => format!("by {}", spec.requested_by),
    };
    let why = if spec.reason.is_empty() { String::new() } else { format!(": {}", spec.reason) };
    let left = left.unwrap_or_default();
    format!("release {number} brought back the content of release {to}{left}; rolled back {who}{why}")
}

fn next(facts: &Facts<'_>, verdict: RollbackVerdict) -> String {
    let application = facts.application;
    match verdict {
        RollbackVerdict::Automatic => "it goes back to the last healthy release by itself".to_owned(),
        RollbackVerdict::Person => format!("fix it in Git, or: bowline rollback {application}"),
        RollbackVerdict::None => format!("look at it: bowline status {application}"),
    }
}

/// Content that stays out. Once for each rejection of it, whatever the commits
/// that render it.
fn held(facts: &Facts<'_>) -> Option<Telling> {
    let (hold, commit) = facts.hold?;
    let application = facts.application;
    let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
    let short = &commit.short;
    let message = format!(
        "{short} renders what release {} had and release {} rejected{why}",
        hold.rejected_release, hold.rejected_by
    );
    let about = About {
        release: Some(hold.rejected_by),
        commit: Some(commit.clone()),
        rejected_release: Some(hold.rejected_release),
        requested_by: hold.by.clone(),
        message: cut(&message),
        next: format!(
            "goes on by itself when Git renders different content; to let this in: bowline sync {application} --accept"
        ),
        ..about(facts)
    };
    let occasion = [hold.rejected_by.to_string(), hold.bundle.to_string()];
    let letter = Letter::new(NotifyEvent::Held, facts.now, &[&occasion[0], &occasion[1]], about);
    Some(Telling { letter, remembered_by: Some(hold.rejected_by) })
}

/// What Git asks for and what cannot be tried: a file that cannot be read, a
/// guard. Once a commit.
fn refused(facts: &Facts<'_>) -> Option<Telling> {
    let refused = facts.refused.as_ref()?;
    let commit = refused.commit;
    let about = About {
        commit: Some(commit.clone()),
        message: cut(&format!("{} cannot be applied: {}", commit.short, refused.message)),
        next: refused.next.to_owned(),
        ..about(facts)
    };
    let letter = Letter::new(NotifyEvent::Failed, facts.now, &["commit", &commit.id], about);
    Some(Telling { letter, remembered_by: newest(facts) })
}

/// Objects that somebody else changes again and again. Once for each release.
fn contested(facts: &Facts<'_>) -> Vec<Telling> {
    let release = newest(facts);
    let tell = |(object, words): &(String, String)| {
        let about = About {
            release,
            object: Some(object.clone()),
            message: cut(&format!("{object} is {words}")),
            next: format!("it is left alone for a while; look at it: bowline status {}", facts.application),
            ..about(facts)
        };
        let occasion = [release.unwrap_or_default().to_string(), object.clone()];
        let letter = Letter::new(NotifyEvent::Contested, facts.now, &[&occasion[0], &occasion[1]], about);
        Telling { letter, remembered_by: release }
    };
    facts.contested.iter().map(tell).collect()
}

fn newest(facts: &Facts<'_>) -> Option<u64> {
    facts.history.current().map(|release| release.spec.number)
}

fn about(facts: &Facts<'_>) -> About {
    About {
        installation: facts.installation.to_owned(),
        namespace: facts.namespace.to_owned(),
        application: facts.application.to_owned(),
        application_uid: facts.uid.to_owned(),
        ..About::default()
    }
}

fn cut(message: &str) -> String {
    message.chars().take(LONGEST_MESSAGE).collect()
}
