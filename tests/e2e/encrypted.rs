//! Secrets in Git that SOPS encrypted, from a push to the cluster.

use std::process::Command;

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Value, json};

use crate::world::{Controller, Site, Start, Team};

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {password: PASSWORD}\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {a: b}\n";

fn encrypted(identity: &Identity, password: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret.yaml");
    std::fs::write(&file, SECRET.replace("PASSWORD", password)).unwrap();
    let output = Command::new(rig::tools::path("sops").unwrap())
        .args(["encrypt", "--age", &identity.to_public().to_string(), "--encrypted-regex", "^stringData$"])
        .arg(&file)
        .env_clear()
        .env("HOME", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn give_key(team: &Team<'_>, identity: &Identity) {
    let _ = team.try_kubectl(&["delete", "secret", "age", "--ignore-not-found"]);
    let entry = format!("--from-literal=shop.agekey={}", identity.to_string().expose_secret());
    team.kubectl(&["create", "secret", "generic", "age", &entry]);
}

/// All that is no Secret, and all that the controller says, holds none of these.
fn is_nowhere_else(team: &Team<'_>, controller: &Controller, secrets: &[&str]) {
    let kinds = "applications,releases,bundles,bundlechunks,inventories,configmaps,events,syncrequests";
    let all = team.kubectl(&["get", kinds, "-o", "yaml"]);
    let (_, status, _) = team.bowline(&["status", "shop"]);
    let log = controller.log();
    assert!(all.contains("kind: Release") && log.contains("rendered") && status.contains("shop"), "it was looked at");
    for secret in secrets {
        for text in [(*secret).to_owned(), BASE64.encode(secret)] {
            assert!(!all.contains(&text), "{text} is in an object");
            assert!(!log.contains(&text), "{text} is in the log");
            assert!(!status.contains(&text), "{text} is in the status");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_secret_is_in_the_cluster_as_it_was_and_its_values_are_nowhere_else() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "encrypted").await;
    let (identity, other) = (Identity::generate(), Identity::generate());
    let first = team.push(
        "A Secret",
        &[("deploy/secret.yaml", encrypted(&identity, "hunter22")), ("deploy/map.yaml", MAP.to_owned())],
    );
    team.deploy_shop(json!({}));
    let short = &first[..7];
    let note = format!(
        "commit {short} cannot be rendered: deploy/secret.yaml: is encrypted by SOPS, and no key is given: name a \
         Secret with it in render.decryption.secretRef"
    );
    let of = |status: &Value| status["note"].as_str().is_some_and(|told| told.starts_with(&note));
    team.until("shop", "no key", of).await;
    assert!(team.get("configmaps", "plain").await.is_none(), "nothing of the commit is applied");

    let named = json!({"spec": {"render": {"decryption": {"secretRef": {"name": "age"}}}}}).to_string();
    team.kubectl(&["patch", "application", "shop", "--type=merge", "-p", &named]);
    let note = format!("Secret {}/age, which render.decryption.secretRef names, does not exist", team.namespace);
    team.until("shop", "no Secret", |status| status["note"] == note.as_str()).await;

    // A wrong key, and the right one in its place, are found by themselves.
    give_key(&team, &other);
    let fits = format!("no age key of Secret {}/age is one of these", team.namespace);
    let of = |status: &Value| status["note"].as_str().is_some_and(|note| note.ends_with(&fits));
    team.until("shop", "a wrong key", of).await;
    give_key(&team, &identity);
    team.until_synced("shop", &first).await;
    let live = team.get("secrets", "web").await.unwrap();
    assert_eq!(live["data"]["password"], BASE64.encode("hunter22"));
    let key = identity.to_string();
    is_nowhere_else(&team, &controller, &["hunter22", key.expose_secret()]);

    // Another value is another release, and a value that was edited by hand is none.
    let second = team.push("Another value", &[("deploy/secret.yaml", encrypted(&identity, "swordfish"))]);
    team.until_synced("shop", &second).await;
    assert_eq!(team.get("secrets", "web").await.unwrap()["data"]["password"], BASE64.encode("swordfish"));
    let edited = encrypted(&identity, "mistake1").replace("name: web", "name: another");
    let third = team.push("By hand", &[("deploy/secret.yaml", edited)]);
    let changed = format!("commit {} cannot be rendered: deploy/secret.yaml: was changed after", &third[..7]);
    let of = |status: &Value| status["note"].as_str().is_some_and(|note| note.starts_with(&changed));
    team.until("shop", "a changed file", of).await;
    assert_eq!(team.get("secrets", "web").await.unwrap()["data"]["password"], BASE64.encode("swordfish"));

    // Whoever starts anew has the content of the release, and decrypts again.
    controller.start_at_once(&site);
    let fourth = team.push("Mended", &[("deploy/secret.yaml", encrypted(&identity, "swordfish"))]);
    team.until("shop", "the same content", |status| {
        status["head"]["commit"] == fourth.as_str() && status["sync"] == "Synced"
    })
    .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
    is_nowhere_else(&team, &controller, &["hunter22", "swordfish", "mistake1", key.expose_secret()]);

    // A rollback brings the value of then, from the cluster alone.
    let (code, out, err) =
        team.bowline(&["rollback", "shop", "1", "--yes", "--wait", "--reason", "it was better then"]);
    assert_eq!(code, 0, "{out}{err}");
    let password = team.get("secrets", "web").await.unwrap()["data"]["password"].clone();
    assert_eq!(password, BASE64.encode("hunter22"));
}
