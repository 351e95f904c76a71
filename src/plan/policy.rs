//! What an application allows and wants, as far as planning is concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::schedule::HookRun;
use crate::manifest::{ObjectId, PlanDigest};

/// Label that every object of an application carries: see [`Membership::set`].
pub const SET_LABEL: &str = "bowline.dev/set";

/// Annotation that every object of an application carries: see
/// [`Membership::application`].
pub const APPLICATION_ANNOTATION: &str = "bowline.dev/application";

/// How the objects of an application are marked as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Value of the label `bowline.dev/set`: a short digest of installation id,
    /// application namespace and name.
    pub set: String,
    /// Value of the annotation `bowline.dev/application`: `<namespace>/<name>`.
    pub application: String,
    /// Field manager: `bowline/<namespace>/<name>`, or a digest where that is
    /// over 128 characters.
    pub manager: String,
}

/// Fields that are left alone. Absent selectors match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreRule {
    /// API group of the objects.
    pub group: Option<String>,
    /// Kind of the objects.
    pub kind: Option<String>,
    /// Namespace of the objects.
    pub namespace: Option<String>,
    /// Name of the objects.
    pub name: Option<String>,
    /// JSON pointers (RFC 6901) of the fields.
    pub pointers: Vec<String>,
    /// Field managers whose changes are left alone.
    pub managers: Vec<String>,
}

impl IgnoreRule {
    /// Whether the rule is about this object.
    pub fn concerns(&self, id: &ObjectId) -> bool {
        let agrees = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        agrees(&self.group, &id.group)
            && agrees(&self.kind, &id.kind)
            && agrees(&self.namespace, id.namespace.as_deref().unwrap_or_default())
            && agrees(&self.name, &id.name)
    }
}

/// What happens to fields that other field managers have set otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// They are taken, and it is said from whom.
    #[default]
    Take,
    /// The plan is refused, with the fields and who has them.
    Refuse,
}

/// What an application allows and wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How its objects are marked.
    pub membership: Arc<Membership>,
    /// Whether objects that the bundle no longer has are deleted.
    pub prune: bool,
    /// Whether the server tries each change before the first is written.
    pub preflight: bool,
    /// What happens to fields that other field managers have set otherwise.
    pub conflicts: ConflictPolicy,
    /// Fields that are left alone.
    pub ignore: Vec<IgnoreRule>,
    /// Managers whose additions count as made by hand and are dropped.
    pub hand_managers: BTreeSet<String>,
    /// A plan that would delete more than this share, in percent, of more than
    /// 10 objects is refused.
    pub max_prune_percent: u32,
    /// The plan for which a person let the guards pass.
    pub allow_prune: Option<PlanDigest>,
    /// Set for a rollback: what it takes back beyond the ordinary.
    pub rollback: Option<RollbackPolicy>,
    /// Namespace to create if it does not exist (`createNamespace`).
    pub create_namespace: Option<String>,
    /// Set where hooks are run: for a release, never for a repair.
    pub hooks: Option<HookRuns>,
    /// Objects that this application no longer has and another has now, with
    /// its name: they are let go of and not deleted.
    pub elsewhere: BTreeMap<ObjectId, String>,
    /// Objects that carry the marks of another application which has given
    /// them up: they may be taken without asking.
    pub given_up: BTreeSet<ObjectId>,
}

/// Which hooks are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRuns {
    /// Number of the release; 0 where a plan is only shown.
    pub release: u64,
    /// Whether it is the first release of the application.
    pub first: bool,
    /// Runs that have ended already.
    pub ended: BTreeSet<HookRun>,
    /// Whether the release failed: then those that are meant for it are run,
    /// and no others.
    pub failed: bool,
}

/// What a rollback takes back beyond the ordinary; without an entry it leaves
/// such objects as they are and says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollbackPolicy {
    /// Finished Jobs are run again.
    pub jobs: bool,
    /// Claims for storage are changed.
    pub claims: bool,
    /// Namespaces are changed.
    pub namespaces: bool,
    /// CustomResourceDefinitions are changed.
    pub crds: bool,
}

impl Policy {
    /// The field managers that people act under with kubectl; what they add to
    /// a managed object counts as made by hand.
    pub const HAND_MANAGERS: &'static [&'static str] = &[
        "kubectl-edit",
        "kubectl-patch",
        "kubectl-set",
        "kubectl-client-side-apply",
        "kubectl-create",
        "kubectl-replace",
        "kubectl",
        "before-first-apply",
    ];

    /// The rules for one object: what `ownership::fingerprint` takes.
    pub fn ignore_for(&self, id: &ObjectId) -> Vec<IgnoreRule> {
        self.ignore.iter().filter(|rule| rule.concerns(id)).cloned().collect()
    }
}
