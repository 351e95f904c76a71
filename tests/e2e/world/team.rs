//! A team: a namespace, a ServiceAccount with rights in it, a Git server with
//! a repository, and what one asks about its applications.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use bowline::{
    api,
    cluster::{
        ConnectOptions,
        client::{connect, install_crypto_provider},
    },
};
use rig::{GitRepo, GitServer};
use serde_json::{Value, json};

use futures::{AsyncBufReadExt as _, StreamExt as _};

use super::{LIMIT, Site, eventually};

static TEAMS: AtomicUsize = AtomicUsize::new(0);

/// A namespace with all that an application needs.
pub struct Team<'a> {
    pub site: &'a Site,
    pub namespace: String,
    pub git: GitServer,
    pub repo: GitRepo,
    client: kube::Client,
}

/// An Application as a story wants it: `spec` is what differs from the usual.
pub struct Application<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub spec: Value,
}

/// A change that a watch told of.
pub struct Watched {
    /// ADDED, MODIFIED or DELETED.
    pub kind: String,
    pub object: Value,
}

impl Team<'static> {
    /// A team at the site that most stories share.
    pub async fn new(name: &str) -> Self {
        Self::at(Site::shared(), name).await
    }
}

impl<'a> Team<'a> {
    /// A team whose ServiceAccount may do everything in its namespace.
    pub async fn at(site: &'a Site, name: &str) -> Self {
        Self::made(site, name, Some(("bowline-deployer", Some("admin")))).await
    }

    /// A namespace without a ServiceAccount to deploy as.
    pub async fn without_rights(site: &'a Site, name: &str) -> Self {
        Self::made(site, name, None).await
    }

    async fn made(site: &'a Site, name: &str, account: Option<(&str, Option<&str>)>) -> Self {
        install_crypto_provider();
        let number = TEAMS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{name}-{number}");
        let options = ConnectOptions {
            kubeconfig: Some(site.cluster.kubeconfig_path().to_owned()),
            context: None,
            user_agent: "bowline-e2e/0".into(),
        };
        let client = connect(&options).await.unwrap();
        let git = GitServer::start().unwrap();
        let repo = git.create_repo("shop").unwrap();
        let team = Self { site, namespace, git, repo, client };
        site.cluster.create_namespace(&team.namespace, account).unwrap();
        team
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap()
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let in_namespace = [&["-n", &self.namespace], arguments].concat();
        self.site.cluster.kubectl(&in_namespace).map_err(|error| error.to_string())
    }

    pub fn create(&self, object: &Value) -> Value {
        self.try_create(object).unwrap()
    }

    pub fn try_create(&self, object: &Value) -> Result<Value, String> {
        self.create_as(self.site.cluster.kubeconfig_path(), object)
    }

    /// Creates an object as somebody.
    pub fn create_as(&self, kubeconfig: &Path, object: &Value) -> Result<Value, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let arguments = ["create", "-n", &self.namespace, "-o", "json", "-f", file.path().to_str().unwrap()];
        let created = self.site.cluster.kubectl_as(kubeconfig, &arguments).map_err(|error| error.to_string())?;
        Ok(serde_json::from_str(&created).unwrap())
    }

    /// Writes the files and pushes them as one commit; its id.
    pub fn push(&self, subject: &str, files: &[(&str, String)]) -> String {
        for (path, text) in files {
            self.repo.write(path, text).unwrap();
        }
        self.repo.commit_and_push(subject).unwrap()
    }

    /// Makes the Application `name` of the directory `path`.
    pub fn deploy(&self, application: &Application<'_>) {
        let mut object = json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": application.name},
            "spec": {
                "source": {"repoURL": self.git.url("shop"), "path": application.path, "interval": "1s"},
                "sync": {"timeout": "20s"},
            },
        });
        merge(&mut object["spec"], &application.spec);
        self.create(&object);
    }

    /// The Application `shop` of the directory `deploy`, with this in its spec.
    pub fn deploy_shop(&self, spec: Value) {
        self.deploy(&Application { name: "shop", path: "deploy", spec });
    }

    /// An object of this namespace, or nothing. The resource is `configmaps`,
    /// or with its group and version `apps/v1/deployments`.
    pub async fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let request = http::Request::get(self.path(resource, name)).body(Vec::new()).unwrap();
        match self.client.request::<Value>(request).await {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{resource} {name} cannot be read: {error}"),
        }
    }

    /// All objects of a resource in this namespace.
    pub async fn list(&self, resource: &str) -> Vec<Value> {
        let request = http::Request::get(self.path(resource, "")).body(Vec::new()).unwrap();
        let list: Value = self.client.request(request).await.unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Merges something into an object, as some field manager.
    pub async fn patch(&self, resource: &str, name: &str, manager: &str, patch: &Value) -> Value {
        self.patch_at(&self.path(resource, name), manager, patch).await
    }

    /// The same for a subresource.
    pub async fn patch_at(&self, path: &str, manager: &str, patch: &Value) -> Value {
        let request = http::Request::patch(format!("{path}?fieldManager={manager}"))
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .unwrap();
        self.client.request(request).await.unwrap()
    }

    pub async fn delete(&self, resource: &str, name: &str) {
        let request = http::Request::delete(self.path(resource, name)).body(Vec::new()).unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    /// The path of a resource or of an object of it.
    pub fn path(&self, resource: &str, name: &str) -> String {
        let (group, plural) = match resource.rsplit_once('/') {
            Some((group, plural)) => (format!("apis/{group}"), plural),
            None => match resource {
                "applications" | "releases" | "syncrequests" | "rollbackrequests" | "suspensions" | "bundles"
                | "bundlechunks" | "inventories" => ("apis/bowline.dev/v1alpha1".to_owned(), resource),
                _ => ("api/v1".to_owned(), resource),
            },
        };
        let name = if name.is_empty() { String::new() } else { format!("/{name}") };
        format!("/{group}/namespaces/{}/{plural}{name}", self.namespace)
    }

    /// The status of an Application; empty while there is none.
    pub async fn status(&self, application: &str) -> Value {
        let object = self.get("applications", application).await.unwrap_or_default();
        object.get("status").cloned().unwrap_or_else(|| json!({}))
    }

    /// Waits until the status of an Application is as wanted; that status.
    pub async fn until(&self, application: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{application} in {}: {what}", self.namespace), async || {
            let status = self.status(application).await;
            if wanted(&status) { Ok(status) } else { Err(format!("{status:#}\n{}", self.history(application).await)) }
        })
        .await
    }

    /// Waits until the application is Synced at a commit, with the newest
    /// release Healthy; the number of that release.
    pub async fn until_synced(&self, application: &str, commit: &str) -> u64 {
        let status = self.until(application, &format!("Synced at {commit}"), |status| is_synced(status, commit)).await;
        status["release"]["number"].as_u64().unwrap()
    }

    /// The releases of an application, oldest first.
    pub async fn releases(&self, application: &str) -> Vec<api::Release> {
        let mut releases: Vec<api::Release> = self
            .list("releases")
            .await
            .into_iter()
            .map(|release| serde_json::from_value(release).unwrap())
            .filter(|release: &api::Release| release.spec.application == application)
            .collect();
        releases.sort_by_key(|release| release.spec.number);
        releases
    }

    /// The story so far, a release a line: `1 Push Healthy`, and for a rollback
    /// the release that it went back to: `3 Rollback to 1 Healthy`.
    pub async fn history(&self, application: &str) -> String {
        let lines = self.releases(application).await.into_iter().map(|release| {
            let outcome = release.status.as_ref().and_then(|status| status.outcome.as_ref());
            let phase = outcome.map_or_else(|| "running".to_owned(), |outcome| outcome.phase.to_string());
            let to = release.spec.rollback_to.map(|to| format!(" to {to}")).unwrap_or_default();
            format!("{} {}{to} {phase}", release.spec.number, release.spec.cause)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until a request ended; its status.
    pub async fn until_answered(&self, resource: &str, name: &str) -> Value {
        eventually(&format!("{resource} {name} in {} ends", self.namespace), async || {
            let request = self.get(resource, name).await.unwrap_or_default();
            let phase = request["status"]["phase"].as_str().unwrap_or_default();
            if ["Succeeded", "Failed", "Refused"].contains(&phase) {
                Ok(request["status"].clone())
            } else {
                Err(format!("{request:#}"))
            }
        })
        .await
    }

    /// Watches a resource from now on. What is returned ends when a change was
    /// seen so many times, or when it takes too long.
    pub async fn watch(
        &self,
        resource: &str,
        is_it: fn(&Watched) -> bool,
        times: usize,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let path = self.path(resource, "");
        let list = http::Request::get(&path).body(Vec::new()).unwrap();
        let list: Value = self.client.request(list).await.unwrap();
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let uri = format!("{path}?watch=true&resourceVersion={version}");
        let (client, request) = (self.client.clone(), http::Request::get(uri).body(Vec::new()).unwrap());
        let (tell, told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let lines = client.request_stream(request).await.unwrap();
            let mut lines = std::pin::pin!(lines.lines());
            let mut seen = 0;
            while let Some(Ok(line)) = lines.next().await {
                let event: Value = serde_json::from_str(&line).unwrap();
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                let watched = Watched { kind, object: event["object"].clone() };
                seen += usize::from(is_it(&watched));
                if seen == times {
                    let _ = tell.send(());
                    return;
                }
            }
        });
        let limit = LIMIT;
        async move {
            match tokio::time::timeout(limit, told).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err("the watch ended".to_owned()),
                Err(_) => Err(format!("not within {limit:?}")),
            }
        }
    }

    /// Lets so many polls of the repository pass. What is not done after them
    /// is not going to be done.
    pub async fn polls(&self, count: u64) {
        // A poll of a server that answers is one request or more.
        let until = self.git.requests() + count;
        eventually(&format!("{count} more polls"), async || {
            let now = self.git.requests();
            if now >= until { Ok(()) } else { Err(format!("{now} of {until} requests")) }
        })
        .await;
    }

    /// The messages of the Events about an object.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let events = self.list("events.k8s.io/v1/events").await;
        events
            .iter()
            .filter(|event| event["regarding"]["name"] == name)
            .map(|event| {
                format!("{}: {}", event["reason"].as_str().unwrap_or(""), event["note"].as_str().unwrap_or(""))
            })
            .collect()
    }
}

/// Whether a status says that the application is what a commit says.
pub fn is_synced(status: &Value, commit: &str) -> bool {
    status["sync"] == "Synced"
        && status["head"]["commit"] == commit
        && status["release"]["phase"] == "Healthy"
        && status["conditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
}

/// Lays one JSON object over another.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}
