//! As whom objects are applied.

use serde_json::json;

use crate::world::{Site, Team, config_map, sync_request};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_service_account_is_said_with_the_commands_that_help() {
    let team = Team::without_rights(Site::shared(), "account").await;
    let commit = team.push("First", &[("deploy/one.yaml", config_map("one", "git").to_string())]);
    team.deploy_shop(json!({}));
    let status = team
        .until("shop", "says what is missing", |status| {
            status["note"].as_str().is_some_and(|note| note.contains("bowline-deployer"))
        })
        .await;
    let said = format!("{}\n{}", status["note"].as_str().unwrap(), status["next"].as_str().unwrap_or("-"));
    insta::assert_snapshot!(said.replace(&team.namespace, "NAMESPACE"), @r#"
    ServiceAccount NAMESPACE/bowline-deployer does not exist; create it and give it rights: `kubectl create serviceaccount bowline-deployer -n NAMESPACE` and `kubectl create rolebinding bowline-deployer-admin --clusterrole=admin --serviceaccount=NAMESPACE:bowline-deployer -n NAMESPACE`
    when that is put right it goes on by itself within 15m; at once: bowline sync shop
    "#);
    assert_eq!(team.get("configmaps", "one").await, None);

    // With the commands carried out, a sync goes through.
    let note = status["note"].as_str().unwrap();
    for command in note.split('`').filter_map(|part| part.strip_prefix("kubectl ")) {
        team.kubectl(&command.split(' ').collect::<Vec<_>>());
    }
    let answer = team.ask(&sync_request("again", &json!({}))).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    team.until_synced("shop", &commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_does_only_what_its_service_account_may() {
    let team = Team::without_rights(Site::shared(), "limits").await;
    team.kubectl(&["create", "serviceaccount", "bowline-deployer"]);
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    let verbs = "--verb=get,list,watch,create,patch,delete";
    team.kubectl(&["create", "role", "config", verbs, "--resource=configmaps"]);
    team.kubectl(&["create", "rolebinding", "config", "--role=config", &account]);
    let first = team.push("Allowed", &[("deploy/one.yaml", config_map("one", "git").to_string())]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let before = team.get("configmaps", "one").await;

    let secret = crate::world::secret("credentials", "value").to_string();
    let changed = config_map("one", "changed").to_string();
    let second = team.push("Not allowed", &[("deploy/one.yaml", changed), ("deploy/secret.yaml", secret)]);
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    let said = format!("{}\n{}", status["note"].as_str().unwrap(), status["next"].as_str().unwrap_or("-"));
    insta::assert_snapshot!(said.replace(&team.namespace, "NAMESPACE"), @r#"
    Secret NAMESPACE/credentials: cannot be read: secrets "credentials" is forbidden: User "system:serviceaccount:NAMESPACE:bowline-deployer" cannot get resource "secrets" in API group "" in the namespace "NAMESPACE"; grant it: `kubectl create role bowline-secrets -n NAMESPACE --verb=get,create,patch,delete --resource=secrets` and `kubectl create rolebinding bowline-secrets -n NAMESPACE --role=bowline-secrets --serviceaccount=NAMESPACE:bowline-deployer`
    when that is put right it goes on by itself within 15m; at once: bowline sync shop
    "#);
    assert_eq!(team.get("configmaps", "one").await, before, "nothing of a refused commit is written");

    // With the rights granted it goes on, and nobody has to ask for it.
    for command in status["note"].as_str().unwrap().split('`').filter_map(|part| part.strip_prefix("kubectl ")) {
        team.kubectl(&command.split(' ').collect::<Vec<_>>());
    }
    team.until_synced("shop", &second).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed\n3 Push Healthy");
}
