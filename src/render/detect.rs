//! What a tree holds: plain manifests, a kustomization or a chart.

use std::fmt;

use crate::source::tree::Tree;

/// How a tree is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenderType {
    /// A directory of YAML and JSON files.
    Directory,
    /// A kustomization.
    Kustomize,
    /// A Helm chart.
    Helm,
}

impl fmt::Display for RenderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "Directory",
            Self::Kustomize => "Kustomize",
            Self::Helm => "Helm",
        })
    }
}

/// Tells from the files at a path (`.` for the root) how they are meant: a
/// chart has a `Chart.yaml`, a kustomization one of its three file names.
pub fn detect(tree: &dyn Tree, path: &str) -> RenderType {
    detected(tree, path).map_or(RenderType::Directory, |(kind, _)| kind)
}

/// The file that tells, where it is one of another type than a directory.
pub(super) fn detected<'a>(tree: &'a dyn Tree, path: &str) -> Option<(RenderType, &'a str)> {
    let names = [
        ("Chart.yaml", RenderType::Helm),
        ("kustomization.yaml", RenderType::Kustomize),
        ("kustomization.yml", RenderType::Kustomize),
        ("Kustomization", RenderType::Kustomize),
    ];
    names.into_iter().find_map(|(name, kind)| {
        let file = if path == "." || path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let entries = tree.entries();
        entries.iter().find(|entry| entry.path == file).map(|entry| (kind, entry.path.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::source::tree::MemoryTree;

    #[rstest]
    #[case(&["a.yaml"], ".", RenderType::Directory)]
    #[case(&["Chart.yaml", "templates/a.yaml"], ".", RenderType::Helm)]
    #[case(&["kustomization.yaml"], ".", RenderType::Kustomize)]
    #[case(&["kustomization.yml"], "", RenderType::Kustomize)]
    #[case(&["deploy/Kustomization"], "deploy", RenderType::Kustomize)]
    #[case(&["sub/Chart.yaml", "a.yaml"], ".", RenderType::Directory)]
    fn a_tree_is_what_its_files_say(#[case] files: &[&str], #[case] path: &str, #[case] expected: RenderType) {
        let tree: MemoryTree = files.iter().map(|file| (*file, "")).collect();
        assert_eq!(detect(&tree, path), expected);
    }
}
