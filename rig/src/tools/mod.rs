//! The pinned programs, and where they are once built.
//!
//! Versions live in `tools/<module>/go.mod` alone. A program is kept outside
//! the checkout, under a name that carries the digest of all that went into it
//! (`go.mod`, `go.sum`, sources of our own, package, flags), so that several
//! checkouts share what they have in common and no one builds over another's.

mod build;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use build::{Event, build, build_all};

use crate::directory::cache_dir;
use crate::error::{At, Error, Result};

/// A program of the rig. One row is all that a further one needs, beside its `go.mod`.
#[derive(Debug)]
pub struct Tool {
    /// The name of the binary.
    pub name: &'static str,
    /// The directory under `tools/` with its `go.mod`.
    pub directory: &'static str,
    /// The Go module whose version is the tool's version.
    pub module: &'static str,
    /// The package that is built.
    pub package: &'static str,
    /// Variables set by the linker; `{version}`, `{major}` and `{minor}` are filled in.
    variables: &'static [(&'static str, &'static str)],
}

/// Without these, Kubernetes reports v0.0.0, and clients take it for too old.
const KUBERNETES: &[(&str, &str)] = &[
    ("k8s.io/component-base/version.gitVersion", "{version}"),
    ("k8s.io/component-base/version.gitMajor", "{major}"),
    ("k8s.io/component-base/version.gitMinor", "{minor}"),
    ("k8s.io/component-base/version.gitTreeState", "clean"),
    // What clients call themselves in the audit log.
    ("k8s.io/client-go/pkg/version.gitVersion", "{version}"),
];

const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool { name, directory: "kubernetes", module: "k8s.io/kubernetes", package, variables: KUBERNETES }
}

const fn containerd(name: &'static str, package: &'static str) -> Tool {
    let module = "github.com/containerd/containerd/v2";
    Tool {
        name,
        directory: "containerd",
        module,
        package,
        variables: &[("github.com/containerd/containerd/v2/version.Version", "{version}")],
    }
}

/// The programs of a cluster, in the order in which they are built.
pub const TOOLS: &[Tool] = &[
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Tool {
        name: "etcd",
        directory: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        package: "go.etcd.io/etcd/server/v3",
        variables: &[],
    },
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Tool {
        name: "kwok",
        directory: "kwok",
        module: "sigs.k8s.io/kwok",
        package: "sigs.k8s.io/kwok/cmd/kwok",
        variables: &[],
    },
    Tool {
        name: "helm",
        directory: "helm",
        module: "helm.sh/helm/v4",
        package: "helm.sh/helm/v4/cmd/helm",
        variables: &[("helm.sh/helm/v4/internal/version.version", "{version}")],
    },
    Tool {
        name: "kustomize",
        directory: "kustomize",
        module: "sigs.k8s.io/kustomize/kustomize/v5",
        package: "sigs.k8s.io/kustomize/kustomize/v5",
        variables: &[("sigs.k8s.io/kustomize/api/provenance.version", "{version}")],
    },
    // What Bowline's decryption is held against.
    Tool {
        name: "sops",
        directory: "sops",
        module: "github.com/getsops/sops/v3",
        package: "github.com/getsops/sops/v3/cmd/sops",
        variables: &[("github.com/getsops/sops/v3/version.Version", "{version}")],
    },
];

/// The programs of a node with real pods, which only root can run.
pub const NODE_TOOLS: &[Tool] = &[
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    containerd("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    containerd("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
];

/// What the benchmark holds Bowline against: a bare client of server-side
/// apply. Nothing else wants it, so it is built only for that.
pub const BARE_APPLY: Tool =
    Tool { name: "bare-apply", directory: "bare-apply", module: "k8s.io/client-go", package: ".", variables: &[] };

/// The path of a program that is built; an error that says how to build it otherwise.
pub fn path(name: &str) -> Result<PathBuf> {
    let tool = named(name)?;
    let recipe = tool.recipe()?;
    if recipe.binary.is_file() {
        return Ok(recipe.binary);
    }
    Err(Error::ToolMissing { name: tool.name, version: recipe.version })
}

/// The version of a program, as its `go.mod` pins it.
pub fn version(name: &str) -> Result<String> {
    named(name)?.version()
}

/// A tool by its name.
pub fn named(name: &str) -> Result<&'static Tool> {
    let all = TOOLS.iter().chain(NODE_TOOLS).chain([&BARE_APPLY]);
    all.into_iter().find(|tool| tool.name == name).ok_or_else(|| Error::ToolUnknown(name.to_owned()))
}

/// What a build needs to know, read from the tool's `go.mod` and `go.sum`.
#[derive(Debug)]
struct Recipe {
    version: String,
    linker: String,
    directory: PathBuf,
    binary: PathBuf,
}

impl Tool {
    /// The version that `go.mod` pins.
    pub fn version(&self) -> Result<String> {
        Ok(self.recipe()?.version)
    }

    fn recipe(&self) -> Result<Recipe> {
        let directory = sources().join(self.directory);
        let read = |file: &str| {
            let path = directory.join(file);
            fs::read_to_string(&path).at("read", &path)
        };
        let requirements = read("go.mod")?;
        let sums = read("go.sum")?;
        let version = required(&requirements, self.module)
            .ok_or(Error::ToolVersion { path: directory.join("go.mod"), module: self.module })?;
        let linker = self.linker_flags(&version);
        let mut digest = Sha256::new();
        let target = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
        for part in [&requirements, &sums, self.package, &linker, build::FLAGS, &target] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        for source in sources_in(&directory)? {
            let text = fs::read(&source).at("read", &source)?;
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let binary = cache_dir().join("tools").join(format!("{}-{version}-{digest}", self.name)).join(self.name);
        Ok(Recipe { version, linker, directory, binary })
    }

    fn linker_flags(&self, version: &str) -> String {
        let mut numbers = version.trim_start_matches('v').split('.');
        let major = numbers.next().unwrap_or_default();
        let minor = numbers.next().unwrap_or_default();
        let mut flags = String::from("-s -w");
        for (variable, value) in self.variables {
            let value = value.replace("{version}", version).replace("{major}", major).replace("{minor}", minor);
            flags.push_str(&format!(" -X {variable}={value}"));
        }
        flags
    }
}

/// The version of a module in the text of a `go.mod`.
fn required(requirements: &str, module: &str) -> Option<String> {
    requirements.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("require ").unwrap_or(line);
        let version = line.strip_prefix(module)?.strip_prefix(' ')?;
        let version = version.split_whitespace().next()?;
        version.starts_with('v').then(|| version.to_owned())
    })
}

/// The Go files of a tool that is our own, in the order of their names.
fn sources_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).at("read", directory)? {
        let path = entry.at("read", directory)?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_tool_has_a_version_in_its_go_mod() {
        for tool in TOOLS.iter().chain(NODE_TOOLS).chain([&BARE_APPLY]) {
            assert!(tool.version().unwrap().starts_with('v'), "{}", tool.name);
        }
    }

    #[test]
    fn a_replaced_or_similarly_named_module_is_not_taken_for_the_required_one() {
        let text = "replace (\n\tk8s.io/kube => k8s.io/kube v0.1.0\n)\nrequire (\n\tk8s.io/kubectl v0.2.0\n\tk8s.io/kube v0.3.0 // indirect\n)\n";
        assert_eq!(required(text, "k8s.io/kube").unwrap(), "v0.3.0");
        assert_eq!(required("require k8s.io/kube v1.0.0", "k8s.io/kube").unwrap(), "v1.0.0");
        assert_eq!(required(text, "k8s.io/cube"), None);
    }

    #[test]
    fn a_change_of_our_own_source_makes_another_program() {
        let names: Vec<_> = sources_in(&sources().join("bare-apply"))
            .unwrap()
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        assert_eq!(names, ["main.go"]);
        assert!(sources_in(&sources().join("etcd")).unwrap().is_empty(), "what is pinned has no source here");
    }

    #[test]
    fn the_linker_flags_carry_the_version() {
        let kubectl = TOOLS.iter().find(|tool| tool.name == "kubectl").unwrap();
        let flags = kubectl.linker_flags("v1.37.2");
        assert!(flags.contains("version.gitVersion=v1.37.2"), "{flags}");
        assert!(flags.contains("version.gitMinor=37"), "{flags}");
    }
}
