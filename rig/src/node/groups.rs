//! The control groups of a node: one at the root of each hierarchy, below
//! which the kubelet makes those of the pods.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::error::{At as _, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// What the kubelet needs where there is one hierarchy for all.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The roots of all hierarchies: one of version 2, or several of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    // `cpu` and `cpuacct` may be two names of one directory.
    entries.filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// The names of all groups at the roots.
pub(super) fn names() -> std::collections::BTreeSet<String> {
    let entries =
        hierarchies().into_iter().flat_map(|hierarchy| fs::read_dir(hierarchy).into_iter().flatten().flatten());
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Makes the groups of a node.
pub(super) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        if let Ok(available) = fs::read_to_string(hierarchy.join("cgroup.controllers")) {
            let available: Vec<&str> = available.split_whitespace().collect();
            let control = hierarchy.join("cgroup.subtree_control");
            for name in CONTROLLERS.iter().filter(|name| available.contains(name)) {
                fs::write(&control, format!("+{name}")).at("write", &control)?;
            }
        }
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).at("create", &group)?;
        // A new group of processors has none, and nothing can run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (above, own) = (hierarchy.join(file), group.join(file));
            let (Ok(value), Ok(has)) = (fs::read_to_string(above), fs::read_to_string(&own)) else { continue };
            if has.trim().is_empty() && !value.trim().is_empty() {
                fs::write(&own, value.trim()).at("write", &own)?;
            }
        }
    }
    Ok(())
}

/// Removes the groups of a node, whose processes have ended or are ending.
pub(super) fn remove(name: &str) {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        for _ in 0..40 {
            remove_below(&group);
            if !group.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn remove_below(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path());
    }
    // A group that something still runs in stays, and is removed by the next start.
    let _ = fs::remove_dir(group);
}
