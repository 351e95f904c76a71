//! Two controllers, one leader.

use serde_json::json;

use crate::world::{Site, Start, Team, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_controller_does_nothing_until_the_first_is_gone() {
    let site = Site::new();
    let mut first = site.start(&Start::default());
    first.wait_for_log("leading");
    let mut second = site.start(&Start::default());
    second.wait_for_log("started");
    let team = Team::at(&site, "lease").await;
    let one = team.push("One", &[("deploy/one.yaml", config_map("one", "1").to_string())]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &one).await;
    assert!(!second.log().contains("leading"), "two lead");

    let two = team.push("Two", &[("deploy/one.yaml", config_map("one", "2").to_string())]);
    first.kill();
    assert_eq!(team.until_synced("shop", &two).await, 2);
    assert!(second.log().contains("leading"));
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");

    // The first comes back and is second now.
    first.start_again();
    let three = team.push("Three", &[("deploy/one.yaml", config_map("one", "3").to_string())]);
    assert_eq!(team.until_synced("shop", &three).await, 3);
    assert_eq!(first.log().matches("leading").count(), 1);
}
