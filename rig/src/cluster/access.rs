//! What a cluster's users need: kubeconfigs, kubectl, the audit log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::AUTHORITY;
use super::audit::AuditLog;
use crate::error::{At, Error, Result};
use crate::pki::{Authority, Identity, write_private};
use crate::process;
use crate::tools;

pub(super) const KUBECONFIG: &str = "kubeconfig";
pub(super) const ADMIN: &str = "rig:admin";

const TEST_KUBECONFIG: &str = "BOWLINE_TEST_KUBECONFIG";
const TEST_AUDIT_LOG: &str = "BOWLINE_TEST_AUDIT_LOG";
const TEST_DIRECTORY: &str = "BOWLINE_TEST_CLUSTER_DIR";

/// The way into a cluster that runs in this process or in another.
#[derive(Debug, Clone)]
pub struct Access {
    directory: PathBuf,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    kubectl: PathBuf,
}

/// The cluster that `cargo xtask test` or `cargo xtask cluster up` started.
/// Tests share it, each in a namespace of its own.
pub fn shared_cluster() -> Result<Access> {
    let variable = |name: &'static str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .ok_or(Error::NoSharedCluster { variable: name })
    };
    Ok(Access {
        kubeconfig: variable(TEST_KUBECONFIG)?,
        audit_log: variable(TEST_AUDIT_LOG)?,
        directory: variable(TEST_DIRECTORY)?,
        kubectl: tools::path("kubectl")?,
    })
}

impl Access {
    pub(super) fn new(directory: &Path, kubectl: PathBuf) -> Self {
        Access {
            directory: directory.to_owned(),
            kubeconfig: directory.join(KUBECONFIG),
            audit_log: directory.join("audit.log"),
            kubectl,
        }
    }

    /// The way into a cluster that the rig did not start. What needs the rig's own
    /// files (the audit log, [`Access::kubeconfig_for`]) is an error there.
    pub fn to(kubeconfig: &Path, directory: &Path, kubectl: PathBuf) -> Self {
        Access { kubeconfig: kubeconfig.to_owned(), ..Access::new(directory, kubectl) }
    }

    /// The environment by which [`shared_cluster`] finds this cluster.
    pub fn test_environment(&self) -> [(&'static str, &Path); 3] {
        [(TEST_KUBECONFIG, &self.kubeconfig), (TEST_AUDIT_LOG, &self.audit_log), (TEST_DIRECTORY, &self.directory)]
    }

    /// The directory of the cluster, with `logs/` and `pki/`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kubeconfig of an administrator (group `system:masters`).
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's audit log.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.audit_log.clone())
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.kubeconfig, arguments, None)
    }

    /// Runs kubectl with the given text as its standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.run(&self.kubeconfig, arguments, Some(input.as_bytes()))
    }

    /// Makes a namespace, with a ServiceAccount if one is named, and with a
    /// ClusterRole for it there if that is named too. All of it is one run of
    /// kubectl, whose start costs more than its work.
    pub fn create_namespace(&self, name: &str, account: Option<(&str, Option<&str>)>) -> Result<()> {
        let mut items = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})];
        let within = |named: &str| json!({"name": named, "namespace": name});
        if let Some((account, role)) = account {
            items.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": within(account)}));
            items.extend(role.map(|role| {
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "RoleBinding",
                    "metadata": within("deployer"),
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": name}],
                })
            }));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.kubectl_with_input(&["create", "--validate=false", "-f", "-"], &list.to_string()).map(drop)
    }

    /// Runs kubectl with another kubeconfig, as made by [`Access::kubeconfig_for`].
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        self.run(kubeconfig, arguments, None)
    }

    fn run(&self, kubeconfig: &Path, arguments: &[&str], input: Option<&[u8]>) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", self.directory.join("kubectl-cache"))
            // It is over before collecting garbage would pay.
            .env("GOGC", "off")
            .env("KUBERC", "off");
        let output = process::output(&mut command, input)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// A kubeconfig for a user of the given groups (two at most), by a client
    /// certificate of the cluster's authority. The user has the rights that RBAC gives.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let authority = Authority::read(AUTHORITY, &self.directory.join("pki"))?;
        let identity = authority.client(user, groups)?;
        let dir = self.directory.join("users");
        fs::create_dir_all(&dir).at("create", &dir)?;
        let file = tempfile::Builder::new()
            .prefix("user-")
            .suffix(".kubeconfig")
            .tempfile_in(&dir)
            .at("create a file in", &dir)?;
        let path = file.into_temp_path();
        let path = path.keep().map_err(|error| error.error).at("keep a file in", &dir)?;
        write_kubeconfig(&path, &self.server()?, &authority, user, &identity)?;
        Ok(path)
    }

    /// The API server's URL.
    pub fn server(&self) -> Result<String> {
        let text = fs::read_to_string(&self.kubeconfig).at("read", &self.kubeconfig)?;
        let unexpected = |reason: String| Error::Content { path: self.kubeconfig.clone(), reason };
        let config: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| unexpected(format!("not a kubeconfig of the rig: {error}")))?;
        config["clusters"][0]["cluster"]["server"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| unexpected("it names no server".into()))
    }
}

/// Writes a kubeconfig that holds all it needs. It is JSON, which is YAML too.
pub(super) fn write_kubeconfig(
    path: &Path,
    server: &str,
    authority: &Authority,
    user: &str,
    identity: &Identity,
) -> Result<()> {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "rig",
            "cluster": {
                "server": server,
                "certificate-authority-data": encode(authority.certificate_pem()),
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": encode(&identity.certificate),
                "client-key-data": encode(&identity.key),
            },
        }],
        "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": user } }],
        "current-context": "rig",
    });
    write_private(path, format!("{config:#}\n").as_bytes())
}
