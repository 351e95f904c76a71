//! Who may use whom, and who may touch the world.

use super::{
    code::{Named, SourceFile, program},
    nothing_found,
};

/// What a module may use beside itself and `telemetry`, which all may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("manifest", &[]),
    ("health", &["manifest"]),
    ("source", &["manifest"]),
    ("render", &["manifest", "source"]),
    ("plan", &["manifest", "health"]),
    ("api", &["manifest", "health", "plan"]),
    ("history", &["api", "manifest", "plan"]),
    ("notify", &["api", "manifest"]),
    ("cluster", &["api", "manifest", "plan", "health", "history"]),
    (
        "controller",
        &["api", "manifest", "health", "source", "render", "plan", "history", "cluster", "notify", "server"],
    ),
    ("server", &["controller"]),
    ("telemetry", &[]),
    (
        "cli",
        &[
            "api",
            "manifest",
            "health",
            "source",
            "render",
            "plan",
            "history",
            "cluster",
            "controller",
            "notify",
            "server",
        ],
    ),
];

/// Modules that compute: no file, no network, no clock, no task, no chance.
const PURE: &[&str] = &["src/manifest/", "src/plan/", "src/health/", "src/history/", "src/controller/decide"];

/// What pure code does not name.
const WORLD: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["Timestamp", "now"],
    &["jiff", "Timestamp", "now"],
    &["jiff", "Zoned", "now"],
    &["Zoned", "now"],
    &["tokio"],
    &["tokio_util"],
    &["futures"],
    &["rand"],
    &["git2"],
];

/// What code outside `cluster` and `cli` may take from kube: the forms of
/// resources, nothing that sends a request.
const FORMS_OF_KUBE: &[&[&str]] = &[
    &["kube", "CustomResource"],
    &["kube", "CustomResourceExt"],
    &["kube", "KubeSchema"],
    &["kube", "Resource"],
    &["kube", "ResourceExt"],
    &["kube", "api", "ObjectMeta"],
    &["kube", "core"],
];

fn any_of(named: &Named, prefixes: &[&[&str]]) -> bool {
    prefixes.iter().any(|prefix| named.starts_with(prefix))
}

fn found(rule: impl Fn(&SourceFile, &Named) -> bool) -> Vec<String> {
    let files = program();
    let mut findings = Vec::new();
    for file in files {
        for named in file.paths.iter().filter(|named| rule(file, named)) {
            findings.push(format!("{} names {}", file.at(named.line), named.text()));
        }
    }
    findings
}

/// The top module that a path leads to, seen from a file.
fn target<'a>(file: &SourceFile, named: &'a Named) -> Option<&'a str> {
    let up = named.path.iter().take_while(|part| *part == "super").count();
    // `src/plan/ownership/path.rs` is three steps below the root, and so is
    // `src/plan/ownership/own/mod.rs`.
    let steps = file.path.with_extension("").components().skip(1).filter(|part| part.as_os_str() != "mod").count();
    match named.path.first()?.as_str() {
        "crate" | "bowline" => named.path.get(1).map(String::as_str),
        "super" if up >= steps => named.path.get(up).map(String::as_str),
        _ => None,
    }
}

#[test]
fn each_module_uses_only_what_the_table_allows() {
    let files = program();
    let mut findings = Vec::new();
    let mut used = 0;
    for file in files {
        let Some(module) = file.module() else { continue };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            findings.push(format!("{} belongs to no module of the table", file.path.display()));
            continue;
        };
        for named in &file.paths {
            let Some(target) = target(file, named) else { continue };
            used += 1;
            let known = MAY_USE.iter().any(|(name, _)| *name == target);
            if known && target != module && target != "telemetry" && !allowed.contains(&target) {
                findings.push(format!("{}: {module} uses {target} ({})", file.at(named.line), named.text()));
            }
        }
    }
    assert!(used > 100, "the paths are not read rightly: only {used} found");
    nothing_found("a module uses what it may not", &findings);
}

#[test]
fn the_table_has_no_circle_below_the_command_line() {
    // `server` shows the read models of `controller`, which starts it: the one
    // pair that knows each other.
    let mut settled: Vec<&str> = Vec::new();
    let mut left: Vec<_> = MAY_USE.to_vec();
    while !left.is_empty() {
        let ready = |(name, uses): &(&str, &[&str])| {
            uses.iter().all(|used| settled.contains(used) || (*name == "controller" && *used == "server"))
        };
        let Some(position) = left.iter().position(ready) else { panic!("a circle among {left:?}") };
        settled.push(left.remove(position).0);
    }
}

#[test]
fn pure_modules_touch_no_file_no_network_no_clock_and_start_no_task() {
    let pure = |file: &SourceFile| PURE.iter().any(|prefix| file.path.to_string_lossy().starts_with(prefix));
    let mut findings = found(|file, named| pure(file) && any_of(named, WORLD));
    for file in program().iter().filter(|file| pure(file)) {
        for token in file.tokens.iter().filter(|token| matches!(token.text.as_str(), "async" | "await")) {
            findings.push(format!("{} has {}", file.at(token.line), token.text));
        }
    }
    nothing_found("pure code touches the world (time and chance come in as arguments)", &findings);
}

#[test]
fn only_the_cluster_module_and_commands_speak_to_an_api_server() {
    let findings = found(|file, named| {
        named.starts_with(&["kube"])
            && !matches!(file.module(), Some("cluster" | "cli"))
            && !any_of(named, FORMS_OF_KUBE)
    });
    nothing_found("a module other than cluster (or cli, with the caller's rights) uses a client", &findings);
}

#[test]
fn only_the_source_module_speaks_to_git() {
    let git = |named: &Named| named.starts_with(&["git2"]) || named.starts_with(&["libgit2_sys"]);
    nothing_found("Git outside of source", &found(|file, named| git(named) && file.module() != Some("source")));
}

#[test]
fn only_the_render_module_starts_a_subprocess() {
    let subprocess = |named: &Named| {
        named.starts_with(&["std", "process", "Command"])
            || named.starts_with(&["tokio", "process"])
            || named.starts_with(&["Command", "new"])
            || named.starts_with(&["process", "Command"])
    };
    nothing_found(
        "a subprocess outside of render",
        &found(|file, named| subprocess(named) && file.module() != Some("render")),
    );
}

#[test]
fn only_the_server_module_listens() {
    let listens = |named: &Named| named.starts_with(&["axum"]) || named.path.iter().any(|part| part == "TcpListener");
    nothing_found(
        "a listener outside of server",
        &found(|file, named| listens(named) && file.module() != Some("server")),
    );
}

#[test]
fn only_the_notify_module_connects_to_other_servers() {
    let connects = |named: &Named| {
        named.starts_with(&["hyper"])
            || named.starts_with(&["tokio_rustls"])
            || named.path.iter().any(|part| part == "TcpStream" || part == "lookup_host")
    };
    let findings = found(|file, named| connects(named) && !matches!(file.module(), Some("notify" | "server")));
    nothing_found(
        "a connection outside of notify (server takes those of others; kube and git2 make their own)",
        &findings,
    );
}

#[test]
fn each_module_begins_with_what_it_is_for() {
    let mut findings = Vec::new();
    for (module, _) in MAY_USE {
        let path = format!("src/{module}/mod.rs");
        let text = std::fs::read_to_string(super::root().join(&path)).unwrap();
        let heading: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if heading.join(" ").len() < 120 {
            findings.push(format!("{path} begins with {heading:?}"));
        }
    }
    nothing_found("a module does not say what it is for, what it owns and what it never does", &findings);
}
