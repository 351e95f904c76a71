//! `bowline get`: the applications, one a line.

use jiff::Timestamp;
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

use super::{
    CommandError, Connection, Output, at,
    moment::parse_past,
    output::{DataFormat, ListFormat},
    style,
    table::{Cell, Table},
    words,
};
use crate::api::Application;

/// Lists applications.
///
/// Revision, release, sync, health, since when it is so, and a note on what is
/// out of the ordinary.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// One application; all of the namespace if it is not given.
    #[arg(value_name = "APP")]
    pub application: Option<String>,
    /// The applications of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "application")]
    pub all_namespaces: bool,
    /// How APP stood at an earlier time: which release was current then, and
    /// how it went as far as was known. `2h` ago, or a time as in
    /// 2027-01-31T18:00:00Z or 2027-01-31.
    #[arg(long, value_name = "TIME", requires = "application", value_parser = parse_past)]
    pub at: Option<Timestamp>,
    /// Form of the output.
    #[arg(short, long, value_enum)]
    pub output: Option<ListFormat>,
}

/// How much of a note is shown.
const NOTE: usize = 90;

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    if let (Some(name), Some(time)) = (&args.application, args.at) {
        return at::run(&session, name, time, args.output, output).await;
    }
    let mut applications = match &args.application {
        Some(name) => vec![session.application(name).await?],
        None => session.list::<Application>(args.all_namespaces, ListParams::default()).await?,
    };
    applications.sort_by_key(|application| (application.namespace(), application.name_any()));
    match args.output {
        Some(ListFormat::Json) => {
            output.write_data(DataFormat::Json, &as_data(applications, args.application.is_some()))?
        }
        Some(ListFormat::Yaml) => {
            output.write_data(DataFormat::Yaml, &as_data(applications, args.application.is_some()))?
        }
        Some(ListFormat::Name) => {
            let names =
                applications.iter().map(|application| format!("application.bowline.dev/{}\n", application.name_any()));
            output.write(&names.collect::<String>())?;
        }
        None | Some(ListFormat::Wide) if applications.is_empty() => {
            let place = if args.all_namespaces {
                "any namespace".to_owned()
            } else {
                format!("namespace {}", session.namespace)
            };
            output.say(&format!("there is no Application in {place}"))?;
        }
        None | Some(ListFormat::Wide) => {
            let wide = args.output == Some(ListFormat::Wide);
            output.write(&table(&applications, args.all_namespaces, wide, Timestamp::now()))?;
        }
    }
    Ok(0)
}

/// One object as it is, several as a list, as kubectl has it.
fn as_data(mut applications: Vec<Application>, one: bool) -> serde_json::Value {
    for application in &mut applications {
        application.metadata.managed_fields = None;
    }
    match applications.first() {
        Some(first) if one => json!(first),
        _ => json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": applications }),
    }
}

/// The table.
pub fn table(applications: &[Application], namespaces: bool, wide: bool, now: Timestamp) -> String {
    let mut headings = vec!["NAME", "REVISION", "RELEASE", "SYNC", "HEALTH", "AGE"];
    if namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["OBJECTS", "REPOSITORY", "PATH"]);
    }
    headings.push("NOTE");
    let mut table = Table::new(headings);
    for application in applications {
        table.row(row(application, namespaces, wide, now));
    }
    table.render()
}

fn row(application: &Application, namespaces: bool, wide: bool, now: Timestamp) -> Vec<Cell> {
    let spec = &application.spec;
    let status = application.status.clone().unwrap_or_default();
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let revision = status.head.as_ref().map(|head| head.short.clone()).or_else(|| spec.source.revision.clone());
    let mut cells = vec![
        application.name_any().into(),
        or_dash(revision).into(),
        or_dash(status.release.as_ref().map(|release| release.number.to_string())).into(),
        status.sync.map_or("-".into(), |sync| Cell::painted(sync.as_str(), style::of_sync(sync))),
        status.health.map_or("-".into(), |health| Cell::painted(health.as_str(), style::of_health(health))),
        or_dash(since(application).map(|then| words::age(then, now))).into(),
    ];
    if namespaces {
        cells.insert(0, application.namespace().unwrap_or_default().into());
    }
    if wide {
        let counts = status.objects.as_ref().map(|objects| format!("{}/{}", objects.healthy, objects.total));
        cells.extend([or_dash(counts).into(), spec.source.repo_url.as_str().into(), spec.source.path.as_str().into()]);
    }
    let note = note(application);
    cells.push(if wide { note.into() } else { words::short_line(&note, NOTE).into() });
    cells
}

fn note(application: &Application) -> String {
    if application.metadata.deletion_timestamp.is_some() {
        return "is being deleted".to_owned();
    }
    match &application.status {
        None => "no controller has looked at it yet".to_owned(),
        Some(status) => status.note.clone(),
    }
}

/// Since when it has been as it is: since Ready changed last.
fn since(application: &Application) -> Option<Timestamp> {
    let conditions = application.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|condition| condition.last_transition_time.0).or_else(|| Some(application.creation_timestamp()?.0))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NOW, application, bundle, head, plain, ready, with_status},
        *,
    };
    use crate::{
        api::{ApplicationStatus, CurrentRelease, ObjectCounts, Phase, SyncStatus},
        health::HealthStatus,
    };

    fn release(number: u64) -> Option<CurrentRelease> {
        let phase = Phase::Healthy;
        Some(CurrentRelease { number, phase, commit: "c".into(), bundle: bundle("b"), applied: None, to_apply: None })
    }

    fn applications() -> Vec<Application> {
        let mut search = with_status("search", |status| {
            status.head = Some(head("v1.8.x v1.8.3", "Faster index"));
            status.release = release(7);
            status.sync = Some(SyncStatus::Syncing);
            status.health = Some(HealthStatus::Progressing);
            status.note = "37/40 applied, waiting for StatefulSet index (1/3)".into();
            status.conditions = vec![ready("Unknown", 12)];
        });
        search.metadata.namespace = Some("team-b".into());
        vec![
            with_status("billing", |status| {
                status.head = Some(head("main 51e0c3a", "x"));
                status.release = release(32);
                status.sync = Some(SyncStatus::Held);
                status.note = "9a77e10 was rolled back by ada: \"queue backs up\"".into();
                status.conditions = vec![ready("False", 7_300)];
            }),
            application("team-a", "new"),
            with_status("shop", |status: &mut ApplicationStatus| {
                status.release = release(12);
                status.objects = Some(ObjectCounts { total: 42, in_sync: 42, drifted: 0, healthy: 41 });
            }),
            search,
        ]
    }

    #[test]
    fn applications_are_listed_with_a_note_on_what_is_out_of_the_ordinary() {
        insta::assert_snapshot!(plain(&table(&applications(), true, false, NOW)), @r#"
        NAMESPACE  NAME     REVISION       RELEASE  SYNC     HEALTH       AGE  NOTE
        team-a     billing  main 51e0c3a   32       Held     Healthy      2h   9a77e10 was rolled back by ada: "queue backs up"
        team-a     new      main           -        -        -            1d   no controller has looked at it yet
        team-a     shop     main 4f1c2d9   12       Synced   Healthy      3m
        team-b     search   v1.8.x v1.8.3  7        Syncing  Progressing  12s  37/40 applied, waiting for StatefulSet index (1/3)
        "#);
    }

    #[test]
    fn the_wide_table_has_objects_and_source() {
        insta::assert_snapshot!(plain(&table(&applications()[2..3], false, true, NOW)), @r"
        NAME  REVISION      RELEASE  SYNC    HEALTH   AGE  OBJECTS  REPOSITORY                    PATH  NOTE
        shop  main 4f1c2d9  12       Synced  Healthy  3m   41/42    https://git.example/shop.git  .
        ");
    }

    #[test]
    fn one_application_is_an_object_and_several_are_a_list() {
        assert_eq!(as_data(applications(), true)["kind"], "Application");
        let list = as_data(applications(), false);
        assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("List"), Some(4)));
    }
}
