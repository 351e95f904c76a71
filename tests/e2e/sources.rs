//! Repositories in other ways than the usual one.

use rig::{SshKey, SshServer};
use serde_json::json;

use crate::world::{Application, Team, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_version_of_a_range_is_deployed_over_ssh() {
    let team = Team::new("ssh").await;
    let key = SshKey::generate("ed25519", "").unwrap();
    let server = SshServer::start(&[&key]).unwrap();
    let repository = server.create_repo("shop").unwrap();
    let release = |tag: &str| {
        repository.write("deploy/version.yaml", &config_map("version", tag).to_string()).unwrap();
        let commit = repository.commit_and_push(tag).unwrap();
        repository.tag(tag).unwrap();
        commit
    };
    let first = release("v1.0.0");
    let secret = |known_hosts: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/ssh-auth", "metadata": {"name": "git"},
            "stringData": {"ssh-privatekey": key.private, "known_hosts": known_hosts},
        })
    };
    let known_hosts = server.known_hosts().unwrap();
    team.create(&secret(&known_hosts.replace("127.0.0.1", "git.example.com")));
    let source = json!({"repoURL": server.url("shop"), "revision": "1.x", "secretRef": {"name": "git"}});
    team.deploy(&Application { name: "shop", path: "deploy", spec: json!({"source": source}) });
    let unknown = format!("[127.0.0.1]:{} is not in the Secret's known_hosts", server.port());
    let refused = |note: &str| note.contains("the host is not trusted") && note.contains(&unknown);
    team.until("shop", "the host is refused", |status| refused(status["note"].as_str().unwrap_or_default())).await;

    // The Secret is read again where it was of no use.
    team.kubectl(&["delete", "secret", "git"]);
    team.create(&secret(&known_hosts));
    team.until_synced("shop", &first).await;
    assert_eq!(team.get("configmaps", "version").await.unwrap()["data"]["key"], "v1.0.0");
    release("v2.0.0");
    let second = release("v1.1.0");
    team.until_synced("shop", &second).await;
    assert_eq!(team.get("configmaps", "version").await.unwrap()["data"]["key"], "v1.1.0");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}
