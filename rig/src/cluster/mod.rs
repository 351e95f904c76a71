//! A Kubernetes control plane on this machine: etcd, API server, controller
//! manager, scheduler, and kwok for nodes and pods.
//!
//! The API server, the controllers and the scheduler are the real ones, with
//! RBAC, an audit log and certificates made at run time. Pods run no
//! containers: kwok makes them ready on fake nodes, by the stages in
//! `fixtures/stages.yaml`, which also say how a pod can be made to fail.
//!
//! With [`Options::node`] pods do run containers, on one real node instead of
//! the fake ones (see [`crate::node`]); that needs root.
//!
//! What a cluster gets from fixtures, and from nowhere else:
//! - three fake nodes (`fixtures.rs`);
//! - StorageClass `standard` and static PersistentVolumes, so that claims bind;
//! - the *pod metrics fixture* (`pod_metrics.rs`): an aggregated API
//!   `metrics.k8s.io` that says of each running pod that it uses half of what
//!   it requests, so that HorizontalPodAutoscalers have something to read.

mod access;
mod audit;
mod components;
pub mod detached;
mod fixtures;
mod pod_metrics;

use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use access::{Access, shared_cluster};
pub use audit::{AuditLog, Request};

use crate::directory::RunDirectory;
use crate::error::{Error, Result};
use crate::http::Client;
use crate::node::{Network, Node, Sandbox};
use crate::pki::Authority;
use crate::process::{Launch, Process};
use crate::tools;
use components::Plan;
use pod_metrics::PodMetrics;

/// How long a start may take on a busy machine before it is an error.
const READY_LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);
/// The name of the certificate authority of every cluster.
pub(crate) const AUTHORITY: &str = "bowline-rig";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is written; a new directory in the cache by default.
    pub directory: Option<PathBuf>,
    /// Fake nodes.
    pub nodes: usize,
    /// Static PersistentVolumes of 10 GiB each.
    pub volumes: usize,
    /// Whether the pod metrics fixture runs.
    pub pod_metrics: bool,
    /// One real node instead of the fake ones.
    pub node: bool,
    /// Further arguments of the API server.
    pub api_server_arguments: Vec<String>,
}

impl Options {
    /// A cluster with one real node, and without fixtures.
    pub fn with_node() -> Self {
        Options { nodes: 0, volumes: 0, pod_metrics: false, node: true, ..Options::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            directory: None,
            nodes: 3,
            volumes: 50,
            pod_metrics: true,
            node: false,
            api_server_arguments: Vec::new(),
        }
    }
}

/// A control plane that runs as long as this value, and never longer than this process.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: whatever writes ends before its directory goes.
    _pod_metrics: Option<PodMetrics>,
    node: Option<Node>,
    components: Vec<Component>,
    access: Access,
    plan: Plan,
    client: ApiClient,
    _directory: RunDirectory,
}

#[derive(Debug)]
struct Component {
    launch: Launch,
    process: Option<Process>,
}

struct ApiClient(Client);

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ApiClient")
    }
}

impl Cluster {
    /// Starts a control plane and returns once it is ready to schedule pods.
    pub fn start(options: Options) -> Result<Self> {
        let directory = match &options.directory {
            Some(path) => RunDirectory::at(path)?,
            None => RunDirectory::new("cluster-")?,
        };
        let authority = Authority::new(AUTHORITY)?;
        if options.node {
            Node::prepare()?;
        }
        let network = options.node.then(Network::claim).transpose()?;
        let plan = Plan::new(directory.path(), &authority, &options, network.as_ref())?;
        let identity = authority.client("rig:probe", &["system:masters"])?;
        let client = Client::new((plan.address, plan.api_port.number()).into(), &authority, &identity)?;
        // The API server listens on the link to the node.
        let node = network
            .map(|network| {
                let sandbox = Sandbox::start(directory.path(), &network)?;
                Node::start(directory.path(), network, sandbox)
            })
            .transpose()?;
        let access = Access::new(directory.path(), tools::path("kubectl")?);
        let mut cluster = Cluster {
            _pod_metrics: None,
            node,
            components: Vec::new(),
            access,
            client: ApiClient(client),
            plan,
            _directory: directory,
        };
        let deadline = Instant::now() + READY_LIMIT;
        cluster.run(cluster.plan.etcd()?)?;
        cluster.run(cluster.plan.api_server()?)?;
        cluster.wait_for("the API server", "kube-apiserver", "/readyz", deadline)?;
        cluster.run(cluster.plan.controller_manager()?)?;
        cluster.run(cluster.plan.scheduler()?)?;
        match &mut cluster.node {
            Some(node) => node.join()?,
            None => cluster.run(cluster.plan.kwok()?)?,
        }
        if options.pod_metrics {
            let metrics = PodMetrics::start(&authority, cluster.client.0.clone())?;
            cluster.kubectl_with_input(&["create", "-f", "-"], &metrics.registration(&authority).to_string())?;
            cluster._pod_metrics = Some(metrics);
        }
        cluster.kubectl_with_input(
            &["create", "-f", "-"],
            &fixtures::nodes_and_volumes(&options, &cluster.access.directory().join("volumes")).to_string(),
        )?;
        cluster.wait_for(
            "the default ServiceAccount",
            "kube-controller-manager",
            "/api/v1/namespaces/default/serviceaccounts/default",
            deadline,
        )?;
        cluster.wait_for_nodes(if options.node { 1 } else { options.nodes }, deadline)?;
        Ok(cluster)
    }

    /// Stops everything and removes the data. Dropping does the same.
    pub fn stop(self) {}

    /// Ends the API server, as a crash would.
    pub fn kill_api_server(&mut self) -> Result<()> {
        self.component("kube-apiserver")?.process = None;
        Ok(())
    }

    /// Starts the API server again on the same port with the same data.
    pub fn restart_api_server(&mut self) -> Result<()> {
        let component = self.component("kube-apiserver")?;
        component.process = None;
        component.process = Some(Process::start(&component.launch)?);
        let deadline = Instant::now() + READY_LIMIT;
        self.wait_for("the API server", "kube-apiserver", "/readyz", deadline)
    }

    /// The process ids of the components, by name.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let components = self.components.iter().filter_map(|component| component.process.as_ref());
        let node = self.node.iter().flat_map(Node::processes);
        components.chain(node).map(|process| (process.name().to_owned(), process.id())).collect()
    }

    /// The real node, where the cluster has one.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// An error if a component has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for component in &mut self.components {
            if let Some(process) = &mut component.process {
                process.check()?;
            }
        }
        self.node.as_mut().map_or(Ok(()), Node::check)
    }

    fn run(&mut self, launch: Launch) -> Result<()> {
        let process = Process::start(&launch)?;
        self.components.push(Component { launch, process: Some(process) });
        Ok(())
    }

    fn component(&mut self, name: &str) -> Result<&mut Component> {
        self.components
            .iter_mut()
            .find(|component| component.launch.name == name)
            .ok_or_else(|| Error::NotRunning { name: name.to_owned() })
    }

    fn wait_for(&mut self, what: &str, component: &str, path: &str, until: Instant) -> Result<()> {
        self.wait(what, component, until, |client| matches!(client.get(path, Duration::from_secs(5)), Ok((200, _))))
    }

    fn wait_for_nodes(&mut self, count: usize, until: Instant) -> Result<()> {
        let component = if self.node.is_some() { "kube-scheduler" } else { "kwok" };
        self.wait("the nodes", component, until, |client| {
            let Ok((200, body)) = client.get("/api/v1/nodes", Duration::from_secs(5)) else {
                return false;
            };
            let nodes: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            fixtures::ready_nodes(&nodes) >= count
        })
    }

    fn wait(&mut self, what: &str, component: &str, until: Instant, ready: impl Fn(&Client) -> bool) -> Result<()> {
        while !ready(&self.client.0) {
            self.check()?;
            if Instant::now() > until {
                return Err(Error::NotReady {
                    what: what.to_owned(),
                    component: component.to_owned(),
                    limit: READY_LIMIT,
                    log: self.component(component)?.process.as_ref().map(Process::log_end).unwrap_or_default(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Deref for Cluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The order of starting, reversed: nothing retries against a dead server.
        self.node = None;
        while let Some(component) = self.components.pop() {
            drop(component);
        }
    }
}
