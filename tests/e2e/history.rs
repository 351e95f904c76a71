//! What people ask the history, of a cluster that a controller wrote.

use std::{io::Write as _, path::PathBuf};

use serde_json::{Value, json};

use crate::world::{Team, config_map, eventually, secret, yaml};

const WEB: &str = "\
# The shop's page.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: registry.example/web:1
";

/// Three releases: the second changes the number of replicas, the password and
/// the file of a ConfigMap; the third adds an object.
async fn three_releases(team: &Team<'_>) {
    let web = |replicas: u32| WEB.replace("REPLICAS", &replicas.to_string());
    let env = |value: &str| yaml(&[config_map("env", value)]);
    let first = team.push(
        "First page",
        &[
            ("deploy/web.yaml", web(1)),
            ("deploy/env.yaml", env("0644")),
            ("deploy/login.yaml", yaml(&[secret("login", "correct-horse")])),
        ],
    );
    team.deploy_shop(json!({}));
    assert_eq!(team.until_synced("shop", &first).await, 1);
    team.repo.remove("deploy/env.yaml").unwrap();
    let second = team.push(
        "Scale web to 2",
        &[
            ("deploy/web.yaml", web(2)),
            ("deploy/settings/env.yaml", env("0644")),
            ("deploy/login.yaml", yaml(&[secret("login", "battery-staple")])),
        ],
    );
    assert_eq!(team.until_synced("shop", &second).await, 2);
    let third = team.push("More settings", &[("deploy/more.yaml", yaml(&[config_map("more", "yes")]))]);
    assert_eq!(team.until_synced("shop", &third).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_releases_are_compared_and_secrets_stay_secret() {
    let team = Team::new("any-two").await;
    three_releases(&team).await;
    let (code, out, err) = team.bowline(&["diff", "shop", "--from", "1", "--to", "3"]);
    assert_eq!(code, 1, "{err}");
    for expected in [
        "--- Deployment NS/web (release 1)\n+++ Deployment NS/web (release 3)\n@@ spec.replicas @@\n-1\n+2\n",
        "--- /dev/null\n+++ ConfigMap NS/more (release 3)\n",
        "@@ data.password @@\n-*** (13 bytes,",
        "moved: ConfigMap NS/env  deploy/env.yaml → deploy/settings/env.yaml\n",
    ] {
        assert!(out.contains(expected), "{expected} is in\n{out}");
    }
    for value in ["correct-horse", "battery-staple", "Y29ycmVjdC1ob3JzZQ", "YmF0dGVyeS1zdGFwbGU"] {
        assert!(!out.contains(value), "{out}");
    }
    assert!(err.contains("release 2") && err.contains("Scale web to 2") && err.contains("More settings"), "{err}");
    assert!(err.ends_with("1 added, 2 changed, 1 moved to another file, 1 the same\n"), "{err}");

    // The same by the way back from the newest, and for programs.
    let (code, out, _) = team.bowline(&["diff", "shop", "--from", "HEAD~2", "--to", "HEAD", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    let changes: Vec<(&str, &str)> = data["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["name"].as_str().unwrap(), object["change"].as_str().unwrap()))
        .collect();
    assert_eq!((code, changes), (1, vec![("more", "Added"), ("login", "Changed"), ("web", "Changed")]), "{data:#}");
    let commit = team.releases("shop").await[0].spec.commit.id.clone();
    let (code, _, err) = team.bowline(&["diff", "shop", "--from", &commit[..8], "--to", "1"]);
    assert_eq!((code, err.as_str()), (0, "nothing differs: 3 the same\n"));

    // What is live is compared by the controller.
    let (code, out, err) = team.bowline(&["diff", "shop", "--from", "1", "--to", "live"]);
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("+++ Deployment NS/web (live)\n@@ spec.replicas @@\n-1\n+2\n"), "{out}");
    assert!(out.contains("--- /dev/null\n+++ ConfigMap NS/more (live)\n"), "{out}");
    let (code, out, err) = team.bowline(&["diff", "shop", "--from", "HEAD"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");

    // What was never released is known to the controller, which has the repository.
    team.repo.git(&["push", "origin", "HEAD~2:refs/heads/older"]).unwrap();
    let (code, out, err) = team.bowline(&["diff", "shop", "--from", "older", "--to", "live"]);
    assert!(code == 1 && out.contains("--- Deployment NS/web (older)\n+++ Deployment NS/web (live)\n"), "{out}{err}");
    let (code, _, err) = team.bowline(&["diff", "shop", "--from", "older", "--to", "2"]);
    assert!(code == 2 && err.contains("what was never released can be compared with what is live: --to live"), "{err}");

    let (code, _, err) = team.bowline(&["diff", "shop", "--from", "9", "--to", "live"]);
    assert_eq!((code, err.as_str()), (2, "error: release 9 of shop is not kept\nhint: releases 1 to 3 are kept\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_exported_as_manifests_that_kubectl_takes_and_that_mean_the_same() {
    let team = Team::new("export").await;
    three_releases(&team).await;
    let (code, out, err) = team.bowline(&["export", "shop", "--release", "1"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        !out.contains("kind: Secret") && err.contains("1 Secret left out: --show-secrets writes them"),
        "{out}{err}"
    );
    assert!(out.contains("key: \"0644\""), "{out}");

    let (code, out, err) = team.bowline(&["export", "shop", "--release", "1", "--show-secrets"]);
    assert_eq!(code, 0, "{err}");
    let written = out.replace("NS", &team.namespace);
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.as_file().write_all(written.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "name", "-f", path];
    let applied = team.kubectl(&apply);
    let mut names: Vec<&str> = applied.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["configmap/env", "deployment.apps/web", "secret/login"]);

    // Rendered again it is the same content: the digest of a bundle is that of its manifests.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), &written).unwrap();
    let tree = bowline::source::working::WorkingTree::open(directory.path()).unwrap();
    let options = bowline::render::DirectoryOptions::default();
    let render = bowline::render::directory(&tree, &options, &bowline::render::BuiltIn).unwrap();
    assert_eq!(render.bundle, team.releases("shop").await[0].spec.bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_blamed_on_its_manager_and_ours_on_file_line_and_release() {
    let team = Team::new("blame").await;
    three_releases(&team).await;
    team.patch("apps/v1/deployments", "web", "tuner", &json!({"spec": {"minReadySeconds": 1}})).await;
    let (code, out, err) = team.bowline(&["blame", "shop", "deployment/web", "spec.replicas"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let line = out.lines().nth(1).unwrap();
    assert!(line.starts_with("spec.replicas  2      bowline  deploy/web.yaml:7  "), "{out}");
    assert!(line.contains("\"Scale web to 2\"") && line.ends_with("release 2)"), "{out}");

    let (_, out, _) = team.bowline(&["blame", "shop", "deployments.apps/web", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    let field = |name: &str| data["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap();
    let image = field("spec.template.spec.containers[main].image");
    assert_eq!((&image["source"]["release"], &image["source"]["line"]), (&json!(1), &json!(15)), "{image:#}");
    assert_eq!(image["source"]["file"], "deploy/web.yaml");
    assert_eq!(
        (&field("spec.minReadySeconds")["manager"], &field("spec.minReadySeconds")["source"]),
        (&json!("tuner"), &Value::Null)
    );
    assert_eq!(field("metadata.labels[bowline.dev/set]")["source"], json!({"addedByBowline": true}));

    // A Secret's field is blamed like any other, and not shown.
    let (code, out, _) = team.bowline(&["blame", "shop", "secret/login", "data.password"]);
    assert!(code == 0 && out.contains("***") && out.contains("release 2)"), "{out}");
    let (code, _, err) = team.bowline(&["blame", "shop", "deployment/wed"]);
    assert_eq!((code, err.as_str()), (1, "error: shop has no deployment wed\nhint: did you mean deployment/web?\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_told_in_full_and_the_past_as_it_was_known_then() {
    let team = Team::new("past").await;
    three_releases(&team).await;
    let (code, out, err) = team.bowline(&["history", "shop", "2"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("release 2 of shop: Healthy after "), "{out}");
    let took = out.lines().find(|line| line.starts_with("  Took")).unwrap_or_else(|| panic!("{out}"));
    for part in ["fetch ", "render ", "plan ", "apply ", "health "] {
        assert!(took.contains(part), "{part} is in {took}");
    }
    let (_, out, _) = team.bowline(&["history", "shop", "HEAD~1", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&data["release"], &data["commit"]["subject"]), (&json!(2), &json!("Scale web to 2")));
    assert!(data["outcome"]["durations"]["apply"].is_string(), "{data:#}");

    let releases = team.releases("shop").await;
    let ended = |index: usize| releases[index].status.as_ref().unwrap().outcome.as_ref().unwrap().ended_at;
    let (code, out, _) = team.bowline(&["get", "shop", "--at", &ended(1).to_string()]);
    assert!(code == 0 && out.contains("Scale web to 2") && !out.contains("More settings"), "{out}");
    assert!(out.ends_with("In the cluster was the content of release 2.\n"), "{out}");
    let (code, _, err) = team.bowline(&["get", "shop", "--at", "2020-01-01"]);
    assert!(code == 1 && err.contains("its first release was made at"), "{err}");

    let since = releases[2].spec.created_at.to_string();
    let (_, out, _) = team.bowline(&["history", "shop", "--since", &since, "-o", "name"]);
    assert_eq!(out, "release.bowline.dev/shop-3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_content_is_told_which_right_is_missing_and_who_may_not_read_secrets_gets_the_rest() {
    let team = Team::new("content").await;
    three_releases(&team).await;
    let grant = |name: &str, resources: &str| {
        let resources = format!("--resource={resources}");
        team.kubectl(&["create", "role", name, "--verb=get,list", &resources]);
        team.kubectl(&["create", "rolebinding", name, "--role", name, "--user", "eve"]);
    };
    grant("releases", "applications.bowline.dev,releases.bowline.dev");
    let eve: PathBuf = team.site.cluster.kubeconfig_for("eve", &[]).unwrap();
    eventually("the right to read releases has arrived", async || {
        let (code, _, err) = team.bowline_as(&eve, &["history", "shop"]);
        if code == 0 { Ok(()) } else { Err(err) }
    })
    .await;
    for command in
        [&["diff", "shop", "--from", "1", "--to", "2"][..], &["export", "shop"], &["blame", "shop", "deployment/web"]]
    {
        let (code, out, err) = team.bowline_as(&eve, command);
        assert!(code != 0 && out.is_empty(), "{command:?}: {out}");
        assert!(
            err.contains(
                "a Role in namespace NS with the verb get on bundles.bowline.dev and bundlechunks.bowline.dev"
            ),
            "{err}"
        );
    }

    let (code, out, err) = team.bowline_as(&eve, &["history", "shop", "--verify"]);
    assert!(code == 0 && out.ends_with("The chain is whole.\n"), "{out}{err}");
    assert!(
        err.starts_with("note: only the chain was looked at") && err.contains("the verb get on bundles.bowline.dev"),
        "{err}"
    );

    grant("content", "bundles.bowline.dev,bundlechunks.bowline.dev,deployments.apps");
    eventually("the right to read content has arrived", async || {
        let (code, _, err) = team.bowline_as(&eve, &["export", "shop"]);
        if code == 0 { Ok(()) } else { Err(err) }
    })
    .await;
    let (code, out, err) = team.bowline_as(&eve, &["diff", "shop", "--from", "1", "--to", "2"]);
    assert!(code == 1 && out.contains("@@ spec.replicas @@") && !out.contains("Secret"), "{out}{err}");
    assert!(err.contains("note: Secrets are left out: you may not get secrets in namespace NS"), "{err}");
    let (code, out, err) = team.bowline_as(&eve, &["export", "shop", "--show-secrets"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with("error: you may not get secrets in namespace NS\n"), "{err}");
    let (code, out, err) = team.bowline_as(&eve, &["blame", "shop", "deployment/web", "spec.replicas"]);
    assert!(code == 0 && out.contains("deploy/web.yaml:7"), "{out}{err}");
}
