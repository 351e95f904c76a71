//! Bowline as people run it: an image, installed by Helm, in real pods on a
//! real node. Needs root; see `rig::node`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod story;
mod world;
