//! Webhooks wake the poller.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::shared::Shared;
use crate::server::{Hooks, Leader, LookNow, ServerError, serve_hooks};

/// Listens for webhooks, where they are asked for, until the token ends it.
///
/// # Errors
/// The address cannot be listened on.
pub(super) async fn receive(shared: &Arc<Shared>, stop: &CancellationToken) -> Result<(), ServerError> {
    let Some(options) = &shared.options.hooks else { return Ok(()) };
    let leads = shared.leadership.changed();
    let weak = Arc::downgrade(shared);
    let look_now: LookNow = Arc::new(move |announced| {
        let shared = weak.upgrade()?;
        // Only the replica that leads reads repositories.
        leads.borrow().then(|| shared.poller.look_now_at(announced))
    });
    let leadership = shared.leadership.clone();
    let leader: Leader = Arc::new(move || leadership.leader_address());
    let hooks = Hooks { secrets: options.secrets.clone(), look_now, leader, metrics: shared.metrics.clone() };
    let (tell, told) = oneshot::channel();
    let server = tokio::spawn(serve_hooks(options.listen, hooks, stop.child_token(), |address| {
        // Nobody waits for it any more only if the controller ended already.
        let _ = tell.send(address);
    }));
    match told.await {
        Ok(address) => {
            if let Some(own) = options.advertise {
                shared.leadership.advertise(SocketAddr::new(own, address.port()));
            }
            info!(hooks = %address, "webhooks are received");
            Ok(())
        }
        Err(_) => server.await.unwrap_or(Ok(())),
    }
}
