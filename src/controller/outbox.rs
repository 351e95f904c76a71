//! What is told to the API server beside the work: statuses and events. The
//! work never waits for it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use kube::Resource as _;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    api::{Application, ApplicationStatus},
    cluster::{
        OwnerKey,
        lease::Leadership,
        store::{self, EventKind, Store},
        watch::OwnResources,
    },
};

/// How many statuses are written at a time.
const WRITES_AT_A_TIME: usize = 8;
/// How long a status waits for the next one: what is done within this time is
/// told by one write.
const GATHER: Duration = Duration::from_millis(150);
/// The pause after a status could not be written.
const PAUSE: Duration = Duration::from_secs(1);
/// How many events wait at most; more are dropped and counted.
const EVENTS_WAITING: usize = 1_024;

/// Writes statuses, of each application only the latest.
#[derive(Default)]
pub(super) struct Statuses {
    waiting: Mutex<BTreeMap<OwnerKey, Arc<Application>>>,
    wake: Notify,
}

impl Statuses {
    /// Hands over a status to be written soon.
    pub(super) fn write(&self, owner: &OwnerKey, application: &Application, status: ApplicationStatus) {
        let application = Application { status: Some(status), ..application.clone() };
        self.waiting().insert(owner.clone(), Arc::new(application));
        self.wake.notify_one();
    }

    /// Writes statuses until the token ends it; what waits then is written.
    pub(super) async fn run(&self, store: &Store, own: &OwnResources, leads: &Leadership, stop: CancellationToken) {
        // What was written last is what the next write is a change of: the
        // watch may not have told of it yet.
        let written: Mutex<HashMap<OwnerKey, Application>> = Mutex::default();
        loop {
            let waiting = std::mem::take(&mut *self.waiting());
            if waiting.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.wake.notified() => {}
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
                continue;
            }
            let written = &written;
            let failed: Vec<_> = futures::stream::iter(waiting)
                .map(|(owner, wanted)| async move {
                    if !leads.may_write() {
                        // Whoever leads now writes its own.
                        return None;
                    }
                    let base =
                        lock(written).get(&owner).filter(|base| base.metadata.uid == wanted.metadata.uid).cloned();
                    let base = base.or_else(|| own.application(&owner).map(|there| there.as_ref().clone()))?;
                    let status = wanted.status.clone().unwrap_or_default();
                    match store.write_status(&base, &status).await {
                        Ok(now) => {
                            lock(written).insert(owner, now);
                            None
                        }
                        Err(error) if error.is_not_found() => {
                            lock(written).remove(&owner);
                            None
                        }
                        Err(error) => {
                            lock(written).remove(&owner);
                            warn!(%error, application = owner.as_str(), "a status could not be written");
                            Some((owner, wanted))
                        }
                    }
                })
                .buffer_unordered(WRITES_AT_A_TIME)
                .filter_map(std::future::ready)
                .collect()
                .await;
            if failed.is_empty() {
                continue;
            }
            {
                let mut waiting = self.waiting();
                for (owner, wanted) in failed {
                    // What was handed over meanwhile is newer.
                    waiting.entry(owner).or_insert(wanted);
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<OwnerKey, Arc<Application>>> {
        lock(&self.waiting)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something to tell of an application.
struct Note {
    reason: String,
    message: String,
    kind: EventKind,
}

/// Tells of things by Kubernetes events.
pub(super) struct Events {
    send: mpsc::Sender<(Arc<Application>, Note)>,
}

impl Events {
    /// Starts telling; the future writes the events.
    pub(super) fn start(events: store::Events, stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (send, mut waiting) = mpsc::channel::<(Arc<Application>, Note)>(EVENTS_WAITING);
        let run = async move {
            loop {
                let next = tokio::select! {
                    () = stop.cancelled() => return,
                    next = waiting.recv() => next,
                };
                let Some((application, note)) = next else { return };
                let object = application.object_ref(&());
                let told = events.publish(&object, note.kind, &note.reason, "Reconcile", &note.message).await;
                if let Err(error) = told {
                    debug!(%error, reason = note.reason, "an event could not be written");
                }
            }
        };
        (Self { send }, run)
    }

    /// Tells of something that happened to an application.
    pub(super) fn tell(&self, application: &Arc<Application>, reason: &str, message: &str, warning: bool) {
        let kind = if warning { EventKind::Warning } else { EventKind::Normal };
        let note = Note { reason: reason.to_owned(), message: message.to_owned(), kind };
        if self.send.try_send((application.clone(), note)).is_err() {
            debug!(reason, "too many events wait: this one is dropped");
        }
    }
}
