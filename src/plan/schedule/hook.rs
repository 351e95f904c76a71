//! Hooks: objects that are run at a moment of a release instead of being kept.
//!
//! | annotation | values |
//! | --- | --- |
//! | `bowline.dev/hook` | `PreSync`, `PostSync`, `SyncFailed`, `Test`; several with commas |
//! | `bowline.dev/hook-delete` | `BeforeRun` (the default), `Succeeded`, `Failed`, `Never`; several with commas |
//!
//! Helm's (<https://helm.sh/docs/topics/charts_hooks/>) and Argo CD's
//! (<https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/>)
//! annotations mean the same where there is no own one:
//!
//! | theirs | ours |
//! | --- | --- |
//! | `helm.sh/hook: pre-install` | PreSync, at the first release only |
//! | `helm.sh/hook: pre-upgrade` | PreSync, at later releases only |
//! | `helm.sh/hook: post-install`, `post-upgrade` | PostSync, likewise |
//! | `helm.sh/hook: test`, `test-success` | Test |
//! | `helm.sh/hook-weight` | wave within the phase |
//! | `argocd.argoproj.io/hook: PreSync`, `PostSync`, `SyncFail` | PreSync, PostSync, SyncFailed |
//! | `argocd.argoproj.io/hook: Sync` | an ordinary object, in its wave |
//! | other values of these | not run, and the plan says so |

use std::{collections::BTreeSet, fmt};

use super::{Refusal, invalid, wave};
use crate::manifest::{Manifest, ObjectId};

/// Our annotations.
const HOOK: &str = "bowline.dev/hook";
const DELETE: &str = "bowline.dev/hook-delete";
/// Helm's.
const HELM_HOOK: &str = "helm.sh/hook";
const HELM_WEIGHT: &str = "helm.sh/hook-weight";
const HELM_DELETE: &str = "helm.sh/hook-delete-policy";
/// Argo CD's.
const ARGO_HOOK: &str = "argocd.argoproj.io/hook";
const ARGO_DELETE: &str = "argocd.argoproj.io/hook-delete-policy";

/// The moment of a release at which a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPhase {
    /// Before anything else is written.
    PreSync,
    /// When all that was written is healthy.
    PostSync,
    /// After that: a failure takes the release back.
    Test,
    /// When the release failed.
    SyncFailed,
}

impl HookPhase {
    const ALL: &[Self] = &[Self::PreSync, Self::PostSync, Self::Test, Self::SyncFailed];

    /// The word that people write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreSync => "PreSync",
            Self::PostSync => "PostSync",
            Self::Test => "Test",
            Self::SyncFailed => "SyncFailed",
        }
    }
}

impl fmt::Display for HookPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for HookPhase {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|phase| phase.as_str() == text).ok_or(())
    }
}

/// When a hook's object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookDelete {
    /// Before it is run again.
    BeforeRun,
    /// As soon as it succeeded.
    Succeeded,
    /// As soon as it failed.
    Failed,
    /// Never: it is run once and kept.
    Never,
}

/// At which releases a hook is run: Helm tells an installation from an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// At each.
    Every,
    /// At the first release of an application only.
    First,
    /// At every release but the first.
    Later,
}

/// A run of a hook within a release: the same object may be run in several
/// phases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookRun {
    /// When.
    pub phase: HookPhase,
    /// What.
    pub id: ObjectId,
}

/// What a manifest says of being a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it is run.
    pub phases: BTreeSet<HookPhase>,
    /// At which releases.
    pub occasion: Occasion,
    /// Its place among the hooks of a phase, the lower the earlier.
    pub wave: i32,
    /// When its object is deleted.
    pub delete: BTreeSet<HookDelete>,
}

impl Hook {
    /// Whether its object is deleted after such an end.
    pub fn is_deleted_after(&self, succeeded: bool) -> bool {
        self.delete.contains(if succeeded { &HookDelete::Succeeded } else { &HookDelete::Failed })
    }

    /// Whether it is run once and kept for good.
    pub fn runs_once(&self) -> bool {
        self.delete.contains(&HookDelete::Never)
    }
}

/// What a manifest is to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// An object of the application.
    Member,
    /// An object that is run.
    Hook(Hook),
    /// A hook of another tool that has no meaning here: it is left out, and
    /// this is said of it.
    LeftOut(String),
}

/// Reads what a manifest is.
pub fn role(manifest: &Manifest) -> Result<Role, Box<Refusal>> {
    if let Some(text) = manifest.annotation(HOOK) {
        return own(manifest, text).map(Role::Hook);
    }
    if let Some(text) = manifest.annotation(HELM_HOOK) {
        return helm(manifest, text);
    }
    match manifest.annotation(ARGO_HOOK) {
        Some(text) => argo(manifest, text),
        None => Ok(Role::Member),
    }
}

fn own(manifest: &Manifest, text: &str) -> Result<Hook, Box<Refusal>> {
    let phases = words(text)
        .map(|word| word.parse())
        .collect::<Result<BTreeSet<HookPhase>, ()>>()
        .ok()
        .filter(|phases| !phases.is_empty())
        .ok_or_else(|| invalid(manifest, HOOK, text, "is none of PreSync, PostSync, SyncFailed and Test"))?;
    let policies = manifest.annotation(DELETE).unwrap_or("BeforeRun");
    let delete: Option<BTreeSet<HookDelete>> = words(policies)
        .map(|word| match word {
            "BeforeRun" => Some(HookDelete::BeforeRun),
            "Succeeded" => Some(HookDelete::Succeeded),
            "Failed" => Some(HookDelete::Failed),
            "Never" => Some(HookDelete::Never),
            _ => None,
        })
        .collect();
    let delete = delete
        .ok_or_else(|| invalid(manifest, DELETE, policies, "is none of BeforeRun, Succeeded, Failed and Never"))?;
    if delete.contains(&HookDelete::Never) && delete.len() > 1 {
        return Err(invalid(manifest, DELETE, policies, "says Never and something else"));
    }
    Ok(Hook { phases, occasion: Occasion::Every, wave: wave(manifest)?, delete })
}

fn helm(manifest: &Manifest, text: &str) -> Result<Role, Box<Refusal>> {
    let mut phases = BTreeSet::new();
    let (mut first, mut later, mut always) = (false, false, false);
    let mut others = Vec::new();
    for word in words(text) {
        let phase = match word {
            "pre-install" | "pre-upgrade" => HookPhase::PreSync,
            "post-install" | "post-upgrade" => HookPhase::PostSync,
            "test" | "test-success" => HookPhase::Test,
            other => {
                others.push(other);
                continue;
            }
        };
        phases.insert(phase);
        first |= word.ends_with("-install");
        later |= word.ends_with("-upgrade");
        always |= phase == HookPhase::Test;
    }
    if phases.is_empty() {
        return Ok(left_out(HELM_HOOK, &others));
    }
    let occasion = match (first, later, always) {
        (true, false, false) => Occasion::First,
        (false, true, false) => Occasion::Later,
        _ => Occasion::Every,
    };
    let weight = match manifest.annotation(HELM_WEIGHT) {
        None => wave(manifest)?,
        Some(text) => text.trim().parse().map_err(|_| invalid(manifest, HELM_WEIGHT, text, "is no whole number"))?,
    };
    // Helm deletes before it runs where nothing else is said.
    let delete = deletions(manifest.annotation(HELM_DELETE), "before-hook-creation", "hook-succeeded", "hook-failed");
    Ok(Role::Hook(Hook { phases, occasion, wave: weight, delete }))
}

fn argo(manifest: &Manifest, text: &str) -> Result<Role, Box<Refusal>> {
    let mut phases = BTreeSet::new();
    let mut others = Vec::new();
    let mut member = false;
    for word in words(text) {
        match word {
            "PreSync" => _ = phases.insert(HookPhase::PreSync),
            "PostSync" => _ = phases.insert(HookPhase::PostSync),
            "SyncFail" => _ = phases.insert(HookPhase::SyncFailed),
            "Sync" => member = true,
            other => others.push(other),
        }
    }
    if phases.is_empty() {
        return Ok(if member { Role::Member } else { left_out(ARGO_HOOK, &others) });
    }
    let delete = deletions(manifest.annotation(ARGO_DELETE), "BeforeHookCreation", "HookSucceeded", "HookFailed");
    Ok(Role::Hook(Hook { phases, occasion: Occasion::Every, wave: wave(manifest)?, delete }))
}

fn deletions(text: Option<&str>, before: &str, succeeded: &str, failed: &str) -> BTreeSet<HookDelete> {
    let read = |word| match word {
        word if word == before => Some(HookDelete::BeforeRun),
        word if word == succeeded => Some(HookDelete::Succeeded),
        word if word == failed => Some(HookDelete::Failed),
        _ => None,
    };
    let found: BTreeSet<HookDelete> = words(text.unwrap_or_default()).filter_map(read).collect();
    if found.is_empty() { BTreeSet::from([HookDelete::BeforeRun]) } else { found }
}

fn left_out(annotation: &str, values: &[&str]) -> Role {
    Role::LeftOut(format!("has no part in a release ({annotation}: {}); it is left out", values.join(", ")))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::{Map, json};

    use super::*;
    use crate::plan::testing::manifest;

    fn read(annotations: &[(&str, &str)]) -> String {
        let annotations: Map<_, _> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let manifest = manifest(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "j", "namespace": "team-a", "annotations": annotations}}));
        match role(&manifest) {
            Err(refusal) => format!("refused: {}", refusal.message),
            Ok(Role::Member) => "member".to_owned(),
            Ok(Role::LeftOut(why)) => format!("left out: {why}"),
            Ok(Role::Hook(hook)) => {
                let phases: Vec<_> = hook.phases.iter().map(|phase| phase.as_str()).collect();
                format!("{} {:?} {} {:?}", phases.join("+"), hook.occasion, hook.wave, hook.delete)
            }
        }
    }

    #[rstest]
    #[case::nothing(&[], "member")]
    #[case::own(&[(HOOK, "PreSync")], "PreSync Every 0 {BeforeRun}")]
    #[case::several(&[(HOOK, "PostSync, PreSync"), ("bowline.dev/wave", "2")], "PreSync+PostSync Every 2 {BeforeRun}")]
    #[case::deleted(&[(HOOK, "Test"), (DELETE, "Succeeded,Failed")], "Test Every 0 {Succeeded, Failed}")]
    #[case::kept(&[(HOOK, "SyncFailed"), (DELETE, "Never")], "SyncFailed Every 0 {Never}")]
    #[case::a_typing_mistake(&[(HOOK, "Presync")],
        "refused: the annotation bowline.dev/hook is none of PreSync, PostSync, SyncFailed and Test: `Presync`")]
    #[case::empty(&[(HOOK, "")],
        "refused: the annotation bowline.dev/hook is none of PreSync, PostSync, SyncFailed and Test: ``")]
    #[case::a_policy_mistake(&[(HOOK, "Test"), (DELETE, "Always")],
        "refused: the annotation bowline.dev/hook-delete is none of BeforeRun, Succeeded, Failed and Never: `Always`")]
    #[case::a_contradiction(&[(HOOK, "Test"), (DELETE, "Never,Failed")],
        "refused: the annotation bowline.dev/hook-delete says Never and something else: `Never,Failed`")]
    #[case::own_outranks(&[(HOOK, "Test"), (HELM_HOOK, "pre-install")], "Test Every 0 {BeforeRun}")]
    #[case::helm_install(&[(HELM_HOOK, "pre-install")], "PreSync First 0 {BeforeRun}")]
    #[case::helm_upgrade(&[(HELM_HOOK, "post-upgrade"), (HELM_WEIGHT, "-5")], "PostSync Later -5 {BeforeRun}")]
    #[case::helm_both(&[(HELM_HOOK, "pre-install,pre-upgrade"), (HELM_DELETE, "before-hook-creation,hook-succeeded")],
        "PreSync Every 0 {BeforeRun, Succeeded}")]
    #[case::helm_test(&[(HELM_HOOK, "test")], "Test Every 0 {BeforeRun}")]
    #[case::helm_old_test(&[(HELM_HOOK, "test-success")], "Test Every 0 {BeforeRun}")]
    #[case::helm_rollback(&[(HELM_HOOK, "pre-rollback")],
        "left out: has no part in a release (helm.sh/hook: pre-rollback); it is left out")]
    #[case::helm_partly(&[(HELM_HOOK, "pre-upgrade,pre-rollback")], "PreSync Later 0 {BeforeRun}")]
    #[case::helm_weight_mistake(&[(HELM_HOOK, "test"), (HELM_WEIGHT, "x")],
        "refused: the annotation helm.sh/hook-weight is no whole number: `x`")]
    #[case::argo(&[(ARGO_HOOK, "SyncFail"), (ARGO_DELETE, "HookFailed"), ("argocd.argoproj.io/sync-wave", "3")],
        "SyncFailed Every 3 {Failed}")]
    #[case::argo_sync(&[(ARGO_HOOK, "Sync")], "member")]
    #[case::argo_skip(&[(ARGO_HOOK, "Skip")],
        "left out: has no part in a release (argocd.argoproj.io/hook: Skip); it is left out")]
    #[case::argo_delete(&[(ARGO_HOOK, "PostDelete")],
        "left out: has no part in a release (argocd.argoproj.io/hook: PostDelete); it is left out")]
    fn annotations_make_a_hook(#[case] annotations: &[(&str, &str)], #[case] expected: &str) {
        assert_eq!(read(annotations), expected);
    }
}
