//! The live index when the server, or the way to it, misbehaves: faults between
//! the client and a real API server.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bowline::{
    cluster::{
        OwnerKey,
        client::{ConnectOptions, connect, install_crypto_provider},
        discovery::ServedKind,
        index::{Assessed, BrokenReason, FingerprintPolicy, LiveIndex, LiveSummary, Scope},
        watch::Changes,
    },
    health::{Health, OwnChecks},
    manifest::{GroupKind, GroupVersionKind, ObjectId},
    plan::{Membership, Owned, OwnedObjects},
};
use http::{Request, Response};
use kube::{
    Client,
    api::{ApiResource, GroupVersionKind as KubeKind},
    client::Body,
};
use rig::Access;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(90);

static WORLDS: AtomicUsize = AtomicUsize::new(0);

/// What happens to requests whose path and query have a text in them.
#[derive(Debug, Clone)]
enum Fault {
    /// The server answers with this status.
    Answer(u16),
    /// The watch tells that its version is too old.
    Expired,
    /// A watch ends as soon as it begins.
    Ends,
    /// The server is asked to keep a watch open for 2 s only.
    Short,
}

/// Faults by a text of the request's path and query; how often each struck.
#[derive(Clone, Default)]
struct Faults(Arc<Mutex<Vec<(String, Fault, usize)>>>);

impl Faults {
    fn set(&self, text: &str, fault: Fault) {
        self.0.lock().unwrap().push((text.to_owned(), fault, 0));
    }

    /// Ends all faults, and tells how often they struck.
    fn end(&self) -> usize {
        self.0.lock().unwrap().drain(..).map(|(_, _, struck)| struck).sum()
    }

    fn strike(&self, uri: &str) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap();
        let (_, fault, struck) = faults.iter_mut().find(|(text, ..)| uri.contains(text))?;
        *struck += 1;
        Some(fault.clone())
    }

    fn client(&self, inner: Client) -> Client {
        let faults = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (faults, inner) = (faults.clone(), inner.clone());
            async move {
                let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "a fault of the test", "reason": "Fault"});
                match faults.strike(&request.uri().to_string()) {
                    None => inner.send(request).await,
                    Some(Fault::Answer(code)) => {
                        let body = Body::from(status(code).to_string().into_bytes());
                        Ok(Response::builder().status(code).body(body).unwrap())
                    }
                    Some(Fault::Expired) => {
                        let event = format!("{}\n", json!({"type": "ERROR", "object": status(410)}));
                        Ok(Response::new(Body::from(event.into_bytes())))
                    }
                    Some(Fault::Short) => inner.send(shortened(request)).await,
                    Some(Fault::Ends) => Ok(Response::new(Body::empty())),
                }
            }
        });
        Client::new(service, "default")
    }
}

fn shortened(mut request: Request<Body>) -> Request<Body> {
    let uri = request.uri().to_string();
    let pairs: Vec<&str> = uri
        .split('&')
        .map(|pair| if pair.starts_with("timeoutSeconds=") { "timeoutSeconds=2" } else { pair })
        .collect();
    *request.uri_mut() = pairs.join("&").parse().unwrap();
    request
}

struct World {
    access: Access,
    user_agent: String,
    namespace: String,
    owner: OwnerKey,
    index: LiveIndex,
    changes: Changes,
    faults: Faults,
    expected: OwnedObjects,
}

fn kind(kind: &str) -> ServedKind {
    let resource = ApiResource::from_gvk(&KubeKind::gvk("", "v1", kind));
    ServedKind { resource, namespaced: true, verbs: Vec::new(), has_status: false }
}

impl World {
    async fn new() -> Self {
        install_crypto_provider();
        let access = rig::shared_cluster().unwrap();
        let namespace = format!("faults-{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        access.kubectl(&["create", "namespace", &namespace]).unwrap();
        let user_agent = format!("bowline-{namespace}");
        let kubeconfig = Some(access.kubeconfig_path().to_owned());
        let options = ConnectOptions { kubeconfig, context: None, user_agent: user_agent.clone() };
        let faults = Faults::default();
        let client = faults.client(connect(&options).await.unwrap());
        let owner = OwnerKey::new(&namespace, "shop");
        let index = LiveIndex::new(client, |_| Assessed { fingerprint: None, health: Health::healthy() });
        let changes = index.subscribe();
        Self { access, user_agent, namespace, owner, index, changes, faults, expected: OwnedObjects::new() }
    }

    /// Creates objects of the application and expects them.
    fn create(&mut self, kind: &str, names: &[String]) {
        let items: Vec<_> = names
            .iter()
            .map(|name| {
                json!({
                    "apiVersion": "v1", "kind": kind,
                    "metadata": {
                        "namespace": self.namespace, "name": name,
                        "labels": {"bowline.dev/set": self.namespace},
                        "annotations": {"bowline.dev/application": self.owner.to_string()},
                    },
                })
            })
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        self.access.kubectl_with_input(&["create", "-f", "-"], &list).unwrap();
        let listed = self.kubectl(&["get", kind, "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        for object in listed["items"].as_array().unwrap() {
            let name = object["metadata"]["name"].as_str().unwrap();
            if names.iter().any(|wanted| wanted == name) {
                let owned = Owned {
                    gvk: GroupVersionKind::new("", "v1", kind),
                    uid: object["metadata"]["uid"].as_str().map(str::to_owned),
                    manifest: None,
                    fingerprint: None,
                    done: false,
                    hook: false,
                };
                self.expected.insert(self.id(kind, name), owned);
            }
        }
    }

    fn id(&self, kind: &str, name: &str) -> ObjectId {
        ObjectId::new(GroupKind::new("", kind), Some(self.namespace.clone()), name)
    }

    fn watch(&self, kinds: &[ServedKind]) {
        let membership = Membership {
            set: self.namespace.clone(),
            application: self.owner.to_string(),
            manager: format!("bowline/{}", self.owner),
        };
        let policy = FingerprintPolicy {
            membership,
            ignore: Vec::new(),
            hand_managers: BTreeSet::new(),
            checks: OwnChecks::default(),
        };
        self.index.set_policy(&self.owner, policy);
        let here = Scope::Namespace(self.namespace.clone());
        self.index.ensure(&self.owner, kinds.iter().map(|kind| (kind.clone(), here.clone())));
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend_from_slice(arguments);
        self.access.kubectl(&all).unwrap()
    }

    fn requests_since(&self, mark: u64) -> Vec<String> {
        let requests = self.access.audit_log().by_user_agent(mark, &self.user_agent).unwrap();
        requests.into_iter().map(|request| format!("{} {}", request.verb, request.uri)).collect()
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&LiveSummary) -> bool) -> LiveSummary {
        let started = Instant::now();
        loop {
            let summary = self.index.summary(&self.owner, &self.expected);
            if wanted(&summary) {
                return summary;
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            if tokio::time::timeout(left, self.changes.next()).await.is_err() {
                panic!("not within {PATIENCE:?}: {what}: {summary:#?}");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.access.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("object-{number:04}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_list_by_watch_is_listed_page_by_page() {
    let mut world = World::new().await;
    world.create("ConfigMap", &numbered(620));
    world.faults.set("sendInitialEvents", Fault::Answer(422));
    let mark = world.access.audit_log().mark().unwrap();
    world.watch(&[kind("ConfigMap")]);
    let summary = world.until("in sync", |summary| summary.in_sync).await;
    assert_eq!((summary.gone.len(), summary.broken.len()), (0, 0));
    assert_eq!(world.index.len(), 620);
    world.kubectl(&["delete", "configmap", "object-0600"]);
    let gone = world.id("ConfigMap", "object-0600");
    world.until("the watch goes on from the list", |summary| summary.gone == BTreeSet::from([gone.clone()])).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let requests = world.requests_since(mark);
    let verbs: Vec<&str> = requests.iter().filter_map(|request| request.split(' ').next()).collect();
    assert_eq!(verbs, vec!["list", "list", "watch"], "two pages and one watch: {requests:#?}");
    assert_eq!(world.faults.end(), 1, "it is asked once whether it can");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_answers_with_errors_is_broken_by_itself_and_comes_back() {
    let mut world = World::new().await;
    world.create("ConfigMap", &numbered(2));
    world.create("Secret", &numbered(1));
    world.faults.set("/secrets", Fault::Answer(500));
    world.watch(&[kind("ConfigMap"), kind("Secret")]);
    let summary = world.until("one kind is broken", |summary| summary.in_sync && !summary.broken.is_empty()).await;
    assert_eq!(summary.broken[0].reason, BrokenReason::ServerError);
    assert_eq!(summary.broken[0].kind.gvk.kind, "Secret");
    assert_eq!((summary.gone.len(), summary.unhealthy.len()), (0, 0), "nothing is missing: it is unknown");
    world.kubectl(&["delete", "configmap", "object-0001"]);
    let gone = BTreeSet::from([world.id("ConfigMap", "object-0001")]);
    world.until("the other kind goes on", |summary| summary.gone == gone).await;
    assert!(world.faults.end() >= 3, "one error is not believed");
    world.until("it comes back by itself", |summary| summary.in_sync && summary.broken.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_old_lists_again_and_misses_nothing() {
    let mut world = World::new().await;
    world.create("ConfigMap", &numbered(3));
    world.faults.set("sendInitialEvents", Fault::Answer(422));
    world.faults.set("watch=true", Fault::Expired);
    world.watch(&[kind("ConfigMap")]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.kubectl(&["delete", "configmap", "object-0001"]);
    world.create("ConfigMap", &["new".to_owned()]);
    let struck = world.faults.end();
    assert!((2..8).contains(&struck), "it lists again, with pauses: {struck} times");
    let gone = BTreeSet::from([world.id("ConfigMap", "object-0001")]);
    let summary = world.until("it is whole again", |summary| summary.in_sync && summary.gone == gone).await;
    assert_eq!(summary.unhealthy.len(), 1);
    assert_eq!(world.index.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_at_once_are_not_a_storm() {
    let mut world = World::new().await;
    world.create("ConfigMap", &numbered(1));
    world.faults.set("watch=true", Fault::Ends);
    world.watch(&[kind("ConfigMap")]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let struck = world.faults.end();
    assert!((2..8).contains(&struck), "{struck} requests in 3 s");
    world.until("in sync", |summary| summary.in_sync && summary.gone.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_renewed_from_its_last_version_without_a_list() {
    let mut world = World::new().await;
    world.create("ConfigMap", &numbered(3));
    world.faults.set("timeoutSeconds", Fault::Short);
    let mark = world.access.audit_log().mark().unwrap();
    world.watch(&[kind("ConfigMap")]);
    world.until("in sync", |summary| summary.in_sync).await;
    let mut news = world.index.subscribe();
    let quiet = tokio::time::timeout(Duration::from_secs(7), news.next()).await;
    assert!(quiet.is_err(), "a renewal is no news to anybody");
    world.kubectl(&["delete", "configmap", "object-0001"]);
    let gone = BTreeSet::from([world.id("ConfigMap", "object-0001")]);
    world.until("the renewed watch sees what happens", |summary| summary.gone == gone).await;
    assert!(world.index.watches()[0].age.unwrap() < Duration::from_secs(3), "bookmarks and answers are signs of life");
    let requests = world.requests_since(mark);
    assert!((3..=6).contains(&requests.len()), "{requests:#?}");
    assert!(requests.iter().all(|request| request.starts_with("watch ")), "{requests:#?}");
    let initial = requests.iter().filter(|request| request.contains("sendInitialEvents")).count();
    assert_eq!(initial, 1, "what exists is told once: {requests:#?}");
}
