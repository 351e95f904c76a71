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

/// The crates that `deny.toml` bans, each with its reason.
fn banned() -> Vec<(String, String)> {
    let text = read("deny.toml");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("{ crate = "));
    let quoted = |line: &str, position: usize| line.split('"').nth(position).unwrap_or_default().to_owned();
    lines.filter(|line| !line.contains("allow = ")).map(|line| (quoted(line, 1), quoted(line, 3))).collect()
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
    for package in ["rig", "xtask"] {
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
    assert!(banned.len() > 10, "the bans of deny.toml are not read rightly: {banned:?}");
    let locked = locked();
    let mut findings = Vec::new();
    for (name, reason) in &banned {
        if reason.is_empty() {
            findings.push(format!("{name} is banned without a reason"));
        }
        if locked.contains_key(name) {
            findings.push(format!("{name} is in Cargo.lock: {reason}"));
        }
    }
    nothing_found("a banned crate", &findings);
}

#[test]
fn all_packages_come_from_the_one_registry() {
    let own = ["bowline", "rig", "xtask"];
    let sources: BTreeSet<String> =
        locked().into_iter().filter(|(name, _)| !own.contains(&name.as_str())).map(|(_, source)| source).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}
