//! What is told to the API server beside the work: statuses and events. The
//! work never waits for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use kube::Resource as _;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    api::{Application, ApplicationStatus},
    cluster::{
        OwnerKey,
        lease::Leadership,
        store::{self, EventKind, Store, StoreError},
        watch::OwnResources,
    },
};

/// How many statuses are written at a time.
const WRITES_AT_A_TIME: usize = 16;
/// The pause after a status could not be written.
const PAUSE: Duration = Duration::from_secs(1);
/// How long word of progress waits: what is over by then is told at once by its
/// end.
const GATHERED: Duration = Duration::from_millis(200);
/// How long word of a commit that changed nothing waits at least, and at most
/// twice as long: hundreds may have the same to say of each commit.
const LEISURE: Duration = Duration::from_mins(1);
/// How many events wait at most; more are dropped and counted.
const EVENTS_WAITING: usize = 1_024;

/// Writes statuses, of each application only the latest.
#[derive(Default)]
pub(super) struct Statuses {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<OwnerKey, Waiting>,
    /// Whose status is being written: one at a time of each.
    writing: BTreeSet<OwnerKey>,
    /// What the server answered to the last write of each, which the watch may
    /// not have told of yet.
    told: HashMap<OwnerKey, Told>,
}

/// A status that is to be written.
struct Waiting {
    application: Arc<Application>,
    due: Instant,
}

/// A status as it was written last.
struct Told {
    version: String,
    status: ApplicationStatus,
}

/// What statuses are written with.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) store: &'a Store,
    pub(super) own: &'a OwnResources,
    pub(super) leads: &'a Leadership,
}

impl Statuses {
    /// Hands over a status to be written soon.
    pub(super) fn write(&self, owner: &OwnerKey, application: &Application, status: ApplicationStatus) {
        self.hand_over(owner, application, status, Instant::now());
    }

    /// Hands over word of progress, which the next status may overtake.
    pub(super) fn write_soon(&self, owner: &OwnerKey, application: &Application, status: ApplicationStatus) {
        self.hand_over(owner, application, status, Instant::now() + GATHERED);
    }

    /// Hands over what nobody waits for; the next status overtakes it.
    pub(super) fn write_at_leisure(&self, owner: &OwnerKey, application: &Application, status: ApplicationStatus) {
        let pause = LEISURE.mul_f64(rand::random_range(1.0..2.0));
        self.hand_over(owner, application, status, Instant::now() + pause);
    }

    fn hand_over(&self, owner: &OwnerKey, application: &Application, status: ApplicationStatus, due: Instant) {
        let application = Arc::new(Application { status: Some(status), ..application.clone() });
        let mut state = self.state();
        let due = state.waiting.get(owner).map_or(due, |before| before.due.min(due));
        state.waiting.insert(owner.clone(), Waiting { application, due });
        drop(state);
        self.wake.notify_one();
    }

    /// Whether somebody else has written over the status that was written
    /// last: by hand, or a replica that led before and whose write was on its
    /// way when it lost the lease. `published` is what this replica says.
    pub(super) fn is_overwritten(
        &self,
        owner: &OwnerKey,
        application: &Application,
        published: &ApplicationStatus,
    ) -> bool {
        let state = self.state();
        if state.waiting.contains_key(owner) || state.writing.contains(owner) {
            return false;
        }
        let live = application.status.as_ref();
        match state.told.get(owner) {
            Some(told) => version(application) > number(&told.version) && live != Some(&told.status),
            None => live != Some(published),
        }
    }

    /// Begins anew: what waited is for whoever leads now to say.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Writes statuses until the token ends it; what waits then is written, but
    /// for what nobody waits for.
    pub(super) async fn run(&self, desk: Desk<'_>, stop: CancellationToken) {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < WRITES_AT_A_TIME
                && let Some((owner, wanted)) = self.take_next(stop.is_cancelled())
            {
                running.push(self.tell(desk, owner, wanted, &stop));
            }
            if running.is_empty() && stop.is_cancelled() {
                return;
            }
            let due = self.next_due().filter(|_| running.len() < WRITES_AT_A_TIME);
            tokio::select! {
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                Some(()) = running.next() => {}
            }
        }
    }

    /// The next status that is due and whose application has none on its way;
    /// at the end word of progress is due.
    fn take_next(&self, at_the_end: bool) -> Option<(OwnerKey, Arc<Application>)> {
        let mut state = self.state();
        let now = Instant::now();
        let due = if at_the_end { now + GATHERED } else { now };
        let free = |(owner, waiting): &(&OwnerKey, &Waiting)| !state.writing.contains(*owner) && waiting.due <= due;
        let owner = state.waiting.iter().find(free)?.0.clone();
        let wanted = state.waiting.remove(&owner)?.application;
        state.writing.insert(owner.clone());
        Some((owner, wanted))
    }

    /// When the next status is due that no other of its application holds up.
    fn next_due(&self) -> Option<Instant> {
        let state = self.state();
        let free = state.waiting.iter().filter(|(owner, _)| !state.writing.contains(*owner));
        free.map(|(_, waiting)| waiting.due).min()
    }

    async fn tell(&self, desk: Desk<'_>, owner: OwnerKey, wanted: Arc<Application>, stop: &CancellationToken) {
        let written = self.write_now(desk, &owner, &wanted).await;
        if let Err(error) = &written
            && !error.is_not_found()
        {
            warn!(%error, application = owner.as_str(), "a status could not be written");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        let mut state = self.state();
        state.writing.remove(&owner);
        match written {
            Ok(Some(told)) => {
                state.told.insert(owner, told);
            }
            // Whoever leads now writes its own.
            Ok(None) => {}
            Err(error) if error.is_not_found() => {
                state.told.remove(&owner);
            }
            // What was handed over meanwhile is newer.
            Err(_) if !stop.is_cancelled() => {
                state.waiting.entry(owner).or_insert(Waiting { application: wanted, due: Instant::now() });
            }
            Err(_) => {}
        }
    }

    async fn write_now(
        &self,
        desk: Desk<'_>,
        owner: &OwnerKey,
        wanted: &Application,
    ) -> Result<Option<Told>, StoreError> {
        let Some(there) = desk.own.application(owner) else { return Ok(None) };
        if there.metadata.uid != wanted.metadata.uid {
            return Ok(None);
        }
        let mut base = there.as_ref().clone();
        if let Some(told) = self.state().told.get(owner).filter(|told| number(&told.version) > version(&base)) {
            base.metadata.resource_version = Some(told.version.clone());
            base.status = Some(told.status.clone());
        }
        let status = wanted.status.clone().unwrap_or_default();
        let written = desk.store.write_status_while(&base, &status, |_| desk.leads.may_write()).await?;
        Ok(written.map(|now| {
            desk.own.owe("Application", owner.namespace(), version(&now));
            let version = now.metadata.resource_version.unwrap_or_default();
            Told { version, status: now.status.unwrap_or_default() }
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(application: &Application) -> u64 {
    application.metadata.resource_version.as_deref().map_or(0, number)
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
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
