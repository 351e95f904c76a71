//! One round: a fault, what happens meanwhile, and what is true afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bowline::{api, history};
use rig::FaultProxy;
use serde_json::{Value, json};

use crate::world::{
    Application, Controller, Site, Start, Team, config_map, deployment, eventually, rollback_request, secret, yaml,
};

/// How many objects come and go with each commit.
const WAVE: usize = 6;

/// A control plane, a controller that reaches it through the proxy, and a team
/// with an application that changes and one that does not.
pub struct Story<'a> {
    pub team: Team<'a>,
    pub proxy: FaultProxy,
    pub controller: Controller,
    commit: usize,
    /// uids of what no commit changes, and of what is nobody's.
    canaries: BTreeMap<String, String>,
    mark: u64,
}

/// What a round is about.
pub struct Round<'a> {
    pub fault: &'a str,
    /// How long the fault lasts.
    pub lasts: Duration,
}

/// The objects of a commit: a wave of its own, so that the wave before is
/// pruned, some that change, and one that never does.
fn objects(commit: usize) -> Vec<Value> {
    let mut web = deployment("web", "registry.example/web:1");
    web["spec"]["template"]["metadata"]["annotations"] = json!({"commit": commit.to_string()});
    let mut objects = vec![
        web,
        secret("credentials", &format!("secret-{commit}")),
        config_map("settings", &commit.to_string()),
        config_map("kept", "the same in all commits"),
    ];
    objects.extend((0..WAVE).map(|number| config_map(&format!("wave-{commit}-{number}"), "here")));
    objects
}

fn name_of(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap())
}

impl<'a> Story<'a> {
    pub async fn begin(site: &'a Site) -> Self {
        let proxy = FaultProxy::start(&site.cluster).unwrap();
        let kubeconfig = Some(proxy.kubeconfig_path().to_owned());
        let mut controller = site.start(&Start { kubeconfig, ..Start::default() });
        controller.wait_for_log("leading");
        let team = Team::at(site, "faults").await;
        let mark = site.cluster.audit_log().mark().unwrap();
        let mut story = Self { team, proxy, controller, commit: 0, canaries: BTreeMap::new(), mark };
        story.team.create(&config_map("nobodys", "made by hand"));
        let beside = yaml(&[config_map("beside-1", "one"), config_map("beside-2", "two")]);
        story.team.push("Beside", &[("beside/all.yaml", beside)]);
        let commit = story.push();
        let interval = json!({"source": {"interval": "500ms"}});
        story.team.deploy(&Application { name: "beside", path: "beside", spec: interval });
        story.team.deploy_shop(json!({
            "source": {"interval": "500ms"},
            "sync": {"timeout": "60s", "guards": {"maxPrunePercent": 100}},
            "rollback": {"historyLimit": 100},
        }));
        story.team.until_synced("shop", &commit).await;
        let commit = story.push();
        story.team.until_synced("shop", &commit).await;
        story.team.until_synced("beside", &commit).await;
        story.canaries = story.canaries().await;
        story
    }

    fn push(&mut self) -> String {
        self.commit += 1;
        let subject = format!("Commit {}", self.commit);
        self.team.push(&subject, &[("deploy/all.yaml", yaml(&objects(self.commit)))])
    }

    async fn canaries(&self) -> BTreeMap<String, String> {
        let mut uids = BTreeMap::new();
        for name in ["nobodys", "beside-1", "beside-2", "kept"] {
            let uid = self.team.get("configmaps", name).await.map(|object| object["metadata"]["uid"].clone());
            uids.insert(name.to_owned(), uid.and_then(|uid| uid.as_str().map(str::to_owned)).unwrap_or_default());
        }
        uids
    }

    /// Has things happen while a fault is on, ends it, and waits until the
    /// cluster is right.
    pub async fn round(&mut self, round: &Round<'_>, begin: impl FnOnce(&FaultProxy)) {
        let fault = round.fault;
        begin(&self.proxy);
        let began = Instant::now();
        let from = self.team.releases("shop").await.last().unwrap().spec.number;
        self.push();
        self.wait(round.lasts / 4).await;
        let patch = json!({"data": {"key": "edited by hand"}});
        self.team.patch("configmaps", "settings", "kubectl-edit", &patch).await;
        self.team.delete("configmaps", "beside-2").await;
        self.team.create(&rollback_request(&format!("back-from-{from}"), from, &json!({})));
        self.wait(round.lasts / 4).await;
        let commit = self.push();
        self.wait(round.lasts.saturating_sub(began.elapsed())).await;
        let struck = self.proxy.end();
        let ended = Instant::now();

        self.team.until_synced("shop", &commit).await;
        eventually(&format!("what was deleted by hand is back after: {fault}"), async || {
            self.team.get("configmaps", "beside-2").await.ok_or("it is gone")
        })
        .await;
        let took = ended.elapsed();
        let answer = self.team.until_answered("rollbackrequests", &format!("back-from-{from}")).await;
        self.canaries.insert("beside-2".into(), self.canaries().await["beside-2"].clone());
        self.check(fault).await;
        eprintln!(
            "figure: {fault}: on for {:.0} s, struck {struck} requests; right again {:.1} s after its end (the rollback asked for meanwhile: {})",
            round.lasts.as_secs_f64(),
            took.as_secs_f64(),
            answer["phase"].as_str().unwrap_or_default(),
        );
    }

    pub async fn wait(&self, time: Duration) {
        // The length of the fault is part of the story, not a guess at when something is done.
        tokio::time::sleep(time).await;
    }

    /// Everything is as it would be had nothing gone wrong.
    async fn check(&mut self, fault: &str) {
        self.controller.check();
        let team = &self.team;
        let wanted: BTreeMap<String, Value> =
            objects(self.commit).into_iter().map(|object| (name_of(&object), object)).collect();
        let mut live = BTreeSet::new();
        for (kind, resource) in
            [("ConfigMap", "configmaps"), ("Secret", "secrets"), ("Deployment", "apps/v1/deployments")]
        {
            for object in team.list(resource).await {
                let of = object["metadata"]["annotations"]["bowline.dev/application"].as_str().unwrap_or_default();
                if of == format!("{}/shop", team.namespace) {
                    let name = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap());
                    if kind == "ConfigMap" {
                        let data = wanted.get(&name).map(|object| &object["data"]);
                        assert_eq!(Some(&object["data"]), data, "{name} after: {fault}");
                    }
                    live.insert(name);
                }
            }
        }
        assert_eq!(live, wanted.keys().cloned().collect(), "the objects in the cluster after: {fault}");
        assert_eq!(self.canaries().await, self.canaries, "what nobody may touch, after: {fault}");
        self.check_history(fault).await;
        self.check_deletions(fault);
    }

    async fn check_history(&self, fault: &str) {
        let releases = self.team.releases("shop").await;
        let numbers: Vec<u64> = releases.iter().map(|release| release.spec.number).collect();
        assert_eq!(numbers, (1..=releases.len() as u64).collect::<Vec<_>>(), "after: {fault}");
        let story = self.team.history("shop").await;
        for release in &releases {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            let phase = outcome.map(|outcome| outcome.phase);
            // A fault of the cluster is nothing that a release can fail by.
            let ended = matches!(phase, Some(api::Phase::Healthy | api::Phase::Superseded));
            assert!(ended, "release {} after: {fault}\n{story}\n{outcome:?}", release.spec.number);
            assert_ne!(release.spec.cause, api::Cause::AutomaticRollback, "after: {fault}\n{story}");
        }
        let status: api::ApplicationStatus = serde_json::from_value(self.team.status("shop").await).unwrap();
        let report = history::verify(&releases, status.chain.as_ref());
        assert!(report.problems.is_empty(), "after: {fault}: {report:?}");
    }

    /// Of the objects in the namespace, the controller has deleted waves that
    /// no later commit has, and nothing else.
    fn check_deletions(&self, fault: &str) {
        let log = self.team.site.cluster.audit_log();
        for request in log.by_user_agent(self.mark, "bowline-controller").unwrap() {
            let about = request.object_ref.clone().unwrap_or_default();
            let done = request.response_status.as_ref().is_some_and(|status| status.code == 200);
            let object = about.namespace == self.team.namespace && about.api_group != "bowline.dev";
            let chunk = about.resource == "secrets" && about.name != "credentials";
            if request.verb != "delete" || !done || !object || chunk || request.uri.contains("dryRun") {
                continue;
            }
            let wave = about.name.strip_prefix("wave-").and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
            assert!(wave.is_some_and(|wave| wave < self.commit), "deleted after: {fault}: {}", request.uri);
        }
    }
}
