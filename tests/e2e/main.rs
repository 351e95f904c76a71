//! The whole controller on real components: stories told from outside.
//!
//! The tests start the program itself, push to a Git server, and look at an
//! API server. One control plane with one controller serves most of them,
//! each in a namespace of its own; what kills a controller, counts requests or
//! breaks many applications has a control plane for itself.
//!
//! No test sleeps for a fixed time to let something happen: it waits for what
//! it wants to see, up to a limit. Where a test shows that something does
//! *not* happen, it lets so many polls pass.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod analysis;
mod asked;
mod automatic_rollback;
mod checks;
mod commit_to_live;
mod damage;
mod deep_check;
mod deletion;
mod dependencies;
mod drift;
mod encrypted;
mod faults;
mod guards;
mod health;
mod history;
mod hold;
mod hooks;
mod identity;
mod kept;
mod killed;
mod leaders;
mod lease;
mod many;
mod modes;
mod moving;
mod notify;
mod order;
mod ownership;
mod programs;
mod replay;
mod rights;
mod rollback;
mod sharing;
mod silence;
mod soak;
mod sources;
mod stages;
mod tenants;
mod verify;
mod watches;
mod webhooks;
mod world;
