//! The rules of the house that a compiler does not hold: who may use whom, who
//! may touch the world, and what no file may contain. `ARCHITECTURE.md` gives
//! the reasons; what is listed here is the rule.
#![allow(clippy::unwrap_used, clippy::panic)]

mod code;
mod house;
mod modules;
mod supply;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that Git tracks, with their paths from the root.
fn tracked() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let files: Vec<String> =
        names.split_terminator('\0').filter(|name| root().join(name).is_file()).map(ToOwned::to_owned).collect();
    assert!(files.len() > 50, "git tracks almost nothing here: {files:?}");
    files
}

/// All Rust files below a directory, with their paths from the root, sorted.
fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no Rust files in {directory}");
    found
}

/// Fails with all findings, one a line.
#[track_caller]
fn nothing_found(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
