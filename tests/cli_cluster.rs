//! The commands against a real API server, with Applications and Releases made
//! by hand: nothing but the API server answers, so what is shown is what the
//! commands read and what they ask for. A namespace of its own for each test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use assert_cmd::Command as Program;
use serde_json::{Value, json};

static WORLDS: AtomicUsize = AtomicUsize::new(0);

/// A namespace of its own on the shared cluster, with the definitions.
struct World {
    access: rig::Access,
    namespace: String,
    kubeconfig: PathBuf,
}

impl World {
    fn new() -> Self {
        let access = rig::shared_cluster().unwrap();
        let namespace = format!("cli-{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/crds.yaml");
        access.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", crds]).unwrap();
        access
            .kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "applications.bowline.dev"])
            .unwrap();
        // A definition is established a moment before its objects can be read.
        let kinds = "applications,releases,bundles,bundlechunks,inventories,syncrequests,rollbackrequests,suspensions";
        let served = || access.kubectl(&["get", kinds, "-n", "default"]).is_ok();
        for _ in 0..100 {
            if served() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        access.kubectl(&["create", "namespace", &namespace]).unwrap();
        let kubeconfig = access.kubeconfig_path().to_owned();
        Self { access, namespace, kubeconfig }
    }

    fn program(&self) -> Program {
        let mut program = Program::cargo_bin("bowline").unwrap();
        program.env_remove("KUBECONFIG").arg("--kubeconfig").arg(&self.kubeconfig).args(["-n", &self.namespace]);
        program
    }

    /// Runs it: exit code, data, messages.
    fn bowline(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.program().args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&self.namespace, "NS");
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments: Vec<&str> = ["-n", &self.namespace].iter().chain(arguments).copied().collect();
        self.access.kubectl(&arguments).unwrap()
    }

    fn apply(&self, object: &Value) {
        let arguments = ["apply", "--server-side", "-n", &self.namespace, "-f", "-"];
        // Storage of a definition that is brand new may still be made.
        for _ in 0..50 {
            if self.access.kubectl_with_input(&arguments, &object.to_string()).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.access.kubectl_with_input(&arguments, &object.to_string()).unwrap();
    }

    /// An Application with this status.
    fn application(&self, name: &str, status: &Value) {
        let base = json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Application", "metadata": { "name": name },
            "spec": { "source": { "repoURL": "https://git.example/shop.git", "revision": "main", "path": "." } },
        });
        self.apply(&base);
        self.status("applications", name, status);
    }

    fn status(&self, resource: &str, name: &str, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        self.kubectl(&["patch", resource, name, "--subresource=status", "--type=merge", "-p", &patch]);
    }

    fn release(&self, number: u64, subject: &str, outcome: &Value) {
        let digest = |text: &str| bowline::manifest::Digest::of(text.as_bytes()).to_string();
        let base = json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "Release", "metadata": { "name": format!("shop-{number}") },
            "spec": {
                "application": "shop", "number": number, "cause": "Push", "createdAt": "2026-01-01T00:00:00Z",
                "commit": { "id": format!("{number:040}"), "short": format!("{number:07}"), "subject": subject, "author": "grace" },
                "bundle": digest(subject), "inputs": digest(subject), "counts": {}, "generation": 1,
            },
        });
        self.apply(&base);
        self.status("releases", &format!("shop-{number}"), &json!({ "outcome": outcome }));
    }

    fn requests(&self, resource: &str) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", resource, "-o", "json"])).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Waits for a request that matches, and gives it this status.
    fn answer(&self, resource: &str, matches: impl Fn(&Value) -> bool, status: &Value) -> Value {
        for _ in 0..200 {
            if let Some(request) = self.requests(resource).into_iter().find(|request| matches(request)) {
                self.status(resource, request["metadata"]["name"].as_str().unwrap(), status);
                return request;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no {resource} was made");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failing test leaves behind is of use to nobody.
        let _ = self.access.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn healthy() -> Value {
    json!({ "phase": "Healthy", "endedAt": "2026-01-01T00:00:06Z", "written": 1, "touchedCluster": true, "rollback": "None" })
}

fn synced(release: u64) -> Value {
    let digest = bowline::manifest::Digest::of(b"x").to_string();
    json!({
        "sync": "Synced", "health": "Healthy",
        "head": { "short": "main 4f1c2d9", "commit": "4f1c2d9", "subject": "Scale web to 4" },
        "release": { "number": release, "phase": "Healthy", "commit": "4f1c2d9", "bundle": digest },
        "objects": { "total": 3, "inSync": 3, "drifted": 0, "healthy": 3 },
    })
}

fn plan(target: Option<u64>) -> Value {
    let digest = bowline::manifest::Digest::of(b"plan").to_string();
    let mut plan = json!({
        "digest": digest, "bundle": digest, "commit": "51e0c3a", "unchanged": 2,
        "actions": [{
            "verb": "Update", "kind": "ConfigMap", "namespace": "team-a", "name": "env", "stage": 0,
            "changes": [{ "path": "data.MODE", "before": "\"b\"", "after": "\"a\"" }],
        }],
    });
    if let Some(target) = target {
        plan["toRelease"] = target.into();
    }
    json!({ "phase": "Succeeded", "message": "1 object to change", "plan": plan, "endedAt": "2026-01-01T00:00:00Z" })
}

#[test]
fn applications_are_listed_told_and_missed() {
    let world = World::new();
    let (code, out, err) = world.bowline(&["get"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "there is no Application in namespace NS\n"));

    world.application("shop", &synced(12));
    let (code, out, _) = world.bowline(&["get"]);
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..2], ["NAME", "REVISION"]);
    assert_eq!(lines[1][..6], ["shop", "main", "4f1c2d9", "12", "Synced", "Healthy"]);
    assert_eq!(world.bowline(&["get", "-o", "name"]).1, "application.bowline.dev/shop\n");
    let one: Value = serde_json::from_str(&world.bowline(&["get", "shop", "-o", "json"]).1).unwrap();
    assert_eq!((&one["kind"], &one["apiVersion"]), (&json!("Application"), &json!("bowline.dev/v1alpha1")));
    assert!(world.bowline(&["get", "-A"]).1.starts_with("NAMESPACE"));

    let (code, out, err) = world.bowline(&["status", "shop"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("shop is synced with main 4f1c2d9 (\"Scale web to 4\")"), "{out}");

    let (code, _, err) = world.bowline(&["status", "shpo"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "error: there is no Application shpo in namespace NS\nhint: did you mean shop?\n")
    );
}

#[test]
fn the_history_is_told_and_an_edited_chain_is_found() {
    let world = World::new();
    world.application("shop", &synced(2));
    world.release(1, "First page", &healthy());
    world.release(2, "Second page", &healthy());
    let (code, out, _) = world.bowline(&["history", "shop"]);
    assert_eq!(code, 0);
    let newest: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((newest[0], newest[2]), ("2", "0000002"));
    assert!(out.contains("Healthy after 6s"), "{out}");
    // Release 2 was not made by a controller: it names nothing before it.
    let (code, _, err) = world.bowline(&["history", "shop", "--verify"]);
    assert_eq!(code, 1);
    assert!(err.contains("release 2 was not made by the controller"), "{err}");
    let data: Value = serde_json::from_str(&world.bowline(&["history", "shop", "-o", "json"]).1).unwrap();
    assert_eq!(data["releases"][0]["release"], 2);
    // Releases outlive their application.
    world.kubectl(&["delete", "application", "shop"]);
    assert!(world.bowline(&["history", "shop"]).1.contains("Second page"));
}

#[test]
fn a_suspension_is_made_and_deleted() {
    let world = World::new();
    world.application("shop", &synced(1));
    let (code, out, err) = world.bowline(&["suspend", "shop", "--reason", "maintenance", "--until", "2h"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("suspension.bowline.dev/shop-") && err.starts_with("shop is suspended for 2h"),
        "{out}{err}"
    );
    let suspension = &world.requests("suspensions")[0];
    assert_eq!(suspension["spec"]["reason"], "maintenance");
    assert!(!suspension["spec"]["requestedBy"].as_str().unwrap().is_empty());
    let (code, out, err) = world.bowline(&["status", "shop"]);
    assert_eq!(code, 0);
    assert!(out.contains("maintenance"), "{out}{err}");

    assert_eq!(world.bowline(&["resume", "shop"]).0, 0);
    assert!(world.requests("suspensions").is_empty());
    assert_eq!(world.bowline(&["resume", "shop"]).2, "shop was not suspended\n");
}

#[test]
fn a_sync_off_a_terminal_leaves_its_request_and_its_name() {
    let world = World::new();
    world.application("shop", &synced(1));
    let (code, out, err) = world.bowline(&["sync", "shop", "--reason", "because"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("syncrequest.bowline.dev/shop-") && out.ends_with(" created\n"), "{out}");
    let request = &world.requests("syncrequests")[0];
    assert_eq!(
        (&request["spec"]["reason"], &request["spec"]["applicationRef"]["name"]),
        (&json!("because"), &json!("shop"))
    );
    let (code, _, err) = world.bowline(&["sync", "shop", "--accept"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: there is nothing to accept"), "{err}");
}

#[test]
fn a_sync_that_is_followed_ends_with_its_request() {
    let world = World::new();
    world.application("shop", &synced(1));
    let child = follow(&world, &["sync", "shop", "--wait"]);
    let refused =
        json!({ "phase": "Refused", "message": "the application is suspended", "endedAt": "2026-01-01T00:00:00Z" });
    world.answer("syncrequests", |_| true, &refused);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.ends_with("error: refused: the application is suspended\nhint: `bowline status shop` says more\n"),
        "{err}"
    );
}

#[test]
fn following_says_that_nobody_answers_and_ends_in_time() {
    let world = World::new();
    world.application("shop", &synced(1));
    let (code, _, err) = world.bowline(&["sync", "shop", "--wait", "--timeout", "7s"]);
    assert_eq!(code, 1);
    assert!(err.contains("no controller has answered yet; is it running?"), "{err}");
    assert!(err.contains("error: it has not ended within 7s; it goes on"), "{err}");
}

#[test]
fn a_difference_is_shown_and_is_the_exit_code() {
    let world = World::new();
    world.application("shop", &synced(1));
    let child = follow(&world, &["diff", "shop", "--release", "1"]);
    let request = world.answer("syncrequests", |_| true, &plan(Some(1)));
    assert_eq!((&request["spec"]["dryRun"], &request["spec"]["fromRelease"]), (&json!(true), &json!(1)));
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out, "--- ConfigMap team-a/env (live)\n+++ ConfigMap team-a/env (planned)\n@@ data.MODE @@\n-b\n+a\n");
}

#[test]
fn a_directory_is_compared_with_the_cluster_by_the_rights_of_the_caller() {
    let world = World::new();
    world.application("shop", &synced(1));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: env}\ndata: {MODE: a}\n").unwrap();
    let local = directory.path().display().to_string();
    let (code, out, err) = world.bowline(&["diff", "shop", "--local", &local]);
    assert_eq!(code, 1, "{err}");
    assert!(out.starts_with("--- /dev/null\n+++ ConfigMap NS/env (planned)\n"), "{out}");
    assert!(world.kubectl(&["get", "configmaps", "-o", "name"]).lines().all(|name| !name.ends_with("/env")));

    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\n").unwrap();
    let (code, _, err) = world.bowline(&["diff", "shop", "--local", &local]);
    assert_eq!(code, 2);
    assert!(err.contains("does not render") && err.contains("a.yaml:1:1"), "{err}");
}

#[test]
fn a_rollback_asks_for_what_was_shown() {
    let world = World::new();
    world.application("shop", &synced(2));
    world.release(1, "First page", &healthy());
    world.release(2, "Second page", &healthy());
    let (code, _, err) = world.bowline(&["rollback", "shop"]);
    assert_eq!(code, 2);
    assert!(err.contains("--yes") && world.requests("rollbackrequests").is_empty(), "{err}");
    assert!(
        world.bowline(&["rollback", "shop", "9", "--yes"]).2.starts_with("error: release 9 is not kept; kept are 1, 2")
    );

    let child = follow(
        &world,
        &["rollback", "shop", "--yes", "--wait", "--reason", "queue backs up", "--include", "jobs,crds"],
    );
    world.answer("rollbackrequests", |request| request["spec"]["dryRun"] == true, &plan(Some(1)));
    let done = json!({ "phase": "Succeeded", "message": "release 3 is Healthy", "release": 3, "endedAt": "2026-01-01T00:00:00Z" });
    let request = world.answer("rollbackrequests", |request| request["spec"]["dryRun"].is_null(), &done);
    world.status("applications", "shop", &synced(3));
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    let title =
        "Rollback of shop: release 2 → content of release 1 (commit 51e0c3a \"First page\", the last healthy one)";
    assert!(err.starts_with(title), "{err}");
    // What is seen of the end is the status or the request, whichever was first.
    assert!(err.contains("data.MODE") && (err.contains("✓ healthy") || err.contains("release 3 is Healthy")), "{err}");
    let spec = &request["spec"];
    let digest = bowline::manifest::Digest::of(b"plan").to_string();
    assert_eq!((&spec["fromRelease"], &spec["toRelease"], &spec["planDigest"]), (&json!(2), &json!(1), &json!(digest)));
    assert_eq!((&spec["include"], &spec["reason"]), (&json!(["Jobs", "CRDs"]), &json!("queue backs up")));
}

#[test]
fn a_person_who_may_only_ask_can_follow_and_is_told_what_is_missing() {
    let world = World::new();
    world.application("shop", &synced(2));
    world.release(1, "First page", &healthy());
    world.release(2, "Second page", &healthy());
    let user = format!("ada-{}", world.namespace);
    let rights = [
        ("ask", "create,get,list,watch", "rollbackrequests.bowline.dev"),
        ("read", "get,list,watch", "applications.bowline.dev,releases.bowline.dev"),
    ];
    for (name, verbs, resources) in rights {
        let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
        world.kubectl(&["create", "role", name, &verbs, &resources]);
        world.kubectl(&["create", "rolebinding", name, &format!("--role={name}"), &format!("--user={user}")]);
    }
    let ada = World {
        kubeconfig: world.access.kubeconfig_for(&user, &[]).unwrap(),
        access: rig::shared_cluster().unwrap(),
        namespace: world.namespace.clone(),
    };
    let child = follow(&ada, &["rollback", "shop", "--dry-run"]);
    let request = world.answer("rollbackrequests", |_| true, &plan(Some(1)));
    assert_eq!(request["spec"]["requestedBy"], user.as_str());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let (code, out, _) = ada.bowline(&["status", "shop"]);
    assert_eq!(code, 0);
    assert!(out.contains("not read: you may not list Suspensions in namespace NS"), "{out}");
    let (code, _, err) = ada.bowline(&["sync", "shop"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: you may not create SyncRequests in namespace NS\n"), "{err}");
    assert!(err.contains("hint: an administrator can give you this right"), "{err}");
}

/// Starts it, with its output kept for the end.
fn follow(world: &World, arguments: &[&str]) -> std::process::Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin("bowline"))
        .env_remove("KUBECONFIG")
        .arg("--kubeconfig")
        .arg(&world.kubeconfig)
        .args(["-n", &world.namespace])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
