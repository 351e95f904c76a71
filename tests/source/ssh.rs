//! Repositories over SSH, by a real sshd.

use std::{collections::BTreeMap, sync::LazyLock};

use bowline::source::{
    CommitId, Credentials, Fetched, Limits, Repositories, RepositoryUrl, SourceError, UrlPolicy, tree::Tree as _,
};
use rig::{GitRepo, SshKey, SshServer};
use rstest::rstest;
use tokio_util::sync::CancellationToken;

const PASSPHRASE: &str = "pa55phrase-of-ann";

/// One server for all tests: each has a repository of its own.
struct Host {
    server: SshServer,
    keys: BTreeMap<&'static str, SshKey>,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let keys = [
        ("ed25519", "ed25519", ""),
        ("ecdsa", "ecdsa", ""),
        ("rsa", "rsa", ""),
        ("ed25519 with a passphrase", "ed25519", PASSPHRASE),
        ("rsa with a passphrase", "rsa", PASSPHRASE),
    ];
    let keys: BTreeMap<_, _> =
        keys.into_iter().map(|(name, kind, words)| (name, SshKey::generate(kind, words).unwrap())).collect();
    let server = SshServer::start(&keys.values().collect::<Vec<_>>()).unwrap();
    Host { server, keys }
});

fn repository(name: &str) -> (GitRepo, CommitId) {
    let repository = HOST.server.create_repo(name).unwrap();
    repository.write("app/a.yaml", "a: 1\n").unwrap();
    let commit = repository.commit_and_push("first").unwrap();
    (repository, commit.parse().unwrap())
}

fn fetch(name: &str, credentials: &Credentials) -> Result<Fetched, SourceError> {
    let cache = tempfile::tempdir().unwrap();
    let url = RepositoryUrl::parse(&HOST.server.url(name), &UrlPolicy::default()).unwrap();
    let mirror = Repositories::open(cache.path()).unwrap().mirror(&url, credentials)?;
    let fetched = mirror.fetch(&"main".parse()?, &Limits::default(), &CancellationToken::new())?;
    let tree = mirror.tree(&fetched.resolved.commit, "app", &Default::default())?;
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 1\n");
    Ok(fetched)
}

fn secret(key: &SshKey, passphrase: &str, known_hosts: &str) -> Credentials {
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    data.insert("identity".into(), key.private.clone().into_bytes());
    data.insert("known_hosts".into(), known_hosts.as_bytes().to_vec());
    if !passphrase.is_empty() {
        data.insert("passphrase".into(), passphrase.as_bytes().to_vec());
    }
    Credentials::from_secret(&data).unwrap()
}

fn known_hosts() -> String {
    HOST.server.known_hosts().unwrap()
}

#[rstest]
#[case("ed25519", "")]
#[case("ecdsa", "")]
#[case("rsa", "")]
#[case("ed25519 with a passphrase", PASSPHRASE)]
#[case("rsa with a passphrase", PASSPHRASE)]
fn a_repository_is_read_with_a_key_of_each_kind(#[case] name: &str, #[case] passphrase: &str) {
    let repository_name = format!("read-{}", name.replace(' ', "-"));
    let (_, commit) = repository(&repository_name);
    let fetched = fetch(&repository_name, &secret(&HOST.keys[name], passphrase, &known_hosts())).unwrap();
    assert_eq!(fetched.resolved.commit, commit);
}

#[test]
fn a_push_is_seen_by_the_same_mirror() {
    let (repository, first) = repository("pushed");
    let cache = tempfile::tempdir().unwrap();
    let url = RepositoryUrl::parse(&HOST.server.url("pushed"), &UrlPolicy::default()).unwrap();
    let credentials = secret(&HOST.keys["ed25519"], "", &known_hosts());
    let mirror = Repositories::open(cache.path()).unwrap().mirror(&url, &credentials).unwrap();
    let fetch = || {
        mirror.fetch(&"main".parse().unwrap(), &Limits::default(), &CancellationToken::new()).unwrap().resolved.commit
    };
    assert_eq!(fetch(), first);
    repository.write("app/a.yaml", "a: 2\n").unwrap();
    let second = repository.commit_and_push("second").unwrap();
    assert_eq!(fetch().as_str(), second);
}

fn refused(name: &str, credentials: &Credentials) -> (&'static str, String) {
    repository(name);
    let error = fetch(name, credentials).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains(PASSPHRASE), "{message}");
    (error.reason(), message)
}

#[test]
fn a_key_that_the_server_does_not_know_is_refused() {
    let stranger = SshKey::generate("ed25519", "").unwrap();
    let (reason, message) = refused("stranger", &secret(&stranger, "", &known_hosts()));
    assert_eq!(reason, "AuthenticationFailed", "{message}");
    assert!(message.contains("add its public half to the repository"), "{message}");
}

#[rstest]
#[case("no passphrase", "")]
#[case("another passphrase", "pa55phrase-of-bob")]
fn a_key_that_cannot_be_read_is_refused(#[case] what: &str, #[case] passphrase: &str) {
    let key = &HOST.keys["ed25519 with a passphrase"];
    let (reason, message) = refused(&what.replace(' ', "-"), &secret(key, passphrase, &known_hosts()));
    assert_eq!(reason, "AuthenticationFailed", "{message}");
    assert!(message.contains("SSH key of the Secret"), "{message}");
}

#[test]
fn a_host_that_is_not_known_is_shown_no_key() {
    let key = &HOST.keys["ed25519"];
    let elsewhere = known_hosts().replace("[127.0.0.1]", "[git.example.com]");
    let (reason, message) = refused("unknown", &secret(key, "", &elsewhere));
    assert_eq!(reason, "HostKeyRefused", "{message}");
    assert!(
        message.contains(&format!("[127.0.0.1]:{} is not in the Secret's known_hosts; it shows ", HOST.server.port())),
        "{message}"
    );
}

#[test]
fn a_host_with_another_key_than_before_is_shown_no_key() {
    let key = &HOST.keys["ed25519"];
    let other = SshServer::start(&[key]).unwrap();
    let of_other = other.known_hosts().unwrap().replace(&other.port().to_string(), &HOST.server.port().to_string());
    let (reason, message) = refused("changed", &secret(key, "", &of_other));
    assert_eq!(reason, "HostKeyRefused", "{message}");
    assert!(message.contains("shows another key than the Secret's known_hosts has"), "{message}");
}

#[test]
fn without_a_key_or_with_one_for_https_it_is_said_what_is_needed() {
    let (reason, message) = refused("anonymous", &Credentials::none());
    assert_eq!(reason, "AuthenticationFailed");
    assert!(message.contains("needs a Secret with `identity`, the private key, and `known_hosts`"), "{message}");
    let cache = tempfile::tempdir().unwrap();
    let url = RepositoryUrl::parse("https://127.0.0.1:1/x", &UrlPolicy::default()).unwrap();
    let mirror = Repositories::open(cache.path()).unwrap();
    let mirror = mirror.mirror(&url, &secret(&HOST.keys["rsa"], "", &known_hosts())).unwrap();
    let error = mirror.fetch(&"main".parse().unwrap(), &Limits::default(), &CancellationToken::new()).unwrap_err();
    assert!(error.to_string().contains("write it as ssh://git@host/path"), "{error}");
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let error = fetch("none", &secret(&HOST.keys["ed25519"], "", &known_hosts())).unwrap_err();
    assert!(error.to_string().contains("none.git"), "{error}");
    assert_ne!(error.reason(), "AuthenticationFailed", "{error}");
}
