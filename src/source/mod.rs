//! Git: resolve, fetch, read trees.
//!
//! The only module that talks to Git. Blobs are read from a bare repository at
//! a commit; nothing is checked out.

pub mod tree;
pub mod working;
