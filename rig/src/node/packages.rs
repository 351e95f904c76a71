//! What Debian has of a node.

use std::{path::Path, process::Command};

use crate::{
    error::{Error, Result},
    process,
};

/// Where Debian has the plugins for networks of pods.
pub(super) const CNI: &str = "/usr/lib/cni";

/// A program, and the package that has it.
const PROGRAMS: [(&str, &str); 5] =
    [("runc", "runc"), ("iptables", "iptables"), ("ip", "iproute2"), ("mount", "mount"), ("nsenter", "util-linux")];

/// Installs the packages that are missing.
pub(super) fn install_missing() -> Result<()> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| path(program).is_none()).map(|(_, package)| *package).collect();
    if !Path::new(CNI).join("bridge").exists() {
        missing.push("containernetworking-plugins");
    }
    if missing.is_empty() {
        return Ok(());
    }
    // A new machine may have no lists of packages, or old ones.
    if install(&missing).is_ok() {
        return Ok(());
    }
    apt_get(&["update"])?;
    install(&missing).map_err(|error| {
        Error::NoNode(format!("the packages {} are missing, and could not be installed: {error}", missing.join(", ")))
    })
}

fn install(packages: &[&str]) -> Result<()> {
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    process::output(&mut command, None).map(drop)
}

/// The path of a program of the system.
pub(super) fn path(program: &str) -> Option<std::path::PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&on_path).chain(more).map(|directory| directory.join(program)).find(|path| path.is_file())
}
