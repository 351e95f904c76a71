//! Refusals of the server that a dry-run cannot know, or that name no field.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bowline::{
    cluster::apply::Outcome,
    manifest::Manifest,
    plan::{Action, DryRun, Observation, RefusalReason, Why},
};
use serde_json::{Value, json};

use super::{Kept, in_canonical_form};
use crate::world::World;

#[tokio::test]
async fn a_quota_is_not_summed_by_dry_runs_and_the_one_too_many_is_refused_by_name() {
    let world = World::new().await;
    world.create(&json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": world.namespace}, "spec": {"hard": {"count/secrets": "5"}}}));
    let until = Instant::now() + Duration::from_secs(30);
    while !world.kubectl(&["get", "quota", "few", "-n", &world.namespace, "-o", "json"]).contains(r#""used""#) {
        assert!(Instant::now() < until, "the quota was never counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let secrets: Vec<Arc<Manifest>> = (0..6)
        .map(|number| {
            in_canonical_form(
                &world,
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s{number}")}}),
            )
        })
        .collect();
    let tried = world.observe(&secrets.iter().map(|secret| (secret, Why::New)).collect::<Vec<_>>()).await;
    let passed = tried.values().filter(|it| matches!(it, Observation::Absent { dry_run: DryRun::Would(_) })).count();
    assert_eq!(passed, 6, "each is tried alone: {tried:?}");
    let actions: Vec<Action> = secrets.iter().map(|secret| world.make(secret)).collect();
    let results = world.apply(&actions).await;
    let refused: Vec<_> = results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(refused.len(), 1, "{results:?}");
    assert_eq!(refused[0].code, 403);
    assert!(refused[0].message.contains("exceeded quota: few"), "{}", refused[0].message);
}

#[tokio::test]
async fn a_claim_whose_refusal_names_only_its_spec_is_refused_with_the_field() {
    let claim = |mode: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let mut kept = Kept::bring(World::new().await, claim("ReadWriteOnce")).await;
    let plan = kept.bring_anew(claim("ReadWriteMany")).await;
    let refusal = &plan.refusals[0];
    assert_eq!(refusal.reason, RefusalReason::Immutable, "{refusal:?}");
    assert!(refusal.message.contains("spec.accessModes"), "{}", refusal.message);
}

#[tokio::test]
async fn what_is_too_large_for_the_server_is_refused_in_its_dry_run() {
    let world = World::new().await;
    let secret = |name: &str, bytes: usize| {
        let data = json!({"data": "x".repeat(bytes)});
        in_canonical_form(
            &world,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}),
        )
    };
    let annotated = |bytes: usize| {
        let metadata = json!({"name": "annotated", "annotations": {"a": "x".repeat(bytes)}});
        in_canonical_form(&world, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    };
    let refused = |observation: &Observation| match observation {
        Observation::Absent { dry_run: DryRun::Would(_) } => None,
        Observation::Absent { dry_run: DryRun::Error(error) } => Some(error.code),
        other => panic!("{other:?}"),
    };
    for (manifest, code) in [
        (secret("most", 1_048_576), None),
        (secret("more", 1_048_577), Some(422)),
        (annotated(250_000), None),
        (annotated(262_144), Some(422)),
    ] {
        let observed = world.observe_one(&manifest, Why::New).await;
        assert_eq!(refused(&observed), code, "{}", manifest.id);
    }
}

#[tokio::test]
async fn a_label_that_was_lost_is_told_from_an_object_that_is_gone() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "git"}});
    let mut kept = Kept::bring(World::new().await, object).await;
    let uid = |live: &Value| live["metadata"]["uid"].clone();
    let first = uid(&kept.live().await);
    // A watch with our label tells DELETED in both cases.
    kept.kubectl(&["label", "configmap/a", "bowline.dev/set-"]);
    let plan = kept.repaired().await;
    assert_eq!(plan.actions[0].verb, bowline::plan::Verb::Update);
    assert_eq!(uid(&kept.live().await), first, "it lost its label and no more");
    kept.kubectl(&["delete", "configmap/a"]);
    let plan = kept.repaired().await;
    assert_eq!(plan.actions[0].verb, bowline::plan::Verb::Create);
    assert_ne!(uid(&kept.live().await), first);
}
