//! What a cluster serves at a moment: by aggregated discovery in two requests,
//! or group by group where the server has none.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList;
use kube::{
    client::{APIGroupDiscovery, APIGroupDiscoveryList, APIVersionDiscovery},
    discovery::ApiResource,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{ServedKind, direct};
use crate::{
    cluster::{
        Identity, RequestError,
        client::{Call, send},
    },
    manifest::{GroupKind, GroupVersionKind},
};

const ACCEPT_AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What a cluster serves at a moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) taken: Instant,
    kinds: HashMap<GroupVersionKind, ServedKind>,
    /// The version of each kind that comes first in its group.
    preferred: HashMap<GroupKind, String>,
    /// Groups of which at least one version could not be discovered.
    doubts: BTreeMap<String, String>,
}

impl Snapshot {
    fn new() -> Self {
        Self { taken: Instant::now(), kinds: HashMap::new(), preferred: HashMap::new(), doubts: BTreeMap::new() }
    }

    pub(super) fn kind(&self, gvk: &GroupVersionKind) -> Option<&ServedKind> {
        self.kinds.get(gvk)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = &ServedKind> {
        self.kinds.values()
    }

    pub(super) fn preferred(&self, group_kind: &GroupKind) -> Option<&ServedKind> {
        let version = self.preferred.get(group_kind)?;
        self.kinds.get(&GroupVersionKind::new(&group_kind.group, version, &group_kind.kind))
    }

    pub(super) fn doubt(&self, group: &str) -> Option<&str> {
        self.doubts.get(group).map(String::as_str)
    }

    pub(super) fn doubts(&self) -> Vec<(String, String)> {
        self.doubts.iter().map(|(group, reason)| (group.clone(), reason.clone())).collect()
    }

    /// The same with kinds that were found directly.
    pub(super) fn with(&self, kinds: Vec<ServedKind>) -> Self {
        let mut snapshot = self.clone();
        kinds.into_iter().for_each(|kind| snapshot.add(kind));
        snapshot
    }

    /// Adds a kind. The first version that is added is the preferred one, and
    /// the first resource of a kind stands for it.
    fn add(&mut self, kind: ServedKind) {
        let gvk = kind.gvk();
        self.preferred.entry(gvk.group_kind()).or_insert_with(|| gvk.version.clone());
        self.kinds.entry(gvk).or_insert(kind);
    }

    fn add_group(&mut self, group: APIGroupDiscovery) {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for version in group.versions {
            self.add_version(&name, version);
        }
    }

    fn add_version(&mut self, group: &str, version: APIVersionDiscovery) {
        let Some(version_name) = version.version else { return };
        let api_version = if group.is_empty() { version_name.clone() } else { format!("{group}/{version_name}") };
        if version.freshness.as_deref() == Some("Stale") {
            self.doubts.insert(
                group.to_owned(),
                format!("the API server cannot reach what serves {api_version}; look at its APIService"),
            );
        }
        for resource in version.resources {
            let Some(plural) = resource.resource else { continue };
            let Some(kind) = resource.response_kind.and_then(|it| it.kind).filter(|kind| !kind.is_empty()) else {
                continue;
            };
            self.add(ServedKind {
                resource: ApiResource {
                    group: group.to_owned(),
                    version: version_name.clone(),
                    api_version: api_version.clone(),
                    kind,
                    plural,
                },
                namespaced: resource.scope.as_deref() != Some("Cluster"),
                verbs: resource.verbs,
                has_status: resource.subresources.iter().any(|it| it.subresource.as_deref() == Some("status")),
            });
        }
    }
}

/// Reads what the cluster serves.
pub(super) async fn take(client: &kube::Client) -> Result<Snapshot, RequestError> {
    let mut snapshot = Snapshot::new();
    let (Some(core), Some(groups)) = (aggregated(client, "/api").await?, aggregated(client, "/apis").await?) else {
        return group_by_group(client).await;
    };
    for group in core.items.into_iter().chain(groups.items) {
        snapshot.add_group(group);
    }
    Ok(snapshot)
}

/// The aggregated document, or none where the server does not make one.
async fn aggregated(client: &kube::Client, path: &str) -> Result<Option<APIGroupDiscoveryList>, RequestError> {
    let mut call = Call::get(path.to_owned(), &Identity::Own);
    call.accept = Some(ACCEPT_AGGREGATED);
    let answer: Value = match send(client, &call).await {
        Ok(answer) => answer.json()?,
        Err(error) if error.error.code == 406 => return Ok(None),
        Err(error) => return Err(error),
    };
    if answer.get("kind").and_then(Value::as_str) != Some("APIGroupDiscoveryList") {
        return Ok(None);
    }
    let list: Option<APIGroupDiscoveryList> = serde_json::from_value(answer).ok();
    // Every server has groups: an empty document is none.
    Ok(list.filter(|list| !list.items.is_empty()))
}

async fn group_by_group(client: &kube::Client) -> Result<Snapshot, RequestError> {
    let mut snapshot = Snapshot::new();
    for kind in direct::kinds(client, "", "v1").await? {
        snapshot.add(kind);
    }
    let groups: APIGroupList = send(client, &Call::get("/apis".into(), &Identity::Own)).await?.json()?;
    for group in groups.groups {
        let preferred = group.preferred_version.map(|it| it.version);
        let mut versions: Vec<String> = group.versions.into_iter().map(|it| it.version).collect();
        versions.sort_by_key(|version| Some(version) != preferred.as_ref());
        for version in versions {
            match direct::kinds(client, &group.name, &version).await {
                Ok(kinds) => kinds.into_iter().for_each(|kind| snapshot.add(kind)),
                // One broken group does not stop the others.
                Err(error) if error.error.code != 0 => {
                    let reason = format!("discovery of {}/{version} failed: {error}", group.name);
                    snapshot.doubts.insert(group.name.clone(), reason);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn snapshot() -> Snapshot {
        let list: APIGroupDiscoveryList = serde_json::from_value(json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [
                    {"resource": "deployments", "responseKind": {"group": "", "version": "", "kind": "Deployment"},
                     "scope": "Namespaced", "verbs": ["get", "patch"], "subresources": [{"subresource": "status"}]}]},
                {"version": "v1beta1", "freshness": "Current", "resources": [
                    {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced"}]}]},
            {"metadata": {"name": "metrics.example.com"}, "versions": [
                {"version": "v1", "freshness": "Stale", "resources": []}]}
        ]}))
        .unwrap();
        let mut snapshot = Snapshot::new();
        list.items.into_iter().for_each(|group| snapshot.add_group(group));
        snapshot
    }

    #[test]
    fn a_kind_is_found_by_its_version_and_in_the_preferred_one() {
        let snapshot = snapshot();
        let served = snapshot.kind(&GroupVersionKind::new("apps", "v1beta1", "Deployment")).unwrap();
        assert_eq!(served.resource.api_version, "apps/v1beta1");
        let served = snapshot.preferred(&GroupKind::new("apps", "Deployment")).unwrap();
        assert_eq!(served.resource.version, "v1");
        assert!(served.namespaced && served.has_status && served.supports("patch") && !served.supports("watch"));
    }

    #[test]
    fn a_group_that_could_not_be_refreshed_is_in_doubt() {
        let snapshot = snapshot();
        assert!(snapshot.doubt("metrics.example.com").unwrap().contains("metrics.example.com/v1"));
        assert_eq!(snapshot.doubt("apps"), None);
    }
}
