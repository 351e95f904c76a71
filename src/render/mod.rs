//! Tree to bundle: the desired objects that a tree of files says.
//!
//! A render reads files of a [`Tree`](crate::source::tree::Tree) and gives
//! manifests in canonical form with their digests, or everything that is wrong
//! with the files, each problem with its place. It never talks to a cluster:
//! whether a kind is namespaced comes in as a [`ScopeLookup`].
//!
//! ```text
//! tree ──select──> files ──yaml──> documents ──flatten──> objects ──scopes──> manifests, digests
//! ```
//!
//! So far a directory of YAML and JSON is rendered; a Helm chart or a
//! kustomization is recognised and refused by name.

mod detect;
mod directory;
mod flatten;
mod known;
mod output;
mod scopes;
mod select;
mod well_known;

pub use detect::{RenderType, detect};
pub use directory::{DirectoryOptions, Limits, Render, RenderFailure, directory, directory_after};
pub use known::KnownFiles;
pub use output::{json_array, yaml_stream};
pub use scopes::{BuiltIn, Chain, ScopeLookup, Scopes, UnknownKind};
