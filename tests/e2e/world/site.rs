//! A control plane with Bowline's resources, and controllers on it.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bowline::api::{custom_resource_definitions, mutating_policies, validating_policies};
use rig::{Cluster, Launch, Options, Process};
use serde_json::Value;

/// The namespace of the controller and its lease.
pub const SYSTEM: &str = "bowline-system";

/// A control plane of its own, with Bowline's resources and policies.
pub struct Site {
    pub cluster: Cluster,
    controllers: AtomicUsize,
}

/// How a controller is started.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Further arguments.
    pub arguments: Vec<&'static str>,
    /// The way to the API server, where it is not the straight one.
    pub kubeconfig: Option<PathBuf>,
}

/// A controller that runs until it is dropped or killed.
pub struct Controller {
    process: Process,
    launch: Launch,
}

/// What most stories share: they have namespaces of their own in it.
struct Shared {
    site: Site,
    _controller: Controller,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let site = Site::new();
    let controller = site.start(&Start::default());
    Shared { site, _controller: controller }
});

impl Site {
    /// A control plane with the custom resources and the policies in force.
    pub fn new() -> Self {
        let cluster = Cluster::start(Options::default()).unwrap();
        let objects: Vec<Value> = custom_resource_definitions()
            .iter()
            .map(|definition| serde_json::to_value(definition).unwrap())
            .chain(validating_policies())
            .chain(mutating_policies())
            .collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        cluster.kubectl_with_input(&["create", "-f", "-"], &list.to_string()).unwrap();
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).unwrap();
        cluster.kubectl(&["create", "namespace", SYSTEM]).unwrap();
        wait_for_policies(&cluster);
        Self { cluster, controllers: AtomicUsize::new(0) }
    }

    /// The site that most stories share, with its controller.
    pub fn shared() -> &'static Site {
        &SHARED.site
    }

    /// Frees the lease of a controller that is certainly gone, so that nobody has
    /// to wait until it has run out.
    pub fn free_lease(&self) {
        self.cluster.kubectl(&["-n", SYSTEM, "delete", "lease", "bowline", "--ignore-not-found"]).unwrap();
    }

    /// Starts a controller.
    pub fn start(&self, start: &Start) -> Controller {
        let number = self.controllers.fetch_add(1, Ordering::Relaxed);
        let directory = self.cluster.directory().join(format!("controller-{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        let identity = format!("replica-{number}");
        let cache = directory.join("cache");
        let mut arguments: Vec<String> = ["controller", "--cache"].map(str::to_owned).to_vec();
        arguments.push(cache.display().to_string());
        let fixed = ["--allow-file-repositories", "--lease-namespace", SYSTEM, "--lease-name", "bowline"];
        arguments.extend(fixed.map(str::to_owned));
        arguments.extend(["--identity", &identity, "--listen", "127.0.0.1:0"].map(str::to_owned));
        arguments.extend(["--log-format", "text", "--log", "warn,bowline=debug"].map(str::to_owned));
        arguments.extend(start.arguments.iter().map(|&argument| argument.to_owned()));
        let kubeconfig = start.kubeconfig.as_deref().unwrap_or(self.cluster.kubeconfig_path());
        let environment = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("BOWLINE_CACHE_DIR", cache.display().to_string()),
            ("BOWLINE_HELM", rig::tools::path("helm").unwrap().display().to_string()),
            ("BOWLINE_KUSTOMIZE", rig::tools::path("kustomize").unwrap().display().to_string()),
            ("LEASE", "bowline".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        let launch = Launch {
            name: identity,
            program: env!("CARGO_BIN_EXE_bowline").into(),
            arguments,
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            log: directory.join("log"),
        };
        let process = Process::start(&launch).unwrap();
        Controller { process, launch }
    }
}

/// The API server takes up what policies are about a moment after the resources
/// are served, and refuses requests until then.
fn wait_for_policies(cluster: &Cluster) {
    for kind in ["SyncRequest", "RollbackRequest"] {
        let mut probe = serde_json::json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "probe", "namespace": SYSTEM},
            "spec": {"applicationRef": {"name": "none"}},
        });
        if kind == "RollbackRequest" {
            probe["spec"]["fromRelease"] = 1.into();
        }
        let until = Instant::now() + super::LIMIT;
        while let Err(refused) =
            cluster.kubectl_with_input(&["create", "--dry-run=server", "-f", "-"], &probe.to_string())
        {
            assert!(Instant::now() < until, "the policies never let a {kind} through: {refused}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Controller {
    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.process.terminate();
        let until = Instant::now() + super::LIMIT;
        while self.process.ended().is_none() {
            assert!(Instant::now() < until, "it does not end; the end of its log:\n{}", self.process.log_end());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it where it is, until it goes on.
    pub fn pause(&self) {
        self.process.pause();
    }

    pub fn go_on(&self) {
        self.process.go_on();
    }

    /// An error if it has ended.
    pub fn check(&mut self) {
        self.process.check().unwrap();
    }

    /// Resident memory in MiB.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
    }

    /// How often its log says something.
    pub fn says(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Starts it again, with the same cache and name: it is the same replica,
    /// and takes up the lease that it held.
    pub fn start_again(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.launch).unwrap();
    }

    /// Starts it again at once, with the lease that it held.
    pub fn start_at_once(&mut self, site: &Site) {
        self.process.kill();
        site.free_lease();
        self.process = Process::start(&self.launch).unwrap();
    }

    /// Everything that it wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What its metrics say of this name: each series with its value.
    pub fn metric(&self, name: &str) -> Vec<String> {
        let log = self.log();
        let address = log.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    pub fn log_path(&self) -> &PathBuf {
        &self.launch.log
    }

    /// Waits until its log says something.
    pub fn wait_for_log(&mut self, words: &str) {
        let until = Instant::now() + super::LIMIT;
        while !self.log().contains(words) {
            self.process.check().unwrap();
            assert!(Instant::now() < until, "the log never said {words:?}; its end:\n{}", self.process.log_end());
            std::thread::sleep(Duration::from_millis(40));
        }
    }
}
