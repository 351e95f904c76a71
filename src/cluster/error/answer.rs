//! Reading an answer that is not a success.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use super::{About, RequestError, secrets};
use crate::plan::ServerError;

/// The longest message that is kept; a proxy may answer with a whole page.
const LONGEST_MESSAGE: usize = 2_000;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    kind: String,
    message: Option<String>,
    reason: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: Option<String>,
    kind: Option<String>,
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Cause {
    field: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

/// Makes an error of an answer. `secret` says that the request was about a
/// Secret, so that the server's words may hold its values.
pub fn from_answer(code: u16, headers: &HeaderMap, body: &[u8], secret: bool) -> RequestError {
    let parsed: Option<Status> = serde_json::from_slice(body).ok().filter(|status: &Status| status.kind == "Status");
    let is_status = parsed.is_some();
    let status = parsed.unwrap_or_default();
    let details = status.details.unwrap_or_default();
    let causes = details.causes.unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    let message = match status.message {
        Some(message) if !message.is_empty() => message,
        _ if is_status => format!("the server answered {code} without a message"),
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    };

    let mut fields: Vec<String> = causes.iter().filter_map(|cause| cause.field.clone()).collect();
    fields.extend(schema_fields(&message));
    fields.retain(|field| !field.is_empty() && field != "<nil>");
    fields.dedup();

    let conflict = causes.iter().any(|cause| cause.reason.as_deref() == Some("FieldManagerConflict"));
    let terminating = causes.iter().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"));
    let transient = is_transient(code, &message, conflict, terminating);
    let retry_after = headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
        .or(details.retry_after_seconds.filter(|seconds| *seconds > 0))
        .map(Duration::from_secs);

    let message = if secret { secrets::withhold(code, &reason, &message, &fields) } else { message };
    let about = is_status
        .then(|| Box::new(About { kind: details.kind.unwrap_or_default(), name: details.name.unwrap_or_default() }));
    RequestError {
        error: ServerError {
            code,
            reason: if conflict { "FieldManagerConflict".into() } else { reason },
            message: shorten(&message),
            fields,
            transient,
        },
        retry_after,
        about,
    }
}

/// Whether the apply was refused because other field managers own fields that
/// it would change.
pub fn is_field_manager_conflict(error: &ServerError) -> bool {
    error.code == 409 && error.reason == "FieldManagerConflict"
}

/// The admission webhook that has side effects, where the server refused a
/// dry-run for that: it says nothing about the object.
pub fn lacks_dry_run(error: &ServerError) -> Option<&str> {
    let (before, _) = error.message.split_once("does not support dry run")?;
    let name = before.split('"').nth(1).unwrap_or_default();
    (error.code == 400).then_some(name)
}

/// Messages of HTTP 500 that no repetition helps: the server could not make an
/// object of what we sent, or could not store it.
const PERMANENT_FAILURES: &[&str] = &[
    "failed to create typed patch object",
    "failed to create typed live object",
    "failed to convert new object",
    "etcdserver: request is too large",
    "trying to send message larger than max",
    "cannot be handled as a",
];

fn is_transient(code: u16, message: &str, conflict: bool, terminating: bool) -> bool {
    match code {
        500 => !PERMANENT_FAILURES.iter().any(|text| message.contains(text)),
        // A quota counts what others use, and they may go.
        403 => terminating || message.contains("exceeded quota"),
        409 => !conflict && !message.contains("already exists"),
        401 | 408 | 429 | 502 | 503 | 504 => true,
        _ => false,
    }
}

/// The fields that a schema error names in its text:
/// `failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.x: field not declared in schema`.
fn schema_fields(message: &str) -> Vec<String> {
    if !message.starts_with("failed to create typed") {
        return Vec::new();
    }
    let Some((_, rest)) = message.split_once("): ") else { return Vec::new() };
    rest.lines()
        .filter_map(|line| {
            let path = line.trim().strip_prefix('.')?;
            Some(path.split_once(": ")?.0.to_owned())
        })
        .collect()
}

/// Takes out the middle: a message begins with the object and ends with what
/// is wrong with it.
fn shorten(message: &str) -> String {
    let length = message.chars().count();
    if length <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let half = (LONGEST_MESSAGE - 1) / 2;
    let begin: String = message.chars().take(half).collect();
    let end: String = message.chars().skip(length - half).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn answer(code: u16, body: serde_json::Value) -> RequestError {
        from_answer(code, &HeaderMap::new(), &serde_json::to_vec(&body).unwrap(), false)
    }

    #[rstest]
    #[case(
        500,
        "failed to create typed patch object (a/b; /v1, Kind=ConfigMap): .dat: field not declared in schema",
        false
    )]
    #[case(500, "failed to convert new object (a/b; /v1, Kind=Secret) to smd typed: illegal base64", false)]
    #[case(500, "etcdserver: request is too large", false)]
    #[case(500, "Internal error occurred: failed calling webhook \"x\": connection refused", true)]
    #[case(429, "too many requests", true)]
    #[case(503, "the server is currently unable to handle the request", true)]
    #[case(403, "User \"x\" cannot patch resource \"pods\"", false)]
    #[case(403, "exceeded quota: small, requested: pods=1", true)]
    #[case(409, "the object has been modified", true)]
    #[case(409, "configmaps \"x\" already exists", false)]
    #[case(422, "spec.clusterIP: field is immutable", false)]
    fn an_error_is_transient_only_if_the_same_request_may_succeed_later(
        #[case] code: u16,
        #[case] message: &str,
        #[case] transient: bool,
    ) {
        let error = answer(code, json!({"kind": "Status", "message": message}));
        assert_eq!(error.error.transient, transient, "{message}");
    }

    #[test]
    fn fields_come_from_the_causes_and_from_the_text_of_schema_errors() {
        let error = answer(
            422,
            json!({"kind": "Status", "reason": "Invalid", "message": "no",
                "details": {"causes": [{"field": "spec.clusterIP", "reason": "FieldValueInvalid"}, {"field": "<nil>"}]}}),
        );
        assert_eq!(error.error.fields, ["spec.clusterIP"]);
        let error = answer(
            500,
            json!({"kind": "Status",
                "message": "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): errors:\n  .spec.replcas: field not declared in schema\n  .spec.x: expected string"}),
        );
        assert_eq!(error.error.fields, ["spec.replcas", "spec.x"]);
    }

    #[test]
    fn a_conflict_of_field_managers_is_told_from_a_stale_version() {
        let body = json!({"kind": "Status", "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".data.a"}]}});
        let error = answer(409, body);
        assert!(is_field_manager_conflict(&error.error));
        assert!(!error.error.transient);
    }

    #[test]
    fn a_webhook_that_cannot_take_part_in_a_dry_run_is_named() {
        let message = "admission webhook \"audit.example.com\" does not support dry run";
        let refused = |code, message: &str| answer(code, json!({"kind": "Status", "message": message})).error;
        assert_eq!(lacks_dry_run(&refused(400, message)), Some("audit.example.com"));
        assert_eq!(lacks_dry_run(&refused(400, "admission webhook \"a\" denied the request: no")), None);
    }

    #[test]
    fn an_absent_namespace_is_told_from_an_absent_object_and_an_absent_kind() {
        let namespace = answer(
            404,
            json!({"kind": "Status", "reason": "NotFound", "message": "namespaces \"gone\" not found",
                "details": {"name": "gone", "kind": "namespaces"}}),
        );
        assert_eq!(namespace.absent_namespace(), Some("gone"));
        let object = answer(
            404,
            json!({"kind": "Status", "message": "configmaps \"a\" not found", "details": {"name": "a", "kind": "configmaps"}}),
        );
        assert_eq!(object.absent_namespace(), None);
        assert!(!object.is_absent_path());
        let kind = from_answer(404, &HeaderMap::new(), b"404 page not found\n", false);
        assert!(kind.is_absent_path());
        assert_eq!(kind.error.message, "404 page not found");
    }

    #[test]
    fn the_time_to_wait_comes_from_the_header_or_from_the_details() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::RETRY_AFTER, "3".parse().unwrap());
        assert_eq!(from_answer(429, &headers, b"slow down", false).retry_after, Some(Duration::from_secs(3)));
        let error = answer(503, json!({"kind": "Status", "message": "no", "details": {"retryAfterSeconds": 5}}));
        assert_eq!(error.retry_after, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_page_as_an_answer_is_cut() {
        let page = "x".repeat(10_000);
        let error = from_answer(502, &HeaderMap::new(), page.as_bytes(), false);
        assert!(error.error.message.chars().count() <= LONGEST_MESSAGE + 1);
    }
}
