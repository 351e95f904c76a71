//! What is known of an application's objects without asking, and which of
//! them may need something done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Refusal,
    schedule::{Hook, HookRun, Schedule},
};
use crate::manifest::{BundleDigest, Fingerprint, GroupKind, GroupVersionKind, Manifest, ManifestDigest, ObjectId};

/// An object that the application has in the cluster, as it was left by the
/// last apply: the inventory's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Type by which it was applied last.
    pub gvk: GroupVersionKind,
    /// uid; none while it is only intended.
    pub uid: Option<String>,
    /// Digest of the manifest that was applied last.
    pub manifest: Option<ManifestDigest>,
    /// Hash of the owned fields after that apply.
    pub fingerprint: Option<Fingerprint>,
    /// A Job that was seen complete.
    pub done: bool,
    /// Whether it is the object of a hook: neither its absence nor its health
    /// says anything of the application.
    pub hook: bool,
}

/// All objects that the application has.
pub type OwnedObjects = BTreeMap<ObjectId, Owned>;

/// Why an object is a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The application does not have it yet.
    New,
    /// Its manifest differs from the one applied last.
    Changed,
    /// It was applied, and what came of that is not known.
    Unconfirmed,
    /// The live object differs from what was applied.
    Drifted,
    /// The live object is gone.
    Gone,
    /// The bundle no longer has it.
    Removed,
    /// It is a hook to be run.
    Hook,
}

/// An object that may need something done.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Identity.
    pub id: ObjectId,
    /// Type by which it is read and written.
    pub gvk: GroupVersionKind,
    /// What it should be; none if it should not be.
    pub desired: Option<Arc<Manifest>>,
    /// What the inventory knows of it.
    pub owned: Option<Owned>,
    /// Why it is here.
    pub why: Why,
}

/// The candidates, with what is decided already.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The content that is brought.
    pub bundle: BundleDigest,
    /// Objects that may need something done, in the order of their identity.
    pub candidates: Vec<Candidate>,
    /// How many objects stay as they are without being looked at.
    pub unchanged: u32,
    /// How many objects the bundle has.
    pub objects: u32,
    /// Kinds that definitions of the bundle define, whether they are candidates
    /// or not: such a kind may be served in a moment.
    pub kinds: BTreeSet<GroupKind>,
    /// Namespaces of the bundle, whether they are candidates or not.
    pub namespaces: BTreeSet<String>,
    /// Former identities of objects whose kind moved to another API group: the
    /// inventory forgets them when the plan is carried out.
    pub moved: Vec<ObjectId>,
    /// Guards that refuse it as it stands, judged without asking the server.
    pub guards: Vec<Refusal>,
    /// In which order members are written.
    pub schedule: Schedule,
    /// Hooks to be run, in their order; none where no hooks are run.
    pub hooks: Vec<HookCandidate>,
    /// What the manifests ask for and cannot have, whatever the cluster says.
    pub problems: Vec<Refusal>,
    /// Objects that are left out, and why.
    pub left_out: Vec<(ObjectId, String)>,
}

impl Proposal {
    /// What is to be looked at: the candidates, and each hook's object once.
    pub fn looked_at(&self) -> impl Iterator<Item = &Candidate> {
        let mut seen = BTreeSet::new();
        let hooks = self.hooks.iter().map(|hook| &hook.candidate).filter(move |hook| seen.insert(&hook.id));
        self.candidates.iter().chain(hooks)
    }
}

/// A hook that is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct HookCandidate {
    /// Its object.
    pub candidate: Candidate,
    /// Which run.
    pub run: HookRun,
    /// How it is run.
    pub hook: Hook,
    /// Its place in its phase, from 0.
    pub level: u32,
}
