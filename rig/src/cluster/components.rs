//! The programs of the control plane: their files and arguments.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Options;
use super::access::{ADMIN, KUBECONFIG, write_kubeconfig};
use crate::error::{At, Result};
use crate::node::{Files, Network};
use crate::pki::{Authority, IdentityFiles, signing_keys, write_private};
use crate::ports::Port;
use crate::process::Launch;
use crate::tools;

const STAGES: &str = include_str!("../../fixtures/stages.yaml");
const SIGNING_KEY: &str = "service-accounts.key";
const VERIFYING_KEY: &str = "service-accounts.pub";
const SERVICES: &str = "10.96.0.0/16";

/// Everything that is settled before the first program starts.
#[derive(Debug)]
pub(super) struct Plan {
    directory: PathBuf,
    authority: PathBuf,
    etcd: IdentityFiles,
    api_server: IdentityFiles,
    proxy: IdentityFiles,
    etcd_port: Port,
    etcd_peer_port: Port,
    pub(super) api_port: Port,
    /// Where the API server listens: loopback, or where pods reach it.
    pub(super) address: Ipv4Addr,
    /// By which it speaks to the kubelet of a real node.
    kubelet_client: Option<IdentityFiles>,
    more_api_server_arguments: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        directory: &Path,
        authority: &Authority,
        options: &Options,
        network: Option<&Network>,
    ) -> Result<Self> {
        let address = network.map_or(Ipv4Addr::LOCALHOST, Network::host);
        let pki = directory.join("pki");
        for dir in [&pki, &directory.join("logs"), &directory.join("volumes")] {
            fs::create_dir_all(dir).at("create", dir)?;
        }
        let plan = Plan {
            directory: directory.to_owned(),
            authority: authority.write(&pki)?,
            etcd: authority.server(&["127.0.0.1", "localhost"])?.write(&pki, "etcd")?,
            api_server: authority
                .server(&[
                    &address.to_string(),
                    "localhost",
                    "10.96.0.1",
                    "kubernetes",
                    "kubernetes.default",
                    "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local",
                ])?
                .write(&pki, "kube-apiserver")?,
            proxy: authority.client("front-proxy-client", &[])?.write(&pki, "front-proxy-client")?,
            etcd_port: Port::claim()?,
            etcd_peer_port: Port::claim()?,
            api_port: Port::claim()?,
            address,
            kubelet_client: network
                .map(|_| {
                    authority
                        .client("kube-apiserver-kubelet-client", &["system:masters"])?
                        .write(&pki, "kubelet-client")
                })
                .transpose()?,
            more_api_server_arguments: options.api_server_arguments.clone(),
        };
        let (private, public) = signing_keys()?;
        write_private(&pki.join(SIGNING_KEY), private.as_bytes())?;
        write_private(&pki.join(VERIFYING_KEY), public.as_bytes())?;
        let server = format!("https://{address}:{}", plan.api_port.number());
        for (file, user, groups) in [
            (KUBECONFIG, ADMIN, &["system:masters"][..]),
            ("controller-manager.kubeconfig", "system:kube-controller-manager", &[]),
            ("scheduler.kubeconfig", "system:kube-scheduler", &[]),
            ("kwok.kubeconfig", "rig:kwok", &["system:masters"]),
        ] {
            let identity = authority.client(user, groups)?;
            write_kubeconfig(&directory.join(file), &server, authority, user, &identity)?;
        }
        if let Some(network) = network {
            let node = network.node_name();
            let user = format!("system:node:{node}");
            for (component, user, groups) in
                [("kubelet", user.as_str(), &["system:nodes"][..]), ("kube-proxy", "system:kube-proxy", &[])]
            {
                let identity = authority.client(user, groups)?;
                write_kubeconfig(&Files::kubeconfig(directory, component), &server, authority, user, &identity)?;
            }
            authority.server(&[&node, &network.node().to_string()])?.write(&pki, Files::SERVING)?;
            Files::write(directory, network)?;
        }
        let policy = directory.join("audit-policy.json");
        fs::write(&policy, audit_policy().to_string()).at("write", &policy)?;
        let stages = directory.join("stages.yaml");
        fs::write(&stages, STAGES).at("write", &stages)?;
        Ok(plan)
    }

    pub(super) fn etcd(&self) -> Result<Launch> {
        let client = format!("https://127.0.0.1:{}", self.etcd_port.number());
        let peer = format!("https://127.0.0.1:{}", self.etcd_peer_port.number());
        let authority = self.authority.display();
        let certificate = self.etcd.certificate.display();
        let key = self.etcd.key.display();
        self.launch(
            "etcd",
            vec![
                "--name=rig".into(),
                format!("--data-dir={}", self.directory.join("etcd").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=rig={peer}"),
                "--client-cert-auth".into(),
                format!("--trusted-ca-file={authority}"),
                format!("--cert-file={certificate}"),
                format!("--key-file={key}"),
                "--peer-client-cert-auth".into(),
                format!("--peer-trusted-ca-file={authority}"),
                format!("--peer-cert-file={certificate}"),
                format!("--peer-key-file={key}"),
                // The data does not outlive the machine, nor the cluster.
                "--unsafe-no-fsync".into(),
                "--quota-backend-bytes=8589934592".into(),
                "--log-level=warn".into(),
            ],
        )
    }

    pub(super) fn api_server(&self) -> Result<Launch> {
        let authority = self.authority.display();
        let pki = self.directory.join("pki");
        let mut arguments = vec![
            format!("--etcd-servers=https://127.0.0.1:{}", self.etcd_port.number()),
            format!("--etcd-cafile={authority}"),
            format!("--etcd-certfile={}", self.etcd.certificate.display()),
            format!("--etcd-keyfile={}", self.etcd.key.display()),
            format!("--bind-address={}", self.address),
            format!("--advertise-address={}", self.address),
            format!("--secure-port={}", self.api_port.number()),
            format!("--tls-cert-file={}", self.api_server.certificate.display()),
            format!("--tls-private-key-file={}", self.api_server.key.display()),
            format!("--client-ca-file={authority}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--allow-privileged=true".into(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", pki.join(VERIFYING_KEY).display()),
            format!("--service-account-signing-key-file={}", pki.join(SIGNING_KEY).display()),
            // What the API server shows to aggregated APIs.
            format!("--requestheader-client-ca-file={authority}"),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", self.proxy.certificate.display()),
            format!("--proxy-client-key-file={}", self.proxy.key.display()),
            format!("--audit-policy-file={}", self.directory.join("audit-policy.json").display()),
            format!("--audit-log-path={}", self.directory.join("audit.log").display()),
            // One file, so that counting is reading one file.
            "--audit-log-maxsize=100000".into(),
            "--profiling=false".into(),
        ];
        match &self.kubelet_client {
            // Without a reconciler of the Service `kubernetes`, a loopback
            // address may be advertised, and no other interface is needed.
            None => arguments.extend(["--authorization-mode=RBAC", "--endpoint-reconciler-type=none"].map(Into::into)),
            Some(client) => arguments.extend([
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                "--kubelet-preferred-address-types=InternalIP".into(),
                format!("--kubelet-certificate-authority={authority}"),
                format!("--kubelet-client-certificate={}", client.certificate.display()),
                format!("--kubelet-client-key={}", client.key.display()),
            ]),
        }
        arguments.extend(self.more_api_server_arguments.iter().cloned());
        self.launch("kube-apiserver", arguments)
    }

    pub(super) fn controller_manager(&self) -> Result<Launch> {
        self.launch(
            "kube-controller-manager",
            vec![
                self.kubeconfig("controller-manager.kubeconfig"),
                "--use-service-account-credentials=true".into(),
                format!(
                    "--service-account-private-key-file={}",
                    self.directory.join("pki").join(SIGNING_KEY).display()
                ),
                format!("--root-ca-file={}", self.authority.display()),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                // The default limit makes default ServiceAccounts come 5 s late.
                "--kube-api-qps=500".into(),
                "--kube-api-burst=1000".into(),
                "--horizontal-pod-autoscaler-sync-period=2s".into(),
                "--profiling=false".into(),
            ],
        )
    }

    pub(super) fn scheduler(&self) -> Result<Launch> {
        self.launch(
            "kube-scheduler",
            vec![
                self.kubeconfig("scheduler.kubeconfig"),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                "--kube-api-qps=500".into(),
                "--kube-api-burst=1000".into(),
                "--profiling=false".into(),
            ],
        )
    }

    pub(super) fn kwok(&self) -> Result<Launch> {
        self.launch(
            "kwok",
            vec![
                self.kubeconfig("kwok.kubeconfig"),
                format!("--config={}", self.directory.join("stages.yaml").display()),
                "--manage-all-nodes=true".into(),
                "--node-lease-duration-seconds=40".into(),
                "--node-ip=127.0.0.1".into(),
                "--node-port=0".into(),
            ],
        )
    }

    fn kubeconfig(&self, file: &str) -> String {
        format!("--kubeconfig={}", self.directory.join(file).display())
    }

    fn launch(&self, name: &str, arguments: Vec<String>) -> Result<Launch> {
        Ok(Launch {
            name: name.to_owned(),
            program: tools::path(name)?,
            arguments,
            environment: Vec::new(),
            log: self.directory.join("logs").join(format!("{name}.log")),
        })
    }
}

/// Everybody's requests with their user agent, without bodies; only the
/// control plane's own are left out, which are many.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "None",
                "users": [
                    "system:apiserver",
                    "system:kube-controller-manager",
                    "system:kube-scheduler",
                    "rig:kwok",
                    "rig:probe"
                ]
            },
            { "level": "None", "userGroups": ["system:serviceaccounts:kube-system"] },
            { "level": "Metadata" }
        ]
    })
}
