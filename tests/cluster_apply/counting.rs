//! How many requests things cost, and on whose behalf they are sent, as the API
//! server's audit log tells.

use std::time::{Duration, Instant};

use bowline::{
    cluster::{Cluster, ConnectOptions, Identity, apply::Stage, apply::apply_stage, observe::observe},
    plan::{Action, Candidate, Observations, Why},
};

use crate::world::{World, proposal};

/// A client of its own, so that its requests can be told from all others.
struct Counted {
    world: World,
    cluster: Cluster,
    agent: String,
    mark: u64,
}

impl Counted {
    async fn new() -> Self {
        let world = World::new().await;
        let agent = format!("bowline-test-{}/0", world.namespace);
        let options = ConnectOptions {
            kubeconfig: Some(world.access.kubeconfig_path().to_owned()),
            context: None,
            user_agent: agent.clone(),
        };
        let cluster = Cluster::connect(&options).await.unwrap();
        let mark = world.access.audit_log().mark().unwrap();
        Self { world, cluster, agent, mark }
    }

    /// The requests so far, as soon as there are as many as expected: the log
    /// is written a moment after the answer.
    async fn requests(&self, expected: usize) -> Vec<rig::Request> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let requests = self.world.access.audit_log().by_user_agent(self.mark, &self.agent).unwrap();
            if requests.len() >= expected || Instant::now() > until {
                return requests;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn observe(&self, number: usize, why: Why) {
        let candidates = (0..number)
            .map(|number| self.world.config_map(&format!("c{number}"), "1"))
            .map(|manifest| Candidate {
                id: manifest.id.clone(),
                gvk: manifest.gvk.clone(),
                desired: Some(manifest),
                owned: None,
                why,
            })
            .collect();
        observe(&self.cluster, &self.world.identity, &proposal(candidates), &self.world.policy).await;
    }
}

#[tokio::test]
async fn an_empty_proposal_sends_no_request() {
    let counted = Counted::new().await;
    counted.observe(0, Why::New).await;
    // One known request behind the silence shows that the log is read.
    counted.cluster.discovery().ensure().await.unwrap();
    let requests = counted.requests(2).await;
    let mut paths: Vec<&str> = requests.iter().map(|it| it.uri.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/api", "/apis"]);
}

#[tokio::test]
async fn a_new_object_costs_one_request_to_try_and_one_to_write() {
    let counted = Counted::new().await;
    counted.cluster.discovery().ensure().await.unwrap();
    counted.observe(10, Why::New).await;
    let actions: Vec<Action> =
        (0..10).map(|number| counted.world.make(&counted.world.config_map(&format!("c{number}"), "1"))).collect();
    let actions: Vec<&Action> = actions.iter().collect();
    let none = Observations::new();
    let stage = Stage {
        cluster: &counted.cluster,
        identity: &counted.world.identity,
        manager: &counted.world.policy.membership.manager,
        observations: &none,
        permit: &|| true,
    };
    let results = apply_stage(&stage, &actions, |_| ()).await;
    assert!(results.iter().all(|it| it.outcome.is_done()), "{results:?}");
    let requests = counted.requests(22).await;
    assert_eq!(requests.len(), 2 + 10 + 10);
    let user = format!("system:serviceaccount:{}:bowline-deployer", counted.world.namespace);
    let about_objects = requests.iter().filter(|it| it.uri.contains("/configmaps/"));
    let as_account = |it: &&rig::Request| it.impersonated_user.as_ref().is_some_and(|it| it.username == user);
    assert_eq!(about_objects.filter(as_account).count(), 20, "each is sent as the ServiceAccount");
}

#[tokio::test]
async fn a_live_object_costs_a_read_and_a_dry_run() {
    let counted = Counted::new().await;
    for number in 0..5 {
        counted.world.applied(&counted.world.config_map(&format!("c{number}"), "1")).await;
    }
    counted.cluster.discovery().ensure().await.unwrap();
    counted.observe(5, Why::Changed).await;
    let requests = counted.requests(12).await;
    let count = |verb: &str| requests.iter().filter(|it| it.verb == verb && it.uri.contains("/configmaps/")).count();
    assert_eq!((count("get"), count("patch"), requests.len()), (5, 5, 12), "{requests:?}");
}

#[tokio::test]
async fn without_preflight_nothing_is_tried() {
    let mut counted = Counted::new().await;
    for number in 0..3 {
        counted.world.applied(&counted.world.config_map(&format!("c{number}"), "1")).await;
    }
    counted.world.policy.preflight = false;
    counted.cluster.discovery().ensure().await.unwrap();
    counted.observe(5, Why::Changed).await;
    // Two of discovery, a read for each object, and one for the namespace of
    // those that are absent.
    let requests = counted.requests(8).await;
    let reads = requests.iter().filter(|it| it.verb == "get" && it.uri.contains("/configmaps/")).count();
    assert_eq!(reads, 5, "{requests:?}");
    assert!(requests.iter().all(|it| it.verb == "get" && !it.uri.contains("dryRun")), "{requests:?}");
}

#[tokio::test]
async fn ones_own_identity_impersonates_nobody() {
    let mut counted = Counted::new().await;
    counted.world.identity = Identity::Own;
    counted.observe(1, Why::Changed).await;
    let requests = counted.requests(4).await;
    assert!(requests.len() == 4 && requests.iter().all(|it| it.impersonated_user.is_none()), "{requests:?}");
}
