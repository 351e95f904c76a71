//! What the definitions refuse, and in which words.

use rstest::rstest;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn an_application_needs_only_a_repository() {
    let world = World::new().await;
    let application = world.application().await;
    assert_eq!(application.spec.destination.service_account_name, "bowline-deployer");
    assert_eq!(application.spec.sync.timeout.to_string(), "5m");
    assert_eq!(application.spec.sync.guards.max_prune_percent, 50);
    assert_eq!((application.spec.rollback.automatic, application.spec.rollback.history_limit), (true, 10));
}

#[rstest]
#[case::scheme(json!({"source": {"repoURL": "ftp://example.com/shop.git"}}), "must be an https, http, ssh or file URL, or user@host:path")]
#[case::host_without_user(json!({"source": {"repoURL": "example.com:shop.git"}}), "must be an https, http, ssh or file URL, or user@host:path")]
#[case::credentials(json!({"source": {"repoURL": "https://ada:secret@example.com/shop.git"}}), "must not hold credentials: put them into a Secret and name it in source.secretRef")]
#[case::leaving_the_repository(json!({"source": {"path": "deploy/../../etc"}}), "must be relative to the root of the repository and stay within it")]
#[case::absolute_path(json!({"source": {"path": "/etc"}}), "must be relative to the root of the repository and stay within it")]
#[case::no_duration(json!({"source": {"interval": "1 minute"}}), "spec.source.interval in body should match")]
#[case::unknown_mode(json!({"sync": {"mode": "Auto"}}), r#"supported values: "Automatic", "Manual""#)]
#[case::share(json!({"sync": {"guards": {"maxPrunePercent": 101}}}), "should be less than or equal to 100")]
#[case::short_history(json!({"rollback": {"historyLimit": 1}}), "should be greater than or equal to 2")]
#[case::ignores_nothing(json!({"sync": {"ignore": [{"kind": "Deployment"}]}}), "name at least one pointer or manager")]
#[case::no_pointer(json!({"sync": {"ignore": [{"pointers": ["spec/replicas"]}]}}), "spec.sync.ignore[0].pointers[0] in body should match")]
#[case::namespace(json!({"destination": {"namespace": "Team_A"}}), "spec.destination.namespace in body should match")]
#[tokio::test]
async fn a_wrong_application_is_refused_in_words_that_help(#[case] change: Value, #[case] expected: &str) {
    let world = World::new().await;
    let mut spec = json!({ "source": { "repoURL": "https://example.com/shop.git" } });
    json_patch::merge(&mut spec, &change);
    let refused = create(&world, "Application", "shop", &spec).unwrap_err();
    assert!(refused.contains(expected), "{refused}");
}

#[rstest]
#[case::too_long(&"a".repeat(53), "has at most 52 characters")]
#[case::dots("shop.web", "the name of an Application has no dots")]
#[tokio::test]
async fn a_name_must_leave_room_for_releases(#[case] name: &str, #[case] expected: &str) {
    let world = World::new().await;
    let refused = create(&world, "Application", name, &json!({ "source": { "repoURL": "https://example.com/a.git" } }))
        .unwrap_err();
    assert!(refused.contains(expected), "{refused}");
}

#[rstest]
#[case::no_time("Suspension", json!({ "applicationRef": { "name": "shop" }, "reason": "x", "until": "tomorrow" }), "must be of type date-time")]
#[case::no_reason("Suspension", json!({ "applicationRef": { "name": "shop" } }), "spec.reason: Required value")]
#[case::no_digest("SyncRequest", json!({ "applicationRef": { "name": "shop" }, "accept": "7be1" }), "spec.accept in body should match")]
#[case::from_where("RollbackRequest", json!({ "applicationRef": { "name": "shop" } }), "spec.fromRelease: Required value")]
#[case::include("RollbackRequest", json!({ "applicationRef": { "name": "shop" }, "fromRelease": 2, "include": ["Everything"] }), r#"supported values: "Jobs", "Claims", "Namespaces", "CRDs", "Hooks""#)]
#[tokio::test]
async fn a_wrong_request_is_refused_in_words_that_help(
    #[case] kind: &str,
    #[case] spec: Value,
    #[case] expected: &str,
) {
    let world = World::new().await;
    let refused = create(&world, kind, "one", &spec).unwrap_err();
    assert!(refused.contains(expected), "{refused}");
}

#[tokio::test]
async fn a_request_never_changes() {
    let world = World::new().await;
    create(&world, "SyncRequest", "one", &json!({ "applicationRef": { "name": "shop" } })).unwrap();
    let refused = world
        .kubectl(&["patch", "syncrequest", "one", "--type=merge", "-p", r#"{"spec":{"dryRun":true}}"#])
        .unwrap_err();
    assert!(refused.contains("a request never changes: make a new one"), "{refused}");
}

#[tokio::test]
async fn all_resources_are_listed_by_their_category_with_columns() {
    let world = World::new().await;
    world.application().await;
    let listed = world.kubectl(&["get", "bowline"]).unwrap();
    assert!(
        listed.contains("REVISION") && listed.contains("RELEASE") && listed.contains("application.bowline.dev/shop"),
        "{listed}"
    );
}

fn create(world: &World, kind: &str, name: &str, spec: &Value) -> Result<String, String> {
    world.create(&json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": kind,
        "metadata": { "name": name, "namespace": world.namespace }, "spec": spec
    }))
}
