//! The settings of the programs of a node.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{PAUSE, network::Network, packages};
use crate::{
    error::{At as _, Error, Result},
    tools,
};

/// Writes the settings, and says where they are.
pub(crate) struct Files;

impl Files {
    pub(super) fn containerd(directory: &Path) -> PathBuf {
        directory.join("containerd.toml")
    }

    pub(super) fn kubelet(directory: &Path) -> PathBuf {
        directory.join("kubelet.json")
    }

    pub(super) fn kube_proxy(directory: &Path) -> PathBuf {
        directory.join("kube-proxy.json")
    }

    /// The kubeconfig that the control plane writes for a component.
    pub(crate) fn kubeconfig(directory: &Path, component: &str) -> PathBuf {
        directory.join(format!("{component}.kubeconfig"))
    }

    /// The name of the kubelet's certificate for those who speak to it.
    pub(crate) const SERVING: &str = "kubelet-serving";

    pub(super) fn kubelet_arguments(directory: &Path, network: &Network) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", Self::kubeconfig(directory, "kubelet").display()),
            format!("--config={}", Self::kubelet(directory).display()),
            format!("--root-dir={}", directory.join("kubelet").display()),
            format!("--cert-dir={}", directory.join("kubelet/pki").display()),
            format!("--hostname-override={}", network.node_name()),
            format!("--node-ip={}", network.node()),
            // Without a dead one nobody can read what it said.
            "--maximum-dead-containers-per-container=2".into(),
        ]
    }

    /// Writes everything but the certificates and kubeconfigs.
    pub(crate) fn write(directory: &Path, network: &Network) -> Result<()> {
        let networks = directory.join("networks");
        fs::create_dir_all(&networks).at("create", &networks)?;
        write_json(&networks.join("10-pods.conflist"), &pod_network(network))?;
        let containerd = Self::containerd(directory);
        fs::write(&containerd, containerd_settings(directory, &networks)?).at("write", &containerd)?;
        write_json(&Self::kubelet(directory), &kubelet_settings(directory, network))?;
        write_json(&Self::kube_proxy(directory), &proxy_settings(directory, network))
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).at("write", path)
}

fn pod_network(network: &Network) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": network.node_name(),
        "plugins": [
            {
                "type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": "/run/addresses",
                    "ranges": [[{"subnet": network.pods()}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
        ],
    })
}

fn containerd_settings(directory: &Path, networks: &Path) -> Result<String> {
    let runc = packages::path("runc").ok_or_else(|| Error::NoNode("runc is not installed".into()))?;
    // Sockets have short names only, and /run is the sandbox's own.
    Ok(format!(
        "version = 4
root = '{root}'
state = '/run/containerd'
imports = []

[plugins]
  [plugins.'io.containerd.internal.v1.opt']
    path = '{opt}'
  [plugins.'io.containerd.nri.v1.nri']
    disable = true
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'
    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = '{PAUSE}'
  [plugins.'io.containerd.cri.v1.runtime']
    # Not every machine's root may lower a score.
    restrict_oom_score_adj = true
    disable_apparmor = true
    netns_mounts_under_state_dir = true
    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
        runtime_type = 'io.containerd.runc.v2'
        runtime_path = '{shim}'
        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
          BinaryName = '{runc}'
          SystemdCgroup = false
    [plugins.'io.containerd.cri.v1.runtime'.cni]
      bin_dirs = ['{cni}']
      conf_dir = '{networks}'
      use_internal_loopback = true
",
        root = directory.join("containerd").display(),
        opt = directory.join("containerd-opt").display(),
        shim = tools::path("containerd-shim-runc-v2")?.display(),
        runc = runc.display(),
        cni = packages::CNI,
        networks = networks.display(),
    ))
}

fn kubelet_settings(directory: &Path, network: &Network) -> Value {
    let pki = directory.join("pki");
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "address": network.node(),
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        // A machine with version 1 of control groups will do.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", network.node_name()),
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20_000,
        "resolvConf": "",
        "makeIPTablesUtilChains": false,
        // Images that were imported are refused otherwise once a pull of theirs was tried.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        // Nobody could pull again what was collected, and a full disk is not ours to judge.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "podLogsDir": directory.join("pod-logs"),
        "staticPodPath": "",
        "volumePluginDir": directory.join("kubelet-plugins"),
        "tlsCertFile": pki.join(format!("{}.crt", Files::SERVING)),
        "tlsPrivateKeyFile": pki.join(format!("{}.key", Files::SERVING)),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "shutdownGracePeriod": "0s",
        "syncFrequency": "10s",
    })
}

fn proxy_settings(directory: &Path, network: &Network) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": Files::kubeconfig(directory, "kube-proxy")},
        "hostnameOverride": network.node_name(),
        "bindAddress": network.node(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": network.pods(),
        "nodePortAddresses": [format!("{}/32", network.node())],
        "iptables": {"localhostNodePorts": false, "minSyncPeriod": "100ms"},
        // The machine's own limits are left as they are.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
