//! Statuses, events, credentials and the identity of the installation.

use bowline::{
    api::{Application, ApplicationStatus, RequestPhase, RequestStatus, SyncRequest, SyncStatus},
    cluster::store::{EventKind, Events},
};
use kube::{Api, Resource as _};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn the_same_status_again_changes_nothing_and_an_old_copy_of_the_object_is_no_ground_to_write_on() {
    let world = World::new().await;
    let application = world.application().await;
    let syncing = ApplicationStatus { sync: Some(SyncStatus::Syncing), ..ApplicationStatus::default() };
    let synced = ApplicationStatus { sync: Some(SyncStatus::Synced), ..ApplicationStatus::default() };
    let failed = ApplicationStatus { sync: Some(SyncStatus::Failed), ..ApplicationStatus::default() };
    let first = world.store.write_status(&application, &syncing).await.unwrap();
    let again = world.store.write_status(&first, &syncing).await.unwrap();
    assert_eq!(first.metadata.resource_version, again.metadata.resource_version);
    world.store.write_status(&first, &synced).await.unwrap();
    // As of a replica that led before and does not know of its successor.
    let error = world.store.write_status(&first, &failed).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let api: Api<Application> = Api::namespaced(world.client.clone(), &world.namespace);
    assert_eq!(api.get("shop").await.unwrap().status, Some(synced));
}

#[tokio::test]
async fn what_a_status_no_longer_says_is_taken_out_beside_a_change_of_the_spec() {
    let world = World::new().await;
    let application = world.application().await;
    let status =
        ApplicationStatus { sync: Some(SyncStatus::Failed), note: "broken".into(), ..ApplicationStatus::default() };
    let written = world.store.write_status(&application, &status).await.unwrap();
    world.kubectl(&["patch", "bapp", "shop", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]).unwrap();
    let status = ApplicationStatus { sync: Some(SyncStatus::Synced), ..ApplicationStatus::default() };
    let written = world.store.write_status_while(&written, &status, |_| true).await.unwrap().unwrap();
    assert_eq!((written.status, written.spec.suspend), (Some(status), true));
}

#[tokio::test]
async fn a_status_is_written_over_what_changed_only_while_its_writer_goes_on() {
    let world = World::new().await;
    let application = world.application().await;
    world.kubectl(&["annotate", "bapp", "shop", "example.com/note=changed"]).unwrap();
    let status = ApplicationStatus { note: "late".into(), ..ApplicationStatus::default() };
    // It leads while the first write leaves, and not any more when that was refused.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let leads = |_: &Application| asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
    let written = world.store.write_status_while(&application, &status, leads).await.unwrap();
    assert_eq!((written.is_none(), asked.into_inner()), (true, 2));
    let api: Api<Application> = Api::namespaced(world.client.clone(), &world.namespace);
    assert_eq!(api.get("shop").await.unwrap().status, None);
}

#[tokio::test]
async fn the_status_of_an_application_of_the_same_name_is_not_written_by_mistake() {
    let world = World::new().await;
    let first = world.application().await;
    world.kubectl(&["delete", "bapp", "shop"]).unwrap();
    world.application().await;
    let status = ApplicationStatus { note: "of the first".into(), ..ApplicationStatus::default() };
    let error = world.store.write_status_while(&first, &status, |_| true).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_finalizer_is_set_and_taken_away_beside_those_of_others() {
    let world = World::new().await;
    world.application().await;
    world
        .kubectl(&[
            "patch",
            "bapp",
            "shop",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["example.com/other"]}}"#,
        ])
        .unwrap();
    let api: Api<Application> = Api::namespaced(world.client.clone(), &world.namespace);
    let stale = api.get("shop").await.unwrap();
    world.store.set_finalizer(&stale, "bowline.dev/prune", true).await.unwrap();
    let error = world.store.set_finalizer(&stale, "bowline.dev/prune", false).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let held = api.get("shop").await.unwrap();
    assert_eq!(held.metadata.finalizers.as_deref().unwrap_or_default(), ["example.com/other", "bowline.dev/prune"]);
    world.store.set_finalizer(&held, "bowline.dev/prune", false).await.unwrap();
    let free = api.get("shop").await.unwrap();
    assert_eq!(free.metadata.finalizers.as_deref().unwrap_or_default(), ["example.com/other"]);
    world.kubectl(&["patch", "bapp", "shop", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).unwrap();
}

#[tokio::test]
async fn a_request_is_answered_and_deleted() {
    let world = World::new().await;
    let request = json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "SyncRequest",
        "metadata": { "name": "once", "namespace": world.namespace },
        "spec": { "applicationRef": { "name": "shop" } }
    });
    world.create(&request).unwrap();
    let api: Api<SyncRequest> = Api::namespaced(world.client.clone(), &world.namespace);
    let request = api.get("once").await.unwrap();
    let status =
        RequestStatus { phase: Some(RequestPhase::Refused), message: "it expired".into(), ..RequestStatus::default() };
    let answered = world.store.write_status(&request, &status).await.unwrap();
    assert_eq!(answered.status, Some(status));
    world.store.delete(&answered).await.unwrap();
    world.store.delete(&answered).await.unwrap();
    assert!(api.get_opt("once").await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_words_are_one_event_and_other_words_another() {
    let world = World::new().await;
    let application = world.application().await;
    let events = Events::new(world.client.clone(), "replica-1");
    let object = application.object_ref(&());
    let mark = world.access.audit_log().mark().unwrap();
    for _ in 0..50 {
        events
            .publish(&object, EventKind::Warning, "ApplyFailed", "Apply", "Service web: spec.clusterIP is immutable")
            .await
            .unwrap();
    }
    let long = "ä".repeat(2_000);
    events.publish(&object, EventKind::Normal, "Synced", "Apply", &long).await.unwrap();
    assert_eq!(world.requests_since(mark), ["create", "create"]);
    let described = world.kubectl(&["describe", "bapp", "shop"]).unwrap();
    assert!(described.contains("spec.clusterIP is immutable") && described.contains("ApplyFailed"), "{described}");
}

#[tokio::test]
async fn credentials_are_read_and_an_absent_secret_is_none() {
    let world = World::new().await;
    world.kubectl(&["create", "secret", "generic", "git", "--from-literal=username=ada"]).unwrap();
    let secret = world.store.read_secret(&world.namespace, "git").await.unwrap().unwrap();
    assert_eq!(secret.data.unwrap()["username"].0, b"ada");
    assert!(world.store.read_secret(&world.namespace, "other").await.unwrap().is_none());
}

#[tokio::test]
async fn the_installation_is_known_by_the_uid_of_kube_system() {
    let world = World::new().await;
    let uid = world.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).unwrap();
    assert_eq!(world.store.installation_id().await.unwrap(), uid);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_worth_a_retry() {
    bowline::cluster::client::install_crypto_provider();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    drop(listener);
    let store = bowline::cluster::store::Store::new(kube::Client::try_from(config).unwrap());
    let error = store.of("team-a", "shop").load_history().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(error.to_string(), "cannot list the releases of team-a/shop: the API server cannot be reached");
}
