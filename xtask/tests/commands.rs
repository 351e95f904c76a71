//! `cargo xtask` as a person runs it.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The processes whose command line names the directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(directory) {
            found.push(command);
        }
    }
    found
}

#[test]
fn tools_that_are_built_are_not_built_again() {
    let start = Instant::now();
    let output = xtask(&["tools"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("tools are built"), "{}", text(&output));
    // A second at most; the rest is for a machine that is busy with other tests.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        assert!(Path::new(path).is_file(), "{path}");
    }
}

#[test]
fn a_second_build_waits_for_the_first_and_says_so() {
    let cache = tempfile::tempdir().unwrap();
    std::fs::create_dir(cache.path().join("tools")).unwrap();
    let lock = File::create(cache.path().join("tools/lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = xtask(&["tools"])
        .env("BOWLINE_CACHE", cache.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("another run builds the tools"), "{line}");
    assert!(waiting.try_wait().unwrap().is_none());
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn a_detached_cluster_ends_with_its_supervisor_and_leaves_nothing_behind() {
    let name = format!("test-{}", std::process::id());
    let directory = rig::cache_dir().join("clusters").join(&name);
    let status = || text(&xtask(&["cluster", "status", "--name", &name]).output().unwrap());

    let up = xtask(&["cluster", "up", "--name", &name]).output().unwrap();
    assert!(up.status.success(), "{}", text(&up));
    let selected = String::from_utf8_lossy(&up.stdout).into_owned();
    let kubeconfig = directory.join("kubeconfig");
    assert!(selected.contains(&format!("export KUBECONFIG={}", kubeconfig.display())), "{selected}");
    let running = status();
    assert!(running.contains("kube-apiserver"), "{running}");
    // Those that hold the directory in their arguments: all five components.
    assert!(processes_of(&directory).len() >= 5);

    // Up again is the same cluster.
    let again = xtask(&["cluster", "up", "--name", &name]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), selected);

    let supervisor =
        running.split_once("supervisor: process ").and_then(|(_, rest)| rest.split_once(')')).unwrap().0.to_owned();
    assert!(Command::new("kill").args(["-KILL", &supervisor]).status().unwrap().success());
    let start = Instant::now();
    while !processes_of(&directory).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", processes_of(&directory));
        std::thread::sleep(Duration::from_millis(50));
    }
    // The supervisor itself is gone when whoever adopted it has seen that.
    loop {
        let status = status();
        if status.contains("not running") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }

    // The name can be used again, and `down` removes the data as well.
    let up = xtask(&["cluster", "up", "--name", &name]).output().unwrap();
    assert!(up.status.success(), "{}", text(&up));
    let down = xtask(&["cluster", "down", "--name", &name]).output().unwrap();
    assert!(down.status.success(), "{}", text(&down));
    assert!(!directory.exists());
    assert!(processes_of(&directory).is_empty());
}

#[test]
fn a_name_that_leads_elsewhere_is_wrong_use() {
    let output = xtask(&["cluster", "down", "--name", "../other"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}
