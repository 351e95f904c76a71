//! What following shows of a request, from the request and its application:
//! pure.

use super::{style, words};
use crate::api::{ApplicationStatus, CurrentRelease, Phase, RequestPhase, RequestStatus};

/// What a person has been told already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    release: Option<u64>,
    applied: bool,
    /// How many objects the plan writes, as it was last heard.
    to_apply: Option<u32>,
}

/// What to show now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// A line that stays.
    Line(String),
    /// What is going on, until something else is.
    Progress(String),
}

/// What to show of a request that is not at its end, or just got there.
/// `elapsed` is how long it has been followed, in words.
pub fn show(
    told: &mut Told,
    request: &RequestStatus,
    application: Option<&ApplicationStatus>,
    by: &str,
    elapsed: &str,
) -> Vec<Show> {
    let mut shows = Vec::new();
    let Some(number) = request.release else {
        if request.phase == Some(RequestPhase::Pending) {
            shows.push(Show::Progress(or(&words::line(&request.message), "seen by the controller")));
        }
        // What is asked for may be on its way already: the request then says
        // nothing until that has ended.
        if let Some(running) = running(application) {
            let doing = if running.phase == Phase::Waiting { waiting(application) } else { applying(running) };
            shows.push(Show::Progress(format!("release {} is on its way: {doing}", running.number)));
        }
        return shows;
    };
    let done = request.phase == Some(RequestPhase::Succeeded);
    if told.release != Some(number) && (told.release.is_some() || !done || application.is_some()) {
        told.release = Some(number);
        let by = if by.is_empty() { String::new() } else { format!(" created by {}", words::line(by)) };
        shows.push(Show::Line(format!("{} release {number}{by}", style::good("✓"))));
    }
    let release = application.and_then(|status| status.release.as_ref()).filter(|release| release.number == number);
    let Some(release) = release else { return shows };
    told.to_apply = release.to_apply.or(told.to_apply);
    if let (Phase::Pending | Phase::Applying, false) = (release.phase, request_ended(request)) {
        shows.push(Show::Progress(applying(release)));
        return shows;
    }
    if !told.applied && (matches!(release.phase, Phase::Waiting | Phase::Healthy) || done) {
        told.applied = true;
        let counted = told.to_apply.map(|number| format!(" {number} of {number}")).unwrap_or_default();
        shows.push(Show::Line(milestone(&format!("applied{counted}"), elapsed)));
    }
    if release.phase == Phase::Waiting && !request_ended(request) {
        shows.push(Show::Progress(waiting(application)));
    }
    shows
}

/// `✓ applied 3 of 3                0.2s`.
pub fn milestone(what: &str, elapsed: &str) -> String {
    format!("{} {what:<40}{elapsed}", style::good("✓"))
}

/// The release that is on its way, if one is.
pub fn running(application: Option<&ApplicationStatus>) -> Option<&CurrentRelease> {
    application?.release.as_ref().filter(|release| !release.phase.is_final())
}

/// Whether it is over.
pub fn request_ended(status: &RequestStatus) -> bool {
    matches!(status.phase, Some(RequestPhase::Succeeded | RequestPhase::Failed | RequestPhase::Refused))
}

fn applying(release: &CurrentRelease) -> String {
    match (release.applied, release.to_apply) {
        (Some(applied), Some(to_apply)) => format!("applied {applied} of {to_apply}"),
        _ => format!("release {} is being planned", release.number),
    }
}

/// `waiting for Deployment team-a/web: 1 of 3 replicas available`.
fn waiting(application: Option<&ApplicationStatus>) -> String {
    let problem = application.and_then(|status| status.problems.iter().find(|problem| problem.health.is_some()));
    match problem {
        Some(problem) => {
            format!("waiting for {}: {}", words::line(&problem.object), words::short_line(&problem.message, 120))
        }
        None => "waiting until everything is healthy".to_owned(),
    }
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{bundle, plain},
        *,
    };
    use crate::{api::ObjectProblem, health::HealthStatus};

    fn request(phase: RequestPhase, release: Option<u64>) -> RequestStatus {
        RequestStatus { phase: Some(phase), release, ..RequestStatus::default() }
    }

    fn application(number: u64, phase: Phase, applied: Option<(u32, u32)>) -> ApplicationStatus {
        let release = CurrentRelease {
            number,
            phase,
            commit: "c".into(),
            bundle: bundle("b"),
            applied: applied.map(|(applied, _)| applied),
            to_apply: applied.map(|(_, to_apply)| to_apply),
        };
        let problem = ObjectProblem {
            object: "Deployment team-a/web".into(),
            health: Some(HealthStatus::Progressing),
            message: "1 of 3 replicas available".into(),
        };
        ApplicationStatus { release: Some(release), problems: vec![problem], ..ApplicationStatus::default() }
    }

    #[test]
    fn a_release_is_told_from_its_making_to_its_health() {
        let mut told = Told::default();
        let running = request(RequestPhase::Running, Some(32));
        let mut lines = Vec::new();
        for (request, application) in [
            (request(RequestPhase::Pending, None), None),
            (running.clone(), Some(application(31, Phase::Healthy, None))),
            (running.clone(), Some(application(32, Phase::Pending, None))),
            (running.clone(), Some(application(32, Phase::Applying, Some((3, 7))))),
            (running.clone(), Some(application(32, Phase::Waiting, None))),
            (running, Some(application(32, Phase::Waiting, None))),
            (request(RequestPhase::Succeeded, Some(32)), Some(application(32, Phase::Healthy, None))),
        ] {
            for show in show(&mut told, &request, application.as_ref(), "ada", "0.2s") {
                lines.push(match show {
                    Show::Line(line) => plain(&line),
                    Show::Progress(text) => format!("… {text}"),
                });
            }
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        … seen by the controller
        ✓ release 32 created by ada
        … release 32 is being planned
        … applied 3 of 7
        ✓ applied 7 of 7                          0.2s
        … waiting for Deployment team-a/web: 1 of 3 replicas available
        … waiting for Deployment team-a/web: 1 of 3 replicas available
        ");
    }

    #[test]
    fn a_person_without_the_right_to_read_the_application_sees_the_release() {
        let mut told = Told::default();
        let shows = show(&mut told, &request(RequestPhase::Running, Some(3)), None, "", "1s");
        assert_eq!(shows.len(), 1, "{shows:?}");
        assert!(show(&mut told, &request(RequestPhase::Running, Some(3)), None, "", "1s").is_empty());
    }

    #[test]
    fn a_request_for_what_is_on_its_way_already_shows_that() {
        let status = application(10, Phase::Waiting, None);
        let shows = show(&mut Told::default(), &RequestStatus::default(), Some(&status), "ada", "1s");
        let text = "release 10 is on its way: waiting for Deployment team-a/web: 1 of 3 replicas available";
        assert_eq!(shows, [Show::Progress(text.to_owned())]);
    }
}
