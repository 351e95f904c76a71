//! Who asked for a release, and why.

use serde_json::json;

use crate::world::{Site, Start, Team, config_map, deployment, eventually, rollback_request, yaml};

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
        let more = json!({"toRelease": from - 1, "reason": format!("reason {from}"), "requestedBy": forged});
        rollback_request(&format!("from-{from}"), from, &more)
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
    let (_, out, _) = team.bowline(&["history", "shop"]);
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
    let (code, _, err) = team.bowline(&back);
    assert_eq!(code, 0, "{err}");
    let releases = team.releases("shop").await;
    let spec = &releases[2].spec;
    assert!(!spec.verified && !spec.requested_by.is_empty() && spec.reason == "queue backs up", "{spec:#?}");
    let (_, out, _) = team.bowline(&["history", "shop"]);
    assert!(out.contains("(unverified)"), "{out}");
    let (_, out, _) = team.bowline(&["history", "shop", "3"]);
    assert!(
        out.contains("(unverified: no admission policy checked the name)") && out.contains("Why       queue backs up"),
        "{out}"
    );
}
