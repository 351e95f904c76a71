//! What is measured on: a control plane, a Git server, a controller.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rig::{Cluster, GitRepo, GitServer, Launch, Process};
use serde_json::{Value, json};

use super::report::target_directory;
use crate::{Outcome, workspace};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The namespace of the applications.
pub(super) const NAMESPACE: &str = "bench";
/// How long applications may take until they are as wanted.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Stage {
    pub(super) controller: Process,
    log: PathBuf,
    pub(super) repo: GitRepo,
    git: GitServer,
    pub(super) cluster: Cluster,
}

fn bowline(release: bool) -> PathBuf {
    target_directory().join(if release { "release" } else { "debug" }).join("bowline")
}

/// Builds the program that is measured.
pub(super) fn build_bowline(release: bool) -> Outcome {
    let mut build = crate::test::cargo();
    build.args(["build", "--locked", "--package", "bowline", "--bin", "bowline"]);
    if release {
        build.arg("--release");
    }
    match build.status()?.success() {
        true => Ok(()),
        false => Err("bowline did not build; see above".into()),
    }
}

impl Stage {
    pub(super) fn set_up(release: bool) -> Result<Self> {
        eprintln!("starting a cluster, a Git server and a controller");
        let cluster = Cluster::start(rig::Options::default())?;
        let manifests = workspace().join("manifests").display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-R", "-f", &manifests])?;
        cluster.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "applications.bowline.dev",
        ])?;
        cluster.kubectl(&["create", "namespace", NAMESPACE])?;
        cluster.kubectl(&["create", "serviceaccount", "bowline-deployer", "-n", NAMESPACE])?;
        let account = format!("--serviceaccount={NAMESPACE}:bowline-deployer");
        cluster.kubectl(&["create", "rolebinding", "deployer", "--clusterrole=admin", &account, "-n", NAMESPACE])?;
        let git = GitServer::start()?;
        let repo = git.create_repo("bench")?;
        let log = cluster.directory().join("controller.log");
        let controller = Process::start(&Launch {
            name: "bowline controller".into(),
            program: bowline(release),
            arguments: [
                "controller",
                "--cache",
                &cluster.directory().join("mirrors").display().to_string(),
                "--listen",
                "127.0.0.1:0",
                "--lease-namespace",
                "bowline-system",
                "--log-format",
                "json",
            ]
            .map(str::to_owned)
            .to_vec(),
            environment: vec![("KUBECONFIG".into(), cluster.kubeconfig_path().display().to_string())],
            log: log.clone(),
        })?;
        Ok(Stage { controller, log, repo, git, cluster })
    }

    /// Writes the ConfigMaps of an application into the working clone.
    pub(super) fn write_config_maps(&self, application: &str, objects: u32, value: &str) -> Outcome {
        for number in 0..objects {
            self.write_config_map(application, number, value)?;
        }
        Ok(())
    }

    pub(super) fn write_config_map(&self, application: &str, number: u32, value: &str) -> Outcome {
        let name = config_map(application, number);
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
        Ok(self.repo.write(&format!("{application}/{name}.json"), &object.to_string())?)
    }

    /// URL of the repository.
    pub(super) fn url(&self) -> String {
        self.git.url("bench")
    }

    /// Makes the Application of a directory, polled every second.
    pub(super) fn deploy(&self, application: &str) -> Outcome {
        let object = json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": application, "namespace": NAMESPACE},
            "spec": {"source": {"repoURL": self.git.url("bench"), "path": application, "interval": "1s"}},
        });
        self.cluster.kubectl_with_input(&["create", "-f", "-"], &object.to_string())?;
        Ok(())
    }

    /// Waits until an application is Synced with a commit, and Ready.
    pub(super) fn until_synced(&mut self, application: &str, commit: &str) -> Outcome {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.controller.check()?;
            let text = self.cluster.kubectl(&["get", "bapp", application, "-n", NAMESPACE, "-o", "json"])?;
            let status = serde_json::from_str::<Value>(&text)?["status"].clone();
            if status["sync"] == "Synced" && status["head"]["commit"] == commit && status["health"] == "Healthy" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{application} is not in sync within {}s: {status:#}", LIMIT.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Each time that the controller took from the end of a fetch to the end
    /// of the writes, in milliseconds, as its log says.
    pub(super) fn own_shares(&self) -> Vec<f64> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["after_fetch_ms"].as_f64()).collect()
    }

    /// Resident memory of the controller, in MiB.
    pub(super) fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.controller.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel tells no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes / 1024.0)
    }

    /// How often Git was asked.
    pub(super) fn git_requests(&self) -> u64 {
        self.git.requests()
    }
}

/// The name of an application's ConfigMap.
pub(super) fn config_map(application: &str, number: u32) -> String {
    format!("{application}-{number:03}")
}
