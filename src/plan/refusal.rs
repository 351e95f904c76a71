//! What an error of the API server means for a plan, in words that name the
//! field and what to do.

use serde_json::Value;

use super::{
    Refusal, RefusalReason, ServerError,
    diff::{Difference, asked},
    settle::REPLACE,
};
use crate::manifest::ObjectId;

/// What was tried when the error came.
pub(super) struct Tried<'a> {
    pub(super) id: &'a ObjectId,
    pub(super) live: Option<&'a Value>,
    pub(super) body: Option<&'a Value>,
    pub(super) manager: &'a str,
}

/// Values in messages are cut at this many characters.
const LONGEST_VALUE: usize = 80;

/// Messages of the server that mean that a field cannot be changed.
const IMMUTABLE: &[&str] = &[
    "immutable",
    "may not be changed",
    "may not change",
    "cannot be changed",
    "can not be changed",
    "cannot change",
    "can not be less than",
    "cannot be updated",
    "forbidden: updates to",
    "updates to statefulset spec",
    "only dynamically provisioned pvc can be resized",
];

/// Fields of a kind that can be changed although the rest of its spec cannot:
/// the server names only the spec.
const CHANGEABLE: &[(&str, &[&str])] = &[
    (
        "StatefulSet",
        &[
            "spec.replicas",
            "spec.ordinals",
            "spec.template",
            "spec.updateStrategy",
            "spec.revisionHistoryLimit",
            "spec.persistentVolumeClaimRetentionPolicy",
            "spec.minReadySeconds",
        ],
    ),
    ("PersistentVolumeClaim", &["spec.resources.requests", "spec.volumeAttributesClassName"]),
    (
        "Pod",
        &[
            "spec.containers.image",
            "spec.initContainers.image",
            "spec.activeDeadlineSeconds",
            "spec.tolerations",
            "spec.terminationGracePeriodSeconds",
        ],
    ),
];

/// Fields that the server names where the manifest sets another one.
const MEANT: &[(&str, &str)] = &[("spec.clusterIPs", "spec.clusterIP")];

/// The refusal that an error means.
pub(super) fn of_error(error: &ServerError, tried: &Tried<'_>) -> Refusal {
    let refusal = |reason, message: String, hint: Option<String>, transient| Refusal {
        reason,
        object: Some(tried.id.clone()),
        message,
        hint,
        transient,
    };
    let said = error.message.to_lowercase();
    let changes_something = tried.live.is_some();
    if said.contains("because it is being terminated") || said.contains("object is being deleted") {
        let message = format!("cannot be written now: {}", error.message);
        return refusal(RefusalReason::Terminating, message, None, true);
    }
    if changes_something && matches!(error.code, 422 | 403) && IMMUTABLE.iter().any(|text| said.contains(text)) {
        return immutable(error, tried);
    }
    if error.code == 403 {
        return refusal(RefusalReason::Forbidden, error.message.clone(), forbidden_hint(&error.message), false);
    }
    if error.code == 404 && said.starts_with("namespaces ") {
        return namespace_absent(tried.id);
    }
    if error.transient || error.code == 0 {
        let message = format!("could not be tried: {}", error.message);
        let hint = error.message.contains("failed calling webhook").then(|| {
            "see to what serves the webhook; its configuration has failurePolicy: Fail, so that nothing passes without it"
                .to_owned()
        });
        return refusal(RefusalReason::Unreadable, message, hint, true);
    }
    if error.code == 409 {
        let hint = "let the other manager give the field up, or leave the field out with sync.ignore".to_owned();
        return refusal(RefusalReason::OwnedByOther, error.message.clone(), Some(hint), false);
    }
    let fields = if error.fields.is_empty() || error.fields.iter().any(|field| error.message.contains(field)) {
        String::new()
    } else {
        format!(" ({})", error.fields.join(", "))
    };
    refusal(RefusalReason::Invalid, format!("{}{fields}", error.message), None, false)
}

/// The refusal of an object whose namespace does not exist.
pub(super) fn namespace_absent(id: &ObjectId) -> Refusal {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    Refusal {
        reason: RefusalReason::NamespaceAbsent,
        object: Some(id.clone()),
        message: format!("the namespace {namespace} does not exist"),
        hint: Some(format!(
            "add a Namespace manifest, set destination.createNamespace: true, or run `kubectl create namespace {namespace}`"
        )),
        transient: false,
    }
}

/// The refusal of an object that was not looked at, which only a mistake
/// brings about: it is tried again rather than taken for absent.
pub(super) fn not_observed(id: &ObjectId) -> Refusal {
    let error = ServerError {
        code: 0,
        reason: String::new(),
        message: "it was not looked at".to_owned(),
        fields: Vec::new(),
        transient: true,
    };
    unreadable(id, &error)
}

/// The refusal of an object that could not be read.
pub(super) fn unreadable(id: &ObjectId, error: &ServerError) -> Refusal {
    if error.code == 403 {
        return Refusal {
            reason: RefusalReason::Forbidden,
            object: Some(id.clone()),
            message: format!("cannot be read: {}", error.message),
            hint: forbidden_hint(&error.message),
            transient: false,
        };
    }
    Refusal {
        reason: RefusalReason::Unreadable,
        object: Some(id.clone()),
        message: format!("could not be read, which does not mean that it is absent: {}", error.message),
        hint: None,
        transient: true,
    }
}

fn immutable(error: &ServerError, tried: &Tried<'_>) -> Refusal {
    let changes: Vec<Difference> = match (tried.live, tried.body) {
        (Some(live), Some(body)) => asked(live, body, tried.manager),
        _ => Vec::new(),
    };
    let is_named = |change: &&Difference| {
        error.fields.iter().any(|field| {
            let meant = MEANT.iter().find(|(named, _)| is_within(field, named)).map(|(_, meant)| *meant);
            is_within(&change.path, field) || meant.is_some_and(|meant| is_within(&change.path, meant))
        })
    };
    let mut named: Vec<&Difference> = changes.iter().filter(is_named).collect();
    if named.is_empty() && error.fields.is_empty() {
        named = changes.iter().filter(|change| is_within(&change.path, "spec")).collect();
    }
    let changeable = CHANGEABLE.iter().find(|(kind, _)| *kind == tried.id.kind).map_or(&[][..], |(_, fields)| fields);
    let fixed = |change: &&&Difference| !changeable.iter().any(|field| is_within(&change.path, field));
    // Where all that is asked for can be changed in general, it cannot here: a
    // claim that is not bound, for example.
    let fixed: Vec<&Difference> = named.iter().filter(fixed).copied().collect();
    let shown = if fixed.is_empty() { named } else { fixed };
    let secret = tried.id.group.is_empty() && tried.id.kind == "Secret";
    let message = if shown.is_empty() {
        let fields = if error.fields.is_empty() { "a field".to_owned() } else { error.fields.join(", ") };
        // The server's own words may hold the value of a Secret's field.
        if secret {
            format!("{fields} cannot be changed")
        } else {
            format!("{fields} cannot be changed: {}", first_line(&error.message))
        }
    } else {
        let changes: Vec<String> = shown
            .iter()
            .map(|change| {
                if secret {
                    return change.path.clone();
                }
                format!("{}: {} → {}", change.path, short(change.before.as_ref()), short(change.after.as_ref()))
            })
            .collect();
        format!("cannot be changed: {}", changes.join("; "))
    };
    Refusal {
        reason: RefusalReason::Immutable,
        object: Some(tried.id.clone()),
        message,
        hint: Some(immutable_hint(tried.id)),
        transient: false,
    }
}

/// Whether a path is a field that the server named, or beneath it. The server
/// writes list items by their place (`containers[0]`), a path by their name.
fn is_within(path: &str, field: &str) -> bool {
    let plain = |text: &str| {
        let mut depth = 0;
        text.chars()
            .filter(|c| {
                depth += i32::from(*c == '[');
                let outside = depth == 0;
                depth -= i32::from(*c == ']');
                outside
            })
            .collect::<String>()
    };
    let (path, field) = (plain(path), plain(field));
    path.strip_prefix(&field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The server follows some refusals with a dump of the whole object.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn short(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    text.chars().take(LONGEST_VALUE).chain(['…']).collect()
}

fn immutable_hint(id: &ObjectId) -> String {
    match id.kind.as_str() {
        "Job" => format!(
            "a Job runs once: give it a new name, or annotate it {REPLACE}: \"true\" and it is deleted and run again"
        ),
        "PersistentVolumeClaim" => "bring the value back, or move the content to a claim of another name".to_owned(),
        "Namespace" | "CustomResourceDefinition" | "PersistentVolume" => "bring the value back".to_owned(),
        "StatefulSet" => format!(
            "bring the value back, or run `{}`: its pods and claims stay, and it is created anew",
            kubectl_delete(id, " --cascade=orphan")
        ),
        _ => format!("bring the value back, or annotate it {REPLACE}: \"true\" to have it deleted and made anew"),
    }
}

fn kubectl_delete(id: &ObjectId, options: &str) -> String {
    format!("kubectl delete {}{options}", kubectl_object(id))
}

/// An object as arguments of kubectl: `-n team-a deployment.apps web`.
pub(super) fn kubectl_object(id: &ObjectId) -> String {
    let kind = id.kind.to_lowercase();
    let kind = if id.group.is_empty() { kind } else { format!("{kind}.{}", id.group) };
    match &id.namespace {
        Some(namespace) => format!("-n {namespace} {kind} {}", id.name),
        None => format!("{kind} {}", id.name),
    }
}

/// What would help against a 403, from the server's message: `… User
/// "system:serviceaccount:ns:name" cannot patch resource "deployments" in API
/// group "apps" in the namespace "ns"`.
fn forbidden_hint(message: &str) -> Option<String> {
    if message.contains("attempting to grant RBAC permissions not currently held") {
        return Some(
            "a ServiceAccount can only grant what it holds: give it those rights first, or the verb `escalate`"
                .to_owned(),
        );
    }
    if message.contains("exceeded quota") {
        return Some("raise the ResourceQuota of the namespace, or ask for less".to_owned());
    }
    if message.contains("violates PodSecurity") {
        return Some("meet the namespace's pod security level, or change its label".to_owned());
    }
    let after = |text: &str| {
        let rest = message.split_once(text)?.1;
        Some(rest.split_once('"').map_or(rest, |(value, _)| value))
    };
    let resource = after("resource \"")?;
    let user = after("User \"")?;
    let group = after("in API group \"").unwrap_or_default();
    let what = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let whom = match user.strip_prefix("system:serviceaccount:") {
        Some(account) => format!("--serviceaccount={account}"),
        None => format!("--user={user}"),
    };
    let verbs = "--verb=get,create,patch,delete";
    let name = format!("bowline-{}", resource.replace('/', "-"));
    // A namespace is asked for as if it lay in itself; no Role lies in one that
    // does not exist.
    let within = after("in the namespace \"").filter(|_| resource != "namespaces");
    Some(match within {
        Some(namespace) => format!(
            "grant it: `kubectl create role {name} -n {namespace} {verbs} --resource={what}` and \
             `kubectl create rolebinding {name} -n {namespace} --role={name} {whom}`"
        ),
        None => format!(
            "grant it: `kubectl create clusterrole {name} {verbs} --resource={what}` and \
             `kubectl create clusterrolebinding {name} --clusterrole={name} {whom}`"
        ),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::{MANAGER, deployment, manifest};

    fn error(code: u16, message: &str, fields: &[&str]) -> ServerError {
        ServerError {
            code,
            reason: String::new(),
            message: message.into(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            transient: code >= 500 || code == 429,
        }
    }

    fn refusal(error: &ServerError) -> Refusal {
        let live = deployment();
        let mut body = live.clone();
        body["spec"]["selector"]["matchLabels"]["app"] = json!("other");
        body["spec"]["replicas"] = json!(9);
        let id = manifest(live.clone()).id.clone();
        of_error(error, &Tried { id: &id, live: Some(&live), body: Some(&body), manager: MANAGER })
    }

    #[rstest]
    #[case(
        422,
        r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: …: field is immutable"#,
        RefusalReason::Immutable
    )]
    #[case(
        422,
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
        RefusalReason::Immutable
    )]
    #[case(422, r#"spec.replicas: Invalid value: -1: must be greater than or equal to 0"#, RefusalReason::Invalid)]
    #[case(400, "unknown field", RefusalReason::Invalid)]
    #[case(
        403,
        r#"deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments""#,
        RefusalReason::Forbidden
    )]
    #[case(
        403,
        "unable to create new content in namespace x because it is being terminated",
        RefusalReason::Terminating
    )]
    #[case(409, "object is being deleted: deployments.apps \"web\" already exists", RefusalReason::Terminating)]
    #[case(409, "Apply failed with 1 conflict", RefusalReason::OwnedByOther)]
    #[case(404, r#"namespaces "team-a" not found"#, RefusalReason::NamespaceAbsent)]
    #[case(503, "no endpoints", RefusalReason::Unreadable)]
    #[case(0, "connection refused", RefusalReason::Unreadable)]
    fn an_error_has_one_meaning(#[case] code: u16, #[case] message: &str, #[case] expected: RefusalReason) {
        let refusal = refusal(&error(code, message, &[]));
        assert_eq!(refusal.reason, expected);
        assert_eq!(refusal.transient, expected.is_transient());
    }

    #[test]
    fn an_immutable_field_is_named_with_both_values() {
        let refusal = refusal(&error(422, "field is immutable", &["spec.selector"]));
        assert_eq!(refusal.message, r#"cannot be changed: spec.selector.matchLabels.app: "web" → "other""#);
        assert_eq!(
            refusal.hint.as_deref(),
            Some("bring the value back, or annotate it bowline.dev/replace: \"true\" to have it deleted and made anew")
        );
    }

    /// Refusals of an API server (1.37.2), with the fields that it named.
    #[rstest]
    #[case::stateful_set(
        "apps/v1", "StatefulSet", json!({"serviceName": "a"}), json!({"serviceName": "b"}),
        r#"StatefulSet.apps "imm" is invalid: spec.serviceName: Invalid value: "b": field is immutable"#, "spec.serviceName",
        r#"cannot be changed: spec.serviceName: "a" → "b""#)]
    #[case::claim(
        "v1", "PersistentVolumeClaim",
        json!({"storageClassName": "a", "resources": {"requests": {"storage": "2Gi"}}}),
        json!({"storageClassName": "b", "resources": {"requests": {"storage": "1Gi"}}}),
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        "spec", r#"cannot be changed: spec.storageClassName: "a" → "b""#)]
    #[case::unbound_claim(
        "v1", "PersistentVolumeClaim",
        json!({"resources": {"requests": {"storage": "2Gi"}}}), json!({"resources": {"requests": {"storage": "1Gi"}}}),
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        "spec", r#"cannot be changed: spec.resources.requests.storage: "2Gi" → "1Gi""#)]
    #[case::service(
        "v1", "Service", json!({"clusterIP": "10.96.77.7", "clusterIPs": ["10.96.77.7"]}), json!({"clusterIP": "10.96.77.8"}),
        r#"spec.clusterIPs[0]: Invalid value: ["10.96.77.8"]: may not change once set"#, "spec.clusterIPs[0]",
        r#"cannot be changed: spec.clusterIP: "10.96.77.7" → "10.96.77.8""#)]
    #[case::job(
        "batch/v1", "Job",
        json!({"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}),
        json!({"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}),
        "spec.template: Invalid value: {}: field is immutable", "spec.template",
        r#"cannot be changed: spec.template.spec.containers[a].image: "a" → "b""#)]
    #[case::pod(
        "v1", "Pod",
        json!({"containers": [{"name": "a", "image": "a", "command": ["a"]}]}),
        json!({"containers": [{"name": "a", "image": "b", "command": ["b"]}]}),
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`", "spec",
        r#"cannot be changed: spec.containers[a].command: ["a"] → ["b"]"#)]
    #[case::not_to_be_found(
        "v1", "Pod", json!({}), json!({}), "x: field is immutable\n@@ -6,11 +6,11 @@", "x",
        "x cannot be changed: x: field is immutable")]
    fn what_the_server_says_becomes_the_field_that_was_changed(
        #[case] version: &str,
        #[case] kind: &str,
        #[case] live: Value,
        #[case] body: Value,
        #[case] message: &str,
        #[case] field: &str,
        #[case] expected: &str,
    ) {
        let object = |spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "imm", "namespace": "n"}, "spec": spec});
        let (live, body) = (object(live), object(body));
        let id = manifest(live.clone()).id.clone();
        let tried = Tried { id: &id, live: Some(&live), body: Some(&body), manager: MANAGER };
        let refusal = of_error(&error(422, message, &[field]), &tried);
        assert_eq!((refusal.reason, refusal.message.as_str()), (RefusalReason::Immutable, expected));
    }

    #[test]
    fn a_secret_is_refused_without_its_values() {
        let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "data": {"k": value}});
        let (live, body) = (secret("b2xk"), secret("bmV3"));
        let id = manifest(live.clone()).id.clone();
        let tried = Tried { id: &id, live: Some(&live), body: Some(&body), manager: MANAGER };
        for fields in [&["data"][..], &["type"][..]] {
            let message = of_error(&error(422, "data: field is immutable: bmV3", fields), &tried).message;
            assert!(!message.contains("b2xk") && !message.contains("bmV3"), "{message}");
        }
    }

    #[rstest]
    #[case(
        r#"x is forbidden: User "system:serviceaccount:team-a:bowline-deployer" cannot patch resource "deployments" in API group "apps" in the namespace "shop""#,
        "grant it: `kubectl create role bowline-deployments -n shop --verb=get,create,patch,delete --resource=deployments.apps` and `kubectl create rolebinding bowline-deployments -n shop --role=bowline-deployments --serviceaccount=team-a:bowline-deployer`"
    )]
    #[case(
        r#"x is forbidden: User "system:serviceaccount:team-a:bowline-deployer" cannot create resource "namespaces" in API group "" at the cluster scope"#,
        "grant it: `kubectl create clusterrole bowline-namespaces --verb=get,create,patch,delete --resource=namespaces` and `kubectl create clusterrolebinding bowline-namespaces --clusterrole=bowline-namespaces --serviceaccount=team-a:bowline-deployer`"
    )]
    fn a_missing_right_comes_with_the_commands_that_grant_it(#[case] message: &str, #[case] hint: &str) {
        assert_eq!(refusal(&error(403, message, &[])).hint.as_deref(), Some(hint));
    }

    #[rstest]
    #[case("spec.template.spec.containers[web].image", "spec.template.spec.containers[0].image", true)]
    #[case("spec.selector.matchLabels[a.b/c]", "spec.selector", true)]
    #[case("spec.selectors", "spec.selector", false)]
    fn a_path_is_within_a_field_that_the_server_names(#[case] path: &str, #[case] field: &str, #[case] expected: bool) {
        assert_eq!(is_within(path, field), expected);
    }
}
