//! What comes before what, beyond the order of kinds: waves, dependencies and
//! hooks, as manifests say it in annotations. Pure.
//!
//! Waves and dependencies are one graph. Its levels are the order in which
//! members are written: a level is opened by the health of what its members
//! wait for, not by time.
//!
//! ```text
//! manifest ──role──> Member ──Schedule──> level, what it waits for
//!               └──> Hook   ──Hook──────> phase, level, when it is deleted
//! ```

mod dependency;
mod graph;
mod hook;

pub use graph::Schedule;
pub use hook::{Hook, HookDelete, HookPhase, HookRun, Occasion as HookOccasion, Role, role};

use super::{Refusal, RefusalReason};
use crate::manifest::Manifest;

/// The wave of an object: a whole number, the lower the earlier, 0 where none
/// is given.
pub(super) const WAVE: &str = "bowline.dev/wave";
/// The same of Argo CD.
const ARGO_WAVE: &str = "argocd.argoproj.io/sync-wave";

/// The wave that a manifest asks for.
fn wave(manifest: &Manifest) -> Result<i32, Box<Refusal>> {
    for name in [WAVE, ARGO_WAVE] {
        let Some(text) = manifest.annotation(name) else { continue };
        return text.trim().parse().map_err(|_| invalid(manifest, name, text, "is no whole number, such as -1 or 5"));
    }
    Ok(0)
}

/// The refusal of an annotation that cannot be understood.
fn invalid(manifest: &Manifest, name: &str, text: &str, why: &str) -> Box<Refusal> {
    let file = manifest.origin.as_ref().map(|origin| format!(" in {}", origin.file)).unwrap_or_default();
    Box::new(Refusal {
        reason: RefusalReason::Invalid,
        object: Some(manifest.id.clone()),
        message: format!("the annotation {name}{file} {why}: `{text}`"),
        hint: Some("correct the annotation in Git".to_owned()),
        transient: false,
    })
}

/// The wave of a live object, for the order in which objects are deleted.
pub(super) fn wave_of_live(object: &serde_json::Value) -> i32 {
    let read = |name| super::claim::annotation(object, name)?.trim().parse().ok();
    read(WAVE).or_else(|| read(ARGO_WAVE)).unwrap_or(0)
}
