//! Applications beside each other: one repository, one object, one of them broken.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{Application, Site, Start, Team, config_map, eventually};

fn app<'a>(name: &'a str, path: &'a str) -> Application<'a> {
    Application { name, path, spec: json!({}) }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_that_claim_one_object_do_not_fight() {
    let team = Team::new("claim").await;
    let shared = |value: &str| config_map("shared", value).to_string();
    let first = team.push("Both have it", &[("a/shared.yaml", shared("a")), ("b/shared.yaml", shared("b"))]);
    team.deploy(&app("first", "a"));
    team.until_synced("first", &first).await;
    let before = team.get("configmaps", "shared").await.unwrap();
    team.deploy(&app("second", "b"));
    let status = team.until("second", "Failed", |status| status["sync"] == "Failed").await;
    let note = status["note"].as_str().unwrap();
    for word in ["ConfigMap", "shared", &format!("{}/first", team.namespace), "bowline.dev/take-over"] {
        assert!(note.contains(word), "{word} in {note}");
    }
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "shared").await.unwrap(), before);

    // Moved on purpose, it is never gone.
    let mut taken = config_map("shared", "b");
    taken["metadata"]["annotations"] = json!({"bowline.dev/take-over": "true"});
    team.repo.remove("a/shared.yaml").unwrap();
    let moved = team
        .push("Moved", &[("b/shared.yaml", taken.to_string()), ("a/other.yaml", config_map("other", "a").to_string())]);
    team.until_synced("second", &moved).await;
    team.until_synced("first", &moved).await;
    let after = eventually("it is the second's", async || {
        let object = team.get("configmaps", "shared").await.unwrap_or_default();
        let owner = object["metadata"]["annotations"]["bowline.dev/application"].clone();
        if owner == format!("{}/second", team.namespace) { Ok(object) } else { Err(object.to_string()) }
    })
    .await;
    assert_eq!(after["data"]["key"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_elsewhere_in_the_repository_renders_nothing_and_makes_no_release() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "mono").await;
    let names = ["app-0", "app-1", "app-2", "app-3", "app-4", "app-5"];
    let files: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}/one.yaml"), config_map(&format!("{name}-one"), "git").to_string()))
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let first = team.push("Six", &files);
    for name in names {
        team.deploy(&app(name, name));
    }
    for name in names {
        team.until_synced(name, &first).await;
    }
    let renders = || controller.log().lines().filter(|line| line.contains(" rendered ")).count();
    let before = renders();
    assert!(before >= names.len(), "the log tells of renders: {before}");
    let second = team.push("One of them", &[("app-3/one.yaml", config_map("app-3-one", "changed").to_string())]);
    team.until_synced("app-3", &second).await;
    team.until("app-0", "the commit is seen", |status| status["head"]["commit"] == second).await;
    team.polls(2).await;
    assert_eq!(renders(), before + 1, "one directory changed");
    for name in names {
        let releases = team.releases(name).await.len();
        assert_eq!(releases, if name == "app-3" { 2 } else { 1 }, "{name}");
    }

    // All of them together ask the server as often as one would: every second,
    // a tenth sooner at most, by two requests (the capabilities, then the
    // references).
    let (mark, began) = (team.git.requests(), Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (asked, took) = (team.git.requests() - mark, began.elapsed().as_secs_f64());
    let looks = asked as f64 / 2.0;
    assert!(looks >= 1.0, "{asked} requests in {took:.1} s");
    let most = (took / 0.9).ceil() + 1.0;
    assert!(looks <= most, "{asked} requests in {took:.1} s for six applications at an interval of 1 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_application_is_refused_with_words() {
    let team = Team::new("wrong").await;
    let application = |name: &str, source: serde_json::Value| {
        json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name},
            "spec": {"source": source},
        })
    };
    let long = "x".repeat(53);
    for (application, words) in [
        (application("shop", json!({"repoURL": "ftp://git.example/shop"})), "must be an https, http, ssh or file URL"),
        (application("shop", json!({"repoURL": "ssh://me:secret@git.example/shop"})), "must not hold credentials"),
        (application("shop", json!({"repoURL": "https://me:secret@git.example/shop"})), "must not hold credentials"),
        (application("shop", json!({"repoURL": "https://git.example/shop", "path": "../up"})), "must be relative"),
        (application(&long, json!({"repoURL": "https://git.example/shop"})), "at most 52 characters"),
        (application("a.b", json!({"repoURL": "https://git.example/shop"})), "has no dots"),
        (application("shop", json!({"repoURL": "https://git.example/shop", "interval": "soon"})), "interval"),
    ] {
        let refused = team.try_create(&application).unwrap_err();
        assert!(refused.contains(words), "{words} in {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cannot_be_understood_does_not_stop_the_others() {
    let site = Site::new();
    // The schema would keep such an object out; one that came before it, or by
    // another version, is there all the same.
    let open = json!({"spec": {"versions": [{
        "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    }]}});
    let patch = open.to_string();
    site.cluster.kubectl(&["patch", "crd", "applications.bowline.dev", "--type=merge", "-p", &patch]).unwrap();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "broken").await;
    let strange = |name: &str| {
        json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name},
            "spec": {"source": 5, "sync": {"timeout": "for ever"}},
        })
    };
    eventually("the schema is open", async || team.try_create(&strange("strange"))).await;
    let first = team.push("First", &[("deploy/one.yaml", config_map("one", "git").to_string())]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;

    // Also when it comes while the controller runs, and after a restart.
    team.create(&strange("stranger"));
    let second = team.push("Second", &[("deploy/one.yaml", config_map("one", "more").to_string())]);
    team.until_synced("shop", &second).await;
    controller.start_at_once(&site);
    let third = team.push("Third", &[("deploy/one.yaml", config_map("one", "most").to_string())]);
    team.until_synced("shop", &third).await;
    assert!(controller.log().contains("strange"), "the log names what it could not understand");
}
