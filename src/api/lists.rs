//! The closed lists of words, the same in API, CLI and documents.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
        }

        impl $name {
            /// All words of the list.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// Why a release was made.
    Cause {
        /// New content from Git, from what the render reads, or from the Application itself.
        Push,
        /// A person asked by a SyncRequest.
        Request,
        /// A person asked by a RollbackRequest.
        Rollback,
        /// Bowline took a broken release back by itself.
        AutomaticRollback,
    }
}

words! {
    /// Where a release is.
    Phase {
        /// Recorded, nothing sent to the cluster yet.
        Pending,
        /// Being written to the cluster.
        Applying,
        /// Written; waiting until its objects are healthy.
        Waiting,
        /// Every object is Healthy, Suspended or Unknown.
        Healthy,
        /// Ended without getting healthy.
        Failed,
        /// Ended because a newer release took its place.
        Superseded,
    }
}

impl Phase {
    /// Whether a release in this phase has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Healthy | Self::Failed | Self::Superseded)
    }
}

words! {
    /// Which object must be signed.
    VerifyMode {
        /// The commit.
        Commit,
        /// The annotated tag that `source.revision` names, or that a range of versions finds.
        Tag,
        /// Both.
        TagAndCommit,
    }
}

words! {
    /// How an application stands to what Git says.
    SyncStatus {
        /// The cluster is what the head renders.
        Synced,
        /// A release is on its way.
        Syncing,
        /// The cluster differs, and a person is asked (manual mode, reported drift, observe-only).
        OutOfSync,
        /// The head renders rejected content.
        Held,
        /// Applying is stopped on purpose.
        Suspended,
        /// The last try to get there failed.
        Failed,
        /// It could not be found out.
        Unknown,
    }
}

words! {
    /// Who starts a release for new content.
    SyncMode {
        /// Bowline, as soon as it sees it.
        Automatic,
        /// A person, by a SyncRequest.
        Manual,
    }
}

words! {
    /// What holds values of a chart.
    ValuesKind {
        /// A ConfigMap.
        ConfigMap,
        /// A Secret.
        Secret,
    }
}

words! {
    /// Whether the server tries all changes before the first is written.
    Preflight {
        /// Every change of a stage is tried first.
        Always,
        /// Changes are written at once: faster, and errors come in the middle.
        Never,
    }
}

words! {
    /// What happens to fields that other field managers have set otherwise.
    ConflictPolicy {
        /// They are taken, and it is said from whom.
        Take,
        /// The plan is refused, with the fields and who has them.
        Refuse,
    }
}

words! {
    /// What happens when a live object drifts.
    DriftPolicy {
        /// It is put back at once.
        Repair,
        /// It is reported only.
        Report,
    }
}

words! {
    /// What happens to the objects when their Application is deleted.
    DeletionPolicy {
        /// They stay.
        Orphan,
        /// They are deleted with it.
        Prune,
    }
}

words! {
    /// How files become manifests.
    RenderKind {
        /// YAML and JSON files as they are.
        Directory,
        /// `kustomize build`.
        Kustomize,
        /// `helm template`.
        Helm,
    }
}

words! {
    /// What a rollback leaves alone unless it is told to include it.
    Include {
        /// Run finished Jobs again.
        Jobs,
        /// Change claims for storage.
        Claims,
        /// Change namespaces.
        Namespaces,
        /// Change CustomResourceDefinitions.
        CRDs,
        /// Run hooks.
        Hooks,
    }
}

words! {
    /// Whether a failed release is taken back.
    RollbackVerdict {
        /// There is nothing to take back, or nowhere to go back to.
        None,
        /// Bowline goes back by itself.
        Automatic,
        /// It is left to a person; the message says why.
        Person,
    }
}

words! {
    /// Where a request is.
    RequestPhase {
        /// Seen, not yet acted on.
        Pending,
        /// Its release is on its way.
        Running,
        /// Done as asked; a dry run has its plan in the status.
        Succeeded,
        /// Its release failed.
        Failed,
        /// Not carried out; the message says why.
        Refused,
    }
}

words! {
    /// What somebody is told of.
    NotifyEvent {
        /// A release failed, or what Git asks for cannot be applied.
        Failed,
        /// A rollback ended: the content of an earlier release is there again.
        RolledBack,
        /// Git asks for content that was rejected.
        Held,
        /// A healthy release degraded later.
        Degraded,
        /// An object was put back again and again, and is left alone.
        Contested,
    }
}

words! {
    /// The types of an Application's conditions.
    ConditionType {
        /// Synced and healthy with what its head renders.
        Ready,
        /// The repository was read and rendered.
        Rendered,
        /// Rejected content stays out.
        Held,
        /// Each Application in `dependsOn` is Synced and Healthy at its own head.
        DependenciesReady,
        /// The checks of `health.checks` can be used.
        ChecksAccepted,
    }
}
