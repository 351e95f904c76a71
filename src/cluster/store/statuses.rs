//! Statuses: written as a whole.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{FIELD_MANAGER, Store, StoreError, described, send};

/// What must hold for a status to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// It is the object of the same uid; its spec may have changed.
    Same,
    /// It is the object as it was read.
    Unchanged,
}

impl Store {
    /// Writes the status of an Application or a request as a whole, whatever
    /// was stored before and whatever became of the spec meanwhile. Where the
    /// object was replaced by another of its name, it is absent. Gives back
    /// the object as it is then.
    pub async fn write_status<K>(&self, object: &K, status: &K::Status) -> Result<K, StoreError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus,
        K: Clone + Debug + DeserializeOwned,
        K::Status: Serialize + PartialEq,
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
    K::Status: Serialize + PartialEq,
{
    // Without the resourceVersion as precondition the object may be an old
    // one, whose status says nothing of what is stored.
    if precondition == Precondition::Unchanged && object.status() == Some(status) {
        return Ok(object.clone());
    }
    let name = object.name_any();
    let described = || described::<K>(&object.namespace().unwrap_or_default(), &name);
    let what = || format!("write the status of {}", described());
    // The server compares the resourceVersion that a patch makes, and answers
    // 409; of the uid it takes none, so that one is tested.
    let held = match precondition {
        Precondition::Same => json!({ "op": "test", "path": "/metadata/uid", "value": object.meta().uid }),
        Precondition::Unchanged => {
            json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": object.meta().resource_version })
        }
    };
    let patch: json_patch::Patch =
        serde_json::from_value(json!([held, { "op": "add", "path": "/status", "value": status }]))
            .map_err(|source| StoreError::of(what(), kube::Error::SerdeError(source)))?;
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match send(what, api.patch_status(&name, &parameters, &Patch::<()>::Json(patch))).await {
        // A test that fails is told no further than as an invalid request.
        Err(error @ StoreError::Refused { code: 422, .. }) => {
            let live = send(what, api.get_metadata_opt(&name)).await?;
            let same = live.is_some_and(|live| live.metadata.uid == object.meta().uid);
            Err(if same { error } else { StoreError::Absent(described()) })
        }
        other => other,
    }
}
