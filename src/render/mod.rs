//! Files to bundle: the desired objects that a repository says.
//!
//! A render reads files and gives manifests in canonical form with their
//! digests, or everything that is wrong with the files, each problem with its
//! place. It never talks to a cluster: whether a kind is namespaced comes in as
//! a [`ScopeLookup`], and what a chart may know of the cluster as
//! [`Capabilities`].
//!
//! ```text
//! Directory  tree ──select──> files ──yaml──┐
//! Kustomize  repository ──closure──> copy ──program──yaml──┼──> documents ──flatten──> objects ──touches, assemble──> manifests
//! Helm       repository ──chart────> copy ──program──yaml──┘
//! ```
//!
//! Files that SOPS encrypted are decrypted where they are read (`sops`).
//!
//! A chart or a kustomization is gathered ([`prepare`]) before it is rendered:
//! its inputs have a digest by then, and whoever knows what they come to need
//! not start a program. The programs are the real ones, run in a private copy
//! of just the files that are needed, with an empty home and environment,
//! within limits, and load nothing by themselves.

mod assemble;
mod detect;
mod directory;
mod flatten;
mod helm;
mod known;
mod kustomize;
mod output;
mod path;
mod prepared;
mod programs;
mod reading;
mod scopes;
mod secrets;
mod select;
mod sops;
mod subprocess;
mod touches;
mod unsteady;
mod well_known;
mod workspace;

pub use detect::{RenderType, detect};
pub use directory::{DirectoryOptions, Limits, Render, RenderFailure, directory, directory_after};
pub use helm::{Capabilities, ChartReference, HelmOptions, RepositoryAccess, ValueSource};
pub use known::KnownFiles;
pub use kustomize::{Base, BaseReference, NoBase};
pub use output::{json_array, yaml_stream};
pub use prepared::{Elsewhere, Prepared, Unprepared, prepare};
pub use programs::Programs;
pub use reading::Probes;
pub use scopes::{BuiltIn, Chain, ScopeLookup, Scopes, UnknownKind};
pub use sops::{AgeKeys, Decryption};
pub use subprocess::ProgramLimits;
pub use touches::{ImageOverride, Patch, Target, Touches};
pub use unsteady::Unsteady;
