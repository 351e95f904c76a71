//! The life of an installation, from `helm install` to `helm uninstall`.

use serde_json::Value;

use crate::world::{Form, SYSTEM, TEAM, World};

const NAMED: &str = "impersonation.namespaces={team-a}";

fn cause(release: &Value) -> &str {
    release["spec"]["cause"].as_str().unwrap_or_default()
}

#[test]
fn bowline_in_real_pods_deploys_takes_back_and_outlives_its_leader() {
    let Some(world) = World::start() else { return };

    // Installed, with rights in one namespace.
    world.push("v1", Form::Plain, "Open the shop");
    world.install(&[NAMED]);
    let pods = world.list(&["pods", "-n", SYSTEM]);
    assert_eq!(pods.len(), 2, "{}", world.what_is_there());
    world.deploy();
    world.until_release(1, "Healthy");
    world.until_answers("v1");

    // A push goes live, announced by a webhook: the interval is an hour.
    world.push("v2", Form::Plain, "Second version");
    world.announce();
    world.until_release(2, "Healthy");
    world.until_answers("v2");

    // The leader's pod is deleted while a push is on its way; the other one takes over.
    let leader = world.leader();
    world.push("v3", Form::Plain, "Third version");
    world.kubectl(&["delete", "pod", &leader, "-n", SYSTEM, "--wait=false"]);
    world.announce();
    world.until_release(3, "Healthy");
    world.until_answers("v3");
    let next = world.eventually("another leads", || match world.leader() {
        now if now != leader => Ok(now),
        now => Err(now),
    });

    // A bad image takes itself back, and nobody is served less meanwhile.
    world.push("broken", Form::Plain, "Fourth version");
    world.announce();
    let back = world.eventually("the release is taken back", || {
        let answers = world.answers();
        let served = answers.iter().filter(|answer| *answer == "v3").count();
        assert!(served >= 2, "{answers:?}");
        let newest = world.releases().pop().ok_or("there is none")?;
        let is_back = cause(&newest) == "AutomaticRollback" && newest["status"]["phase"] == "Healthy";
        if is_back { Ok(newest) } else { Err(format!("{newest:#}")) }
    });
    assert_eq!(back["spec"]["number"], 5);
    world.until_answers("v3");

    // The leader's container is stopped where it is; the other one takes over, and renders by the image's Kustomize.
    let stopped = pause(&world, &next);
    world.push("v4", Form::Kustomize, "Mended");
    world.announce();
    world.until_release(6, "Healthy");
    world.until_answers("v4");
    signal(stopped, "CONT");

    // An upgrade replaces the controllers and touches nothing of the application.
    let before = world.untouched();
    world.install(&[NAMED, "podAnnotations.changed=yes"]);
    let ready = ["wait", "--for=condition=Ready", "--timeout=120s", "-n", TEAM, "bapp/shop"];
    world.kubectl(&ready);
    assert_eq!(world.untouched(), before);
    assert_eq!(world.releases().len(), 6, "an upgrade is no release");

    // With rights in named namespaces only, and by Roles only, it goes on, and renders by the image's Helm.
    world.install(&["watch.scope=namespaces", "watch.namespaces={team-a}", "rbac.readAdmissionPolicies=false"]);
    let bound = world.list(&["clusterrolebindings", "-l", "app.kubernetes.io/name=bowline"]);
    assert!(bound.is_empty(), "{bound:#?}");
    world.push("v5", Form::Helm, "Fifth version");
    world.announce();
    world.until_release(7, "Healthy");
    world.until_answers("v5");

    // Uninstalled: what it deployed stays, with its history.
    let before = world.untouched();
    world.helm(&["uninstall", "bowline", "--namespace", SYSTEM, "--wait", "--timeout=120s"]);
    world.eventually("the controllers are gone", || match world.list(&["pods", "-n", SYSTEM]).len() {
        0 => Ok(()),
        some => Err(format!("{some} pods")),
    });
    assert_eq!(world.untouched(), before);
    world.until_answers("v5");
    assert_eq!(world.releases().len(), 7);

    // Installed again, it goes on where it was, and removes what it is told to remove.
    world.install(&[NAMED]);
    world.leader();
    world.kubectl(&ready);
    assert_eq!(world.untouched(), before);
    let patch = r#"{"spec":{"deletionPolicy":"Prune"}}"#;
    world.kubectl(&["patch", "bapp", "shop", "-n", TEAM, "--type=merge", "-p", patch]);
    // It is pruned by a controller that knows of the wish, which it says by a finalizer.
    let noted = "--for=jsonpath={.metadata.finalizers[0]}";
    world.kubectl(&["wait", noted, "--timeout=120s", "-n", TEAM, "bapp/shop"]);
    world.kubectl(&["delete", "bapp", "shop", "-n", TEAM, "--timeout=120s"]);
    world.eventually("the application's pods are gone", || match world.answers().len() {
        0 => Ok(()),
        some => Err(format!("{some} pods")),
    });
    world.helm(&["uninstall", "bowline", "--namespace", SYSTEM, "--wait", "--timeout=120s"]);
}

/// Stops the controller of a pod where it is.
fn pause(world: &World, pod: &str) -> u32 {
    let host = format!("HOSTNAME={pod}");
    let controllers = world.node().processes_of("/usr/local/bin/bowline controller");
    let ours = controllers.into_iter().find(|process| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == host.as_bytes())
    });
    let process = ours.unwrap_or_else(|| panic!("no process of {pod}\n{}", world.what_is_there()));
    signal(process, "STOP");
    process
}

/// The kubelet may have ended it by now, so that nobody may be there to hear it.
fn signal(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args(["-s", signal, &process.to_string()]).output().unwrap();
    assert!(sent.status.success() || signal == "CONT", "{sent:?}");
}
