//! The Git server, asked by the real `git`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rig::{Auth, GitServer};

fn git(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        // The developer's own settings (GIT_SSL_CAINFO, for example) come before ours.
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(dir)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("HOME", dir)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_clone_has_what_was_pushed_and_can_push_back() {
    let server = GitServer::start().unwrap();
    let repo = server.create_repo("team/shop").unwrap();
    repo.write("deploy/web.yaml", "kind: Deployment\n").unwrap();
    let first = repo.commit_and_push("Add web").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cloned = git(dir.path(), &["clone", &server.url("team/shop"), "shop"]);
    assert!(cloned.status.success(), "{}", text(&cloned));
    let work = dir.path().join("shop");
    assert_eq!(std::fs::read_to_string(work.join("deploy/web.yaml")).unwrap(), "kind: Deployment\n");
    assert!(server.requests() >= 2);

    // Beyond http.postBuffer (1 MiB) the body comes in chunks.
    let large: String = (0..200_000u32).map(|number| format!("{:x}\n", number.wrapping_mul(2_654_435_761))).collect();
    std::fs::write(work.join("large"), large).unwrap();
    git(&work, &["add", "large"]);
    let committed =
        git(&work, &["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-m", "Add large"]);
    assert!(committed.status.success(), "{}", text(&committed));
    let pushed = git(&work, &["-c", "http.postBuffer=65536", "push", "origin", "main"]);
    assert!(pushed.status.success(), "{}", text(&pushed));
    let now = repo.in_bare(&["rev-parse", "main"]).unwrap();
    assert_ne!(now, first);
    assert_eq!(repo.in_bare(&["log", "-1", "--format=%s", "main"]).unwrap(), "Add large");
}

#[test]
fn basic_credentials_let_in_and_others_do_not() {
    let server = GitServer::start().unwrap();
    let repo = server.create_repo("shop").unwrap();
    repo.write("a", "1").unwrap();
    repo.commit_and_push("One").unwrap();
    server.require(Auth::Basic { user: "ada".into(), password: "s3cret".into() });
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("shop");
    let right = url.replace("http://", "http://ada:s3cret@");
    let wrong = url.replace("http://", "http://ada:guess@");
    assert!(!git(dir.path(), &["ls-remote", &url]).status.success());
    let refused = git(dir.path(), &["ls-remote", &wrong]);
    assert!(text(&refused).contains("Authentication failed"), "{}", text(&refused));
    let listed = git(dir.path(), &["ls-remote", &right]);
    assert!(listed.status.success(), "{}", text(&listed));
}

#[test]
fn a_bearer_token_lets_in_and_another_does_not() {
    let server = GitServer::start().unwrap();
    server.create_repo("shop").unwrap().commit_and_push("One").unwrap();
    server.require(Auth::Bearer { token: "t0ken".into() });
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("shop");
    let ask = |token: &str| {
        let header = format!("http.extraHeader=Authorization: Bearer {token}");
        git(dir.path(), &["-c", &header, "ls-remote", &url]).status.success()
    };
    assert!(ask("t0ken"));
    assert!(!ask("other"));
}

#[test]
fn a_tls_server_is_trusted_by_its_authority_alone() {
    let server = GitServer::start_tls().unwrap();
    server.create_repo("shop").unwrap().commit_and_push("One").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("ca.crt");
    std::fs::write(&authority, server.authority_pem().unwrap()).unwrap();
    let trust = format!("http.sslCAInfo={}", authority.display());
    let trusted = git(dir.path(), &["-c", &trust, "ls-remote", &server.url("shop")]);
    assert!(trusted.status.success(), "{}", text(&trusted));
    let untrusted = git(dir.path(), &["ls-remote", &server.url("shop")]);
    assert!(text(&untrusted).contains("certificate"), "{}", text(&untrusted));
}

#[test]
fn a_stopped_server_refuses_and_comes_back_on_the_same_port() {
    let mut server = GitServer::start().unwrap();
    let repo = server.create_repo("shop").unwrap();
    repo.commit_and_push("One").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("shop");
    server.stop();
    let down = git(dir.path(), &["ls-remote", &url]);
    assert!(!down.status.success());
    let second = repo.commit_and_push("Two").unwrap();
    server.start_again().unwrap();
    let up = git(dir.path(), &["ls-remote", &url, "main"]);
    assert!(String::from_utf8_lossy(&up.stdout).starts_with(&second), "{}", text(&up));
}

#[test]
fn a_bad_day_can_be_had() {
    let server = GitServer::start().unwrap();
    server.create_repo("shop").unwrap().commit_and_push("One").unwrap();
    let dir = tempfile::tempdir().unwrap();
    server.fail_with(Some(503));
    let failed = git(dir.path(), &["ls-remote", &server.url("shop")]);
    assert!(text(&failed).contains("503"), "{}", text(&failed));
    server.fail_with(None);
    server.delay(Duration::from_millis(300));
    let start = std::time::Instant::now();
    assert!(git(dir.path(), &["ls-remote", &server.url("shop")]).status.success());
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn branches_tags_reverts_and_forced_pushes_arrive() {
    let server = GitServer::start().unwrap();
    let repo = server.create_repo("shop").unwrap();
    repo.write("a", "1").unwrap();
    let one = repo.commit_and_push("One").unwrap();
    repo.tag("v1.0.0").unwrap();
    repo.write("a", "2").unwrap();
    let two = repo.commit_and_push("Two").unwrap();
    repo.revert("HEAD").unwrap();
    repo.push().unwrap();
    assert_eq!(repo.read("a").unwrap(), "1");
    repo.reset(&two).unwrap();
    assert!(repo.push().is_err());
    repo.force_push().unwrap();
    repo.branch("next").unwrap();
    repo.remove("a").unwrap();
    let three = repo.commit_and_push("Three").unwrap();
    let at = |name: &str| repo.in_bare(&["rev-parse", name]).unwrap();
    assert_eq!((at("main"), at("v1.0.0^{commit}"), at("next")), (two, one, three));
    repo.delete_branch("next").unwrap();
    assert!(repo.in_bare(&["rev-parse", "--verify", "next"]).is_err());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let server = GitServer::start().unwrap();
    for name in ["../shop", "", "a//b", "a b", ".git"] {
        assert!(server.create_repo(name).is_err(), "{name:?}");
    }
}
