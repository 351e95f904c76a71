//! The program as a person runs it, without a cluster: wrong use, nothing to
//! connect to, completion, and the offline commands end to end.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path, process::Command};

use assert_cmd::Command as Program;
use rstest::rstest;
use serde_json::Value;

/// The program without what the environment may say of clusters.
fn bowline(home: &Path) -> Program {
    let mut program = Program::cargo_bin("bowline").unwrap();
    program.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    program
}

/// Runs it: exit code, data, messages.
fn run(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = bowline(home).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&home.display().to_string(), "HOME");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[rstest]
#[case::no_command(&[])]
#[case::unknown_command(&["frobnicate"])]
#[case::unknown_flag(&["get", "--frobnicate"])]
#[case::no_application(&["status"])]
#[case::no_reason(&["suspend", "shop"])]
#[case::a_time_that_is_none(&["suspend", "shop", "--reason", "x", "--until", "soon"])]
#[case::a_digest_that_is_none(&["sync", "shop", "--allow-prune=abc"])]
#[case::a_number_that_is_none(&["rollback", "shop", "first"])]
#[case::both_ways(&["sync", "shop", "--wait", "--no-wait"])]
#[case::one_of_all(&["get", "shop", "-A"])]
#[case::an_address_that_is_none(&["controller", "--listen", "here"])]
fn wrong_use_exits_with_2_and_says_so_on_standard_error(#[case] arguments: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = run(home.path(), arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(!err.is_empty());
}

#[test]
fn without_a_kubeconfig_it_says_where_one_is_expected() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = run(home.path(), &["get"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("error: no cluster is configured"), "{err}");
    assert!(err.contains("\nhint: name a kubeconfig by --kubeconfig or the variable KUBECONFIG"), "{err}");
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("missing").display().to_string();
    let (code, _, err) = run(home.path(), &["--kubeconfig", &missing, "status", "shop"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: the kubeconfig HOME/missing cannot be used"), "{err}");
}

#[test]
fn a_server_that_does_not_answer_is_named_with_the_next_step() {
    let home = tempfile::tempdir().unwrap();
    // A port of loopback that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = home.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    fs::write(&kubeconfig, text).unwrap();
    let kubeconfig = kubeconfig.display().to_string();
    let (code, _, err) = run(home.path(), &["get", "--kubeconfig", &kubeconfig]);
    assert_eq!(code, 1, "{err}");
    assert!(err.starts_with(&format!("error: the API server http://127.0.0.1:{port} cannot be reached")), "{err}");
    assert!(err.contains("hint: is it the right cluster?"), "{err}");
    // A difference exits with 1, so that an error of diff must not.
    assert_eq!(run(home.path(), &["diff", "shop", "--kubeconfig", &kubeconfig]).0, 2);
}

#[test]
fn a_prompt_off_a_terminal_is_wrong_use_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"http://127.0.0.1:9\"}}]\n\
         contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\n",
    )
    .unwrap();
    let kubeconfig = kubeconfig.display().to_string();
    let (code, _, err) = run(home.path(), &["rollback", "shop", "--kubeconfig", &kubeconfig]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("hint: --yes rolls back without asking"), "{err}");
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
fn completion_knows_the_commands(#[case] shell: &str) {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = run(home.path(), &["completion", shell]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("rollback") && out.contains("suspend"), "{out}");
}

#[test]
fn as_a_plugin_of_kubectl_it_calls_itself_so() {
    let home = tempfile::tempdir().unwrap();
    let plugin = home.path().join("kubectl-bowline");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin("bowline"), &plugin).unwrap();
    let output = Command::new(&plugin).args(["rollback", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Usage: kubectl bowline rollback"), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin("bowline");
    let mut child = Command::new(program)
        .args(["completion", "zsh"])
        .env("HOME", home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mode: \"1\"}\n";

#[test]
fn a_directory_is_rendered_and_validated_and_judged() {
    let home = tempfile::tempdir().unwrap();
    let files = home.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("a.yaml"), CONFIG_MAP).unwrap();
    let directory = files.display().to_string();

    let (code, out, err) = run(home.path(), &["render", &directory, "-n", "team-a", "-o", "json"]);
    let array: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), &array[0]["metadata"]["namespace"]), (0, "", &Value::from("team-a")));

    let file = files.join("a.yaml").display().to_string();
    let (code, out, _) = run(home.path(), &["health", "-f", &file, "-o", "json"]);
    let verdicts: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &verdicts[0]["kind"], &verdicts[0]["health"]),
        (0, &Value::from("ConfigMap"), &Value::from("Healthy"))
    );

    assert_eq!(run(home.path(), &["validate", &directory]).0, 0);
    fs::write(files.join("b.yaml"), "kind: ConfigMap\nmetadata: {name: b}\n").unwrap();
    let (code, out, _) = run(home.path(), &["validate", &directory]);
    assert_eq!(code, 1);
    assert!(out.contains("b.yaml:1:1: apiVersion is missing"), "{out}");
    assert_eq!(run(home.path(), &["render", &home.path().join("none").display().to_string()]).0, 1);
}

#[test]
fn a_revision_of_a_repository_is_rendered_and_not_the_working_tree() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("repository");
    fs::create_dir(&repository).unwrap();
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .arg("-C")
            .arg(&repository)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&status.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    fs::write(repository.join("a.yaml"), CONFIG_MAP).unwrap();
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    git(&["tag", "v1"]);
    fs::write(repository.join("a.yaml"), CONFIG_MAP.replace("\"1\"", "\"2\"")).unwrap();
    let directory = repository.display().to_string();

    let (code, out, err) = run(home.path(), &["render", &directory, "--revision", "v1"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("mode: \"1\""), "{out}");
    assert!(run(home.path(), &["render", &directory]).1.contains("mode: \"2\""));
    let (code, _, err) = run(home.path(), &["render", &directory, "--revision", "v9"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: ") && err.contains("v9"), "{err}");
}
