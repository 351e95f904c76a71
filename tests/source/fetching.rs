//! What a revision means, and what of it is fetched.

use std::time::Duration;

use bowline::source::{Credentials, Limits, Relation, Repositories, Revision, tree::Tree as _};
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use crate::repository::{Cache, Repository};

#[test]
fn the_default_branch_is_fetched_where_nothing_is_asked() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let fetched = cache.fetch("").unwrap();
    assert_eq!(fetched.resolved.commit, repository.head());
    assert_eq!(fetched.resolved.reference.as_deref(), Some("refs/heads/main"));
    assert_eq!(fetched.moved, None);
    let tree = cache.mirror().tree(&fetched.resolved.commit, ".", &Default::default()).unwrap();
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 1\n");
}

#[test]
fn a_fetch_of_what_is_there_receives_nothing() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let again = cache.fetch("main").unwrap();
    assert_eq!((again.bytes, again.moved, again.renewed), (0, None, None));
}

#[test]
fn a_push_moves_forward() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let before = cache.commit("main");
    repository.push("app/b.yaml", "b: 1\n");
    let after = repository.push("app/b.yaml", "b: 2\n");
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, after);
    let moved = fetched.moved.unwrap();
    assert_eq!((moved.from.clone(), moved.relation, moved.is_forced()), (before, Relation::Forward, false));
}

#[test]
fn a_force_push_is_fetched_and_told() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let before = repository.push("app/b.yaml", "b: 1\n");
    assert_eq!(cache.commit("main"), before);
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let after = repository.push("app/b.yaml", "b: 2\n");
    let fetched = cache.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, after);
    let moved = fetched.moved.unwrap();
    assert_eq!((moved.from.clone(), moved.relation, moved.is_forced()), (before, Relation::Rewritten, true));
}

#[test]
fn a_branch_that_moved_back_is_told() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let before = repository.push("app/b.yaml", "b: 1\n");
    cache.fetch("main").unwrap();
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let moved = cache.fetch("main").unwrap().moved.unwrap();
    assert_eq!((moved.from.clone(), moved.relation, moved.is_forced()), (before, Relation::Backward, true));
}

#[test]
fn a_force_push_is_told_after_a_restart_too() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let before = repository.push("app/b.yaml", "b: 1\n");
    cache.fetch("main").unwrap();
    let path = cache.path().to_owned();
    let Cache { repositories, .. } = &cache;
    let copy = tempfile::tempdir().unwrap();
    // A cache that was closed: its files without its lock.
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(format!("{}/.", path.display()))
            .arg(copy.path())
            .status()
            .unwrap()
            .success()
    );
    drop(repositories.clone());
    repository.git(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
    let reopened = Repositories::open(copy.path()).unwrap();
    let fetched = reopened
        .fetch(
            &repository.url(),
            &Credentials::none(),
            &"main".parse().unwrap(),
            &Limits::default(),
            &CancellationToken::new(),
        )
        .unwrap();
    let moved = fetched.moved.unwrap();
    assert_eq!((moved.from, moved.relation), (before, Relation::Rewritten));
}

#[test]
fn a_moved_tag_is_fetched_and_told() {
    let repository = Repository::new();
    repository.git(&["tag", "-a", "v1", "-m", "one"]);
    let cache = Cache::of(&repository);
    let before = cache.fetch("refs/tags/v1").unwrap();
    assert_eq!(before.resolved.commit, repository.head(), "an annotated tag is its commit");
    let after = repository.push("app/b.yaml", "b: 1\n");
    repository.git(&["tag", "-f", "-a", "v1", "-m", "one again"]);
    let fetched = cache.fetch("refs/tags/v1").unwrap();
    assert_eq!(fetched.resolved.commit, after);
    assert_eq!(fetched.moved.unwrap().from, before.resolved.commit);
}

#[test]
fn a_commit_is_fetched_by_its_name_and_then_needs_no_repository() {
    let repository = Repository::new();
    let old = repository.head();
    repository.push("app/b.yaml", "b: 1\n");
    let cache = Cache::of(&repository);
    assert_eq!(cache.commit(old.as_str()), old);
    std::fs::rename(repository.path().join(".git"), repository.path().join("gone")).unwrap();
    assert_eq!(cache.commit(old.as_str()), old);
}

#[test]
fn the_highest_version_in_a_range_is_fetched() {
    let repository = Repository::new();
    repository.git(&["tag", "v1.9.0"]);
    let wanted = repository.push("app/b.yaml", "b: 1\n");
    repository.git(&["tag", "-a", "v1.10.0", "-m", "ten"]);
    repository.push("app/b.yaml", "b: 2\n");
    repository.git(&["tag", "v2.0.0"]);
    let fetched = Cache::of(&repository).fetch(">=1.0 <2").unwrap();
    assert_eq!(fetched.resolved.commit, wanted);
    assert_eq!(fetched.resolved.reference.as_deref(), Some("refs/tags/v1.10.0"));
}

#[test]
fn a_deleted_branch_is_named_with_the_branches_that_are_left() {
    let repository = Repository::new();
    repository.git(&["branch", "release"]);
    let cache = Cache::of(&repository);
    let kept = cache.commit("release");
    repository.git(&["branch", "-D", "release"]);
    let error = cache.fetch("refs/heads/release").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("RevisionNotFound", false));
    assert_eq!(error.to_string(), format!("branch `release` does not exist at {}; branches: main", repository.url()));
    assert!(cache.mirror().tree(&kept, ".", &Default::default()).is_ok(), "what was fetched stays readable");
}

#[rstest]
#[case::an_unknown_commit("0123456789012345678901234567890123456789", "no branch or tag contains it")]
#[case::a_sha256_commit("0123456789012345678901234567890123456789012345678901234567890123", "only SHA-1")]
#[case::a_tag_of_a_file("refs/tags/file", "it names no commit")]
fn what_is_no_commit_of_the_repository_is_refused(#[case] revision: &str, #[case] because: &str) {
    let repository = Repository::new();
    let blob = repository.blob(b"a file");
    repository.git(&["tag", "file", &blob]);
    let error = Cache::of(&repository).fetch(revision).unwrap_err();
    assert_eq!(error.reason(), "RevisionNotFound", "{error}");
    assert!(error.to_string().contains(because), "{error}");
}

#[test]
fn an_empty_repository_is_called_empty() {
    let error = Cache::of(&Repository::empty()).fetch("").unwrap_err();
    assert_eq!(error.reason(), "RevisionNotFound", "{error}");
    assert!(error.to_string().contains("the repository is empty"), "{error}");
}

#[test]
fn a_missing_repository_is_not_found() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    std::fs::rename(repository.path().join(".git"), repository.path().join("gone")).unwrap();
    let error = cache.fetch("").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("NotFound", false), "{error}");
}

#[test]
fn many_revisions_are_asked_for_at_once() {
    let repository = Repository::new();
    repository.git(&["tag", "v1.0.0"]);
    let revisions: Vec<Revision> = ["", "v1.0.0", "gone", "~1.0"].map(|text| text.parse().unwrap()).into();
    let cache = Cache::of(&repository);
    let polled = cache.mirror().poll(&revisions, &Limits::default(), &CancellationToken::new()).unwrap();
    let commits: Vec<_> = polled.iter().map(|result| result.as_ref().ok().map(|found| found.commit.clone())).collect();
    let head = Some(repository.head());
    assert_eq!(commits, [head.clone(), head.clone(), None, head]);
    assert_eq!(polled[2].as_ref().unwrap_err().reason(), "RevisionNotFound");
}

#[test]
fn a_reference_whose_name_is_not_utf_8_harms_nothing() {
    let repository = Repository::new();
    let packed = format!("{} refs/heads/k\u{e4}se\n", repository.head());
    let latin_1: Vec<u8> = packed.chars().map(|character| character as u8).collect();
    std::fs::write(repository.path().join(".git/packed-refs"), latin_1).unwrap();
    assert_eq!(Cache::of(&repository).commit("main"), repository.head());
}

#[test]
fn more_objects_than_the_limit_are_refused() {
    let repository = Repository::new();
    let limits = Limits { objects: 2, ..Limits::default() };
    let mirror = Cache::of(&repository);
    let error = mirror.mirror().fetch(&Revision::Default, &limits, &CancellationToken::new()).unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("TooLarge", false), "{error}");
}

#[test]
fn a_cancelled_fetch_says_so() {
    let repository = Repository::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = Cache::of(&repository).mirror().fetch(&Revision::Default, &Limits::default(), &cancel).unwrap_err();
    assert_eq!(error.reason(), "Cancelled");
}

#[test]
fn a_fetch_past_its_deadline_says_so() {
    let repository = Repository::new();
    let limits = Limits { deadline: Duration::ZERO, ..Limits::default() };
    let error =
        Cache::of(&repository).mirror().fetch(&Revision::Default, &limits, &CancellationToken::new()).unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("Timeout", true));
}

#[test]
fn concurrent_fetches_of_one_repository_receive_it_once() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let received: Vec<u64> = std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..8).map(|_| scope.spawn(|| cache.fetch("main").unwrap().bytes)).collect();
        fetches.into_iter().map(|fetch| fetch.join().unwrap()).collect()
    });
    assert_eq!(received.iter().filter(|bytes| **bytes > 0).count(), 1, "{received:?}");
}

#[test]
fn the_cache_is_private_and_used_by_one_process() {
    use std::os::unix::fs::PermissionsExt as _;
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    cache.fetch("main").unwrap();
    let mut directories = vec![cache.path().to_owned()];
    directories.extend(cache.generations().iter().flat_map(|path| [path.clone(), path.parent().unwrap().to_owned()]));
    for directory in directories {
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
    }
    let error = Repositories::open(cache.path()).unwrap_err();
    assert_eq!(error.reason(), "CacheUnusable");
    assert!(error.to_string().contains("another process"), "{error}");
}

#[test]
fn different_credentials_never_share_a_mirror() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    let other = Credentials::basic("ann", "s3cret").unwrap();
    let error = cache.repositories.mirror(&repository.url(), &other).unwrap().commit(&commit).unwrap_err();
    assert_eq!(error.reason(), "RepositoryDamaged");
    assert!(error.to_string().contains("fetch it first"), "{error}");
}

#[test]
fn mirrors_that_nobody_uses_are_swept() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let mirror = cache.mirror();
    let commit = cache.commit("main");
    let tree = mirror.tree(&commit, ".", &Default::default()).unwrap();
    drop(mirror);
    assert_eq!(cache.repositories.sweep(Duration::ZERO).unwrap(), 0, "a tree reads from it");
    drop(tree);
    assert_eq!(cache.repositories.sweep(Duration::from_secs(3600)).unwrap(), 0, "it was used just now");
    assert_eq!(cache.repositories.sweep(Duration::ZERO).unwrap(), 1);
    assert_eq!(cache.commit("main"), commit, "it is fetched again");
}
