//! Where the story plays: a cluster, a Git server, a controller, and the way down.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::cluster::detached::Detached;
use rig::{Access, GitRepo};
use serde_json::Value;

use super::host::{Order, Place};
use super::terminal::Terminal;
use crate::{Outcome, workspace};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The name of the demo's own cluster.
const CLUSTER: &str = "demo";
/// The namespace that the sample lives in, and that its setup creates.
pub(super) const NAMESPACE: &str = "shop";

pub(super) struct Stage {
    cluster: Option<Detached>,
    access: Access,
    log: PathBuf,
    host: Host,
    pub(super) repo: GitRepo,
    pub(super) url: String,
}

struct Host {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The program that users run. Debug or release as this one.
pub(super) fn bowline() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("bowline")
}

pub(super) fn build_bowline() -> Outcome {
    let mut build = crate::test::cargo();
    build.args(["build", "--locked", "--package", "bowline", "--bin", "bowline"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    match build.status()?.success() {
        true => Ok(()),
        false => Err("bowline did not build; see above".into()),
    }
}

impl Stage {
    pub(super) fn set_up(terminal: &Terminal, kubeconfig: Option<&Path>, keep: bool) -> Result<Self> {
        let kubectl = rig::tools::path("kubectl")?;
        clean_up_on_interrupt(kubeconfig.is_none().then(|| Detached::named(CLUSTER)));
        let (cluster, access) = match kubeconfig {
            Some(kubeconfig) => {
                let directory = rig::cache_dir().join("demo");
                std::fs::create_dir_all(&directory)?;
                (None, Access::to(&std::path::absolute(kubeconfig)?, &directory, kubectl))
            }
            None => {
                let cluster = Detached::named(CLUSTER);
                if cluster.down()? {
                    terminal.note("the cluster of an earlier demo is taken down");
                }
                let access = cluster.up(supervisor(keep)?)?;
                (Some(cluster), access)
            }
        };
        if kubeconfig.is_some() && access.kubectl(&["get", "namespace", NAMESPACE]).is_ok() {
            return Err(format!(
                "the cluster has a namespace {NAMESPACE} already: the demo would change what is in it"
            )
            .into());
        }
        access.kubectl(&["apply", "--server-side", "-R", "-f", &path("manifests")])?;
        access.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "applications.bowline.dev"])?;
        let log = access.directory().join("controller.log");
        let (host, place) = Host::start(access.kubeconfig_path(), &log, keep && cluster.is_some())
            .inspect_err(|_| eprintln!("\n{}", log_end(&log)))?;
        terminal.note(&format!("cluster     export KUBECONFIG={}", access.kubeconfig_path().display()));
        terminal.note(&format!("repository  {}", place.url));
        terminal.note(&format!("controller  process {}, log {}", place.controller, log.display()));
        Ok(Stage { cluster, access, log, host, repo: GitRepo::open(&place.work)?, url: place.url })
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.access.kubectl(arguments)?)
    }

    pub(super) fn apply(&self, manifests: &str) -> Result<String> {
        Ok(self.access.kubectl_with_input(&["apply", "-f", "-"], manifests)?)
    }

    /// Runs the program that users run, and returns what it printed on both outputs.
    pub(super) fn bowline(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(bowline())
            .args(arguments)
            .env("KUBECONFIG", self.access.kubeconfig_path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.success() {
            true => Ok(text),
            false => Err(format!("`bowline {}` failed with {}:\n{text}", arguments.join(" "), output.status).into()),
        }
    }

    pub(super) fn order(&mut self, order: Order) -> Outcome {
        self.host.order(order)
    }

    /// Reads the application until it is as wanted; returns how long that took.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            self.host.check()?;
            let text = self.kubectl(&["get", "applications.bowline.dev", "shop", "-n", NAMESPACE, "-o", "json"])?;
            let application: Value = serde_json::from_str(&text)?;
            if wanted(&application["status"]) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > limit {
                return Err(format!(
                    "{what}: not within {}s; the application says:\n{:#}",
                    limit.as_secs(),
                    application["status"]
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn controller_log_end(&self) -> String {
        log_end(&self.log)
    }

    /// How long the controller took from the end of the last fetch to the last
    /// write, in milliseconds, as its log says.
    pub(super) fn own_share(&self) -> Option<u64> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.map(|line| line["after_fetch_ms"].clone()).find_map(|milliseconds| milliseconds.as_u64())
    }

    /// Ends everything and removes what the demo made.
    pub(super) fn take_down(mut self) -> Outcome {
        if self.cluster.is_none() {
            // Orphaned objects are removed with their namespace; what is not in one, by name.
            self.kubectl(&["delete", "-f", &path("examples/setup.yaml"), "--ignore-not-found"])?;
            self.kubectl(&["delete", "crd", "deliveryzones.shop.example.com", "--ignore-not-found"])?;
            eprintln!("Bowline's own definitions stay in your cluster: kubectl delete -R -f manifests/");
        }
        self.host.end();
        if let Some(cluster) = &self.cluster {
            cluster.down()?;
        }
        Ok(())
    }

    /// Leaves everything running and says how to use and how to end it.
    pub(super) fn leave(self, terminal: &Terminal) -> Outcome {
        terminal.part("kept", "Everything goes on running");
        terminal.note(&format!("export KUBECONFIG={}", self.access.kubeconfig_path().display()));
        terminal.note(&format!("{} get -A", bowline().display()));
        terminal.note(&format!("git clone {}", self.url));
        match &self.cluster {
            Some(_) => {
                terminal.note(&format!("cargo xtask cluster down --name {CLUSTER}   ends all of it"));
                // The host stays with the cluster once its input ends.
                Ok(())
            }
            None => {
                terminal.note("Enter ends the Git server and the controller; the shop stays in your cluster");
                let mut line = String::new();
                std::io::stdin().read_line(&mut line)?;
                Ok(())
            }
        }
    }
}

impl Host {
    fn start(kubeconfig: &Path, log: &Path, keep: bool) -> Result<(Self, Place)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo-host").args([Path::new("--kubeconfig"), kubeconfig, Path::new("--log"), log]);
        if keep {
            command.args(["--stay-with", CLUSTER]);
        }
        // Not our standard error: who waits for its end would wait for a host that stays.
        let errors = std::fs::File::options().create(true).append(true).open(log)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().ok_or("the host has no output")?;
        let mut host = Host { child, orders, answers: BufReader::new(answers) };
        let place = serde_json::from_str(&host.answer()?)?;
        Ok((host, place))
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim_end() {
            "" => Err("the Git server or the controller did not start".into()),
            line => Ok(line.to_owned()),
        }
    }

    fn order(&mut self, order: Order) -> Outcome {
        let orders = self.orders.as_mut().ok_or("the host takes no orders any more")?;
        writeln!(orders, "{}", order.word())?;
        orders.flush()?;
        self.answer().map(drop)
    }

    fn check(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the Git server and the controller ended with {status}").into()),
        }
    }

    fn end(&mut self) {
        self.orders = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that supervises the cluster. Unless it is to stay, it dies with
/// this process: the kernel sends the signal when our main thread, which starts it, is gone.
fn supervisor(keep: bool) -> Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = match keep {
        true => Command::new(program),
        false => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
    };
    command.args(["cluster", "supervise", "--name", CLUSTER]);
    Ok(command)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// After Ctrl-C, what runs fails because its cluster goes: the words about that
/// are for nobody. Waits for the end of the process then.
pub(super) fn end_if_interrupted() {
    // The commands that run get the signal with us, and may be faster.
    std::thread::sleep(Duration::from_millis(100));
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Ctrl-C takes our own cluster and its data down; the host ends with our pipe.
fn clean_up_on_interrupt(cluster: Option<Detached>) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
            return;
        }
        INTERRUPTED.store(true, Ordering::SeqCst);
        match cluster {
            Some(cluster) => {
                eprintln!("\nInterrupted: taking everything down.");
                if let Err(error) = cluster.down() {
                    eprintln!("error: {error}");
                }
            }
            None => eprintln!(
                "\nInterrupted. What the demo made is still in your cluster: kubectl delete -f examples/setup.yaml"
            ),
        }
        std::process::exit(130);
    });
}

fn log_end(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(15);
    format!("The end of the controller's log ({}):\n{}", log.display(), lines[last..].join("\n"))
}

fn path(name: &str) -> String {
    workspace().join(name).display().to_string()
}
