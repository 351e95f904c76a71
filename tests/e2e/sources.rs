//! Repositories in other ways than the usual one.

use rig::{Gpg, SshKey, SshServer, SshSigner};
use serde_json::{Value, json};

use crate::world::{Application, Team, config_map};

/// A Secret of the signers that are trusted.
fn trusted(values: &[(&str, String)]) -> Value {
    let data: serde_json::Map<String, Value> =
        values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "signers"}, "stringData": data})
}

/// Pushes one value, signed where there are settings to sign by.
fn push(team: &Team<'_>, value: &str, signed: Option<&[String]>) -> String {
    team.repo.write("deploy/value.yaml", &config_map("value", value).to_string()).unwrap();
    team.repo.git(&["add", "--all"]).unwrap();
    let settings = signed.into_iter().flatten().flat_map(|setting| ["-c", setting.as_str()]);
    let sign = signed.map(|_| "-S");
    let commit = ["commit", "--quiet", "-m", value].into_iter().chain(sign);
    team.repo.git(&settings.chain(commit).collect::<Vec<_>>()).unwrap();
    team.repo.push().unwrap();
    team.repo.head().unwrap()
}

async fn value(team: &Team<'_>) -> Value {
    team.get("configmaps", "value").await.map_or(Value::Null, |object| object["data"]["key"].clone())
}

/// Waits until the head is refused with these words; that status.
async fn until_refused(team: &Team<'_>, commit: &str, words: &str) -> Value {
    let refused = |status: &Value| {
        status["head"]["commit"] == commit && status["note"].as_str().unwrap_or_default().contains(words)
    };
    team.until("shop", &format!("{commit} is refused: {words}"), refused).await
}

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

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_trusted_key_signed_goes_out_and_what_runs_is_left_alone() {
    let team = Team::new("signed").await;
    let ann = SshSigner::generate("ed25519", None).unwrap();
    let gpg = Gpg::new().unwrap();
    let bob = gpg.generate("Bob <bob@example.com>", "ed25519", "never").unwrap();
    let by_ann = ann.settings();
    let by_bob = gpg.settings(&bob, "").unwrap();
    let anns = ("ann", format!("ann@example.com {}\n", ann.public().unwrap()));
    team.create(&trusted(std::slice::from_ref(&anns)));
    let first = push(&team, "one", Some(&by_ann));
    team.deploy_shop(json!({"source": {"verify": {"secretRef": {"name": "signers"}}}}));
    team.until_synced("shop", &first).await;

    // Nobody signed the second: it stays out, and drift is still put back.
    let second = push(&team, "two", None);
    let short = &second[..7];
    let words = format!("commit {short} is not signed; sign it by a key of Secret {}/signers", team.namespace);
    let status = until_refused(&team, &second, &words).await;
    assert_eq!(status["sync"], "Failed", "{status:#}");
    let rendered = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Rendered");
    assert_eq!(rendered.unwrap()["reason"], "SignatureRefused", "{status:#}");
    assert!(status["next"].as_str().unwrap().contains("what runs is left alone"), "{status:#}");
    team.patch("configmaps", "value", "kubectl-edit", &json!({"data": {"key": "by hand"}})).await;
    team.polls(3).await;
    crate::world::eventually("the drift is put back", async || {
        let now = value(&team).await;
        if now == "one" { Ok(()) } else { Err(now) }
    })
    .await;
    let (code, _, errors) = team.bowline(&["sync", "shop", "--wait"]);
    assert!(code != 0 && errors.contains("is not signed"), "{code}: {errors}");
    assert_eq!(team.history("shop").await, "1 Push Healthy");
    let events = team.events("shop").await;
    assert_eq!(events.iter().filter(|event| event.starts_with("SignatureRefused: ")).count(), 1, "{events:?}");

    // The third is signed, and its release says by whom.
    let third = push(&team, "three", Some(&by_ann));
    team.until_synced("shop", &third).await;
    assert_eq!(value(&team).await, "three");
    let release = team.releases("shop").await.pop().unwrap();
    let signer = release.spec.commit.signer;
    assert!(signer.starts_with("SSH SHA256:") && signer.ends_with(" (ann@example.com)"), "{signer}");
    let (_, text, _) = team.bowline(&["history", "shop", "2"]);
    assert!(text.contains(&format!("signed: {signer}")), "{text}");

    // Nobody trusts who signed the fourth, until somebody does. A rollback asks no Git.
    let fourth = push(&team, "four", Some(&by_bob));
    until_refused(&team, &fourth, &format!("is signed by OpenPGP {bob}, which is none of the keys of Secret")).await;
    team.roll_back(2, &json!({})).await;
    assert_eq!(value(&team).await, "one");
    team.kubectl(&["delete", "secret", "signers"]);
    team.create(&trusted(&[anns, ("bob", gpg.export(&bob).unwrap())]));
    team.until_synced("shop", &fourth).await;
    assert_eq!(value(&team).await, "four");
    let releases = team.releases("shop").await;
    let signers: Vec<&str> = releases.iter().map(|release| release.spec.commit.signer.as_str()).collect();
    assert_eq!(signers, [&signer, &signer, &signer, &format!("OpenPGP {bob} (Bob <bob@example.com>)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_that_is_turned_on_holds_what_was_found_before() {
    let team = Team::new("verified").await;
    let ann = SshSigner::generate("ed25519", None).unwrap();
    let first = push(&team, "one", None);
    team.deploy_shop(json!({"sync": {"mode": "Manual"}}));
    team.until("shop", "the head is known", |status| {
        status["head"]["commit"] == first && status["sync"] == "OutOfSync"
    })
    .await;
    let verify =
        json!({"spec": {"source": {"verify": {"secretRef": {"name": "signers"}}}, "sync": {"mode": "Automatic"}}});
    team.patch("applications", "shop", "ann", &verify).await;
    // Without keys nothing counts.
    let missing = format!("Secret {}/signers, of source.verify: it does not exist", team.namespace);
    until_refused(&team, &first, &missing).await;
    team.create(&trusted(&[("ann", format!("ann@example.com {}\n", ann.public().unwrap()))]));
    until_refused(&team, &first, "is not signed").await;
    assert_eq!((team.history("shop").await.as_str(), value(&team).await), ("", Value::Null));

    // A tag may vouch for the commit, whoever made it.
    let by_tag = json!({"spec": {"source": {"revision": "1.x", "verify": {"mode": "Tag"}}}});
    team.patch("applications", "shop", "ann", &by_tag).await;
    let tag = |name: &str, options: &[&str]| {
        let settings = ann.settings();
        let settings = settings.iter().flat_map(|setting| ["-c", setting.as_str()]);
        let tag = ["tag", "-m", "a release", name].into_iter().chain(options.iter().copied());
        team.repo.git(&settings.chain(tag).collect::<Vec<_>>()).unwrap();
        team.repo.git(&["push", "--quiet", "origin", &format!("refs/tags/{name}")]).unwrap();
    };
    tag("v1.0.0", &["-a", "--no-sign"]);
    until_refused(&team, &first, "tag v1.0.0 is not signed").await;
    tag("v1.1.0", &["-s"]);
    team.until_synced("shop", &first).await;
    let release = team.releases("shop").await.pop().unwrap();
    assert!(release.spec.commit.signer.starts_with("tag v1.1.0 by SSH SHA256:"), "{}", release.spec.commit.signer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submodule_is_read_in_its_place_where_the_application_wants_it() {
    let team = Team::new("submodule").await;
    let base = team.git.create_repo("base").unwrap();
    let pin = |value: &str| {
        base.write("value.yaml", &config_map("value", value).to_string()).unwrap();
        let commit = base.commit_and_push(value).unwrap();
        team.repo.write(".gitmodules", "[submodule \"base\"]\n\tpath = deploy/base\n\turl = ../base.git\n").unwrap();
        team.repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},deploy/base")]).unwrap();
        team.repo.git(&["add", ".gitmodules"]).unwrap();
        team.repo.git(&["commit", "--quiet", "-m", value]).unwrap();
        team.repo.push().unwrap();
        team.repo.head().unwrap()
    };
    team.push("own", &[("deploy/own.yaml", config_map("own", "one").to_string())]);
    let first = pin("one");
    team.deploy_shop(json!({}));
    // Nobody asked for it: the rest is deployed as ever.
    team.until_synced("shop", &first).await;
    assert_eq!(value(&team).await, Value::Null);

    team.patch("applications", "shop", "ann", &json!({"spec": {"source": {"submodules": {}}}})).await;
    team.until("shop", "a release with the submodule", |status| status["release"]["number"] == 2).await;
    team.until_synced("shop", &first).await;
    assert_eq!(value(&team).await, "one");
    let second = pin("two");
    team.until_synced("shop", &second).await;
    assert_eq!(value(&team).await, "two");

    // One that leads elsewhere stays out, and what runs is left alone.
    team.repo.write(".gitmodules", "[submodule \"b\"]\npath = deploy/base\nurl = https://127.0.0.2/base\n").unwrap();
    team.repo.git(&["add", ".gitmodules"]).unwrap();
    team.repo.git(&["commit", "--quiet", "-m", "elsewhere"]).unwrap();
    team.repo.push().unwrap();
    let refused = "it is at https://127.0.0.2/base, and submodules come from the host of the repository itself";
    let told = |status: &Value| status["note"].as_str().unwrap_or_default().contains(refused);
    team.until("shop", "the submodule is refused", told).await;
    assert_eq!(value(&team).await, "two");
}
