//! A thousand ordinary objects under the real controllers, for minutes: no
//! false drift, no write, and repairs that come to rest.
#![expect(clippy::print_stderr, reason = "what it measured is worth reading")]

use std::time::{Duration, Instant};

use rig::Request;
use serde_json::{Value, json};

use crate::world::{Controller, Site, Start, Team, is_synced, thousand_ordinary_objects, yaml};

/// How long nothing may drift: `BOWLINE_SOAK_MINUTES`, or 10.
fn length() -> Duration {
    let minutes = std::env::var("BOWLINE_SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok());
    Duration::from_secs_f64(minutes.unwrap_or(10.0) * 60.0)
}

/// What a controller logs when it begins to lead.
const LEADS: &str = " leading ";
/// How long a thousand objects may take on a busy machine until they are healthy.
const PATIENCE: Duration = Duration::from_secs(900);

/// Waits with more patience than other stories need.
async fn until(team: &Team<'_>, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + PATIENCE;
    loop {
        let status = team.status("shop").await;
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < limit, "not within {PATIENCE:?}: {what}: {status:#}\n{}", team.history("shop").await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the controller asked for after a mark that concerns the objects: all
/// but watches, its lease, Bowline's own resources and events. On a busy
/// machine it may lose the lease, and looks at what is kept when it leads again.
fn about_the_objects(site: &Site, mark: u64, led_again: bool) -> Vec<String> {
    let asked = site.cluster.audit_log().by_user_agent(mark, "bowline-controller").unwrap();
    let concerns = |request: &Request| {
        let about = request.object_ref.clone().unwrap_or_default();
        let looks_again = led_again && about.resource == "secrets" && request.uri.contains("bowline.dev%2Fbundle");
        request.verb != "watch"
            && !looks_again
            && about.resource != "leases"
            && about.resource != "events"
            && about.api_group != "bowline.dev"
    };
    asked.iter().filter(|it| concerns(it)).map(|request| format!("{} {}", request.verb, request.uri)).collect()
}

async fn repairs(team: &Team<'_>) -> u32 {
    let releases = team.releases("shop").await;
    let after = releases.last().and_then(|release| release.status.as_ref()?.after.clone());
    after.map(|after| after.repairs).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `cargo xtask test` runs it beside the others"]
async fn a_thousand_ordinary_objects_never_drift_by_themselves() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "soak").await;
    let objects = thousand_ordinary_objects();
    let commit = team.push("A thousand objects", &[("deploy/all.yaml", yaml(&objects))]);
    let began = Instant::now();
    team.deploy_shop(json!({"sync": {"timeout": "20m"}}));
    let status = until(&team, "a thousand objects are healthy", |status| is_synced(status, &commit)).await;
    assert_eq!(status["objects"]["total"], objects.len(), "{status:#}");
    eprintln!("a thousand objects were healthy after {} s", began.elapsed().as_secs());
    // Jobs that are complete are noted for a moment, and some are cleaned away.
    team.polls(5).await;

    let (mark, terms) = (site.cluster.audit_log().mark().unwrap(), controller.says(LEADS));
    let until_then = Instant::now() + length();
    let mut round = 0;
    while Instant::now() < until_then {
        // Pods come and go, so that the controllers have work all the time.
        let pods = format!("app=web-{}", 20 + round % 40);
        team.kubectl(&["delete", "pods", "-l", &pods, "--wait=false"]);
        if round % 10 == 0 {
            team.kubectl(&["rollout", "restart", &format!("deployment/web-{}", 20 + (round / 10) % 40)]);
        }
        round += 1;
        tokio::time::sleep(Duration::from_secs(3).min(length())).await;
        let status = team.status("shop").await;
        assert_eq!(status["objects"]["drifted"], 0, "after {round} rounds: {status:#}");
    }
    assert_eq!(repairs(&team).await, 0);
    let asked = about_the_objects(&site, mark, controller.says(LEADS) > terms);
    assert!(asked.is_empty(), "asked though nothing drifted: {asked:#?}");
    eprintln!("{} objects did not drift in {} s, with {round} disturbances", objects.len(), length().as_secs());

    repairs_come_to_rest(&site, &controller, &team, &commit).await;
}

/// Some of them are changed by hand, in all kinds of ways: each is put back
/// once, and then there is quiet again.
async fn repairs_come_to_rest(site: &Site, controller: &Controller, team: &Team<'_>, commit: &str) {
    let changes: [(&str, &str, Value); 8] = [
        ("configmaps", "config-1", json!({"data": {"settings.yaml": "hand"}})),
        ("secrets", "secret-1", json!({"data": {"user": "aGFuZA=="}})),
        ("services", "web-1", json!({"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}})),
        ("apps/v1/deployments", "web-30", json!({"spec": {"replicas": 0}})),
        (
            "apps/v1/statefulsets",
            "store-1",
            json!({"spec": {"template": {"metadata": {"annotations": {"by": "hand"}}}}}),
        ),
        ("policy/v1/poddisruptionbudgets", "web-1", json!({"spec": {"maxUnavailable": 2}})),
        ("batch/v1/cronjobs", "often-7", json!({"spec": {"schedule": "1 1 1 1 *"}})),
        ("networking.k8s.io/v1/networkpolicies", "web-1", json!({"spec": {"ingress": []}})),
    ];
    for (resource, name, patch) in &changes {
        team.patch(resource, name, "kubectl-edit", patch).await;
    }
    team.delete("configmaps", "config-2").await;
    let expected = u32::try_from(changes.len()).unwrap() + 1;
    let limit = Instant::now() + PATIENCE;
    while repairs(team).await < expected {
        assert!(Instant::now() < limit, "{} of {expected} repaired", repairs(team).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    until(team, "synced again", |status| is_synced(status, commit) && status["objects"]["drifted"] == 0).await;
    team.polls(5).await;
    let (mark, terms) = (site.cluster.audit_log().mark().unwrap(), controller.says(LEADS));
    team.polls(20).await;
    assert_eq!(repairs(team).await, expected, "each is repaired once");
    let asked = about_the_objects(site, mark, controller.says(LEADS) > terms);
    assert!(asked.is_empty(), "repairs have an end: {asked:#?}");
}
