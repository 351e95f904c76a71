//! A control plane of its own for what ends or breaks one; the rest of the
//! tests share the one that `cargo xtask test` starts.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rig::{Cluster, Options, shared_cluster};

fn alive(process: u32) -> bool {
    // A zombie has ended, though its entry stays until its parent reads its status.
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_cluster_schedules_survives_its_api_server_and_leaves_nothing_behind() {
    let mut cluster = Cluster::start(Options { nodes: 2, volumes: 1, ..Options::default() }).unwrap();
    let processes = cluster.processes();
    let names: Vec<&str> = processes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"]);
    cluster.kubectl(&["create", "deployment", "web", "--image=web:1", "--replicas=3"]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]).unwrap();

    cluster.kill_api_server().unwrap();
    assert!(cluster.kubectl(&["get", "deployments"]).is_err());
    cluster.restart_api_server().unwrap();
    assert!(cluster.kubectl(&["get", "deployments"]).unwrap().contains("web"));

    let directory = cluster.directory().to_owned();
    assert!(directory.exists());
    cluster.stop();
    assert!(!directory.exists());
    for (name, process) in processes {
        assert!(!alive(process), "{name} still runs");
    }
}

#[test]
fn a_user_has_the_rights_that_rbac_gives_and_no_other() {
    let cluster = shared_cluster().unwrap();
    let _ = cluster.kubectl(&["delete", "clusterrolebinding", "rig-test-view", "--ignore-not-found"]);
    let kubeconfig = cluster.kubeconfig_for("ada", &["rig-test-viewers", "people"]).unwrap();
    let who = cluster.kubectl_as(&kubeconfig, &["auth", "whoami", "-o", "json"]).unwrap();
    for expected in ["\"ada\"", "\"rig-test-viewers\"", "\"people\""] {
        assert!(who.contains(expected), "{who}");
    }
    assert!(cluster.kubectl_as(&kubeconfig, &["get", "configmaps"]).is_err());
    cluster
        .kubectl(&["create", "clusterrolebinding", "rig-test-view", "--clusterrole=view", "--group=rig-test-viewers"])
        .unwrap();
    eventually("ada may look", Duration::from_secs(10), || {
        cluster.kubectl_as(&kubeconfig, &["get", "configmaps"]).is_ok()
    });
    let refused = cluster.kubectl_as(&kubeconfig, &["create", "configmap", "a"]).unwrap_err().to_string();
    assert!(refused.contains("cannot create resource"), "{refused}");
    cluster.kubectl(&["delete", "clusterrolebinding", "rig-test-view"]).unwrap();
    assert!(cluster.kubeconfig_for("ada", &["a", "b", "c"]).is_err());
}

#[test]
fn the_audit_log_counts_a_clients_requests() {
    let cluster = shared_cluster().unwrap();
    let log = cluster.audit_log();
    let kubeconfig = cluster.kubeconfig_for("audited", &["system:masters"]).unwrap();
    let by_audited = |mark| -> Vec<rig::Request> {
        let mut requests = log.by_user_agent(mark, "kubectl/").unwrap();
        requests.retain(|request| request.user.username == "audited");
        requests
    };
    // Discovery is cached after the first call, and so does not count in the second.
    cluster.kubectl_as(&kubeconfig, &["get", "namespace", "default"]).unwrap();
    let mark = log.mark().unwrap();
    cluster.kubectl_as(&kubeconfig, &["get", "namespace", "default"]).unwrap();
    eventually("the request is in the log", Duration::from_secs(5), || !by_audited(mark).is_empty());
    let requests = by_audited(mark);
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert_eq!(requests[0].verb, "get");
    assert_eq!(requests[0].uri, "/api/v1/namespaces/default");
    assert_eq!(requests[0].object_ref.as_ref().unwrap().resource, "namespaces");
    assert_eq!(requests[0].response_status.as_ref().unwrap().code, 200);
}

#[test]
fn pods_fail_as_they_are_asked_to() {
    let cluster = shared_cluster().unwrap();
    let namespace = "rig-test-pods";
    let _ = cluster.kubectl(&["create", "namespace", namespace]);
    for (name, image, annotation, expected) in [
        ("runs", "shop/web:1.0.0", "", "Running"),
        ("image", "shop/web:2.0.0-missing", "", "ImagePullBackOff"),
        ("crashes", "shop/web:1.0.0", "crashes", "CrashLoopBackOff"),
        ("fails", "shop/web:1.0.0", "fails", "Error"),
        ("hangs", "shop/web:1.0.0", "hangs", "Pending"),
    ] {
        let annotation = format!("--annotations=rig.bowline.dev/pod={annotation}");
        let image = format!("--image={image}");
        let mut arguments = vec!["run", name, "-n", namespace, "--restart=Never", &image];
        if !annotation.ends_with('=') {
            arguments.push(&annotation);
        }
        cluster.kubectl(&arguments).unwrap();
        eventually(name, Duration::from_secs(20), || {
            let line = cluster.kubectl(&["get", "pod", name, "-n", namespace, "--no-headers"]);
            line.unwrap().contains(expected)
        });
    }
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]).unwrap();
}
