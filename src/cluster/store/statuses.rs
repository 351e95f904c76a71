//! Statuses: written as a whole, and only over what was read.

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

/// How often a status is written over what became of the object meanwhile.
const TRIES: usize = 5;

impl Store {
    /// Writes the status of an Application or a request as a whole, if the
    /// object is still as it was read. Where it is not, this is a conflict: who
    /// does not lead any more never writes over what its successor wrote, even
    /// if the write was on its way when it lost the lease. Gives back the
    /// object as it is then.
    pub async fn write_status<K>(&self, object: &K, status: &K::Status) -> Result<K, StoreError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus,
        K: Clone + Debug + DeserializeOwned,
        K::Status: Serialize + PartialEq,
    {
        let api = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        write_status(&api, object, status).await
    }

    /// The same over all that others change of the object meanwhile: it is then
    /// read again. Before each write `goes_on` is asked, with the object as it
    /// was read, and after that nothing may be written that was not read before:
    /// so a leader may say there whether it still leads. `None` where it does
    /// not go on; where the object was replaced by another of its name, it is
    /// absent.
    pub async fn write_status_while<K>(
        &self,
        object: &K,
        status: &K::Status,
        goes_on: impl Fn(&K) -> bool,
    ) -> Result<Option<K>, StoreError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus,
        K: Clone + Debug + DeserializeOwned,
        K::Status: Serialize + PartialEq,
    {
        let name = object.name_any();
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let described = || described::<K>(&namespace, &name);
        let mut read = object.clone();
        for _ in 1..TRIES {
            if !goes_on(&read) {
                return Ok(None);
            }
            match write_status(&api, &read, status).await {
                Err(error) if error.is_conflict() => {
                    let live = send(|| format!("read {}", described()), api.get_opt(&name)).await?;
                    let same = live.filter(|live| live.meta().uid == object.meta().uid);
                    read = same.ok_or_else(|| StoreError::Absent(described()))?;
                }
                other => return other.map(Some),
            }
        }
        if goes_on(&read) { write_status(&api, &read, status).await.map(Some) } else { Ok(None) }
    }
}

pub(super) async fn write_status<K>(api: &Api<K>, object: &K, status: &K::Status) -> Result<K, StoreError>
where
    K: Resource<DynamicType = ()> + HasStatus + Clone + Debug + DeserializeOwned,
    K::Status: Serialize + PartialEq,
{
    if object.status() == Some(status) {
        return Ok(object.clone());
    }
    let name = object.name_any();
    let what = || format!("write the status of {}", described::<K>(&object.namespace().unwrap_or_default(), &name));
    // The server compares the resourceVersion that a patch makes, and answers
    // 409 where the object has another. A new object of the same name has one.
    let patch: json_patch::Patch = serde_json::from_value(json!([
        { "op": "replace", "path": "/metadata/resourceVersion", "value": object.meta().resource_version },
        { "op": "add", "path": "/status", "value": status },
    ]))
    .map_err(|source| StoreError::of(what(), kube::Error::SerdeError(source)))?;
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    send(what, api.patch_status(&name, &parameters, &Patch::<()>::Json(patch))).await
}
