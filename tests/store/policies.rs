//! Who asks is said by the API server, and not by who asks.

use std::path::Path;

use bowline::cluster::store::RequestPolicies;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::World;

const REQUESTS: &[&str] =
    &["--verb=create,get", "--resource=syncrequests.bowline.dev,rollbackrequests.bowline.dev,suspensions.bowline.dev"];

#[tokio::test]
async fn the_policies_are_known_to_be_in_force() {
    let world = World::new().await;
    let expected = RequestPolicies { names_are_verified: true, approvals_are_checked: true };
    assert_eq!(world.store.request_policies().await.unwrap(), expected);
}

#[rstest]
#[case::sync("SyncRequest", json!({}))]
#[case::rollback("RollbackRequest", json!({ "fromRelease": 3 }))]
#[case::suspension("Suspension", json!({ "reason": "release party" }))]
#[tokio::test]
async fn a_request_bears_the_name_of_who_made_it_whatever_it_says(#[case] kind: &str, #[case] spec: Value) {
    let world = World::new().await;
    let ada = world.user("ada", &[REQUESTS]);
    for forged in [json!({}), json!({ "requestedBy": "grace" })] {
        let spec = merged(&spec, &forged);
        assert_eq!(requested_by(&world, &ada, kind, spec).unwrap(), "ada");
    }
}

#[rstest]
#[case::accept("accept", "accept", "to let rejected content in again needs the verb accept on the Application shop")]
#[case::prune(
    "allowPrune",
    "allow-prune",
    "to let a guarded prune pass needs the verb allow-prune on the Application shop"
)]
#[tokio::test]
async fn what_was_held_back_needs_a_verb_of_its_own(#[case] field: &str, #[case] verb: &str, #[case] expected: &str) {
    let world = World::new().await;
    let spec = json!({ field: format!("v1:{}", "a".repeat(64)) });
    let ada = world.user("ada", &[REQUESTS]);
    let refused = requested_by(&world, &ada, "SyncRequest", spec.clone()).unwrap_err();
    assert!(refused.contains(expected), "{refused}");

    let verb = format!("--verb={verb}");
    let rights: &[&str] = &[&verb, "--resource=applications.bowline.dev", "--resource-name=shop"];
    let grace = world.user("grace", &[REQUESTS, rights]);
    assert_eq!(requested_by(&world, &grace, "SyncRequest", spec.clone()).unwrap(), "grace");
    let other = merged(&spec, &json!({ "applicationRef": { "name": "billing" } }));
    let refused = requested_by(&world, &grace, "SyncRequest", other).unwrap_err();
    assert!(refused.contains("on the Application billing"), "{refused}");
}

#[tokio::test]
async fn the_controller_may_answer_a_request_that_is_not_its_own() {
    let world = World::new().await;
    let ada = world.user("ada", &[REQUESTS]);
    requested_by(&world, &ada, "SyncRequest", json!({})).unwrap();
    let patch = r#"{"status":{"phase":"Running"}}"#;
    let requests = world.kubectl(&["get", "syncrequests", "-o", "name"]).unwrap();
    world.kubectl(&["patch", requests.trim(), "--subresource=status", "--type=merge", "-p", patch]).unwrap();
    let by = world.kubectl(&["get", requests.trim(), "-o", "jsonpath={.spec.requestedBy} {.status.phase}"]).unwrap();
    assert_eq!(by, "ada Running");
}

/// Makes a request as somebody, and says who asks by what is stored.
fn requested_by(world: &World, kubeconfig: &Path, kind: &str, spec: Value) -> Result<String, String> {
    let request = json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": kind,
        "metadata": { "generateName": "shop-", "namespace": world.namespace },
        "spec": merged(&json!({ "applicationRef": { "name": "shop" } }), &spec)
    });
    // A role is known to the authorizer a moment after it was made.
    let begun = std::time::Instant::now();
    loop {
        match world.create_as(kubeconfig, &request) {
            Err(error) if error.contains("cannot create resource") && begun.elapsed().as_secs() < 5 => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => {
                let created: Value = serde_json::from_str(&other?).map_err(|error| error.to_string())?;
                return Ok(created["spec"]["requestedBy"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut merged = one.clone();
    json_patch::merge(&mut merged, other);
    merged
}
