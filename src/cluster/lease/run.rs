//! The election carried out.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Claim, Election, LeaseView, Step, Timing, hint::Hints};

/// How long one request may take at most, so that a renewal is tried more than
/// once before the deadline, and a slow server has time to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after a request that failed while this replica leads.
const PAUSE: Duration = Duration::from_millis(500);

/// The annotation of the Lease with the address by which other replicas reach
/// its holder.
const ADDRESS: &str = "bowline.dev/hooks-address";

/// Which Lease, and who asks for it.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who asks: no other process may have it while this one lives.
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

impl LeaseOptions {
    /// Options with an identity of this process: the host's name and a random part.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, host: &str) -> Self {
        Self::of_instance(namespace, name, host, &format!("{:016x}", rand::random::<u64>()))
    }

    /// Options with an identity that outlives this process: whoever has the
    /// same instance later takes the Lease up at once. The caller makes sure
    /// that no two living processes have it.
    pub fn of_instance(namespace: impl Into<String>, name: impl Into<String>, host: &str, instance: &str) -> Self {
        let identity = format!("{host}_{instance}");
        Self { namespace: namespace.into(), name: name.into(), identity, timing: Timing::default() }
    }
}

/// Whether this process leads. Clones are the same.
#[derive(Clone)]
pub struct Leadership(Arc<Shared>);

struct Shared {
    start: Instant,
    /// Until when this process may write, in milliseconds from `start`; 0 for never.
    until: AtomicU64,
    /// Whether the Lease was read once.
    known: AtomicBool,
    holder: Mutex<Option<String>>,
    /// Where this replica is reached by the others.
    own_address: Mutex<Option<SocketAddr>>,
    /// Where the holder of the Lease said that it is reached.
    leader_address: Mutex<Option<SocketAddr>>,
    leads: watch::Sender<bool>,
    ending: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Leadership {
    /// Whether this process is the leader.
    pub fn is_leader(&self) -> bool {
        self.may_write()
    }

    /// Whether this process may write now: false from the renew deadline on,
    /// by the monotonic clock, whatever else goes on.
    pub fn may_write(&self) -> bool {
        let elapsed = self.0.start.elapsed();
        elapsed < Duration::from_millis(self.0.until.load(Ordering::Acquire))
    }

    /// Tells each change of leadership; the present state is seen at once.
    pub fn changed(&self) -> watch::Receiver<bool> {
        self.0.leads.subscribe()
    }

    /// Whether it is known who leads.
    pub fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Acquire)
    }

    /// Who held the Lease when it was last seen.
    pub fn holder(&self) -> Option<String> {
        lock(&self.0.holder).clone()
    }

    /// Has the Lease say by which address the other replicas reach this one,
    /// while it leads: from the next renewal on.
    pub fn advertise(&self, address: SocketAddr) {
        *lock(&self.0.own_address) = Some(address);
    }

    /// Where the replica that leads is reached; none if that is this one, or
    /// the Lease does not say.
    pub fn leader_address(&self) -> Option<SocketAddr> {
        if self.may_write() { None } else { *lock(&self.0.leader_address) }
    }

    /// Stops: from now on this process does not write, and the Lease is
    /// released if it held it. What is in flight must have ended before.
    pub async fn resign(&self) {
        self.0.until.store(0, Ordering::Release);
        self.0.ending.cancel();
        let task = lock(&self.0.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!("the election's task failed");
        }
    }
}

/// Asks for leadership until [`Leadership::resign`].
pub fn campaign(client: Client, options: LeaseOptions) -> Leadership {
    let shared = Arc::new(Shared {
        start: Instant::now(),
        until: AtomicU64::new(0),
        known: AtomicBool::new(false),
        holder: Mutex::default(),
        own_address: Mutex::default(),
        leader_address: Mutex::default(),
        leads: watch::Sender::new(false),
        ending: CancellationToken::new(),
        task: Mutex::default(),
    });
    let api: Api<Lease> = Api::namespaced(client, &options.namespace);
    let campaign = Campaign {
        hints: Hints::new(api.clone(), &options.name, options.timing.retry),
        api,
        election: Election::new(options.identity.clone(), options.timing),
        acquired: None,
        failure: None,
        options,
        shared: shared.clone(),
    };
    let task = tokio::spawn(campaign.run());
    *lock(&shared.task) = Some(task);
    Leadership(shared)
}

struct Campaign {
    api: Api<Lease>,
    hints: Hints,
    options: LeaseOptions,
    election: Election,
    /// When the Lease changed hands, as its holder wrote it.
    acquired: Option<MicroTime>,
    /// What went wrong in the last turn.
    failure: Option<String>,
    shared: Arc<Shared>,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("somebody else was first")]
    Conflict,
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Client(Box<kube::Error>),
}

impl Campaign {
    async fn run(mut self) {
        let ending = self.shared.ending.clone();
        while !ending.is_cancelled() {
            let mut turn = self.turn().await;
            if matches!(turn, Err(Refused::Conflict)) {
                turn = self.turn().await;
            }
            let failed = turn.is_err();
            self.report(turn.err());
            self.publish();
            match self.election.until().filter(|until| *until > self.now()) {
                Some(until) => self.lead(until, failed).await,
                None => self.follow(failed).await,
            }
        }
        if let Some((version, transitions)) = self.election.resign() {
            self.release(version, transitions).await;
        }
        self.publish();
    }

    /// Rests until the next renewal. Who leads is told at the deadline that it
    /// does not any more.
    async fn lead(&mut self, until: Duration, failed: bool) {
        self.hints.close();
        let pause = if failed { PAUSE.min(self.options.timing.retry) } else { self.options.timing.retry };
        let left = until.saturating_sub(self.now()).min(pause);
        let ending = self.shared.ending.clone();
        tokio::select! {
            () = sleep(left) => self.publish(),
            () = ending.cancelled() => {}
        }
    }

    /// Rests until there may be something to win: the Lease was released, or it
    /// runs out. A watch tells of renewals; without one it is looked at again
    /// and again.
    async fn follow(&mut self, failed: bool) {
        let ending = self.shared.ending.clone();
        loop {
            if !failed && let Some(version) = self.election.version().map(str::to_owned) {
                self.hints.open(&version).await;
            }
            let retry = self.options.timing.retry;
            let left = self.election.runs_out().map(|at| at.saturating_sub(self.now()));
            let left = match left {
                Some(left) if self.hints.are_open() => left,
                left => left.unwrap_or(retry).min(retry),
            };
            tokio::select! {
                () = sleep(left) => return,
                () = ending.cancelled() => return,
                told = self.hints.next() => {
                    let Some(lease) = told else { continue };
                    let now = self.now();
                    self.note_address(lease.as_ref());
                    // What is to be won is read again before it is claimed.
                    let step = lease.map(|lease| self.election.observe(Some(view(&lease)), now));
                    self.publish();
                    if step != Some(Step::Wait) {
                        return;
                    }
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    fn publish(&self) {
        let leads = self.election.leads(self.now());
        let until = if leads && !self.shared.ending.is_cancelled() { self.election.until() } else { None };
        let until = until.map_or(0, |until| u64::try_from(until.as_millis()).unwrap_or(u64::MAX));
        self.shared.until.store(until, Ordering::Release);
        self.tell_holder();
        self.shared.leads.send_if_modified(|told| {
            let changed = *told != (until != 0);
            *told = until != 0;
            if changed {
                tracing::info!(identity = %self.options.identity, leads = *told, "leadership changed");
            }
            changed
        });
    }

    /// Keeps who leads, and says so when it is another than before.
    fn tell_holder(&self) {
        let holder = self.election.holder().map(str::to_owned);
        let mut known = lock(&self.shared.holder);
        if *known == holder {
            return;
        }
        if let Some(leader) = holder.as_ref().filter(|holder| **holder != self.options.identity) {
            tracing::info!(%leader, lease = %self.options.name, "another replica leads: this one follows");
        }
        *known = holder;
    }

    /// Keeps where the holder of a Lease that was seen is reached.
    fn note_address(&self, lease: Option<&Lease>) {
        let annotations = lease.and_then(|lease| lease.metadata.annotations.as_ref());
        let address = annotations.and_then(|annotations| annotations.get(ADDRESS)?.parse().ok());
        *lock(&self.shared.leader_address) = address;
    }

    /// Logs a failure once, not every two seconds.
    fn report(&mut self, failure: Option<Refused>) {
        let message = failure.map(|failure| failure.to_string());
        if let Some(message) = message.as_ref().filter(|message| self.failure.as_ref() != Some(message)) {
            tracing::warn!(lease = %self.options.name, %message, "cannot take part in the election");
        }
        self.failure = message;
    }

    async fn turn(&mut self) -> Result<(), Refused> {
        let step = match self.election.renewal(self.now()) {
            Some(step) => step,
            None => {
                let lease = self.within(self.api.get_opt(&self.options.name)).await?;
                let version = lease.as_ref().and_then(|lease| lease.metadata.resource_version.as_deref());
                if self.election.version().is_some_and(|seen| version != Some(seen)) {
                    // The watch has not told of it: it is dead, or late.
                    self.hints.close();
                }
                self.shared.known.store(true, Ordering::Release);
                self.acquired = lease.as_ref().and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
                let now = self.now();
                self.note_address(lease.as_ref());
                self.election.observe(lease.as_ref().map(view), now)
            }
        };
        let (version, claim) = match step {
            Step::Wait => return Ok(()),
            Step::Create(claim) => (None, claim),
            Step::Replace { version, claim } => (Some(version), claim),
        };
        let lease = self.lease(version.clone(), Some(&claim));
        let sent = self.now();
        let parameters = PostParams::default();
        let written = if version.is_some() {
            self.within(self.api.replace(&self.options.name, &parameters, &lease)).await
        } else {
            self.within(self.api.create(&parameters, &lease)).await
        };
        match written {
            Ok(written) => {
                self.acquired = written.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
                self.election.won(view(&written), sent);
                Ok(())
            }
            Err(Refused::Conflict) => {
                self.election.lost_race();
                Err(Refused::Conflict)
            }
            Err(error) => Err(error),
        }
    }

    /// The Lease to write: with a claim it is ours, without one it is released.
    fn lease(&self, version: Option<String>, claim: Option<&Claim>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let duration = i32::try_from(self.options.timing.lease.as_secs()).unwrap_or(i32::MAX);
        let address = claim.and(*lock(&self.shared.own_address));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                resource_version: version,
                annotations: address.map(|address| BTreeMap::from([(ADDRESS.to_owned(), address.to_string())])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: match claim {
                    Some(claim) if !claim.takes_over => self.acquired.clone(),
                    _ => Some(now.clone()),
                },
                holder_identity: claim.map(|_| self.options.identity.clone()),
                lease_duration_seconds: Some(duration.max(1)),
                lease_transitions: claim.map(|claim| claim.transitions),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn release(&mut self, version: String, transitions: i32) {
        let mut lease = self.lease(Some(version), None);
        if let Some(spec) = &mut lease.spec {
            spec.lease_transitions = Some(transitions);
        }
        let parameters = PostParams::default();
        match self.within(self.api.replace(&self.options.name, &parameters, &lease)).await {
            Ok(_) => tracing::info!(lease = %self.options.name, "released the lease"),
            Err(error) => tracing::warn!(lease = %self.options.name, error = %error, "cannot release the lease"),
        }
    }

    async fn within<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Refused> {
        let left = self.election.until().map(|until| until.saturating_sub(self.now()));
        let limit = left.filter(|left| !left.is_zero()).map_or(REQUEST_TIMEOUT, |left| left.min(REQUEST_TIMEOUT));
        match timeout(limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Refused::Conflict),
            Ok(Err(error)) => Err(Refused::Client(Box::new(error))),
            Err(_) => Err(Refused::Timeout),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn view(lease: &Lease) -> LeaseView {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    LeaseView {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
    }
}
