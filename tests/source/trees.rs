//! What is read of a commit's tree, and what of it is refused.

use bowline::source::{
    TreeLimits,
    tree::{EntryKind, Tree as _, TreeError},
};
use rstest::rstest;

use crate::repository::{Cache, Repository};

fn refusal(repository: &Repository, path: &str, limits: &TreeLimits) -> (&'static str, String) {
    let cache = Cache::of(repository);
    let commit = cache.commit("main");
    let error = cache.mirror().tree(&commit, path, limits).unwrap_err();
    (error.reason(), error.to_string().replace(commit.as_str(), "<commit>"))
}

#[test]
fn entries_are_sorted_whole_paths_with_kind_and_size() {
    let repository = Repository::new();
    repository.push("app/sub/c.yaml", "c: 12\n");
    repository.push("app-b.yaml", "");
    std::os::unix::fs::symlink("../a.yaml", repository.path().join("app/sub/link")).unwrap();
    repository.commit("a link");
    let inner = repository.head();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{inner},app/module")]);
    repository.git(&["commit", "--quiet", "-m", "a submodule"]);
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");

    let tree = cache.mirror().tree(&commit, "./app/", &TreeLimits::default()).unwrap();
    let listed: Vec<_> =
        tree.entries().iter().map(|entry| (entry.path.as_str(), entry.kind.clone(), entry.size)).collect();
    assert_eq!(
        listed,
        [
            ("app/a.yaml", EntryKind::File, 5),
            ("app/module", EntryKind::Submodule, 0),
            ("app/sub/c.yaml", EntryKind::File, 6),
            ("app/sub/link", EntryKind::Symlink { target: "../a.yaml".to_owned() }, 9),
        ]
    );
    assert_eq!(tree.read("app/sub/c.yaml").unwrap(), b"c: 12\n");
    assert!(matches!(tree.read("app-b.yaml"), Err(TreeError::Missing { .. })), "it is not below the path");
    assert!(matches!(tree.read("app/sub"), Err(TreeError::Missing { .. })));
    let refused = |path: &str| tree.read(path).unwrap_err().to_string();
    assert_eq!(refused("app/sub/link"), "app/sub/link cannot be read: it is a symbolic link");
    assert_eq!(refused("app/module"), "app/module cannot be read: it is a submodule");

    let whole = cache.mirror().tree(&commit, ".", &TreeLimits::default()).unwrap();
    let paths: Vec<_> = whole.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["app-b.yaml", "app/a.yaml", "app/module", "app/sub/c.yaml", "app/sub/link"]);
}

#[test]
fn a_push_elsewhere_leaves_the_tree_id_of_a_path() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let id = |commit, path| cache.mirror().tree_id(&commit, path, &Default::default()).unwrap();
    let first = cache.commit("main");
    repository.push("docs/readme.md", "hello\n");
    let second = cache.commit("main");
    assert_eq!(id(first.clone(), "app"), id(second.clone(), "app/"));
    assert_ne!(id(first, "."), id(second.clone(), ""));
    repository.push("app/a.yaml", "a: 2\n");
    assert_ne!(id(second.clone(), "app"), id(cache.commit("main"), "app"));

    // Many are asked for at once; a path that is none is left out.
    let ids = cache.mirror().tree_ids(&second, &["app", ".", "nowhere", "docs/readme.md"].into()).unwrap();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(ids["app"], id(second.clone(), "app"));
    assert_eq!(ids["."], id(second, "."));
}

#[rstest]
#[case::missing("ap", "path `ap` does not exist at commit <commit>; the root has `app`")]
#[case::missing_below("app/b.yaml", "path `app/b.yaml` does not exist at commit <commit>; `app` has `a.yaml`")]
#[case::far_from_anything("zzz", "path `zzz` does not exist at commit <commit>; the root has `app`, `link`")]
#[case::a_file("app/a.yaml", "path `app/a.yaml` is a file, not a directory at commit <commit>")]
#[case::below_a_file(
    "app/a.yaml/x",
    "path `app/a.yaml/x` is a file, not a directory at commit <commit> (at `app/a.yaml`)"
)]
#[case::a_link("link", "path `link` is a symbolic link, which is not followed at commit <commit>")]
#[case::upwards(
    "app/../..",
    "path `app/../..` contains `..` at commit <commit>; write it relative to the root of the repository"
)]
#[case::a_zero_byte("a\0p", "path `a\\u{0}p` does not exist at commit <commit>; the root has `app`")]
#[case::absolute("/app", "path `/app` is absolute at commit <commit>; write it relative to the root of the repository")]
fn a_path_that_is_no_directory_is_refused_with_what_is_near(#[case] path: &str, #[case] message: &str) {
    let repository = Repository::new();
    std::os::unix::fs::symlink("app", repository.path().join("link")).unwrap();
    repository.commit("a link");
    assert_eq!(refusal(&repository, path, &TreeLimits::default()), ("PathNotFound", message.to_owned()));
}

#[rstest]
#[case::parent(b"..", "`x/..` has a name that means another directory")]
#[case::here(b".", "`x/.` has a name that means another directory")]
#[case::gits_own(b".git", "`x/.git` has a name that is Git's own")]
#[case::gits_own_in_another_case(b".GIT", "`x/.GIT` has a name that is Git's own")]
#[case::not_utf_8(b"k\xe4se", "`x/k\u{fffd}se` has a name that is not UTF-8")]
#[case::a_slash(b"a/../../etc", "`x/a/../../etc` has a name with a slash in it")]
fn a_hostile_name_refuses_the_whole_tree(#[case] name: &[u8], #[case] problem: &str) {
    let repository = Repository::new();
    let blob = repository.blob(b"hostile");
    let inner = repository.raw_tree(&[("100644", &blob, name)]);
    let outer = repository.raw_tree(&[("40000", &inner, b"x")]);
    repository.push_tree(&outer);
    let (reason, message) = refusal(&repository, ".", &TreeLimits::default());
    assert_eq!(reason, "TreeRefused");
    assert_eq!(message, format!("the tree of commit <commit> is refused: {problem}"));
}

#[test]
fn a_hostile_name_elsewhere_does_not_matter() {
    let repository = Repository::new();
    let blob = repository.blob(b"fine");
    let hostile = repository.raw_tree(&[("100644", &blob, b"..")]);
    let fine = repository.raw_tree(&[("100644", &blob, b"a.yaml")]);
    repository.push_tree(&repository.raw_tree(&[("40000", &fine, b"app"), ("40000", &hostile, b"x")]));
    let cache = Cache::of(&repository);
    let tree = cache.mirror().tree(&cache.commit("main"), "app", &TreeLimits::default()).unwrap();
    assert_eq!(tree.entries().len(), 1);
}

#[test]
fn an_entry_that_is_there_twice_refuses_the_tree() {
    let repository = Repository::new();
    let (one, other) = (repository.blob(b"one"), repository.blob(b"other"));
    repository.push_tree(&repository.raw_tree(&[("100644", &one, b"a"), ("100644", &other, b"a")]));
    let (reason, message) = refusal(&repository, ".", &TreeLimits::default());
    assert_eq!(reason, "TreeRefused");
    assert!(message.ends_with("`a` is there twice"), "{message}");
}

#[test]
fn names_that_may_surprise_are_told_and_read() {
    let repository = Repository::new();
    repository.push("app/A.yaml", "a: 2\n");
    repository.push("app/bell\u{7}.yaml", "");
    let cache = Cache::of(&repository);
    let tree = cache.mirror().tree(&cache.commit("main"), "app", &TreeLimits::default()).unwrap();
    let warnings: Vec<_> = tree.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "`app/A.yaml` and `app/a.yaml` differ only in the case of letters",
            "`app/bell\\u{7}.yaml` has control characters in its name",
        ]
    );
    assert_eq!(tree.entries().len(), 3);
}

#[test]
fn a_file_over_the_limit_is_listed_and_not_read() {
    let repository = Repository::new();
    repository.push("app/huge.bin", vec![0; 100_000]);
    let cache = Cache::of(&repository);
    let limits = TreeLimits { file_bytes: 1000, ..TreeLimits::default() };
    let tree = cache.mirror().tree(&cache.commit("main"), "app", &limits).unwrap();
    let error = tree.read("app/huge.bin").unwrap_err().to_string();
    assert_eq!(error, "app/huge.bin is 100000 bytes, more than the limit of 1000");
    assert!(tree.read("app/a.yaml").is_ok());
}

#[rstest]
#[case::bytes(TreeLimits { total_bytes: 4, ..TreeLimits::default() }, "`app/a.yaml` at commit <commit> is too large: with this file, all files are more than the limit of 4 bytes together")]
#[case::entries(TreeLimits { entries: 1, ..TreeLimits::default() }, "`app` at commit <commit> is too large: there are more than the limit of 1 files")]
#[case::depth(TreeLimits { depth: 0, ..TreeLimits::default() }, "`app` at commit <commit> is too large: directories nest deeper than the limit of 0")]
fn a_tree_over_a_limit_is_refused(#[case] limits: TreeLimits, #[case] message: &str) {
    assert_eq!(refusal(&Repository::new(), ".", &limits), ("TooLarge", message.to_owned()));
}

#[test]
fn a_tree_that_unfolds_without_end_is_cut_by_the_limit() {
    let repository = Repository::new();
    let mut tree = repository.raw_tree(&[("100644", &repository.blob(b"x"), b"x")]);
    for _ in 0..40 {
        tree = repository.raw_tree(&[("40000", &tree, b"a"), ("40000", &tree, b"b")]);
    }
    repository.push_tree(&tree);
    assert_eq!(refusal(&repository, ".", &TreeLimits::default()).0, "TooLarge");
}

#[test]
fn a_link_with_an_endless_target_refuses_the_tree() {
    let repository = Repository::new();
    let target = repository.blob(&[b'a'; 5000]);
    repository.push_tree(&repository.raw_tree(&[("120000", &target, b"link")]));
    let (reason, message) = refusal(&repository, ".", &TreeLimits::default());
    assert_eq!(reason, "TreeRefused");
    assert!(message.contains("`link` is a symbolic link with a target of more than 4096 bytes"), "{message}");
}

#[test]
fn a_directory_of_endless_size_is_not_inflated() {
    let repository = Repository::new();
    // Names of zero bytes' distance compress to almost nothing.
    let blob = repository.blob(b"x");
    let entry = ("100644", blob.as_str(), &[b'a'; 200][..]);
    let huge = repository.raw_tree(&vec![entry; 100_000]);
    repository.push_tree(&repository.raw_tree(&[("40000", &huge, b"huge")]));
    let (reason, message) = refusal(&repository, ".", &TreeLimits::default());
    assert_eq!(reason, "TooLarge", "{message}");
}

#[test]
fn no_path_panics_or_leaves_the_repository() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let (mirror, commit) = (cache.mirror(), cache.commit("main"));
    proptest::proptest!(|(path in ".*|[a./]{0,12}|(app|\\.\\.|\\.|a\\.yaml|/){0,6}")| {
        match mirror.tree(&commit, &path, &TreeLimits::default()) {
            Ok(tree) => proptest::prop_assert!(["", "app"].contains(&tree.path()), "{path}"),
            Err(error) => {
                proptest::prop_assert_eq!(error.reason(), "PathNotFound");
                proptest::prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    });
}
