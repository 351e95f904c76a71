//! What is measured on: a control plane, a Git server, a controller.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rig::{Cluster, GitRepo, GitServer, Launch};
use serde_json::{Value, json};

use super::{Result, controller::Controller, hook::Hook, report::target_directory};
use crate::{Outcome, workspace};

/// The namespace of the applications.
pub(super) const NAMESPACE: &str = "bench";
/// About how large each ConfigMap is.
pub(super) const CONFIG_MAP_BYTES: usize = 1024;

pub(super) struct Stage {
    // The controller ends before the cluster that it speaks to.
    controller: Option<Controller>,
    hook: Option<Hook>,
    release: bool,
    pub(super) repo: GitRepo,
    git: GitServer,
    pub(super) cluster: Cluster,
}

pub(super) fn bowline(release: bool) -> PathBuf {
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
    /// A cluster with Bowline's resources, and a repository; nothing runs yet.
    pub(super) fn without_controller(release: bool) -> Result<Self> {
        eprintln!("starting a cluster and a Git server");
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
        Ok(Stage { controller: None, hook: None, release, repo, git, cluster })
    }

    pub(super) fn start_controller(&mut self) -> Outcome {
        eprintln!("starting the controller");
        let directory = self.cluster.directory();
        let secrets = directory.join("hooks");
        let secret = Hook::write_secret(&secrets)?;
        let mut controller = Controller::start(Launch {
            name: "bowline controller".into(),
            program: bowline(self.release),
            arguments: [
                "controller",
                "--cache",
                &directory.join("mirrors").display().to_string(),
                "--listen",
                "127.0.0.1:0",
                "--lease-namespace",
                "bowline-system",
                "--log-format",
                "json",
                "--hooks-listen",
                "127.0.0.1:0",
                "--hooks-secrets",
                &secrets.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            environment: vec![("KUBECONFIG".into(), self.cluster.kubeconfig_path().display().to_string())],
            log: directory.join("controller.log"),
        })?;
        controller.until_at_rest(Duration::from_secs(60))?;
        let listens = |line: &Value| line["hooks"].is_string();
        let line = controller.until_logged(0, "webhooks", Duration::from_secs(10), listens)?;
        let address = line["hooks"].as_str().ok_or("the log gives no address for webhooks")?;
        self.hook = Some(Hook::new(address.to_owned(), secret));
        self.controller = Some(controller);
        Ok(())
    }

    pub(super) fn controller(&mut self) -> Result<&mut Controller> {
        self.controller.as_mut().ok_or_else(|| "the controller was not started".into())
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
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"value": value, "rest": filling(application, number)},
        });
        Ok(self.repo.write(&format!("{application}/{name}.json"), &object.to_string())?)
    }

    /// Tells the controller of a push, as a Git server does.
    pub(super) fn announce(&self) -> Outcome {
        self.hook.as_ref().ok_or("the controller was not started")?.announce(&self.url())
    }

    /// Makes the Application of a directory, polled every second.
    pub(super) fn deploy(&self, application: &str) -> Outcome {
        self.deploy_all(&[application.to_owned()])
    }

    /// From now on Git is polled every hour for an application.
    pub(super) fn poll_hourly(&self, application: &str) -> Outcome {
        let patch = r#"{"spec":{"source":{"interval":"1h"}}}"#;
        self.cluster.kubectl(&["patch", "bapp", application, "-n", NAMESPACE, "--type=merge", "-p", patch])?;
        Ok(())
    }

    /// Makes the Applications of some directories at once.
    pub(super) fn deploy_all(&self, applications: &[String]) -> Outcome {
        let items: Vec<Value> = applications.iter().map(|application| self.application(application)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.cluster.kubectl_with_input(&["create", "-f", "-"], &list.to_string())?;
        Ok(())
    }

    fn application(&self, application: &str) -> Value {
        json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": application, "namespace": NAMESPACE},
            "spec": {"source": {"repoURL": self.url(), "path": application, "interval": "1s"}},
        })
    }

    /// Waits until an application is Synced with a commit, and Ready.
    pub(super) fn until_synced(&mut self, application: &str, commit: &str, limit: Duration) -> Outcome {
        let deadline = Instant::now() + limit;
        loop {
            self.controller()?.check()?;
            let text = self.cluster.kubectl(&["get", "bapp", application, "-n", NAMESPACE, "-o", "json"])?;
            let status = serde_json::from_str::<Value>(&text)?["status"].clone();
            if status["sync"] == "Synced" && status["head"]["commit"] == commit && status["health"] == "Healthy" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{application} is not in sync within {}s: {status:#}", limit.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Each time that the controller took from the end of a fetch to the end
    /// of the writes, in milliseconds, as its log says.
    pub(super) fn own_shares(&mut self) -> Result<Vec<f64>> {
        let lines = self.controller()?.log_since(0)?;
        Ok(lines.iter().filter_map(|line| line["after_fetch_ms"].as_f64()).collect())
    }

    /// Where the repository is.
    pub(super) fn url(&self) -> String {
        self.git.url("bench")
    }

    /// How often Git was asked.
    pub(super) fn git_requests(&self) -> u64 {
        self.git.requests()
    }
}

/// The name of an application's ConfigMap.
pub(super) fn config_map(application: &str, number: u32) -> String {
    format!("{application}-{number:05}")
}

/// Text that makes a ConfigMap as large as it should be, of which none is like
/// another's: content that compresses to nothing would say little of memory.
fn filling(application: &str, number: u32) -> String {
    let mut text = String::with_capacity(CONFIG_MAP_BYTES);
    let mut state = u64::from(number).wrapping_add(application.len() as u64);
    while text.len() < CONFIG_MAP_BYTES - 160 {
        // Knuth's generator; the high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x} ", state >> 32));
    }
    text
}
