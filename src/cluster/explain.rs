//! Why an object is not healthy, with what its pods and events say.

use serde_json::Value;

use super::{
    Cluster, Identity,
    client::{Call, path},
    discovery::Resolution,
    evidence::behind,
};
use crate::{
    health::{Evidence, Health, OwnChecks},
    manifest::{GroupVersionKind, ObjectId},
};

/// Reads an object and what stands behind it, and judges it. `None` where it
/// cannot be read: what was known before then has to do.
pub async fn explain(
    cluster: &Cluster,
    identity: &Identity,
    checks: &OwnChecks,
    id: &ObjectId,
    gvk: &GroupVersionKind,
) -> Option<Health> {
    let Resolution::Served(kind) = cluster.discovery().resolve(gvk).await else { return None };
    let path = path::object(&kind.resource, id.namespace.as_deref(), &id.name).ok()?;
    let call = Call::get(path, identity).secret(id.group.is_empty() && id.kind == "Secret");
    let object: Value = cluster.request(&call).await.ok()?.json().ok()?;
    let behind = behind(cluster, identity, &object).await;
    let evidence = Evidence {
        pods: behind.pods.iter().collect(),
        events: behind.events.iter().collect(),
        status_subresource: Some(kind.has_status),
    };
    Some(checks.assess(&object, &evidence))
}
