//! Watches: one that is kept alive, and those of Bowline's own resources.
//!
//! A [`Feed`] is one watch over all failures; the live index and
//! [`OwnResources`] are told by feeds. [`Changes`] says for whom something
//! changed, so that nobody polls.

mod changes;
mod decode;
mod dues;
mod feed;
mod own;
mod store;

pub use changes::{Announcer, Changes};
pub use dues::Dues;
pub use feed::{Failure, FailureClass, Feed, FeedEvent, ListError, Pulse, Target, list_pages};
pub use own::{OwnResources, OwnWatchReport};
pub use store::Unreadable;
