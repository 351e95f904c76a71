//! What a release did that was healthy and degrades: known from its end on or,
//! after a restart, found out from what is kept.

use super::{Actor, begin::changed};
use crate::{
    controller::decide::{Content as From, Watched},
    plan::irreversible,
};

impl Actor {
    /// Finds out what the live release did, where that is to be judged.
    pub(super) async fn recall_watched(&mut self) {
        let known = &self.known;
        let Some(live) =
            known.history.applied().filter(|_| known.degraded_since.is_some() || known.analysed.failed.is_some())
        else {
            return;
        };
        let number = live.spec.number;
        if known.watched.as_ref().is_some_and(|watched| watched.release == number) {
            return;
        }
        let before = self.healthy_before(number).await;
        let watched = match self.content_of(From::Release(number)).await {
            Ok(content) => Watched {
                release: number,
                changed: changed(before.as_ref(), &content),
                irreversible: before.and_then(|before| irreversible(&before.manifests, &content.manifests)),
            },
            Err(error) => Watched {
                release: number,
                irreversible: Some(format!("what it changed cannot be told ({error})")),
                ..Watched::default()
            },
        };
        self.known.watched = Some(watched);
    }
}
