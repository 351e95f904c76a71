//! A fingerprint that is wrong cannot stay unseen where deep checks are on.

use bowline::{
    api::InventoryEntry,
    plan::{Policy, ownership::fingerprint},
};
use serde_json::{Value, json};

use crate::world::{SYSTEM, Site, Start, Team, config_map, eventually, yaml};

/// Writes into the inventory that an object is as it was applied, as it is now.
async fn record_as_it_is(team: &Team<'_>, resource: &str, name: &str) {
    let live = team.get(resource, name).await.unwrap();
    let hands = Policy::HAND_MANAGERS.iter().map(ToString::to_string).collect();
    let wrong = fingerprint(&live, &format!("bowline/{}/shop", team.namespace), &[], &hands).unwrap();
    let mut recorded = 0;
    for bucket in team.list("inventories").await {
        let mut entries = bucket["spec"]["entries"].clone();
        for line in entries.as_array_mut().into_iter().flatten() {
            let mut entry: InventoryEntry = line.as_str().unwrap().parse().unwrap();
            if entry.id.name == name {
                entry.fingerprint = Some(wrong.clone());
                *line = json!(entry.to_string());
                recorded += 1;
            }
        }
        let bucket_name = bucket["metadata"]["name"].as_str().unwrap();
        team.patch("inventories", bucket_name, "test", &json!({"spec": {"entries": entries}})).await;
    }
    assert_eq!(recorded, 1);
}

async fn repairs(team: &Team<'_>) -> u32 {
    let releases = team.releases("shop").await;
    let after = releases.last().and_then(|release| release.status.as_ref()?.after.clone());
    after.map(|after| after.repairs).unwrap_or_default()
}

async fn key(team: &Team<'_>, name: &str) -> Value {
    team.get("configmaps", name).await.unwrap()["data"]["key"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_finds_what_a_wrong_fingerprint_hides() {
    let site = Site::new();
    let mut blind = site.start(&Start::default());
    let team = Team::at(&site, "deep").await;
    let objects: Vec<Value> = (0..6).map(|number| config_map(&format!("item-{number}"), "git")).collect();
    let commit = team.push("Six", &[("deploy/all.yaml", yaml(&objects))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;
    blind.kill();
    team.patch("configmaps", "item-3", "tool", &json!({"data": {"key": "hand"}})).await;
    record_as_it_is(&team, "configmaps", "item-3").await;

    let free_the_lease = || site.cluster.kubectl(&["-n", SYSTEM, "delete", "lease", "bowline"]).unwrap();
    free_the_lease();
    let mut blind = site.start(&Start::default());
    blind.wait_for_log("remembered");
    team.polls(3).await;
    assert_eq!(key(&team, "item-3").await, "hand", "without deep checks nobody sees it");
    assert_eq!(blind.metric("bowline_deep_checks"), Vec::<String>::new());
    blind.kill();
    free_the_lease();

    let seeing = site.start(&Start { arguments: vec!["--deep-check-per-hour", "18000"], ..Start::default() });
    eventually("item-3 is as in Git", async || match key(&team, "item-3").await {
        key if key == "git" => Ok(()),
        key => Err(key),
    })
    .await;
    eventually("the repair is counted", async || match repairs(&team).await {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
    let events = team.events("shop").await;
    let told =
        events.iter().find(|event| event.starts_with("DeepCheckFound: ")).unwrap_or_else(|| panic!("{events:#?}"));
    assert!(told.contains("item-3 data.key: drifted (changed by tool)"), "{told}");
    assert_eq!(seeing.metric("bowline_deep_checks_total{outcome=\"different\"}").len(), 1);

    // It goes round, finds nothing more, and writes nothing.
    let mark = site.cluster.audit_log().mark().unwrap();
    eventually("each object was tried again", async || {
        let asked = site.cluster.audit_log().by_user_agent(mark, "bowline-controller").unwrap();
        let tried: std::collections::BTreeSet<String> = asked
            .iter()
            .filter(|request| request.verb == "patch" && request.uri.contains("dryRun=All"))
            .filter_map(|request| request.object_ref.clone().map(|about| about.name))
            .collect();
        if tried.len() == objects.len() { Ok(()) } else { Err(format!("{tried:?}")) }
    })
    .await;
    let asked = site.cluster.audit_log().by_user_agent(mark, "bowline-controller").unwrap();
    let written: Vec<_> = asked
        .iter()
        .filter(|request| !["get", "list", "watch"].contains(&request.verb.as_str()))
        .filter(|request| request.object_ref.as_ref().is_some_and(|about| about.resource == "configmaps"))
        .filter(|request| !request.uri.contains("dryRun=All"))
        .map(|request| &request.uri)
        .collect();
    assert!(written.is_empty(), "{written:#?}");
    assert_eq!(repairs(&team).await, 1);
}
