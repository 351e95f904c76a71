//! Asking one group, or one version of it, what it serves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::discovery::ApiResource;

use super::ServedKind;
use crate::cluster::{
    Identity, RequestError,
    client::{Call, path::segment, send},
};

/// The kinds of a group and version; none if it is not served.
pub(super) async fn kinds(client: &kube::Client, group: &str, version: &str) -> Result<Vec<ServedKind>, RequestError> {
    let path = match group {
        "" => format!("/api/{}", segment(version)?),
        group => format!("/apis/{}/{}", segment(group)?, segment(version)?),
    };
    let list: APIResourceList = match send(client, &Call::get(path, &Identity::Own)).await {
        Ok(answer) => answer.json()?,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let statuses: Vec<String> =
        list.resources.iter().filter_map(|it| it.name.strip_suffix("/status").map(str::to_owned)).collect();
    let kinds = list.resources.into_iter().filter(|it| !it.name.contains('/'));
    Ok(kinds
        .map(|it| ServedKind {
            has_status: statuses.contains(&it.name),
            namespaced: it.namespaced,
            verbs: it.verbs,
            resource: ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
                kind: it.kind,
                plural: it.name,
            },
        })
        .collect())
}

/// The versions of a group, the preferred one first; none if it is not served.
pub(super) async fn versions(client: &kube::Client, group: &str) -> Result<Vec<String>, RequestError> {
    if group.is_empty() {
        return Ok(vec!["v1".into()]);
    }
    let path = format!("/apis/{}", segment(group)?);
    let group: APIGroup = match send(client, &Call::get(path, &Identity::Own)).await {
        Ok(answer) => answer.json()?,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let preferred = group.preferred_version.map(|it| it.version);
    let mut versions: Vec<String> = group.versions.into_iter().map(|it| it.version).collect();
    versions.sort_by_key(|version| Some(version) != preferred.as_ref());
    Ok(versions)
}
