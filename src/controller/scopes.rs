//! What rendering asks about kinds, answered by the cluster's discovery.

use crate::{
    cluster::Cluster,
    manifest::{GroupKind, Scope},
    render::ScopeLookup,
};

/// The scopes of the kinds that a cluster serves.
pub struct ClusterScopes<'a>(pub &'a Cluster);

impl ScopeLookup for ClusterScopes<'_> {
    fn scope(&self, group_kind: &GroupKind) -> Option<Scope> {
        let namespaced = self.0.discovery().scope(group_kind)?;
        Some(if namespaced { Scope::Namespaced } else { Scope::Cluster })
    }
}
