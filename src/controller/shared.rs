//! What all actors share.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    Options,
    bases::Bases,
    brake::Brake,
    charts::ChartCache,
    deep_check,
    first_look::FirstLook,
    handover::Handover,
    outbox::{Events, Statuses},
    poller::{CredentialStore, Poller},
};
use crate::{
    cluster::{Cluster, index::LiveIndex, lease::Leadership, store::Store, watch::OwnResources},
    notify::{Courier, Inquirer},
    render::Programs,
    source::UrlPolicy,
    telemetry::Metrics,
};

/// How long what was seen of the admission policies is good for.
const LOOK_AGAIN_SECONDS: i64 = 30;

/// What all actors share.
pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) store: Arc<Store>,
    pub(super) index: LiveIndex,
    pub(super) own: OwnResources,
    pub(super) poller: Poller<Secrets>,
    pub(super) leadership: Leadership,
    pub(super) options: Options,
    pub(super) installation: String,
    pub(super) brake: Mutex<Brake>,
    pub(super) deep_checks: deep_check::Asked,
    pub(super) handover: Handover,
    pub(super) first_look: FirstLook,
    pub(super) statuses: Statuses,
    pub(super) events: Events,
    pub(super) courier: Courier,
    pub(super) inquirer: Inquirer,
    pub(super) metrics: Metrics,
    pub(super) policies: Policies,
    pub(super) tasks: TaskTracker,
    /// How many commits are rendered at a time: it is all computing, and
    /// hundreds of applications may have the same repository.
    pub(super) renders: Semaphore,
    /// How many programs render at a time: with their limit of memory they and
    /// the controller stay below that of its pod.
    pub(super) program_runs: Semaphore,
    /// The programs that render charts and kustomizations.
    pub(super) programs: Programs,
    /// Charts of chart repositories.
    pub(super) charts: ChartCache,
    /// Bases of other repositories.
    pub(super) bases: Bases,
    /// Which of their addresses are allowed.
    pub(super) urls: UrlPolicy,
    /// When all work is to end.
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// Takes the server's answer to a write of one of Bowline's own resources,
    /// so that it is known before its watch event comes.
    pub(super) fn record(&self, object: Option<&impl Serialize>) {
        if let Some(object) = object.and_then(|object| serde_json::to_value(object).ok()) {
            self.own.record(object);
        }
    }
}

/// Whether the API server checks who makes a request.
#[derive(Debug, Default)]
pub(super) struct Policies {
    names: AtomicBool,
    approvals: AtomicBool,
    /// When they were looked at last, in seconds.
    looked: AtomicI64,
}

impl Policies {
    /// Whether the name in `requestedBy` is checked or stamped.
    pub(super) fn names_are_verified(&self) -> bool {
        self.names.load(Ordering::Relaxed)
    }

    /// Whether the right to accept and to allow pruning is checked.
    pub(super) fn approvals_are_checked(&self) -> bool {
        self.approvals.load(Ordering::Relaxed)
    }

    /// Looks again, unless that was a moment ago.
    pub(super) async fn look_again(&self, store: &Store, now: Timestamp) {
        let second = now.as_second();
        let last = self.looked.swap(second, Ordering::Relaxed);
        if second - last >= LOOK_AGAIN_SECONDS {
            self.look(store).await;
        } else {
            self.looked.store(last, Ordering::Relaxed);
        }
    }

    /// Looks at what is installed in the cluster.
    pub(super) async fn look(&self, store: &Store) {
        match store.request_policies().await {
            Ok(found) => {
                self.names.store(found.names_are_verified, Ordering::Relaxed);
                self.approvals.store(found.approvals_are_checked, Ordering::Relaxed);
            }
            Err(error) => {
                self.names.store(false, Ordering::Relaxed);
                self.approvals.store(false, Ordering::Relaxed);
                warn!(%error, "the admission policies could not be looked at: requests count as unverified");
            }
        }
    }
}

/// Credentials from Secrets of the application's namespace.
pub(super) struct Secrets(pub(super) Arc<Store>);

impl CredentialStore for Secrets {
    async fn secret(&self, namespace: &str, name: &str) -> Result<std::collections::BTreeMap<String, Vec<u8>>, String> {
        let secret = self.0.read_secret(namespace, name).await.map_err(|error| error.to_string())?;
        let data = secret.ok_or_else(|| "it does not exist".to_owned())?.data.unwrap_or_default();
        Ok(data.into_iter().map(|(key, value)| (key, value.0)).collect())
    }
}
