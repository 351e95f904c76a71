//! Git: resolve, fetch, read trees.
//!
//! The only module that talks to Git. It owns the mirrors on disk, the
//! connections to repositories and everything that a repository sends. Blobs
//! are read from a bare repository at a commit; nothing is checked out, no
//! hook, filter or subprocess is ever started.
//!
//! ```text
//! RepositoryUrl ─┐
//! Credentials  ──┴─> Repositories ──> Mirror ──poll──> Resolved
//! Revision ───────────────────────────> │ ────fetch─> Fetched (commit, moved)
//!                                       │ ──signer──> who signed it, by TrustedKeys
//!                                       │ ────tree──> GitTree : Tree
//!                                       │ ───files──> GitFiles : Files
//!                                       └ ────log───> CommitLog
//! ```
//!
//! Everything is synchronous and blocks: call it from a blocking task. No type
//! of the Git library appears in a public signature, so that another
//! implementation can take its place. A credential never appears in an error,
//! in `Debug` or on disk.
//!
//! What it cannot do, and what would mend it:
//!
//! - The library cannot be interrupted while it waits for a server, nor while
//!   it reads the list of references, which has no bound of its own. A caller
//!   is held no longer than its deadline, but a thread may stay behind, one for
//!   each mirror, and an endless list takes memory. A transport of our own, or
//!   a subprocess with a bound on memory, would mend both.
//! - A redirect within one host may lead to another port of it, with the
//!   credentials.
//! - With `ca.crt`, intermediate authorities must be in that bundle: the
//!   library shows only the server's own certificate. Revocation is not checked.
//! - Over SSH, the kind of key that a host shows is the library's choice, so
//!   `known_hosts` should have all of its keys; certificates of hosts are not used.
//! - SHA-256 repositories and Git LFS are not read.
//! - From a local repository (`file://`) all history is received; the library
//!   knows no part of a history there.

mod certificate;
mod credentials;
mod error;
mod fetch;
pub mod files;
mod generation;
mod git_files;
mod git_tree;
mod id;
mod known_hosts;
mod limits;
mod log;
mod mirror;
mod names;
mod objects;
mod place;
mod process;
mod references;
mod repositories;
mod revision;
mod signature;
mod submodules;
mod transport;
pub mod tree;
mod url;

pub use credentials::{Credentials, CredentialsRefused};
pub use error::SourceError;
pub use fetch::Fetched;
pub use git_files::GitFiles;
pub use git_tree::{GitTree, TreeWarning};
pub use id::{CommitId, NotAnId, TagId, TreeId};
pub use limits::{Limits, ProcessLimits, TreeLimits};
pub use log::{Commit, CommitLog, Relation};
pub use mirror::{Mirror, Moved};
pub use place::{NotAPlace, Place};
pub use process::init_process;
pub use references::Resolved;
pub use repositories::Repositories;
pub use revision::{Revision, RevisionRefused};
pub use signature::{KeysRefused, SignedObject, TrustedKeys};
pub use submodules::{SubmodulePolicy, Submodules};
pub use url::{RepositoryUrl, UrlPolicy, UrlRefused, redact};
pub mod working;
