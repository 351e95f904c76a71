//! The answer to "why is it not what I pushed?", as text: the answer first,
//! then the evidence, then the next step. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{history, style, words};
use crate::{
    api::{Application, ApplicationStatus, Cause, Phase, Release, Suspension, SyncStatus},
    health::{Health, HealthStatus},
    history::History,
};

/// Everything that the answer is made of.
#[derive(Debug)]
pub struct Facts {
    /// The application.
    pub application: Application,
    /// Its releases, as far as they could be read.
    pub history: History,
    /// The suspensions in force.
    pub suspensions: Vec<Suspension>,
    /// What was found out about the objects that are not healthy.
    pub objects: Vec<Unhealthy>,
    /// What could not be read, in words.
    pub unread: Vec<String>,
    /// The program as the person calls it.
    pub program: &'static str,
}

/// An object that is not as it should be, looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub struct Unhealthy {
    /// Kind, namespace and name, for people.
    pub object: String,
    /// Its health, if that is the problem.
    pub health: Option<HealthStatus>,
    /// What is wrong.
    pub message: String,
    /// The pods behind it that have a problem.
    pub pods: Vec<PodProblem>,
}

/// A pod that has a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct PodProblem {
    /// Name.
    pub name: String,
    /// What is wrong.
    pub health: Health,
    /// The last line of the log of the container that fails.
    pub last_line: Option<String>,
}

/// Where the words of a row begin.
const INDENT: usize = 10;
/// How wide the names of objects may make their column.
const WIDEST: usize = 48;

/// The whole answer.
pub fn status_text(facts: &Facts, now: Timestamp) -> String {
    let status = facts.application.status.clone().unwrap_or_default();
    let mut text = style::bold(&headline(facts, &status, now)) + "\n";
    let rows = [
        why(facts, &status, now),
        suspended(facts, now),
        pinned(&status),
        head(&status, now),
        next(facts, &status),
        objects(facts, &status, now),
    ];
    let rows: String = rows.into_iter().flatten().collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&rows);
    }
    text.push_str(&problems(facts, &status));
    if let Some(line) = deadline(facts, &status, now) {
        text.push_str(&format!("  {line}\n"));
    }
    for unread in &facts.unread {
        text.push_str(&style::dim(&format!("  not read: {}", words::line(unread))));
        text.push('\n');
    }
    text
}

fn name(facts: &Facts) -> String {
    words::line(&facts.application.name_any())
}

/// The release that the status speaks of, else the newest.
fn current<'a>(facts: &'a Facts, status: &ApplicationStatus) -> Option<&'a Release> {
    let number = status.release.as_ref().map(|release| release.number);
    number.and_then(|number| facts.history.get(number)).or_else(|| facts.history.current())
}

fn headline(facts: &Facts, status: &ApplicationStatus, now: Timestamp) -> String {
    let name = name(facts);
    if facts.application.metadata.deletion_timestamp.is_some() {
        return format!("{name} is being deleted.");
    }
    let Some(sync) = status.sync else {
        return format!("{name} has not been looked at by a controller yet; is one running?");
    };
    let release = current(facts, status);
    match sync {
        SyncStatus::Held => match release {
            Some(release) => {
                format!("{name} is held at release {}{}.", release.spec.number, and_health(release, status, now))
            }
            None => format!("{name} is held."),
        },
        SyncStatus::Syncing => match release.filter(|release| !history::phase(release).is_final()) {
            Some(release) => {
                let timeout = facts.application.spec.sync.timeout;
                let since = words::between(release.spec.created_at, now);
                format!(
                    "{name} is syncing release {} ({}), {since} of {timeout}.",
                    release.spec.number,
                    commit(release)
                )
            }
            None => format!("{name} is about to sync {}.", head_words(status)),
        },
        SyncStatus::Synced => {
            let release = release
                .map(|release| format!(": release {}{}", release.spec.number, and_health_alone(release, status, now)));
            format!("{name} is synced with {}{}.", head_words(status), release.unwrap_or_default())
        }
        SyncStatus::Failed => match release.filter(|release| history::phase(release) == Phase::Failed) {
            Some(release) => format!(
                "{name} failed: release {} ({}) ended {} ago.",
                release.spec.number,
                commit(release),
                words::age(ended_at(release).unwrap_or(release.spec.created_at), now)
            ),
            None => format!("{name} cannot be synced with its head{}.", running(release, status, now)),
        },
        SyncStatus::Suspended => format!("{name} is suspended{}.", running(release, status, now)),
        SyncStatus::OutOfSync => {
            format!("{name} is out of sync with {}{}.", head_words(status), running(release, status, now))
        }
        SyncStatus::Unknown => format!("{name} is not known to be in sync{}.", running(release, status, now)),
    }
}

fn running(release: Option<&Release>, status: &ApplicationStatus, now: Timestamp) -> String {
    release
        .map(|release| format!("; release {} runs{}", release.spec.number, and_health_alone(release, status, now)))
        .unwrap_or_default()
}

/// `main 4f1c2d9 ("Scale web to 4")`.
fn head_words(status: &ApplicationStatus) -> String {
    match &status.head {
        Some(head) if head.subject.is_empty() => words::line(&head.short),
        Some(head) => format!("{} ({})", words::line(&head.short), quoted(&head.subject)),
        None => "its head".to_owned(),
    }
}

/// `v1.8.3, "Faster index"`.
fn commit(release: &Release) -> String {
    let commit = &release.spec.commit;
    let as_of = release.spec.rollback_to.map(|target| format!("the content of release {target}: commit "));
    let short = format!("{}{}", as_of.unwrap_or_default(), words::line(&commit.short));
    if commit.subject.is_empty() { short } else { format!("{short}, {}", quoted(&commit.subject)) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", words::short_line(text, 72))
}

fn ended_at(release: &Release) -> Option<Timestamp> {
    Some(release.status.as_ref()?.outcome.as_ref()?.ended_at)
}

/// ` (the content of release 30: …), Healthy for 2h`.
fn and_health(release: &Release, status: &ApplicationStatus, now: Timestamp) -> String {
    format!(" ({}){}", commit(release), and_health_alone(release, status, now))
}

/// `, Healthy for 2h`; how long only where it has been so since the release ended.
fn and_health_alone(release: &Release, status: &ApplicationStatus, now: Timestamp) -> String {
    let Some(health) = status.health else { return String::new() };
    let degraded_later = release.status.as_ref().and_then(|status| status.after.as_ref()?.degraded_at).is_some();
    match ended_at(release).filter(|_| history::phase(release) == Phase::Healthy && !degraded_later) {
        Some(ended) if health == HealthStatus::Healthy => format!(", Healthy for {}", words::age(ended, now)),
        _ => format!(", {health}"),
    }
}

fn row(label: &str, lines: &[String]) -> Option<String> {
    let mut text = String::new();
    for (index, line) in lines.iter().filter(|line| !line.is_empty()).enumerate() {
        let label = if index == 0 { label } else { "" };
        text.push_str(&format!("  {}{line}\n", style::accent(&format!("{label:<width$}", width = INDENT - 2))));
    }
    (!text.is_empty()).then_some(text)
}

/// Why it is not what was pushed.
fn why(facts: &Facts, status: &ApplicationStatus, now: Timestamp) -> Option<String> {
    let sync = status.sync?;
    let mut lines = Vec::new();
    if let Some(hold) = &status.hold {
        lines.push(match facts.history.get(hold.rejected_by) {
            Some(by) => rejected(facts, hold.rejected_release, by, now),
            None => format!(
                "release {} was rejected by release {}{}",
                hold.rejected_release,
                hold.rejected_by,
                why_quoted(&hold.reason)
            ),
        });
    }
    if sync == SyncStatus::Failed
        && let Some(failed) = current(facts, status).filter(|release| history::phase(release) == Phase::Failed)
    {
        lines.extend(failures(failed));
    }
    // The status says in a note what is not said above already.
    let told = !lines.is_empty() || !facts.suspensions.is_empty() || sync == SyncStatus::Synced || waits(facts, status);
    if !told && !status.note.is_empty() {
        lines.push(words::line(&status.note));
    }
    if let Some(taken_back) = current(facts, status).filter(|release| release.spec.cause == Cause::AutomaticRollback)
        && sync != SyncStatus::Held
    {
        lines.push(format!("went back by itself: {}", words::line(&taken_back.spec.reason)));
    }
    row("Why", &lines)
}

fn why_quoted(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", quoted(reason)) }
}

/// `release 31 (9a77e10, "New queue client", grace@example.com) was rolled back
/// by ada 2h ago: "queue backs up"`.
fn rejected(facts: &Facts, rejected: u64, by: &Release, now: Timestamp) -> String {
    let what = match facts.history.get(rejected) {
        Some(release) => {
            let commit = &release.spec.commit;
            let author = if commit.email.is_empty() { &commit.author } else { &commit.email };
            let parts = [words::line(&commit.short), quoted(&commit.subject), words::line(author)];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty() && part != "\"\"").collect();
            format!("release {rejected} ({})", parts.join(", "))
        }
        None => format!("release {rejected}"),
    };
    let ago = words::age(by.spec.created_at, now);
    if by.spec.cause == Cause::AutomaticRollback {
        return format!("{what} was taken back automatically {ago} ago: {}", words::line(&by.spec.reason));
    }
    let who = if by.spec.requested_by.is_empty() { "a person" } else { &by.spec.requested_by };
    let unverified = if by.spec.verified || by.spec.requested_by.is_empty() { "" } else { " (unverified)" };
    format!("{what} was rolled back by {}{unverified} {ago} ago{}", words::line(who), why_quoted(&by.spec.reason))
}

fn failures(release: &Release) -> Vec<String> {
    let Some(outcome) = release.status.as_ref().and_then(|status| status.outcome.as_ref()) else { return Vec::new() };
    let mut lines = vec![words::line(&outcome.message)];
    for failure in &outcome.failures {
        // The message often is the first failure itself.
        if !outcome.message.contains(&failure.message) || !outcome.message.contains(&failure.object) {
            lines.push(format!("{}: {}", words::line(&failure.object), words::line(&failure.message)));
        }
    }
    lines.truncate(6);
    lines
}

fn suspended(facts: &Facts, now: Timestamp) -> Option<String> {
    let mut lines: Vec<String> = facts
        .suspensions
        .iter()
        .map(|suspension| {
            let spec = &suspension.spec;
            let who = if spec.requested_by.is_empty() { "a person" } else { &spec.requested_by };
            let since = suspension.creation_timestamp().map(|time| format!(" {} ago", words::age(time.0, now)));
            let until = spec.until.map(|until| format!(", for {} more", words::between(now, until)));
            let since = since.unwrap_or_default();
            format!("by {}{since}{}{}", words::line(who), why_quoted(&spec.reason), until.unwrap_or_default())
        })
        .collect();
    if facts.application.spec.suspend {
        lines.push("by spec.suspend of the Application: it ends where that is set".to_owned());
    }
    let text = row("Stopped", &lines)?;
    Some(text)
}

fn pinned(status: &ApplicationStatus) -> Option<String> {
    let pin = status.pin.as_ref()?;
    let who = if pin.by.is_empty() { "a person" } else { &pin.by };
    let line =
        format!("{} asked for {}; it stays until the head changes", words::line(who), words::line(&pin.revision));
    row("Pinned", &[line])
}

fn head(status: &ApplicationStatus, now: Timestamp) -> Option<String> {
    let head = status.head.as_ref()?;
    let by = if head.author.is_empty() { String::new() } else { format!(", {}", words::line(&head.author)) };
    let when = head.committed_at.map(|then| format!(", {} ago", words::age(then, now))).unwrap_or_default();
    let mut lines = vec![format!("{}: {}{by}{when}", words::line(&head.short), quoted(&head.subject))];
    if let Some(hold) = &status.hold {
        let same = head.bundle.as_ref() == Some(&hold.bundle);
        let how = if same { "it renders the content of" } else { "it is rendered from the inputs of" };
        lines.push(format!(
            "{how} release {} (bundle {}…), so it stays out",
            hold.rejected_release,
            hold.bundle.short(8)
        ));
    }
    if let Some(broken) =
        status.conditions.iter().find(|condition| condition.type_ == "Rendered" && condition.status == "False")
    {
        let message = words::line(&broken.message);
        if !status.note.contains(&broken.message) {
            lines.push(format!("it cannot be rendered: {message}"));
        }
    }
    row("Head", &lines)
}

fn next(facts: &Facts, status: &ApplicationStatus) -> Option<String> {
    let name = name(facts);
    let program = facts.program;
    let mut lines: Vec<String> = Vec::new();
    match status.sync {
        Some(SyncStatus::Held) => {
            let revision = status.head.as_ref().and_then(|head| head.short.split_whitespace().next()).unwrap_or("Git");
            lines.push(format!("goes on by itself when {} renders different content", words::line(revision)));
            lines.push(format!("to let this content in again:   {program} sync {name} --accept"));
        }
        Some(SyncStatus::Suspended) if !facts.suspensions.is_empty() => {
            lines.push(format!("to go on:   {program} resume {name}"));
        }
        _ => lines.push(words::line(&status.next)),
    }
    row("Next", &lines)
}

/// `42 in sync, 0 drifted; 3 repaired since release 32 (last 11m ago: …)`.
fn objects(facts: &Facts, status: &ApplicationStatus, now: Timestamp) -> Option<String> {
    let counts = status.objects.as_ref()?;
    let mut line = format!("{} in sync, {} drifted", counts.in_sync, counts.drifted);
    if counts.healthy < counts.total {
        line.push_str(&format!(", {} of {} healthy", counts.healthy, counts.total));
    }
    let repaired = current(facts, status).and_then(|release| Some((release, release.status.as_ref()?.after.as_ref()?)));
    if let Some((release, after)) = repaired.filter(|(_, after)| after.repairs > 0) {
        line.push_str(&format!("; {} repaired since release {}", after.repairs, release.spec.number));
        let ago = after.last_repair_at.map(|then| format!("{} ago", words::age(then, now)));
        match (ago, words::line(&after.last_repair)) {
            (Some(ago), last) if last.is_empty() => line.push_str(&format!(" (last {ago})")),
            (Some(ago), last) => line.push_str(&format!(" (last {ago}: {last})")),
            (None, _) => {}
        }
    }
    row("Objects", &[line])
}

fn waits(facts: &Facts, status: &ApplicationStatus) -> bool {
    status.sync == Some(SyncStatus::Syncing) && !facts.objects.is_empty()
}

/// The objects that are not as they should be, with their pods.
fn problems(facts: &Facts, status: &ApplicationStatus) -> String {
    if facts.objects.is_empty() {
        return String::new();
    }
    let title = if waits(facts, status) { "Waiting for" } else { "Not as it should be" };
    let mut text = format!("\n  {}\n", style::accent(title));
    let names = facts.objects.iter().flat_map(|object| {
        let pods = object.pods.iter().map(|pod| pod.name.chars().count() + 6);
        pods.chain([object.object.chars().count()])
    });
    let column = names.filter(|width| *width <= WIDEST).max().unwrap_or(0) + 3;
    for object in &facts.objects {
        let name = words::line(&object.object);
        let health = object.health.filter(|health| *health != HealthStatus::Progressing);
        let health = health.map(|health| style::of_health(health)(health.as_str()) + ": ").unwrap_or_default();
        text.push_str(&format!("    {}{health}{}\n", padded(&name, column), words::short_line(&object.message, 240)));
        for pod in &object.pods {
            let name = format!("  Pod {}", words::line(&pod.name));
            text.push_str(&format!("    {}{}\n", padded(&name, column), words::short_line(&pod.health.reason, 160)));
            if let Some(line) = &pod.last_line {
                text.push_str(&format!("    {}last line: \"{}\"\n", padded("", column), words::short_line(line, 160)));
            }
        }
    }
    text
}

fn padded(text: &str, column: usize) -> String {
    let width = text.chars().count();
    format!("{text}{}", " ".repeat(column.saturating_sub(width).max(if width == 0 { 0 } else { 2 })))
}

/// What happens at the deadline of a release that runs.
fn deadline(facts: &Facts, status: &ApplicationStatus, now: Timestamp) -> Option<String> {
    let release = current(facts, status).filter(|release| !history::phase(release).is_final())?;
    let end = release.spec.created_at.checked_add(facts.application.spec.sync.timeout.signed()).ok()?;
    let left = words::between(now, end);
    let left = if end <= now { "the deadline".to_owned() } else { left };
    let target = facts.history.rollback_target(release.spec.number);
    Some(
        match target
            .filter(|_| facts.application.spec.rollback.automatic && release.spec.cause != Cause::AutomaticRollback)
        {
            Some(target) => {
                let since =
                    ended_at(target).map(|then| format!(", Healthy for {}", words::age(then, now))).unwrap_or_default();
                let short = words::line(&target.spec.commit.short);
                format!(
                    "If it is not healthy in {left} it goes back to release {} ({short}{since}).",
                    target.spec.number
                )
            }
            None => format!("If it is not healthy in {left} it ends as Failed."),
        },
    )
}

#[cfg(test)]
#[path = "status_text_tests.rs"]
mod tests;
