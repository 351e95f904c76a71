//! The Plan: an immutable list of what an apply will do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Owned;
use crate::manifest::{BundleDigest, GroupVersionKind, ManifestDigest, ObjectId, Packed, PlanDigest};

/// What an action does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Makes it.
    Create,
    /// Changes it.
    Update,
    /// Takes an object that nobody claims.
    Adopt,
    /// Deletes it.
    Delete,
    /// Leaves it as it is, for a reason worth saying.
    Leave,
    /// Cannot be done: nothing of the plan is.
    Refuse,
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
    /// What is sent for Create, Update and Adopt: the manifest with label and
    /// annotation, without what is ignored.
    pub body: Option<Packed>,
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
}

/// Why a plan, or an object of it, is refused: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// The render has no object and the application has some.
    EmptyRender,
    /// Too large a share would be deleted.
    PruneLimit,
    /// A kind is protected from pruning.
    PruneProtected,
    /// The object belongs to another application, installation or tool.
    OwnedByOther,
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
}

impl RefusalReason {
    /// The reason as conditions, events and metrics carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyRender => "EmptyRender",
            Self::PruneLimit => "PruneLimit",
            Self::PruneProtected => "PruneProtected",
            Self::OwnedByOther => "OwnedByOther",
            Self::Invalid => "Invalid",
            Self::Immutable => "Immutable",
            Self::Forbidden => "Forbidden",
            Self::KindAbsent => "KindAbsent",
            Self::NamespaceAbsent => "NamespaceAbsent",
            Self::Unreadable => "Unreadable",
            Self::Terminating => "Terminating",
        }
    }

    /// Whether trying again may help without a change of content.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreadable | Self::Terminating)
    }

    /// Whether a person can let it pass once with `--allow-prune`.
    pub fn can_be_allowed(self) -> bool {
        matches!(self, Self::EmptyRender | Self::PruneLimit | Self::PruneProtected)
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
    /// Covers actions, identities, uids, desired digests and owned-field
    /// changes, never resourceVersions.
    pub digest: PlanDigest,
}

impl Plan {
    /// Actions that write: Create, Update, Adopt and Delete.
    pub fn writes(&self) -> impl Iterator<Item = &Action> {
        self.actions
            .iter()
            .filter(|action| matches!(action.verb, Verb::Create | Verb::Update | Verb::Adopt | Verb::Delete))
    }

    /// The number of stages.
    pub fn stages(&self) -> u32 {
        self.actions.iter().map(|action| action.stage + 1).max().unwrap_or(0)
    }
}
