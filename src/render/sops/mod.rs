//! Files that SOPS encrypted, decrypted in memory by age keys.
//!
//! ```text
//! file ──form──> tree + metadata ──age──> data key ──cipher──> cleartext ──mac──> documents, or a file for a program
//! ```
//!
//! The format is that of github.com/getsops/sops, version 3: a file keeps its
//! structure, each value is encrypted by itself (AES-256-GCM, with the path of
//! the value as additional data) under a data key, which is encrypted for each
//! recipient; a code over all values tells whether something was changed. All
//! of it is verified before anything is given out.
//!
//! Cleartext and keys are in no message, no `Debug`, no digest, and nowhere on
//! a disk but in the private directory of a program that renders.

mod cipher;
mod data_key;
mod dotenv;
mod file;
mod keys;
mod left;
mod metadata;
mod refusal;
mod rule;
#[cfg(test)]
mod testing;
mod tree;

pub use keys::{AgeKeys, Decryption};

pub(super) use file::{decrypt_file, documents};
pub(super) use left::left_encrypted;
