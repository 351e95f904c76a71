//! What rendering asks about kinds, answered by the cluster's discovery.

use std::sync::{Mutex, PoisonError};

use crate::{
    cluster::discovery::Scopes,
    manifest::{GroupKind, Scope},
    render::{ScopeLookup, UnknownKind},
};

/// The scopes of the kinds that a cluster serves, and what it could not tell.
pub struct ClusterScopes {
    scopes: Scopes,
    unknown: Mutex<Unknown>,
}

/// What the cluster could not tell during a render.
#[derive(Debug, Clone, Default)]
pub(super) struct Unknown {
    /// Whether a kind was asked for that it does not serve: that may change
    /// without a commit.
    pub(super) kinds: bool,
    /// Why a group could not be found out.
    pub(super) doubt: Option<String>,
}

impl ClusterScopes {
    /// The scopes that were known at one moment.
    pub fn new(scopes: Scopes) -> Self {
        Self { scopes, unknown: Mutex::default() }
    }

    /// What could not be told so far.
    pub(super) fn unknown(&self) -> Unknown {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ScopeLookup for ClusterScopes {
    fn scope(&self, group_kind: &GroupKind) -> Option<Scope> {
        if let Some(namespaced) = self.scopes.namespaced(group_kind) {
            return Some(if namespaced { Scope::Namespaced } else { Scope::Cluster });
        }
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.kinds = true;
        let doubt = self.scopes.doubt(&group_kind.group);
        unknown.doubt = doubt.map(|why| format!("it is not known whether {group_kind} is namespaced: {why}"));
        None
    }

    fn unknown_kind(&self) -> UnknownKind {
        UnknownKind::Refuse
    }
}
