//! What a directory holds: plain manifests, a kustomization or a chart.

use std::fmt;

use crate::source::{files::Files, tree::TreeError};

/// How a directory is rendered.
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

/// The names that the file of a kustomization may have.
pub(super) const KUSTOMIZATIONS: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Tells from the files at a path (`.` for the root) how they are meant: a
/// chart has a `Chart.yaml`, a kustomization one of its three file names.
///
/// # Errors
/// The files cannot be read.
pub fn detect(files: &dyn Files, path: &str) -> Result<RenderType, TreeError> {
    let charts = [("Chart.yaml", RenderType::Helm)];
    let kustomizations = KUSTOMIZATIONS.iter().map(|name| (*name, RenderType::Kustomize));
    for (name, kind) in charts.into_iter().chain(kustomizations) {
        let file = if path == "." || path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        if files.find(&file)?.is_some() {
            return Ok(kind);
        }
    }
    Ok(RenderType::Directory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::source::{files::Listed, tree::MemoryTree};

    #[rstest]
    #[case(&["a.yaml"], ".", RenderType::Directory)]
    #[case(&["Chart.yaml", "templates/a.yaml"], ".", RenderType::Helm)]
    #[case(&["kustomization.yaml"], ".", RenderType::Kustomize)]
    #[case(&["kustomization.yml"], "", RenderType::Kustomize)]
    #[case(&["deploy/Kustomization"], "deploy", RenderType::Kustomize)]
    #[case(&["sub/Chart.yaml", "a.yaml"], ".", RenderType::Directory)]
    fn a_directory_is_what_its_files_say(#[case] files: &[&str], #[case] path: &str, #[case] expected: RenderType) {
        let tree: MemoryTree = files.iter().map(|file| (*file, "")).collect();
        assert_eq!(detect(&Listed(&tree), path).unwrap(), expected);
    }
}
