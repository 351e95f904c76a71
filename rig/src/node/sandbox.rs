//! Namespaces that end with this process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{groups, network::Network};
use crate::{
    error::{Error, Result},
    process::{self, Launch, Process},
};

/// How long the first process may take on a busy machine.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The first process of the namespaces. Its end is everybody's.
#[derive(Debug)]
pub(crate) struct Sandbox {
    holder: Process,
    first: u32,
}

impl Sandbox {
    /// Makes the namespaces, their link to the host, and the control groups.
    pub(crate) fn start(directory: &Path, network: &Network) -> Result<Self> {
        groups::create(&network.node_name())?;
        let ready = directory.join("sandbox-ready");
        // The shell waits for whatever is handed down to it, as a first process
        // must. Fixed places of the machine are the sandbox's own.
        let script = format!(
            "set -e
ip link set lo up
for place in /run /var/lib/cni /var/log/containers; do mkdir -p $place; mount -t tmpfs -o mode=755 tmpfs $place; done
: > '{}'
while :; do sleep 1000; done
",
            ready.display()
        );
        let arguments = ["--mount", "--pid", "--net", "--fork", "--kill-child=KILL", "--mount-proc", "--", "sh", "-c"];
        let mut arguments = arguments.map(str::to_owned).to_vec();
        arguments.push(script);
        let launch = Launch {
            name: "sandbox".into(),
            program: "unshare".into(),
            arguments,
            environment: Vec::new(),
            log: directory.join("logs/sandbox.log"),
        };
        let mut holder = Process::start(&launch)?;
        let until = Instant::now() + READY;
        while !ready.exists() {
            holder.check()?;
            if Instant::now() > until {
                return Err(Error::NotReady {
                    what: "the sandbox of the node".into(),
                    component: "sandbox".into(),
                    limit: READY,
                    log: holder.log_end(),
                });
            }
            std::thread::sleep(POLL);
        }
        let first = children().remove(&holder.id()).and_then(|children| children.first().copied());
        let first = first.ok_or_else(|| Error::NotRunning { name: "the first process of the sandbox".into() })?;
        let sandbox = Self { holder, first };
        network.link_to(first)?;
        let mut enter = std::process::Command::new("nsenter");
        enter.args(sandbox.enter()).args(["sh", "-e", "-c", &network.script()]);
        process::output(&mut enter, None)?;
        Ok(sandbox)
    }

    /// The arguments by which `nsenter` runs what follows them inside.
    pub(crate) fn enter(&self) -> Vec<String> {
        let target = format!("--target={}", self.first);
        vec![target, "--net".into(), "--mount".into(), "--pid".into(), "--".into()]
    }

    /// An error if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.holder.check()
    }

    /// All processes inside, by their ids on the host.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        // Containers have namespaces of their own, so that descent tells who is inside.
        let children = children();
        let mut found = BTreeSet::new();
        let mut next = vec![self.first];
        while let Some(process) = next.pop() {
            if found.insert(process) {
                next.extend(children.get(&process).into_iter().flatten());
            }
        }
        found
    }
}

/// The children of every process.
fn children() -> BTreeMap<u32, Vec<u32>> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // `pid (name) state parent …`, and a name may have anything in it.
        let parent = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(process);
        }
    }
    children
}
