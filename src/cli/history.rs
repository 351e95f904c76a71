//! `bowline history`: the releases of an application, and whether the chain of
//! them is whole.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CommandError, Connection, Output,
    content::{Checked, Content},
    moment::parse_past,
    output::{DataFormat, ListFormat},
    point::Point,
    release_text::release_text,
    session::Session,
    style,
    table::{Cell, Table},
    words,
};
use crate::{
    api::{Cause, Phase, Release},
    history::{ChainReport, History, release_digest, verify},
};

/// Lists the releases of an application, the newest first.
///
/// When, what, by whom, why, and how it went; and whether the chain of the
/// releases is whole. With RELEASE that one is told in full.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// One release in full: its number, its commit, or `HEAD~1` for the one of
    /// the commit before the newest.
    #[arg(value_name = "RELEASE", conflicts_with_all = ["verify", "since"])]
    pub release: Option<Point>,
    /// Say what is wrong with the chain of releases and with their content, and
    /// exit with 1 if anything is.
    #[arg(long)]
    pub verify: bool,
    /// Only releases that were made, ended, degraded or were repaired since
    /// then: `2h` ago, or a time as in 2027-01-31T18:00:00Z or
    /// 2027-01-31.
    #[arg(long, value_name = "TIME", value_parser = parse_past)]
    pub since: Option<Timestamp>,
    /// Form of the output.
    #[arg(short, long, value_enum)]
    pub output: Option<ListFormat>,
}

/// How much of a subject, and of an outcome, is shown.
const SUBJECT: usize = 48;
const OUTCOME: usize = 80;

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let history = session.known_history(&args.application).await?;
    if let Some(point) = &args.release {
        return one(point, args, &session, &history, output);
    }
    // Releases outlive their application: without it they are shown too. What
    // is to be verified is held against the end that it knows.
    let application = match session.find_application(&args.application).await {
        Ok(application) => application,
        Err(error) if args.verify => return Err(error),
        Err(_) => None,
    };
    let end = application.as_ref().and_then(|application| application.status.as_ref()?.chain.clone());
    let report = verify(history.releases(), end.as_ref());
    let shown = args.since.map_or_else(|| history.clone(), |since| history.since(since));
    let newest_first: Vec<&Release> = shown.releases().iter().rev().collect();
    match args.output {
        Some(ListFormat::Json) => output
            .write_data(DataFormat::Json, &as_data(&args.application, &session.namespace, &newest_first, &report))?,
        Some(ListFormat::Yaml) => output
            .write_data(DataFormat::Yaml, &as_data(&args.application, &session.namespace, &newest_first, &report))?,
        Some(ListFormat::Name) => {
            let names = newest_first
                .iter()
                .map(|release| format!("release.bowline.dev/{}-{}\n", release.spec.application, release.spec.number));
            output.write(&names.collect::<String>())?;
        }
        None | Some(ListFormat::Wide) if newest_first.is_empty() => {
            output.say(&match history.is_empty() {
                true => format!("{} has had no release yet", args.application),
                false => format!("nothing has happened to {} since then", args.application),
            })?;
        }
        None | Some(ListFormat::Wide) => {
            let wide = args.output == Some(ListFormat::Wide);
            let oldest = history.releases().first().map(|release| release.spec.number);
            output.write(&(table(&newest_first, wide, Timestamp::now()) + &chain_text(&report, oldest)))?;
        }
    }
    if args.verify { verified(&session, &args.application, &history, &report, output).await } else { Ok(0) }
}

/// Says what is wrong with the chain and with the content of the releases.
async fn verified(
    session: &Session,
    application: &str,
    history: &History,
    report: &ChainReport,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let mut content = Content::of(session, application);
    let mut damaged = Vec::new();
    let mut forbidden = None;
    for release in history {
        match content.check(release).await {
            Checked::Whole => {}
            Checked::Damaged(error) => damaged.push(error),
            Checked::Forbidden(error) => {
                // What holds for one holds for all.
                forbidden = Some(error);
                break;
            }
        }
    }
    content.tell(output)?;
    if let Some(error) = &forbidden {
        output
            .say("note: only the chain was looked at, and not the content of the releases, which you may not read")?;
        error.hints.iter().try_for_each(|hint| output.say(&format!("hint: {hint}")))?;
    }
    if !report.problems.is_empty() {
        let problems: Vec<String> = report.problems.iter().map(|problem| format!("- {problem}")).collect();
        damaged.iter().try_for_each(|error| output.say(&format!("also: {}", words::line(&error.error))))?;
        return Err(CommandError::failed(format!("the chain of releases is not whole\n{}", problems.join("\n")))
            .hint("compare with what you have kept elsewhere: the API server's audit log tells who wrote Releases"));
    }
    let Some(first) = damaged.first().cloned() else {
        if forbidden.is_some() {
            return Ok(0);
        }
        let but = match content.is_without_secrets() {
            true => ", but for the manifests of Secrets, which were not looked at",
            false => "",
        };
        let releases = words::count(history.releases().len(), "release");
        output.say(&format!("the content of {releases} is whole{but}"))?;
        return Ok(0);
    };
    for error in &damaged[1..] {
        output.say(&format!("also: {}", words::line(&error.error)))?;
    }
    Err(first)
}

/// One release in full.
fn one(
    point: &Point,
    args: &Args,
    session: &Session,
    history: &History,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let release = point.release(&args.application, history, session.program)?;
    match args.output {
        Some(ListFormat::Json) => output.write_data(DataFormat::Json, &one_data(session, release))?,
        Some(ListFormat::Yaml) => output.write_data(DataFormat::Yaml, &one_data(session, release))?,
        Some(ListFormat::Name) => {
            output.write(&format!("release.bowline.dev/{}-{}\n", args.application, release.spec.number))?;
        }
        None | Some(ListFormat::Wide) => output.write(&release_text(release, history, Timestamp::now()))?,
    }
    Ok(0)
}

/// The table, the newest release first.
pub fn table(releases: &[&Release], wide: bool, now: Timestamp) -> String {
    let mut headings = vec!["RELEASE", "AGE", "COMMIT", "SUBJECT", "BY", "CAUSE"];
    let reasons = releases.iter().any(|release| shows_reason(release));
    if reasons {
        headings.push("WHY");
    }
    headings.push("OUTCOME");
    if wide {
        headings.push("BUNDLE");
    }
    let mut table = Table::new(headings);
    for release in releases {
        let spec = &release.spec;
        let cut = |text: &str, most: usize| if wide { words::line(text) } else { words::short_line(text, most) };
        let mut cells: Vec<Cell> = vec![
            spec.number.to_string().into(),
            words::age(spec.created_at, now).into(),
            spec.commit.short.as_str().into(),
            match spec.rollback_to {
                Some(target) => format!("(as release {target})").into(),
                None => cut(&spec.commit.subject, SUBJECT).into(),
            },
            by(release).into(),
            spec.cause.as_str().into(),
        ];
        if reasons {
            cells.push(if shows_reason(release) { cut(&spec.reason, SUBJECT).into() } else { "".into() });
        }
        let phase = phase(release);
        cells.push(Cell::painted(
            &outcome(release, now, if wide { usize::MAX } else { OUTCOME }),
            style::of_phase(phase),
        ));
        if wide {
            cells.push(spec.bundle.short(12).into());
        }
        table.row(cells);
    }
    table.render()
}

/// What broke before an automatic rollback stands with the release that broke.
fn shows_reason(release: &Release) -> bool {
    !release.spec.reason.is_empty() && release.spec.cause != Cause::AutomaticRollback
}

/// Who: the person who asked, else the author of what was pushed.
fn by(release: &Release) -> String {
    let spec = &release.spec;
    let who = match spec.cause {
        Cause::Push => &spec.commit.author,
        Cause::Request | Cause::Rollback => &spec.requested_by,
        Cause::AutomaticRollback => "",
    };
    match who {
        "" => "-".to_owned(),
        who if spec.cause != Cause::Push && !spec.verified => format!("{who} (unverified)"),
        who => who.to_owned(),
    }
}

/// Where a release is.
pub fn phase(release: &Release) -> Phase {
    let status = release.status.as_ref();
    let outcome = status.and_then(|status| status.outcome.as_ref()).map(|outcome| outcome.phase);
    outcome.or_else(|| status?.phase).unwrap_or(Phase::Pending)
}

/// How a release went, in at most so many characters, and what happened
/// afterwards.
fn outcome(release: &Release, now: Timestamp, most: usize) -> String {
    let status = release.status.as_ref();
    let Some(outcome) = status.and_then(|status| status.outcome.as_ref()) else {
        return format!("{} for {}", phase(release), words::age(release.spec.created_at, now));
    };
    let mut text = match outcome.phase {
        Phase::Healthy => format!("Healthy after {}", words::between(release.spec.created_at, outcome.ended_at)),
        phase if outcome.message.is_empty() => phase.to_string(),
        phase => format!("{phase}: {}", words::short_line(&outcome.message, most)),
    };
    if let Some(after) = status.and_then(|status| status.after.as_ref()) {
        if after.degraded_at.is_some() {
            text.push_str(", degraded later");
        }
        if after.repairs > 0 {
            text.push_str(&format!(", {} repaired", after.repairs));
        }
        if let Some(number) = after.rolled_back_by {
            text.push_str(&format!(", rolled back by release {number}"));
        }
    }
    text
}

/// What the chain of the releases says, in a line.
pub fn chain_text(report: &ChainReport, oldest: Option<u64>) -> String {
    match (report.problems.len(), report.whole_from) {
        (0, Some(from)) if Some(from) != oldest => {
            format!("The chain is whole from release {from} (some older ones are trimmed).\n")
        }
        (0, Some(1)) => "The chain is whole.\n".to_owned(),
        (0, Some(from)) => format!("The chain is whole from release {from} (older ones are trimmed).\n"),
        (0, None) => String::new(),
        (problems, from) => {
            let whole =
                from.map(|from| format!("whole from release {from} only")).unwrap_or_else(|| "not whole".to_owned());
            let first = report.problems.first().map(ToString::to_string).unwrap_or_default();
            let more = if problems > 1 { format!(" (and {} more: --verify)", problems - 1) } else { String::new() };
            format!("{} {first}{more}.\n", style::bad(&format!("The chain is {whole}:")))
        }
    }
}

/// The stable form for programs.
fn as_data(application: &str, namespace: &str, releases: &[&Release], report: &ChainReport) -> Value {
    json!({
        "application": application,
        "namespace": namespace,
        "releases": releases.iter().map(|release| release_data(release)).collect::<Vec<_>>(),
        "chain": {
            "wholeFrom": report.whole_from,
            "problems": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
    })
}

/// One release, with where it stands.
fn one_data(session: &Session, release: &Release) -> Value {
    let mut data = release_data(release);
    data["application"] = json!(release.spec.application);
    data["namespace"] = json!(session.namespace);
    data
}

/// A release for programs: names are never taken away nor given another meaning.
pub fn release_data(release: &Release) -> Value {
    let spec = &release.spec;
    let status = release.status.clone().unwrap_or_default();
    json!({
        "release": spec.number,
        "createdAt": spec.created_at,
        "cause": spec.cause,
        "commit": spec.commit,
        "bundle": spec.bundle,
        "renderer": spec.renderer,
        "digest": release_digest(release),
        "previous": spec.previous,
        "accepts": spec.accepts,
        "hooks": status.hooks,
        "appliedAt": status.applied_at,
        "counts": spec.counts,
        "rollbackTo": spec.rollback_to,
        "rejects": spec.rejects.iter().map(|rejection| rejection.release).collect::<Vec<_>>(),
        "requestedBy": spec.requested_by,
        "verified": spec.verified,
        "reason": spec.reason,
        "phase": phase(release),
        "outcome": status.outcome,
        "after": status.after,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NOW, Releases, plain},
        *,
    };
    use crate::api::ReleaseAfter;

    fn releases() -> Vec<Release> {
        let not_healthy = "not healthy in 5m: Deployment web 0/3 (ImagePullBackOff)";
        Releases::of("shop")
            .release(400_000, |_| {})
            .ended(Phase::Healthy, 3, "")
            .release(300_000, |_| {})
            .ended(Phase::Superseded, 3, "by release 3")
            .release(172_900, |spec| spec.commit.subject = "Add search box".into())
            .ended(Phase::Healthy, 8, "")
            .release(3_900, |spec| spec.commit.author = "alan".into())
            .ended(Phase::Failed, 300, not_healthy)
            .status(|status| status.after = Some(ReleaseAfter { rolled_back_by: Some(5), ..ReleaseAfter::default() }))
            .release(3_600, |spec| {
                spec.cause = Cause::AutomaticRollback;
                spec.rollback_to = Some(3);
                spec.reason = not_healthy.into();
            })
            .ended(Phase::Healthy, 5, "")
            .release(1_000, |spec| {
                spec.cause = Cause::Rollback;
                spec.rollback_to = Some(3);
                spec.requested_by = "ada".into();
                spec.reason = "queue backs up".into();
            })
            .ended(Phase::Healthy, 5, "")
            .status(|status| status.after = Some(ReleaseAfter { repairs: 3, ..ReleaseAfter::default() }))
            .release(12, |_| {})
            .phase(Phase::Waiting)
            .from(2)
    }

    fn text(releases: &[Release]) -> String {
        let newest_first: Vec<&Release> = releases.iter().rev().collect();
        let end = releases.iter().rev().find_map(release_digest);
        plain(
            &(table(&newest_first, false, NOW)
                + &chain_text(&verify(releases, end.as_ref()), releases.first().map(|release| release.spec.number))),
        )
    }

    #[test]
    fn releases_are_told_newest_first_with_who_and_why() {
        insta::assert_snapshot!(text(&releases()), @r"
        RELEASE  AGE  COMMIT   SUBJECT         BY     CAUSE              WHY             OUTCOME
        7        12s  0000007  Change 7        grace  Push                               Waiting for 12s
        6        16m  0000006  (as release 3)  ada    Rollback           queue backs up  Healthy after 5s, 3 repaired
        5        1h   0000005  (as release 3)  -      AutomaticRollback                  Healthy after 5s
        4        1h   0000004  Change 4        alan   Push                               Failed: not healthy in 5m: Deployment web 0/3 (ImagePullBackOff), rolled back by release 5
        3        2d   0000003  Add search box  grace  Push                               Healthy after 8s
        2        3d   0000002  Change 2        grace  Push                               Superseded: by release 3
        The chain is whole from release 2 (older ones are trimmed).
        ");
    }

    #[test]
    fn a_release_that_was_edited_is_told_below_the_table() {
        let mut releases = releases();
        releases[1].spec.reason = "another".into();
        let text = text(&releases);
        insta::assert_snapshot!(text.lines().last().unwrap_or_default(), @"The chain is whole from release 4 only: release 3 was edited after the next one was made.");
    }

    #[test]
    fn programs_get_the_same_names_for_ever() {
        let releases = releases();
        let newest_first: Vec<&Release> = releases.iter().rev().collect();
        let data = as_data("shop", "team-a", &newest_first, &verify(&releases, None));
        let keys: Vec<&String> = data["releases"][1].as_object().into_iter().flat_map(|object| object.keys()).collect();
        let expected = [
            "accepts",
            "after",
            "appliedAt",
            "bundle",
            "cause",
            "commit",
            "counts",
            "createdAt",
            "digest",
            "hooks",
            "outcome",
            "phase",
            "previous",
            "reason",
            "rejects",
            "release",
            "renderer",
            "requestedBy",
            "rollbackTo",
            "verified",
        ];
        assert_eq!(keys, expected);
        assert_eq!((&data["application"], &data["chain"]["wholeFrom"]), (&json!("shop"), &json!(2)));
    }
}
