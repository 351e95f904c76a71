//! Leader election against a real API server.

#![allow(clippy::unwrap_used)]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bowline::cluster::{
    client::{ConnectOptions, connect, install_crypto_provider},
    lease::{Leadership, LeaseOptions, Timing, campaign},
};
use kube::Client;
use rig::Access;
use serde_json::Value;

static WORLDS: AtomicUsize = AtomicUsize::new(0);

/// Short enough for a test, in the proportions of the real one.
const SHORT: Timing = Timing {
    lease: Duration::from_millis(3000),
    renew_deadline: Duration::from_millis(2000),
    retry: Duration::from_millis(400),
};

struct World {
    access: Access,
    namespace: String,
}

impl World {
    fn new() -> Self {
        install_crypto_provider();
        let access = rig::shared_cluster().unwrap();
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("lease-{}-{number}", std::process::id());
        access.kubectl(&["create", "namespace", &namespace]).unwrap();
        Self { access, namespace }
    }

    async fn client(&self, user_agent: &str) -> Client {
        let kubeconfig = Some(self.access.kubeconfig_path().to_owned());
        connect(&ConnectOptions { kubeconfig, context: None, user_agent: user_agent.to_owned() }).await.unwrap()
    }

    fn options(&self, host: &str) -> LeaseOptions {
        LeaseOptions { timing: SHORT, ..LeaseOptions::new(&*self.namespace, "bowline", host) }
    }

    async fn candidate(&self, host: &str) -> Leadership {
        campaign(self.client(&format!("{}-{host}", self.namespace)).await, self.options(host))
    }

    fn lease(&self) -> Value {
        let text = self.access.kubectl(&["-n", &self.namespace, "get", "lease", "bowline", "-o", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.access.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

async fn until(leadership: &Leadership, leads: bool, within: Duration) -> bool {
    let mut changed = leadership.changed();
    tokio::time::timeout(within, changed.wait_for(|now| *now == leads)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_candidates_leads_and_hands_over_cleanly() {
    let world = World::new();
    let first = world.candidate("first").await;
    assert!(until(&first, true, Duration::from_secs(5)).await);
    let second = world.candidate("second").await;
    tokio::time::sleep(SHORT.lease + SHORT.retry * 2).await;
    assert!(first.may_write() && first.is_leader(), "it renews");
    assert!(!second.may_write() && second.is_known(), "it knows that somebody else leads");
    assert_eq!(second.holder(), first.holder());
    let lease = world.lease();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("first_"));
    let acquired = lease["spec"]["acquireTime"].clone();
    assert_ne!(lease["spec"]["renewTime"], acquired);
    let started = Instant::now();
    first.resign().await;
    assert!(!first.may_write());
    assert!(until(&second, true, Duration::from_secs(5)).await);
    assert!(started.elapsed() < SHORT.lease, "a released lease is not waited for: {:?}", started.elapsed());
    let lease = world.lease();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("second_"));
    second.resign().await;
    assert_eq!(world.lease()["spec"].get("holderIdentity").filter(|holder| !holder.is_null()), None);
}

/// A candidate in a runtime of its own, which can be ended as by SIGKILL:
/// nothing of it runs any more, and nothing is said.
struct Killable {
    runtime: Option<tokio::runtime::Runtime>,
    leadership: Leadership,
}

impl Killable {
    async fn start(world: &World, host: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let kubeconfig = Some(world.access.kubeconfig_path().to_owned());
        let options = ConnectOptions { kubeconfig, context: None, user_agent: "bowline-killable".into() };
        let lease = world.options(host);
        let leadership = runtime.spawn(async move { campaign(connect(&options).await.unwrap(), lease) }).await.unwrap();
        Self { runtime: Some(runtime), leadership }
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_after_its_lease_and_stops_by_its_own_clock_before() {
    let world = World::new();
    let mut first = Killable::start(&world, "first").await;
    assert!(until(&first.leadership, true, Duration::from_secs(5)).await);
    let second = world.candidate("second").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.kill();
    let killed = Instant::now();
    let mut stopped = None;
    while !second.may_write() {
        if stopped.is_none() && !first.leadership.may_write() {
            stopped = Some(killed.elapsed());
        }
        assert!(killed.elapsed() < Duration::from_secs(15), "nobody followed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let followed = killed.elapsed();
    let stopped = stopped.unwrap();
    assert!(stopped <= SHORT.renew_deadline, "it may write until its deadline: {stopped:?}");
    assert!(followed > stopped, "never two at once: {stopped:?}, {followed:?}");
    assert!(followed >= SHORT.lease - SHORT.retry * 2, "not before the lease was over: {followed:?}");
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 1);
    second.resign().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_candidates_at_once_one_leads() {
    let world = World::new();
    let mut candidates = Vec::new();
    for number in 0..6 {
        candidates.push(world.candidate(&format!("candidate-{number}")).await);
    }
    let started = Instant::now();
    let mut led = 0;
    while started.elapsed() < Duration::from_secs(4) {
        let leaders = candidates.iter().filter(|candidate| candidate.may_write()).count();
        assert!(leaders <= 1, "{leaders} lead");
        led = led.max(leaders);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(led, 1);
    assert_eq!(candidates.iter().filter(|candidate| candidate.is_known()).count(), 6);
    for candidate in candidates {
        candidate.resign().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_sends_one_request_a_renewal_and_nothing_else() {
    let world = World::new();
    let leader = world.candidate("quiet").await;
    assert!(until(&leader, true, Duration::from_secs(5)).await);
    let mark = world.access.audit_log().mark().unwrap();
    tokio::time::sleep(SHORT.retry * 5).await;
    let agent = format!("{}-quiet", world.namespace);
    let requests = world.access.audit_log().by_user_agent(mark, &agent).unwrap();
    assert!((3..=6).contains(&requests.len()), "{}", requests.len());
    assert!(requests.iter().all(|request| request.verb == "update"), "{requests:#?}");
    leader.resign().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_lease_by_hand_ends_leadership_and_a_deleted_lease_is_made_anew() {
    let world = World::new();
    let leader = world.candidate("first").await;
    assert!(until(&leader, true, Duration::from_secs(5)).await);
    let patch = r#"{"spec":{"holderIdentity":"a-person","leaseDurationSeconds":3}}"#;
    world.access.kubectl(&["-n", &world.namespace, "patch", "lease", "bowline", "--type=merge", "-p", patch]).unwrap();
    assert!(until(&leader, false, SHORT.retry * 3).await, "it notices with its next renewal");
    assert_eq!(leader.holder().as_deref(), Some("a-person"));
    assert!(until(&leader, true, Duration::from_secs(8)).await, "the person shows no sign of life");
    world.access.kubectl(&["-n", &world.namespace, "delete", "lease", "bowline"]).unwrap();
    tokio::time::sleep(SHORT.retry * 3).await;
    assert!(until(&leader, true, Duration::from_secs(5)).await);
    leader.resign().await;
}
