//! Bowline's own resources, watched on a real API server.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bowline::cluster::{
    OwnerKey,
    client::{ConnectOptions, connect, install_crypto_provider},
    watch::{Changes, OwnResources},
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

async fn until(changes: &mut Changes, what: &str, wanted: impl Fn() -> bool) {
    let started = Instant::now();
    while !wanted() {
        let left = PATIENCE.saturating_sub(started.elapsed());
        if tokio::time::timeout(left, changes.next()).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}");
        }
    }
}

fn create(access: &rig::Access, object: &Value) -> Value {
    let text = access.kubectl_with_input(&["create", "-o", "json", "-f", "-"], &object.to_string()).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn application(name: &str) -> Value {
    json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "Application",
        "metadata": {"namespace": "team-a", "name": name},
        "spec": {"source": {"repoURL": "https://example.com/shop.git"}},
    })
}

fn suspension(name: &str, application: &str, reason: Value) -> Value {
    json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "Suspension",
        "metadata": {"namespace": "team-a", "name": name},
        "spec": {"applicationRef": {"name": application}, "reason": reason},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_resources_are_held_by_application_and_a_broken_one_stops_nobody() {
    install_crypto_provider();
    // A cluster of its own: a schema is taken away, as a newer version of it might.
    let options = rig::Options { nodes: 0, volumes: 0, pod_metrics: false, ..rig::Options::default() };
    let cluster = tokio::task::spawn_blocking(|| rig::Cluster::start(options).unwrap()).await.unwrap();
    let access: &rig::Access = &cluster;
    let kubeconfig = Some(access.kubeconfig_path().to_owned());
    let options = ConnectOptions { kubeconfig, context: None, user_agent: "bowline-test".into() };
    let client = connect(&options).await.unwrap();

    // Before the kinds are served nothing is ready, and the reason is told.
    let own = OwnResources::start(&client, &BTreeSet::new());
    let mut changes = own.changed();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!own.is_ready());
    let failing: Vec<String> = own.watches().into_iter().filter_map(|watch| watch.failure).collect();
    assert_eq!(failing.len(), 5, "{failing:?}");
    access.kubectl(&["apply", "--server-side", "-f", "manifests/crds.yaml"]).unwrap();
    let crd = "crd/suspensions.bowline.dev";
    access.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=30s"]).unwrap();
    let anything = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    access.kubectl(&["patch", crd, "--type=json", "-p", &anything.to_string()]).unwrap();
    own.retry();
    tokio::time::timeout(PATIENCE, own.ready()).await.unwrap();
    assert!(own.watches().iter().all(|watch| watch.failure.is_none()));

    access.kubectl(&["create", "namespace", "team-a"]).unwrap();
    let (shop, billing) = (OwnerKey::new("team-a", "shop"), OwnerKey::new("team-a", "billing"));
    create(access, &application("shop"));
    let answer = create(access, &application("billing"));
    own.record(answer);
    assert!(own.application(&billing).is_some(), "our own write is known from its answer");
    until(&mut changes, "both are seen", || own.applications().len() == 2).await;
    let seen = own.application(&shop).unwrap();
    assert_eq!(seen.spec.source.repo_url, "https://example.com/shop.git");
    assert!(seen.metadata.managed_fields.is_none(), "what nobody reads is not kept");

    create(access, &suspension("wrong", "shop", json!(7)));
    create(access, &suspension("freeze", "shop", json!("end of quarter")));
    until(&mut changes, "the good one is seen", || own.suspensions(&shop).len() == 1).await;
    until(&mut changes, "the bad one is told of", || !own.unreadable(&shop).is_empty()).await;
    assert_eq!(own.suspensions(&shop)[0].spec.reason, "end of quarter");
    let unreadable = own.unreadable(&shop);
    assert_eq!((unreadable[0].kind.as_str(), unreadable[0].name.as_str()), ("Suspension", "team-a/wrong"));
    assert_eq!(unreadable[0].message, "spec.reason: invalid type: integer `7`, expected a string");
    assert!(own.unreadable(&billing).is_empty());

    access.kubectl(&["-n", "team-a", "delete", "suspension", "wrong", "freeze"]).unwrap();
    until(&mut changes, "both are gone", || own.unreadable(&shop).is_empty() && own.suspensions(&shop).is_empty())
        .await;
    access.kubectl(&["-n", "team-a", "delete", "application", "billing"]).unwrap();
    until(&mut changes, "it is gone", || own.application(&billing).is_none()).await;
    assert_eq!(own.applications().len(), 1);

    // Others see the namespaces that they were told of, each by watches of its own.
    access.kubectl(&["create", "namespace", "team-b"]).unwrap();
    access.kubectl(&["create", "namespace", "team-c"]).unwrap();
    let some = OwnResources::start(&client, &BTreeSet::from(["team-a".to_owned(), "team-c".to_owned()]));
    let mut changes = some.changed();
    tokio::time::timeout(PATIENCE, some.ready()).await.unwrap();
    assert_eq!(some.watches().len(), 10);
    let there = |namespace: &str| {
        let mut application = application("till");
        application["metadata"]["namespace"] = json!(namespace);
        application
    };
    for namespace in ["team-b", "team-c"] {
        own.record(create(access, &there(namespace)));
    }
    let till = OwnerKey::new("team-c", "till");
    until(&mut changes, "what is served is seen", || some.application(&till).is_some()).await;
    assert_eq!(some.applications(), BTreeSet::from([shop, till]));
    assert_eq!((own.count(), some.count()), (3, 2), "team-b is not served by the second");
}
