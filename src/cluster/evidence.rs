//! What stands behind an object that is not healthy: its pods, their events
//! and, for the command line, the end of a container's log.
//!
//! It is read only when there is something to explain, and within bounds: a
//! handful of requests, the newest and worst first. What cannot be read is
//! left out and said, since evidence never decides anything by itself.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Cluster, Identity, RequestError,
    client::{Call, path},
};

/// At most so many pods are read.
const MOST_PODS: usize = 20;
/// At most so many ReplicaSets or Jobs between an object and its pods.
const MOST_CHILDREN: usize = 10;
/// Of so many objects the events are asked for: the object itself first.
const MOST_SUBJECTS: usize = 6;
/// At most so many events of each.
const MOST_EVENTS: usize = 30;
/// At most so many bytes of a log.
const LONGEST_LOG: usize = 64 << 10;

/// What stands behind an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behind {
    /// Its pods, without their `managedFields`.
    pub pods: Vec<Value>,
    /// Events about the object, its ReplicaSets or Jobs, and its pods.
    pub events: Vec<Value>,
    /// Whether there are more pods than were read.
    pub cut: bool,
    /// What could not be read, if anything.
    pub problem: Option<String>,
}

/// Reads what stands behind an object: by its selector for a workload, by
/// ownership for a CronJob; for any other object only the events about it.
pub async fn behind(cluster: &Cluster, identity: &Identity, object: &Value) -> Behind {
    let mut behind = Behind::default();
    let Some(namespace) = text(object, "namespace") else {
        // Events about objects of the whole cluster are in `default`.
        let subjects = [object];
        read_events(cluster, identity, "default", &subjects, &mut behind).await;
        return behind;
    };
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let children = read_children(cluster, identity, namespace, kind, object, &mut behind).await;
    let mut pods = match selector(kind, object) {
        Some(selector) => {
            list(cluster, identity, &collection("", namespace, "pods"), &selector, MOST_PODS, &mut behind).await
        }
        None => Vec::new(),
    };
    // The unhealthy first, since only theirs and a few others' events are read.
    pods.sort_by_key(is_ready);
    let subjects: Vec<&Value> =
        std::iter::once(object).chain(children.iter().take(2)).chain(pods.iter()).take(MOST_SUBJECTS).collect();
    read_events(cluster, identity, namespace, &subjects, &mut behind).await;
    behind.pods = pods;
    behind
}

/// The end of a container's log; of its previous run where `previous` is set,
/// which is what explains a crash loop. Read with the caller's own rights.
pub async fn log_tail(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
    lines: u32,
) -> Result<String, RequestError> {
    let lines = lines.to_string();
    let limit = LONGEST_LOG.to_string();
    let mut query = vec![("container", container), ("tailLines", lines.as_str()), ("limitBytes", limit.as_str())];
    if previous {
        query.push(("previous", "true"));
    }
    let path = format!("{}/log", path::core(Some(namespace), "pods", pod)?);
    let mut call = Call::get(path::with_query(&path, &query), identity);
    call.accept = Some("*/*");
    let answer = cluster.read(call).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// ReplicaSets of a Deployment, and Jobs of a CronJob: events such as a quota
/// that refuses pods are about them. The newest come first.
async fn read_children(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    kind: &str,
    object: &Value,
    behind: &mut Behind,
) -> Vec<Value> {
    let (group, plural) = match kind {
        "Deployment" => ("apps", "replicasets"),
        "CronJob" => ("batch", "jobs"),
        _ => return Vec::new(),
    };
    let selector = selector(kind, object).unwrap_or_default();
    // Without a selector the owner decides, so more have to be looked at.
    let most = if selector.is_empty() { MOST_CHILDREN * 10 } else { MOST_CHILDREN };
    let mut children = list(cluster, identity, &collection(group, namespace, plural), &selector, most, behind).await;
    behind.cut = false;
    let uid = text(object, "uid");
    children.retain(|child| owner(child) == uid && uid.is_some());
    children.sort_by(|left, right| text(right, "creationTimestamp").cmp(&text(left, "creationTimestamp")));
    children.truncate(MOST_CHILDREN);
    children
}

async fn read_events(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    subjects: &[&Value],
    behind: &mut Behind,
) {
    for subject in subjects {
        let Some(uid) = text(subject, "uid") else { continue };
        let field = format!("involvedObject.uid={uid}");
        let limit = MOST_EVENTS.to_string();
        let query = [("fieldSelector", field.as_str()), ("limit", limit.as_str())];
        let path = path::with_query(&collection("", namespace, "events"), &query);
        match cluster.read(Call::get(path, identity)).await.and_then(|answer| answer.json::<List>()) {
            Ok(events) => behind.events.extend(events.into_items("v1", "Event")),
            Err(error) => note(behind, "events", &identity.advise(error.into(), Some(namespace)).message),
        }
    }
}

async fn list(
    cluster: &Cluster,
    identity: &Identity,
    path: &str,
    selector: &str,
    most: usize,
    behind: &mut Behind,
) -> Vec<Value> {
    let limit = most.to_string();
    let mut query = vec![("limit", limit.as_str())];
    if !selector.is_empty() {
        query.push(("labelSelector", selector));
    }
    let (api_version, kind) = match path.rsplit_once('/').map(|(_, plural)| plural) {
        Some("replicasets") => ("apps/v1", "ReplicaSet"),
        Some("jobs") => ("batch/v1", "Job"),
        _ => ("v1", "Pod"),
    };
    let answer = cluster.read(Call::get(path::with_query(path, &query), identity)).await;
    match answer.and_then(|answer| answer.json::<List>()) {
        Ok(list) => {
            behind.cut |= list.metadata.goes_on.as_deref().is_some_and(|token| !token.is_empty());
            list.into_items(api_version, kind)
        }
        Err(error) => {
            note(behind, kind, &error.error.message);
            Vec::new()
        }
    }
}

/// Keeps the first problem: the others are mostly the same one again.
fn note(behind: &mut Behind, what: &str, message: &str) {
    behind.problem.get_or_insert_with(|| format!("{what} could not be read: {message}"));
}

/// Items of a list lack what the list says for all of them.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    goes_on: Option<String>,
}

impl List {
    fn into_items(self, api_version: &str, kind: &str) -> Vec<Value> {
        let mut items = self.items;
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.insert("apiVersion".into(), api_version.into());
            item.insert("kind".into(), kind.into());
            if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        }
        items
    }
}

fn collection(group: &str, namespace: &str, plural: &str) -> String {
    // The namespace comes from a live object, so it is a valid segment.
    let namespace = path::segment(namespace).unwrap_or_default();
    match group {
        "" => format!("/api/v1/namespaces/{namespace}/{plural}"),
        group => format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"),
    }
}

/// The label selector of a workload, as a query has it. `None` where the kind
/// has no pods, or its selector would match everything.
fn selector(kind: &str, object: &Value) -> Option<String> {
    let selector = object.get("spec")?.get("selector")?.as_object()?;
    let terms = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "PodDisruptionBudget" => {
            let mut terms = equalities(selector.get("matchLabels").and_then(Value::as_object));
            let expressions = selector.get("matchExpressions").and_then(Value::as_array);
            for expression in expressions.into_iter().flatten() {
                terms.push(requirement(expression)?);
            }
            terms
        }
        "ReplicationController" | "Service" => equalities(Some(selector)),
        _ => return None,
    };
    (!terms.is_empty()).then(|| terms.join(","))
}

fn equalities(labels: Option<&Map<String, Value>>) -> Vec<String> {
    labels.into_iter().flatten().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect()
}

fn requirement(expression: &Value) -> Option<String> {
    let key = expression.get("key")?.as_str()?;
    let values: Vec<&str> =
        expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    Some(match expression.get("operator")?.as_str()? {
        "In" => format!("{key} in ({})", values.join(",")),
        "NotIn" => format!("{key} notin ({})", values.join(",")),
        "Exists" => key.to_owned(),
        "DoesNotExist" => format!("!{key}"),
        _ => return None,
    })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.get("status").and_then(|status| status.get("conditions")).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Ready")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

fn owner(object: &Value) -> Option<&str> {
    let owners = object.get("metadata")?.get("ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?.get("uid")?.as_str()
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("Deployment", json!({"matchLabels": {"app": "web", "tier": "front"}}), Some("app=web,tier=front"))]
    #[case("Job", json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}, {"key": "b", "operator": "DoesNotExist"}]}),
        Some("a in (1,2),!b"))]
    #[case("Service", json!({"app": "web"}), Some("app=web"))]
    #[case("Deployment", json!({}), None)]
    #[case("Deployment", json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}), None)]
    #[case("Widget", json!({"matchLabels": {"app": "web"}}), None)]
    fn pods_are_found_by_the_selector_and_never_by_an_empty_one(
        #[case] kind: &str,
        #[case] of: Value,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(selector(kind, &json!({"spec": {"selector": of}})).as_deref(), expected);
    }
}
