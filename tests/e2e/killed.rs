//! A controller that is killed, at any moment, goes on where it was.

use std::{collections::BTreeMap, time::Duration};

use bowline::{api, history};
use serde_json::{Value, json};

use crate::world::{Controller, Site, Start, Team, Watched, config_map, deployment, rollback_request, secret, yaml};

/// How many objects come and go with each round.
const WAVE: usize = 12;

/// What a round pushes: a wave of objects of its own, so that the wave before
/// is pruned, and three objects that change.
fn objects(round: usize) -> Vec<Value> {
    let mut web = deployment("web", "registry.example/web:1");
    web["spec"]["template"]["metadata"]["annotations"] = json!({"round": round.to_string()});
    let mut objects =
        vec![web, secret("credentials", &format!("secret-{round}")), config_map("settings", &round.to_string())];
    objects.extend((0..WAVE).map(|number| config_map(&format!("wave-{round}-{number}"), "here")));
    objects
}

fn names(objects: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = objects
        .iter()
        .map(|object| format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()))
        .collect();
    names.sort();
    names
}

/// A moment between intent and outcome, as it is seen from outside.
struct Moment {
    what: &'static str,
    resource: &'static str,
    is_it: fn(&Watched) -> bool,
    /// How many such changes there are until the moment has come.
    times: usize,
}

const fn moment(what: &'static str, resource: &'static str, is_it: fn(&Watched) -> bool) -> Moment {
    Moment { what, resource, is_it, times: 1 }
}

fn of_a_wave(watched: &Watched) -> bool {
    watched.object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("wave-"))
}

const MOMENTS: [Moment; 11] = [
    moment("a chunk of the bundle is stored", "bundlechunks", |seen| seen.kind == "ADDED"),
    moment("the bundle is stored", "bundles", |seen| seen.kind == "ADDED"),
    moment("the Release is made", "releases", |seen| seen.kind == "ADDED"),
    moment("the intent is in the inventory", "inventories", |seen| seen.kind != "DELETED"),
    moment("the first object is written", "configmaps", |seen| seen.kind == "ADDED" && of_a_wave(seen)),
    Moment {
        times: WAVE / 2,
        ..moment("half is written", "configmaps", |seen| seen.kind == "ADDED" && of_a_wave(seen))
    },
    Moment {
        times: WAVE,
        ..moment("the wave is written", "configmaps", |seen| seen.kind == "ADDED" && of_a_wave(seen))
    },
    moment("the Deployment is written", "apps/v1/deployments", |seen| seen.kind == "MODIFIED"),
    moment("the first object is pruned", "configmaps", |seen| seen.kind == "DELETED"),
    moment("the release waits for health", "releases", |seen| seen.object["status"]["phase"] == "Waiting"),
    moment("the outcome is written", "releases", |seen| !seen.object["status"]["outcome"].is_null()),
];

struct Story<'a> {
    team: Team<'a>,
    controller: Controller,
    round: usize,
}

impl Story<'_> {
    /// Pushes the next round; its commit.
    fn push(&mut self) -> String {
        self.round += 1;
        let subject = format!("Round {}", self.round);
        self.team.push(&subject, &[("deploy/all.yaml", yaml(&objects(self.round)))])
    }

    async fn kill_at(&mut self, moment: &Moment, act: impl AsyncFnOnce(&mut Self)) {
        let seen = self.team.watch(moment.resource, moment.is_it, moment.times).await;
        act(self).await;
        let what = moment.what;
        seen.await.unwrap_or_else(|error| panic!("it never came so far that {what}: {error}"));
        self.controller.start_at_once(self.team.site);
    }

    /// Everything is as it would be had nobody been killed.
    async fn check(&self, after: &str, objects: &[Value]) {
        let (team, wanted) = (&self.team, names(objects));
        let mut live = BTreeMap::new();
        for (kind, resource) in
            [("ConfigMap", "configmaps"), ("Secret", "secrets"), ("Deployment", "apps/v1/deployments")]
        {
            for object in team.list(resource).await {
                if object["metadata"]["labels"]["bowline.dev/set"].is_string() {
                    let name = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap());
                    live.insert(name, object["metadata"]["uid"].as_str().unwrap().to_owned());
                }
            }
        }
        assert_eq!(live.keys().cloned().collect::<Vec<_>>(), wanted, "the objects in the cluster, killed when {after}");

        let mut known = BTreeMap::new();
        for inventory in team.list("inventories").await {
            let inventory: api::Inventory = serde_json::from_value(inventory).unwrap();
            for entry in inventory.spec.entries {
                let before =
                    known.insert(format!("{} {}", entry.id.kind, entry.id.name), entry.uid.unwrap_or_default());
                assert_eq!(before, None, "an object is in the inventory once");
            }
        }
        assert_eq!(known, live, "the inventory, killed when {after}");

        let web = team.get("apps/v1/deployments", "web").await.unwrap();
        assert_eq!(web["status"]["observedGeneration"], web["metadata"]["generation"], "healthy too early, {after}");
        assert_eq!(web["status"]["availableReplicas"], 1, "healthy too early, {after}");

        let releases = team.releases("shop").await;
        let numbers: Vec<u64> = releases.iter().map(|release| release.spec.number).collect();
        assert_eq!(numbers, (1..=releases.len() as u64).collect::<Vec<_>>(), "killed when {after}");
        for release in &releases {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            let phase = outcome.map(|outcome| outcome.phase);
            assert_eq!(phase, Some(api::Phase::Healthy), "release {} killed when {after}", release.spec.number);
        }
        let status: api::ApplicationStatus = serde_json::from_value(team.status("shop").await).unwrap();
        let report = history::verify(&releases, status.chain.as_ref());
        assert!(report.problems.is_empty(), "killed when {after}: {report:?}");
    }
}

async fn story(site: &Site) -> Story<'_> {
    let controller = site.start(&Start::default());
    let mut story = Story { team: Team::at(site, "killed").await, controller, round: 0 };
    let commit = story.push();
    story.team.deploy_shop(json!({
        "source": {"interval": "200ms"},
        "sync": {"timeout": "60s", "guards": {"maxPrunePercent": 100}},
        "rollback": {"historyLimit": 100},
    }));
    story.team.until_synced("shop", &commit).await;
    story.check("nothing was", &objects(1)).await;
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_at_each_step_finishes_the_same_release() {
    let site = Site::new();
    let mut story = story(&site).await;
    for moment in &MOMENTS {
        let mut commit = String::new();
        story.kill_at(moment, async |story| commit = story.push()).await;
        let number = story.team.until_synced("shop", &commit).await;
        assert_eq!(number, story.round as u64, "one release a commit, killed when {}", moment.what);
        story.check(moment.what, &objects(story.round)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_during_a_rollback_finishes_it_once() {
    let site = Site::new();
    let mut story = story(&site).await;
    let commit = story.push();
    story.team.until_synced("shop", &commit).await;
    let running =
        moment("the request is Running", "rollbackrequests", |seen| seen.object["status"]["phase"] == "Running");
    let answered =
        moment("the request is answered", "rollbackrequests", |seen| seen.object["status"]["phase"] == "Succeeded");
    let (made, written, pruned, ended) = (&MOMENTS[2], &MOMENTS[4], &MOMENTS[8], &MOMENTS[10]);
    let mut from = 2;
    for moment in [made, &running, written, pruned, ended, &answered] {
        // There and back again: each goes back to what the one before left.
        let request = rollback_request(&format!("back-from-{from}"), from, &json!({"toRelease": from - 1}));
        story.kill_at(moment, async |story| drop(story.team.create(&request))).await;
        let answer = story.team.until_answered("rollbackrequests", &format!("back-from-{from}")).await;
        assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(from + 1)), "{answer:#}");
        from += 1;
        let round = if from % 2 == 1 { 1 } else { 2 };
        story
            .team
            .until("shop", "at rest", |status| {
                status["release"]["number"] == from
                    && status["release"]["phase"] == "Healthy"
                    && status["sync"] != "Syncing"
            })
            .await;
        story.check(moment.what, &objects(round)).await;
        assert_eq!(
            story.team.releases("shop").await.len() as u64,
            from,
            "one release a request, killed when {}",
            moment.what
        );
    }
}

/// How many rounds are killed at random: `BOWLINE_TEST_KILLS`, or 5.
fn kills() -> usize {
    std::env::var("BOWLINE_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_again_and_again_at_any_moment_loses_nothing() {
    let site = Site::new();
    let mut story = story(&site).await;
    for _ in 0..kills() {
        let commit = story.push();
        let delays: Vec<u64> = (0..3).map(|_| rand::random_range(0..900)).collect();
        for delay in &delays {
            tokio::time::sleep(Duration::from_millis(*delay)).await;
            story.controller.start_at_once(&site);
        }
        let number = story.team.until_synced("shop", &commit).await;
        let after = format!("{delays:?} ms had passed");
        assert_eq!(number, story.round as u64, "one release a commit, killed when {after}");
        story.check(&after, &objects(story.round)).await;
    }
}
