//! The documents say what is: each reason and metric has its line, and the
//! commands of a page do what the page says, on a real API server.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rig::{Cluster, Options};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The words in quotes of a function's `match`, as `Self::Absent => "Absent"`.
fn words(file: &str, function: &str) -> Vec<String> {
    let text = read(file);
    let body = text.split(function).nth(1).unwrap().split("\n    }\n").next().unwrap();
    let words: Vec<String> =
        body.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert!(words.len() > 5, "{file} is not read rightly: {words:?}");
    words
}

#[test]
fn each_reason_of_a_refusal_says_what_to_do() {
    let page = read("docs/troubleshooting.md");
    let reasons = words("src/plan/action.rs", "pub fn as_str(self)")
        .into_iter()
        .chain(words("src/source/error.rs", "pub fn reason(&self)"));
    let absent: Vec<String> = reasons.filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
    assert!(absent.is_empty(), "docs/troubleshooting.md does not know {absent:?}");
}

#[test]
fn each_attribute_of_a_span_is_described() {
    let page = read("docs/traces.md");
    let without_tests = |name| read(name).split("#[cfg(test)]").next().unwrap().to_owned();
    let code = ["src/controller/actor/trace.rs", "src/cluster/apply/mod.rs"].map(without_tests).concat();
    let literals = code.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("bowline."));
    // These are taken out before a span is exported.
    let inner = [bowline::telemetry::EARLIER, bowline::telemetry::TOOK];
    let mut names: Vec<&str> = literals.filter(|name| !inner.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 8, "the attributes are not read rightly: {names:?}");
    let absent: Vec<&str> = names.into_iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(absent.is_empty(), "docs/traces.md does not know {absent:?}");
}

#[test]
fn each_metric_is_described_and_no_other() {
    let page = read("docs/metrics.md");
    let metrics = bowline::telemetry::Metrics::new("1.2.3");
    // A family without a member is not told.
    metrics.set_applications([(("Synced", "Healthy"), 1)]);
    metrics.release_ended("Push", "Healthy");
    metrics.rollback_began("Rollback");
    metrics.notified("Failed", "delivered");
    metrics.repaired("succeeded", 1);
    metrics.deep_checked(bowline::telemetry::DeepCheck::Same);
    metrics.fetched("succeeded");
    metrics.webhook("github", "looked");
    metrics.api_request("get", 200);
    metrics.set_watches([("InSync", 1)], std::time::Duration::ZERO);
    let text = metrics.encode().unwrap();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names: Vec<String> = kinds
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            }
        })
        .collect();
    names.sort();
    let lines = page.lines().filter_map(|line| line.strip_prefix("| `bowline_"));
    let mut described: Vec<String> = lines.map(|line| format!("bowline_{}", line.split('`').next().unwrap())).collect();
    described.sort();
    assert_eq!(described, names);
}

/// The commands of a page: what stands in its `sh` blocks.
fn commands(page: &str) -> String {
    let text = read(page);
    let blocks: Vec<&str> = text.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "{page} has no commands");
    blocks.join("\n")
}

/// Runs a script where a reader would: in a checkout, with an administrator's
/// kubeconfig, and with `bowline`, `kubectl` and `git` at hand.
fn run(cluster: &Cluster, checkout: &Path, script: &str) {
    let directory_of = |program: &Path| program.parent().unwrap().display().to_string();
    let path = format!(
        "{}:{}:{}",
        directory_of(Path::new(env!("CARGO_BIN_EXE_bowline"))),
        directory_of(&rig::tools::path("kubectl").unwrap()),
        std::env::var("PATH").unwrap()
    );
    // Whatever happens, the controller that the page starts ends with it.
    let script = format!("set -euxo pipefail -m\ntrap 'kill $(jobs -p) 2>&- || true' EXIT\n{script}\n");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "180", "bash", "-c", &script])
        .current_dir(checkout)
        .env("PATH", path)
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .env("HOME", checkout)
        .envs([("GIT_AUTHOR_NAME", "ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([("GIT_COMMITTER_NAME", "ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_commands_of_the_pages_work() {
    let cluster = Cluster::start(Options::default()).unwrap();
    let checkout = tempfile::tempdir().unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    std::os::unix::fs::symlink(manifests, checkout.path().join("manifests")).unwrap();

    run(&cluster, checkout.path(), &commands("docs/getting-started.md"));
    let security = format!(
        "kubectl wait --for=delete namespace/team-a --timeout=60s; kubectl create namespace team-a\n{}",
        commands("docs/security.md")
    );
    run(&cluster, checkout.path(), &security);
}
