//! The Plan: an immutable list of what an apply will do.

use std::{collections::BTreeSet, fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Body, Owned, Propagation,
    ownership::TakenField,
    schedule::{Hook, HookPhase, HookRun},
};
use crate::manifest::{BundleDigest, GroupVersionKind, ManifestDigest, ObjectId, PlanDigest};

/// What an action does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Makes it.
    Create,
    /// Changes it.
    Update,
    /// Takes an object that nobody claims.
    Adopt,
    /// Deletes it and makes it anew: a hook that ran before, or an object with a
    /// field that cannot be changed, where its manifest allows that.
    Replace,
    /// Deletes it.
    Delete,
    /// Leaves it as it is, for a reason worth saying.
    Leave,
    /// Cannot be done: nothing of the plan is.
    Refuse,
}

impl Verb {
    /// Whether it changes the cluster.
    pub fn writes(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Adopt | Self::Replace | Self::Delete => true,
            Self::Leave | Self::Refuse => false,
        }
    }
}

/// What must be so before a stage is opened. Nothing sleeps for it: an event
/// makes it so, or the deadline of the release ends the wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Objects that must be healthy: those of earlier waves, and those that the
    /// stage's objects depend on.
    pub healthy: BTreeSet<ObjectId>,
    /// Whether every object of the application must be healthy.
    pub all_healthy: bool,
    /// Hooks that must have succeeded.
    pub hooks: BTreeSet<HookRun>,
    /// Objects that are being deleted and must be gone.
    pub gone: BTreeSet<ObjectId>,
}

impl Gate {
    /// Whether it stands open.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// A hook of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveHook {
    /// Which run.
    pub run: HookRun,
    /// How it is run.
    pub hook: Hook,
    /// Whether it runs already, begun by this release before.
    pub begun: bool,
}

/// What must still hold when an action is carried out; the server checks it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// uid of the live object; none for a create.
    pub uid: Option<String>,
    /// resourceVersion that was planned on; none for a create.
    pub resource_version: Option<String>,
}

/// A change of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Where, for people: `spec.template.spec.containers[web].image`.
    pub path: String,
    /// Where, as a JSON pointer into the state after, or before where the field
    /// is gone after.
    pub pointer: String,
    /// The value before.
    pub before: Option<Value>,
    /// The value after.
    pub after: Option<Value>,
    /// Whether the field is the application's own, before or after. Others are
    /// consequences (defaults, webhooks): shown, and no part of the digest.
    pub owned: bool,
}

/// One entry of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The object.
    pub id: ObjectId,
    /// Type by which it is written.
    pub gvk: GroupVersionKind,
    /// What is done to it.
    pub verb: Verb,
    /// Why, for people.
    pub reason: String,
    /// The stage it belongs to, from 0. A stage is dry-run as a whole before
    /// its first write, and opened when the one before is done.
    pub stage: u32,
    /// What must still hold.
    pub precondition: Precondition,
    /// What is sent for Create, Update, Adopt and Replace: the manifest with label and
    /// annotation, without what is ignored.
    pub body: Option<Body>,
    /// Digest of the manifest behind `body`. None for a deletion, and for the
    /// namespace of `createNamespace`, which is no member of the application
    /// and never enters its inventory.
    pub manifest: Option<ManifestDigest>,
    /// What changes, field by field; masked only when it is shown. In a plan of
    /// very many creations most of them leave it out.
    pub changes: Vec<FieldChange>,
    /// JSON pointers of fields that were added by hand and stay after the
    /// apply, into the live object that the plan was made on: removed by one
    /// JSON patch after it.
    pub drops: Vec<String>,
    /// Whether the object still needs a dry-run when its stage opens, because
    /// its namespace or kind did not exist when the plan was made.
    pub unproven: bool,
    /// The phase in which it is run, if it is a hook.
    pub hook: Option<HookPhase>,
    /// The admission webhook that kept the object from being tried.
    pub untried: Option<String>,
    /// Fields that are taken from other field managers.
    pub takes: Vec<TakenField>,
    /// Hand managers whose entries go once the object is ours, so that later
    /// applies take away what they set at first.
    pub former: Vec<String>,
    /// What becomes of what the object owns, for a deletion.
    pub propagation: Propagation,
}

impl Action {
    /// An action without content.
    pub fn new(id: ObjectId, gvk: GroupVersionKind, verb: Verb, reason: impl Into<String>) -> Self {
        Self {
            id,
            gvk,
            verb,
            reason: reason.into(),
            stage: 0,
            precondition: Precondition::default(),
            body: None,
            manifest: None,
            changes: Vec::new(),
            drops: Vec::new(),
            unproven: false,
            hook: None,
            untried: None,
            takes: Vec::new(),
            former: Vec::new(),
            propagation: Propagation::default(),
        }
    }
}

/// Why a plan, or an object of it, is refused: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// The render has no object and the application has some.
    EmptyRender,
    /// Too large a share would be deleted.
    PruneLimit,
    /// The object belongs to another application, installation or tool.
    OwnedByOther,
    /// Another field manager has set a field otherwise.
    FieldConflict,
    /// The server refuses the manifest.
    Invalid,
    /// A field cannot be changed.
    Immutable,
    /// The ServiceAccount has no right to it.
    Forbidden,
    /// The kind is not served.
    KindAbsent,
    /// The namespace does not exist.
    NamespaceAbsent,
    /// It could not be read.
    Unreadable,
    /// The object is being deleted.
    Terminating,
    /// Objects wait for each other.
    DependencyCycle,
    /// An object waits for one that the application does not have.
    DependencyAbsent,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::EmptyRender,
        Self::PruneLimit,
        Self::OwnedByOther,
        Self::FieldConflict,
        Self::Invalid,
        Self::Immutable,
        Self::Forbidden,
        Self::KindAbsent,
        Self::NamespaceAbsent,
        Self::Unreadable,
        Self::Terminating,
        Self::DependencyCycle,
        Self::DependencyAbsent,
    ];

    /// The reason as conditions, events and metrics carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyRender => "EmptyRender",
            Self::PruneLimit => "PruneLimit",
            Self::OwnedByOther => "OwnedByOther",
            Self::FieldConflict => "FieldConflict",
            Self::Invalid => "Invalid",
            Self::Immutable => "Immutable",
            Self::Forbidden => "Forbidden",
            Self::KindAbsent => "KindAbsent",
            Self::NamespaceAbsent => "NamespaceAbsent",
            Self::Unreadable => "Unreadable",
            Self::Terminating => "Terminating",
            Self::DependencyCycle => "DependencyCycle",
            Self::DependencyAbsent => "DependencyAbsent",
        }
    }

    /// Whether trying again may help without a change of content.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreadable | Self::Terminating)
    }

    /// Whether a person can let it pass once with `--allow-prune`.
    pub fn can_be_allowed(self) -> bool {
        matches!(self, Self::EmptyRender | Self::PruneLimit)
    }
}

/// Why nothing of the plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, of the closed list.
    pub reason: RefusalReason,
    /// The object, if it concerns one.
    pub object: Option<ObjectId>,
    /// What is wrong: lower case, names field and values, never a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether trying again may help without a change of content.
    pub transient: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{object}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// What an apply will do. Made by `conclude`, never changed, carried out as it
/// is: applying makes no choices.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The content that it brings.
    pub bundle: BundleDigest,
    /// The actions, in the order of stage and then of writing.
    pub actions: Vec<Action>,
    /// How many objects stay as they are.
    pub unchanged: u32,
    /// What the inventory is to record anew without a write to the object:
    /// objects that are as they should be and of which it did not know it, and
    /// Jobs that a rollback does not run again.
    pub confirmed: Vec<(ObjectId, Owned)>,
    /// Objects that the inventory is to forget: they are gone already, they
    /// belong to somebody else now, or their kind moved to another group.
    pub forgotten: Vec<ObjectId>,
    /// Why it cannot be carried out; empty if it can.
    pub refusals: Vec<Refusal>,
    /// What a person should know before.
    pub notes: Vec<String>,
    /// What must be so before each stage is opened, by stage.
    pub gates: Vec<Arc<Gate>>,
    /// What must be so before the release is healthy, beyond its objects.
    pub last_gate: Arc<Gate>,
    /// The hooks that are run, or run already.
    pub hooks: Vec<ActiveHook>,
    /// What differs from a manifest and is left, because the server gives the
    /// same again when the manifest is applied. For people.
    pub overruled: Vec<String>,
    /// Covers actions, identities, uids, desired digests and owned-field
    /// changes, never resourceVersions.
    pub digest: PlanDigest,
}

impl Plan {
    /// Actions that write: Create, Update, Adopt and Delete.
    pub fn writes(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.verb.writes())
    }

    /// What must be so before a stage is opened.
    pub fn gate(&self, stage: u32) -> Arc<Gate> {
        self.gates.get(stage as usize).cloned().unwrap_or_default()
    }

    /// The number of stages.
    pub fn stages(&self) -> u32 {
        self.actions.iter().map(|action| action.stage + 1).max().unwrap_or(0)
    }
}
