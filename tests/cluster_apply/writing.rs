//! What applying does, and what it refuses to do.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bowline::{
    cluster::apply::{NotBegun, Outcome, prove},
    manifest::{ObjectId, ObjectKey},
    plan::{Action, DryRun, Observation, Precondition, Verb, Why},
};
use serde_json::{Value, json};

use crate::world::{World, action, manifest, precondition};

fn only(mut results: Vec<bowline::cluster::apply::ActionResult>) -> Outcome {
    assert_eq!(results.len(), 1);
    results.remove(0).outcome
}

#[tokio::test]
async fn a_create_makes_the_object_and_says_so() {
    let world = World::new().await;
    let config_map = world.config_map("a", "1");
    let outcome = only(world.apply(&[world.make(&config_map)]).await);
    let Outcome::Applied(applied) = outcome else { panic!("{outcome:?}") };
    let live = world.live(&config_map).await.unwrap();
    assert!(applied.created);
    assert_eq!(live["metadata"]["uid"], applied.uid);
    assert_eq!(live["metadata"]["resourceVersion"], applied.resource_version);
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], world.policy.membership.manager);
    assert_eq!(live["metadata"]["managedFields"][0]["operation"], "Apply");
}

#[tokio::test]
async fn a_create_never_changes_an_object_that_appeared_since_the_plan() {
    let world = World::new().await;
    let config_map = world.config_map("a", "planned");
    world.kubectl(&["create", "configmap", "a", "--from-literal=key=theirs", "-n", &world.namespace]);
    let before = world.live(&config_map).await;
    let outcome = only(world.apply(&[world.make(&config_map)]).await);
    assert!(matches!(outcome, Outcome::Stale(_)), "{outcome:?}");
    assert_eq!(world.live(&config_map).await, before, "nothing was written");
}

#[tokio::test]
async fn an_update_of_an_object_that_changed_since_the_plan_is_stale() {
    let world = World::new().await;
    let config_map = world.config_map("a", "2");
    world.applied(&world.config_map("a", "1")).await;
    let update = world.write(&config_map).await;
    world.kubectl(&["patch", "configmap", "a", "-n", &world.namespace, "-p", r#"{"data":{"key":"by hand"}}"#]);
    let outcome = only(world.apply(&[update]).await);
    assert!(matches!(outcome, Outcome::Stale(_)), "{outcome:?}");
    assert_eq!(world.live(&config_map).await.unwrap()["data"]["key"], "by hand");
}

#[tokio::test]
async fn an_update_goes_on_when_only_the_status_changed_since_the_plan() {
    let world = World::as_admin().await;
    let quota = |size: &str| {
        manifest(json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": world.namespace}, "spec": {"hard": {"secrets": size}}}))
    };
    world.applied(&quota("5")).await;
    let observations = world.observe(&[(&quota("6"), Why::Changed)]).await;
    let Some(Observation::Live { object, .. }) = observations.get(&quota("6").id) else { panic!("{observations:?}") };
    let body = bowline::plan::body(&quota("6"), Some(object), &world.policy);
    let update = action(&quota("6"), Verb::Update, precondition(object), Some(body));
    world.kubectl(&[
        "patch",
        "resourcequota",
        "q",
        "-n",
        &world.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"used":{"secrets":"3"}}}"#,
    ]);
    let outcome = only(world.apply_planned_on(&[update], &observations, &|| true).await);
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    assert_eq!(world.live(&quota("6")).await.unwrap()["spec"]["hard"]["secrets"], "6");
}

#[tokio::test]
async fn an_update_does_not_touch_an_object_that_was_made_anew() {
    let world = World::new().await;
    let config_map = world.config_map("a", "2");
    world.applied(&world.config_map("a", "1")).await;
    let update = world.write(&config_map).await;
    world.kubectl(&["delete", "configmap", "a", "-n", &world.namespace]);
    let gone = only(world.apply(std::slice::from_ref(&update)).await);
    assert!(matches!(gone, Outcome::Stale(_)), "an update creates nothing: {gone:?}");
    assert_eq!(world.live(&config_map).await, None);
    world.kubectl(&["create", "configmap", "a", "--from-literal=key=new", "-n", &world.namespace]);
    let anew = only(world.apply(&[update]).await);
    assert!(matches!(anew, Outcome::Stale(_)), "{anew:?}");
    assert_eq!(world.live(&config_map).await.unwrap()["data"]["key"], "new");
}

#[tokio::test]
async fn a_wrong_uid_with_the_right_version_is_refused() {
    let world = World::new().await;
    let config_map = world.config_map("a", "2");
    let live = world.applied(&world.config_map("a", "1")).await;
    let mut update = world.write(&config_map).await;
    update.precondition.uid = Some("00000000-0000-0000-0000-000000000000".into());
    assert_eq!(update.precondition.resource_version, precondition(&live).resource_version);
    let outcome = only(world.apply(&[update]).await);
    assert!(matches!(outcome, Outcome::Stale(_)), "{outcome:?}");
    assert_eq!(world.live(&config_map).await.unwrap()["data"]["key"], "1");
}

#[tokio::test]
async fn nothing_is_applied_to_an_object_that_is_being_deleted() {
    let world = World::new().await;
    let mut held = (*world.config_map("held", "1")).clone();
    held.value["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.applied(&held).await;
    world.kubectl(&["delete", "configmap", "held", "-n", &world.namespace, "--wait=false"]);
    // Applied without the finalizer, the object would be gone for good.
    let released = world.config_map("held", "2");
    let create = only(world.apply(&[world.make(&released)]).await);
    assert_eq!(create, Outcome::Terminating { finalizers: vec!["example.com/hold".into()] });
    let stale = Precondition {
        uid: world.live(&held).await.and_then(|live| precondition(&live).uid),
        resource_version: Some("2".into()),
    };
    let body = bowline::plan::body(&released, None, &world.policy);
    let update = only(world.apply(&[action(&released, Verb::Update, stale, Some(body))]).await);
    assert_eq!(update, Outcome::Terminating { finalizers: vec!["example.com/hold".into()] });
    assert_eq!(world.live(&held).await.unwrap()["data"]["key"], "1");
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
}

#[tokio::test]
async fn what_was_added_by_hand_is_dropped_in_one_write_and_its_owner_is_gone() {
    let world = World::new().await;
    let deployment = world.deployment("web", "nginx");
    world.applied(&deployment).await;
    world.kubectl(&["set", "env", "deployment/web", "A=1", "B=2", "-n", &world.namespace]);
    world.kubectl(&[
        "annotate",
        "deployment/web",
        "example.com/by-hand=1",
        "-n",
        &world.namespace,
        "--field-manager=kubectl-edit",
    ]);
    // The controllers write its status meanwhile.
    let planned_on = world.planned_on(&deployment).await;
    let mut update = world.write(&deployment).await;
    update.drops =
        vec!["/spec/template/spec/containers/0/env".into(), "/metadata/annotations/example.com~1by-hand".into()];
    let before = world.live(&deployment).await.unwrap();
    let outcome = only(world.apply_planned_on(&[update], &planned_on, &|| true).await);
    let Outcome::Applied(applied) = outcome else { panic!("{outcome:?}") };
    let object = &applied.object;
    assert!(object["spec"]["template"]["spec"]["containers"][0].get("env").is_none(), "{object}");
    assert!(object["metadata"]["annotations"].get("example.com/by-hand").is_none());
    let generation = |object: &Value| object["metadata"]["generation"].as_u64().unwrap();
    assert_eq!(generation(object), generation(&before) + 1, "one write, one rollout");
    let managers: Vec<&str> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry.get("subresource").is_none())
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert!(!managers.contains(&"kubectl-set") && !managers.contains(&"kubectl-edit"), "{managers:?}");
    assert_eq!(managers.iter().filter(|name| **name == world.policy.membership.manager).count(), 1, "{managers:?}");
    let again = world.applied(&deployment).await;
    assert_eq!(generation(&again), generation(object), "a following apply does nothing");
}

#[tokio::test]
async fn a_container_that_was_added_by_hand_in_front_is_the_one_that_goes() {
    let world = World::new().await;
    world.applied(&world.deployment("web", "nginx:1")).await;
    let hand = r#"[{"op":"add","path":"/spec/template/spec/containers/0","value":{"name":"hand","image":"x"}}]"#;
    world.kubectl(&[
        "patch",
        "deployment",
        "web",
        "-n",
        &world.namespace,
        "--type=json",
        "-p",
        hand,
        "--field-manager=kubectl-edit",
    ]);
    let deployment = world.deployment("web", "nginx:2");
    let planned_on = world.planned_on(&deployment).await;
    let mut update = world.write(&deployment).await;
    // The apply restores the order: place 0 is ours afterwards.
    update.drops = vec!["/spec/template/spec/containers/0".into()];
    let live = world.live(&deployment).await.unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["name"], "hand");
    let outcome = only(world.apply_planned_on(&[update], &planned_on, &|| true).await);
    let Outcome::Applied(applied) = outcome else { panic!("{outcome:?}") };
    let containers = applied.object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!((&containers[0]["name"], &containers[0]["image"]), (&json!("main"), &json!("nginx:2")));
}

#[tokio::test]
async fn nothing_is_dropped_without_the_observation_that_it_was_planned_on() {
    let world = World::new().await;
    let config_map = world.config_map("a", "1");
    world.applied(&config_map).await;
    world.kubectl(&["patch", "configmap", "a", "-n", &world.namespace, "-p", r#"{"data":{"hand":"1"}}"#]);
    let mut update = world.write(&config_map).await;
    update.drops = vec!["/data/hand".into()];
    let outcome = only(world.apply(&[update]).await);
    assert!(matches!(outcome, Outcome::Stale(_)), "{outcome:?}");
    assert_eq!(world.live(&config_map).await.unwrap()["data"]["hand"], "1");
}

#[tokio::test]
async fn an_apply_without_a_change_writes_nothing() {
    let world = World::new().await;
    let config_map = world.config_map("a", "1");
    let first = world.applied(&config_map).await;
    let second = world.applied(&config_map).await;
    assert_eq!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_delete_takes_only_the_object_of_its_uid() {
    let world = World::new().await;
    let config_map = world.config_map("a", "1");
    let live = world.applied(&config_map).await;
    let delete = |uid: &str| {
        action(&config_map, Verb::Delete, Precondition { uid: Some(uid.into()), resource_version: None }, None)
    };
    let wrong = only(world.apply(&[delete("00000000-0000-0000-0000-000000000000")]).await);
    assert!(matches!(wrong, Outcome::Stale(_)), "{wrong:?}");
    assert!(world.live(&config_map).await.is_some());
    let uid = live["metadata"]["uid"].as_str().unwrap();
    assert_eq!(only(world.apply(&[delete(uid)]).await), Outcome::Deleted);
    assert_eq!(world.live(&config_map).await, None);
    assert_eq!(only(world.apply(&[delete(uid)]).await), Outcome::Deleted, "gone already is gone");
}

#[tokio::test]
async fn a_delete_that_a_finalizer_holds_says_which() {
    let world = World::new().await;
    let mut held = (*world.config_map("held", "1")).clone();
    held.value["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let live = world.applied(&held).await;
    let delete =
        action(&held, Verb::Delete, Precondition { uid: precondition(&live).uid, resource_version: None }, None);
    let outcome = only(world.apply(&[delete]).await);
    assert_eq!(outcome, Outcome::Deleting { finalizers: vec!["example.com/hold".into()] });
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
}

#[tokio::test]
async fn a_deleted_deployment_takes_its_pods_with_it() {
    let world = World::new().await;
    let deployment = world.deployment("web", "nginx");
    let live = world.applied(&deployment).await;
    let delete =
        action(&deployment, Verb::Delete, Precondition { uid: precondition(&live).uid, resource_version: None }, None);
    assert_eq!(only(world.apply(&[delete]).await), Outcome::Deleted);
    let until = Instant::now() + Duration::from_secs(120);
    while !world.kubectl(&["get", "pods,replicasets", "-n", &world.namespace, "-o", "name"]).is_empty() {
        assert!(Instant::now() < until, "its pods and ReplicaSets are collected");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn one_refused_object_does_not_stop_its_kind_and_nothing_later_is_begun() {
    let world = World::new().await;
    let mut broken = world.make(&world.config_map("b", "1"));
    let mut body = broken.body.take().unwrap().read().into_owned();
    body["dada"] = json!({});
    broken.body = Some(body.into());
    let actions = [
        world.make(&world.config_map("a", "1")),
        broken,
        world.make(&world.config_map("c", "1")),
        world.make(&world.deployment("web", "nginx")),
    ];
    let results = world.apply(&actions).await;
    let of = |name: &str| results.iter().find(|it| it.id.name == name).map(|it| &it.outcome).unwrap();
    assert!(matches!(of("a"), Outcome::Applied(_)) && matches!(of("c"), Outcome::Applied(_)), "{results:?}");
    assert!(matches!(of("b"), Outcome::Failed(error) if !error.transient), "{:?}", of("b"));
    assert_eq!(*of("web"), Outcome::NotBegun(NotBegun::EarlierFailure));
    assert_eq!(world.live(&world.deployment("web", "nginx")).await, None);
}

#[tokio::test]
async fn without_a_permit_nothing_more_is_written() {
    let world = World::new().await;
    let actions: Vec<Action> =
        (0..10).map(|number| world.make(&world.config_map(&format!("c{number}"), "1"))).collect();
    let left = AtomicUsize::new(3);
    let permit = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let results = world.apply_planned_on(&actions, &Default::default(), &permit).await;
    let written = results.iter().filter(|it| matches!(it.outcome, Outcome::Applied(_))).count();
    let refused = results.iter().filter(|it| it.outcome == Outcome::NotBegun(NotBegun::NoPermit)).count();
    assert_eq!((written, refused), (3, 7), "{results:?}");
    let live = world.kubectl(&["get", "configmaps", "-n", &world.namespace, "-o", "name"]);
    assert_eq!(live.lines().filter(|line| line.contains("/c")).count(), 3);
}

#[tokio::test]
async fn two_hundred_objects_are_written_in_one_stage() {
    let world = World::new().await;
    let actions: Vec<Action> =
        (0..200).map(|number| world.make(&world.config_map(&format!("c{number}"), "1"))).collect();
    let results = world.apply(&actions).await;
    let failed: Vec<_> = results.iter().filter(|it| !it.outcome.is_done()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(results.len(), 200);
    let live = world.kubectl(&["get", "configmaps", "-n", &world.namespace, "-o", "name"]);
    assert_eq!(live.lines().filter(|line| line.contains("/c")).count(), 200);
}

#[tokio::test]
async fn a_refusal_for_want_of_rights_names_the_commands_that_help() {
    let world = World::without_rights().await;
    let outcome = only(world.apply(&[world.make(&world.config_map("a", "1"))]).await);
    let Outcome::Failed(error) = outcome else { panic!("{outcome:?}") };
    assert!(error.code == 403 && error.message.contains("kubectl create rolebinding"), "{error:?}");
}

#[tokio::test]
async fn a_stage_is_proved_when_it_opens() {
    let world = World::as_admin().await;
    let namespace = format!("{}-later", world.namespace);
    let inside = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": namespace}, "data": {"key": "1"}}));
    let mut broken = (*inside).clone();
    broken.id = ObjectId::of(ObjectKey { name: "b".into(), ..ObjectKey::clone(&broken.id) });
    broken.value["metadata"]["name"] = json!("b");
    broken.value["dada"] = json!({});
    let actions = [world.make(&inside), world.make(&broken)];
    let actions: Vec<&Action> = actions.iter().collect();
    let manager = &world.policy.membership.manager;
    let early = prove(&world.cluster, &world.identity, manager, &actions).await;
    assert!(
        early.values().all(|it| matches!(it, DryRun::Error(error) if error.code == 404 || error.code == 500)),
        "{early:?}"
    );
    world.kubectl(&["create", "namespace", &namespace]);
    let proved = prove(&world.cluster, &world.identity, manager, &actions).await;
    world.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
    assert!(matches!(proved[&inside.id], DryRun::Would(_)), "{proved:?}");
    assert!(matches!(&proved[&broken.id], DryRun::Error(error) if !error.transient), "{proved:?}");
}
