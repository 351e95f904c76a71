//! A real node on this machine: containerd, runc, kubelet and kube-proxy.
//!
//! They live in namespaces of their own (network, mounts, processes), whose
//! first process dies with this one, and the kernel then ends everything within:
//! containers, mounts, and the one link to the host. What would be left are empty
//! control groups, which the next start removes. Needs root.
//!
//! ```text
//! host    10.214.N.1 ──veth── 10.214.N.2 ──┐
//!   API server, Git server                 ├─ 10.213.N.1 bridge ── pods 10.213.N.2…
//!                                 node  ───┘
//! ```
//!
//! Pods reach the host's end of the link and nothing beyond; images come from
//! archives only.

mod files;
mod groups;
mod network;
mod packages;
mod sample;
mod sandbox;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

pub use sample::{Sample, sample};

pub(crate) use files::Files;
pub(crate) use network::Network;
pub(crate) use sandbox::Sandbox;

use crate::{
    error::{Error, Result},
    image::{Image, Layer},
    process::{self, Launch, Process},
    tools,
};

/// The image of what holds a pod's namespaces.
const PAUSE: &str = "registry.local/pause:local";
/// How long containerd may take to answer on a busy machine.
const ANSWERS: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

/// A node that runs as long as this value.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the sandbox ends whatever is within.
    processes: Vec<Process>,
    sandbox: Sandbox,
    directory: PathBuf,
    network: Network,
}

/// Whether this process may run a node, and why not.
pub fn is_possible() -> std::result::Result<(), String> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("a node with real pods needs root (namespaces, control groups, mounts)".into()),
    }
}

impl Node {
    /// Installs what Debian has of a node, where it is missing.
    pub(crate) fn prepare() -> Result<()> {
        is_possible().map_err(Error::NoNode)?;
        packages::install_missing()
    }

    /// Starts containerd, and gives it the image that every pod needs.
    pub(crate) fn start(directory: &Path, network: Network, sandbox: Sandbox) -> Result<Self> {
        let mut node = Node { processes: Vec::new(), sandbox, directory: directory.to_owned(), network };
        node.run("containerd", vec![format!("--config={}", Files::containerd(directory).display())])?;
        let until = Instant::now() + ANSWERS;
        while node.ctr(&["version"]).is_err() {
            node.check()?;
            if Instant::now() > until {
                return Err(Error::NotReady {
                    what: "containerd".into(),
                    component: "containerd".into(),
                    limit: ANSWERS,
                    log: node.processes.first().map(Process::log_end).unwrap_or_default(),
                });
            }
            std::thread::sleep(POLL);
        }
        let mut layer = Layer::default();
        layer.copy("sample", &sample::program()?, 0o755);
        let pause = Image {
            name: PAUSE.into(),
            layers: vec![layer],
            entrypoint: vec!["/sample".into(), "pause".into()],
            ..Image::default()
        };
        node.import_image(&pause)?;
        Ok(node)
    }

    /// Starts what needs the API server.
    pub(crate) fn join(&mut self) -> Result<()> {
        let directory = self.directory.clone();
        self.run("kubelet", Files::kubelet_arguments(&directory, &self.network))?;
        self.run("kube-proxy", vec![format!("--config={}", Files::kube_proxy(&directory).display())])
    }

    /// The name of the node.
    pub fn name(&self) -> String {
        self.network.node_name()
    }

    /// The address of the host, as pods reach it: what they are to speak to
    /// listens there.
    pub fn host(&self) -> Ipv4Addr {
        self.network.host()
    }

    /// Writes an image as an archive and imports it.
    pub fn import_image(&self, image: &Image) -> Result<()> {
        let file = tempfile::Builder::new().prefix("image-").suffix(".tar").tempfile_in(&self.directory);
        let file = file
            .map_err(|source| Error::File { action: "create a file in", path: self.directory.clone(), source })?
            .into_temp_path();
        image.write(&file)?;
        self.import(&file)
    }

    /// Imports an image from an OCI archive.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import", &archive.display().to_string()])
    }

    /// Process ids on the host of what runs in a container that has this text
    /// in its command line.
    pub fn processes_of(&self, command: &str) -> Vec<u32> {
        self.sandbox.processes().into_iter().filter(|process| has_in_command(*process, command)).collect()
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter()
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        self.sandbox.check()?;
        self.processes.iter_mut().try_for_each(Process::check)
    }

    fn run(&mut self, name: &str, arguments: Vec<String>) -> Result<()> {
        let mut enter = self.sandbox.enter();
        enter.push(tools::path(name)?.display().to_string());
        enter.extend(arguments);
        let launch = Launch {
            name: name.to_owned(),
            program: "nsenter".into(),
            arguments: enter,
            environment: Vec::new(),
            log: self.directory.join("logs").join(format!("{name}.log")),
        };
        self.processes.push(Process::start(&launch)?);
        Ok(())
    }

    fn ctr(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(self.sandbox.enter()).arg(tools::path("ctr")?).args(["--namespace", "k8s.io"]).args(arguments);
        process::output(&mut command, None).map(drop)
    }
}

fn has_in_command(process: u32, text: &str) -> bool {
    let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).replace('\0', " ").contains(text)
}
