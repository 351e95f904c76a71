//! Everything that speaks to an API server.

mod owner;

pub mod index;
pub mod watch;

pub use owner::OwnerKey;
