//! One release in full, for `bowline history APP RELEASE`.

use jiff::Timestamp;

use super::{history::phase, style, words};
use crate::{
    api::{Cause, Release, ReleaseDurations},
    history::{History, release_digest},
};

/// How wide the names on the left are.
const NAMES: usize = 10;

/// A release with everything that is known of it.
pub fn release_text(release: &Release, history: &History, now: Timestamp) -> String {
    let spec = &release.spec;
    let status = release.status.clone().unwrap_or_default();
    let mut text = Text(String::new());
    let paint = style::of_phase(phase(release));
    text.0.push_str(&format!("release {} of {}: {}\n\n", spec.number, spec.application, paint(&ending(release, now))));

    let commit = &spec.commit;
    let author = match commit.email.as_str() {
        "" => words::line(&commit.author),
        email => format!("{} <{}>", words::line(&commit.author), words::line(email)),
    };
    text.line("Commit", &format!("{} \"{}\"", commit.id, words::line(&commit.subject)));
    let committed = commit.committed_at.map(|at| format!(", {} ago", words::age(at, now))).unwrap_or_default();
    text.line("", &format!("by {author}{committed}"));
    if !commit.signer.is_empty() {
        text.line("", &format!("signed: {}", words::line(&commit.signer)));
    }
    text.line("Made", &format!("{} ({} ago)", spec.created_at, words::age(spec.created_at, now)));
    text.line("Cause", &cause(release));
    if !spec.requested_by.is_empty() {
        let verified = if spec.verified { "" } else { " (unverified: no admission policy checked the name)" };
        text.line("By", &format!("{}{verified}", words::line(&spec.requested_by)));
    }
    if !spec.reason.is_empty() {
        text.line("Why", &words::line(&spec.reason));
    }
    let counts = &spec.counts;
    text.line("Objects", &format!("{}, {} to change, {} to remove", counts.objects, counts.changed, counts.removed));
    if let Some(outcome) = &status.outcome {
        text.line("Written", &words::count(outcome.written as usize, "object"));
        if let Some(took) = took(&outcome.durations) {
            text.line("Took", &took);
        }
    }
    for hook in &status.hooks {
        let how =
            if hook.succeeded { "succeeded".to_owned() } else { format!("failed: {}", words::line(&hook.message)) };
        text.line("Hook", &format!("{} {} {how}", hook.phase, hook.object));
    }
    let failures = status.outcome.as_ref().map(|outcome| outcome.failures.as_slice()).unwrap_or_default();
    for (index, failure) in failures.iter().enumerate() {
        let health = failure.health.map(|health| format!("{health}: ")).unwrap_or_default();
        let name = if index == 0 { "Failed" } else { "" };
        text.line(name, &format!("{}  {health}{}", words::line(&failure.object), words::line(&failure.message)));
    }
    afterwards(&mut text, release, now);
    text.line("Content", &format!("bundle {}", spec.bundle));
    if !spec.renderer.is_empty() {
        text.line("Renderer", &words::line(&spec.renderer));
    }
    text.line("Chain", &chain(release, history));
    text.0
}

struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: &str) {
        self.0.push_str(&format!("  {name:NAMES$}{value}\n"));
    }
}

/// How it ended, or where it is.
fn ending(release: &Release, now: Timestamp) -> String {
    let phase = phase(release);
    let created = release.spec.created_at;
    match release.status.as_ref().and_then(|status| status.outcome.as_ref()) {
        None => format!("{phase} for {}", words::age(created, now)),
        Some(outcome) if outcome.message.is_empty() => {
            format!("{phase} after {}", words::between(created, outcome.ended_at))
        }
        Some(outcome) => {
            format!("{phase} after {}: {}", words::between(created, outcome.ended_at), words::line(&outcome.message))
        }
    }
}

fn cause(release: &Release) -> String {
    let spec = &release.spec;
    let mut text = spec.cause.to_string();
    if let Some(target) = spec.rollback_to {
        text.push_str(&format!(", to the content of release {target}"));
    }
    if !spec.rejects.is_empty() {
        let numbers: Vec<String> = spec.rejects.iter().map(|rejection| rejection.release.to_string()).collect();
        text.push_str(&format!("; rejects the content of {}", numbers.join(", ")));
    }
    if spec.accepts {
        text.push_str("; accepts content that had been rejected");
    }
    if spec.cause == Cause::Rollback && !spec.include.is_empty() {
        let include: Vec<String> = spec.include.iter().map(|include| format!("{include:?}")).collect();
        text.push_str(&format!("; includes {}", include.join(", ")));
    }
    text
}

/// `fetch 300ms, render 12ms, plan 80ms, apply 200ms, health 4s`.
fn took(durations: &ReleaseDurations) -> Option<String> {
    let parts = [
        ("fetch", durations.fetch),
        ("render", durations.render),
        ("plan", durations.plan),
        ("apply", durations.apply),
        ("health", durations.health),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter_map(|(name, duration)| Some(format!("{name} {}", duration?))).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn afterwards(text: &mut Text, release: &Release, now: Timestamp) {
    let Some(after) = release.status.as_ref().and_then(|status| status.after.as_ref()) else { return };
    let mut lines = Vec::new();
    if let Some(degraded) = after.degraded_at {
        let what = if after.degraded.is_empty() { "degraded".to_owned() } else { words::line(&after.degraded) };
        lines.push(format!("at {degraded} ({} ago) {what}", words::age(degraded, now)));
    }
    if after.repairs > 0 {
        let last = after.last_repair_at.map(|at| format!(", the last {} ago", words::age(at, now))).unwrap_or_default();
        let what = match after.last_repair.as_str() {
            "" => String::new(),
            what => format!(": {}", words::line(what)),
        };
        lines.push(format!("{}{last}{what}", words::count(after.repairs as usize, "repair")));
    }
    if let Some(number) = after.rolled_back_by {
        lines.push(format!("rolled back by release {number}"));
    }
    for (index, line) in lines.iter().enumerate() {
        text.line(if index == 0 { "After" } else { "" }, line);
    }
}

/// What ties it to its neighbours.
fn chain(release: &Release, history: &History) -> String {
    let digest = release_digest(release);
    let number = release.spec.number;
    let own = match &digest {
        Some(digest) => digest.to_string(),
        None => return "has a digest when it has ended".to_owned(),
    };
    let next = number.checked_add(1).and_then(|next| history.get(next));
    match next {
        Some(next) if next.spec.previous == digest => format!("{own}, as release {} names it", number + 1),
        Some(next) => format!("{own}, which is not what release {} names: see --verify", next.spec.number),
        None => own,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        super::testing::{NOW, Releases, ago, plain},
        *,
    };
    use crate::{
        api::{Duration, ObjectFailure, Phase, ReleaseAfter},
        health::HealthStatus,
    };

    fn history() -> History {
        let releases = Releases::of("shop")
            .release(4_000, |spec| spec.counts.objects = 42)
            .ended(Phase::Healthy, 8, "")
            .status(|status| {
                status.outcome.as_mut().unwrap().durations = ReleaseDurations {
                    fetch: "310ms".parse().ok(),
                    render: "12ms".parse().ok(),
                    plan: "80ms".parse().ok(),
                    apply: "200ms".parse().ok(),
                    health: Some(Duration::from_secs(7)),
                };
                status.after = Some(ReleaseAfter {
                    degraded_at: Some(ago(3_000)),
                    degraded: "degraded after it had been healthy: Deployment team-a/web: it crashes".into(),
                    repairs: 2,
                    last_repair: "ConfigMap env, field data.BATCH, changed by kubectl-edit".into(),
                    last_repair_at: Some(ago(3_500)),
                    ..ReleaseAfter::default()
                });
            })
            .release(2_000, |spec| {
                spec.commit.signer = "SSH SHA256:qCWLh1MSpqL3 (grace@example.com)".into();
                spec.renderer = "Helm v4.3.1".into();
            })
            .ended(Phase::Failed, 300, "not healthy in 5m: Deployment web 0/3 (ImagePullBackOff)")
            .status(|status| {
                status.outcome.as_mut().unwrap().failures = vec![ObjectFailure {
                    object: "Deployment team-a/web".into(),
                    health: Some(HealthStatus::Degraded),
                    message: "ImagePullBackOff".into(),
                }];
                status.after = Some(ReleaseAfter { rolled_back_by: Some(3), ..ReleaseAfter::default() });
            })
            .release(1_000, |spec| {
                spec.cause = Cause::Rollback;
                spec.rollback_to = Some(1);
                spec.requested_by = "ada".into();
                spec.verified = false;
                spec.reason = "queue backs up".into();
            });
        History::new(releases.from(1))
    }

    fn text(number: u64) -> String {
        let history = history();
        plain(&release_text(history.get(number).unwrap(), &history, NOW))
    }

    #[test]
    fn a_healthy_release_tells_what_took_how_long_and_what_came_after() {
        insta::assert_snapshot!(text(1), @r#"
        release 1 of shop: Healthy after 8s

          Commit    0000000000000000000000000000000000000001 "Change 1"
                    by grace <grace@example.com>, 1h ago
          Made      2026-09-21T13:06:40Z (1h ago)
          Cause     Push
          Objects   42, 0 to change, 0 to remove
          Written   3 objects
          Took      fetch 310ms, render 12ms, plan 80ms, apply 200ms, health 7s
          After     at 2026-09-21T13:23:20Z (50m ago) degraded after it had been healthy: Deployment team-a/web: it crashes
                    2 repairs, the last 58m ago: ConfigMap env, field data.BATCH, changed by kubectl-edit
          Content   bundle v1:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
          Chain     v1:d387f1f348d98061dcb499b260f3734020c4aabbfa9a6d92c39eab5cdc298057, as release 2 names it
        "#);
    }

    #[test]
    fn a_failed_release_names_its_objects_its_signer_and_who_took_it_back() {
        insta::assert_snapshot!(text(2), @r#"
        release 2 of shop: Failed after 5m: not healthy in 5m: Deployment web 0/3 (ImagePullBackOff)

          Commit    0000000000000000000000000000000000000002 "Change 2"
                    by grace <grace@example.com>, 34m ago
                    signed: SSH SHA256:qCWLh1MSpqL3 (grace@example.com)
          Made      2026-09-21T13:40:00Z (33m ago)
          Cause     Push
          Objects   0, 0 to change, 0 to remove
          Written   3 objects
          Failed    Deployment team-a/web  Degraded: ImagePullBackOff
          After     rolled back by release 3
          Content   bundle v1:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
          Renderer  Helm v4.3.1
          Chain     v1:e1306bff58f766a029ed7c9229a25e733b6558f4b1acecdcb58104ba40839b42, as release 3 names it
        "#);
    }

    #[test]
    fn a_rollback_tells_who_asked_and_whether_that_was_checked() {
        insta::assert_snapshot!(text(3), @r#"
        release 3 of shop: Pending for 16m

          Commit    0000000000000000000000000000000000000003 "Change 3"
                    by grace <grace@example.com>, 17m ago
          Made      2026-09-21T13:56:40Z (16m ago)
          Cause     Rollback, to the content of release 1
          By        ada (unverified: no admission policy checked the name)
          Why       queue backs up
          Objects   0, 0 to change, 0 to remove
          Content   bundle v1:4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce
          Chain     has a digest when it has ended
        "#);
    }
}
