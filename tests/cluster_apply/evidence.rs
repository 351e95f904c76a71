//! What is read behind an object that is not healthy.

use std::time::{Duration, Instant};

use bowline::cluster::evidence::{Behind, behind, log_tail};
use serde_json::json;

use crate::world::World;

/// Evidence appears when the controllers have done their part.
async fn behind_until(world: &World, object: &serde_json::Value, enough: impl Fn(&Behind) -> bool) -> Behind {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let found = behind(&world.cluster, &world.identity, object).await;
        if enough(&found) {
            return found;
        }
        assert!(Instant::now() < until, "{found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn reasons(behind: &Behind) -> Vec<&str> {
    behind.events.iter().filter_map(|event| event["reason"].as_str()).collect()
}

#[tokio::test]
async fn a_pod_that_cannot_be_scheduled_is_found_with_its_event() {
    let world = World::new().await;
    let mut deployment = (*world.deployment("web", "nginx")).clone();
    deployment.value["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "10000"}});
    let live = world.applied(&deployment).await;
    let found = behind_until(&world, &live, |it| reasons(it).contains(&"FailedScheduling")).await;
    assert_eq!(found.pods.len(), 1);
    assert_eq!((found.cut, &found.problem), (false, &None));
    assert_eq!(found.pods[0]["kind"], "Pod");
    assert!(found.pods[0]["metadata"].get("managedFields").is_none());
}

#[tokio::test]
async fn a_quota_that_refuses_pods_is_found_behind_the_replica_set() {
    let world = World::new().await;
    world.kubectl(&["create", "quota", "none", "--hard=pods=0", "-n", &world.namespace]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let live = world.applied(&world.deployment("web", "nginx")).await;
    let found = behind_until(&world, &live, |it| reasons(it).contains(&"FailedCreate")).await;
    assert!(found.pods.is_empty());
}

#[tokio::test]
async fn many_pods_are_cut_and_it_is_said() {
    let world = World::new().await;
    let mut deployment = (*world.deployment("web", "nginx")).clone();
    deployment.value["spec"]["replicas"] = json!(25);
    let live = world.applied(&deployment).await;
    let found = behind_until(&world, &live, |it| it.cut).await;
    assert_eq!(found.pods.len(), 20);
}

#[tokio::test]
async fn what_may_not_be_read_is_said() {
    let world = World::without_rights().await;
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": world.namespace, "uid": "u"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    let found = behind(&world.cluster, &world.identity, &object).await;
    assert!(found.pods.is_empty() && found.problem.is_some_and(|it| it.contains("forbidden")));
}

#[tokio::test]
async fn a_log_of_a_pod_that_is_not_there_is_an_error_that_names_it() {
    let world = World::new().await;
    let error =
        log_tail(&world.cluster, &world.identity, &world.namespace, "nobody", "main", true, 5).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("nobody"), "{error}");
}
