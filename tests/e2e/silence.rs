//! An idle controller is idle.

use std::time::Duration;

use serde_json::json;

use crate::world::{Site, Start, Team, many_config_maps};

/// For how long nothing may be asked: `BOWLINE_TEST_SILENCE` seconds, or 20.
fn length() -> Duration {
    let seconds = std::env::var("BOWLINE_TEST_SILENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_the_server_while_nothing_happens() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "idle").await;
    let files: Vec<_> = (0..4).map(|part| (format!("part-{part}/all.yaml"), many_config_maps_of(part, 50))).collect();
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let commit = team.push("Two hundred objects", &files);
    for part in 0..4 {
        team.deploy(&crate::world::Application {
            name: &format!("part-{part}"),
            path: &format!("part-{part}"),
            spec: json!({}),
        });
    }
    for part in 0..4 {
        team.until_synced(&format!("part-{part}"), &commit).await;
    }
    // Events and statuses of the deployment are still on their way for a moment.
    team.polls(3).await;

    let log = site.cluster.audit_log();
    let (mark, polls) = (log.mark().unwrap(), team.git.requests());
    tokio::time::sleep(length()).await;
    let polled = team.git.requests() - polls;
    assert!(polled >= length().as_secs() / 2, "Git is asked all the while: {polled} times");
    let asked = log.by_user_agent(mark, "bowline-controller").unwrap();
    let (renewals, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|request| {
        let about = request.object_ref.clone().unwrap_or_default();
        request.verb == "watch"
            || (about.resource == "leases" && ["update", "patch", "get"].contains(&request.verb.as_str()))
    });
    assert!(!renewals.is_empty(), "the lease is renewed, so the log is the right one");
    let others: Vec<_> = others.iter().map(|request| format!("{} {}", request.verb, request.uri)).collect();
    assert!(others.is_empty(), "asked though nothing happened: {others:#?}");
}

fn many_config_maps_of(part: usize, count: usize) -> String {
    many_config_maps(count, "one").replace("\"item-", &format!("\"part-{part}-item-"))
}
