//! A cluster that outlives the command that starts it.
//!
//! A supervisor process of its own holds the components as its children; they
//! end with it, however it ends. Whether it lives is told by the lock on its
//! directory, never by a process id alone, so that no foreign process is ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{Access, Cluster, Options, READY_LIMIT};
use crate::directory::{cache_dir, create_private, is_held};
use crate::error::{At, Error, Result};
use crate::node::Network;
use crate::process::{detach, end_of};
use crate::tools;

const READY: &str = "ready.json";
const LOG: &str = "supervisor.log";

/// A detached cluster by its name; several run side by side.
#[derive(Debug, Clone)]
pub struct Detached {
    directory: PathBuf,
}

/// What the supervisor leaves for others once the cluster is ready.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    supervisor: u32,
    components: Vec<(String, u32)>,
}

/// Whether a detached cluster runs, and as what.
#[derive(Debug)]
pub enum Status {
    /// Nothing runs.
    Down,
    /// It is being started.
    Starting,
    /// It runs.
    Up {
        /// The process that holds the components.
        supervisor: u32,
        /// The components with their process ids.
        components: Vec<(String, u32)>,
    },
}

impl Detached {
    /// The cluster of the given name, whether it runs or not.
    pub fn named(name: &str) -> Self {
        Detached { directory: cache_dir().join("clusters").join(name) }
    }

    /// Whether it runs.
    pub fn status(&self) -> Status {
        if !is_held(&self.directory) {
            return Status::Down;
        }
        match self.ready() {
            Some(ready) => Status::Up { supervisor: ready.supervisor, components: ready.components },
            None => Status::Starting,
        }
    }

    /// The way into the cluster.
    pub fn access(&self) -> Result<Access> {
        Ok(Access::new(&self.directory, tools::path("kubectl")?))
    }

    /// Starts it unless it runs. `supervisor` is the command that will call
    /// [`Detached::supervise`] in a process of its own.
    pub fn up(&self, mut supervisor: Command) -> Result<Access> {
        for component in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"] {
            tools::path(component)?;
        }
        if matches!(self.status(), Status::Down) {
            create_private(&self.directory)?;
            let _ = fs::remove_file(self.directory.join(READY));
            let log = self.log();
            let output = fs::File::create(&log).at("create", &log)?;
            let errors = output.try_clone().at("open", &log)?;
            let mut child =
                supervisor.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(|source| {
                    Error::Program { program: supervisor.get_program().to_string_lossy().into_owned(), source }
                })?;
            return self.wait_until_ready(|| match child.try_wait() {
                Ok(Some(status)) => {
                    Err(Error::ComponentEnded { component: "the supervisor".into(), status, log: end_of(&log, 4_000) })
                }
                _ => Ok(()),
            });
        }
        self.wait_until_ready(|| match self.status() {
            Status::Down => Err(Error::NotRunning { name: "the cluster's supervisor".into() }),
            _ => Ok(()),
        })
    }

    fn wait_until_ready(&self, mut alive: impl FnMut() -> Result<()>) -> Result<Access> {
        let deadline = Instant::now() + READY_LIMIT;
        while !matches!(self.status(), Status::Up { .. }) {
            alive()?;
            if Instant::now() > deadline {
                return Err(Error::NotReady {
                    what: "the cluster".into(),
                    component: "the supervisor".into(),
                    limit: READY_LIMIT,
                    log: end_of(&self.log(), 4_000),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.access()
    }

    /// Runs the cluster in this process, in a session of its own, until the
    /// process is ended; `images` are archives for its node. Returns only with
    /// an error.
    pub fn supervise(&self, options: Options, images: &[PathBuf]) -> Result<std::convert::Infallible> {
        detach();
        let mut cluster = Cluster::start(Options { directory: Some(self.directory.clone()), ..options })?;
        if let Some(node) = cluster.node() {
            images.iter().try_for_each(|image| node.import(image))?;
        }
        let ready = Ready { supervisor: std::process::id(), components: cluster.processes() };
        self.write_ready(&ready)?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            cluster.check()?;
        }
    }

    /// Ends it and removes its data. Returns whether it ran.
    pub fn down(&self) -> Result<bool> {
        let ran = is_held(&self.directory);
        if ran {
            let mut components = Vec::new();
            let deadline = Instant::now() + READY_LIMIT;
            while is_held(&self.directory) {
                // The process id is trusted only while the lock is held.
                if let Some(ready) = self.ready()
                    && let Some(pid) = i32::try_from(ready.supervisor).ok().and_then(Pid::from_raw)
                    && is_held(&self.directory)
                {
                    components = ready.components;
                    let _ = kill_process(pid, Signal::TERM);
                }
                if Instant::now() > deadline {
                    return Err(Error::NotReady {
                        what: "the end of the cluster".into(),
                        component: "the supervisor".into(),
                        limit: READY_LIMIT,
                        log: end_of(&self.log(), 4_000),
                    });
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // The kernel ends the components a moment after the supervisor, and
            // they write until then.
            while Instant::now() < deadline && components.iter().any(|(_, process)| self.is_component(*process)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).at("remove", &self.directory)?;
        }
        let _ = fs::remove_file(self.log());
        Network::sweep();
        Ok(ran)
    }

    /// Whether the process names our directory in its arguments, as all components do.
    fn is_component(&self, process: u32) -> bool {
        let directory = self.directory.as_os_str().as_encoded_bytes();
        fs::read(format!("/proc/{process}/cmdline"))
            .is_ok_and(|command| command.windows(directory.len()).any(|part| part == directory))
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.directory.join(READY)).ok()?).ok()
    }

    fn write_ready(&self, ready: &Ready) -> Result<()> {
        let path = self.directory.join(READY);
        let unfinished = self.directory.join("ready.unfinished");
        let text = serde_json::to_string_pretty(ready)
            .map_err(|error| Error::Content { path: path.clone(), reason: error.to_string() })?;
        fs::write(&unfinished, text).at("write", &unfinished)?;
        fs::rename(&unfinished, &path).at("rename", &unfinished)
    }

    /// Beside the directory, which a starting supervisor empties.
    fn log(&self) -> PathBuf {
        let mut name = self.directory.as_os_str().to_owned();
        name.push(".");
        name.push(LOG);
        Path::new(&name).to_owned()
    }
}
