//! A namespace of its own for each test, in a cluster that has Bowline's
//! resources.

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bowline::{
    api::{Application, Cause, CommitRecord, ReleaseCounts, ReleaseOutcome, ReleaseSpec, RollbackVerdict},
    api::{Phase, custom_resource_definitions, mutating_policies, validating_policies},
    cluster::{
        ConnectOptions,
        client::{connect, install_crypto_provider},
        store::{ApplicationStore, Store},
    },
    manifest::{BundleDigest, Digest, InputDigest},
};
use jiff::Timestamp;
use serde_json::Value;

/// One application in a namespace of its own.
pub struct World {
    pub client: kube::Client,
    pub access: rig::Access,
    pub namespace: String,
    pub store: Store,
    pub shop: ApplicationStore,
}

static WORLDS: AtomicUsize = AtomicUsize::new(0);

impl World {
    pub async fn new() -> Self {
        install_crypto_provider();
        let access = rig::shared_cluster().unwrap();
        install(&access);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("store-{}-{number}", std::process::id());
        let options = ConnectOptions {
            kubeconfig: Some(access.kubeconfig_path().to_owned()),
            context: None,
            user_agent: format!("bowline-test/{namespace}"),
        };
        let client = connect(&options).await.unwrap();
        access.kubectl(&["create", "namespace", &namespace]).unwrap();
        let store = Store::new(client.clone());
        let shop = store.of(&namespace, "shop");
        Self { client, access, namespace, store, shop }
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let in_namespace = [&["-n", &self.namespace], arguments].concat();
        self.access.kubectl(&in_namespace).map_err(|error| error.to_string())
    }

    pub fn create(&self, object: &Value) -> Result<String, String> {
        self.create_as(self.access.kubeconfig_path(), object)
    }

    /// Creates an object as somebody, by a file: kubectl takes input only from
    /// the administrator here.
    pub fn create_as(&self, kubeconfig: &std::path::Path, object: &Value) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let arguments = ["create", "-n", &self.namespace, "-o", "json", "-f", file.path().to_str().unwrap()];
        self.access.kubectl_as(kubeconfig, &arguments).map_err(|error| error.to_string())
    }

    /// A user who may do what a role of the namespace says.
    pub fn user(&self, name: &str, rules: &[&[&str]]) -> PathBuf {
        for (number, rule) in rules.iter().enumerate() {
            let role = format!("{name}-{number}");
            self.kubectl(&[&["create", "role", &role], *rule].concat()).unwrap();
            self.kubectl(&["create", "rolebinding", &role, "--role", &role, "--user", name]).unwrap();
        }
        self.access.kubeconfig_for(name, &[]).unwrap()
    }

    pub async fn application(&self) -> Application {
        let object = serde_json::json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Application",
            "metadata": { "name": "shop", "namespace": self.namespace },
            "spec": { "source": { "repoURL": "https://example.com/shop.git" } }
        });
        self.create(&object).unwrap();
        kube::Api::namespaced(self.client.clone(), &self.namespace).get("shop").await.unwrap()
    }

    /// How many requests the test's own client has sent since a mark, and with which verbs.
    pub fn requests_since(&self, mark: u64) -> Vec<String> {
        let agent = format!("bowline-test/{}", self.namespace);
        // The audit log is written a moment after the answer.
        std::thread::sleep(Duration::from_millis(300));
        let requests = self.access.audit_log().by_user_agent(mark, &agent).unwrap();
        requests.into_iter().map(|request| request.verb).collect()
    }
}

/// Installs definitions and policies once, and waits until they are in force.
fn install(access: &rig::Access) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let definitions =
            custom_resource_definitions().into_iter().map(|definition| serde_json::to_value(definition).unwrap());
        let all: Vec<Value> = definitions.chain(validating_policies()).chain(mutating_policies()).collect();
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": all });
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        access.kubectl_with_input(&apply, &list.to_string()).unwrap();
        access.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).unwrap();
        wait_for_policies(access);
    });
}

/// A policy is in force some time after it was made: until then a request in
/// another's name is let through as it is.
fn wait_for_policies(access: &rig::Access) {
    let probe = serde_json::json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "Suspension",
        "metadata": { "name": "probe", "namespace": "default" },
        "spec": { "applicationRef": { "name": "probe" }, "reason": "probe", "requestedBy": "nobody" }
    });
    let arguments = ["create", "--dry-run=server", "-o", "jsonpath={.spec.requestedBy}", "-f", "-"];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if access.kubectl_with_input(&arguments, &probe.to_string()).is_ok_and(|name| name != "nobody") {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the admission policies are not in force after 120 s");
}

pub fn release(number: u64) -> ReleaseSpec {
    ReleaseSpec {
        application: "shop".into(),
        number,
        cause: Cause::Push,
        commit: CommitRecord {
            id: "4f1c2d9".repeat(5),
            short: "4f1c2d9".into(),
            subject: "Scale web to 4".into(),
            author: "Grace".into(),
            email: "grace@example.com".into(),
            committed_at: None,
            signer: String::new(),
        },
        bundle: BundleDigest(Digest::of(b"bundle")),
        inputs: InputDigest(Digest::of(b"inputs")),
        renderer: String::new(),
        counts: ReleaseCounts::default(),
        plan: None,
        rollback_to: None,
        rejects: Vec::new(),
        accepts: false,
        include: Vec::new(),
        prune: None,
        application_uid: String::new(),
        requested_by: String::new(),
        verified: false,
        reason: String::new(),
        request: String::new(),
        previous: None,
        generation: 1,
        created_at: Timestamp::now(),
    }
}

pub fn outcome(phase: Phase) -> ReleaseOutcome {
    ReleaseOutcome {
        phase,
        message: "healthy after 6s".into(),
        failures: Vec::new(),
        written: 3,
        touched_cluster: true,
        rollback: RollbackVerdict::None,
        durations: bowline::api::ReleaseDurations::default(),
        ended_at: Timestamp::now(),
    }
}
