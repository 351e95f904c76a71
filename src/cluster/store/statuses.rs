//! Statuses: written only where they change, and only what changes.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{FIELD_MANAGER, Store, StoreError, described, patch::merge_patch, send};

/// What must hold for a status to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// It is the object of the same uid; its spec may have changed.
    Same,
    /// It is the object as it was read.
    Unchanged,
}

impl Store {
    /// Writes the status of an Application or a request; sends nothing where
    /// it is as it was read. Gives back the object as it is then.
    pub async fn write_status<K>(&self, object: &K, status: &K::Status) -> Result<K, StoreError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus,
        K: Clone + Debug + DeserializeOwned,
        K::Status: Serialize,
    {
        let api = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        write_status(&api, object, status, Precondition::Same).await
    }
}

pub(super) async fn write_status<K>(
    api: &Api<K>,
    object: &K,
    status: &K::Status,
    precondition: Precondition,
) -> Result<K, StoreError>
where
    K: Resource<DynamicType = ()> + HasStatus + Clone + Debug + DeserializeOwned,
    K::Status: Serialize,
{
    let name = object.name_any();
    let what = || format!("write the status of {}", described::<K>(&object.namespace().unwrap_or_default(), &name));
    let json = |status: &K::Status| {
        serde_json::to_value(status).map_err(|source| StoreError::of(what(), kube::Error::SerdeError(source)))
    };
    let before = object.status().map(json).transpose()?.unwrap_or(Value::Null);
    let Some(change) = merge_patch(&before, &json(status)?) else { return Ok(object.clone()) };
    let mut metadata = json!({ "uid": object.meta().uid });
    if precondition == Precondition::Unchanged {
        metadata["resourceVersion"] = json!(object.meta().resource_version);
    }
    let patch = Patch::Merge(json!({ "metadata": metadata, "status": change }));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    send(what, api.patch_status(&name, &parameters, &patch)).await
}
