//! Which watches the kinds of an application need.

use std::collections::BTreeSet;

use crate::{
    cluster::{
        discovery::{Discovery, Resolution},
        index::{BrokenReason, Scope, Wanted},
    },
    manifest::{GroupVersionKind, ObjectId},
};

/// The watches for the kinds of some objects; a kind that is not served is said
/// to be broken. A kind has one watch of the whole cluster, or where only some
/// namespaces are served, one in each namespace that has an object of it.
pub(super) async fn watched<'a>(
    discovery: &Discovery,
    served: &BTreeSet<String>,
    objects: impl Iterator<Item = (&'a ObjectId, &'a GroupVersionKind)>,
) -> Vec<Wanted> {
    let kinds = places(served, objects);
    let mut watched = Vec::with_capacity(kinds.len());
    for (gvk, namespace) in kinds {
        let scope = namespace.map_or(Scope::Cluster, |namespace| Scope::Namespace(namespace.to_owned()));
        let unserved = |reason: BrokenReason, message: String| Wanted::Unserved {
            gvk: gvk.clone(),
            scope: scope.clone(),
            reason,
            message,
        };
        watched.push(match discovery.resolve(gvk).await {
            Resolution::Served(kind) => Wanted::Served(kind, scope),
            Resolution::Absent => unserved(BrokenReason::NotServed, format!("{gvk} is not served")),
            Resolution::Unknown(why) => unserved(BrokenReason::ServerError, why),
        });
    }
    watched
}

/// Where each kind is to be watched; without a namespace in the whole cluster.
fn places<'a>(
    served: &BTreeSet<String>,
    objects: impl Iterator<Item = (&'a ObjectId, &'a GroupVersionKind)>,
) -> BTreeSet<(&'a GroupVersionKind, Option<&'a str>)> {
    let everywhere = served.is_empty();
    objects.map(|(id, gvk)| (gvk, id.namespace.as_deref().filter(|_| !everywhere))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::GroupKind;

    #[test]
    fn a_kind_is_watched_in_the_whole_cluster_or_where_its_objects_are() {
        let kind = |name: &str| GroupVersionKind::new("", "v1", name);
        let object = |name: &str, namespace: Option<&str>| {
            (ObjectId::new(GroupKind::new("", name), namespace.map(str::to_owned), "x"), kind(name))
        };
        let objects = [
            object("ConfigMap", Some("team-a")),
            object("ConfigMap", Some("team-b")),
            object("Secret", Some("team-a")),
            object("Namespace", None),
        ];
        let places = |served: &[&str]| {
            let served = served.iter().map(|name| (*name).to_owned()).collect();
            let places = places(&served, objects.iter().map(|(id, gvk)| (id, gvk)));
            places
                .iter()
                .map(|(gvk, namespace)| format!("{} {}", gvk.kind, namespace.unwrap_or("*")))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&[]), ["ConfigMap *", "Namespace *", "Secret *"]);
        assert_eq!(
            places(&["team-a"]),
            ["ConfigMap team-a", "ConfigMap team-b", "Namespace *", "Secret team-a"],
            "what cannot be watched is told of, not passed over"
        );
    }
}
