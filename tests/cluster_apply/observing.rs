//! What observing finds out.

use std::{sync::Arc, time::Duration};

use bowline::{
    cluster::{Cluster, ConnectOptions, observe::observe},
    plan::{Candidate, DryRun, Observation, Why},
};
use serde_json::json;

use crate::world::{World, manifest, proposal, refusal};

#[tokio::test]
async fn an_absent_object_is_absent_and_its_creation_is_tried() {
    let world = World::new().await;
    for why in [Why::New, Why::Gone] {
        let observation = world.observe_one(&world.config_map("a", "1"), why).await;
        let Observation::Absent { dry_run: DryRun::Would(would) } = observation else { panic!("{observation:?}") };
        assert_eq!(*would, json!(null), "what would be made is what the manifest says");
    }
    assert_eq!(world.live(&world.config_map("a", "1")).await, None, "a dry-run writes nothing");
}

#[tokio::test]
async fn a_live_object_is_returned_whole_with_the_dry_run_of_its_update() {
    let world = World::new().await;
    world.applied(&world.config_map("a", "1")).await;
    for why in [Why::Changed, Why::New] {
        let observation = world.observe_one(&world.config_map("a", "2"), why).await;
        let Observation::Live { object, dry_run: DryRun::Would(would) } = observation else {
            panic!("{observation:?}")
        };
        assert_eq!((&object["data"]["key"], &would["data"]["key"]), (&json!("1"), &json!("2")));
        assert_eq!(object["metadata"]["uid"], would["metadata"]["uid"]);
        assert!(would["metadata"]["managedFields"].is_array(), "the entries of an update are kept");
    }
}

#[tokio::test]
async fn without_preflight_the_object_is_read_and_nothing_is_tried() {
    let mut world = World::new().await;
    world.policy.preflight = false;
    let absent = world.observe_one(&world.config_map("a", "1"), Why::New).await;
    assert_eq!(absent, Observation::Absent { dry_run: DryRun::NotTried });
    world.applied(&world.config_map("a", "1")).await;
    let live = world.observe_one(&world.config_map("a", "2"), Why::Changed).await;
    assert!(matches!(live, Observation::Live { dry_run: DryRun::NotTried, .. }), "{live:?}");
}

#[tokio::test]
async fn a_removed_object_is_read_and_its_deletion_is_tried() {
    let world = World::new().await;
    world.applied(&world.config_map("a", "1")).await;
    let live = world.observe_one(&world.config_map("a", "1"), Why::Removed).await;
    assert!(matches!(live, Observation::Live { dry_run: DryRun::Would(_), .. }), "{live:?}");
    assert!(world.live(&world.config_map("a", "1")).await.is_some(), "a dry-run deletes nothing");
    let gone = world.observe_one(&world.config_map("b", "1"), Why::Removed).await;
    assert_eq!(gone, Observation::Absent { dry_run: DryRun::NotTried });
}

#[tokio::test]
async fn an_absent_namespace_is_told_from_an_absent_object() {
    let mut world = World::as_admin().await;
    let namespace = format!("{}-absent", world.namespace);
    let config_map = |name: &str| {
        manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}))
    };
    for (preflight, why) in [(true, Why::New), (true, Why::Gone), (false, Why::New)] {
        world.policy.preflight = preflight;
        let manifests = [config_map("a"), config_map("b")];
        let observations = world.observe(&[(&manifests[0], why), (&manifests[1], why)]).await;
        assert!(
            observations.values().all(|it| *it == Observation::NamespaceAbsent),
            "{preflight} {why:?} {observations:?}"
        );
    }
}

#[tokio::test]
async fn a_namespace_that_is_absent_is_an_absent_object() {
    let world = World::as_admin().await;
    let namespace = manifest(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{}-absent", world.namespace)}}));
    for why in [Why::New, Why::Gone, Why::Changed] {
        let observation = world.observe_one(&namespace, why).await;
        assert!(matches!(observation, Observation::Absent { dry_run: DryRun::Would(_) }), "{why:?} {observation:?}");
    }
    let gone = world.observe_one(&namespace, Why::Removed).await;
    assert_eq!(gone, Observation::Absent { dry_run: DryRun::NotTried });
}

#[tokio::test]
async fn an_absent_kind_is_absent_for_certain() {
    let world = World::as_admin().await;
    let widget = manifest(json!({
        "apiVersion": "nothing.example.com/v1", "kind": "Widget",
        "metadata": {"name": "a", "namespace": world.namespace}}));
    assert_eq!(world.observe_one(&widget, Why::New).await, Observation::KindAbsent);
    assert_eq!(world.observe_one(&widget, Why::Removed).await, Observation::KindAbsent);
}

#[tokio::test]
async fn a_kind_whose_backend_is_dead_is_unreadable_and_never_absent() {
    let world = World::as_admin().await;
    let group = format!("{}.example.com", world.namespace);
    world.create(&json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1.{group}")},
        "spec": {"group": group, "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"name": "nobody", "namespace": world.namespace}}}));
    // The aggregator serves the group a moment after its registration.
    let widget = manifest(json!({
        "apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": "a", "namespace": world.namespace}}));
    let mut observation = Observation::KindAbsent;
    for _ in 0..100 {
        world.cluster.discovery().invalidate();
        observation = world.observe_one(&widget, Why::Removed).await;
        if observation != Observation::KindAbsent {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.kubectl(&["delete", "apiservice", &format!("v1.{group}")]);
    let Observation::Unreadable(error) = observation else { panic!("{observation:?}") };
    assert!(error.transient && error.message.contains(&group), "{error:?}");
}

#[tokio::test]
async fn a_schema_error_is_permanent_and_names_its_field() {
    let world = World::new().await;
    let mut deployment = (*world.deployment("web", "nginx")).clone();
    deployment.value["spec"]["replcas"] = json!(2);
    let error = refusal(world.observe_one(&deployment.into(), Why::New).await);
    assert!(!error.transient, "{error:?}");
    assert_eq!(error.fields, ["spec.replcas"], "{error:?}");
}

#[tokio::test]
async fn an_error_about_a_secret_never_holds_its_value() {
    let world = World::new().await;
    let secret = |field: &str, content: serde_json::Value| {
        manifest(json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "s", "namespace": world.namespace}, field: content}))
    };
    for broken in [
        secret("data", json!({"password": "hunter2 is no base64!"})),
        secret("data", json!({"password": {"hunter2": "hunter2"}})),
        secret("data", json!({"password": 4711_4711})),
        secret("dada", json!({"password": "hunter2"})),
    ] {
        let error = refusal(world.observe_one(&broken, Why::New).await);
        let told = format!("{error:?}");
        assert!(!told.contains("hunter2") && !told.contains("47114711"), "{told}");
        assert!(!error.transient, "{told}");
    }
}

#[tokio::test]
async fn an_immutable_field_is_named() {
    let world = World::new().await;
    world.applied(&world.deployment("web", "nginx")).await;
    let mut changed = (*world.deployment("web", "nginx")).clone();
    changed.value["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    changed.value["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    let error = refusal(world.observe_one(&changed.into(), Why::Changed).await);
    assert_eq!(error.fields, ["spec.selector"], "{error:?}");
    assert!(!error.transient && error.message.contains("immutable"), "{error:?}");
}

#[tokio::test]
async fn an_immutable_secret_is_refused_without_its_value() {
    let world = World::new().await;
    let secret = |value: &str| {
        manifest(json!({"apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": {"name": "s", "namespace": world.namespace}, "data": {"password": value}}))
    };
    world.applied(&secret("aHVudGVyMg==")).await;
    let error = refusal(world.observe_one(&secret("aHVudGVyMw=="), Why::Changed).await);
    let told = format!("{error:?}");
    assert!(!told.contains("aHVudGVy") && told.contains("immutable"), "{told}");
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused_by_name() {
    let world = World::without_rights().await;
    for why in [Why::New, Why::Changed, Why::Removed] {
        let error = match world.observe_one(&world.config_map("a", "1"), why).await {
            Observation::Unreadable(error) => error,
            other => refusal(other),
        };
        assert_eq!((error.code, error.transient), (403, false));
        let user = format!("system:serviceaccount:{}:bowline-deployer", world.namespace);
        assert!(error.message.contains(&user), "{error:?}");
    }
}

#[tokio::test]
async fn a_client_that_may_not_impersonate_is_told_what_would_help() {
    let world = World::without_rights().await;
    let kubeconfig = world.access.kubeconfig_for("nobody", &["nobodies"]).unwrap();
    let options = ConnectOptions { kubeconfig: Some(kubeconfig), context: None, user_agent: "bowline-test/0".into() };
    let powerless = Cluster::connect(&options).await.unwrap();
    let config_map = world.config_map("a", "1");
    let candidate = Candidate {
        id: config_map.id.clone(),
        gvk: config_map.gvk.clone(),
        desired: Some(config_map),
        owned: None,
        why: Why::Changed,
    };
    let proposal = proposal(vec![candidate]);
    let mut observations = observe(&powerless, &world.identity, &proposal, &world.policy).await;
    let Some((_, Observation::Unreadable(error))) = observations.pop_first() else { panic!("{observations:?}") };
    assert!(error.message.contains("no right to act as ServiceAccount"), "{error:?}");
}

#[tokio::test]
async fn a_terminating_object_is_seen_and_nothing_is_tried_on_it() {
    let world = World::new().await;
    let mut held = (*world.config_map("held", "1")).clone();
    held.value["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let held = Arc::new(held);
    world.applied(&held).await;
    world.kubectl(&["delete", "configmap", "held", "-n", &world.namespace, "--wait=false"]);
    let observation = world.observe_one(&held, Why::Changed).await;
    world.kubectl(&[
        "patch",
        "configmap",
        "held",
        "-n",
        &world.namespace,
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/metadata/finalizers"}]"#,
    ]);
    let Observation::Live { object, dry_run } = observation else { panic!("{observation:?}") };
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(dry_run, DryRun::NotTried);
}
