//! A mirror that is damaged or gone is made anew.

use std::{fs, path::Path};

use bowline::source::tree::Tree as _;

use crate::repository::{Cache, Repository};

/// Removes all files below a directory.
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { empty(&path) } else { fs::remove_file(path).unwrap() }
    }
}

/// Writes other bytes into the middle of all packs.
fn spoil_packs(generation: &Path) {
    for entry in fs::read_dir(generation.join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pack") {
            let mut bytes = fs::read(&path).unwrap();
            let end = bytes.len() - 20;
            bytes[12..end].fill(0xff);
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_mirror_whose_objects_vanished_is_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    let old = cache.generations();
    empty(&old[0].join("objects"));
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, commit);
    let tree = cache.mirror().tree(&commit, ".", &Default::default()).unwrap();
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 1\n");
}

#[test]
fn a_mirror_whose_objects_are_spoilt_is_found_out_and_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    spoil_packs(&cache.generations()[0]);
    let read = cache.mirror().tree(&commit, ".", &Default::default());
    let error = read.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("RepositoryDamaged", true), "{error}");
    let fetched = cache.fetch("main").unwrap();
    assert!(fetched.renewed.is_some());
    assert!(cache.mirror().tree(&commit, ".", &Default::default()).is_ok());
}

#[test]
fn a_mirror_that_vanished_is_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    for generation in cache.generations() {
        fs::remove_dir_all(generation).unwrap();
    }
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, commit);
    assert!(fetched.renewed.is_some());
    assert!(cache.mirror().tree(&commit, ".", &Default::default()).is_ok());
}

#[test]
fn a_push_is_told_though_the_mirror_is_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let before = cache.commit("main");
    let after = repository.push("app/b.yaml", "b: 1\n");
    fs::remove_dir_all(&cache.generations()[0]).unwrap();
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, after);
    assert_eq!(fetched.moved.unwrap().from, before);
}

#[test]
fn a_tree_stays_readable_while_its_mirror_is_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    let tree = cache.mirror().tree(&commit, ".", &Default::default()).unwrap();
    let second = cache.mirror().tree(&commit, ".", &Default::default()).unwrap();
    let first = cache.generations();
    // Only the name of HEAD is spoilt: the mirror cannot be opened again, and
    // its objects are whole.
    fs::rename(first[0].join("HEAD"), first[0].join("HEAD.gone")).unwrap();
    assert!(cache.fetch("main").unwrap().renewed.is_some());
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 1\n");
    drop(tree);
    assert!(first[0].exists(), "another tree reads from it");
    drop(second);
    assert!(!first[0].exists(), "the replaced repository goes with its last reader");
    assert_eq!(cache.generations().len(), 1);
}

#[test]
fn a_mirror_of_many_packs_is_made_anew() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let packs = cache.generations()[0].join("objects/pack");
    for number in 0..70 {
        fs::write(packs.join(format!("pack-{number:040}.pack")), b"").unwrap();
    }
    repository.push("app/b.yaml", "b: 1\n");
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.renewed.as_deref(), Some("it had too many packs"));
    assert!(fetched.bytes > 0);
}
