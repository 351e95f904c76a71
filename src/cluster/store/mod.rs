//! Bowline's own resources: what `history` made is written here, and read
//! back. All of it under the controller's own identity.
//!
//! Owns: names, labels, preconditions and time-outs of these requests. Never
//! touches an application's objects, and never decides what to write.
//!
//! Releases, bundles and inventories have no owner references: they outlive
//! their Application, and a new one of the same name goes on with them.
//!
//! ```text
//! History   <──load── Release*              (compare-and-swap by name)
//! Packed    ──store─> BundleChunk*, Secret*, then Bundle
//! Owned     <──────-> Inventory*            (compare-and-swap by resourceVersion)
//! ```

mod bundles;
mod error;
mod events;
mod finalizers;
mod installation;
mod inventory;
mod kept;
mod reader;
mod releases;
mod statuses;

use std::{collections::BTreeMap, fmt::Debug, future::Future, time::Duration};

pub use error::StoreError;
pub use events::{EventKind, Events};
pub use installation::RequestPolicies;
pub use inventory::StoredInventory;
use k8s_openapi::NamespaceResourceScope;
pub use kept::{KeptContent, Swept};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Preconditions},
};
pub use reader::BundleReader;
pub use releases::release_name;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::api::APPLICATION_LABEL;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many requests of one operation are in flight at once.
const IN_FLIGHT: usize = 16;
/// How many requests are in flight at once, of all applications: each is a
/// connection of its own, and hundreds of applications start in one moment.
static ROOM: Semaphore = Semaphore::const_new(48);
/// The name under which the server records who wrote a field.
const FIELD_MANAGER: &str = "bowline";

/// Bowline's own resources of a whole cluster.
#[derive(Clone)]
pub struct Store {
    client: Client,
}

/// Bowline's own resources of one application.
#[derive(Clone)]
pub struct ApplicationStore {
    client: Client,
    namespace: String,
    application: String,
}

impl Store {
    /// Makes a store. The client's own retries should be off: what is worth a
    /// retry is the caller's to say.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The resources of one application.
    pub fn of(&self, namespace: &str, application: &str) -> ApplicationStore {
        ApplicationStore {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            application: application.to_owned(),
        }
    }

    /// Deletes an object, if it is still the same one. One that is gone
    /// already is as good.
    pub async fn delete<K>(&self, object: &K) -> Result<(), StoreError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        delete(&api, &namespace, &object.name_any(), of_uid(object.meta().uid.clone())).await
    }
}

impl ApplicationStore {
    /// The namespace of the application.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the application.
    pub fn application(&self) -> &str {
        &self.application
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Selects by the spec, which cannot be changed, and not by the label,
    /// which anybody may edit.
    fn by_application(&self) -> ListParams {
        ListParams::default().fields(&format!("spec.application={}", self.application))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(APPLICATION_LABEL.to_owned(), self.application.clone())])
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    /// For messages: `Release team-a/shop-3`.
    fn named<K: Resource<DynamicType = ()>>(&self, name: &str) -> String {
        described::<K>(&self.namespace, name)
    }
}

fn described<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> String {
    format!("{} {namespace}/{name}", K::kind(&()))
}

/// Sends one request in its turn; from then on it has a time-out.
async fn send<T, F>(what: impl FnOnce() -> String, request: F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    // The semaphore is never closed.
    let _turn = ROOM.acquire().await.ok();
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(StoreError::of(what(), error)),
        Err(_) => Err(StoreError::TimedOut { what: what(), seconds: TIMEOUT.as_secs() }),
    }
}

/// The object of this uid.
fn of_uid(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}

/// Deletes an object; one that is gone already, or is another than was meant,
/// is as good.
async fn delete<K>(api: &Api<K>, namespace: &str, name: &str, which: Preconditions) -> Result<(), StoreError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let parameters = DeleteParams { preconditions: Some(which), ..DeleteParams::default() };
    let what = || format!("delete {}", described::<K>(namespace, name));
    match send(what, api.delete(name, &parameters)).await {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(|_| ()),
    }
}
