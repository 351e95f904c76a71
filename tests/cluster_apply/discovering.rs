//! What discovery knows, and when it asks.

use bowline::{
    cluster::{ClusterError, ConnectOptions, client::connect, discovery::Resolution, identity::service_account_exists},
    manifest::{GroupKind, GroupVersionKind},
};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn kinds_are_resolved_with_scope_and_verbs() {
    let world = World::as_admin().await;
    let discovery = world.cluster.discovery();
    let resolution = discovery.resolve(&GroupVersionKind::new("apps", "v1", "Deployment")).await;
    let Resolution::Served(served) = resolution else { panic!("{resolution:?}") };
    assert_eq!(served.resource.plural, "deployments");
    assert!(served.namespaced && served.has_status && served.supports("watch"));
    assert_eq!(discovery.scope(&GroupKind::new("", "Namespace")), Some(false));
    assert_eq!(discovery.scope(&GroupKind::new("", "ConfigMap")), Some(true));
    assert_eq!(discovery.scope(&GroupKind::new("nothing.example.com", "Widget")), None);
    let preferred = discovery.resolve_group_kind(&GroupKind::new("autoscaling", "HorizontalPodAutoscaler")).await;
    let Resolution::Served(served) = preferred else { panic!("{preferred:?}") };
    assert_eq!(served.resource.version, "v2");
}

#[tokio::test]
async fn a_version_that_is_not_served_is_absent_though_its_group_is_there() {
    let world = World::as_admin().await;
    let discovery = world.cluster.discovery();
    assert_eq!(discovery.resolve(&GroupVersionKind::new("apps", "v1beta1", "Deployment")).await, Resolution::Absent);
    assert_eq!(discovery.resolve_group_kind(&GroupKind::new("apps", "Widget")).await, Resolution::Absent);
}

#[tokio::test]
async fn a_new_definition_is_served_at_once_after_it_is_established() {
    let world = World::as_admin().await;
    let group = format!("{}.example.com", world.namespace);
    let gvk = GroupVersionKind::new(&group, "v1", "Widget");
    let discovery = world.cluster.discovery();
    assert_eq!(discovery.resolve(&gvk).await, Resolution::Absent);
    world.create(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}));
    world.kubectl(&["wait", "--for=condition=Established", &format!("crd/widgets.{group}"), "--timeout=20s"]);
    discovery.invalidate();
    let resolution = discovery.resolve(&gvk).await;
    world.kubectl(&["delete", "crd", &format!("widgets.{group}"), "--wait=false"]);
    let Resolution::Served(served) = resolution else { panic!("{resolution:?}") };
    assert!(served.namespaced);
}

#[tokio::test]
async fn a_missing_service_account_is_known() {
    let world = World::without_rights().await;
    assert!(service_account_exists(&world.cluster, &world.identity).await.unwrap());
    let missing = bowline::cluster::Identity::service_account(&world.namespace, "nobody");
    assert!(!service_account_exists(&world.cluster, &missing).await.unwrap());
    assert!(missing.missing_account_advice().unwrap().contains("kubectl create serviceaccount nobody"));
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent");
    let options = ConnectOptions { kubeconfig: Some(path.clone()), context: None, user_agent: "test".into() };
    let Err(error) = connect(&options).await else { panic!("connected to nothing") };
    assert!(matches!(&error, ClusterError::Kubeconfig { path: named, .. } if *named == path), "{error}");
    assert_eq!(error.reason(), "InvalidKubeconfig");
}
