//! The real components that Bowline is tested, shown and measured against.
//!
//! Nothing here imitates an API server or Git: [`tools`] builds the pinned
//! programs from their Go modules, [`Cluster`] runs them on free loopback
//! ports, and [`GitServer`] serves repositories by Git's own `http-backend`.
//! The one stand-in is the named pod metrics fixture (see [`cluster`]), which
//! says so in every name it bears.
//!
//! Everything that is started dies with the process that started it, by the
//! kernel's parent-death signal, also when that process is killed outright.
//!
//! The crate is synchronous: its few servers run on threads of their own, so
//! that it can be used from any test, inside an async runtime or not.

mod charts;
pub mod cluster;
mod debian;
mod directory;
mod error;
mod fault_proxy;
mod gate;
pub mod git_server;
mod http;
pub mod image;
pub mod node;
mod pki;
mod ports;
mod process;
mod prometheus;
mod receiver;
mod signers;
mod ssh_server;
pub mod tools;

pub use charts::{Account, ChartRepository, Registry};
pub use cluster::{Access, AuditLog, Cluster, Options, Request, shared_cluster};
pub use directory::cache_dir;
pub use error::Error;
pub use fault_proxy::{Fault, FaultProxy, Seen};
pub use gate::Gate;
pub use git_server::{Auth, GitRepo, GitServer};
pub use pki::Authority;
pub use process::{Launch, Process, detach};
pub use prometheus::{Exporter, Prometheus, promtool};
pub use receiver::{Posted, Receiver};
pub use signers::{Gpg, SshSigner};
pub use ssh_server::{SshKey, SshServer};
