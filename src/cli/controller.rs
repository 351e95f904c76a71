//! `bowline controller`: runs the controller, in a cluster or against a
//! kubeconfig.

use std::{
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::{CommandError, Connection, Output, render::ProgramArgs, traces::Traces};
use crate::{
    api::Duration,
    cluster::{Cluster, error::chain},
    controller::{self, ControllerError, HooksOptions, OperatorServer, Options, deep_check::MOST_PER_HOUR},
    notify::{Reach, Target},
    telemetry::{LogFormat, LogOptions, Metrics, init},
};

/// Runs the controller, in a cluster or against a kubeconfig.
///
/// It runs until it is told to stop; of several replicas one leads, and the others are ready to. Each flag can be given by
/// its environment variable too.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Directory where mirrors of repositories are kept.
    #[arg(long, env = "BOWLINE_CACHE", value_name = "DIR", default_value = "/var/cache/bowline")]
    pub cache: PathBuf,
    /// Allow repositories of this machine (file:// URLs).
    #[arg(long, env = "BOWLINE_ALLOW_FILE_REPOSITORIES", value_parser = BoolishValueParser::new())]
    pub allow_file_repositories: bool,
    /// Namespaces whose Applications are served; all, if none is given. With
    /// it the controller needs no right to read in others: objects are watched
    /// in the namespaces where Applications have them.
    #[arg(long, env = "BOWLINE_WATCH_NAMESPACES", value_name = "NS", value_delimiter = ',', num_args = 1..)]
    pub watch_namespaces: Vec<String>,
    /// Plan and report, and write nothing to the applications' objects.
    #[arg(long, env = "BOWLINE_OBSERVE_ONLY", value_parser = BoolishValueParser::new())]
    pub observe_only: bool,
    /// Honour accept, allowPrune and revision of requests though no admission
    /// policy checked the right to them.
    #[arg(long, env = "BOWLINE_TRUST_UNVERIFIED_REQUESTS", value_parser = BoolishValueParser::new())]
    pub trust_unverified_requests: bool,
    /// Namespace of the Lease; the pod's own, else the context's, if it is not
    /// given.
    #[arg(long, env = "BOWLINE_LEASE_NAMESPACE", value_name = "NS")]
    pub lease_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, env = "BOWLINE_LEASE_NAME", value_name = "NAME", default_value = "bowline-controller")]
    pub lease_name: String,
    /// Name of this replica; the host's name and a random part if it is not
    /// given.
    #[arg(long, env = "BOWLINE_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    /// Address of the probes and metrics.
    #[arg(long, env = "BOWLINE_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Directory with a file of secrets for each provider whose webhooks are
    /// taken: github, gitlab, gitea, bitbucket, generic. Without it there are
    /// none.
    #[arg(long, env = "BOWLINE_HOOKS_SECRETS", value_name = "DIR")]
    pub hooks_secrets: Option<PathBuf>,
    /// Address of webhooks, under /hooks/PROVIDER.
    #[arg(long, env = "BOWLINE_HOOKS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8082")]
    pub hooks_listen: SocketAddr,
    /// Address by which other replicas reach this one: webhooks that come to
    /// them while it leads are handed to it. Without it they are answered 503.
    #[arg(long, env = "BOWLINE_HOOKS_ADVERTISE", value_name = "IP")]
    pub hooks_advertise: Option<IpAddr>,
    /// How many objects an hour, over all Applications, are compared by a
    /// dry-run of the server although nothing tells that they drifted; each
    /// costs a read and a dry-run, and 0 is none.
    #[arg(long, env = "BOWLINE_DEEP_CHECK_PER_HOUR", value_name = "NUMBER", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_PER_HOUR)))]
    pub deep_check_per_hour: u32,
    /// URL that is told of what happens to Applications that name none in
    /// spec.notify.
    #[arg(long, env = "BOWLINE_NOTIFY_URL", value_name = "URL")]
    pub notify_url: Option<Target>,
    /// File with the key that signs what is sent there.
    #[arg(long, env = "BOWLINE_NOTIFY_KEY_FILE", value_name = "FILE", requires = "notify_url")]
    pub notify_key_file: Option<PathBuf>,
    /// File with a token that the receiver is shown; read each time.
    #[arg(long, env = "BOWLINE_NOTIFY_TOKEN_FILE", value_name = "FILE", requires = "notify_url")]
    pub notify_token_file: Option<PathBuf>,
    /// File with the authorities that are trusted there, in place of those of
    /// the machine; read each time.
    #[arg(long, env = "BOWLINE_NOTIFY_CA_FILE", value_name = "FILE", requires = "notify_url")]
    pub notify_ca_file: Option<PathBuf>,
    /// Prometheus-compatible server that is asked where rollback.analysis names
    /// none. Whoever writes an Application can have it asked anything.
    #[arg(long, env = "BOWLINE_PROMETHEUS_URL", value_name = "URL")]
    pub prometheus_url: Option<Target>,
    /// File with a token that it is shown; read each time.
    #[arg(long, env = "BOWLINE_PROMETHEUS_TOKEN_FILE", value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_token_file: Option<PathBuf>,
    /// File with the authorities that are trusted there, in place of those of
    /// the machine; read each time.
    #[arg(long, env = "BOWLINE_PROMETHEUS_CA_FILE", value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Hosts that Applications may have spoken to, for notifications and
    /// queries; `*.example.com` is all below example.com. Without it any host,
    /// but no address of the controller's own machine or its link.
    #[arg(long, env = "BOWLINE_OUTGOING_HOSTS", value_name = "HOST", value_delimiter = ',', num_args = 1..)]
    pub outgoing_hosts: Vec<String>,
    /// Hosts that submodules may come from, beside that of the repository that
    /// has them; `*.example.com` is all below example.com. They are asked
    /// without credentials.
    #[arg(long, env = "BOWLINE_ALLOW_SUBMODULE_HOSTS", value_name = "HOST", value_delimiter = ',', num_args = 1..)]
    pub allow_submodule_hosts: Vec<String>,
    /// Programs that render charts and kustomizations.
    #[command(flatten)]
    pub programs: ProgramArgs,
    /// How long a request is good for.
    #[arg(long, env = "BOWLINE_REQUEST_EXPIRY", value_name = "DURATION", default_value = "10m")]
    pub request_expiry: Duration,
    /// How long ended requests are kept.
    #[arg(long, env = "BOWLINE_REQUEST_RETENTION", value_name = "DURATION", default_value = "168h")]
    pub request_retention: Duration,
    /// Form of the logs: text on a terminal, else JSON, if it is not given.
    #[arg(long, env = "BOWLINE_LOG_FORMAT", value_enum, value_name = "FORM")]
    pub log_format: Option<Form>,
    /// What is logged, for example `info` or `warn,bowline=debug`.
    #[arg(long, env = "BOWLINE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// Form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// One line a message, for people.
    Text,
}

/// Where a pod finds its own namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Runs the command.
pub async fn run(args: &Args, connection: &Connection, output: &mut Output) -> Result<u8, CommandError> {
    let terminal = std::io::stderr().is_terminal();
    let format = match args.log_format {
        Some(Form::Json) => LogFormat::Json,
        Some(Form::Text) => LogFormat::Text,
        None if terminal => LogFormat::Text,
        None => LogFormat::Json,
    };
    let logs = LogOptions { format, filter: args.log.clone(), terminal, in_cluster: !terminal };
    let identity = args.identity.clone().unwrap_or_else(random_identity);
    let traces = Traces::of_environment(&identity, pod_namespace().and_then(|namespace| Some((namespace, host()?))));
    init(&logs, traces.layer(), std::io::stderr)
        .map_err(|error| CommandError::usage(chain(&error)).hint("an example of a filter: --log warn,bowline=debug"))?;
    traces.tell();

    let ended = lead_and_follow(args, connection, output, identity, terminal).await;
    traces.end().await;
    ended
}

async fn lead_and_follow(
    args: &Args,
    connection: &Connection,
    output: &mut Output,
    identity: String,
    terminal: bool,
) -> Result<u8, CommandError> {
    let cluster = Cluster::connect(&connection.options("bowline-controller")).await?;
    let options = options(args, own_namespace(connection, &cluster), identity);
    let stop = CancellationToken::new();
    end_on_signals(stop.clone())?;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    if terminal {
        let where_to = format!("probes and metrics: http://{}; Ctrl-C ends it", options.listen);
        output.say(&format!("bowline controller {} as {}\n{where_to}", env!("CARGO_PKG_VERSION"), options.identity))?;
    }
    controller::run(cluster, options, metrics, stop).await.map(|()| 0).map_err(|error| explained(&error, args))
}

fn own_namespace(connection: &Connection, cluster: &Cluster) -> String {
    let of_pod = connection.kubeconfig.is_none() && connection.context.is_none();
    connection
        .namespace
        .clone()
        .or_else(|| if of_pod { pod_namespace() } else { None })
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| cluster.client().default_namespace().to_owned())
}

/// The namespace of the pod that this process runs in, if it is in one.
fn pod_namespace() -> Option<String> {
    let text = std::fs::read_to_string(POD_NAMESPACE).ok()?;
    Some(text.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

fn options(args: &Args, own_namespace: String, identity: String) -> Options {
    Options {
        cache: args.cache.clone(),
        allow_file_repositories: args.allow_file_repositories,
        allow_submodule_hosts: args.allow_submodule_hosts.clone(),
        allow_bases: args.programs.allow_bases.clone(),
        watch_namespaces: args.watch_namespaces.iter().cloned().collect(),
        observe_only: args.observe_only,
        trust_unverified_requests: args.trust_unverified_requests,
        lease_namespace: args.lease_namespace.clone().unwrap_or(own_namespace),
        lease_name: args.lease_name.clone(),
        identity,
        listen: args.listen,
        hooks: args.hooks_secrets.clone().map(|secrets| HooksOptions {
            listen: args.hooks_listen,
            secrets,
            advertise: args.hooks_advertise,
        }),
        deep_checks_per_hour: args.deep_check_per_hour,
        notify: args.notify_url.clone().map(|target| OperatorServer {
            target,
            key_file: args.notify_key_file.clone(),
            token_file: args.notify_token_file.clone(),
            ca_file: args.notify_ca_file.clone(),
        }),
        prometheus: args.prometheus_url.clone().map(|target| OperatorServer {
            target,
            key_file: None,
            token_file: args.prometheus_token_file.clone(),
            ca_file: args.prometheus_ca_file.clone(),
        }),
        reach: match args.outgoing_hosts.as_slice() {
            [] => Reach::Public,
            hosts => Reach::Hosts(hosts.to_vec()),
        },
        helm: args.programs.helm.clone(),
        kustomize: args.programs.kustomize.clone(),
        request_expiry: args.request_expiry.get(),
        request_retention: args.request_retention.get(),
    }
}

/// The host's name, for people, and a random part, so that two processes of a
/// host are never taken for one.
fn random_identity() -> String {
    format!("{}-{:08x}", host().unwrap_or_else(|| "bowline".to_owned()), rand::random::<u32>())
}

/// The host's name; in a pod, that of the pod.
fn host() -> Option<String> {
    let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    host.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn end_on_signals(stop: CancellationToken) -> Result<(), CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| CommandError::failed(format!("signals cannot be listened to: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

fn explained(error: &ControllerError, args: &Args) -> CommandError {
    let failed = CommandError::failed(chain(error));
    match error {
        ControllerError::Cache(_) => failed.hint(format!(
            "{} must be a directory of its own that this user may write to: --cache names another",
            args.cache.display()
        )),
        ControllerError::Server(_) => failed.hint("--listen names another address, for example 127.0.0.1:8081"),
        ControllerError::Hooks(_) => failed.hint("--hooks-listen names another address, for example 127.0.0.1:8082"),
        ControllerError::LeaseLost => failed.hint("the process is to be started again, as a Deployment does"),
        ControllerError::Cluster(_) | ControllerError::Store(_) => failed,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_pod_needs_no_flags() {
        let args = Cli::parse_from(["controller"]).args;
        let options = options(&args, "bowline-system".into(), random_identity());
        assert_eq!(
            (options.lease_namespace.as_str(), options.lease_name.as_str()),
            ("bowline-system", "bowline-controller")
        );
        assert!(!options.observe_only && !options.allow_file_repositories && !options.trust_unverified_requests);
        assert_eq!(options.deep_checks_per_hour, 0, "an idle controller asks nothing");
        assert_eq!((options.request_expiry.as_secs(), options.request_retention.as_secs()), (600, 604_800));
    }

    #[test]
    fn two_replicas_of_a_host_have_two_names() {
        assert_ne!(random_identity(), random_identity());
    }
}
