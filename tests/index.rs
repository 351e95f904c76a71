//! The live index against a real API server: what it sees, when, and what it
//! makes of kinds that cannot be watched.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bowline::{
    cluster::{
        Cluster, OwnerKey,
        client::{ConnectOptions, connect_counted, install_crypto_provider},
        discovery::{Resolution, ServedKind},
        index::{BrokenReason, FingerprintPolicy, KindStatus, LiveIndex, LiveSummary, Scope, Wanted, assess},
        watch::Changes,
    },
    health::{HealthStatus, OwnChecks, checks::Check},
    manifest::{GroupKind, GroupVersionKind, ObjectId},
    plan::{Membership, Owned, OwnedObjects, Policy},
    telemetry::Metrics,
};
use kube::api::{ApiResource, GroupVersionKind as KubeKind};
use rig::Access;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

static WORLDS: AtomicUsize = AtomicUsize::new(0);

fn kind(group: &str, version: &str, kind: &str, has_status: bool) -> ServedKind {
    let resource = ApiResource::from_gvk(&KubeKind::gvk(group, version, kind));
    let verbs = ["list", "watch"].map(str::to_owned).to_vec();
    ServedKind { resource, namespaced: true, verbs, has_status }
}

fn config_maps() -> ServedKind {
    kind("", "v1", "ConfigMap", false)
}

fn secrets() -> ServedKind {
    kind("", "v1", "Secret", false)
}

/// One application in a namespace of its own, watched there.
struct World {
    access: Access,
    user_agent: String,
    metrics: Metrics,
    namespace: String,
    owner: OwnerKey,
    index: LiveIndex,
    changes: Changes,
    expected: OwnedObjects,
}

impl World {
    async fn new() -> Self {
        Self::over(rig::shared_cluster().unwrap(), None).await
    }

    /// In a cluster, as a user that has only the rights of RBAC, or as the administrator.
    async fn over(access: Access, user: Option<&str>) -> Self {
        install_crypto_provider();
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("index-{}-{number}", std::process::id());
        access.kubectl(&["create", "namespace", &namespace]).unwrap();
        let kubeconfig = match user {
            Some(user) => access.kubeconfig_for(&format!("{user}-{namespace}"), &[]).unwrap(),
            None => access.kubeconfig_path().to_owned(),
        };
        let user_agent = format!("bowline-{namespace}");
        let options = ConnectOptions { kubeconfig: Some(kubeconfig), context: None, user_agent: user_agent.clone() };
        let metrics = Metrics::new("0");
        let client = connect_counted(&options, metrics.clone()).await.unwrap();
        let owner = OwnerKey::new(&namespace, "shop");
        let index = LiveIndex::new(client, assess);
        let changes = index.subscribe();
        Self { access, user_agent, metrics, namespace, owner, index, changes, expected: OwnedObjects::new() }
    }

    fn policy(&self) -> FingerprintPolicy {
        FingerprintPolicy {
            membership: Membership {
                set: format!("set-{}", self.namespace),
                application: self.owner.to_string(),
                manager: self.manager(),
            },
            ignore: Vec::new(),
            hand_managers: Policy::HAND_MANAGERS.iter().map(|manager| (*manager).to_owned()).collect(),
            checks: OwnChecks::default(),
        }
    }

    fn manager(&self) -> String {
        format!("bowline/{}", self.owner)
    }

    fn here(&self) -> Scope {
        Scope::Namespace(self.namespace.clone())
    }

    fn watch(&self, kinds: &[ServedKind]) {
        self.index.set_policy(&self.owner, self.policy());
        self.index.ensure(&self.owner, kinds.iter().map(|kind| (kind.clone(), self.here())));
    }

    /// Applies an object as the controller would, and takes it into the inventory.
    fn apply(&mut self, mut object: Value) -> ObjectId {
        object["metadata"]["labels"] = json!({"bowline.dev/set": format!("set-{}", self.namespace)});
        object["metadata"]["annotations"] = json!({"bowline.dev/application": self.owner.to_string()});
        if object["metadata"].get("namespace").is_none() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        let manager = format!("--field-manager={}", self.manager());
        let arguments = ["apply", "--server-side", &manager, "--show-managed-fields", "-o", "json", "-f", "-"];
        let live: Value =
            serde_json::from_str(&self.access.kubectl_with_input(&arguments, &object.to_string()).unwrap()).unwrap();
        let gvk =
            GroupVersionKind::from_api_version(live["apiVersion"].as_str().unwrap(), live["kind"].as_str().unwrap())
                .unwrap();
        let id = ObjectId::new(
            GroupKind::new(&*gvk.group, &*gvk.kind),
            live["metadata"]["namespace"].as_str().map(str::to_owned),
            live["metadata"]["name"].as_str().unwrap(),
        );
        let fingerprint = self.policy().fingerprint(&live);
        assert!(fingerprint.is_some(), "the apply left an entry of ours");
        let uid = live["metadata"]["uid"].as_str().map(str::to_owned);
        self.expected.insert(id.clone(), Owned { gvk, uid, manifest: None, fingerprint, done: false, hook: false });
        id
    }

    fn config_map(&mut self, name: &str) -> ObjectId {
        self.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "1"}}))
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend_from_slice(arguments);
        self.access.kubectl(&all).unwrap()
    }

    fn summary(&self) -> LiveSummary {
        self.index.summary(&self.owner, &self.expected)
    }

    /// Waits for a change after which the summary is as wanted, without polling.
    async fn until(&mut self, what: &str, wanted: impl Fn(&LiveSummary) -> bool) -> LiveSummary {
        let started = Instant::now();
        loop {
            let summary = self.summary();
            if wanted(&summary) {
                return summary;
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            if tokio::time::timeout(left, self.changes.next()).await.is_err() {
                panic!("not within {PATIENCE:?}: {what}: {summary:#?}\n{:#?}", self.index.watches());
            }
        }
    }

    async fn in_sync(&mut self) -> LiveSummary {
        self.until("the watches are in sync", |summary| summary.in_sync).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.access.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn only(id: &ObjectId) -> BTreeSet<ObjectId> {
    BTreeSet::from([id.clone()])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_seen_as_drift_and_its_repair_as_the_end_of_it() {
    let mut world = World::new().await;
    let (a, b) = (world.config_map("a"), world.config_map("b"));
    world.watch(&[config_maps()]);
    let summary = world.in_sync().await;
    assert_eq!(summary.drifted, BTreeSet::new(), "what was applied is as it was applied");
    assert_eq!(summary.counts[&HealthStatus::Healthy], 2);
    world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"2"}}"#]);
    world.until("the edit is drift", |summary| summary.drifted == only(&a)).await;
    world.kubectl(&["patch", "configmap", "b", "--type=merge", "-p", r#"{"data":{"added":"by hand"}}"#]);
    world.until("what was added by hand is drift", |summary| summary.drifted.contains(&b)).await;
    world.apply_again("a");
    world.until("the repair ends it", |summary| summary.drifted == only(&b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_and_a_field_of_another_controller_are_no_drift() {
    let mut world = World::new().await;
    world.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }));
    world.watch(&[kind("", "v1", "Service", true)]);
    world.in_sync().await;
    world.kubectl(&["annotate", "service", "web", "example.com/seen=yes", "--field-manager=another-controller"]);
    world.kubectl(&[
        "annotate",
        "service",
        "web",
        "example.com/seen=again",
        "--overwrite",
        "--field-manager=another-controller",
    ]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let id = world.expected.keys().next().unwrap().clone();
    let live = world.index.object(&world.owner, &id, &world.expected[&id]).unwrap();
    let told: Value = serde_json::from_str(&world.kubectl(&["get", "service", "web", "-o", "json"])).unwrap();
    assert_eq!(live.version.to_string(), told["metadata"]["resourceVersion"].as_str().unwrap(), "the edits were seen");
    assert_eq!(world.summary().drifted, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_and_a_removed_label_are_gone_while_the_others_stay() {
    let mut world = World::new().await;
    let (a, b) = (world.config_map("a"), world.config_map("b"));
    world.config_map("c");
    world.watch(&[config_maps()]);
    world.in_sync().await;
    world.kubectl(&["delete", "configmap", "a"]);
    world.until("the deletion is seen", |summary| summary.gone == only(&a)).await;
    world.kubectl(&["label", "configmap", "b", "bowline.dev/set-"]);
    let summary = world.until("the lost label is seen", |summary| summary.gone.contains(&b)).await;
    assert_eq!(summary.gone.len(), 2);
    assert!(world.kubectl(&["get", "configmap", "b", "-o", "name"]).contains("configmap/b"), "the object lives");
    world.kubectl(&["label", "configmap", "b", &format!("bowline.dev/set=set-{}", world.namespace)]);
    world.until("the label that came back is seen", |summary| summary.gone == only(&a)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_write_is_known_from_its_answer_and_what_exists_is_not_gone_before_the_list() {
    let mut world = World::new().await;
    world.config_map("a");
    world.watch(&[config_maps()]);
    let first = world.summary();
    assert!(!first.in_sync);
    assert_eq!(first.gone, BTreeSet::new());
    world.in_sync().await;
    let b = world.config_map("b");
    let live: Value =
        serde_json::from_str(&world.kubectl(&["get", "configmap", "b", "-o", "json", "--show-managed-fields"]))
            .unwrap();
    world.index.record(&live);
    let summary = world.summary();
    assert_eq!(summary.gone, BTreeSet::new());
    assert_eq!(summary.drifted, BTreeSet::new());
    assert!(world.index.object(&world.owner, &b, &world.expected[&b]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_crd_takes_its_objects_and_breaks_only_its_kind() {
    let mut world = World::new().await;
    let group = format!("{}.example.com", world.namespace);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let create = |world: &World| {
        world.access.kubectl_with_input(&["create", "-f", "-"], &crd.to_string()).unwrap();
        let name = format!("crd/widgets.{group}");
        world.access.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=20s"]).unwrap();
    };
    create(&world);
    let config_map = world.config_map("a");
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "size": 3});
    let id = world.apply(widget.clone());
    let widgets = kind(&group, "v1", "Widget", false);
    world.watch(&[config_maps(), widgets]);
    let summary = world.in_sync().await;
    assert!(summary.drifted.is_empty() && summary.gone.is_empty(), "{summary:#?}");
    world.access.kubectl(&["delete", &format!("crd/widgets.{group}")]).unwrap();
    let summary = world.until("the kind is broken", |summary| !summary.broken.is_empty()).await;
    assert_eq!(summary.broken.len(), 1);
    assert_eq!(summary.broken[0].reason, BrokenReason::NotServed);
    assert!(summary.in_sync, "a kind that is reported broken holds nobody up");
    assert_eq!(summary.gone, BTreeSet::new(), "its absence is not judged");
    assert_eq!(summary.counts[&HealthStatus::Unknown], 1);
    assert_eq!(summary.counts[&HealthStatus::Healthy], 1);
    assert!(world.index.object(&world.owner, &config_map, &world.expected[&config_map]).is_some());
    // It comes back, and is known again without anybody's doing.
    create(&world);
    world.index.retry_broken();
    let summary = world.until("the kind is back", |summary| summary.in_sync && summary.broken.is_empty()).await;
    assert_eq!(summary.gone, only(&id));
    world.apply(widget);
    world.until("its objects are seen", |summary| summary.gone.is_empty() && summary.unhealthy.is_empty()).await;
    world.access.kubectl(&["delete", &format!("crd/widgets.{group}"), "--wait=false"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_was_never_given_breaks_only_its_kind_until_it_is() {
    let mut world = World::over(rig::shared_cluster().unwrap(), Some("watcher")).await;
    let user = format!("watcher-{}", world.namespace);
    world.kubectl(&["create", "role", "config", "--verb=list,watch", "--resource=configmaps"]);
    world.kubectl(&["create", "rolebinding", "config", "--role=config", &format!("--user={user}")]);
    let config_map = world.config_map("a");
    let secret = world
        .apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "1"}}));
    world.watch(&[config_maps(), secrets()]);
    let summary = world.until("one kind is refused", |summary| summary.in_sync && !summary.broken.is_empty()).await;
    assert_eq!(summary.broken.len(), 1);
    assert_eq!(summary.broken[0].reason, BrokenReason::Forbidden);
    assert!(summary.broken[0].message.contains("secrets"), "{}", summary.broken[0].message);
    assert_eq!((summary.gone.len(), summary.drifted.len()), (0, 0));
    world.kubectl(&["delete", "configmap", "a"]);
    world.until("the other kind is judged", |summary| summary.gone == only(&config_map)).await;
    world.kubectl(&["create", "role", "secrets", "--verb=list,watch", "--resource=secrets"]);
    world.kubectl(&["create", "rolebinding", "secrets", "--role=secrets", &format!("--user={user}")]);
    let summary = world.until("the right is used", |summary| summary.in_sync && summary.broken.is_empty()).await;
    assert_eq!(summary.drifted, BTreeSet::new());
    assert!(world.index.object(&world.owner, &secret, &world.expected[&secret]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_application_is_read_beside_the_watch_and_a_changed_policy_too() {
    let mut world = World::new().await;
    world.config_map("a");
    world.watch(&[config_maps()]);
    world.in_sync().await;
    let mut second = World::new().await;
    second.index = world.index.clone();
    second.changes = second.index.subscribe();
    // Its objects are in the first one's namespace, which is watched already.
    second.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": world.namespace}, "data": {"key": "1"},
    }));
    let mark = world.access.audit_log().mark().unwrap();
    second.index.set_policy(&second.owner, second.policy());
    second.index.ensure(&second.owner, [(config_maps(), world.here())]);
    assert!(!second.summary().in_sync, "its objects are not read yet");
    assert!(world.summary().in_sync, "the first one is not held up");
    let summary = second.in_sync().await;
    assert!(summary.gone.is_empty() && summary.drifted.is_empty(), "{summary:#?}");
    let mut policy = second.policy();
    policy.checks =
        OwnChecks::of(&[Check { kind: "ConfigMap".into(), healthy: Some("true".into()), ..Check::default() }]);
    second.index.set_policy(&second.owner, policy);
    assert!(!second.summary().in_sync);
    second.in_sync().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let requests = world.access.audit_log().by_user_agent(mark, &world.user_agent).unwrap();
    let verbs: Vec<&str> = requests.iter().map(|request| request.verb.as_str()).collect();
    assert_eq!(verbs, vec!["list", "list"], "one list for each, of its own objects, and no new watch: {requests:#?}");
    assert!(requests.iter().all(|request| request.uri.contains(&format!("set-{}", second.namespace))));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_lists_and_watches_and_nothing_is_asked_while_nothing_changes() {
    let mut world = World::new().await;
    for name in ["a", "b", "c"] {
        world.config_map(name);
    }
    let mark = world.access.audit_log().mark().unwrap();
    world.watch(&[config_maps()]);
    world.in_sync().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let requests = world.access.audit_log().by_user_agent(mark, &world.user_agent).unwrap();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert_eq!(requests[0].verb, "watch");
    assert!(requests[0].uri.contains("sendInitialEvents=true"), "{}", requests[0].uri);
    let counted = world.metrics.encode().unwrap();
    let counted: Vec<&str> = counted.lines().filter(|line| line.starts_with("bowline_api_requests")).collect();
    assert_eq!(counted, vec![r#"bowline_api_requests_total{verb="watch",code="2xx"} 1"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_served_holds_nobody_up_and_is_watched_once_it_is() {
    let mut world = World::new().await;
    world.config_map("a");
    world.index.set_policy(&world.owner, world.policy());
    let not_served = Wanted::Unserved {
        gvk: config_maps().gvk(),
        scope: world.here(),
        reason: BrokenReason::NotServed,
        message: "no such kind".into(),
    };
    world.index.ensure_all(&world.owner, [not_served.clone(), Wanted::Served(secrets(), world.here())]);
    let summary = world.in_sync().await;
    assert_eq!(&*summary.broken[0].message, "no such kind");
    assert_eq!(summary.counts[&HealthStatus::Unknown], 1);
    world.watch(&[config_maps(), secrets()]);
    world.until("it is watched", |summary| summary.in_sync && summary.broken.is_empty()).await;
    assert_eq!(world.summary().counts[&HealthStatus::Healthy], 1);
    world.index.ensure_all(&world.owner, [not_served]);
    let summary = world.summary();
    assert!(summary.broken.is_empty(), "a watch that runs knows better");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregated_api_without_watch_makes_only_its_own_kind_unknown() {
    let mut world = World::new().await;
    world.config_map("a");
    let options = ConnectOptions {
        kubeconfig: Some(world.access.kubeconfig_path().to_owned()),
        context: None,
        user_agent: "bowline-test/0".into(),
    };
    let cluster = Cluster::connect(&options).await.unwrap();
    let metrics = GroupVersionKind::new("metrics.k8s.io", "v1beta1", "PodMetrics");
    let Resolution::Served(served) = cluster.discovery().resolve(&metrics).await else {
        panic!("the rig serves metrics of pods");
    };
    world.watch(&[config_maps(), served]);
    let summary = world.in_sync().await;
    let broken: Vec<_> = summary.broken.iter().map(|broken| (broken.kind.gvk.clone(), broken.reason)).collect();
    assert_eq!(broken, [(metrics, BrokenReason::NotWatchable)]);
    assert_eq!(&*summary.broken[0].message, "the API that serves it has no watch");
    assert_eq!(summary.counts[&HealthStatus::Healthy], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_the_last_user_ends_the_watch() {
    let mut world = World::new().await;
    world.config_map("a");
    world.watch(&[config_maps()]);
    world.in_sync().await;
    assert_eq!(world.index.watches().len(), 1);
    assert_eq!(world.index.watches()[0].status, KindStatus::InSync);
    assert!(world.index.watches()[0].age.unwrap() < Duration::from_secs(10));
    world.index.release(&world.owner);
    assert!(world.index.watches().is_empty() && world.index.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_survives_a_crash_of_the_api_server() {
    let options = rig::Options { nodes: 0, volumes: 0, pod_metrics: false, ..rig::Options::default() };
    let mut cluster = tokio::task::spawn_blocking(|| rig::Cluster::start(options).unwrap()).await.unwrap();
    let access = rig::Access::clone(&cluster);
    let mut world = World::over(access, None).await;
    let (a, _) = (world.config_map("a"), world.config_map("b"));
    world.watch(&[config_maps(), secrets()]);
    world.in_sync().await;
    cluster.kill_api_server().unwrap();
    let summary = world.until("the crash is noticed", |summary| !summary.in_sync).await;
    assert_eq!(summary.gone, BTreeSet::new());
    assert_eq!(summary.broken, vec![], "a server that is away breaks no kind");
    let mut cluster = tokio::task::spawn_blocking(move || {
        cluster.restart_api_server().unwrap();
        cluster
    })
    .await
    .unwrap();
    world.kubectl(&["delete", "configmap", "a"]);
    world.index.retry_broken();
    let summary = world.until("it goes on", |summary| summary.in_sync && summary.gone == only(&a)).await;
    assert_eq!(summary.drifted, BTreeSet::new());
    cluster.check().unwrap();
}

impl World {
    /// Applies a ConfigMap of ours again by force, as a repair does.
    fn apply_again(&mut self, name: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": {"bowline.dev/set": format!("set-{}", self.namespace)},
                "annotations": {"bowline.dev/application": self.owner.to_string()},
            },
            "data": {"key": "1"},
        });
        let manager = format!("--field-manager={}", self.manager());
        let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        self.access.kubectl_with_input(&arguments, &object.to_string()).unwrap();
    }
}
