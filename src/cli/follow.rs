//! Following a request: its progress, its end, and what to say when nobody
//! answers.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::{Api, ResourceExt as _, runtime::watcher};
use tokio::sync::mpsc;

use super::{
    CommandError, Output,
    progress::{Show, Told, milestone, request_ended, running, show},
    request::{Request, create_sync, reference},
    session::{Kind, Session},
    words,
};
use crate::api::{Application, ApplicationStatus, Phase, PlanView, RequestPhase, RequestStatus, SyncRequestSpec};

/// After how long without an answer it is said that there is none.
const SILENCE: Duration = Duration::from_secs(5);
/// How long an answer to a dry run may take.
const DRY_RUN: Duration = Duration::from_secs(120);
/// How often an object is read that may not be watched.
const POLL: Duration = Duration::from_secs(1);
/// How often a line of progress is written to a log.
const PACE: Duration = Duration::from_secs(2);
/// How long the application's status may lag behind the request's.
const SETTLE: Duration = Duration::from_secs(3);

/// Whether and how long to follow.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Follow {
    /// Follow until it ends; the default on a terminal.
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Leave at once.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to follow at most; as long as a release may take, and a minute,
    /// if it is not given.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<crate::api::Duration>,
}

impl Follow {
    /// Whether to follow.
    pub fn is_wanted(&self, output: &Output) -> bool {
        self.wait || (!self.no_wait && output.terminal().err)
    }

    fn limit(&self, application: &Application) -> Duration {
        let otherwise = application.spec.sync.timeout.get().saturating_add(Duration::from_secs(60));
        self.timeout.map_or(otherwise, crate::api::Duration::get)
    }
}

/// Follows a request to its end, or says where to look.
pub async fn follow<R: Request>(
    session: &Session,
    application: &Application,
    request: &R,
    by: &str,
    args: &Follow,
    output: &mut Output,
) -> Result<u8, CommandError> {
    if !args.is_wanted(output) {
        output.write(&format!("{} created\n", reference(request)))?;
        return Ok(0);
    }
    let name = application.name_any();
    let look = format!("to look again: {} status {name}", session.program);
    let limit = args.limit(application);
    let mut requests = changes::<R>(session, request.name_any());
    let mut applications = changes::<Application>(session, name.clone());
    let mut seen = Seen {
        request: RequestStatus::default(),
        application: None,
        told: Told::default(),
        by: by.to_owned(),
        progress: String::new(),
        said: None,
    };
    let started = Instant::now();
    let mut silence = Silence::new();
    loop {
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                return Err(CommandError::interrupted(format!("what was asked for goes on without you; {look}")));
            }
            changed = applications.recv() => match changed {
                Some(Ok(application)) => seen.application = application.and_then(|application| application.status),
                // Without the right to read it the request alone is followed.
                Some(Err(_)) | None => { applications = never(); }
            },
            changed = requests.recv() => match changed {
                Some(Ok(Some(request))) => seen.request = request.became().cloned().unwrap_or_default(),
                Some(Ok(None)) => return Err(CommandError::failed("the request was deleted").hint(look)),
                Some(Err(error)) => return Err(error.hint(look)),
                None => return Err(CommandError::failed("the request can no longer be read").hint(look)),
            },
            () = tokio::time::sleep(silence.left(&seen.request)), if running(seen.application.as_ref()).is_none() => silence.tell(output)?,
            () = tokio::time::sleep(limit.saturating_sub(started.elapsed())) => {
                let waited = words::duration(limit);
                return Err(CommandError::failed(format!("it has not ended within {waited}; it goes on")).hint(look));
            }
        }
        seen.show(started, output)?;
        if request_ended(&seen.request) {
            seen.settle(&mut applications).await;
            seen.show(started, output)?;
            return seen.end(&name, session.program, started, output);
        }
    }
}

/// What has been heard so far.
struct Seen {
    request: RequestStatus,
    application: Option<ApplicationStatus>,
    told: Told,
    by: String,
    progress: String,
    said: Option<Instant>,
}

impl Seen {
    fn show(&mut self, started: Instant, output: &mut Output) -> Result<(), CommandError> {
        let elapsed = elapsed(started);
        for show in show(&mut self.told, &self.request, self.application.as_ref(), &self.by, &elapsed) {
            match show {
                Show::Line(line) => output.say(&line)?,
                Show::Progress(text) if output.terminal().err => output.progress(&text)?,
                // A log keeps what is going on, once each and not too often.
                Show::Progress(text) if text != self.progress && self.said.is_none_or(|said| said.elapsed() > PACE) => {
                    output.say(&text)?;
                    self.progress = text;
                    self.said = Some(Instant::now());
                }
                Show::Progress(_) => {}
            }
        }
        Ok(())
    }

    /// The application's status is written after the request's: waits for it a
    /// moment, so that the last words are of now.
    async fn settle(&mut self, applications: &mut mpsc::Receiver<Result<Option<Application>, CommandError>>) {
        let Some(number) = self.request.release else { return };
        let settled = |status: &ApplicationStatus| {
            status.release.as_ref().is_some_and(|release| {
                release.number > number || (release.number == number && release.phase.is_final())
            })
        };
        let deadline = tokio::time::Instant::now() + SETTLE;
        while self.application.as_ref().is_some_and(|status| !settled(status)) {
            match tokio::time::timeout_at(deadline, applications.recv()).await {
                Ok(Some(Ok(application))) => self.application = application.and_then(|application| application.status),
                _ => return,
            }
        }
    }

    fn end(&self, name: &str, program: &str, started: Instant, output: &mut Output) -> Result<u8, CommandError> {
        let message = words::line(&self.request.message);
        match self.request.phase {
            Some(RequestPhase::Succeeded) => {
                let healthy =
                    self.application.as_ref().and_then(|status| status.release.as_ref()).is_some_and(|release| {
                        Some(release.number) == self.request.release && release.phase == Phase::Healthy
                    });
                if healthy && self.told != Told::default() {
                    output.say(&milestone("healthy", &elapsed(started)))?;
                } else {
                    output.say(&message)?;
                }
                if let Some(hold) = self.application.as_ref().and_then(|status| status.hold.as_ref()) {
                    let digest = hold.bundle.short(4);
                    output.say(&format!(
                        "{name} is held: content {digest}… stays out until Git renders something different."
                    ))?;
                }
                Ok(0)
            }
            Some(RequestPhase::Refused) => Err(CommandError::failed(format!("refused: {message}"))
                .hint(format!("`{program} status {name}` says more"))),
            _ => Err(CommandError::failed(message).hint(format!("`{program} status {name}` says more"))),
        }
    }
}

fn elapsed(started: Instant) -> String {
    let elapsed = started.elapsed();
    if elapsed < Duration::from_secs(10) {
        format!("{:.1}s", elapsed.as_secs_f64())
    } else {
        words::duration(Duration::from_secs(elapsed.as_secs()))
    }
}

/// Says once that nobody answers.
struct Silence {
    since: Instant,
    told: bool,
}

impl Silence {
    fn new() -> Self {
        Self { since: Instant::now(), told: false }
    }

    fn left(&self, status: &RequestStatus) -> Duration {
        // Far enough for never.
        let never = Duration::from_secs(86_400);
        if self.told || status.phase.is_some() { never } else { SILENCE.saturating_sub(self.since.elapsed()) }
    }

    fn tell(&mut self, output: &mut Output) -> Result<(), CommandError> {
        self.told = true;
        output.say("no controller has answered yet; is it running?")
    }
}

/// The plan that the controller makes of what a sync asks for, of an
/// application that exists. The controller knows what is live, so the person
/// needs no right to read it.
pub async fn plan_of_sync(
    session: &Session,
    spec: SyncRequestSpec,
    output: &mut Output,
) -> Result<PlanView, CommandError> {
    // A plan accepts nothing.
    let request = create_sync(session, SyncRequestSpec { dry_run: true, accept: None, ..spec }).await?;
    planned(session, &request, output).await
}

/// Waits for the plan of a dry run.
pub async fn planned<R: Request>(
    session: &Session,
    request: &R,
    output: &mut Output,
) -> Result<PlanView, CommandError> {
    let mut requests = changes::<R>(session, request.name_any());
    let started = Instant::now();
    let mut silence = Silence::new();
    let mut status = RequestStatus::default();
    loop {
        tokio::select! {
            changed = requests.recv() => match changed {
                Some(Ok(Some(request))) => status = request.became().cloned().unwrap_or_default(),
                Some(Ok(None)) => return Err(CommandError::failed("the request for a plan was deleted")),
                Some(Err(error)) => return Err(error),
                None => return Err(CommandError::failed("the request for a plan can no longer be read")),
            },
            () = tokio::time::sleep(silence.left(&status)) => silence.tell(output)?,
            () = tokio::time::sleep(DRY_RUN.saturating_sub(started.elapsed())) => {
                let seconds = DRY_RUN.as_secs();
                return Err(CommandError::failed(format!("no controller has answered within {seconds} seconds"))
                    .hint("is it running? `kubectl get pods -A` shows it; its logs say what it does")
                    .hint(format!("the request is kept: kubectl get {} -o yaml", reference(request))));
            }
        }
        if let Some(plan) = status.plan.take().filter(|_| request_ended(&status)) {
            return Ok(plan);
        }
        if request_ended(&status) {
            let message = words::line(&status.message);
            return Err(CommandError::failed(format!("no plan was made: {message}")));
        }
    }
}

/// The states of an object as they come: by a watch, or by reading it again
/// and again where it may be read but not watched. An error is the last word.
fn changes<K: Kind>(session: &Session, name: String) -> mpsc::Receiver<Result<Option<K>, CommandError>> {
    let (tell, heard) = mpsc::channel(16);
    let (session, api) = (session.clone(), session.api::<K>());
    tokio::spawn(async move {
        if watch(&api, &name, &tell).await.is_err() {
            poll(&session, &api, &name, &tell).await;
        }
    });
    heard
}

/// The watch is not allowed.
struct NotAllowed;

async fn watch<K: Kind>(
    api: &Api<K>,
    name: &str,
    tell: &mpsc::Sender<Result<Option<K>, CommandError>>,
) -> Result<(), NotAllowed> {
    let mut stream = std::pin::pin!(watcher::watch_object(api.clone(), name));
    while let Some(event) = stream.next().await {
        match event {
            Ok(object) => {
                if tell.send(Ok(object)).await.is_err() {
                    return Ok(());
                }
            }
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if matches!(status.code, 401 | 403) => {
                return Err(NotAllowed);
            }
            // The watch begins again by itself.
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    Ok(())
}

async fn poll<K: Kind>(
    session: &Session,
    api: &Api<K>,
    name: &str,
    tell: &mpsc::Sender<Result<Option<K>, CommandError>>,
) {
    loop {
        let read = session.tried::<K, _, _>("get", Some(&session.namespace), || api.get_opt(name)).await;
        let failed = read.is_err();
        if tell.send(read).await.is_err() || failed {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A receiver that never hears anything.
fn never<K: Send + 'static>() -> mpsc::Receiver<Result<Option<K>, CommandError>> {
    let (tell, heard) = mpsc::channel(1);
    // The sender lives on, or the receiver would hear that it is gone.
    tokio::spawn(async move { tell.closed().await });
    heard
}
