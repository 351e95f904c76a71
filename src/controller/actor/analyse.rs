//! Asking a Prometheus-compatible server about a release while it is watched.
//! A server that cannot be asked is told, and never a reason to go back.

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use super::Actor;
use crate::{
    api::{Analysis, Cause, Phase},
    controller::{outside::access_of, shared::Shared},
    health::Condition,
    notify::{Access, Reach, Series, Target, as_result},
};

/// However often somebody wants to ask.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// How many values a message names.
const VALUES_NAMED: usize = 3;

/// What is known of the analysis of one release.
#[derive(Debug, Default)]
pub(super) struct Analysed {
    release: u64,
    /// What is asked, so that a change begins anew.
    asked: Option<Analysis>,
    /// Whether an answer is waited for.
    asking: bool,
    next: Option<Timestamp>,
    /// How often the condition failed in a row.
    failures: u32,
    /// Why nobody can tell, if so.
    pub(super) problem: Option<String>,
    /// Why the release is to go back, if so.
    pub(super) failed: Option<String>,
}

/// An answer, what was asked, and the release that it is about.
#[derive(Debug)]
pub(super) struct Asked {
    release: u64,
    analysis: Analysis,
    answer: Result<Verdict, String>,
}

/// What a condition made of an answer.
#[derive(Debug)]
enum Verdict {
    Holds,
    Fails(String),
}

impl Actor {
    /// Asks when it is time to. Returns when to ask next.
    pub(super) fn analyse(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Some((release, ended_at)) = self.is_analysed(now) else {
            self.known.analysed = Analysed::default();
            return None;
        };
        let asked = self.known.application.spec.rollback.analysis.clone();
        let analysis = asked.clone()?;
        let interval = analysis.interval.signed().max(SHORTEST_INTERVAL);
        let known = &mut self.known.analysed;
        if known.release != release || known.asked != asked {
            // The first answers are of the time before, mostly.
            let next = Some((ended_at + interval).max(now));
            *known = Analysed { release, asked, next, ..Analysed::default() };
        }
        if known.asking || known.failed.is_some() {
            return None;
        }
        let due = known.next.unwrap_or(now);
        if due > now {
            return Some(due);
        }
        known.asking = true;
        known.next = Some(now + interval);
        let (shared, owner) = (self.shared.clone(), self.known.owner.clone());
        let (stop, tell) = (self.stop.clone(), self.tell_asked.clone());
        self.shared.tasks.spawn(async move {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = ask(&shared, owner.namespace(), &analysis) => answer,
            };
            // Nobody waits for it any more only if the task ended.
            let _ = tell.send(Asked { release, analysis, answer }).await;
        });
        None
    }

    /// The release that is analysed now, and when it became healthy.
    fn is_analysed(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        self.known.application.spec.rollback.analysis.as_ref()?;
        let newest = self.known.history.current().filter(|_| !self.known.inherits())?;
        let status = newest.status.as_ref()?;
        let outcome = status.outcome.as_ref().filter(|outcome| outcome.phase == Phase::Healthy)?;
        let noted = status.after.as_ref().is_some_and(|after| after.degraded_at.is_some());
        // Nothing goes back from a rollback, or from what changed nothing.
        let may = matches!(newest.spec.cause, Cause::Push | Cause::Request) && outcome.touched_cluster && !noted;
        let in_time = now <= outcome.ended_at + self.known.settings.watch;
        (may && in_time).then_some((newest.spec.number, outcome.ended_at))
    }

    /// Takes in an answer.
    pub(super) fn take_asked(&mut self, asked: Asked) {
        let known = &mut self.known.analysed;
        if known.release != asked.release || known.asked.as_ref() != Some(&asked.analysis) {
            return;
        }
        known.asking = false;
        let release = asked.release;
        let limit = known.asked.as_ref().map_or(1, |analysis| analysis.failure_limit.max(1));
        match asked.answer {
            Ok(Verdict::Holds) => {
                debug!(release, "the analysis found nothing");
                known.failures = 0;
                known.problem = None;
            }
            Ok(Verdict::Fails(words)) => {
                known.failures += 1;
                known.problem = None;
                let message = format!("the condition of the analysis does not hold ({words})");
                let count = known.failures;
                if count >= limit {
                    let times = if count == 1 { String::new() } else { format!(", {count} times in a row") };
                    known.failed = Some(format!("{message}{times}"));
                }
                warn!(release, message, count, limit, "the analysis failed");
                self.event("AnalysisFailed", &format!("release {release}: {message}, {count} of {limit}"), true);
            }
            Err(why) => {
                // Neither good nor bad: what was counted stays.
                let message = format!("the analysis tells nothing: {why}");
                known.problem = Some(message.clone());
                warn!(release, message, "the analysis tells nothing");
                self.event("AnalysisUnknown", &format!("release {release}: {message}"), true);
            }
        }
    }
}

async fn ask(shared: &Shared, namespace: &str, analysis: &Analysis) -> Result<Verdict, String> {
    let condition = Condition::compile(&analysis.condition).map_err(|why| format!("the condition {why}"))?;
    let (server, reach, access) = match (&analysis.url, &shared.options.prometheus) {
        (Some(url), _) => {
            let server = url.parse::<Target>().map_err(|error| error.to_string())?;
            let access = match &analysis.secret_ref {
                Some(secret) => access_of(shared, namespace, &secret.name).await?,
                None => Access::default(),
            };
            (server, &shared.options.reach, access)
        }
        (None, Some(server)) => (server.target.clone(), &Reach::Anywhere, server.access().await?),
        (None, None) => {
            let why = "there is no server to ask: set rollback.analysis.url, or the controller's --prometheus-url";
            return Err(why.to_owned());
        }
    };
    let series =
        shared.inquirer.ask(&server, reach, &access, &analysis.query).await.map_err(|error| error.to_string())?;
    if condition.holds(&as_result(&series))? { Ok(Verdict::Holds) } else { Ok(Verdict::Fails(words(&series))) }
}

/// `value 0.31`, or how many there are.
fn words(series: &[Series]) -> String {
    let values: Vec<String> = series.iter().take(VALUES_NAMED).map(|series| series.value.to_string()).collect();
    match series.len() {
        0 => "no value".to_owned(),
        1 => format!("value {}", values[0]),
        count if count > VALUES_NAMED => format!("values {} and {} more", values.join(", "), count - VALUES_NAMED),
        _ => format!("values {}", values.join(", ")),
    }
}
