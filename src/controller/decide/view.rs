//! What `decide` looks at. Plain data: made by the actor, or by a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{Dependencies, Watched};
use crate::{
    api::{CommitRecord, DriftPolicy, Include, ObjectFailure, SyncMode},
    health::Health,
    history::History,
    manifest::{BundleDigest, InputDigest, ObjectId, PlanDigest},
    plan::{Gate, Refusal, schedule::HookRun},
};

/// The content of a render, without its manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentId {
    /// Digest of all manifests.
    pub bundle: BundleDigest,
    /// Digest of all that the render read.
    pub inputs: InputDigest,
    /// The commit that it was rendered from.
    pub commit: CommitRecord,
}

/// What is known of the content that Git asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadView {
    /// It has not been looked at yet.
    Unknown,
    /// It could not be fetched or rendered.
    Broken {
        /// The reason, in the form of a condition's.
        reason: String,
        /// What is wrong, for a person.
        message: String,
    },
    /// It was rendered.
    Rendered {
        /// What came of it.
        content: Box<ContentId>,
        /// How many objects would be looked at to bring it.
        candidates: u32,
        /// Guards that refuse it as it stands.
        guards: Vec<Refusal>,
    },
}

impl HeadView {
    /// The content, if there is one.
    pub fn content(&self) -> Option<&ContentId> {
        match self {
            Self::Rendered { content, .. } => Some(content),
            Self::Unknown | Self::Broken { .. } => None,
        }
    }

    /// Whether the commit itself is at fault, which no other look at it mends.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Broken { reason, .. } if reason == "RenderFailed" || reason == "SignatureRefused")
    }
}

/// How far the release that is running has come in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it was done by this process yet.
    Unplanned,
    /// It is planned, and this many stages are still to be applied.
    Planned {
        /// Stages still to be applied.
        stages_left: u32,
    },
    /// Something failed that may succeed later.
    Retry {
        /// When it is tried again.
        at: Timestamp,
        /// What failed, for a person.
        message: String,
    },
    /// All of it is applied.
    Applied,
    /// It cannot be applied.
    Failed {
        /// What failed, for a person.
        message: String,
        /// The objects that failed.
        failures: Vec<ObjectFailure>,
    },
}

/// The work of this process on the release that is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Number of the release.
    pub release: u64,
    /// How far it has come.
    pub stage: Stage,
    /// Time that counts towards the deadline: in which this process worked on
    /// it with all watches in sync.
    pub counted: SignedDuration,
    /// Since when the clock runs, if it does now.
    pub counting_since: Option<Timestamp>,
    /// Whether anything was written to the cluster for it.
    pub touched: bool,
    /// How many objects were written.
    pub written: u32,
    /// The objects that it changes.
    pub changed: BTreeSet<ObjectId>,
    /// The objects that were unhealthy before it began.
    pub unhealthy_before: BTreeSet<ObjectId>,
    /// Why going back by itself is not safe, if it is not.
    pub irreversible: Option<String>,
    /// What must be so before the next stage is opened or, where all is
    /// applied, before the release is healthy.
    pub gate: Arc<Gate>,
}

impl Attempt {
    /// The beginning of work on a release.
    pub fn new(release: u64) -> Self {
        Self {
            release,
            stage: Stage::Unplanned,
            counted: SignedDuration::ZERO,
            counting_since: None,
            touched: false,
            written: 0,
            changed: BTreeSet::new(),
            unhealthy_before: BTreeSet::new(),
            irreversible: None,
            gate: Arc::default(),
        }
    }

    /// Time that counts towards the deadline by now.
    pub fn elapsed(&self, now: Timestamp) -> SignedDuration {
        let running = self.counting_since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        self.counted + running.max(SignedDuration::ZERO)
    }
}

/// What the watches say of the application's objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// Whether every watch is in sync, or reported broken.
    pub settled: bool,
    /// Objects that differ from what was applied.
    pub drifted: BTreeSet<ObjectId>,
    /// Objects that are gone.
    pub gone: BTreeSet<ObjectId>,
    /// Objects whose health does not let a release be Healthy.
    pub unhealthy: Vec<(ObjectId, Health)>,
    /// Objects that are being deleted.
    pub deleting: BTreeSet<ObjectId>,
    /// Hooks that the running release has begun.
    pub hooks: BTreeMap<HookRun, HookProgress>,
}

/// How a hook is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookProgress {
    /// It runs, with what is known of that.
    Running(String),
    /// It came to a good end.
    Succeeded,
    /// It failed, and why.
    Failed(String),
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A sync to the head.
    Sync {
        /// Whether the repository was looked at for this request. Somebody who
        /// asks for a sync means what Git has now, not at the last poll.
        looked: Resolution,
        /// The rejected content to let in.
        accept: Option<BundleDigest>,
        /// The plan for which the guards are to pass.
        allow_prune: Option<PlanDigest>,
        /// Plans this release's content, for a dry run.
        from_release: Option<u64>,
    },
    /// A rollback.
    Rollback {
        /// The release that is current for the person who asks.
        from: u64,
        /// The release that is wanted, if one was named.
        to: Option<u64>,
        /// What else to take back.
        include: Vec<Include>,
    },
}

/// What became of looking at the repository for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is still to be looked at.
    Pending,
    /// It is being looked at; an event tells what came of it.
    Looking,
    /// What is asked for is the application's head now, or rendered for a dry
    /// run.
    Found,
    /// It could not be read, or has no such revision.
    Failed(String),
}

/// A request that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its uid: the order of two requests made in the same second.
    pub uid: String,
    /// Its name and kind, for people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What is asked.
    pub ask: Ask,
    /// Whether it was told that its release is on its way.
    pub told: bool,
    /// Whether only a plan is asked for.
    pub dry_run: bool,
    /// Why it cannot be carried out whatever the state, if so: for example a
    /// right that could not be checked.
    pub inadmissible: Option<String>,
}

/// What the application allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who starts releases of new content.
    pub mode: SyncMode,
    /// What happens to drift.
    pub drift: DriftPolicy,
    /// Whether a broken release is taken back by itself.
    pub automatic_rollback: bool,
    /// How long a release may take until it is healthy.
    pub timeout: SignedDuration,
    /// How long after that it goes back if it degrades.
    pub watch: SignedDuration,
    /// How long a request is good for.
    pub request_expiry: SignedDuration,
    /// Whether nothing is to be written to the application's objects.
    pub observe_only: bool,
    /// The Application's generation.
    pub generation: i64,
}

/// What the brake on automatic rollbacks says to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrakeView {
    /// What breaks may go back.
    #[default]
    Off,
    /// It does not know that the application breaks.
    Untold,
    /// It knows, and listens until then whether others break too.
    Listens(Timestamp),
    /// So many applications broke at once that the cluster is the cause.
    Pulled,
}

/// Everything that `decide` looks at.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The time.
    pub now: Timestamp,
    /// What the application allows.
    pub settings: &'a Settings,
    /// Whether applying is stopped on purpose.
    pub suspended: bool,
    /// Until when, if the suspension ends by itself.
    pub suspended_until: Option<Timestamp>,
    /// What Git asks for.
    pub head: &'a HeadView,
    /// The releases.
    pub history: &'a History,
    /// The work on the release that is running.
    pub attempt: Option<&'a Attempt>,
    /// What the watches say.
    pub live: &'a Live,
    /// What people ask for, oldest first.
    pub requests: &'a [Request],
    /// What the brake on automatic rollbacks says.
    pub brake: BrakeView,
    /// Before when no repair is tried, after one that failed.
    pub repair_not_before: Option<Timestamp>,
    /// Whether the newest release was made for another Application of this
    /// name that is gone: what it brought is not this one's.
    pub inherits: bool,
    /// Whether another application let go of an object for this one since its
    /// content was refused, so that another try may pass.
    pub offered: bool,
    /// A release whose content cannot be read, so that nothing goes back to it.
    pub unusable_target: Option<u64>,
    /// Since when the healthy release's objects are Degraded, if they are.
    pub degraded_since: Option<Timestamp>,
    /// What the release did that is watched, once that is to be known.
    pub watched: Option<&'a Watched>,
    /// Why the analysis says that the newest release is to go back, if it does.
    pub analysis: Option<&'a str>,
    /// The applications that new content waits for.
    pub dependencies: &'a Dependencies,
    /// When content that was refused is looked at again.
    pub try_again_at: Option<Timestamp>,
    /// Content that was refused and would go through by now.
    pub lifted: Option<&'a BundleDigest>,
}
