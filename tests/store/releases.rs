//! Releases: one wins, the spec never changes, the outcome is written once.

use bowline::{
    api::{Phase, Release, ReleaseAfter},
    cluster::store::StoreError,
    history::{release_digest, verify},
};
use futures::future::join_all;
use jiff::Timestamp;

use crate::world::{World, outcome, release};

#[tokio::test]
async fn of_twenty_that_make_one_release_one_wins() {
    let world = World::new().await;
    let specs = (0..20).map(|second| {
        let mut spec = release(1);
        spec.reason = format!("try {second}");
        spec
    });
    let made = join_all(specs.map(|spec| world.shop.create_release(spec))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let lost = made.iter().filter(|made| matches!(made, Err(StoreError::LostRace(1)))).count();
    assert_eq!(lost, 19);
}

#[tokio::test]
async fn a_release_made_again_after_a_lost_answer_is_the_same_one() {
    let world = World::new().await;
    let spec = release(1);
    let first = world.shop.create_release(spec.clone()).await.unwrap();
    let again = world.shop.create_release(spec).await.unwrap();
    assert_eq!(first.metadata.uid, again.metadata.uid);
}

#[tokio::test]
async fn a_release_goes_from_intent_to_outcome_and_stays_readable() {
    let world = World::new().await;
    let made = world.shop.create_release(release(1)).await.unwrap();
    let applying = world.shop.set_phase(&made, Phase::Applying, None).await.unwrap();
    let waiting = world.shop.set_phase(&applying, Phase::Waiting, Some(Timestamp::now())).await.unwrap();
    let ended = world.shop.set_outcome(&waiting, outcome(Phase::Healthy)).await.unwrap();
    let mut second = release(2);
    second.previous = release_digest(&ended);
    world.shop.create_release(second).await.unwrap();
    let degraded = ReleaseAfter { degraded_at: Some(Timestamp::now()), ..ReleaseAfter::default() };
    let after = world.shop.set_after(&ended, degraded).await.unwrap();
    world.shop.set_after(&after, ReleaseAfter { repairs: 2, ..ReleaseAfter::default() }).await.unwrap();

    let history = world.shop.load_history().await.unwrap();
    let kept = history.get(1).unwrap().status.clone().unwrap();
    assert_eq!(kept.phase, Some(Phase::Healthy));
    assert!(kept.applied_at.is_some());
    assert_eq!(kept.after.unwrap(), ReleaseAfter { repairs: 2, ..ReleaseAfter::default() });
    let report = verify(history.releases(), release_digest(history.get(1).unwrap()).as_ref());
    assert_eq!(
        (report.whole_from, report.problems),
        (Some(1), vec![]),
        "what was read back has the digest of what was written"
    );
    assert_eq!(world.store.of(&world.namespace, "shop-2").load_history().await.unwrap().releases(), []);
}

#[tokio::test]
async fn an_outcome_is_written_once() {
    let world = World::new().await;
    let made = world.shop.create_release(release(1)).await.unwrap();
    let ended = world.shop.set_outcome(&made, outcome(Phase::Healthy)).await.unwrap();

    let again = world.shop.set_outcome(&ended, outcome(Phase::Failed)).await;
    assert!(matches!(again, Err(StoreError::Ended(1))), "{again:?}");
    let stale = world.shop.set_outcome(&made, outcome(Phase::Failed)).await.unwrap_err();
    assert!(stale.is_conflict() && stale.is_lost_race(), "{stale}");
    for forged in
        [r#"{"status":{"outcome":{"phase":"Failed"}}}"#, r#"{"status":{"outcome":null}}"#, r#"{"status":null}"#]
    {
        let refused = world
            .kubectl(&["patch", "release", "shop-1", "--subresource=status", "--type=merge", "-p", forged])
            .unwrap_err();
        assert!(refused.contains("the outcome of a Release is written once"), "{refused}");
    }
}

#[tokio::test]
async fn a_release_never_changes_and_bears_its_own_name() {
    let world = World::new().await;
    let made = world.shop.create_release(release(1)).await.unwrap();
    let refused =
        world.kubectl(&["patch", "release", "shop-1", "--type=merge", "-p", r#"{"spec":{"reason":"x"}}"#]).unwrap_err();
    assert!(refused.contains("the spec of a Release never changes"), "{refused}");
    let mut copy = serde_json::to_value(&made).unwrap();
    copy["metadata"] = serde_json::json!({ "name": "shop-7", "namespace": world.namespace });
    let refused = world.create(&copy).unwrap_err();
    assert!(refused.contains("the name of a Release is its application and number"), "{refused}");
}

#[tokio::test]
async fn a_release_that_lost_its_label_is_still_found() {
    let world = World::new().await;
    world.shop.create_release(release(1)).await.unwrap();
    world.kubectl(&["label", "release", "shop-1", "bowline.dev/application-"]).unwrap();
    assert_eq!(world.shop.load_history().await.unwrap().next_number(), 2);
}

#[tokio::test]
async fn deleting_names_the_uid_and_a_gone_release_is_no_error() {
    let world = World::new().await;
    let first = world.shop.create_release(release(1)).await.unwrap();
    world.shop.delete_release(&first).await.unwrap();
    world.shop.delete_release(&first).await.unwrap();
    let second: Release = world.shop.create_release(release(1)).await.unwrap();
    world.shop.delete_release(&first).await.unwrap();
    assert_eq!(world.shop.load_release(1).await.unwrap().unwrap().metadata.uid, second.metadata.uid);
}
