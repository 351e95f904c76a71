//! Bowline's own resources on a real API server: what the definitions refuse,
//! what the policies stamp, and what the store writes and reads. Each test has
//! a namespace of its own in the shared control plane; `cargo xtask test`
//! starts that, or `cargo xtask cluster up`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod budget;
mod bundles;
mod definitions;
mod inventory;
mod policies;
mod releases;
mod statuses;
mod world;
