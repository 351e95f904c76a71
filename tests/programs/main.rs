//! Charts and kustomizations, rendered by the real programs: equal to what the
//! programs themselves make of the files, and safe from what files try.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bases;
mod case;
mod equal;
mod hostile;
mod known;
mod messages;
mod repositories;
mod sops;
mod touches;
