//! A cluster with a node, and what a person does with it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rig::{
    Cluster, GitRepo, GitServer, Options,
    image::{Controller, stripped},
    node::{Node, Sample, is_possible, sample},
};
use serde_json::{Value, json};
use sha2::Sha256;

/// The namespace that Bowline is installed in.
pub const SYSTEM: &str = "bowline-system";
/// The namespace of the application.
pub const TEAM: &str = "team-a";
/// How long anything may take on a busy machine before the test fails.
const LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(100);

/// How a repository says what is to be deployed.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Plain,
    Kustomize,
    Helm,
}

/// A cluster with the images of Bowline and of an application's versions.
pub struct World {
    pub cluster: Cluster,
    pub repo: GitRepo,
    git: GitServer,
    /// What webhooks are signed with.
    secret: String,
}

impl World {
    /// Starts everything; `None` where no node can run, which is said loudly,
    /// and is a failure where everything is to be tested.
    pub fn start() -> Option<Self> {
        if let Err(why) = is_possible() {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!ci, "CI=true, and yet {why}");
            eprintln!("NOT TESTED: Bowline in real pods. {why}.");
            return None;
        }
        let cluster = Cluster::start(Options::with_node()).unwrap();
        let node = cluster.node().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("bowline");
        stripped(Path::new(env!("CARGO_BIN_EXE_bowline")), &binary).unwrap();
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let name = "registry.local/bowline:test";
        let version = env!("CARGO_PKG_VERSION");
        let image = Controller { binary: &binary, name, version, checkout, features: &[] };
        node.import_image(&image.image().unwrap()).unwrap();
        for version in ["v1", "v2", "v3", "v4", "v5"] {
            let image = sample(&format!("registry.local/web:{version}"), Sample::Answers(version)).unwrap();
            node.import_image(&image).unwrap();
        }
        node.import_image(&sample("registry.local/web:broken", Sample::Fails).unwrap()).unwrap();
        let git = GitServer::start_at(node.host()).unwrap();
        let repo = git.create_repo("shop").unwrap();
        let secret = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned();
        let world = Self { cluster, repo, git, secret };
        world.kubectl(&["create", "namespace", SYSTEM]);
        // Whatever is installed there must keep to it.
        world.kubectl(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted"]);
        let literal = format!("--from-literal=generic={}", world.secret);
        world.kubectl(&["create", "secret", "generic", "bowline-hooks", "-n", SYSTEM, &literal]);
        world.kubectl(&["create", "namespace", TEAM]);
        world.kubectl(&["create", "serviceaccount", "bowline-deployer", "-n", TEAM]);
        let account = format!("--serviceaccount={TEAM}:bowline-deployer");
        world.kubectl(&["create", "rolebinding", "deployer", "--clusterrole=admin", &account, "-n", TEAM]);
        Some(world)
    }

    pub fn node(&self) -> &Node {
        self.cluster.node().unwrap()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).unwrap()
    }

    pub fn get(&self, arguments: &[&str]) -> Value {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        serde_json::from_str(&self.kubectl(&arguments)).unwrap()
    }

    pub fn list(&self, arguments: &[&str]) -> Vec<Value> {
        self.get(arguments)["items"].as_array().unwrap().clone()
    }

    /// Runs Helm on the chart, and returns what it said.
    pub fn helm(&self, arguments: &[&str]) -> String {
        let output = Command::new(rig::tools::path("helm").unwrap())
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/bowline"))
            .env("KUBECONFIG", self.cluster.kubeconfig_path())
            .env("HOME", self.cluster.directory())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "helm {arguments:?}: {said}\n{}", self.what_is_there());
        said
    }

    /// Looks again and again until there is something to see, or fails with what
    /// was seen last.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
        let until = Instant::now() + LIMIT;
        loop {
            match look() {
                Ok(seen) => return seen,
                Err(saw) if Instant::now() > until => {
                    panic!("waited {LIMIT:?} for: {what}\nlast seen: {saw}\n{}", self.what_is_there())
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// For the message of a failure.
    pub fn what_is_there(&self) -> String {
        let see = |arguments: &[&str]| self.cluster.kubectl(arguments).unwrap_or_else(|error| error.to_string());
        let logs = ["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=bowline", "--tail=20", "--prefix"];
        [
            see(&["get", "pods", "-A", "-o", "wide"]),
            see(&["get", "bapp,releases", "-A"]),
            see(&["get", "events", "-A", "--sort-by=.lastTimestamp"]),
            see(&logs),
        ]
        .join("\n")
    }

    /// Installs or changes the release.
    pub fn install(&self, settings: &[&str]) {
        let fixed = ["upgrade", "bowline", ".", "--install", "--namespace", SYSTEM, "--wait", "--timeout=240s"];
        let mut arguments = fixed.to_vec();
        let always =
            ["image.repository=registry.local/bowline", "image.tag=test", "controller.hooks.secretName=bowline-hooks"];
        for setting in always.iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        self.helm(&arguments);
    }

    /// Pushes a version of the application, in one of the forms that a
    /// repository has; the commit.
    pub fn push(&self, version: &str, form: Form, subject: &str) -> String {
        let labels = json!({"app": "web"});
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 2,
                        "containers": [{
                            "name": "web",
                            "image": format!("registry.local/web:{version}"),
                            "ports": [{"containerPort": 8080}],
                            "readinessProbe": {
                                "httpGet": {"path": "/", "port": 8080},
                                "periodSeconds": 1,
                                "timeoutSeconds": 5,
                            },
                        }],
                    },
                },
            },
        });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        let (web, service) = (deployment.to_string(), service.to_string());
        let files = match form {
            Form::Plain => vec![("web.yaml", web), ("service.yaml", service)],
            Form::Kustomize => vec![
                ("web.yaml", web),
                ("service.yaml", service),
                ("kustomization.yaml", json!({"resources": ["web.yaml", "service.yaml"]}).to_string()),
            ],
            Form::Helm => vec![
                ("Chart.yaml", json!({"apiVersion": "v2", "name": "web", "version": "1.0.0"}).to_string()),
                ("values.yaml", json!({"version": version}).to_string()),
                ("templates/web.yaml", web.replace(&format!("web:{version}"), "web:{{ .Values.version }}")),
                ("templates/service.yaml", service),
            ],
        };
        if self.repo.work_path().join("deploy").exists() {
            self.repo.remove("deploy").unwrap();
        }
        for (name, text) in files {
            self.repo.write(&format!("deploy/{name}"), &text).unwrap();
        }
        self.repo.commit_and_push(subject).unwrap()
    }

    /// Says by a webhook that something was pushed, to the replica that leads.
    pub fn announce(&self) {
        let body = json!({"repository": self.git.url("shop")}).to_string();
        let mut signing = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        signing.update(body.as_bytes());
        let signature: String = signing.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = format!(
            "POST /hooks/generic HTTP/1.1\r\nHost: bowline\r\nConnection: close\r\nContent-Length: {}\r\n\
             X-Bowline-Signature-256: sha256={signature}\r\n\r\n{body}",
            body.len()
        );
        self.eventually("the webhook is taken", || {
            let pod = self.get(&["pod", &self.leader(), "-n", SYSTEM]);
            let answer = asked(pod["status"]["podIP"].as_str().unwrap_or_default(), 8082, &request);
            if answer.starts_with("HTTP/1.1 202") { Ok(()) } else { Err(answer) }
        });
    }

    /// Applies the Application, which by itself looks seldom.
    pub fn deploy(&self) {
        let application = json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "shop", "namespace": TEAM},
            "spec": {
                "source": {"repoURL": self.git.url("shop"), "revision": "main", "path": "deploy", "interval": "1h"},
                "sync": {"timeout": "90s"},
            },
        });
        self.cluster.kubectl_with_input(&["apply", "-f", "-"], &application.to_string()).unwrap();
    }

    /// What the pods of the application answer by HTTP, asked one by one.
    pub fn answers(&self) -> Vec<String> {
        let pods = self.list(&["pods", "-n", TEAM, "-l", "app=web"]);
        let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.map(|pod| pod["status"]["podIP"].as_str().map_or_else(|| "no address".into(), answer)).collect()
    }

    /// Waits until all pods answer with a version, and the Service too.
    pub fn until_answers(&self, version: &str) {
        self.eventually(&format!("both pods answer {version}"), || {
            let answers = self.answers();
            let all = answers.len() == 2 && answers.iter().all(|answer| answer == version);
            if all { Ok(()) } else { Err(format!("{answers:?}")) }
        });
        let path = format!("/api/v1/namespaces/{TEAM}/services/web:80/proxy/");
        self.eventually("the Service answers the same", || match self.cluster.kubectl(&["get", "--raw", &path]) {
            Ok(answer) if answer.trim() == version => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Waits until the newest release has this number and phase.
    pub fn until_release(&self, number: u64, phase: &str) -> Value {
        self.eventually(&format!("release {number} is {phase}"), || {
            let newest = self.releases().pop().ok_or("there is none")?;
            let there = newest["spec"]["number"] == number && newest["status"]["phase"] == phase;
            if there { Ok(newest) } else { Err(format!("{newest:#}")) }
        })
    }

    /// The releases, oldest first.
    pub fn releases(&self) -> Vec<Value> {
        let mut releases = self.list(&["releases.bowline.dev", "-n", TEAM]);
        releases.sort_by_key(|release| release["spec"]["number"].as_u64());
        releases
    }

    /// What tells whether an object was touched: uid and version of each object
    /// of the application, and the uids of its pods.
    pub fn untouched(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for kind in ["deployments", "services"] {
            for object in self.list(&[kind, "-n", TEAM]) {
                let metadata = &object["metadata"];
                // A Deployment's status has versions of its own: what is asked for counts.
                seen.push(format!(
                    "{kind} {} {} {}",
                    metadata["uid"], metadata["generation"], metadata["managedFields"]
                ));
            }
        }
        let stays = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null();
        for pod in self.list(&["pods", "-n", TEAM]).into_iter().filter(stays) {
            seen.push(format!("pod {}", pod["metadata"]["uid"]));
        }
        seen
    }

    /// The pod whose process leads.
    pub fn leader(&self) -> String {
        self.eventually("somebody leads", || {
            let lease = self.get(&["lease", "bowline-controller", "-n", SYSTEM]);
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            let pods = self.list(&["pods", "-n", SYSTEM]);
            let names = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            let mut names = names.filter_map(|pod| pod["metadata"]["name"].as_str());
            names.find(|name| holder.starts_with(*name)).map(str::to_owned).ok_or(format!("{lease:#}"))
        })
    }
}

/// What a pod of the application answers.
fn answer(address: &str) -> String {
    let answer = asked(address, 8080, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned()
}

/// The whole answer to a request, or what went wrong.
fn asked(address: &str, port: u16, request: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let address = format!("{address}:{port}").parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().unwrap_or_else(|error| error.to_string())
}
