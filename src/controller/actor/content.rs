//! From a commit to content: read the tree, render it, know whether it changed.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{
    Actor,
    known::{Content, ReadFrom, RenderedFrom},
};
use crate::{
    api::{CommitRecord, Pin, VerifyMode},
    controller::{
        decide::{ContentId, HeadView},
        decryption::decryption,
        poller::{Asked, Found, HeadEvent},
        scopes::ClusterScopes,
        settings::{asked_type, destination, touches},
        signatures::{Signed, Verify},
    },
    manifest::{Digest, Problem},
    render::{
        Decryption, DirectoryOptions, KnownFiles, Programs, Render, RenderFailure, RenderType, ScopeLookup, detect,
    },
    source::{Commit, CommitId, SignedObject, SourceError, TreeLimits},
    telemetry::Step,
};

/// How many characters of a subject and of a name are kept, as the schema says.
const TEXT_KEPT: usize = 200;
/// How many characters of a signer are kept, as the schema says.
const SIGNER_KEPT: usize = 1024;
/// How many digits of a commit people read.
const SHORT_ID: usize = 7;
/// The first pause before a commit that could not be read is looked at again;
/// it doubles up to a bit over five minutes.
const FIRST_RENDER_RETRY: SignedDuration = SignedDuration::from_secs(5);
/// How often what a render reads beside Git is looked at, where the Application
/// does not say.
const OUTSIDE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// How often at most.
const SHORTEST_OUTSIDE_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// How long a pinned commit is looked for.
const PIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How many problems of a render are named in a message.
const PROBLEMS_NAMED: usize = 5;

/// What came of looking at a commit.
pub(super) enum Looked {
    /// The tree and the settings are those of the last render.
    Same,
    Rendered(RenderedFrom, Box<Render>),
    Unreadable(SourceError),
    /// What the render needs to know of the cluster could not be found out.
    Undiscovered {
        reason: &'static str,
        message: String,
    },
    /// What is wrong with the files, and whether it is a kind that is not
    /// served, or perhaps a key, which may change without a commit.
    Failed(RenderedFrom, Vec<Problem>, bool),
}

impl Actor {
    /// What the Application asks of which repository.
    pub(super) fn asked(&self) -> Asked {
        let source = &self.known.application.spec.source;
        Asked {
            url: source.repo_url.clone(),
            secret: source.secret_ref.as_ref().map(|secret| secret.name.clone()),
            revision: source.revision.clone(),
            verify: source
                .verify
                .as_ref()
                .map(|verify| Verify { object: signed_object(verify.mode), secret: verify.secret_ref.name.clone() }),
            submodules: source
                .submodules
                .as_ref()
                .map(|submodules| [&source.path].into_iter().chain(&submodules.paths).cloned().collect()),
        }
    }

    /// Takes in news of the head.
    pub(super) async fn take_head(&mut self, event: HeadEvent) {
        if event.asked != self.asked() {
            return;
        }
        self.known.of_many = event.of_many;
        match event.found {
            Ok(found) => {
                self.shared.metrics.fetched("succeeded");
                self.shared.metrics.took(Step::Fetch, found.took);
                info!(commit = %found.commit.id, took = ?found.took, "the head is known");
                if let Some(from) = &found.forced_from {
                    let message = format!(
                        "{} was force-pushed from {} to {}, which is not a descendant",
                        branch_words(found.reference.as_deref()),
                        short_id(from),
                        short_id(&found.commit.id)
                    );
                    self.event("ForcePushed", &message, true);
                }
                self.known.fetch_error = None;
                self.known.took.fetched(found.commit.id.to_string(), found.took);
                self.known.trace.fetched(found.took);
                self.known.fetched_at = Some(Instant::now());
                self.known.reference.clone_from(&found.reference);
                self.known.found = Some(found);
                self.render_head().await;
            }
            Err(failure) if failure.forbids_head() => {
                self.shared.metrics.fetched("failed");
                self.shared.handover.cannot_read(&self.known.owner);
                self.forget_head();
                self.known.head_commit = failure.commit.map(|commit| commit_record(&commit, None));
                self.break_head(&failure.reason, failure.message);
            }
            Err(failure) => {
                self.shared.metrics.fetched("failed");
                warn!(reason = failure.reason, message = failure.message, "the repository cannot be read");
                self.event(&failure.reason, &failure.message, true);
                self.shared.handover.cannot_read(&self.known.owner);
                if self.known.content.is_some() {
                    // What was known stays known; it only may be old.
                    self.known.fetch_error = Some(failure.message);
                } else {
                    self.known.head = HeadView::Broken { reason: failure.reason, message: failure.message };
                }
            }
        }
    }

    /// Forgets what was found in the repository, which may not be deployed any
    /// more, or not before its signature was looked at. What runs stays.
    pub(super) fn forget_head(&mut self) {
        let content = self.known.content.take();
        self.keep_what_runs(content);
        self.known.rendered_from = None;
        self.known.outside_due = None;
        self.known.found = None;
        self.known.pinned = None;
        self.known.fetch_error = None;
        self.known.render_retry_at = None;
        self.known.head = HeadView::Unknown;
    }

    /// Whether something that was found was verified as the Application wants
    /// it now.
    pub(super) fn is_verified(&self, found: &Found) -> bool {
        found.signed.as_ref().map(|signed| &signed.verify) == self.asked().verify.as_ref()
    }

    /// Renders the head, or what a person asked for in its place, if it
    /// changed, and lets the other applications know what it has.
    pub(super) async fn render_head(&mut self) {
        self.render_found(false).await;
        self.note_wishes();
    }

    /// Looks at what the head reads beside its repository: values of the
    /// cluster, charts of which there may be newer versions, and bases that may
    /// have moved. While that cannot be read,
    /// what was rendered before stays.
    pub(super) async fn look_outside(&mut self) {
        self.known.outside_due = None;
        self.render_found(true).await;
        self.note_wishes();
    }

    /// When what is read beside Git is looked at next, with some jitter.
    fn note_outside(&mut self) {
        let reads = self.known.rendered_from.as_ref().and_then(|from| from.outside);
        let render = &self.known.application.spec.render;
        let interval = match reads {
            Some(RenderType::Kustomize) => render.kustomize.as_ref().and_then(|kustomize| kustomize.interval),
            _ => render.helm.as_ref().and_then(|helm| helm.interval),
        };
        let interval = interval.map_or(OUTSIDE_INTERVAL, crate::api::Duration::signed).max(SHORTEST_OUTSIDE_INTERVAL);
        // A server that is silent costs time each time it is asked.
        let patience = match self.known.outside_failures {
            0 => SignedDuration::ZERO,
            failures => FIRST_RENDER_RETRY.saturating_mul(1 << (failures - 1).min(6)),
        };
        let pause = interval.max(patience).mul_f64(rand::random_range(0.9..1.1));
        self.known.outside_due = reads.map(|_| Timestamp::now() + pause);
    }

    /// What is read beside Git cannot be read now: that is told once.
    fn outside_is_unknown(&mut self, reason: &str, message: String) {
        if self.known.outside_error.as_ref() != Some(&message) {
            warn!(reason, message, "what was rendered before stays");
            self.event(reason, &format!("{message}; what was rendered before stays"), true);
        }
        self.known.outside_error = Some(message);
        self.known.outside_failures += 1;
        self.note_outside();
    }

    /// Renders what is found, if something of what it is rendered from changed;
    /// what is not in Git is read again where there is a reason to, or anew.
    async fn render_found(&mut self, outside: bool) {
        let Some(found) = self.known.found.clone() else { return };
        if self.known.pin.as_ref().is_some_and(|pin| pin.head_then != found.commit.id.as_str()) {
            info!("the head moved on: the revision that was asked for ends");
            self.known.pin = None;
            self.known.pinned = None;
        }
        let wanted = match &self.known.pin {
            None => found,
            Some(pin) => match self.pinned(&pin.clone()).await {
                Ok(pinned) => pinned,
                Err(message) => {
                    self.known.head = HeadView::Broken { reason: "RevisionNotFound".into(), message };
                    self.retry_render();
                    return;
                }
            },
        };
        let commit = commit_record(&wanted.commit, wanted.signed.as_ref());
        self.known.head_commit = Some(commit.clone());
        let began = Instant::now();
        let last = self.known.rendered_from.clone().filter(|_| self.known.content.is_some());
        let keeps = outside && last.is_some();
        let looked = self.look_at(&wanted, last.filter(|_| !outside)).await;
        let same = |render: &Render| self.known.content.as_ref().is_some_and(|known| known.id.bundle == render.bundle);
        let comes_to_the_same = keeps && matches!(&looked, Looked::Rendered(_, render) if same(render));
        self.trace_render(commit.id.as_str(), began.elapsed(), &looked, comes_to_the_same);
        match looked {
            Looked::Same => match &mut self.known.content {
                Some(content) => content.id.commit = commit,
                None => return,
            },
            Looked::Rendered(from, render) => {
                self.shared.metrics.took(Step::Render, began.elapsed());
                self.known.took.rendered(began.elapsed());
                info!(commit = commit.short, objects = render.manifests.len(), took = ?began.elapsed(), "rendered");
                self.tell_of_unsteady(&render);
                let Render { manifests, bundle, inputs, known, renderer, .. } = *render;
                let before = self.known.content.take();
                self.keep_what_runs(before);
                self.known.files = known;
                let manifests = manifests.into();
                self.known.content = Some(Content { id: ContentId { bundle, inputs, commit }, manifests, renderer });
                self.known.rendered_from = Some(from);
                // Whatever the reason was, what is not in Git was read just now.
                self.known.outside_error = None;
                self.known.outside_failures = 0;
                self.note_outside();
            }
            Looked::Unreadable(error) if keeps => {
                self.outside_is_unknown(error.reason(), error.to_string());
                return;
            }
            Looked::Undiscovered { reason, message } if keeps => {
                self.outside_is_unknown(reason, message);
                return;
            }
            Looked::Unreadable(error) => {
                self.break_head(error.reason(), error.to_string());
                self.retry_render();
                return;
            }
            Looked::Undiscovered { reason, message } => {
                self.break_head(reason, message);
                self.retry_render();
                return;
            }
            Looked::Failed(from, problems, may_change) => {
                self.break_head("RenderFailed", problem_words(&commit.short, &problems));
                self.known.rendered_from = Some(from);
                self.note_outside();
                if may_change {
                    self.retry_render();
                }
                return;
            }
        }
        self.known.render_retry_at = None;
        self.known.render_retries = 0;
        self.propose_head();
    }

    /// The content of the release in the cluster is held against what comes
    /// next; here it costs little, since both share what did not change.
    fn keep_what_runs(&mut self, before: Option<Content>) {
        let Some(current) = self.known.history.current() else { return };
        if let Some(before) = before.filter(|before| before.id.bundle == current.spec.bundle) {
            self.known.running_content = Some(before);
        }
    }

    /// Asks again what the head would change: after a render, an apply, or a
    /// change of the Application.
    pub(super) fn propose_head(&mut self) {
        let Some(content) = &self.known.content else { return };
        let proposal = self.proposal(content, &Default::default());
        self.tell_of_guards(&proposal.guards);
        self.known.head = HeadView::Rendered {
            content: Box::new(content.id.clone()),
            candidates: u32::try_from(proposal.candidates.len()).unwrap_or(u32::MAX),
            guards: proposal.guards,
        };
    }

    /// Renders a commit for a dry run, whatever the head is.
    pub(super) async fn preview(&self, found: &Found) -> Result<Content, String> {
        let commit = commit_record(&found.commit, found.signed.as_ref());
        match self.look_at(found, None).await {
            Looked::Rendered(_, render) => {
                let Render { manifests, bundle, inputs, renderer, .. } = *render;
                let manifests = manifests.into();
                Ok(Content { id: ContentId { bundle, inputs, commit }, manifests, renderer })
            }
            Looked::Unreadable(error) => Err(error.to_string()),
            Looked::Undiscovered { message, .. } => Err(message),
            Looked::Failed(_, problems, _) => Err(problem_words(&commit.short, &problems)),
            Looked::Same => Err("nothing was rendered".to_owned()),
        }
    }

    /// Looks at the same commit again after a while.
    fn retry_render(&mut self) {
        let pause = FIRST_RENDER_RETRY.saturating_mul(1 << self.known.render_retries.min(6));
        self.known.render_retries += 1;
        self.known.render_retry_at = Some(Timestamp::now() + pause);
    }

    fn break_head(&mut self, reason: &str, message: String) {
        // What is found again at a later try is not told again.
        let told = matches!(&self.known.head, HeadView::Broken { message: known, .. } if *known == message);
        if !told {
            warn!(reason, message, "the commit cannot be deployed");
            self.event(reason, &message, true);
        }
        self.known.content = None;
        self.known.rendered_from = None;
        self.known.head = HeadView::Broken { reason: reason.to_owned(), message };
    }

    /// The commit that a person asked for: known since then, or found again
    /// after a restart. A signature of a tag is found by the tag alone.
    async fn pinned(&mut self, pin: &Pin) -> Result<Found, String> {
        let commit = pin.commit.as_str();
        if let Some(found) = self.known.pinned.as_ref().filter(|found| found.commit.id.as_str() == commit) {
            return Ok(found.clone());
        }
        let by_tag = self.asked().verify.is_some_and(|verify| verify.object != SignedObject::Commit);
        let revision = if by_tag { pin.revision.as_str() } else { commit };
        let finding = self.shared.poller.find(&self.known.owner, Some(revision));
        let found = tokio::time::timeout(PIN_TIMEOUT, finding).await;
        let found = found.map_err(|_| format!("commit {commit} was not found in time"))?;
        let found = found.map_err(|failure| failure.message)?;
        if found.commit.id.as_str() != commit {
            return Err(format!(
                "{revision} was commit {commit} when it was asked for, and is {} now",
                found.commit.id
            ));
        }
        self.known.pinned = Some(found.clone());
        Ok(found)
    }

    async fn look_at(&self, found: &Found, last: Option<RenderedFrom>) -> Looked {
        let spec = &self.known.application.spec;
        let kind = match asked_type(&spec.render) {
            Some(kind) => kind,
            None => match tokio::task::block_in_place(|| detected(found, &spec.source.path)) {
                Ok(kind) => kind,
                Err(error) => return Looked::Unreadable(error),
            },
        };
        match kind {
            RenderType::Directory => self.look_at_directory(found, last).await,
            kind => self.look_at_program(found, kind, last).await,
        }
    }

    /// The keys of encrypted files, read as the application's ServiceAccount.
    pub(super) async fn decryption(&self) -> Result<Decryption, String> {
        let spec = self.known.application.spec.render.decryption.as_ref();
        decryption(&self.shared.cluster, &self.identity(), self.known.owner.namespace(), spec).await
    }

    async fn look_at_directory(&self, found: &Found, last: Option<RenderedFrom>) -> Looked {
        let undiscovered = |message: String| Looked::Undiscovered { reason: "DiscoveryFailed", message };
        let application = &self.known.application;
        let path = application.spec.source.path.clone();
        let namespace = destination(application);
        let spec = application.spec.render.clone();
        let decryption = match self.decryption().await {
            Ok(decryption) => decryption,
            Err(message) => return Looked::Undiscovered { reason: "DecryptionUnavailable", message },
        };
        // Not what the Application wants: what was found before it wanted that lacks it.
        let submodules = found.submodules.identity();
        let mut settings = vec![path.clone(), namespace.clone(), format!("{spec:?}"), submodules];
        settings.extend(decryption.fingerprint().map(|keys| keys.to_string()));
        let settings = Digest::of_parts(&settings).to_string();
        // Another key may come into the Secret without a commit.
        let may_change = decryption.fingerprint().is_some();
        let options = DirectoryOptions {
            path,
            touches: touches(&spec),
            include: spec.include,
            exclude: spec.exclude,
            default_namespace: Some(namespace),
            decryption,
            ..DirectoryOptions::default()
        };
        let discovery = self.shared.cluster.discovery();
        let found = found.clone();
        for attempt in 0..2 {
            let scopes = match discovery.scopes().await {
                Ok(scopes) => ClusterScopes::new(scopes),
                Err(error) => return undiscovered(format!("the kinds of the cluster are not known: {error}")),
            };
            // The semaphore is never closed.
            let turns = if spec.patches.is_empty() { &self.shared.renders } else { &self.shared.program_runs };
            let turn = turns.acquire().await.ok();
            let looked = tokio::task::block_in_place(|| {
                let before =
                    Before { rendered: last.as_ref(), files: &self.known.files, programs: &self.shared.programs };
                look(&found, &options, settings.clone(), &before, &scopes)
            });
            drop(turn);
            let unknown = scopes.unknown();
            match (looked, unknown.doubt) {
                (Looked::Failed(..) | Looked::Rendered(..), Some(doubt)) => return undiscovered(doubt),
                // A kind may have been made since discovery was asked last.
                (Looked::Failed(..), None) if unknown.kinds && attempt == 0 => discovery.invalidate(),
                (Looked::Failed(from, problems, _), None) => {
                    return Looked::Failed(from, problems, unknown.kinds || may_change);
                }
                (looked, _) => return looked,
            }
        }
        undiscovered("the kinds of the cluster change".to_owned())
    }

    /// Tells of fields that a chart takes from chance or from the clock: what
    /// is applied stays until the chart or its values change.
    fn tell_of_unsteady(&self, render: &Render) {
        let named: Vec<String> = render.unsteady.iter().take(PROBLEMS_NAMED).map(ToString::to_string).collect();
        if !named.is_empty() {
            let more = render.unsteady.len() - named.len();
            let more = if more > 0 { format!("; and {more} more objects") } else { String::new() };
            let message = format!("{}{more}", named.join("; "));
            self.event("NotDeterministic", &message, true);
        }
    }
}

/// What is known of renders before, and at hand for this one.
struct Before<'a> {
    rendered: Option<&'a RenderedFrom>,
    files: &'a KnownFiles,
    /// What carries out patches.
    programs: &'a Programs,
}

fn look(
    found: &Found,
    options: &DirectoryOptions,
    settings: String,
    before: &Before<'_>,
    scopes: &dyn ScopeLookup,
) -> Looked {
    let id = match found.mirror.tree_id(&found.commit.id, &options.path, &found.submodules) {
        Ok(tree) => tree,
        Err(error) => return Looked::Unreadable(error),
    };
    let from = RenderedFrom { read: ReadFrom::Tree(id), settings, outside: None };
    if before.rendered == Some(&from) {
        return Looked::Same;
    }
    let tree = match found.mirror.tree_with(&found.commit.id, &options.path, &TreeLimits::default(), &found.submodules)
    {
        Ok(tree) => tree,
        Err(error) => return Looked::Unreadable(error),
    };
    let options = DirectoryOptions { path: tree.path().to_owned(), ..options.clone() };
    match crate::render::directory_after(&tree, &options, scopes, before.files, before.programs) {
        Ok(render) => Looked::Rendered(from, Box::new(render)),
        Err(RenderFailure { problems }) => Looked::Failed(from, problems, false),
    }
}

/// How the files of a path are meant. A path that does not exist is told by
/// whoever reads it.
fn detected(found: &Found, path: &str) -> Result<RenderType, SourceError> {
    let files = found.mirror.files(&found.commit.id, &TreeLimits::default(), &found.submodules)?;
    Ok(detect(&files, path.trim_start_matches("./").trim_end_matches('/')).unwrap_or(RenderType::Directory))
}

/// A commit as people know it.
fn short_id(id: &CommitId) -> String {
    id.as_str().chars().take(SHORT_ID).collect()
}

/// `refs/heads/main` as people know it: `main`.
fn branch_words(reference: Option<&str>) -> &str {
    let reference = reference.unwrap_or("the revision");
    reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix("refs/tags/")).unwrap_or(reference)
}

fn signed_object(mode: VerifyMode) -> SignedObject {
    match mode {
        VerifyMode::Commit => SignedObject::Commit,
        VerifyMode::Tag => SignedObject::Tag,
        VerifyMode::TagAndCommit => SignedObject::TagAndCommit,
    }
}

fn commit_record(commit: &Commit, signed: Option<&Signed>) -> CommitRecord {
    let (author, email) = match commit.author.rsplit_once(" <") {
        Some((name, email)) => (name, email.trim_end_matches('>')),
        None => (commit.author.as_str(), ""),
    };
    CommitRecord {
        id: commit.id.to_string(),
        short: short_id(&commit.id),
        subject: cut(&commit.subject),
        author: cut(author),
        email: cut(email),
        committed_at: Some(commit.time),
        signer: signed.map(|signed| signed.signer.chars().take(SIGNER_KEPT).collect()).unwrap_or_default(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_KEPT).collect()
}

pub(super) fn problem_words(commit: &str, problems: &[Problem]) -> String {
    let named: Vec<String> = problems.iter().take(PROBLEMS_NAMED).map(ToString::to_string).collect();
    let more = problems.len().saturating_sub(PROBLEMS_NAMED);
    let more = if more > 0 { format!("; and {more} more (bowline validate shows all)") } else { String::new() };
    format!("commit {commit} cannot be rendered: {}{more}", named.join("; "))
}
