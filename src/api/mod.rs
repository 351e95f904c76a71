//! The custom resources of `bowline.dev/v1alpha1`, their conditions and
//! reasons, and the closed lists of words.
//!
//! Types only: nothing here talks to a server or decides anything. The
//! CustomResourceDefinitions in `charts/` and `manifests/` are generated from
//! these types.

#![expect(clippy::duplicated_attributes, reason = "two printer columns may have the same type")]

mod admission;
mod application;
mod bundle;
mod definitions;
mod duration;
mod inventory;
mod lists;
mod notify;
mod plan_view;
mod release;
mod render;
mod request;
mod suspension;

pub use admission::{APPROVAL_POLICY, CHECK_POLICY, STAMP_POLICY, mutating_policies, validating_policies};
pub use application::{
    Application, ApplicationSpec, ApplicationStatus, CurrentRelease, Destination, Guards, Head, HealthSpec, HoldStatus,
    IgnoreRule, ObjectCounts, ObjectProblem, Pin, Rollback, Source, SourceSecret, SourceSubmodules, SourceVerify, Sync,
};
pub use bundle::{Bundle, BundleChunk, BundleChunkSpec, BundleSpec, ChunkRef, ChunkStore};
pub use definitions::custom_resource_definitions;
pub use duration::{Duration, NotADuration};
pub use inventory::{Inventory, InventoryEntry, InventorySpec};
pub use lists::{
    Cause, ConditionType, ConflictPolicy, DeletionPolicy, DriftPolicy, Include, NotifyEvent, Phase, Preflight,
    RenderKind, RequestPhase, RollbackVerdict, SyncMode, SyncStatus, ValuesKind, VerifyMode,
};
pub use notify::{Analysis, AnalysisSecret, Notify, NotifySecret};
pub use plan_view::{ActionView, FieldChangeView, PlanView};
pub use release::{
    CommitRecord, HookResult, ObjectFailure, Rejection, Release, ReleaseAfter, ReleaseCounts, ReleaseDurations,
    ReleaseOutcome, ReleaseSpec, ReleaseStatus,
};
pub use render::{
    ChartSpec, DecryptionSecret, DecryptionSpec, HelmSpec, ImageSpec, KustomizeSpec, PatchSpec, PatchTarget,
    RenderSpec, RepositorySecret, RepositorySpec, ValuesReference,
};
pub use request::{ApplicationRef, RequestStatus, RollbackRequest, RollbackRequestSpec, SyncRequest, SyncRequestSpec};
pub use suspension::{Suspension, SuspensionSpec};

/// The API group of all resources.
pub const GROUP: &str = "bowline.dev";
/// The version of all resources.
pub const VERSION: &str = "v1alpha1";
/// The label that every applied object carries: a short digest of
/// installation, application namespace and name.
pub const SET_LABEL: &str = "bowline.dev/set";
/// The annotation that every applied object carries: `<namespace>/<name>` of
/// its Application.
pub const APPLICATION_ANNOTATION: &str = "bowline.dev/application";
/// The label on Releases, Bundles and the like that names their Application.
pub const APPLICATION_LABEL: &str = "bowline.dev/application";
/// An application's name is at most this long, so that its releases' names and
/// label values fit.
pub const APPLICATION_NAME_MAX: usize = 52;
/// The type of the Secrets that keep manifests of Secrets for a rollback.
pub const BUNDLE_SECRET_TYPE: &str = "bowline.dev/bundle";
/// How many bytes of content a chunk of a bundle has, for metrics.
pub const CHUNK_BYTES_ANNOTATION: &str = "bowline.dev/bytes";
