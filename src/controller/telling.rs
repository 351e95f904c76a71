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
/// How many of these are kept free for what happens to the release itself: of
/// fights and of commits that cannot be tried there may be any number.
const RESERVED: usize = 8;
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
    let of_release = telling.letter.event != NotifyEvent::Contested && telling.letter.data.release.is_some();
    let most = if of_release { MOST_TOLD } else { MOST_TOLD - RESERVED };
    after.is_some_and(|after| after.told.contains(&telling.letter.id) || after.told.len() >= most)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::{BundleDigest, Digest};

    const ENDED: &str = "2026-03-01T03:00:00Z";

    fn bundle() -> BundleDigest {
        BundleDigest(Digest::of(b"b"))
    }

    fn release(number: u64, spec: Value, status: Value) -> Release {
        let digest = bundle().to_string();
        let mut all = json!({
            "application": "shop", "number": number, "cause": "Push", "bundle": digest, "inputs": digest,
            "commit": {"id": "4f1c2d9".repeat(5), "short": "4f1c2d9"},
            "counts": {}, "applicationUid": "uid", "createdAt": ENDED,
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Release", "metadata": {"name": format!("shop-{number}")},
            "spec": all, "status": status,
        }))
        .unwrap()
    }

    fn ended(phase: &str, rollback: &str) -> Value {
        json!({"outcome": {"phase": phase, "message": "it breaks", "rollback": rollback, "endedAt": ENDED}})
    }

    fn facts(history: &History) -> Facts<'_> {
        Facts {
            now: "2026-03-01T04:00:00Z".parse().unwrap(),
            installation: "cluster",
            namespace: "team-a",
            application: "shop",
            uid: "uid",
            history,
            hold: None,
            refused: None,
            contested: Vec::new(),
        }
    }

    fn told(history: &[Release]) -> Vec<String> {
        let history = History::new(history.to_vec());
        let told = tellings(&facts(&history));
        told.iter()
            .map(|told| format!("{} {} | {}", told.letter.event, told.letter.data.message, told.letter.data.next))
            .collect()
    }

    #[rstest]
    #[case::goes_back(
        release(2, json!({}), ended("Failed", "Automatic")),
        "Failed release 2 (4f1c2d9) failed: it breaks | it goes back to the last healthy release by itself"
    )]
    #[case::is_left_to_a_person(
        release(2, json!({}), ended("Failed", "Person")),
        "Failed release 2 (4f1c2d9) failed: it breaks | fix it in Git, or: bowline rollback shop"
    )]
    #[case::was_taken_back(
        release(3, json!({
            "cause": "AutomaticRollback", "rollbackTo": 1, "reason": "it breaks",
            "rejects": [{"release": 2, "bundle": bundle().to_string(), "inputs": bundle().to_string()}],
        }), ended("Healthy", "None")),
        "RolledBack release 3 brought back the content of release 1, and that of release 2 stays out; rolled back by itself: it breaks | "
    )]
    #[case::by_a_person(
        release(3, json!({"cause": "Rollback", "rollbackTo": 1, "requestedBy": "ada"}), ended("Healthy", "None")),
        "RolledBack release 3 brought back the content of release 1; rolled back by ada | "
    )]
    #[case::degraded(
        release(2, json!({}), json!({"after": {"degradedAt": ENDED, "degraded": "degraded after it had been healthy: it crashes"}})),
        "Degraded release 2 (4f1c2d9) degraded after it had been healthy: it crashes | look at it: bowline status shop"
    )]
    fn what_a_person_should_know_of_a_release_is_told(#[case] release: Release, #[case] expected: &str) {
        assert_eq!(told(&[release]), [expected]);
    }

    #[rstest]
    #[case::went_well(release(2, json!({}), ended("Healthy", "None")))]
    #[case::made_way(release(2, json!({}), ended("Superseded", "None")))]
    #[case::runs(release(2, json!({}), json!({"phase": "Applying"})))]
    #[case::of_another_application(release(2, json!({"applicationUid": "other"}), ended("Failed", "None")))]
    #[case::long_ago(release(2, json!({}), json!({"outcome": {"phase": "Failed", "endedAt": "2026-02-28T03:59:00Z"}})))]
    fn what_nobody_needs_to_know_is_not_told(#[case] release: Release) {
        assert_eq!(told(&[release]), [""; 0]);
    }

    #[test]
    fn what_was_delivered_is_not_told_again_and_everything_else_is() {
        let failed = release(2, json!({}), ended("Failed", "Automatic"));
        let history = History::new(vec![failed.clone()]);
        let id = tellings(&facts(&history))[0].letter.id.clone();
        let mut told_of = failed;
        told_of.status.as_mut().unwrap().after.get_or_insert_default().told.push(id.clone());
        let history = History::new(vec![told_of, release(3, json!({}), ended("Failed", "Person"))]);
        let tellings = tellings(&facts(&history));
        assert_eq!(tellings.len(), 1);
        assert_eq!(tellings[0].remembered_by, Some(3));
        assert_ne!(tellings[0].letter.id, id);
    }

    #[test]
    fn many_fights_leave_room_for_what_happens_to_the_release() {
        let mut newest = release(7, json!({}), ended("Failed", "Person"));
        let told = (0..MOST_TOLD - RESERVED).map(|number| format!("fight-{number}")).collect();
        newest.status.as_mut().unwrap().after.get_or_insert_default().told = told;
        let history = History::new(vec![newest]);
        let contested = vec![("ConfigMap team-a/env".to_owned(), "changed again and again".to_owned())];
        let tellings = tellings(&Facts { contested, ..facts(&history) });
        let events: Vec<NotifyEvent> = tellings.iter().map(|telling| telling.letter.event).collect();
        assert_eq!(events, [NotifyEvent::Failed]);
    }

    #[test]
    fn a_hold_is_told_once_whatever_the_commits_and_again_for_another_rejection() {
        let history = History::new(vec![release(3, json!({"cause": "Rollback"}), json!({}))]);
        let hold = |by| HoldStatus {
            bundle: bundle(),
            rejected_release: 2,
            rejected_by: by,
            by: "ada".into(),
            reason: "queue backs up".into(),
        };
        let commit = |short: &str| CommitRecord { id: short.repeat(5), short: short.into(), ..CommitRecord::default() };
        let letter = |hold: &HoldStatus, commit: &CommitRecord| {
            let facts = Facts { hold: Some((hold, commit)), ..facts(&history) };
            tellings(&facts).remove(0).letter
        };
        let first = letter(&hold(3), &commit("1111111"));
        assert_eq!(first.data.message, "1111111 renders what release 2 had and release 3 rejected: queue backs up");
        assert_eq!(first.id, letter(&hold(3), &commit("2222222")).id);
        assert_ne!(first.id, letter(&hold(5), &commit("1111111")).id);
    }

    #[test]
    fn what_cannot_be_tried_is_told_once_a_commit_and_a_fight_once_a_release() {
        let history = History::new(vec![release(7, json!({}), ended("Healthy", "None"))]);
        let commit = CommitRecord { id: "9a77e10".repeat(5), short: "9a77e10".into(), ..CommitRecord::default() };
        let refused = Refused { commit: &commit, message: "deploy/a.yaml:3: nonsense", next: "fix it in Git" };
        let contested = vec![("ConfigMap team-a/env".to_owned(), "changed again and again".to_owned())];
        let facts = Facts { refused: Some(refused), contested, ..facts(&history) };
        let told: Vec<(String, Option<u64>)> =
            tellings(&facts).into_iter().map(|told| (told.letter.text, told.remembered_by)).collect();
        let expected = [
            ("team-a/shop: 9a77e10 cannot be applied: deploy/a.yaml:3: nonsense".to_owned(), Some(7)),
            ("team-a/shop: ConfigMap team-a/env is changed again and again".to_owned(), Some(7)),
        ];
        assert_eq!(told, expected);
    }
}
