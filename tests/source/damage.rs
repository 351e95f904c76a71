//! A mirror that is damaged or gone is made anew.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bowline::source::{Credentials, Limits, Repositories, RepositoryUrl, Revision, UrlPolicy, tree::Tree as _};
use rstest::rstest;
use tokio_util::sync::CancellationToken;

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

/// Runs itself once more, with a bound on the size of files that stands for a
/// full disk.
#[test]
fn a_full_disk_is_told_and_forgotten_once_there_is_room() {
    let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
    let fetch = |url: &str, cache: &str| {
        let url = RepositoryUrl::parse(url, &policy).unwrap();
        let repositories = Repositories::open(cache).unwrap();
        repositories.fetch(
            &url,
            &Credentials::none(),
            &Revision::Default,
            &Limits::default(),
            &CancellationToken::new(),
        )
    };
    if let (Ok(url), Ok(cache)) = (std::env::var("FULL_DISK_URL"), std::env::var("FULL_DISK_CACHE")) {
        let error = fetch(&url, &cache).unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("DiskFull", true), "{error}");
        assert!(error.to_string().contains("free space or give the cache a larger volume"), "{error}");
        return;
    }
    let repository = Repository::new();
    let noise: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    repository.push("noise.bin", noise);
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "damage::a_full_disk_is_told_and_forgotten_once_there_is_room"])
        .env("FULL_DISK_URL", repository.url().as_str())
        .env("FULL_DISK_CACHE", cache.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
    let fetched = fetch(repository.url().as_str(), cache.path().to_str().unwrap()).unwrap();
    assert_eq!(fetched.resolved.commit, repository.head());
}

const SIGNATURE: &str = "A <a@example.com> 1700000000 +0000";

#[rstest]
#[case::a_directory_of_nonsense("tree", b"nonsense", "RepositoryMalformed")]
#[case::a_directory_cut_short("tree", b"100644 a\0too short", "RepositoryMalformed")]
#[case::a_file_in_place_of_a_directory("blob", b"a file", "RepositoryMalformed")]
#[case::an_empty_directory("tree", b"", "nothing is wrong")]
fn an_object_that_is_whole_and_no_valid_one_is_not_fetched_again(
    #[case] kind: &str,
    #[case] content: &[u8],
    #[case] reason: &str,
) {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let tree = cache.plant(kind, content);
    let commit = format!("tree {tree}\nauthor {SIGNATURE}\ncommitter {SIGNATURE}\n\nhostile\n");
    let commit = cache.plant("commit", commit.as_bytes()).parse().unwrap();
    match cache.mirror().tree(&commit, ".", &Default::default()) {
        Ok(tree) => assert_eq!((tree.entries().len(), reason), (0, "nothing is wrong")),
        Err(error) => assert_eq!((error.reason(), error.is_transient()), (reason, false), "{error}"),
    }
    assert_eq!(cache.fetch("main").unwrap().renewed, None);
}

#[rstest]
#[case::nonsense(b"nonsense".to_vec(), "RepositoryMalformed")]
#[case::endless([format!("tree {}\nauthor {SIGNATURE}\ncommitter {SIGNATURE}\n\n", "0".repeat(40)).into_bytes(), vec![b'a'; 2 << 20]].concat(), "TooLarge")]
fn a_hostile_commit_is_refused(#[case] content: Vec<u8>, #[case] reason: &str) {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let commit = cache.plant("commit", &content).parse().unwrap();
    let error = cache.mirror().commit(&commit).unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), (reason, false), "{error}");
}

#[test]
fn readers_and_fetches_go_on_while_mirrors_are_damaged_again_and_again() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let done = AtomicBool::new(false);
    let read = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // The repository that a fetch is about to put into use may be
                    // damaged as well; the next fetch mends it.
                    let commit = match cache.fetch("main") {
                        Ok(fetched) => fetched.resolved.commit,
                        Err(error) => {
                            assert!(error.is_transient(), "{error}");
                            continue;
                        }
                    };
                    match cache.mirror().tree(&commit, ".", &Default::default()) {
                        Ok(tree) => {
                            read.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(tree.entries()[0].path, "app/a.yaml");
                        }
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                }
            });
        }
        for round in 0..20 {
            repository.push("app/a.yaml", format!("a: {round}\n"));
            for generation in cache.generations() {
                // It may be gone already, or going.
                let _ = fs::rename(generation.join("HEAD"), generation.join("HEAD.gone"));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(read.load(Ordering::Relaxed) > 20);
    assert_eq!(cache.commit("main"), repository.head());
    assert_eq!(cache.generations().len(), 1, "replaced repositories are removed");
}
