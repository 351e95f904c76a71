//! The bare client that Bowline is held against: the same files, the same
//! calls, nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::Access;
use serde::Deserialize;

use super::Result;

/// What the client says of a pass over all files.
#[derive(Deserialize)]
struct Pass {
    requests: usize,
    seconds: f64,
}

/// Both passes together.
pub(super) struct Bare {
    pub(super) requests: usize,
    pub(super) took: Duration,
}

/// Tries every file of a directory on the server, and then applies each.
pub(super) fn dry_run_and_apply(access: &Access, namespace: &str, directory: &Path) -> Result<Bare> {
    let output = Command::new(rig::tools::path("bare-apply")?)
        .arg("-namespace")
        .arg(namespace)
        .arg("-directory")
        .arg(directory)
        .args(["dry-run", "apply"])
        .env("KUBECONFIG", access.kubeconfig_path())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("bare-apply failed ({}); see above", output.status).into());
    }
    let passes = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let passes: Vec<Pass> = passes.map(serde_json::from_slice).collect::<std::result::Result<_, _>>()?;
    Ok(Bare {
        requests: passes.iter().map(|pass| pass.requests).sum(),
        took: Duration::from_secs_f64(passes.iter().map(|pass| pass.seconds).sum()),
    })
}
