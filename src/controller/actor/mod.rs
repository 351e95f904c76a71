//! One application: the task that owns its state.
//!
//! It gathers what is known into a [`View`], asks [`decide`] for the one next
//! thing to do, does it, and asks again. Nothing in here chooses what to do.
//! Everything that must survive a restart is in the cluster before it is acted
//! on: the bundle, the Release, the inventory's intent, the pin.

mod again;
mod analyse;
mod begin;
mod carry;
mod content;
mod degraded;
mod delete;
mod drift;
mod finish;
mod hooks;
mod known;
mod load;
mod moves;
mod outcome;
mod program;
mod publish;
mod repair;
mod requests;
mod retain;
mod tell;
mod took;
mod trace;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, error, info_span, warn};

use self::{
    analyse::Asked,
    known::Known,
    tell::{Tellings, Told},
};
use super::{
    decide::{Decision, decide},
    poller::{Failure, Found, HeadEvent},
    shared::Shared,
    term::Term,
};
use crate::cluster::{OwnerKey, index::BrokenReason, store::ApplicationStore};

/// How long the first pause after an error is.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a pause after errors gets at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long where the server was out of reach or too busy, or somebody else was
/// faster: that ends without any change to this application.
const LONGEST_PAUSE_OF_SERVER: Duration = Duration::from_secs(5);
/// How long a kind that is not served is left alone before it is looked for
/// again.
const UNSERVED_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// How many things are done in a row without a rest before the actor slows
/// down: far more than any honest sequence has, so only a mistake in `decide`
/// reaches it.
const BUSY_LIMIT: u32 = 10_000;

/// Errors that stop a step; it is tried again after a pause.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Bowline's own resources could not be read or written.
    #[error(transparent)]
    Store(#[from] crate::cluster::store::StoreError),
    /// Kept content could not be read.
    #[error("the content of release {release} cannot be used: {message}")]
    Content {
        /// The release.
        release: u64,
        /// What is wrong with it.
        message: String,
    },
    /// Something could not be deleted yet.
    #[error("not deleted yet: {0}")]
    NotDeleted(String),
    /// This replica does not lead any more.
    #[error("this replica does not hold the lease any more")]
    NotLeading,
}

/// How an actor is reached.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    /// Something about the application's own resources or objects changed.
    pub(super) wake: Arc<Notify>,
    /// Ends the task.
    pub(super) stop: CancellationToken,
}

/// Starts the task of an application, for a term of leadership.
pub(super) fn spawn(shared: Arc<Shared>, owner: OwnerKey, term: &Term) -> Handle {
    let wake = Arc::new(Notify::new());
    let (stop, lost) = (term.stop.child_token(), term.lost.clone());
    let handle = Handle { wake: wake.clone(), stop: stop.clone() };
    let span = span_of_logs(&owner);
    let tasks = shared.tasks.clone();
    tasks.spawn(
        async move {
            // However the task ends, its handle says so, and another is started.
            let _ended = stop.clone().drop_guard();
            let (tell, heads) = mpsc::channel(4);
            let store = shared.store.of(owner.namespace(), owner.name());
            let mut known = Known::new(owner, tell);
            known.tellings = Tellings::under(&stop);
            let (tell_looked, looked) = mpsc::channel(4);
            let (tell_told, told) = mpsc::channel(4);
            let (tell_asked, asked) = mpsc::channel(1);
            let mut actor = Actor {
                shared,
                store,
                watch_later: false,
                known,
                wake,
                heads,
                tell_looked,
                looked,
                tell_told,
                told,
                tell_asked,
                asked,
                stop,
            };
            tokio::select! {
                () = lost.cancelled() => {}
                () = actor.run() => {}
            }
            actor.leave(lost.is_cancelled());
        }
        .instrument(span),
    );
    handle
}

/// What each line of an application's log is in.
fn span_of_logs(owner: &OwnerKey) -> Span {
    // A field `name` would stand beside the span's own name in JSON.
    info_span!("application", application = owner.as_str())
}

struct Actor {
    shared: Arc<Shared>,
    store: ApplicationStore,
    watch_later: bool,
    known: Known,
    wake: Arc<Notify>,
    heads: mpsc::Receiver<HeadEvent>,
    tell_looked: mpsc::Sender<Looked>,
    looked: mpsc::Receiver<Looked>,
    tell_told: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    tell_asked: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    stop: CancellationToken,
}

/// What ends a rest.
enum Woken {
    Stopped,
    Again,
    Head(Box<HeadEvent>),
    Looked(Box<Looked>),
    Told(Box<Told>),
    Asked(Box<Asked>),
}

/// What came of looking at the repository for a request.
type Looked = (String, Result<Found, Failure>);

impl Actor {
    async fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut busy = 0_u32;
        loop {
            if self.stop.is_cancelled() {
                return;
            }
            let span = self.span_of_work();
            match self.step().instrument(span).await {
                Ok(Step::Done) => {
                    pause = FIRST_PAUSE;
                    busy += 1;
                    if busy > BUSY_LIMIT {
                        error!("this application never comes to rest: please report this as a bug");
                        self.rest_for(LONGEST_PAUSE).await;
                        busy = 0;
                    }
                }
                Ok(Step::Rest(until)) => {
                    pause = FIRST_PAUSE;
                    busy = 0;
                    match self.rest(until).await {
                        Woken::Stopped => return,
                        Woken::Again => {}
                        Woken::Head(event) => self.take_head(*event).await,
                        Woken::Told(told) => self.take_told(*told),
                        Woken::Asked(asked) => self.take_asked(*asked),
                        Woken::Looked(looked) => {
                            let (uid, found) = *looked;
                            if let Err(error) = self.take_looked(uid, found).await {
                                warn!(%error, "a request could not be taken up");
                                self.rest_for(FIRST_PAUSE).await;
                            }
                        }
                    }
                }
                Ok(Step::Gone) => {
                    self.shared.metrics.forget_history_bytes_of(self.known.owner.as_str());
                    return;
                }
                // The lease may come back; if it is lost, the task is ended.
                Err(StepError::NotLeading) => {
                    self.known.loaded = false;
                    self.rest_for(FIRST_PAUSE).await;
                }
                Err(error) => {
                    let mut longest = LONGEST_PAUSE;
                    if let StepError::Store(error) = &error {
                        // What is known is not what is in the cluster.
                        self.known.loaded &= !error.is_lost_race();
                        if error.is_transient() || error.is_lost_race() {
                            longest = LONGEST_PAUSE_OF_SERVER;
                        }
                    }
                    pause = pause.min(longest);
                    warn!(%error, retry_in = ?pause, "a step failed");
                    self.known.step_error = Some(error.to_string());
                    self.publish(Timestamp::now());
                    self.rest_for(pause.mul_f64(rand::random_range(0.8..1.2))).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// What each line of the log of a round is in beside: the release that is
    /// running, with its commit, or the commit that the head is at.
    fn span_of_work(&self) -> Span {
        let running = self.known.attempt.as_ref().and_then(|attempt| self.known.history.get(attempt.release));
        match (running, &self.known.head_commit) {
            (Some(release), _) => {
                info_span!("release", release = release.spec.number, commit = release.spec.commit.short)
            }
            (None, Some(head)) => info_span!("head", commit = head.short),
            (None, None) => Span::none(),
        }
    }

    /// One round: what is known, what to do, doing it.
    async fn step(&mut self) -> Result<Step, StepError> {
        if !self.shared.leadership.may_write() {
            return Err(StepError::NotLeading);
        }
        if !self.known.loaded {
            self.load().await?;
        }
        while let Ok(event) = self.heads.try_recv() {
            self.take_head(event).await;
        }
        let now = Timestamp::now();
        if !self.look(now) {
            return Ok(Step::Gone);
        }
        if self.is_overtaken() {
            // A replica that led until a moment ago has written since.
            self.load().await?;
            self.look(now);
        }
        if self.known.inherits() && !self.known.stored.objects.is_empty() {
            // What an Application of this name let go of is not its successor's
            // to delete; what its content has is found again by our marks.
            let all = self.known.stored.objects.keys().map(|id| (id.clone(), None)).collect();
            self.save_inventory(all).await?;
            self.look(now);
        }
        if self.known.application.metadata.deletion_timestamp.is_some() {
            self.delete().await?;
            return Ok(Step::Gone);
        }
        if let Some(number) = self.known.of_another() {
            self.abandon(number, "another Application of this name took its place").await?;
        }
        self.look_at_policies(now).await;
        let unserved = self.known.summary.broken.iter().any(|broken| broken.reason == BrokenReason::NotServed);
        if unserved && self.known.watched_at.is_none_or(|at| at + UNSERVED_PAUSE <= now) {
            self.shared.cluster.discovery().invalidate();
            self.watch_later = true;
        }
        if std::mem::take(&mut self.watch_later) {
            self.known.watched_at = Some(now);
            self.watch_kinds(&[]).await;
            self.look(now);
        }
        if self.known.sweep_due.is_some_and(|due| due <= now) {
            self.sweep().await;
        }
        if self.forget_due().is_some_and(|due| due <= now) {
            self.forget_old(now).await;
        }
        self.keep_finalizer().await?;
        let due = self.known.render_retry_at.is_some_and(|at| at <= now);
        if std::mem::take(&mut self.known.needs_render) || due {
            self.known.render_retry_at = None;
            self.render_head().await;
        }
        self.finish_hooks().await?;
        self.note_wishes();
        self.known.offered |= self.shared.handover.take_offer(&self.known.owner);
        let ask = self.analyse(now);
        self.recall_watched().await;
        let decision = decide(&self.known.view(now));
        if let Decision::Rest(until) = decision {
            if self.deep_check().await? {
                return Ok(Step::Done);
            }
            if self.known.outside_due.is_some_and(|at| at <= now) {
                // Whatever a repair or a rollback needs is done.
                self.look_outside().await;
                return Ok(Step::Done);
            }
            self.settle().await?;
            self.explain_drift().await?;
            self.known.step_error = None;
            if std::mem::take(&mut self.known.content_unseen) {
                // What is urgent after a start, or a change of leaders, is done.
                self.look_first_at_content().await;
            }
            self.publish(now);
            self.tell(now);
            let unserved = unserved.then_some(now + UNSERVED_PAUSE);
            let contested = self.known.contests.values().filter_map(|contest| contest.left_alone_until(now));
            let late = self.little_time_left_at(now);
            let (sweep, forget) = (self.known.sweep_due, self.forget_due());
            let looks = [self.known.render_retry_at, self.known.outside_due];
            let due = [until, ask, late, sweep, forget, unserved].into_iter().chain(looks);
            let until = due.flatten().chain(contested).min();
            self.trace_rest();
            return Ok(Step::Rest(until));
        }
        debug!(?decision, "decided");
        self.carry_out(decision).await?;
        Ok(Step::Done)
    }

    async fn rest(&mut self, until: Option<Timestamp>) -> Woken {
        let wake_at = until.map(|until| {
            let rest = until.duration_since(Timestamp::now());
            // A millisecond more, so that the time has come when it is looked at.
            tokio::time::Instant::now() + Duration::try_from(rest).unwrap_or_default() + Duration::from_millis(1)
        });
        tokio::select! {
            () = self.stop.cancelled() => Woken::Stopped,
            () = self.wake.notified() => Woken::Again,
            event = self.heads.recv() => event.map_or(Woken::Again, |event| Woken::Head(Box::new(event))),
            told = self.told.recv() => told.map_or(Woken::Again, |told| Woken::Told(Box::new(told))),
            asked = self.asked.recv() => asked.map_or(Woken::Again, |asked| Woken::Asked(Box::new(asked))),
            looked = self.looked.recv() => looked.map_or(Woken::Again, |looked| Woken::Looked(Box::new(looked))),
            () = sleep_until(wake_at) => Woken::Again,
        }
    }

    async fn rest_for(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Lets go of what is held for the application outside of this task. Who
    /// follows from now on keeps the watches.
    fn leave(&self, follows: bool) {
        self.shared.poller.unsubscribe(&self.known.owner);
        self.shared.handover.forget(&self.known.owner);
        self.brake().runs(self.known.owner.as_str(), false, Timestamp::now());
        if !follows {
            self.shared.index.release(&self.known.owner);
        }
    }
}

/// What came of a round.
enum Step {
    Done,
    Rest(Option<Timestamp>),
    Gone,
}

async fn sleep_until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{self, Write},
        sync::Mutex,
    };

    use super::*;
    use crate::telemetry::{LogFormat, LogOptions, subscriber};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_the_log_says_of_which_application_it_is_with_no_key_twice() {
        let sink = Sink::default();
        let writer = sink.clone();
        let options = LogOptions { format: LogFormat::Json, filter: Some("info".into()), ..LogOptions::default() };
        tracing::subscriber::with_default(subscriber(&options, move || writer.clone()).unwrap(), || {
            span_of_logs(&OwnerKey::new("team-a", "shop")).in_scope(|| tracing::info!("planned"));
        });
        let line = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(line.contains(r#""span":{"application":"team-a/shop","name":"application"}"#), "{line}");
    }
}
