//! Git sources against repositories that the real `git` made.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod damage;
mod fetching;
mod history;
mod http;
mod repository;
mod signatures;
mod ssh;
mod submodules;
mod trees;
