//! Which watches the kinds of an application need.

use std::collections::BTreeSet;

use crate::{
    cluster::{
        discovery::{Discovery, Resolution},
        index::{BrokenReason, Scope, Wanted},
    },
    manifest::GroupVersionKind,
};

/// The watches for some kinds; a kind that is not served is said to be broken.
pub(super) async fn watched(discovery: &Discovery, kinds: BTreeSet<&GroupVersionKind>) -> Vec<Wanted> {
    let mut watched = Vec::with_capacity(kinds.len());
    for gvk in kinds {
        let unserved = |reason: BrokenReason, message: String| Wanted::Unserved {
            gvk: gvk.clone(),
            scope: Scope::Cluster,
            reason,
            message,
        };
        watched.push(match discovery.resolve(gvk).await {
            Resolution::Served(kind) => Wanted::Served(kind, Scope::Cluster),
            Resolution::Absent => unserved(BrokenReason::NotServed, format!("{gvk} is not served")),
            Resolution::Unknown(why) => unserved(BrokenReason::ServerError, why),
        });
    }
    watched
}
