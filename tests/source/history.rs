//! Commits and what lies between them.

use crate::repository::{Cache, Repository};

#[test]
fn a_commit_tells_who_when_and_what_for() {
    let repository = Repository::new();
    let parent = repository.head();
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "Raise the limit\n\nBecause of load."]);
    let cache = Cache::of(&repository);
    let commit = cache.mirror().commit(&cache.commit("main")).unwrap();
    assert_eq!(commit.author, "Ann Author <ann@example.com>");
    assert_eq!(commit.subject, "Raise the limit");
    assert_eq!(commit.parents, [parent]);
    assert_eq!(commit.time.as_second(), 1_700_000_060);
}

#[test]
fn texts_of_a_commit_cannot_write_to_the_terminal() {
    let repository = Repository::new();
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "\u{1b}[2Jgone"]);
    let cache = Cache::of(&repository);
    assert_eq!(cache.mirror().commit(&cache.commit("main")).unwrap().subject, "\\u{1b}[2Jgone");
}

#[test]
fn the_log_between_two_commits_is_newest_first_and_bounded() {
    let repository = Repository::new();
    let old = repository.head();
    for number in 1..=3 {
        repository.push("app/a.yaml", format!("a: {number}0\n"));
    }
    let cache = Cache::of(&repository);
    let new = cache.commit("main");
    let log = cache.mirror().log_between(&old, &new, 10).unwrap().unwrap();
    assert_eq!((log.commits.len(), log.more), (3, false));
    assert_eq!(log.commits[0].id, new);
    let log = cache.mirror().log_between(&old, &new, 2).unwrap().unwrap();
    assert_eq!((log.commits.len(), log.more), (2, true));
}

#[test]
fn the_log_from_an_unknown_commit_is_unknown() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let new = cache.commit("main");
    let unknown = "0123456789012345678901234567890123456789".parse().unwrap();
    assert_eq!(cache.mirror().log_between(&unknown, &new, 10).unwrap(), None);
    assert!(cache.mirror().log_between(&new, &unknown, 10).is_err());
}
