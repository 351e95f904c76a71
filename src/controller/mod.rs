//! What Bowline does: `decide`, and the loop that carries it out.
//!
//! One task per application (`actor`) owns that application's state. It asks
//! the pure function [`decide::decide`] for the one next thing to do, does it,
//! and asks again; when nothing is to be done it rests until an event. No task
//! sleeps or waits for health: waiting is state.
//!
//! ```text
//! poller ──heads──┐
//! watches ─events─┼──> actor ──view──> decide ──Decision──> actor ──> cluster
//! index ──events──┘                                          └──> status, events
//! ```

mod actor;
mod announced;
pub mod bases;
mod brake;
pub mod charts;
mod contest;
pub mod decide;
pub mod decryption;
pub mod deep_check;
mod dependencies;
mod first_look;
mod handover;
mod hooks;
mod instance;
mod news;
mod options;
mod outbox;
mod outside;
pub mod plan_view;
mod poller;
mod run;
pub(crate) mod scopes;
pub(crate) mod settings;
mod shared;
mod signatures;
mod status;
mod status_news;
mod status_waits;
mod telling;
mod term;
pub mod values;
mod warm;
mod watched;
pub mod words;

pub use announced::Announced;
pub use options::{HooksOptions, Options};
pub use outside::OperatorServer;
pub use run::{ControllerError, run};
