//! The faults, by what they are like.

use std::time::Duration;

use rig::{Fault, FaultProxy, Seen};
use serde_json::json;

use super::story::{Round, Story};
use crate::world::{Application, Site, deployment, yaml};

/// How long most faults last: long enough for a few tries of everything.
const A_WHILE: Duration = Duration::from_secs(8);

fn answer(code: u16, retry_after: Option<u64>) -> Fault {
    Fault::Answer { code, retry_after }
}

/// All but the lease: whoever cannot renew it does nothing, which would hide
/// what is to be seen.
fn but_the_lease(seen: &Seen) -> bool {
    !seen.is_lease()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_refuse_are_outlived() {
    let site = Site::new();
    let mut story = Story::begin(&site).await;
    let round = |fault| Round { fault, lasts: A_WHILE };
    story
        .round(&round("every write is answered 409"), |proxy| {
            proxy.strike(|seen| but_the_lease(seen) && seen.is_write(), answer(409, None));
        })
        .await;
    story
        .round(&round("half of the writes are answered 409"), |proxy| {
            proxy.strike(|seen| but_the_lease(seen) && seen.is_write() && seen.is_of_share(50), answer(409, None));
        })
        .await;
    story
        .round(&round("watches are answered 410"), |proxy| {
            proxy.strike(|seen| seen.is_watch() && seen.number % 2 == 0, answer(410, None));
            proxy.strike(Seen::is_watch, Fault::Expired);
            assert!(proxy.cut_watches(|_| true) >= 8, "each kind has its watch");
        })
        .await;
    story
        .round(&round("every request is answered 429, Retry-After 1"), |proxy| {
            proxy.strike(but_the_lease, answer(429, Some(1)));
        })
        .await;
    story
        .round(&round("half of the requests are answered 429, Retry-After 1"), |proxy| {
            proxy.strike(|seen| but_the_lease(seen) && seen.is_of_share(50), answer(429, Some(1)));
        })
        .await;
    story.round(&round("every request is answered 500"), |proxy| proxy.strike(but_the_lease, answer(500, None))).await;
    story
        .round(&round("a third of the requests are answered 500"), |proxy| {
            proxy.strike(|seen| seen.is_of_share(33), answer(500, None));
        })
        .await;
    story.round(&round("every request is answered 503"), |proxy| proxy.strike(|_| true, answer(503, None))).await;
    story
        .round(&round("every patch of an object is answered 503"), |proxy| {
            proxy.strike(|seen| seen.method == "PATCH" && !seen.path.contains("bowline.dev"), answer(503, None));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_breaks_is_outlived() {
    let site = Site::new();
    let mut story = Story::begin(&site).await;
    let round = |fault, seconds| Round { fault, lasts: Duration::from_secs(seconds) };
    story.round(&round("connections are refused", 5), FaultProxy::refuse).await;
    story.round(&round("connections are refused for longer than the lease", 20), FaultProxy::refuse).await;
    story
        .round(&round("half of the answers are cut in the middle", 8), |proxy| {
            proxy.strike(|seen| but_the_lease(seen) && !seen.is_watch() && seen.is_of_share(50), Fault::Cut);
        })
        .await;
    story
        .round(&round("every answer to a write is cut in the middle", 8), |proxy| {
            proxy.strike(|seen| but_the_lease(seen) && seen.is_write(), Fault::Cut);
        })
        .await;
    story.round(&round("silence", 30), |proxy| proxy.strike(|_| true, Fault::Silence)).await;
    story
        .round(&round("every request is 700 ms late, its answer trickles", 8), |proxy| {
            let (latency, trickle) = (Duration::from_millis(700), Duration::from_millis(20));
            proxy.strike(|_| true, Fault::Slow { latency, trickle });
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_dies_without_a_word_is_found_out() {
    let site = Site::new();
    let mut story = Story::begin(&site).await;
    story
        .round(&Round { fault: "the watches of objects die without a word", lasts: A_WHILE }, |proxy| {
            let forgotten = proxy.forget_watches(|seen| !seen.path.contains("bowline.dev") && !seen.is_lease());
            assert!(forgotten >= 3, "{forgotten} watches were open");
        })
        .await;

    // A release whose objects become healthy behind a dead watch does not fail.
    let mut web = deployment("slow", "registry.example/web:1");
    web["spec"]["template"]["spec"]["nodeSelector"] = json!({"ready-for": "slow"});
    story.team.push("Slow", &[("slow/all.yaml", yaml(&[web]))]);
    let spec = json!({"source": {"interval": "500ms"}, "sync": {"timeout": "15s"}});
    story.team.deploy(&Application { name: "slow", path: "slow", spec });
    story.team.until("slow", "waits for a node", |status| status["release"]["phase"] == "Waiting").await;
    let forgotten = story.proxy.forget_watches(|seen| seen.path.contains("/deployments"));
    assert_eq!(forgotten, 1, "one watch for all");
    let nodes = site.cluster.kubectl(&["get", "nodes", "-o", "name"]).unwrap();
    site.cluster.kubectl(&["label", nodes.lines().next().unwrap(), "ready-for=slow"]).unwrap();
    story.team.until("slow", "has ended", |status| status["release"]["phase"] != "Waiting").await;
    assert_eq!(story.team.history("slow").await, "1 Push Healthy");
    assert!(story.controller.log().contains("a watch has not told of it"), "the watch was dead");
}
