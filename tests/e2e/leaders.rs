//! One replica leads, the others are warm, and whoever led before does no harm.

use std::time::{Duration, Instant};

use bowline::history;
use rig::{Fault, FaultProxy, Seen};
use serde_json::{Value, json};

use crate::world::{Controller, Site, Start, Team, Watched, config_map, eventually, yaml};

/// Two ConfigMaps that each commit changes, and one that comes and goes.
fn files(commit: usize) -> Vec<(&'static str, String)> {
    let objects = [
        config_map("one", &commit.to_string()),
        config_map("two", &commit.to_string()),
        config_map(&format!("only-{commit}"), "here"),
    ];
    vec![("deploy/all.yaml", yaml(&objects))]
}

fn quick() -> Value {
    json!({
        "source": {"interval": "500ms"},
        "sync": {"timeout": "60s", "guards": {"maxPrunePercent": 100}},
        "rollback": {"historyLimit": 100},
    })
}

/// The cluster is what the commit says, and its history is one story.
async fn check(team: &Team<'_>, commit: usize, when: &str) {
    for name in ["one", "two"] {
        let object = team.get("configmaps", name).await.unwrap();
        assert_eq!(object["data"]["key"], commit.to_string(), "{name} {when}");
    }
    let mut names: Vec<String> = team
        .list("configmaps")
        .await
        .iter()
        .filter(|object| object["metadata"]["labels"]["bowline.dev/set"].is_string())
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["one".to_owned(), format!("only-{commit}"), "two".to_owned()], "{when}");
    let releases = team.releases("shop").await;
    let story = team.history("shop").await;
    let expected: Vec<String> = (1..=commit).map(|number| format!("{number} Push Healthy")).collect();
    assert_eq!(story, expected.join("\n"), "one release a commit, {when}");
    let status: bowline::api::ApplicationStatus = serde_json::from_value(team.status("shop").await).unwrap();
    let report = history::verify(&releases, status.chain.as_ref());
    assert!(report.problems.is_empty(), "{when}: {report:?}");
    assert_eq!(status.release.map(|release| release.number), Some(commit as u64), "the status {when}");
}

/// Two replicas; the first leads.
async fn two(site: &Site) -> (Controller, Controller, Team<'_>) {
    let mut first = site.start(&Start::default());
    first.wait_for_log("leading");
    let mut second = site.start(&Start::default());
    second.wait_for_log("another replica leads");
    let team = Team::at(site, "leaders").await;
    let commit = team.push("One", &files(1));
    team.deploy_shop(quick());
    team.until_synced("shop", &commit).await;
    (first, second, team)
}

/// The number of renewals and of other requests of all controllers.
fn asked(site: &Site, mark: u64) -> (usize, Vec<String>) {
    let asked = site.cluster.audit_log().by_user_agent(mark, "bowline-controller").unwrap();
    let (renewals, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|request| {
        let lease = request.object_ref.as_ref().is_some_and(|about| about.resource == "leases");
        request.verb == "watch" || (lease && request.verb == "update")
    });
    (renewals.len(), others.iter().map(|request| format!("{} {}", request.verb, request.uri)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_warm_and_silent_and_takes_over_from_a_leader_that_stops() {
    let site = Site::new();
    let (mut first, mut second, team) = two(&site).await;
    let leader = site.cluster.kubectl(&["-n", "bowline-system", "get", "lease", "-o", "jsonpath={..holderIdentity}"]);
    let said = second.log();
    let said = said.lines().find(|line| line.contains("another replica leads")).unwrap();
    assert!(said.contains(leader.unwrap().trim()), "it says who: {said}");

    team.polls(6).await;
    let mark = site.cluster.audit_log().mark().unwrap();
    let (leading, following) = (first.memory(), second.memory());
    team.polls(20).await;
    let (renewals, others) = asked(&site, mark);
    assert!(renewals > 0 && others.is_empty(), "{renewals} renewals, and beside them {others:#?}");

    let stopped = Instant::now();
    first.stop();
    second.wait_for_log(" leading ");
    let took = stopped.elapsed();
    let said = second.log();
    let said = said.lines().find(|line| line.contains(" leading ")).unwrap();
    assert!(!said.contains("warm_watches=0"), "its watches were in sync before: {said}");
    let commit = team.push("Two", &files(2));
    team.until_synced("shop", &commit).await;
    check(&team, 2, "after a clean stop").await;
    eprintln!(
        "figure: clean stop: another replica leads {:.2} s after the signal; resident: leader {leading:.0} MiB, follower {following:.0} MiB",
        took.as_secs_f64()
    );
    assert!(took < Duration::from_secs(8), "nobody waits for a lease that was released: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed_and_its_successor_under_the_same_name_waits_for_nobody() {
    let site = Site::new();
    let (mut first, mut second, team) = two(&site).await;
    let commit = team.push("Two", &files(2));
    team.until_synced("shop", &commit).await;
    let killed = Instant::now();
    first.kill();
    second.wait_for_log(" leading ");
    let led = killed.elapsed();
    let commit = team.push("Three", &files(3));
    team.until_synced("shop", &commit).await;
    check(&team, 3, "after a leader was killed").await;
    eprintln!("figure: SIGKILL of the leader: another replica leads {:.1} s later", led.as_secs_f64());
    assert!(led < Duration::from_secs(30), "{led:?}");

    // Nobody else is there: the same replica comes back, over the same cache.
    let changed_hands =
        || site.cluster.kubectl(&["-n", "bowline-system", "get", "lease", "-o", "jsonpath={..leaseTransitions}"]);
    let before = changed_hands().unwrap();
    let killed = Instant::now();
    second.kill();
    second.start_again();
    eventually("it leads again", async || if second.says(" leading ") == 2 { Ok(()) } else { Err(second.log()) }).await;
    let led = killed.elapsed();
    assert_eq!(changed_hands().unwrap(), before, "its own lease is taken up, not taken over");
    let commit = team.push("Four", &files(4));
    team.until_synced("shop", &commit).await;
    check(&team, 4, "after it came back").await;
    eprintln!("figure: SIGKILL and start of the only replica: it leads {:.1} s later", led.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_does_not_go_on_where_it_was() {
    let site = Site::new();
    let (mut first, mut second, team) = two(&site).await;
    // It is stopped in the middle of a release.
    let half = |seen: &Watched| seen.kind == "MODIFIED" && seen.object["data"]["key"] == "2";
    let seen = team.watch("configmaps", half, 1).await;
    team.push("Two", &files(2));
    seen.await.unwrap();
    first.pause();
    second.wait_for_log(" leading ");
    eventually("the release is finished", async || {
        let story = team.history("shop").await;
        if story.ends_with("2 Push Healthy") { Ok(()) } else { Err(story) }
    })
    .await;
    let commit = team.push("Three", &files(3));
    team.until_synced("shop", &commit).await;
    check(&team, 3, "while the old leader is stopped").await;

    first.go_on();
    first.wait_for_log("this replica follows now");
    team.polls(6).await;
    check(&team, 3, "after the old leader went on").await;
    first.check();
    // It leads again when its turn comes.
    second.stop();
    let commit = team.push("Four", &files(4));
    team.until_synced("shop", &commit).await;
    check(&team, 4, "under the old leader again").await;
    assert_eq!(first.says(" leading "), 2);
}

/// What is on its way when the leader stops.
type OnItsWay = (&'static str, fn(&Seen) -> bool);

const ON_THEIR_WAY: [OnItsWay; 5] = [
    ("a release", |seen| seen.method == "POST" && seen.path.ends_with("/releases")),
    ("an update of an object", |seen| seen.path.ends_with("/configmaps/one") && !seen.query.contains("dryRun")),
    ("the outcome of a release", |seen| seen.method == "PATCH" && seen.path.contains("/releases/")),
    ("the inventory", |seen| seen.method != "GET" && seen.path.contains("/inventories")),
    ("the status of the application", |seen| seen.method == "PATCH" && seen.path.contains("/applications/")),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_when_the_leader_stopped_comes_too_late() {
    let site = Site::new();
    let proxy = FaultProxy::start(&site.cluster).unwrap();
    let kubeconfig = Some(proxy.kubeconfig_path().to_owned());
    let mut old = site.start(&Start { kubeconfig, ..Start::default() });
    old.wait_for_log("leading");
    let team = Team::at(&site, "late").await;
    let mut number = 1;
    let commit = team.push("One", &files(number));
    team.deploy_shop(quick());
    team.until_synced("shop", &commit).await;
    for (terms, (what, which)) in ON_THEIR_WAY.into_iter().enumerate() {
        let mut new = site.start(&Start::default());
        new.wait_for_log("another replica leads");
        proxy.strike(which, Fault::Silence);
        number += 1;
        team.push(&format!("Commit {number}"), &files(number));
        eventually(&format!("{what} is on its way"), async || if proxy.struck() > 0 { Ok(()) } else { Err(old.log()) })
            .await;
        old.pause();
        new.wait_for_log(" leading ");
        number += 1;
        let commit = team.push(&format!("Commit {number}"), &files(number));
        team.until("shop", "Synced with the new leader", |status| {
            status["sync"] == "Synced" && status["head"]["commit"] == commit.as_str()
        })
        .await;
        // Whether the commit between became a release depends on what was on its way.
        let before = team.history("shop").await;
        let objects = live(&team).await;

        // The network delivers it now, while whoever sent it still stands.
        proxy.end();
        team.polls(6).await;
        assert_eq!(team.history("shop").await, before, "{what} came too late");
        assert_eq!(live(&team).await, objects, "{what} came too late");
        old.go_on();
        eventually("the old leader follows", async || {
            if old.says("this replica follows now") == terms + 1 { Ok(()) } else { Err(old.log()) }
        })
        .await;
        team.polls(6).await;
        assert_eq!(team.history("shop").await, before, "after {what} came too late");
        let status = team.status("shop").await;
        assert_eq!(status["head"]["commit"], commit.as_str(), "the status after {what} came too late: {status:#}");
        let releases = team.releases("shop").await;
        assert_eq!(status["release"]["number"], releases.len() as u64, "{status:#}");
        let read: bowline::api::ApplicationStatus = serde_json::from_value(status).unwrap();
        let report = history::verify(&releases, read.chain.as_ref());
        assert!(report.problems.is_empty(), "{report:?}");
        new.stop();
        eventually("the old leader leads again", async || {
            if old.says(" leading ") == terms + 2 { Ok(()) } else { Err(old.log()) }
        })
        .await;
    }
}

/// What the application has, with its content.
async fn live(team: &Team<'_>) -> Vec<String> {
    let mut objects: Vec<String> = team
        .list("configmaps")
        .await
        .iter()
        .filter(|object| object["metadata"]["labels"]["bowline.dev/set"].is_string())
        .map(|object| format!("{} {} {}", object["metadata"]["name"], object["metadata"]["uid"], object["data"]))
        .collect();
    objects.sort();
    objects
}
