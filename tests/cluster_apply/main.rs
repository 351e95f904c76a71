//! Observing, applying and reading evidence on a real API server. Each test
//! has a namespace of its own in the shared control plane; `cargo xtask test`
//! starts that, or `cargo xtask cluster up`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod admission;
mod counting;
mod discovering;
mod evidence;
mod facts;
mod observing;
mod out_of_reach;
mod owning;
mod whole;
mod world;
mod writing;
