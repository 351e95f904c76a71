//! `bowline get APP --at TIME`: how an application stood at an earlier time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CommandError, Output,
    history::{release_data, table},
    output::{DataFormat, ListFormat},
    session::Session,
};
use crate::{api::Release, history::History};

/// Shows how an application stood.
pub async fn run(
    session: &Session,
    application: &str,
    at: Timestamp,
    format: Option<ListFormat>,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let history = session.known_history(application).await?;
    let then = history.as_of(at);
    if then.is_empty() {
        return Err(unknown(application, at, &history));
    }
    match format {
        Some(ListFormat::Json) => output.write_data(DataFormat::Json, &as_data(session, application, at, &then))?,
        Some(ListFormat::Yaml) => output.write_data(DataFormat::Yaml, &as_data(session, application, at, &then))?,
        Some(ListFormat::Name) => {
            let number = then.current().map(|release| release.spec.number).unwrap_or_default();
            output.write(&format!("release.bowline.dev/{application}-{number}\n"))?;
        }
        None | Some(ListFormat::Wide) => {
            output.write(&text(&then, at, format == Some(ListFormat::Wide)))?;
        }
    }
    Ok(0)
}

/// The release that was current then, and the one whose content was in the
/// cluster where that is another one.
fn text(then: &History, at: Timestamp, wide: bool) -> String {
    let ended = |release: &&Release| release.status.as_ref().is_some_and(|status| status.outcome.is_some());
    let settled = then.reached_cluster().rev().find(ended).map(|release| release.spec.number);
    let current = then.current().map(|release| release.spec.number);
    let shown: Vec<_> =
        then.iter().rev().filter(|release| [settled, current].contains(&Some(release.spec.number))).collect();
    let table = table(&shown, wide, at);
    let on_its_way = then.running().map(|release| release.spec.number);
    match (on_its_way, settled) {
        (Some(running), Some(settled)) => {
            format!("{table}Release {running} was on its way to the cluster, over the content of release {settled}.\n")
        }
        (Some(running), None) => format!("{table}Release {running} was on its way to the cluster.\n"),
        (None, Some(settled)) => format!("{table}In the cluster was the content of release {settled}.\n"),
        (None, None) => format!("{table}Nothing had reached the cluster.\n"),
    }
}

fn unknown(application: &str, at: Timestamp, history: &History) -> CommandError {
    let error = CommandError::failed(format!("nothing is known of {application} at {at}"));
    match history.releases().first() {
        Some(oldest) if oldest.spec.number > 1 => error.hint(format!(
            "older releases are trimmed: the oldest that is kept, release {}, was made at {}",
            oldest.spec.number, oldest.spec.created_at
        )),
        Some(oldest) => error.hint(format!("its first release was made at {}", oldest.spec.created_at)),
        None => error.hint("it has had no release yet"),
    }
}

fn as_data(session: &Session, application: &str, at: Timestamp, then: &History) -> Value {
    json!({
        "application": application,
        "namespace": session.namespace,
        "at": at,
        "current": then.current().map(release_data),
        "applied": then.applied().map(|release| release.spec.number),
        "lastHealthy": then.last_healthy().map(|release| release.spec.number),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Releases, ago, plain},
        *,
    };
    use crate::api::Phase;

    fn history() -> History {
        History::new(
            Releases::of("shop")
                .release(4_000, |_| {})
                .ended(Phase::Healthy, 5, "")
                .release(3_000, |_| {})
                .ended(Phase::Healthy, 5, "")
                .release(1_000, |_| {})
                .ended(Phase::Failed, 300, "not healthy in 5m")
                .from(2),
        )
    }

    #[test]
    fn the_release_of_that_time_is_told_as_it_was_known_then() {
        let at = ago(900);
        insta::assert_snapshot!(plain(&text(&history().as_of(at), at, false)), @r#"
        RELEASE  AGE  COMMIT   SUBJECT   BY     CAUSE  OUTCOME
        3        1m   0000003  Change 3  grace  Push   Applying for 1m
        2        35m  0000002  Change 2  grace  Push   Healthy after 5s
        Release 3 was on its way to the cluster, over the content of release 2.
        "#);
        let at = ago(2_000);
        insta::assert_snapshot!(plain(&text(&history().as_of(at), at, false)), @r#"
        RELEASE  AGE  COMMIT   SUBJECT   BY     CAUSE  OUTCOME
        2        16m  0000002  Change 2  grace  Push   Healthy after 5s
        In the cluster was the content of release 2.
        "#);
    }

    #[test]
    fn what_is_before_the_oldest_kept_release_is_not_known_and_said_why() {
        let error = unknown("shop", ago(3_500), &history());
        assert!(error.hints[0].starts_with("older releases are trimmed"), "{error}");
        assert!(history().as_of(ago(3_500)).is_empty());
    }
}
