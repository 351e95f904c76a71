//! Requests: what a person asks for is an object that the controller carries
//! out. Here they are made; `follow` looks at what becomes of them.

use std::collections::BTreeMap;

use kube::{ResourceExt as _, api::ObjectMeta};

use super::{CommandError, session::Kind, session::Session};
use crate::api::{
    APPLICATION_LABEL, ApplicationRef, RequestStatus, RollbackRequest, RollbackRequestSpec, SyncRequest,
    SyncRequestSpec,
};

/// A SyncRequest or a RollbackRequest.
pub trait Request: Kind {
    /// What became of it.
    fn became(&self) -> Option<&RequestStatus>;
    /// What it is, for messages: `SyncRequest`.
    const WORD: &'static str;
}

impl Request for SyncRequest {
    fn became(&self) -> Option<&RequestStatus> {
        self.status.as_ref()
    }

    const WORD: &'static str = "SyncRequest";
}

impl Request for RollbackRequest {
    fn became(&self) -> Option<&RequestStatus> {
        self.status.as_ref()
    }

    const WORD: &'static str = "RollbackRequest";
}

/// A SyncRequest that asks for nothing special yet.
pub fn sync_spec(application: &str) -> SyncRequestSpec {
    SyncRequestSpec {
        application_ref: ApplicationRef { name: application.to_owned() },
        revision: None,
        accept: None,
        allow_prune: None,
        dry_run: false,
        from_release: None,
        reason: String::new(),
        requested_by: String::new(),
    }
}

/// Creates a SyncRequest in the name of the person.
pub async fn create_sync(session: &Session, mut spec: SyncRequestSpec) -> Result<SyncRequest, CommandError> {
    spec.requested_by = session.username().await;
    let metadata = metadata(session, &spec.application_ref.name);
    session.create(&SyncRequest { metadata, spec, status: None }).await
}

/// Creates a RollbackRequest in the name of the person.
pub async fn create_rollback(
    session: &Session,
    mut spec: RollbackRequestSpec,
) -> Result<RollbackRequest, CommandError> {
    spec.requested_by = session.username().await;
    let metadata = metadata(session, &spec.application_ref.name);
    session.create(&RollbackRequest { metadata, spec, status: None }).await
}

/// The metadata of something asked about an application: the server completes
/// its name.
pub fn metadata(session: &Session, application: &str) -> ObjectMeta {
    ObjectMeta {
        generate_name: Some(format!("{application}-")),
        namespace: Some(session.namespace.clone()),
        labels: Some(BTreeMap::from([(APPLICATION_LABEL.to_owned(), application.to_owned())])),
        ..ObjectMeta::default()
    }
}

/// `syncrequest.bowline.dev/shop-x7k2p`, as kubectl names it.
pub fn reference<R: Request>(request: &R) -> String {
    format!("{}.{}/{}", R::WORD.to_lowercase(), R::group(&()), request.name_any())
}
