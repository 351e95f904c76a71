//! What no file of the repository contains.

use std::fs;

use super::{code::program, nothing_found, root, tracked};

/// Files of more lines hold more than one concept.
const LINES: usize = 600;

/// Files, as they are tracked, that may contain what others may not.
fn text_of(file: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(file)).unwrap()).ok()
}

#[test]
fn no_rust_file_is_long() {
    let mut findings = Vec::new();
    for file in tracked().iter().filter(|file| file.ends_with(".rs")) {
        let lines = text_of(file).unwrap().lines().count();
        if lines > LINES {
            findings.push(format!("{file} has {lines} lines"));
        }
    }
    nothing_found("a file is longer than 600 lines: give each concept its own", &findings);
}

#[test]
fn nothing_is_left_to_do() {
    let mut findings = Vec::new();
    for file in program() {
        for token in file.macros(&["todo", "unimplemented"]) {
            findings.push(format!("{} calls {}!", file.at(token.line), token.text));
        }
    }
    nothing_found("code is not finished", &findings);
}

#[test]
fn only_the_command_line_prints() {
    let mut findings = Vec::new();
    for file in program().iter().filter(|file| !matches!(file.module(), Some("cli") | None)) {
        for token in file.macros(&["print", "println", "eprint", "eprintln", "dbg"]) {
            findings.push(format!("{} calls {}!", file.at(token.line), token.text));
        }
        for named in &file.paths {
            if named.path.iter().any(|part| matches!(part.as_str(), "stdout" | "stderr")) {
                findings.push(format!("{} names {}", file.at(named.line), named.text()));
            }
        }
    }
    nothing_found("a module other than cli writes to the terminal", &findings);
}

#[test]
fn no_file_names_a_place_of_one_machine_or_a_package_registry() {
    // Put together here, so that this file does not contain them itself.
    let slash = |parts: &[&str]| format!("/{}/", parts.join("/"));
    let host = |parts: &[&str]| parts.join(".");
    let banned = [
        slash(&["work"]),
        slash(&["farm"]),
        slash(&["root"]),
        slash(&["tmp"]),
        host(&["crates", "io"]),
        host(&["proxy", "golang", "org"]),
        host(&["sum", "golang", "org"]),
        host(&["registry", "npmjs", "org"]),
        host(&["pypi", "org"]),
        host(&["deb", "debian", "org"]),
    ];
    let mut findings = Vec::new();
    for file in tracked().iter().filter(|file| *file != "Cargo.lock") {
        let Some(text) = text_of(file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = banned.iter().find(|word| line.contains(word.as_str())) {
                findings.push(format!("{file}:{} contains {word}", number + 1));
            }
        }
    }
    nothing_found("the project speaks of itself alone", &findings);
}

#[test]
fn all_text_is_utf_8() {
    let binary = [".png", ".ico", ".gz", ".tgz", ".woff2"];
    let findings: Vec<String> = tracked()
        .into_iter()
        .filter(|file| !binary.iter().any(|ending| file.ends_with(ending)) && text_of(file).is_none())
        .collect();
    nothing_found("a file is not UTF-8", &findings);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for file in tracked().iter().filter(|file| file.ends_with(".md")) {
        let text = text_of(file).unwrap();
        let directory = root().join(file).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") || path.contains(' ') {
                continue;
            }
            if !directory.join(path).exists() {
                findings.push(format!("{file} links to {target}"));
            }
        }
    }
    nothing_found("a link leads nowhere", &findings);
}
