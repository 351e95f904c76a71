//! How the controller runs, as it was told on the command line.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::OperatorServer;
use crate::{notify::Reach, source::Place};

/// How the controller runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where mirrors of repositories are kept.
    pub cache: PathBuf,
    /// Whether `file://` repositories are allowed.
    pub allow_file_repositories: bool,
    /// Hosts that submodules may come from, beside that of their repository.
    pub allow_submodule_hosts: Vec<String>,
    /// Where bases of other repositories may be, that kustomizations name.
    pub allow_bases: Vec<Place>,
    /// The namespaces whose Applications are served, and that are looked into;
    /// none for all.
    pub watch_namespaces: BTreeSet<String>,
    /// Whether nothing is written to the applications' objects.
    pub observe_only: bool,
    /// Whether `accept`, `allowPrune` and `revision` are honoured though no
    /// admission policy checked the right to them.
    pub trust_unverified_requests: bool,
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Name of this replica.
    pub identity: String,
    /// Address of the probes and metrics.
    pub listen: SocketAddr,
    /// Address of webhooks, and the directory with their secrets; none are
    /// taken without it.
    pub hooks: Option<HooksOptions>,
    /// How many objects an hour are compared by the server's dry-run, over all
    /// applications; 0 for none.
    pub deep_checks_per_hour: u32,
    /// Who is told of what happens to Applications that name nobody.
    pub notify: Option<OperatorServer>,
    /// The Prometheus-compatible server that is asked where an Application
    /// names none.
    pub prometheus: Option<OperatorServer>,
    /// The servers that Applications may name.
    pub reach: Reach,
    /// The program `helm`; the one on the `PATH` if it is not given.
    pub helm: Option<PathBuf>,
    /// The program `kustomize`; the one on the `PATH` if it is not given.
    pub kustomize: Option<PathBuf>,
    /// How long a request is good for.
    pub request_expiry: Duration,
    /// How long ended requests are kept.
    pub request_retention: Duration,
}

/// How webhooks are received.
#[derive(Debug, Clone)]
pub struct HooksOptions {
    /// Where they are listened for.
    pub listen: SocketAddr,
    /// A file of secrets for each provider; read for each webhook.
    pub secrets: PathBuf,
    /// By which address other replicas reach this one, for webhooks that came
    /// to them while it leads; without it they do not.
    pub advertise: Option<IpAddr>,
}
