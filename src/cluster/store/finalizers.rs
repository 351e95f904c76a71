//! Finalizers: kept or taken away one by one, whatever others there are.

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{FIELD_MANAGER, Store, StoreError, described, send};
use crate::api::Application;

impl Store {
    /// Sets or removes one finalizer of an Application. The resourceVersion is
    /// a precondition: where somebody else changed it meanwhile, this is a
    /// conflict.
    pub async fn set_finalizer(&self, object: &Application, finalizer: &str, wanted: bool) -> Result<(), StoreError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let mut finalizers: Vec<&str> =
            object.finalizers().iter().map(String::as_str).filter(|known| *known != finalizer).collect();
        if wanted {
            finalizers.push(finalizer);
        }
        let metadata = json!({ "resourceVersion": object.resource_version(), "finalizers": finalizers });
        let api: Api<Application> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let what = || format!("change the finalizers of {}", described::<Application>(&namespace, &name));
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let written = send(what, api.patch_metadata(&name, &parameters, &patch)).await;
        match written {
            // With the last finalizer the object itself goes.
            Err(error) if error.is_not_found() && !wanted => Ok(()),
            other => other.map(drop),
        }
    }
}
