//! Whom a commit concerns. Of many applications of one repository, those whose
//! files it changed are told at once; the others only note where the head is,
//! and are told a few at a time, so that they hold up nobody.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    cluster::OwnerKey,
    source::{CommitId, Mirror, TreeId},
};

/// So many are told at once, whatever the commit changed.
pub(super) const AT_ONCE: usize = 25;
/// How long those whom it concerns have it for themselves.
pub(super) const HEAD_START: Duration = Duration::from_millis(500);
/// How many of the others are told at a time.
pub(super) const FEW: usize = 10;
/// The pause between them.
pub(super) const BREAK: Duration = Duration::from_millis(50);

/// An application that knew another commit before.
pub(super) struct Moved {
    pub(super) owner: OwnerKey,
    /// The directory of its manifests.
    pub(super) path: String,
    pub(super) from: CommitId,
    pub(super) to: CommitId,
}

/// Those for whom nothing changed below their path. What a chart or a
/// kustomization reads elsewhere is not looked at: they are told late, and
/// look themselves. Reads from the disk: blocks.
pub(super) fn untouched(mirror: &Mirror, moved: Vec<Moved>) -> BTreeSet<OwnerKey> {
    let mut paths: HashMap<&CommitId, BTreeSet<&str>> = HashMap::new();
    for Moved { path, from, to, .. } in &moved {
        for commit in [from, to] {
            paths.entry(commit).or_default().insert(path);
        }
    }
    // A commit that cannot be read is told of by whoever wants its content.
    let trees = paths.into_iter().map(|(commit, paths)| (commit, mirror.tree_ids(commit, &paths).unwrap_or_default()));
    let trees: HashMap<&CommitId, HashMap<String, TreeId>> = trees.collect();
    let tree = |commit: &CommitId, path: &str| trees.get(commit)?.get(path);
    let same = |it: &&Moved| tree(&it.from, &it.path).is_some_and(|id| Some(id) == tree(&it.to, &it.path));
    moved.iter().filter(same).map(|it| it.owner.clone()).collect()
}
