//! One term of leadership, and the two ways in which it ends.

use tokio_util::sync::CancellationToken;

/// A term, from winning the lease until it is given up or lost. Clones are the
/// same term.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// It ends: what is on its way is finished first.
    pub(super) stop: CancellationToken,
    /// The lease is lost: what is on its way is dropped at once. What had
    /// reached the server by then is as after a crash, and whoever leads now
    /// finds it in the cluster.
    pub(super) lost: CancellationToken,
}

impl Term {
    /// A term that ends with the process.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        Self { stop: stop.child_token(), lost: CancellationToken::new() }
    }

    /// Ends it because the lease is lost.
    pub(super) fn lose(&self) {
        self.lost.cancel();
        self.stop.cancel();
    }
}
