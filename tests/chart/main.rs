//! The chart `charts/bowline`: what it renders, by the real Helm, and whether a
//! real API server and Prometheus take it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod flags;
mod helm;
mod manifests;
mod monitoring;
mod rights;
mod values;
