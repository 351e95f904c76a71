//! A namespace of its own for each test, an application with a ServiceAccount
//! in it, and the steps of the tests' stories.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bowline::{
    cluster::{
        Cluster, ConnectOptions, Identity,
        apply::{ActionResult, Stage, apply_stage},
        client::{Call, install_crypto_provider, path},
        discovery::Resolution,
        observe::observe,
    },
    manifest::{BundleDigest, Digest, GroupVersionKind, Manifest, ManifestDigest, ObjectId},
    plan::{
        Action, Candidate, ConflictPolicy, DryRun, Membership, Observation, Observations, Policy, Precondition,
        Proposal, ServerError, Verb, Why,
    },
};
use serde_json::{Value, json};

/// One application in a namespace of its own.
pub struct World {
    pub cluster: Cluster,
    pub access: rig::Access,
    pub namespace: String,
    pub identity: Identity,
    pub policy: Policy,
}

static WORLDS: AtomicUsize = AtomicUsize::new(0);

impl World {
    /// A new namespace, with a ServiceAccount that may do everything in it.
    pub async fn new() -> Self {
        let world = Self::made_with(Some("admin")).await;
        // The authorizer learns of a binding by a watch: until it has, the
        // first requests would be refused.
        let path = path::core(Some(&world.namespace), "configmaps", "").unwrap();
        for _ in 0..200 {
            if world.cluster.request(&Call::get(path.clone(), &world.identity)).await.is_ok() {
                return world;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the rights of the ServiceAccount did not arrive within 4 s");
    }

    /// A new namespace, with a ServiceAccount that may do nothing.
    pub async fn without_rights() -> Self {
        Self::made_with(None).await
    }

    async fn made_with(role: Option<&str>) -> Self {
        install_crypto_provider();
        let access = rig::shared_cluster().unwrap();
        let options = ConnectOptions {
            kubeconfig: Some(access.kubeconfig_path().to_owned()),
            context: None,
            user_agent: "bowline-test/0".into(),
        };
        let cluster = Cluster::connect(&options).await.unwrap();
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("apply-{}-{number}", std::process::id());
        let world = Self {
            cluster,
            access,
            identity: Identity::service_account(&namespace, "bowline-deployer"),
            policy: policy(&namespace),
            namespace,
        };
        world.access.create_namespace(&world.namespace, Some(("bowline-deployer", role))).unwrap();
        world
    }

    /// The same application with all rights, for objects of the whole cluster.
    pub async fn as_admin() -> Self {
        let mut world = Self::without_rights().await;
        world.identity = Identity::Own;
        world
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.access.kubectl(arguments).unwrap()
    }

    pub fn create(&self, object: &Value) {
        self.access.kubectl_with_input(&["create", "-f", "-"], &object.to_string()).unwrap();
    }

    pub fn config_map(&self, name: &str, value: &str) -> Arc<Manifest> {
        manifest(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": {"key": value},
        }))
    }

    pub fn deployment(&self, name: &str, image: &str) -> Arc<Manifest> {
        manifest(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": image}]},
                },
            },
        }))
    }

    pub async fn observe_one(&self, manifest: &Arc<Manifest>, why: Why) -> Observation {
        let mut observations = self.observe(&[(manifest, why)]).await;
        observations.remove(&manifest.id).unwrap()
    }

    pub async fn observe(&self, manifests: &[(&Arc<Manifest>, Why)]) -> Observations {
        let candidates = manifests
            .iter()
            .map(|(manifest, why)| Candidate {
                id: manifest.id.clone(),
                gvk: manifest.gvk.clone(),
                desired: (*why != Why::Removed).then(|| Arc::clone(manifest)),
                owned: None,
                why: *why,
            })
            .collect();
        observe(&self.cluster, &self.identity, &proposal(candidates), &self.policy).await
    }

    /// The live object, as the administrator sees it.
    pub async fn live(&self, manifest: &Manifest) -> Option<Value> {
        let Resolution::Served(served) = self.cluster.discovery().resolve(&manifest.gvk).await else {
            panic!("{} is not served", manifest.gvk);
        };
        let path = path::object(&served.resource, manifest.id.namespace.as_deref(), &manifest.id.name).unwrap();
        match self.cluster.read(Call::get(path, &Identity::Own)).await {
            Ok(answer) => Some(answer.json().unwrap()),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// An action that writes a manifest onto what is live now.
    pub async fn write(&self, manifest: &Manifest) -> Action {
        self.write_onto(manifest, self.live(manifest).await)
    }

    fn write_onto(&self, manifest: &Manifest, live: Option<Value>) -> Action {
        let verb = if live.is_some() { Verb::Update } else { Verb::Create };
        let precondition = live.as_ref().map(precondition).unwrap_or_default();
        let body = bowline::plan::body(manifest, live.as_ref(), &self.policy);
        action(manifest, verb, precondition, Some(body))
    }

    /// What an action for a manifest would be planned on now.
    pub async fn planned_on(&self, manifest: &Manifest) -> Observations {
        let live = self.live(manifest).await.map(Box::new);
        live.map(|object| (manifest.id.clone(), Observation::Live { object, dry_run: DryRun::NotTried }))
            .into_iter()
            .collect()
    }

    /// An action that makes a manifest, whatever is live.
    pub fn make(&self, manifest: &Manifest) -> Action {
        let body = bowline::plan::body(manifest, None, &self.policy);
        action(manifest, Verb::Create, Precondition::default(), Some(body))
    }

    pub async fn apply(&self, actions: &[Action]) -> Vec<ActionResult> {
        self.apply_planned_on(actions, &BTreeMap::new(), &|| true).await
    }

    pub async fn apply_planned_on(
        &self,
        actions: &[Action],
        observations: &Observations,
        permit: &(impl Fn() -> bool + Sync),
    ) -> Vec<ActionResult> {
        let stage = Stage {
            cluster: &self.cluster,
            identity: &self.identity,
            manager: &self.policy.membership.manager,
            observations,
            permit,
        };
        let told = AtomicUsize::new(0);
        let actions: Vec<&Action> = actions.iter().collect();
        let results = apply_stage(&stage, &actions, |_| {
            told.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        assert_eq!(told.load(Ordering::Relaxed), results.len(), "progress is told of each result");
        results
    }

    /// Applies a manifest and returns the object as it was left.
    pub async fn applied(&self, manifest: &Manifest) -> Value {
        let planned_on = self.planned_on(manifest).await;
        let live = planned_on.get(&manifest.id).and_then(|it| match it {
            Observation::Live { object, .. } => Some((**object).clone()),
            _ => None,
        });
        let action = self.write_onto(manifest, live);
        let mut results = self.apply_planned_on(&[action], &planned_on, &|| true).await;
        match results.remove(0).outcome {
            bowline::cluster::apply::Outcome::Applied(applied) => *applied.object,
            other => panic!("{}: {other:?}", manifest.id),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test leaves behind is gone with the cluster.
        let _ = self.access.kubectl(&["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"]);
    }
}

pub fn policy(namespace: &str) -> Policy {
    Policy {
        membership: Arc::new(Membership {
            set: "set-1".into(),
            application: format!("{namespace}/app"),
            manager: format!("bowline/{namespace}/app"),
        }),
        prune: true,
        preflight: true,
        conflicts: ConflictPolicy::Take,
        ignore: Vec::new(),
        hand_managers: Policy::HAND_MANAGERS.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
        max_prune_percent: 50,
        allow_prune: None,
        rollback: None,
        create_namespace: None,
        hooks: None,
        elsewhere: Default::default(),
        given_up: Default::default(),
    }
}

pub fn proposal(candidates: Vec<Candidate>) -> Proposal {
    let objects = u32::try_from(candidates.len()).unwrap();
    Proposal {
        bundle: BundleDigest(Digest::of(b"bundle")),
        candidates,
        unchanged: 0,
        objects,
        guards: Vec::new(),
        moved: Vec::new(),
        kinds: Default::default(),
        namespaces: Default::default(),
        schedule: Default::default(),
        hooks: Vec::new(),
        problems: Vec::new(),
        left_out: Vec::new(),
    }
}

pub fn manifest(value: Value) -> Arc<Manifest> {
    let gvk =
        GroupVersionKind::from_api_version(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap())
            .unwrap();
    let metadata = &value["metadata"];
    let namespace = metadata["namespace"].as_str().map(str::to_owned);
    let id = ObjectId::new(gvk.group_kind(), namespace, metadata["name"].as_str().unwrap());
    let digest = ManifestDigest(Digest::of(value.to_string().as_bytes()));
    Arc::new(Manifest { id, gvk, value: value.into(), digest, origin: None })
}

pub fn action(manifest: &Manifest, verb: Verb, precondition: Precondition, body: Option<Value>) -> Action {
    Action {
        precondition,
        body: body.map(Into::into),
        manifest: Some(manifest.digest.clone()),
        ..Action::new(manifest.id.clone(), manifest.gvk.clone(), verb, "test")
    }
}

pub fn precondition(live: &Value) -> Precondition {
    let text = |name: &str| live["metadata"][name].as_str().map(str::to_owned);
    Precondition { uid: text("uid"), resource_version: text("resourceVersion") }
}

/// The error of a dry-run that was refused.
pub fn refusal(observation: Observation) -> ServerError {
    match observation {
        Observation::Absent { dry_run: DryRun::Error(error) }
        | Observation::Live { dry_run: DryRun::Error(error), .. } => error,
        other => panic!("{other:?}"),
    }
}
