//! Policies and webhooks that stand between a plan and the cluster.

use std::time::{Duration, Instant};

use bowline::plan::{DryRun, Observation, Refusal, RefusalReason, Why};
use serde_json::{Value, json};

use crate::{
    whole::Application,
    world::{World, manifest},
};

/// What only the objects of the test's namespace match.
fn here(world: &World) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": world.namespace}})
}

/// The refusals of a plan, once the API server has taken up the policy or
/// webhook, which is a moment after it was made.
async fn refusals(app: &mut Application) -> Vec<Refusal> {
    let object = app.world.config_map("a", "1");
    let until = Instant::now() + Duration::from_secs(180);
    while !matches!(
        app.world.observe_one(&object, Why::New).await,
        Observation::Absent { dry_run: DryRun::Error(_) } | Observation::Unreadable(_)
    ) {
        assert!(Instant::now() < until, "it was never refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let other = manifest(json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s", "namespace": app.world.namespace}, "stringData": {"k": "v"}}));
    let plan = app.bring(&[&object, &other]).await;
    assert_eq!((app.world.live(&object).await, app.world.live(&other).await), (None, None), "nothing is written");
    plan.refusals
}

#[tokio::test]
async fn an_admission_policy_refuses_in_the_dry_run_and_is_named() {
    let mut app = Application::new(World::new().await);
    let name = format!("{}.example.com", app.world.namespace);
    app.world.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": here(&app.world), "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": "object.metadata.name == 'kube-root-ca.crt'", "message": "no more settings"}]}}));
    app.world.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}));
    let refusals = refusals(&mut app).await;
    app.world.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", &name]);
    let refusal = &refusals[0];
    assert_eq!((refusal.reason, refusal.transient), (RefusalReason::Invalid, false), "{refusal:?}");
    assert!(refusal.message.contains(&name) && refusal.message.contains("no more settings"), "{refusal:?}");
}

#[tokio::test]
async fn a_dead_webhook_that_must_be_asked_is_named_and_waited_for() {
    let mut app = Application::new(World::new().await);
    let name = format!("{}.example.com", app.world.namespace);
    app.world.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{"name": name, "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"], "namespaceSelector": here(&app.world),
            // The port discard, on which nothing listens.
            "clientConfig": {"url": "https://127.0.0.1:9/validate"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}]}));
    let refusals = refusals(&mut app).await;
    // What no rule of the webhook is about goes on.
    let secret = manifest(json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s", "namespace": app.world.namespace}, "stringData": {"k": "v"}}));
    let plan = app.bring(&[&secret]).await;
    app.world.kubectl(&["delete", "validatingwebhookconfiguration", &name]);
    let refusal = &refusals[0];
    assert_eq!((refusal.reason, refusal.transient), (RefusalReason::Unreadable, true), "{refusal:?}");
    assert!(refusal.message.contains(&format!("failed calling webhook \"{name}\"")), "{refusal:?}");
    assert!(refusal.hint.as_ref().unwrap().contains("failurePolicy"), "{refusal:?}");
    assert_eq!(plan.refusals, []);
}
