//! Who is to be asked about a field of a live object: for a field of ours, the
//! release that changed it last and where it is written; for any other, the
//! manager that the server recorded.
//!
//! What is known is what is in the cluster: the releases that are kept, their
//! content, and the lines of its fields. So a field that is older than the
//! oldest kept release is told as such, and its commit is that of the release,
//! which may be one of several between two releases that changed it.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::Release,
    manifest::Manifest,
    plan::ownership::{OwnedValue, managed_values, same_place_of},
};

/// A release that reached the cluster, and what it says of one object.
#[derive(Debug, Clone)]
pub struct Layer<'a> {
    /// The release.
    pub release: &'a Release,
    /// Its manifest of the object; none where it has none.
    pub manifest: Option<Arc<Manifest>>,
}

/// Who set a field of a live object.
#[derive(Debug, Clone, PartialEq)]
pub struct Blamed<'a> {
    /// The field: `spec.template.spec.containers[web].image`.
    pub path: String,
    /// Where it is in the live object, as a JSON pointer; none where it is
    /// owned and absent.
    pub pointer: Option<String>,
    /// Its live value.
    pub value: Option<&'a Value>,
    /// The manager that the server recorded, with the subresource that it
    /// wrote through: `kube-controller-manager (status)`.
    pub manager: String,
    /// For a field of ours, where it comes from.
    pub source: Option<Source<'a>>,
}

/// Where a field of ours comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source<'a> {
    /// A release brought the value that it has now.
    Release {
        /// The release.
        release: &'a Release,
        /// Whether an older one that is not known may have brought it already.
        or_earlier: bool,
        /// The file that it is written in now, and the line, where they are known.
        file: Option<String>,
        /// The line.
        line: Option<u32>,
    },
    /// The content of no release has it so: Bowline adds it, or it is on its way.
    Unwritten,
}

/// Blames each field of a live object that somebody owns, in the order of
/// managers and fields. `layers` are the releases that reached the cluster,
/// the oldest first; `whole` says that nothing before the first is missing.
pub fn blame<'a>(live: &'a Value, manager: &str, layers: &[Layer<'a>], whole: bool) -> Vec<Blamed<'a>> {
    // A manifest is kept as text: it is read once for all fields.
    let read = |layer: &Layer<'_>| Some(layer.manifest.as_ref()?.value.read().into_owned());
    let contents: Vec<Option<Value>> = layers.iter().map(read).collect();
    let known = Known { layers, contents: &contents, whole };
    let mut found = Vec::new();
    for managed in managed_values(live) {
        let ours = managed.manager == manager && managed.subresource.is_empty();
        for owned in managed.values {
            let source = ours.then(|| source(live, &owned, &known));
            let manager = match managed.subresource {
                "" => managed.manager.to_owned(),
                subresource => format!("{} ({subresource})", managed.manager),
            };
            found.push(Blamed { path: owned.path, pointer: owned.pointer, value: owned.value, manager, source });
        }
    }
    found.sort_by(|one, other| (&one.path, &one.manager).cmp(&(&other.path, &other.manager)));
    found
}

/// What the releases say of the object, and whether that is all there was.
struct Known<'k, 'a> {
    layers: &'k [Layer<'a>],
    /// The content of the manifest of each layer.
    contents: &'k [Option<Value>],
    whole: bool,
}

fn source<'a>(live: &Value, owned: &OwnedValue<'_>, known: &Known<'_, 'a>) -> Source<'a> {
    let Known { layers, contents, whole } = *known;
    let values: Vec<Option<(&Value, String)>> = contents
        .iter()
        .map(|content| {
            let content = content.as_ref()?;
            let place = same_place_of(live, content, owned.pointer.as_deref()?);
            content.pointer(&place).map(|found| (found, place))
        })
        .collect();
    // A newer release may not have come to this object. What the server keeps
    // otherwise than it was written is taken to be of the newest.
    let is_live =
        |found: &Option<(&Value, String)>| found.as_ref().is_some_and(|(value, _)| Some(*value) == owned.value);
    let Some(from) = values.iter().rposition(is_live).or(values.len().checked_sub(1)) else {
        return Source::Unwritten;
    };
    let Some((value, place)) = &values[from] else { return Source::Unwritten };
    let same = |found: &&Option<(&Value, String)>| found.as_ref().is_some_and(|(older, _)| older == value);
    let first = from + 1 - values[..=from].iter().rev().take_while(same).count();
    let manifest = layers[from].manifest.as_ref();
    Source::Release {
        release: layers[first].release,
        or_earlier: first == 0 && !whole,
        file: manifest.and_then(|manifest| Some(manifest.origin.as_ref()?.file.clone())),
        line: manifest.and_then(|manifest| manifest.line_of(place)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{super::story::story, *};
    use crate::{
        history::History,
        manifest::{Origin, Scope, yaml},
    };

    const OURS: &str = "bowline/team-a/shop";

    /// The manifest of a Deployment with some replicas and an image; `above` is
    /// how many lines stand above it in its file.
    fn manifest(replicas: u32, image: &str, above: usize) -> Arc<Manifest> {
        let comment = "# A line.\n".repeat(above);
        let text = format!(
            "{comment}apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {replicas}\n  template:\n    spec:\n      containers:\n      - name: web\n        image: {image}\n"
        );
        let (documents, _) = yaml::read_documents("web.yaml", text.as_bytes(), &yaml::Limits::default());
        let document = documents.into_iter().next().unwrap();
        let origin = Some(Origin::new("web.yaml", Some(document.position)));
        let read = Manifest::read(document.value, Some("team-a"), Scope::Namespaced, origin, Some(&document.positions));
        Arc::new(read.unwrap())
    }

    /// As the server has it, with a container that an injector put before ours.
    fn live(replicas: u32, image: &str) -> Value {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>, fields: Value| {
            let mut entry = json!({
                "manager": manager, "operation": operation, "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1", "fieldsV1": fields,
            });
            if let Some(subresource) = subresource {
                entry["subresource"] = json!(subresource);
            }
            entry
        };
        let container = |fields: Value| json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": fields } } } });
        let mut ours = container(json!({ "k:{\"name\":\"web\"}": { ".": {}, "f:name": {}, "f:image": {} } }));
        ours["f:spec"]["f:replicas"] = json!({});
        ours["f:metadata"] = json!({ "f:labels": { "f:bowline.dev/set": {} } });
        let injected = container(json!({ "k:{\"name\":\"proxy\"}": { "f:image": {} } }));
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "team-a", "labels": { "bowline.dev/set": "abc" },
                "managedFields": [
                    entry(OURS, "Apply", None, ours),
                    entry("injector", "Update", None, injected),
                    entry("kube-controller-manager", "Update", Some("status"), json!({ "f:status": { "f:replicas": {} } })),
                ],
            },
            "spec": {
                "replicas": replicas,
                "template": { "spec": { "containers": [
                    { "name": "proxy", "image": "proxy:1" }, { "name": "web", "image": image },
                ] } },
            },
            "status": { "replicas": replicas },
        })
    }

    fn told(live: &Value, history: &History, manifests: &[Option<Arc<Manifest>>], whole: bool) -> String {
        let layers: Vec<Layer<'_>> = history
            .iter()
            .zip(manifests)
            .map(|(release, manifest)| Layer { release, manifest: manifest.clone() })
            .collect();
        let told = blame(live, OURS, &layers, whole).into_iter().map(|blamed| {
            let source = match blamed.source {
                None => String::new(),
                Some(Source::Unwritten) => " added".to_owned(),
                Some(Source::Release { release, or_earlier, file, line }) => {
                    let line = line.map(|line| line.to_string()).unwrap_or_default();
                    let earlier = if or_earlier { " or earlier" } else { "" };
                    format!(" release {}{earlier} {}:{line}", release.spec.number, file.unwrap_or_default())
                }
            };
            format!("{} {}{source}", blamed.path, blamed.manager)
        });
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_field_has_its_manager_and_ours_the_release_and_line() {
        let history = story().push("A").healthy().push("B").healthy().push("C").healthy().history();
        let manifests = [manifest(1, "web:1", 0), manifest(4, "web:1", 0), manifest(4, "web:1", 3)].map(Some);
        insta::assert_snapshot!(told(&live(4, "web:1"), &history, &manifests, true), @r"
        metadata.labels[bowline.dev/set] bowline/team-a/shop added
        spec.replicas bowline/team-a/shop release 2 web.yaml:9
        spec.template.spec.containers[proxy].image injector
        spec.template.spec.containers[web].image bowline/team-a/shop release 1 web.yaml:14
        spec.template.spec.containers[web].name bowline/team-a/shop release 1 web.yaml:13
        status.replicas kube-controller-manager (status)
        ");
    }

    #[test]
    fn a_release_that_did_not_come_to_the_object_is_not_blamed() {
        let history = story().push("A").healthy().push("B").healthy().history();
        let manifests = [manifest(1, "web:1", 0), manifest(4, "web:1", 2)].map(Some);
        let told = told(&live(1, "web:1"), &history, &manifests, true);
        assert!(told.contains("spec.replicas bowline/team-a/shop release 1 web.yaml:6"), "{told}");
    }

    #[test]
    fn what_the_server_keeps_otherwise_is_of_the_newest_release_that_brought_it() {
        let history = story().push("A").healthy().push("B").healthy().history();
        let manifests = [manifest(1, "web:1", 0), manifest(4, "web:1", 2)].map(Some);
        let told = told(&live(7, "web:1"), &history, &manifests, true);
        assert!(told.contains("spec.replicas bowline/team-a/shop release 2 web.yaml:8"), "{told}");
    }

    #[test]
    fn what_is_older_than_the_oldest_kept_release_is_told_so() {
        let mut history = story().push("A").healthy().push("B").healthy().push("C").healthy().history();
        history.forget(1);
        let manifests = [manifest(1, "web:1", 0), manifest(4, "web:1", 0)].map(Some);
        let told = told(&live(4, "web:1"), &history, &manifests, false);
        assert!(told.contains("spec.replicas bowline/team-a/shop release 3 web.yaml:6"), "{told}");
        assert!(told.contains("[web].image bowline/team-a/shop release 2 or earlier"), "{told}");
    }

    #[test]
    fn a_rollback_is_who_brought_the_old_value_back() {
        let history = story().push("A").healthy().push("B").failed().automatic_rollback_to(1).healthy().history();
        let manifests = [manifest(1, "web:1", 0), manifest(4, "web:1", 0), manifest(1, "web:1", 0)].map(Some);
        let told = told(&live(1, "web:1"), &history, &manifests, true);
        assert!(told.contains("spec.replicas bowline/team-a/shop release 3 web.yaml:6"), "{told}");
        assert!(told.contains("[web].image bowline/team-a/shop release 1 web.yaml:11"), "{told}");
    }

    #[test]
    fn an_object_that_went_and_came_back_is_of_the_release_that_brought_it_back() {
        let history = story().push("A").healthy().push("B").healthy().push("C").healthy().history();
        let manifests = [Some(manifest(1, "web:1", 0)), None, Some(manifest(1, "web:1", 0))];
        let told = told(&live(1, "web:1"), &history, &manifests, true);
        assert!(told.contains("spec.replicas bowline/team-a/shop release 3 web.yaml:6"), "{told}");
    }
}
