//! A person who may ask for a rollback, and nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, rollback_request, secret, sync_request, yaml};

const OLD: &str = "correct-horse-battery-staple";
const NEW: &str = "tr0ub4dor-and-three";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_may_only_ask_can_roll_back_and_reads_no_secret_by_it() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "rights").await;
    let content = |password: &str, value: &str| {
        [("deploy/all.yaml", yaml(&[secret("credentials", password), config_map("settings", value)]))]
    };
    let first = team.push("First", &content(OLD, "one"));
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &content(NEW, "two"));
    team.until_synced("shop", &second).await;

    for (name, rights) in [
        ("asks", ["--verb=create,get,list,watch", "--resource=rollbackrequests.bowline.dev"]),
        ("reads", ["--verb=get,list,watch", "--resource=applications.bowline.dev,releases.bowline.dev"]),
    ] {
        team.kubectl(&[&["create", "role", name][..], &rights].concat());
        team.kubectl(&["create", "rolebinding", name, "--role", name, "--user", "ada"]);
    }
    let ada = site.cluster.kubeconfig_for("ada", &[]).unwrap();
    let as_ada = |arguments: &[&str]| {
        let arguments = [&["-n", &team.namespace], arguments].concat();
        site.cluster.kubectl_as(&ada, &arguments).map_err(|error| error.to_string())
    };
    for forbidden in ["secrets", "bundles.bowline.dev", "bundlechunks.bowline.dev", "inventories.bowline.dev"] {
        let refused = as_ada(&["get", forbidden]).unwrap_err();
        assert!(refused.contains("Forbidden"), "{refused}");
    }

    let request = |name: &str, dry_run: bool, plan: Option<&Value>| {
        let mut request = rollback_request(name, 2, &json!({"dryRun": dry_run, "reason": "it broke"}));
        if let Some(plan) = plan {
            request["spec"]["planDigest"] = plan.clone();
        }
        request
    };
    // The plan shows that the password changes, and not what it is.
    crate::world::eventually("the rights have arrived", async || {
        match team.create_as(&ada, &request("look", true, None)) {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await;
    team.until_answered("rollbackrequests", "look").await;
    let seen: Value =
        serde_json::from_str(&as_ada(&["get", "rollbackrequests", "look", "-o", "json"]).unwrap()).unwrap();
    let plan = &seen["status"]["plan"];
    let action = |kind: &str| {
        let actions = plan["actions"].as_array().unwrap_or_else(|| panic!("there is a plan: {seen:#}"));
        actions.iter().find(|action| action["kind"] == kind).unwrap_or_else(|| panic!("{kind} is in {plan:#}"))
    };
    assert_eq!(action("ConfigMap")["changes"], json!([{"path": "data.key", "before": "\"two\"", "after": "\"one\""}]));
    let password = &action("Secret")["changes"];
    assert_eq!(password.as_array().map(Vec::len), Some(1), "{password:#}");
    assert_eq!(password[0]["path"], "data.password");
    assert_ne!(password[0]["before"], password[0]["after"], "that it changes is seen: {password:#}");

    // It is carried out as seen.
    team.create_as(&ada, &request("back", false, Some(&plan["digest"]))).unwrap();
    let answer = team.until_answered("rollbackrequests", "back").await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(3)), "{answer:#}");
    let release = team.releases("shop").await.pop().unwrap();
    assert_eq!((release.spec.requested_by.as_str(), release.spec.verified), ("ada", true));
    let live = team.get("secrets", "credentials").await.unwrap();
    assert_eq!(live["data"]["password"], STANDARD.encode(OLD));

    // Another who may not accept is refused by the server.
    let accept = sync_request("accept", &json!({"accept": release.spec.rejects[0].bundle}));
    team.kubectl(&["create", "role", "syncs", "--verb=create", "--resource=syncrequests.bowline.dev"]);
    team.kubectl(&["create", "rolebinding", "syncs", "--role=syncs", "--user=ada"]);
    let refused = crate::world::eventually("the right to ask for a sync has arrived", async || {
        match team.create_as(&ada, &accept) {
            Err(error) if error.contains("the verb accept") => Ok(error),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(refused.contains("shop"), "{refused}");

    // Nothing that is not a Secret holds a value: no plan, event, status, log.
    let mut everything = controller.log();
    for resource in [
        "applications",
        "releases",
        "rollbackrequests",
        "syncrequests",
        "bundles",
        "bundlechunks",
        "inventories",
        "suspensions",
        "configmaps",
        "events.k8s.io/v1/events",
    ] {
        let listed = team.list(resource).await;
        everything.push_str(&serde_json::to_string(&listed).unwrap());
    }
    assert!(everything.contains("it broke"), "the search looks at the right things");
    for value in [OLD, NEW] {
        for form in [value.to_owned(), STANDARD.encode(value)] {
            let at = everything.find(&form);
            let around = at.map(|at| everything[at.saturating_sub(300)..at].to_owned());
            assert_eq!(around, None, "{form} is readable after this");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_secret_is_refused_without_its_value() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "invalid").await;
    let bad = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "credentials"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": OLD},
    });
    let commit = team.push("A Secret that the server refuses", &[("deploy/secret.yaml", bad.to_string())]);
    team.deploy_shop(json!({}));
    let status = team
        .until("shop", "Failed", |status| status["sync"] == "Failed" && status["head"]["commit"] == commit.as_str())
        .await;
    assert!(status["note"].as_str().unwrap().contains("credentials"), "{status:#}");
    let mut everything = controller.log();
    everything.push_str(&status.to_string());
    everything.push_str(&serde_json::to_string(&team.list("releases").await).unwrap());
    everything.push_str(&serde_json::to_string(&team.list("events.k8s.io/v1/events").await).unwrap());
    for form in [OLD.to_owned(), STANDARD.encode(OLD)] {
        assert!(!everything.contains(&form), "{form} is readable in {everything}");
    }
}
