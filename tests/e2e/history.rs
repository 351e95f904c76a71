//! What people ask the history, of a cluster that a controller wrote.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, deployment, eventually, secret, yaml};

/// Runs the program as somebody: exit code, data, messages.
fn bowline_as(team: &Team<'_>, kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bowline"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["-n", &team.namespace])
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&team.namespace, "NS");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn bowline(team: &Team<'_>, arguments: &[&str]) -> (i32, String, String) {
    bowline_as(team, team.site.cluster.kubeconfig_path(), arguments)
}

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
    let (code, out, err) = bowline(&team, &["diff", "shop", "--from", "1", "--to", "3"]);
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
    let (code, out, _) = bowline(&team, &["diff", "shop", "--from", "HEAD~2", "--to", "HEAD", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    let changes: Vec<(&str, &str)> = data["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["name"].as_str().unwrap(), object["change"].as_str().unwrap()))
        .collect();
    assert_eq!((code, changes), (1, vec![("more", "Added"), ("login", "Changed"), ("web", "Changed")]), "{data:#}");
    let commit = team.releases("shop").await[0].spec.commit.id.clone();
    let (code, _, err) = bowline(&team, &["diff", "shop", "--from", &commit[..8], "--to", "1"]);
    assert_eq!((code, err.as_str()), (0, "nothing differs: 3 the same\n"));

    // What is live is compared by the controller.
    let (code, out, err) = bowline(&team, &["diff", "shop", "--from", "1", "--to", "live"]);
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("+++ Deployment NS/web (live)\n@@ spec.replicas @@\n-1\n+2\n"), "{out}");
    assert!(out.contains("--- /dev/null\n+++ ConfigMap NS/more (live)\n"), "{out}");
    let (code, out, err) = bowline(&team, &["diff", "shop", "--from", "HEAD"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");

    // What was never released is known to the controller, which has the repository.
    team.repo.git(&["push", "origin", "HEAD~2:refs/heads/older"]).unwrap();
    let (code, out, err) = bowline(&team, &["diff", "shop", "--from", "older", "--to", "live"]);
    assert!(code == 1 && out.contains("--- Deployment NS/web (older)\n+++ Deployment NS/web (live)\n"), "{out}{err}");
    let (code, _, err) = bowline(&team, &["diff", "shop", "--from", "older", "--to", "2"]);
    assert!(code == 2 && err.contains("what was never released can be compared with what is live: --to live"), "{err}");

    let (code, _, err) = bowline(&team, &["diff", "shop", "--from", "9", "--to", "live"]);
    assert_eq!((code, err.as_str()), (2, "error: release 9 of shop is not kept\nhint: releases 1 to 3 are kept\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_exported_as_manifests_that_kubectl_takes_and_that_mean_the_same() {
    let team = Team::new("export").await;
    three_releases(&team).await;
    let (code, out, err) = bowline(&team, &["export", "shop", "--release", "1"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        !out.contains("kind: Secret") && err.contains("1 Secret left out: --show-secrets writes them"),
        "{out}{err}"
    );
    assert!(out.contains("key: \"0644\""), "{out}");

    let (code, out, err) = bowline(&team, &["export", "shop", "--release", "1", "--show-secrets"]);
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
    let (code, out, err) = bowline(&team, &["blame", "shop", "deployment/web", "spec.replicas"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let line = out.lines().nth(1).unwrap();
    assert!(line.starts_with("spec.replicas  2      bowline  deploy/web.yaml:7  "), "{out}");
    assert!(line.contains("\"Scale web to 2\"") && line.ends_with("release 2)"), "{out}");

    let (_, out, _) = bowline(&team, &["blame", "shop", "deployments.apps/web", "-o", "json"]);
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
    let (code, out, _) = bowline(&team, &["blame", "shop", "secret/login", "data.password"]);
    assert!(code == 0 && out.contains("***") && out.contains("release 2)"), "{out}");
    let (code, _, err) = bowline(&team, &["blame", "shop", "deployment/wed"]);
    assert_eq!((code, err.as_str()), (1, "error: shop has no deployment wed\nhint: did you mean deployment/web?\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_told_in_full_and_the_past_as_it_was_known_then() {
    let team = Team::new("past").await;
    three_releases(&team).await;
    let (code, out, err) = bowline(&team, &["history", "shop", "2"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("release 2 of shop: Healthy after "), "{out}");
    let took = out.lines().find(|line| line.starts_with("  Took")).unwrap_or_else(|| panic!("{out}"));
    for part in ["fetch ", "render ", "plan ", "apply ", "health "] {
        assert!(took.contains(part), "{part} is in {took}");
    }
    let (_, out, _) = bowline(&team, &["history", "shop", "HEAD~1", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&data["release"], &data["commit"]["subject"]), (&json!(2), &json!("Scale web to 2")));
    assert!(data["outcome"]["durations"]["apply"].is_string(), "{data:#}");

    let releases = team.releases("shop").await;
    let ended = |index: usize| releases[index].status.as_ref().unwrap().outcome.as_ref().unwrap().ended_at;
    let (code, out, _) = bowline(&team, &["get", "shop", "--at", &ended(1).to_string()]);
    assert!(code == 0 && out.contains("Scale web to 2") && !out.contains("More settings"), "{out}");
    assert!(out.ends_with("In the cluster was the content of release 2.\n"), "{out}");
    let (code, _, err) = bowline(&team, &["get", "shop", "--at", "2020-01-01"]);
    assert!(code == 1 && err.contains("its first release was made at"), "{err}");

    let since = releases[2].spec.created_at.to_string();
    let (_, out, _) = bowline(&team, &["history", "shop", "--since", &since, "-o", "name"]);
    assert_eq!(out, "release.bowline.dev/shop-3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_a_removed_and_a_reordered_release_and_a_damaged_chunk_are_named() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "verify").await;
    for number in 1..=5 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyLimit": 4}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    eventually("the first release is trimmed", async || match team.get("releases", "shop-1").await {
        None => Ok(()),
        Some(_) => Err("it is there"),
    })
    .await;
    let verify = || bowline(&team, &["history", "shop", "--verify"]);
    let (code, out, err) = verify();
    assert_eq!((code, err.as_str()), (0, "the content of 4 releases is whole\n"));
    assert!(out.ends_with("The chain is whole from release 2 (older ones are trimmed).\n"), "{out}");
    // The end of the chain is in the status and in the log as well.
    let end = team.status("shop").await["chain"].as_str().unwrap().to_owned();
    let newest = bowline::history::release_digest(&team.releases("shop").await[3]).unwrap();
    assert_eq!(end, newest.to_string());
    assert!(controller.says(&newest.short(40)) > 0, "the log has {newest}");
    controller.kill();

    // A release's spec cannot be changed in place: it is deleted and made again.
    let replace = |name: &str, object: &Value, change: &dyn Fn(&mut Value)| {
        let mut changed = object.clone();
        changed["metadata"] = json!({"name": name});
        change(&mut changed);
        let status = json!({"status": changed["status"]}).to_string();
        if team.try_kubectl(&["get", "release.bowline.dev", name]).is_ok() {
            team.kubectl(&["delete", "release.bowline.dev", name]);
        }
        team.create(&changed);
        team.kubectl(&["patch", "release.bowline.dev", name, "--subresource=status", "--type=merge", "-p", &status]);
    };
    let third = team.get("releases", "shop-3").await.unwrap();
    let fourth = team.get("releases", "shop-4").await.unwrap();

    replace("shop-3", &third, &|release| release["spec"]["reason"] = json!("nothing to see"));
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("release 3 was edited after the next one was made"), "{err}");

    team.kubectl(&["delete", "release.bowline.dev", "shop-3"]);
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("release 3 was removed"), "{err}");

    replace("shop-3", &fourth, &|release| release["spec"]["number"] = json!(3));
    replace("shop-4", &third, &|release| release["spec"]["number"] = json!(4));
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("was made after release"), "{err}");

    replace("shop-3", &third, &|_| {});
    replace("shop-4", &fourth, &|_| {});
    assert_eq!(verify().0, 0);
    let bundle = team
        .list("bundles")
        .await
        .into_iter()
        .find(|bundle| bundle["spec"]["digest"] == third["spec"]["bundle"])
        .unwrap();
    let chunk = bundle["spec"]["chunks"][0]["name"].as_str().unwrap();
    team.kubectl(&["delete", "bundlechunk.bowline.dev", chunk]);
    let (code, _, err) = verify();
    let expected = format!("error: the content of release 3 cannot be read: chunk {chunk} of the bundle is missing\n");
    assert!(code == 1 && err.contains(&expected), "{err}");

    // Nothing is made of it: a rollback to it is refused by name, and nothing is written.
    controller.start_again();
    let before = team.get("configmaps", "settings").await.unwrap();
    team.create(&json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "RollbackRequest", "metadata": {"name": "back"},
        "spec": {"applicationRef": {"name": "shop"}, "fromRelease": 5, "toRelease": 3},
    }));
    let answer = team.until_answered("rollbackrequests", "back").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(
        answer["message"].as_str().unwrap().contains(&format!("chunk {chunk} of the bundle is missing")),
        "{answer:#}"
    );
    assert_eq!(team.get("configmaps", "settings").await.unwrap(), before);
    let told = |words: &str| {
        let words = words.to_owned();
        move |status: &Value| {
            status["problems"].as_array().is_some_and(|problems| {
                problems.iter().any(|problem| {
                    problem["object"] == "Release shop-3" && problem["message"].as_str().unwrap().contains(&words)
                })
            })
        }
    };
    team.until("shop", "names the chunk that is missing", told(&format!("chunk {chunk} of the bundle is missing")))
        .await;
    let (_, out, _) = bowline(&team, &["status", "shop"]);
    assert!(out.contains("Release shop-3") && out.contains(chunk), "{out}");

    // A chunk that holds something else is found by its digest, and not applied either.
    let mut forged = team.list("bundlechunks").await.into_iter().next().unwrap();
    forged["metadata"] = json!({"name": chunk});
    team.create(&forged);
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains(&format!("chunk {chunk} of the bundle is corrupt")), "{err}");
    assert!(err.contains(&format!("hint: nothing is made of content that is not whole; delete {chunk}")), "{err}");
    team.create(&json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "RollbackRequest", "metadata": {"name": "again"},
        "spec": {"applicationRef": {"name": "shop"}, "fromRelease": 5, "toRelease": 3},
    }));
    let answer = team.until_answered("rollbackrequests", "again").await;
    assert!(answer["phase"] == "Refused" && answer["message"].as_str().unwrap().contains("is corrupt"), "{answer:#}");
    assert_eq!(team.get("configmaps", "settings").await.unwrap(), before);
    team.until("shop", "names the chunk that is corrupt", told("is corrupt")).await;
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
        let (code, _, err) = bowline_as(&team, &eve, &["history", "shop"]);
        if code == 0 { Ok(()) } else { Err(err) }
    })
    .await;
    for command in
        [&["diff", "shop", "--from", "1", "--to", "2"][..], &["export", "shop"], &["blame", "shop", "deployment/web"]]
    {
        let (code, out, err) = bowline_as(&team, &eve, command);
        assert!(code != 0 && out.is_empty(), "{command:?}: {out}");
        assert!(
            err.contains(
                "a Role in namespace NS with the verb get on bundles.bowline.dev and bundlechunks.bowline.dev"
            ),
            "{err}"
        );
    }

    let (code, out, err) = bowline_as(&team, &eve, &["history", "shop", "--verify"]);
    assert!(code == 0 && out.ends_with("The chain is whole.\n"), "{out}{err}");
    assert!(
        err.starts_with("note: only the chain was looked at") && err.contains("the verb get on bundles.bowline.dev"),
        "{err}"
    );

    grant("content", "bundles.bowline.dev,bundlechunks.bowline.dev,deployments.apps");
    eventually("the right to read content has arrived", async || {
        let (code, _, err) = bowline_as(&team, &eve, &["export", "shop"]);
        if code == 0 { Ok(()) } else { Err(err) }
    })
    .await;
    let (code, out, err) = bowline_as(&team, &eve, &["diff", "shop", "--from", "1", "--to", "2"]);
    assert!(code == 1 && out.contains("@@ spec.replicas @@") && !out.contains("Secret"), "{out}{err}");
    assert!(err.contains("note: Secrets are left out: you may not get secrets in namespace NS"), "{err}");
    let (code, out, err) = bowline_as(&team, &eve, &["export", "shop", "--show-secrets"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with("error: you may not get secrets in namespace NS\n"), "{err}");
    let (code, out, err) = bowline_as(&team, &eve, &["blame", "shop", "deployment/web", "spec.replicas"]);
    assert!(code == 0 && out.contains("deploy/web.yaml:7"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_release_has_who_asked_and_why_whatever_the_request_says() {
    let team = Team::new("who").await;
    let first = team.push("First", &[("deploy/all.yaml", yaml(&[config_map("settings", "one")]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &[("deploy/all.yaml", yaml(&[config_map("settings", "two")]))]);
    team.until_synced("shop", &second).await;
    team.kubectl(&[
        "create",
        "role",
        "asks",
        "--verb=create,get,list,watch",
        "--resource=rollbackrequests.bowline.dev,applications.bowline.dev,releases.bowline.dev",
    ]);
    for user in ["ada", "grace"] {
        team.kubectl(&["create", "rolebinding", user, "--role=asks", "--user", user]);
    }
    let request = |from: u64, forged: &str| {
        json!({
            "apiVersion": "bowline.dev/v1alpha1", "kind": "RollbackRequest", "metadata": {"name": format!("from-{from}")},
            "spec": {"applicationRef": {"name": "shop"}, "fromRelease": from, "toRelease": from - 1, "reason": format!("reason {from}"), "requestedBy": forged},
        })
    };
    // Ada says that Grace asks; Grace is who the administrator acts as.
    let ada = team.site.cluster.kubeconfig_for("ada", &[]).unwrap();
    eventually("the rights have arrived", async || team.create_as(&ada, &request(2, "grace")).map(|_| ())).await;
    team.until_answered("rollbackrequests", "from-2").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), request(3, "").to_string()).unwrap();
    team.kubectl(&["create", "--as=grace", "-f", file.path().to_str().unwrap()]);
    team.until_answered("rollbackrequests", "from-3").await;

    let who: Vec<String> = team
        .releases("shop")
        .await
        .iter()
        .map(|release| {
            format!(
                "{} {} {} {}",
                release.spec.number, release.spec.requested_by, release.spec.verified, release.spec.reason
            )
        })
        .collect();
    assert_eq!(who[2..], ["3 ada true reason 2", "4 grace true reason 3"]);
    let (_, out, _) = bowline(&team, &["history", "shop"]);
    assert!(out.contains("ada") && out.contains("reason 2") && !out.contains("unverified"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_policies_a_name_is_recorded_as_unverified() {
    let site = Site::new();
    for kind in [
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "mutatingadmissionpolicies",
    ] {
        site.cluster.kubectl(&["delete", kind, "--all"]).unwrap();
    }
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "unverified").await;
    let first = team.push("First", &[("deploy/all.yaml", yaml(&[deployment("web", "registry.example/web:1")]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &[("deploy/all.yaml", yaml(&[deployment("web", "registry.example/web:2")]))]);
    team.until_synced("shop", &second).await;
    let back = ["rollback", "shop", "--yes", "--wait", "--reason", "queue backs up"];
    let (code, _, err) = bowline(&team, &back);
    assert_eq!(code, 0, "{err}");
    let releases = team.releases("shop").await;
    let spec = &releases[2].spec;
    assert!(!spec.verified && !spec.requested_by.is_empty() && spec.reason == "queue backs up", "{spec:#?}");
    let (_, out, _) = bowline(&team, &["history", "shop"]);
    assert!(out.contains("(unverified)"), "{out}");
    let (_, out, _) = bowline(&team, &["history", "shop", "3"]);
    assert!(
        out.contains("(unverified: no admission policy checked the name)") && out.contains("Why       queue backs up"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_too_old_are_forgotten_though_nothing_happens_and_what_is_needed_stays() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "age").await;
    for number in 1..=4 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyAge": "1h"}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    assert_eq!(team.releases("shop").await.len(), 4, "none is an hour old");
    let bytes = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    let kept: Vec<String> = controller.metric("bowline_history_bytes");
    assert!(kept.first().and_then(|line| bytes(line)).is_some_and(|bytes| bytes > 200), "{kept:?}");

    let patch = json!({"spec": {"rollback": {"historyAge": "2s"}}});
    team.patch("applications", "shop", "person", &patch).await;
    // The newest and the target of a rollback from it are never too old.
    eventually("the old releases are gone", async || {
        let numbers: Vec<u64> = team.releases("shop").await.iter().map(|release| release.spec.number).collect();
        if numbers == [3, 4] { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
    team.polls(5).await;
    assert_eq!(team.releases("shop").await.len(), 2);
    let (code, out, err) = bowline(&team, &["history", "shop", "--verify"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("The chain is whole from release 3 (older ones are trimmed).\n"), "{out}");
}

/// Others' histories hold ten entries without outcome, reason or mark of a
/// rollback, and refuse a rollback while they sync by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn trap_1_each_of_more_than_ten_releases_has_its_outcome_and_a_rollback_its_mark_and_reason() {
    let team = Team::new("trap-1").await;
    for number in 1..=12 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyLimit": 50}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    // Syncing by itself stays on, and what was left stays out.
    let (code, _, err) =
        bowline(&team, &["rollback", "shop", "3", "--yes", "--wait", "--reason", "it was better then"]);
    assert_eq!(code, 0, "{err}");
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "3");

    let (_, out, _) = bowline(&team, &["history", "shop", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    let releases = data["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 13);
    assert!(releases.iter().all(|release| release["outcome"]["phase"] == "Healthy"), "{data:#}");
    let newest = &releases[0];
    assert_eq!((&newest["cause"], &newest["rollbackTo"]), (&json!("Rollback"), &json!(3)));
    assert_eq!((&newest["reason"], &newest["verified"]), (&json!("it was better then"), &json!(true)));
    assert_eq!(newest["rejects"], json!([12, 11, 10, 9, 8, 7, 6, 5, 4]));
    assert_eq!(releases[1]["after"]["rolledBackBy"], 13);
}

/// Others keep digests and no manifests, or all of a release in one object of
/// at most a mebibyte.
#[tokio::test(flavor = "multi_thread")]
async fn trap_2_a_release_larger_than_one_object_is_kept_whole_and_read_without_git() {
    let team = Team::new("trap-2").await;
    let large = |seed: &str| -> String {
        let objects: Vec<Value> = (0..4)
            .map(|number| {
                let mut noise = String::new();
                while noise.len() < 500_000 {
                    let digest = bowline::manifest::Digest::of(format!("{seed} {number} {}", noise.len()).as_bytes());
                    noise.push_str(&digest.hex());
                }
                config_map(&format!("large-{number}"), &noise)
            })
            .collect();
        yaml(&objects)
    };
    let first = team.push("Large", &[("deploy/all.yaml", large("first"))]);
    team.deploy_shop(json!({"sync": {"timeout": "60s"}}));
    team.until_synced("shop", &first).await;
    let second = team.push("Large again", &[("deploy/all.yaml", large("second"))]);
    team.until_synced("shop", &second).await;
    std::fs::rename(team.repo.bare_path(), team.repo.bare_path().with_extension("gone")).unwrap();

    let (code, out, err) = bowline(&team, &["export", "shop", "--release", "1"]);
    assert!(code == 0 && out.len() > 2_000_000, "{} bytes: {err}", out.len());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), out.replace("NS", &team.namespace)).unwrap();
    let tree = bowline::source::working::WorkingTree::open(directory.path()).unwrap();
    let options = bowline::render::DirectoryOptions::default();
    let render = bowline::render::directory(&tree, &options, &bowline::render::BuiltIn).unwrap();
    assert_eq!(render.bundle, team.releases("shop").await[0].spec.bundle);
    let (code, out, _) = bowline(&team, &["diff", "shop", "--from", "1", "--to", "2", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, data["objects"].as_array().unwrap().len()), (1, 4));
}

/// The evidence of a hold outlives its age, also over a restart, when nobody
/// knows yet what the head renders.
#[tokio::test(flavor = "multi_thread")]
async fn why_content_stays_out_is_never_too_old_to_be_known_not_even_after_a_restart() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "evidence").await;
    let push = |value: &str| team.push(value, &[("deploy/all.yaml", yaml(&[config_map("settings", value)]))]);
    let first = push("good");
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    team.until_synced("shop", &push("bad")).await;
    let (code, _, err) = bowline(&team, &["rollback", "shop", "--yes", "--wait", "--reason", "it is bad"]);
    assert_eq!(code, 0, "{err}");
    for value in ["better", "best"] {
        team.until_synced("shop", &push(value)).await;
    }
    push("bad");
    let held = |status: &Value| status["sync"] == "Held" && status["hold"]["rejectedRelease"] == 2;
    team.until("shop", "Held, since release 3 rejects it", held).await;

    let patch = json!({"spec": {"rollback": {"historyAge": "1s"}}});
    team.patch("applications", "shop", "person", &patch).await;
    let numbers =
        async || -> Vec<u64> { team.releases("shop").await.iter().map(|release| release.spec.number).collect() };
    eventually("all is gone that nobody needs", async || {
        let numbers = numbers().await;
        if numbers == [3, 4, 5] { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
    // While it starts, and the repository is away, it does not know the head.
    let away = team.repo.bare_path().with_extension("away");
    controller.kill();
    std::fs::rename(team.repo.bare_path(), &away).unwrap();
    controller.start_again();
    eventually("it tried the repository", async || {
        if team.events("shop").await.iter().any(|event| event.contains("NotFound") || event.contains("Unreachable")) {
            Ok(())
        } else {
            Err(format!("{:?}", team.events("shop").await))
        }
    })
    .await;
    assert_eq!(numbers().await, [3, 4, 5]);
    std::fs::rename(&away, team.repo.bare_path()).unwrap();
    team.polls(5).await;
    team.until("shop", "still Held", held).await;
    assert_eq!(numbers().await, [3, 4, 5]);
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "best");
}
