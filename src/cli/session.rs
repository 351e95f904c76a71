//! A command's connection to a cluster: as whom, in which namespace, and
//! Bowline's resources there, with errors in words for a person.

use std::{fmt::Debug, path::PathBuf, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::{NamespaceResourceScope, api::authentication::v1::SelfSubjectReview};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{CommandError, error::Tried, words};
use crate::{
    api::{Application, Release, Suspension},
    cluster::{Cluster, ConnectOptions, client},
    history::History,
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Which cluster, and what of it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Connection {
    /// Context of the kubeconfig; the current one if it is not given.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// Kubeconfig file; KUBECONFIG or ~/.kube/config if it is not given.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace; the context's if it is not given.
    #[arg(short, long, global = true, value_name = "NS", help_heading = "Cluster")]
    pub namespace: Option<String>,
}

impl Connection {
    /// How to connect, as this program.
    pub fn options(&self, program: &str) -> ConnectOptions {
        ConnectOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            user_agent: format!("{program}/{}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Connects. Nothing is sent yet.
    pub async fn open(&self, program: &'static str) -> Result<Session, CommandError> {
        let options = self.options("bowline-cli");
        let client = client::connect(&options).await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let server = server_of(&options).await;
        Ok(Session { client, namespace, server, program })
    }
}

/// The address of the server, for messages.
async fn server_of(options: &ConnectOptions) -> String {
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = match &options.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &selection).await.ok(),
            Err(_) => None,
        },
        None if options.context.is_some() => Config::from_kubeconfig(&selection).await.ok(),
        None => Config::infer().await.ok(),
    };
    config.map(|config| config.cluster_url.to_string().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// A connection to a cluster.
#[derive(Clone)]
pub struct Session {
    /// The client, with the caller's own rights.
    pub client: Client,
    /// The namespace that is asked.
    pub namespace: String,
    /// Address of the server, for messages.
    pub server: String,
    /// The program as the person calls it, for hints: `bowline`.
    pub program: &'static str,
}

/// A resource of Bowline, or of Kubernetes, that a command reads or makes.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

impl Session {
    /// What the cluster serves, and the limit of requests in flight.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.client.clone())
    }

    /// The resources of a kind in the namespace.
    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Lists the resources of a kind in the namespace, or in all.
    pub async fn list<K: Kind>(&self, all: bool, parameters: ListParams) -> Result<Vec<K>, CommandError> {
        let api: Api<K> = if all { Api::all(self.client.clone()) } else { self.api() };
        let namespace = (!all).then_some(self.namespace.as_str());
        let list = self.tried::<K, _, _>("list", namespace, || api.list(&parameters)).await?;
        Ok(list.items)
    }

    /// Creates a resource.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, CommandError> {
        let api = self.api::<K>();
        let parameters = PostParams { field_manager: Some("bowline-cli".into()), ..PostParams::default() };
        self.tried::<K, _, _>("create", Some(&self.namespace), || api.create(&parameters, object)).await
    }

    /// Deletes a resource, if it is still the same one; whether it was there.
    pub async fn delete<K: Kind>(&self, object: &K) -> Result<bool, CommandError> {
        let api = self.api::<K>();
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: object.meta().uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        let name = object.name_any();
        let request = || async {
            match api.delete(&name, &parameters).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.tried::<K, _, _>("delete", Some(&self.namespace), request).await
    }

    /// An Application; where there is none, the error names those that are
    /// nearly called so.
    pub async fn application(&self, name: &str) -> Result<Application, CommandError> {
        match self.find_application(name).await? {
            Some(application) => Ok(application),
            None => Err(self.no_such_application(name).await),
        }
    }

    /// An application of the namespace, if there is one of this name.
    pub async fn find_application(&self, name: &str) -> Result<Option<Application>, CommandError> {
        let api = self.api::<Application>();
        self.tried::<Application, _, _>("get", Some(&self.namespace), || api.get_opt(name)).await
    }

    async fn no_such_application(&self, name: &str) -> CommandError {
        // A missing kind and a missing object are both "not found".
        let here: Vec<Application> = match self.list(false, ListParams::default()).await {
            Ok(here) => here,
            Err(error) if error.error.contains("not installed") => return error,
            Err(_) => Vec::new(),
        };
        let elsewhere: Vec<Application> = self.list(true, ListParams::default()).await.unwrap_or_default();
        no_such_application(name, &self.namespace, &here, &elsewhere, self.program)
    }

    /// The releases of an application.
    pub async fn history(&self, application: &str) -> Result<History, CommandError> {
        let parameters = ListParams::default().fields(&format!("spec.application={application}"));
        Ok(History::new(self.list::<Release>(false, parameters).await?))
    }

    /// The releases of an application that exists or once had some. A name that
    /// is neither is an error that tells of those like it.
    pub async fn known_history(&self, application: &str) -> Result<History, CommandError> {
        let history = self.history(application).await?;
        if history.is_empty() {
            self.application(application).await?;
        }
        Ok(history)
    }

    /// The suspensions of an application that are in force.
    pub async fn suspensions(&self, application: &str, now: jiff::Timestamp) -> Result<Vec<Suspension>, CommandError> {
        let mut all: Vec<Suspension> = self.list(false, ListParams::default()).await?;
        all.retain(|suspension| {
            suspension.spec.application_ref.name == application && suspension.spec.until.is_none_or(|until| until > now)
        });
        Ok(all)
    }

    /// The name of the person, as the server has it; empty where it does not
    /// tell: then the server's own policies say who asked.
    pub async fn username(&self) -> String {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let parameters = PostParams::default();
        let asked = tokio::time::timeout(TIMEOUT, api.create(&parameters, &review)).await;
        asked.ok().and_then(Result::ok).and_then(|review| review.status?.user_info?.username).unwrap_or_default()
    }

    /// Sends a request, with a time-out, and says what was tried if it fails.
    /// A server that turns it away for now is asked again a few times: it has
    /// done nothing then.
    pub async fn tried<K: Kind, T, F>(
        &self,
        verb: &str,
        namespace: Option<&str>,
        request: impl Fn() -> F + Send + Sync,
    ) -> Result<T, CommandError>
    where
        T: Send,
        F: Future<Output = Result<T, kube::Error>> + Send,
    {
        let what = format!("{}s", K::kind(&()));
        let resource = format!("{}.{}", K::plural(&()), K::group(&()));
        let tried = Tried { verb, what: &what, resource: &resource, namespace, server: &self.server };
        for pause in [100, 300, 1_000, 2_000] {
            match self.once(&tried, request()).await? {
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) => return Err(tried.failed(&error)),
                Ok(answer) => return Ok(answer),
            }
        }
        self.once(&tried, request()).await?.map_err(|error| tried.failed(&error))
    }

    async fn once<T, F>(&self, tried: &Tried<'_>, request: F) -> Result<Result<T, kube::Error>, CommandError>
    where
        F: Future<Output = Result<T, kube::Error>> + Send,
    {
        // Boxed, since requests of kube are large.
        let request: BoxFuture<'_, _> = Box::pin(request);
        tokio::time::timeout(TIMEOUT, request).await.map_err(|_| tried.timed_out(TIMEOUT.as_secs()))
    }
}

fn no_such_application(
    name: &str,
    namespace: &str,
    here: &[Application],
    elsewhere: &[Application],
    program: &str,
) -> CommandError {
    let error = CommandError::failed(format!("there is no Application {name} in namespace {namespace}"));
    let names: Vec<String> = here.iter().map(ResourceExt::name_any).collect();
    let near = words::near(name, names.iter().map(String::as_str));
    let mut namespaces: Vec<String> = elsewhere
        .iter()
        .filter(|application| application.name_any() == name)
        .filter_map(ResourceExt::namespace)
        .collect();
    namespaces.sort();
    if let Some(other) = namespaces.first() {
        let more =
            if namespaces.len() > 1 { format!(" (and in {})", namespaces[1..].join(", ")) } else { String::new() };
        return error.hint(format!("there is one in namespace {other}{more}: add -n {other}"));
    }
    if !near.is_empty() {
        return error.hint(format!("did you mean {}?", near.join(" or ")));
    }
    error.hint(format!("`{program} get -A` lists the applications of all namespaces"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(namespace: &str, name: &str) -> Application {
        super::super::testing::application(namespace, name)
    }

    fn asked_for(name: &str) -> String {
        let here = [application("team-a", "billing"), application("team-a", "shop")];
        let elsewhere = [application("team-b", "search"), application("team-c", "search"), here[0].clone()];
        no_such_application(name, "team-a", &here, &elsewhere, "bowline").to_string()
    }

    #[test]
    fn an_unknown_application_names_its_neighbours_and_its_other_homes() {
        insta::assert_snapshot!(asked_for("shpo"), @r"
        error: there is no Application shpo in namespace team-a
        hint: did you mean shop?
        ");
        insta::assert_snapshot!(asked_for("search"), @r"
        error: there is no Application search in namespace team-a
        hint: there is one in namespace team-b (and in team-c): add -n team-b
        ");
        insta::assert_snapshot!(asked_for("zzz"), @r"
        error: there is no Application zzz in namespace team-a
        hint: `bowline get -A` lists the applications of all namespaces
        ");
    }
}
