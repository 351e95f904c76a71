//! From a commit to what runs.

use rig::Auth;
use serde_json::json;

use crate::world::{Team, config_map, eventually, many_config_maps};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_goes_live_from_a_server_that_asks_for_a_password() {
    let team = Team::new("live").await;
    team.git.require(Auth::Basic { user: "bowline".into(), password: "a-password-of-git".into() });
    team.kubectl(&[
        "create",
        "secret",
        "generic",
        "git",
        "--from-literal=username=bowline",
        "--from-literal=password=a-password-of-git",
    ]);
    let first = team.push("Fifty objects", &[("deploy/all.yaml", many_config_maps(50, "one"))]);
    team.deploy_shop(json!({"source": {"secretRef": {"name": "git"}}}));
    assert_eq!(team.until_synced("shop", &first).await, 1);
    let status = team.status("shop").await;
    assert_eq!(status["objects"], json!({"total": 50, "inSync": 50, "drifted": 0, "healthy": 50}));

    // The next commit changes one of them, and one only.
    let before = team.get("configmaps", "item-8").await.unwrap();
    team.repo.write("deploy/extra.yaml", &config_map("extra", "two").to_string()).unwrap();
    let second = team.push("One more", &[]);
    assert_eq!(team.until_synced("shop", &second).await, 2);
    assert_eq!(team.get("configmaps", "extra").await.unwrap()["data"]["key"], "two");
    assert_eq!(team.get("configmaps", "item-8").await.unwrap(), before, "what did not change is not written");
    let releases = team.releases("shop").await;
    let outcome = releases[1].status.as_ref().unwrap().outcome.as_ref().unwrap();
    assert_eq!((outcome.written, releases[1].spec.counts.objects, releases[1].spec.counts.changed), (1, 51, 1));
    assert_eq!(releases[1].spec.commit.subject, "One more");
    assert_eq!(releases[1].spec.commit.author, "Grace");

    // What Git no longer has goes.
    team.repo.remove("deploy/extra.yaml").unwrap();
    let third = team.push("One less", &[]);
    assert_eq!(team.until_synced("shop", &third).await, 3);
    assert_eq!(team.get("configmaps", "extra").await, None);
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 Push Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_without_the_password() {
    let team = Team::new("password").await;
    team.git.require(Auth::Basic { user: "bowline".into(), password: "the-right-one".into() });
    team.kubectl(&[
        "create",
        "secret",
        "generic",
        "git",
        "--from-literal=username=bowline",
        "--from-literal=password=the-wrong-one",
    ]);
    let commit = team.push("First", &[("deploy/all.yaml", many_config_maps(1, "one"))]);
    team.deploy_shop(json!({"source": {"secretRef": {"name": "git"}}}));
    let refused =
        |status: &serde_json::Value| status["note"].as_str().unwrap_or("").starts_with("authentication failed");
    let status = team.until("shop", "says that it was refused", refused).await;
    assert_eq!(status["sync"], "Unknown");
    let said = status.to_string();
    assert!(said.contains("refuses username and password of the Secret"), "{said}");
    assert!(!said.contains("the-wrong-one"), "{said}");

    // The right one in the Secret is taken without anybody touching the Application.
    let password = json!({"stringData": {"password": "the-right-one"}});
    team.patch("secrets", "git", "kubectl-edit", &password).await;
    team.until_synced("shop", &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_healthy_only_when_its_pods_are() {
    let team = Team::new("pods").await;
    let mut slow = crate::world::deployment("web", "registry.example/web:1");
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"rig.bowline.dev/pod": "hangs"});
    team.push("A pod that does not start", &[("deploy/web.yaml", slow.to_string())]);
    team.deploy_shop(json!({"sync": {"timeout": "60s"}}));
    let status = team
        .until("shop", "waits for the Deployment", |status| {
            status["release"]["phase"] == "Waiting" && status["note"].as_str().unwrap_or("").contains("web")
        })
        .await;
    assert_eq!(status["sync"], "Syncing");
    assert_eq!(status["health"], "Progressing");

    // The next commit takes the place of the one that waits.
    let web = crate::world::deployment("web", "registry.example/web:1");
    let commit = team.push("A pod that starts", &[("deploy/web.yaml", web.to_string())]);
    team.until_synced("shop", &commit).await;
    assert_eq!(team.history("shop").await, "1 Push Superseded\n2 Push Healthy");
    let live =
        eventually("the Deployment is there", async || team.get("apps/v1/deployments", "web").await.ok_or("nothing"))
            .await;
    assert_eq!(live["status"]["availableReplicas"], 1);
}
