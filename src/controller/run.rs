//! The controller: waits for the lease, then has one actor an application.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    Options,
    actor::{self, Handle},
    bases::Bases,
    charts::ChartCache,
    deep_check::Rota,
    dependencies::Dependents,
    hooks, instance,
    outbox::{Desk, Events, Statuses},
    poller::Poller,
    shared::{Policies, Secrets, Shared},
    term::Term,
    warm,
};
use crate::{
    cluster::{
        Cluster, ClusterError, OwnerKey,
        index::{KindStatus, LiveIndex, WatchReport, assess},
        lease::{Leadership, LeaseOptions, campaign},
        store::{self, Store, StoreError},
        watch::OwnResources,
    },
    notify::{Courier, Inquirer},
    render::Programs,
    server::{Check, Heartbeats, Probes, ServerError, serve},
    source::{Repositories, SourceError, SubmodulePolicy, UrlPolicy},
    telemetry::Metrics,
};

/// How many programs render at a time.
const PROGRAMS: usize = 2;
/// How long the actors have to finish requests in flight when it ends.
const GRACE: Duration = Duration::from_secs(10);
/// After how long without a move the loop counts as stuck.
const STANDSTILL: Duration = Duration::from_secs(60);
/// After how long without an event, a bookmark or an answer a watch counts as
/// dead: the server ends a quiet one after 200 s at most.
const WATCH_SILENT: Duration = Duration::from_secs(300);
/// How often ended requests are looked through, in memory.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// Why the controller cannot run, or does not any more.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The cluster cannot be reached.
    #[error("the cluster cannot be used")]
    Cluster(#[from] ClusterError),
    /// Bowline's own resources cannot be read.
    #[error(
        "Bowline's own resources cannot be read; are its CustomResourceDefinitions installed (kubectl apply -f manifests/crds.yaml)?"
    )]
    Store(#[from] StoreError),
    /// The cache of repositories cannot be used.
    #[error("the cache of repositories cannot be used")]
    Cache(#[from] SourceError),
    /// The probes and metrics cannot be served.
    #[error("probes and metrics cannot be served")]
    Server(#[from] ServerError),
    /// Webhooks cannot be received.
    #[error("webhooks cannot be received")]
    Hooks(#[source] ServerError),
    /// The lease was lost, and something of the work did not stop.
    #[error("the lease was lost, and the work for some applications did not stop in time")]
    LeaseLost,
}

/// Runs until the token ends it. A replica that loses the lease follows, and
/// leads again when its turn comes.
///
/// # Errors
/// The cluster or the cache cannot be used, or the lease was lost and the work
/// did not stop: the process is to be started again.
pub async fn run(
    cluster: Cluster,
    options: Options,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    let store = Arc::new(Store::new(cluster.client().clone()));
    let installation = store.installation_id().await?;
    let repositories = Repositories::open(&options.cache)?;
    let own = OwnResources::start(cluster.client(), &options.watch_namespaces);
    let index = LiveIndex::new(cluster.client().clone(), assess);
    // The cache is ours alone as long as it is open, so the instance is too.
    let instance = instance::of_cache(&options.cache);
    let (namespace, name) = (&options.lease_namespace, &options.lease_name);
    let lease = LeaseOptions::of_instance(namespace, name, &options.identity, &instance);
    let leadership = campaign(cluster.client().clone(), lease);
    let heartbeats = Heartbeats::new();
    let probes = Probes {
        heartbeats: heartbeats.clone(),
        unready: unready(own.clone(), index.clone(), leadership.clone()),
        metrics: metrics.clone(),
    };
    count_what_is_there(&metrics, own.clone(), index.clone());
    let listen = options.listen;
    let (listening, address) = tokio::sync::oneshot::channel();
    let mut server = tokio::spawn(serve(options.listen, probes, stop.child_token(), |address| {
        // Nobody waits for it any more only if the controller ended already.
        let _ = listening.send(address);
    }));
    tokio::select! {
        ended = &mut server => return ended.map_or(Ok(()), |ended| ended.map_err(ControllerError::from)),
        address = address => info!(address = %address.unwrap_or(listen), installation, version = env!("CARGO_PKG_VERSION"), "started"),
    }
    let policies = Policies::default();
    policies.look(&store).await;
    if !policies.names_are_verified() {
        warn!("the admission policies are not installed: who makes a request is recorded as unverified");
    }
    let urls = UrlPolicy { allow_file: options.allow_file_repositories, ..UrlPolicy::default() };
    let addresses = SubmodulePolicy { urls: urls.clone(), hosts: options.allow_submodule_hosts.clone() };
    let (events, tell) =
        Events::start(store::Events::new(cluster.client().clone(), &options.identity), stop.child_token());
    let outbox = tokio::spawn(tell);
    let programs = Programs::find(options.helm.as_deref(), options.kustomize.as_deref());
    let charts = ChartCache::in_directory(options.cache.join("charts"));
    let shared = Arc::new(Shared {
        poller: Poller::new(repositories.clone(), Arc::new(Secrets(store.clone())), addresses, stop.child_token()),
        cluster,
        store,
        index,
        own,
        leadership: leadership.clone(),
        options,
        installation,
        brake: Default::default(),
        deep_checks: Default::default(),
        handover: Default::default(),
        first_look: Default::default(),
        statuses: Statuses::default(),
        events,
        courier: Courier::default(),
        inquirer: Inquirer::default(),
        metrics,
        policies,
        tasks: TaskTracker::new(),
        programs,
        charts,
        bases: Bases::of(repositories),
        urls,
        stop: stop.clone(),
        program_runs: Semaphore::new(PROGRAMS),
        renders: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
    });
    hooks::receive(&shared, &stop).await.map_err(ControllerError::Hooks)?;
    let result = serve_terms(&shared, &stop, &heartbeats).await;
    outbox.abort();
    leadership.resign().await;
    result
}

/// Follows and leads in turn, until the token ends it.
async fn serve_terms(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    heartbeats: &Heartbeats,
) -> Result<(), ControllerError> {
    loop {
        let lost = lead_when_leader(shared, stop, heartbeats).await;
        shared.tasks.close();
        let rests = tokio::time::timeout(GRACE, shared.tasks.wait()).await.is_ok();
        shared.tasks.reopen();
        shared.statuses.clear();
        match (lost, rests) {
            (false, true) => return Ok(()),
            (false, false) => {
                warn!("some applications did not come to a rest in time");
                return Ok(());
            }
            (true, true) => warn!("the lease was lost: this replica follows now"),
            (true, false) => return Err(ControllerError::LeaseLost),
        }
    }
}

/// One turn at leading. Whether it ended because the lease was lost.
async fn lead_when_leader(shared: &Arc<Shared>, stop: &CancellationToken, heartbeats: &Heartbeats) -> bool {
    let mut leads = shared.leadership.changed();
    tokio::select! {
        () = stop.cancelled() => return false,
        _ = leads.wait_for(|leads| *leads) => {}
        () = warm::follow(shared) => {}
    }
    tokio::select! {
        () = stop.cancelled() => return false,
        _ = leads.wait_for(|leads| !*leads) => return true,
        () = shared.own.ready() => {}
    }
    shared.metrics.set_leader(true);
    info!(applications = shared.own.count(), warm_watches = shared.index.watches().len(), "leading");
    warm::keep_existing(shared);
    shared.first_look.begin().await;
    let term = Term::new(stop);
    let statuses = {
        let (shared, stop) = (shared.clone(), term.stop.clone());
        tokio::spawn(async move {
            let desk = Desk { store: &shared.store, own: &shared.own, leads: &shared.leadership };
            shared.statuses.run(desk, stop).await;
        })
    };
    let lost = tokio::select! {
        () = stop.cancelled() => false,
        _ = leads.wait_for(|leads| !*leads) => true,
        () = direct(shared, &term, heartbeats) => false,
    };
    shared.metrics.set_leader(false);
    shared.metrics.forget_history_bytes();
    if lost {
        term.lose();
        statuses.abort();
        return true;
    }
    term.stop.cancel();
    if tokio::time::timeout(GRACE, statuses).await.is_err() {
        warn!("some statuses were not written");
    }
    false
}

/// Has an actor for each application and wakes those that something changed
/// for.
async fn direct(shared: &Arc<Shared>, term: &Term, heartbeats: &Heartbeats) {
    let heartbeat = heartbeats.expect("the loop that wakes applications", STANDSTILL);
    let mut beat = tokio::time::interval(STANDSTILL / 3);
    let mut own = shared.own.changed();
    let mut live = shared.index.subscribe();
    let mut actors: HashMap<OwnerKey, Handle> = HashMap::new();
    let mut dependents = Dependents::default();
    wake(shared, term, &mut actors, &mut dependents, &shared.own.applications());
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rota = Rota::default();
    let mut turns = Rota::interval(shared.options.deep_checks_per_hour).map(|every| {
        let mut turns = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        // A turn that was missed is not made up for: the number an hour is a bound.
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        turns
    });
    loop {
        tokio::select! {
            () = term.stop.cancelled() => return,
            changed = own.next() => wake(shared, term, &mut actors, &mut dependents, &changed),
            changed = live.next() => {
                for owner in changed {
                    if let Some(handle) = actors.get(&owner) {
                        handle.wake.notify_one();
                    }
                }
            }
            _ = sweep.tick() => {
                let (shared, stop) = (shared.clone(), term.stop.clone());
                shared.tasks.clone().spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = sweep_requests(&shared) => {}
                    }
                });
            }
            () = next_turn(&mut turns) => {
                if let Some(owner) = rota.next(&shared.own.applications())
                    && let Some(handle) = actors.get(&owner)
                {
                    shared.deep_checks.ask(owner);
                    handle.wake.notify_one();
                }
            }
            _ = beat.tick() => heartbeat.beat(),
        }
    }
}

/// The next deep check; never, where they are off.
async fn next_turn(turns: &mut Option<tokio::time::Interval>) {
    match turns {
        Some(turns) => {
            turns.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn wake(
    shared: &Arc<Shared>,
    term: &Term,
    actors: &mut HashMap<OwnerKey, Handle>,
    dependents: &mut Dependents,
    changed: &BTreeSet<OwnerKey>,
) {
    for owner in changed {
        let application = shared.own.application(owner);
        let depends_on = application.as_ref().map(|application| application.spec.depends_on.as_slice());
        dependents.set(owner, depends_on.unwrap_or_default());
        match (application.is_some(), actors.get(owner)) {
            (true, Some(handle)) if !handle.stop.is_cancelled() => handle.wake.notify_one(),
            (true, _) => {
                info!(application = owner.as_str(), "taken up");
                actors.insert(owner.clone(), actor::spawn(shared.clone(), owner.clone(), term));
            }
            (false, Some(handle)) => {
                info!(application = owner.as_str(), "let go");
                handle.stop.cancel();
                actors.remove(owner);
            }
            (false, None) => {}
        }
    }
    for dependent in changed.iter().flat_map(|owner| dependents.of(owner)) {
        if let Some(handle) = actors.get(dependent) {
            handle.wake.notify_one();
        }
    }
}

/// Deletes requests that ended long ago.
async fn sweep_requests(shared: &Arc<Shared>) {
    let keep = SignedDuration::try_from(shared.options.request_retention).unwrap_or(SignedDuration::from_hours(168));
    let now = Timestamp::now();
    let old = |ended: Option<Timestamp>| ended.is_some_and(|ended| now.duration_since(ended) > keep);
    for owner in shared.own.applications() {
        for request in shared.own.sync_requests(&owner) {
            if old(request.status.as_ref().and_then(|status| status.ended_at)) {
                forget(shared.store.delete(request.as_ref()).await);
            }
        }
        for request in shared.own.rollback_requests(&owner) {
            if old(request.status.as_ref().and_then(|status| status.ended_at)) {
                forget(shared.store.delete(request.as_ref()).await);
            }
        }
    }
}

fn forget(deleted: Result<(), StoreError>) {
    if let Err(error) = deleted {
        warn!(%error, "an old request could not be deleted: it is tried again in an hour");
    }
}

/// What keeps this replica from being ready. A follower is ready too.
fn unready(own: OwnResources, index: LiveIndex, leadership: Leadership) -> Check {
    Arc::new(move || {
        let mut problems = Vec::new();
        if !own.is_ready() {
            problems.push("Bowline's own resources are not all listed yet".to_owned());
        }
        if !leadership.is_known() {
            problems.push("it is not known yet who leads".to_owned());
        }
        problems.extend(trouble_of(&index.watches()));
        problems
    })
}

/// What of the watches keeps a replica from being ready. A broken kind does
/// not: it is its applications' trouble, and no other replica would see more.
fn trouble_of(watches: &[WatchReport]) -> Vec<String> {
    let mut problems = Vec::new();
    let syncing = watches.iter().filter(|watch| watch.status == KindStatus::Syncing).count();
    if syncing > 0 {
        problems.push(format!("{} not in sync yet", super::words::count(syncing, "watch")));
    }
    let silent = watches.iter().filter(|watch| watch.status == KindStatus::InSync);
    for watch in silent {
        if let Some(age) = watch.age.filter(|age| *age > WATCH_SILENT) {
            problems.push(format!("the watch of {} was not heard of for {} s", watch.kind, age.as_secs()));
        }
    }
    problems
}

/// Counts applications, watches and objects whenever metrics are asked for.
fn count_what_is_there(metrics: &Metrics, own: OwnResources, index: LiveIndex) {
    metrics.before_encoding(move |metrics| {
        let mut counts = BTreeMap::<(&'static str, &'static str), u32>::new();
        for owner in own.applications() {
            let application = own.application(&owner);
            let status = application.as_ref().and_then(|application| application.status.as_ref());
            let sync = status.and_then(|status| status.sync).map_or("Unknown", |sync| sync.as_str());
            let health = status.and_then(|status| status.health).map_or("Unknown", |health| health.as_str());
            *counts.entry((sync, health)).or_default() += 1;
        }
        metrics.set_applications(counts);
        let watches = index.watches();
        let mut by_status = BTreeMap::<&'static str, u32>::new();
        for watch in &watches {
            let status = match watch.status {
                KindStatus::Syncing => "syncing",
                KindStatus::InSync => "in_sync",
                KindStatus::Broken { .. } => "broken",
            };
            *by_status.entry(status).or_default() += 1;
        }
        let oldest = watches.iter().filter_map(|watch| watch.age).max().unwrap_or_default();
        metrics.set_watches(by_status, oldest);
        metrics.set_live_objects(index.len());
    });
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::index::{BrokenReason, KindKey, Scope},
        manifest::GroupVersionKind,
    };

    fn broken() -> KindStatus {
        let message = "no backend".into();
        KindStatus::Broken { reason: BrokenReason::ServerError, message, since: Timestamp::UNIX_EPOCH }
    }

    #[rstest]
    #[case::quiet_for_as_long_as_a_server_keeps_one(KindStatus::InSync, Some(200), &[])]
    #[case::dead(KindStatus::InSync, Some(301), &["the watch of ConfigMap was not heard of for 301 s"])]
    #[case::not_yet_in_sync(KindStatus::Syncing, Some(1), &["1 watch not in sync yet"])]
    #[case::broken(broken(), Some(3_600), &[])]
    #[case::never_asked(broken(), None, &[])]
    fn a_replica_is_ready_while_its_watches_live(
        #[case] status: KindStatus,
        #[case] age: Option<u64>,
        #[case] expected: &[&str],
    ) {
        let kind = KindKey::new(GroupVersionKind::new("", "v1", "ConfigMap"), Scope::Cluster);
        let report = WatchReport { kind, status, age: age.map(Duration::from_secs) };
        assert_eq!(trouble_of(&[report]), expected);
    }
}
