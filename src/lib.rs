//! Bowline: a GitOps controller for Kubernetes that holds, explains itself,
//! and takes a bad release back. `ARCHITECTURE.md` is the map.

#![warn(missing_docs)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod health;
pub mod history;
pub mod manifest;
pub mod notify;
pub mod plan;
pub mod render;
pub mod server;
pub mod source;
pub mod telemetry;
