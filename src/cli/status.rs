//! `bowline status`: the whole answer to "why is it not what I pushed?".

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CommandError, Connection, Output,
    output::DataFormat,
    session::Session,
    status_text::{Facts, PodProblem, Unhealthy, status_text},
};
use crate::{
    api::ObjectProblem,
    cluster::{
        Cluster, Identity,
        client::{Call, path},
        discovery::ServedKind,
        evidence::{behind, log_tail},
    },
    health::{Evidence, HealthStatus, OwnChecks, assess},
    history::History,
    manifest::{GroupKind, is_built_in},
};

/// Says how an application stands, why, and what happens next.
///
/// The head, what is applied, what is held and by whom, each object that is
/// not healthy with its reason and the last line of its log. Pods, events and
/// logs are read with your own rights; what may not be read is named.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// Form of the output: the Application itself, for programs.
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
}

/// How many objects, and pods of each, are looked at closely.
const OBJECTS: usize = 5;
const PODS: usize = 3;

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let mut application = session.application(&args.application).await?;
    if let Some(format) = args.output {
        application.metadata.managed_fields = None;
        output.write_data(format, &json!(application))?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let (history, suspensions) =
        tokio::join!(session.history(&args.application), session.suspensions(&args.application, now));
    let mut unread = Vec::new();
    let mut or_unread = |error: CommandError| unread.push(error.error.lines().next().unwrap_or_default().to_owned());
    let history = history.map_err(&mut or_unread).unwrap_or_else(|()| History::default());
    let suspensions = suspensions.map_err(&mut or_unread).unwrap_or_default();
    let status = application.status.clone().unwrap_or_default();
    // What concerns no object stands in the note already.
    let told = |problem: &ObjectProblem| problem.object.is_empty() && status.note.contains(&problem.message);
    let problems: Vec<ObjectProblem> = status.problems.iter().filter(|problem| !told(problem)).cloned().collect();
    let checks = OwnChecks::of(&application.spec.health.checks);
    let objects = look_closely(&session, &checks, &problems, &mut unread).await;
    let facts = Facts { application, history, suspensions, objects, unread, program };
    output.write(&status_text(&facts, now))?;
    Ok(0)
}

/// Looks at the objects that the status names, with the caller's own rights.
async fn look_closely(
    session: &Session,
    checks: &OwnChecks,
    problems: &[ObjectProblem],
    unread: &mut Vec<String>,
) -> Vec<Unhealthy> {
    if problems.is_empty() {
        return Vec::new();
    }
    let cluster = session.cluster();
    if let Err(error) = cluster.discovery().ensure().await {
        unread.push(format!("what the cluster serves: {error}"));
    }
    let looked: Vec<(Unhealthy, Vec<String>)> = stream::iter(problems.iter().enumerate())
        .map(|(index, problem)| {
            let cluster = &cluster;
            async move {
                if index < OBJECTS { look(cluster, checks, problem).await } else { (as_told(problem), Vec::new()) }
            }
        })
        .buffered(4)
        .collect()
        .await;
    let mut objects = Vec::new();
    for (object, missing) in looked {
        objects.push(object);
        for text in missing {
            if !unread.contains(&text) {
                unread.push(text);
            }
        }
    }
    objects
}

/// What the status itself says of an object.
fn as_told(problem: &ObjectProblem) -> Unhealthy {
    Unhealthy {
        object: problem.object.clone(),
        health: problem.health,
        message: problem.message.clone(),
        pods: Vec::new(),
    }
}

async fn look(cluster: &Cluster, checks: &OwnChecks, problem: &ObjectProblem) -> (Unhealthy, Vec<String>) {
    let mut told = as_told(problem);
    // Only an unhealthy object has something behind it to be read.
    if problem.health.is_none_or(HealthStatus::lets_a_release_be_healthy) {
        return (told, Vec::new());
    }
    let Some((served, namespace, name)) = identify(&cluster.discovery().kinds(), &problem.object) else {
        return (told, Vec::new());
    };
    let own = Identity::Own;
    let object = match path::object(&served.resource, namespace.as_deref(), &name) {
        Ok(path) => cluster.read(Call::get(path, &own)).await.and_then(|answer| answer.json::<Value>()),
        Err(error) => Err(error),
    };
    let object = match object {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return (told, Vec::new()),
        Err(error) => return (told, vec![format!("{}: {error}", problem.object)]),
    };
    let evidence = behind(cluster, &own, &object).await;
    let mut unread: Vec<String> = evidence.problem.iter().cloned().collect();
    let view = Evidence {
        pods: Vec::new(),
        events: evidence.events.iter().collect(),
        status_subresource: Some(served.has_status),
    };
    // Pods are told line by line below, so the reason leaves them out.
    let health = checks.assess(&object, &view);
    if !health.status.lets_a_release_be_healthy() && !health.reason.is_empty() {
        told.health = Some(health.status);
        told.message = health.reason;
    }
    for pod in &evidence.pods {
        let health = assess(pod);
        if health.status == HealthStatus::Healthy || told.pods.len() >= PODS {
            continue;
        }
        let pod_name = text(pod, "/metadata/name");
        let last_line = match failing_container(pod) {
            Some((container, previous)) => {
                let namespace = text(pod, "/metadata/namespace");
                match log_tail(cluster, &own, &namespace, &pod_name, &container, previous, 20).await {
                    Ok(log) => last_line(&log),
                    Err(error) if error.error.code == 403 => {
                        unread.push(format!("logs: {}", error.error.message));
                        None
                    }
                    // A container that never ran has no log.
                    Err(_) => None,
                }
            }
            None => None,
        };
        told.pods.push(PodProblem { name: pod_name, health, last_line });
    }
    (told, unread)
}

/// The kind, namespace and name behind `Deployment team-a/web`. A kind of
/// Kubernetes itself comes before others that are called alike.
fn identify(kinds: &[ServedKind], object: &str) -> Option<(ServedKind, Option<String>, String)> {
    let (kind, place) = object.split_once(' ')?;
    let (namespace, name) = match place.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, place.to_owned()),
    };
    let (plain, group) = kind.split_once('.').map_or((kind, None), |(plain, group)| (plain, Some(group)));
    let mut served: Vec<&ServedKind> = kinds
        .iter()
        .filter(|served| served.resource.kind == plain && served.namespaced == namespace.is_some())
        .filter(|served| group.is_none_or(|group| served.resource.group == group))
        .collect();
    served.sort_by_key(|served| {
        let group_kind = GroupKind::new(served.resource.group.clone(), served.resource.kind.clone());
        (!is_built_in(&group_kind.group), served.resource.group.clone())
    });
    served.first().map(|served| ((*served).clone(), namespace, name))
}

/// The container whose log explains a pod's problem, and whether it is its
/// previous run that does.
fn failing_container(pod: &Value) -> Option<(String, bool)> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer).and_then(Value::as_array))
        .flatten();
    for status in statuses {
        let name = status.get("name").and_then(Value::as_str)?.to_owned();
        let done = status.pointer("/state/terminated/exitCode").and_then(Value::as_i64);
        if done.is_some_and(|code| code != 0) {
            return Some((name, false));
        }
        let restarted = status.pointer("/lastState/terminated").is_some();
        let ready = status.get("ready").and_then(Value::as_bool).unwrap_or(false);
        if restarted && status.pointer("/state/waiting").is_some() {
            return Some((name, true));
        }
        if !ready && status.pointer("/state/running").is_some() {
            return Some((name, false));
        }
    }
    None
}

fn last_line(log: &str) -> Option<String> {
    log.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use kube::discovery::ApiResource;
    use rstest::rstest;

    use super::*;

    fn served(group: &str, kind: &str, namespaced: bool) -> ServedKind {
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let resource = ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version,
            kind: kind.into(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        ServedKind { resource, namespaced, verbs: vec!["get".into()], has_status: true }
    }

    #[rstest]
    #[case("Deployment team-a/web", Some(("apps", Some("team-a"), "web")))]
    #[case("Service team-a/web", Some(("", Some("team-a"), "web")))]
    #[case("Service.serving.knative.dev team-a/web", Some(("serving.knative.dev", Some("team-a"), "web")))]
    #[case("Namespace web", Some(("", None, "web")))]
    #[case("Namespace team-a/web", None)]
    #[case("Gone team-a/web", None)]
    #[case("nonsense", None)]
    #[case("", None)]
    fn an_object_is_found_by_what_the_status_calls_it(
        #[case] object: &str,
        #[case] expected: Option<(&str, Option<&str>, &str)>,
    ) {
        let kinds = [
            served("serving.knative.dev", "Service", true),
            served("", "Service", true),
            served("apps", "Deployment", true),
            served("", "Namespace", false),
        ];
        let found = identify(&kinds, object);
        let found = found
            .as_ref()
            .map(|(served, namespace, name)| (served.resource.group.as_str(), namespace.as_deref(), name.as_str()));
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::crash_loop(json!({"name": "a", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 2}}}), Some(("a", true)))]
    #[case::ended_badly(json!({"name": "a", "ready": false, "state": {"terminated": {"exitCode": 1}}}), Some(("a", false)))]
    #[case::not_ready(json!({"name": "a", "ready": false, "state": {"running": {}}}), Some(("a", false)))]
    #[case::never_ran(json!({"name": "a", "ready": false, "state": {"waiting": {"reason": "ImagePullBackOff"}}}), None)]
    #[case::fine(json!({"name": "a", "ready": true, "state": {"running": {}}}), None)]
    #[case::nonsense(json!({"x": 1}), None)]
    fn the_log_that_explains_is_chosen(#[case] status: Value, #[case] expected: Option<(&str, bool)>) {
        let pod = json!({ "status": { "containerStatuses": [status] } });
        assert_eq!(failing_container(&pod), expected.map(|(name, previous)| (name.to_owned(), previous)));
    }

    #[test]
    fn the_last_line_that_says_something_counts() {
        assert_eq!(last_line("a\nb\n\n  \n").as_deref(), Some("b"));
        assert_eq!(last_line("\n"), None);
    }
}
