//! What the program is made of: dependencies that are used, and none that
//! `deny.toml` bans.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{
    code::{paths, program, tokens},
    nothing_found, root, rust_files,
};

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The names of the dependencies of a manifest, as code writes them.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let body = text.split(&format!("\n[{section}]\n")).nth(1).unwrap_or_default();
    let lines = body.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().replace('-', "_")).collect()
}

/// The packages of the lock file, with where they come from.
fn locked() -> BTreeMap<String, String> {
    let text = read("Cargo.lock");
    let mut packages = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find(|line| line.starts_with(&format!("{name} = ")))?;
            Some(line.split('"').nth(1)?.to_owned())
        };
        packages.insert(field("name").unwrap(), field("source").unwrap_or_default());
    }
    assert!(packages.len() > 100, "Cargo.lock is not read rightly");
    packages
}

/// The packages of the lock file that depend on one.
fn dependents(of: &str) -> BTreeSet<String> {
    let text = read("Cargo.lock");
    let mut found = BTreeSet::new();
    for package in text.split("[[package]]").skip(1) {
        let name = package.split('"').nth(1).unwrap();
        let dependencies = package.split("dependencies = [").nth(1).unwrap_or_default();
        // `"name"`, or `"name version"` where there are two.
        if dependencies.split('"').skip(1).step_by(2).any(|entry| entry.split(' ').next() == Some(of)) {
            found.insert(name.to_owned());
        }
    }
    found
}

/// A crate that `deny.toml` bans.
struct Banned {
    name: String,
    reason: String,
    /// Who may depend on it all the same.
    wrappers: BTreeSet<String>,
}

fn banned() -> Vec<Banned> {
    let text = read("deny.toml");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("{ crate = ") && !line.contains("allow = "));
    let after = |line: &str, key: &str| line.split_once(key).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
    lines
        .map(|line| Banned {
            name: quoted(line),
            reason: quoted(&after(line, "reason = ")),
            wrappers: after(line, "wrappers = [")
                .split(']')
                .next()
                .unwrap_or_default()
                .split('"')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect(),
        })
        .collect()
}

/// Names at the head of paths, and names that stand alone.
fn names(files: impl IntoIterator<Item = std::path::PathBuf>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let tokens = tokens(&fs::read_to_string(root().join(file)).unwrap());
        names.extend(paths(&tokens).into_iter().filter_map(|named| named.path.into_iter().next()));
        names.extend(tokens.windows(2).filter(|pair| pair[0].text == "use").map(|pair| pair[1].text.clone()));
    }
    names
}

#[test]
fn each_dependency_of_the_program_is_used() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for file in program() {
        used.extend(file.paths.iter().filter_map(|named| named.path.first().cloned()));
    }
    let unused: Vec<String> = dependencies("Cargo.toml", "dependencies").difference(&used).cloned().collect();
    nothing_found("a dependency that no code names", &unused);
}

#[test]
fn each_dependency_of_the_tests_and_of_the_other_packages_is_used() {
    let tests = ["src", "tests", "benches"].iter().flat_map(|directory| rust_files(directory));
    let unused = dependencies("Cargo.toml", "dev-dependencies").difference(&names(tests)).cloned().collect::<Vec<_>>();
    nothing_found("a dependency for tests that no test names", &unused);
    for package in ["rig", "traces", "xtask"] {
        let used = names(rust_files(package));
        for section in ["dependencies", "dev-dependencies"] {
            let manifest = format!("{package}/Cargo.toml");
            let unused = dependencies(&manifest, section).difference(&used).cloned().collect::<Vec<_>>();
            nothing_found(&format!("{manifest} names a dependency that its code does not"), &unused);
        }
    }
}

#[test]
fn nothing_that_is_banned_is_in_the_lock_file() {
    let banned = banned();
    assert!(banned.len() > 10, "the bans of deny.toml are not read rightly: only {} found", banned.len());
    let locked = locked();
    let mut findings = Vec::new();
    for Banned { name, reason, wrappers } in &banned {
        if reason.is_empty() {
            findings.push(format!("{name} is banned without a reason"));
        }
        if locked.contains_key(name) && wrappers.is_empty() {
            findings.push(format!("{name} is in Cargo.lock: {reason}"));
        }
        let unasked = dependents(name).into_iter().filter(|dependent| !wrappers.contains(dependent));
        findings.extend(unasked.map(|dependent| format!("{dependent} depends on {name}: {reason}")));
    }
    nothing_found("a banned crate", &findings);
}

#[test]
fn all_packages_come_from_the_one_registry() {
    let own = ["bowline", "rig", "traces", "xtask"];
    let sources: BTreeSet<String> =
        locked().into_iter().filter(|(name, _)| !own.contains(&name.as_str())).map(|(_, source)| source).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}
