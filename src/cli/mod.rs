//! cli

pub mod health;
pub mod render;
pub mod validate;
