//! What an actor knows of its application.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::{
    again::Again, analyse::Analysed, hooks::RunningHook, retain::Damage, tell::Tellings, took::Took, trace::Trace,
};
use crate::{
    api::{Application, ApplicationStatus, CommitRecord, Pin, RollbackRequest, Suspension, SyncRequest},
    cluster::{OwnerKey, index::LiveSummary, store::StoredInventory},
    controller::{
        contest::Contest,
        decide::{
            Attempt, BrakeView, ContentId, Dependencies, HeadView, Live, Request, Resolution, Settings, View, Watched,
        },
        poller::{Found, HeadEvent},
        settings::Occasion,
    },
    health::OwnChecks,
    history::{History, bundles::KnownChunks},
    manifest::{Fingerprint, Manifest, ObjectId},
    plan::{Observations, Plan, Proposal, schedule::HookRun},
    render::{KnownFiles, Probes, RenderType},
    source::TreeId,
};

/// Content with its manifests.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) id: ContentId,
    pub(super) manifests: Arc<[Arc<Manifest>]>,
    /// The program that rendered it; empty where none was needed.
    pub(super) renderer: String,
}

/// What was rendered last, and from what, so that a commit elsewhere in the
/// repository renders nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RenderedFrom {
    pub(super) read: ReadFrom,
    pub(super) settings: String,
    /// Whether something was read that changes without a commit.
    pub(super) outside: Option<RenderType>,
}

/// What a render read of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadFrom {
    /// The files below the path.
    Tree(TreeId),
    /// What a chart or kustomization needs, wherever it is.
    Probes(Probes),
}

/// The plan that is being applied.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) plan: Plan,
    pub(super) observations: Observations,
    pub(super) next_stage: u32,
    pub(super) applied: u32,
    pub(super) to_apply: u32,
}

/// What was read and tried for the plan that a person approved, so that the
/// release that carries it out need not ask once more. Its writes carry what
/// was read as their preconditions.
#[derive(Debug)]
pub(super) struct Foreseen {
    pub(super) occasion: Occasion,
    candidates: Vec<ObjectId>,
    pub(super) observations: Observations,
}

impl Foreseen {
    pub(super) fn new(proposal: &Proposal, occasion: Occasion, observations: Observations) -> Self {
        let candidates = proposal.candidates.iter().map(|candidate| candidate.id.clone()).collect();
        Self { occasion, candidates, observations }
    }

    /// Whether the same objects would be looked at.
    pub(super) fn is_of(&self, proposal: &Proposal) -> bool {
        self.candidates.iter().eq(proposal.candidates.iter().map(|candidate| &candidate.id))
    }
}

/// What is said of an object that drifted and is not put back.
#[derive(Debug, Clone)]
pub(super) struct Explained {
    /// The state of the object that it is said of.
    pub(super) state: Option<Fingerprint>,
    /// Which fields differ, and who set them; empty while that is not known.
    pub(super) words: String,
}

/// What an actor knows.
pub(super) struct Known {
    pub(super) owner: OwnerKey,
    pub(super) tell: mpsc::Sender<HeadEvent>,
    pub(super) loaded: bool,
    pub(super) needs_render: bool,
    // What people and Git want.
    pub(super) application: Arc<Application>,
    pub(super) settings: Settings,
    /// How the health of its objects is judged.
    pub(super) checks: OwnChecks,
    pub(super) suspensions: Vec<Arc<Suspension>>,
    pub(super) requests: Vec<Request>,
    pub(super) sync_requests: BTreeMap<String, Arc<SyncRequest>>,
    pub(super) rollback_requests: BTreeMap<String, Arc<RollbackRequest>>,
    pub(super) answered: BTreeSet<String>,
    pub(super) told: BTreeSet<String>,
    pub(super) resolutions: BTreeMap<String, Resolution>,
    /// Content of revisions that dry runs ask for.
    pub(super) previews: BTreeMap<String, Content>,
    // The head.
    pub(super) found: Option<Found>,
    /// Whether many others share the repository.
    pub(super) of_many: bool,
    pub(super) reference: Option<String>,
    pub(super) head_commit: Option<CommitRecord>,
    pub(super) head: HeadView,
    pub(super) content: Option<Content>,
    pub(super) rendered_from: Option<RenderedFrom>,
    /// What the next render need not read again.
    pub(super) files: KnownFiles,
    pub(super) fetch_error: Option<String>,
    pub(super) pin: Option<Pin>,
    pub(super) pinned: Option<Found>,
    // The cluster.
    pub(super) history: History,
    pub(super) stored: StoredInventory,
    /// Chunks that the bundle of the last release begun here is stored in.
    pub(super) chunks: KnownChunks,
    pub(super) live: Live,
    pub(super) summary: LiveSummary,
    // The work.
    pub(super) attempt: Option<Attempt>,
    pub(super) tries: u32,
    pub(super) replans: u32,
    /// Whether the last try failed for want of a server that serves.
    pub(super) server_trouble: bool,
    pub(super) deletion_tries: u32,
    /// The hooks of the release that is running.
    pub(super) hooks: BTreeMap<HookRun, RunningHook>,
    pub(super) unusable_target: Option<u64>,
    pub(super) step_error: Option<String>,
    pub(super) render_retry_at: Option<Timestamp>,
    pub(super) render_retries: u32,
    /// When what the head reads beside Git is looked at again.
    pub(super) outside_due: Option<Timestamp>,
    /// What of it could not be read when it was looked at last.
    pub(super) outside_error: Option<String>,
    /// How often in a row it could not be looked at.
    pub(super) outside_failures: u32,
    /// The request that pinned a revision, until it is carried out.
    pub(super) pinned_by: Option<String>,
    /// The resourceVersion at which the finalizer was changed last.
    pub(super) finalizer_at: Option<String>,
    pub(super) underway: Option<Underway>,
    /// What is known for the release that is just about to begin.
    pub(super) foreseen: Option<Foreseen>,
    /// How much of the plan that was carried out last was written, of how much.
    pub(super) progress: Option<(u32, u32)>,
    pub(super) running_content: Option<Content>,
    pub(super) brake: BrakeView,
    pub(super) repair_not_before: Option<Timestamp>,
    pub(super) repair_failures: u32,
    pub(super) contests: BTreeMap<ObjectId, Contest>,
    pub(super) explained: BTreeMap<ObjectId, Explained>,
    /// Objects that differ though their fingerprint does not, with words on it.
    pub(super) found_by_deep_check: BTreeMap<ObjectId, String>,
    /// The object that was compared last.
    pub(super) compared_last: Option<ObjectId>,
    pub(super) degraded_since: Option<Timestamp>,
    /// What the release did that may be taken back if it degrades.
    pub(super) watched: Option<Watched>,
    pub(super) waiting_noted: bool,
    /// Whether an event told that the running release began.
    pub(super) beginning_told: bool,
    pub(super) published: Option<ApplicationStatus>,
    pub(super) sweep_due: Option<Timestamp>,
    /// When the next release is too old to be kept.
    pub(super) forget_due: Option<Timestamp>,
    /// Whether nobody has looked at what is kept of the releases' content yet.
    pub(super) content_unseen: bool,
    /// Releases whose content is not whole.
    pub(super) damage: Damage,
    /// How many bytes of content are kept.
    pub(super) kept_bytes: u64,
    /// When the commit was fetched that is on its way to the cluster.
    pub(super) fetched_at: Option<Instant>,
    /// How long the parts of the running release took.
    pub(super) took: Took,
    /// The spans of what is on its way to the cluster.
    pub(super) trace: Trace,
    pub(super) watched_at: Option<Timestamp>,
    pub(super) approved_release: Option<u64>,
    /// Whether another application let go of an object for this one since it
    /// began a release last.
    pub(super) offered: bool,
    /// Until when the running release waits for applications that have not
    /// looked at its commit yet.
    pub(super) others_until: Option<(u64, Instant)>,
    /// The applications that new content waits for.
    pub(super) dependencies: Dependencies,
    /// Another try of content that was refused.
    pub(super) again: Again,
    /// What a query said of the release that is watched.
    pub(super) analysed: Analysed,
    /// What people are told.
    pub(super) tellings: Tellings,
}

impl Known {
    pub(super) fn new(owner: OwnerKey, tell: mpsc::Sender<HeadEvent>) -> Self {
        let source = crate::api::Source {
            repo_url: String::new(),
            revision: None,
            path: ".".into(),
            secret_ref: None,
            verify: None,
            submodules: None,
            interval: crate::api::Duration::from_secs(60),
        };
        let spec = crate::api::ApplicationSpec {
            source,
            render: Default::default(),
            destination: Default::default(),
            sync: Default::default(),
            rollback: Default::default(),
            notify: None,
            depends_on: Vec::new(),
            health: Default::default(),
            suspend: false,
            deletion_policy: crate::api::DeletionPolicy::Orphan,
        };
        let application = Application::new(owner.name(), spec);
        let settings = crate::controller::settings::settings(&application, false, SignedDuration::ZERO);
        let trace = Trace::of(&owner);
        Self {
            owner,
            tell,
            loaded: false,
            needs_render: false,
            application: Arc::new(application),
            settings,
            checks: OwnChecks::default(),
            suspensions: Vec::new(),
            requests: Vec::new(),
            sync_requests: BTreeMap::new(),
            rollback_requests: BTreeMap::new(),
            answered: BTreeSet::new(),
            told: BTreeSet::new(),
            resolutions: BTreeMap::new(),
            previews: BTreeMap::new(),
            found: None,
            of_many: false,
            reference: None,
            head_commit: None,
            head: HeadView::Unknown,
            content: None,
            rendered_from: None,
            files: KnownFiles::default(),
            fetch_error: None,
            pin: None,
            pinned: None,
            history: History::default(),
            stored: StoredInventory::default(),
            chunks: KnownChunks::default(),
            live: Live::default(),
            summary: LiveSummary::default(),
            attempt: None,
            tries: 0,
            replans: 0,
            server_trouble: false,
            deletion_tries: 0,
            hooks: BTreeMap::new(),
            unusable_target: None,
            step_error: None,
            render_retry_at: None,
            outside_due: None,
            outside_error: None,
            outside_failures: 0,
            render_retries: 0,
            pinned_by: None,
            finalizer_at: None,
            underway: None,
            foreseen: None,
            progress: None,
            running_content: None,
            brake: BrakeView::Off,
            repair_not_before: None,
            repair_failures: 0,
            contests: BTreeMap::new(),
            explained: BTreeMap::new(),
            found_by_deep_check: BTreeMap::new(),
            compared_last: None,
            degraded_since: None,
            watched: None,
            waiting_noted: false,
            beginning_told: true,
            published: None,
            sweep_due: None,
            forget_due: None,
            content_unseen: true,
            damage: Damage::default(),
            kept_bytes: 0,
            fetched_at: None,
            took: Took::default(),
            trace,
            watched_at: None,
            approved_release: None,
            offered: false,
            others_until: None,
            dependencies: Dependencies::Met,
            again: Again::default(),
            analysed: Analysed::default(),
            tellings: Tellings::default(),
        }
    }

    /// The running release, if it was made for another Application of the same
    /// name that is gone.
    pub(super) fn of_another(&self) -> Option<u64> {
        let running = self.history.running()?;
        let made_for = running.spec.application_uid.as_str();
        let other = !made_for.is_empty() && self.application.metadata.uid.as_deref() != Some(made_for);
        other.then_some(running.spec.number)
    }

    /// Whether the inventory was written for another Application of this name.
    pub(super) fn inherits(&self) -> bool {
        let uid = self.application.metadata.uid.as_deref();
        self.history.current().is_some_and(|last| {
            !last.spec.application_uid.is_empty() && uid != Some(last.spec.application_uid.as_str())
        })
    }

    /// Whether applying is stopped on purpose, and until when.
    pub(super) fn suspended(&self, now: Timestamp) -> (bool, Option<Timestamp>) {
        let standing: Vec<_> = self
            .suspensions
            .iter()
            .filter(|suspension| suspension.spec.until.is_none_or(|until| until > now))
            .collect();
        if self.application.spec.suspend {
            return (true, None);
        }
        let ends = standing.iter().map(|suspension| suspension.spec.until).max().flatten();
        let for_good = standing.iter().any(|suspension| suspension.spec.until.is_none());
        (!standing.is_empty(), if for_good { None } else { ends })
    }

    /// What `decide` looks at.
    pub(super) fn view(&self, now: Timestamp) -> View<'_> {
        let (suspended, suspended_until) = self.suspended(now);
        View {
            now,
            settings: &self.settings,
            suspended,
            suspended_until,
            head: &self.head,
            history: &self.history,
            attempt: self.attempt.as_ref(),
            live: &self.live,
            requests: &self.requests,
            brake: self.brake,
            repair_not_before: self.repair_not_before,
            degraded_since: self.degraded_since,
            watched: self.watched.as_ref(),
            analysis: self.analysed.failed.as_deref(),
            inherits: self.inherits(),
            offered: self.offered,
            unusable_target: self.unusable_target,
            dependencies: &self.dependencies,
            try_again_at: self.again.due,
            lifted: self.again.lifted.as_ref(),
        }
    }
}
