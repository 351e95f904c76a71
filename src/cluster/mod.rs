//! Everything that speaks to an API server.

mod owner;

pub mod index;

pub use owner::OwnerKey;
