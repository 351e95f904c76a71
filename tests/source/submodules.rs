//! Submodules of repositories that the real `git` made.

use std::collections::BTreeMap;

use bowline::source::{
    CommitId, Credentials, Limits, Repositories, RepositoryUrl, Revision, SourceError, SubmodulePolicy, Submodules,
    TreeLimits, UrlPolicy,
    files::{Files as _, Found},
    tree::{EntryKind, Tree as _},
};
use rig::{Auth, GitRepo, GitServer};
use rstest::rstest;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::repository::{Cache, Repository};

/// Names a commit of another repository at some paths.
fn link(outer: &Repository, links: &[(&str, &str, &CommitId)]) -> CommitId {
    let file: String = links
        .iter()
        .map(|(path, url, _)| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"))
        .collect();
    std::fs::write(outer.path().join(".gitmodules"), file).unwrap();
    outer.git(&["add", ".gitmodules"]);
    for (path, _, commit) in links {
        outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    outer.git(&["commit", "--quiet", "-m", "links"]);
    outer.head()
}

fn policy(hosts: &[&str]) -> SubmodulePolicy {
    let urls = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
    SubmodulePolicy { urls, hosts: hosts.iter().map(ToString::to_string).collect() }
}

/// The submodules of the newest commit that matter for some paths.
fn submodules(cache: &Cache, paths: &[&str]) -> Result<Submodules, SourceError> {
    let commit = cache.commit("main");
    let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    let mirror = cache.mirror();
    let (limits, cancel) = (Limits::default(), CancellationToken::new());
    cache.repositories.submodules(&mirror, &commit, &paths, &policy(&[]), &limits, &cancel)
}

/// All files below a path, with their contents.
fn files(cache: &Cache, path: &str, submodules: &Submodules) -> BTreeMap<String, String> {
    let commit = cache.commit("main");
    let tree = cache.mirror().tree_with(&commit, path, &TreeLimits::default(), submodules).unwrap();
    let read = |path: &str| String::from_utf8(tree.read(path).unwrap()).unwrap();
    let regular = tree.entries().iter().filter(|entry| entry.kind == EntryKind::File);
    regular.map(|entry| (entry.path.clone(), read(&entry.path))).collect()
}

fn is(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn url(repository: &Repository) -> String {
    repository.url().to_string()
}

#[test]
fn the_files_of_a_submodule_are_read_in_its_place() {
    let (outer, base) = (Repository::new(), Repository::empty());
    let pinned = base.push("deploy/b.yaml", "b: 1\n");
    base.push("deploy/b.yaml", "b: 2\n");
    let commit = link(&outer, &[("app/base", &url(&base), &pinned)]);
    let cache = Cache::of(&outer);
    let found = submodules(&cache, &["app"]).unwrap();
    assert_eq!(found.len(), 1);
    // The commit that is named is read, not the newest.
    assert_eq!(files(&cache, "app", &found), is(&[("app/a.yaml", "a: 1\n"), ("app/base/deploy/b.yaml", "b: 1\n")]));
    assert_eq!(files(&cache, "app/base/deploy", &found), is(&[("app/base/deploy/b.yaml", "b: 1\n")]));

    let by_path = cache.mirror().files(&commit, &TreeLimits::default(), &found).unwrap();
    assert_eq!(by_path.find("app/base").unwrap(), Some(Found::Directory));
    assert_eq!(by_path.find("app/base/deploy/b.yaml").unwrap(), Some(Found::File { size: 5 }));
    assert_eq!(by_path.read("app/base/deploy/b.yaml").unwrap(), b"b: 1\n");
    assert_eq!(by_path.below("app").unwrap().len(), 2);
    assert!(by_path.content_id("app/base").is_some() && by_path.find("app/base/none").unwrap().is_none());

    // Without it nothing is read there.
    let none = Submodules::default();
    assert_eq!(files(&cache, "app", &none), is(&[("app/a.yaml", "a: 1\n")]));
    let error = cache.mirror().tree(&commit, "app/base", &TreeLimits::default()).unwrap_err();
    assert!(error.to_string().contains("is a submodule, which is read only with source.submodules"), "{error}");
}

#[test]
fn another_commit_of_a_submodule_is_another_content() {
    let (outer, base) = (Repository::new(), Repository::empty());
    let one = base.push("b.yaml", "b: 1\n");
    link(&outer, &[("app/base", &url(&base), &one)]);
    let cache = Cache::of(&outer);
    let id = |found: &Submodules| cache.mirror().tree_id(&cache.commit("main"), "app", found).unwrap();
    let before = submodules(&cache, &["app"]).unwrap();
    let first = id(&before);
    let two = base.push("b.yaml", "b: 2\n");
    link(&outer, &[("app/base", &url(&base), &two)]);
    let after = submodules(&cache, &["app"]).unwrap();
    assert_ne!(id(&after), first);
    assert_eq!(files(&cache, "app/base", &after), is(&[("app/base/b.yaml", "b: 2\n")]));
    // What was fetched for another commit is not read in its place.
    let mixed = cache.mirror().tree_with(&cache.commit("main"), "app", &TreeLimits::default(), &before);
    assert_eq!(mixed.unwrap_err().reason(), "TreeRefused");
}

#[test]
fn submodules_lie_within_each_other_and_beside_each_other_by_relative_urls() {
    let (outer, middle, inner) = (Repository::new(), Repository::empty(), Repository::empty());
    let name = |repository: &Repository| repository.path().file_name().unwrap().to_string_lossy().into_owned();
    let deepest = inner.push("c.yaml", "c: 1\n");
    middle.push("b.yaml", "b: 1\n");
    let between = link(&middle, &[("inner", &format!("../{}", name(&inner)), &deepest)]);
    link(&outer, &[("app/middle", &format!("../{}", name(&middle)), &between)]);
    let cache = Cache::of(&outer);
    let found = submodules(&cache, &["./app/"]).unwrap();
    let mut read = files(&cache, "app", &found);
    read.remove("app/middle/.gitmodules");
    let expected = [("app/a.yaml", "a: 1\n"), ("app/middle/b.yaml", "b: 1\n"), ("app/middle/inner/c.yaml", "c: 1\n")];
    assert_eq!(read, is(&expected));
}

#[test]
fn only_those_that_matter_are_fetched() {
    let (outer, base) = (Repository::new(), Repository::empty());
    let commit = base.push("b.yaml", "b: 1\n");
    let gone = "file:///nowhere/at/all";
    link(&outer, &[("vendor/base", &url(&base), &commit), ("application", gone, &commit)]);
    let cache = Cache::of(&outer);
    assert!(submodules(&cache, &["app"]).unwrap().is_empty(), "`application` is not below `app`");
    let found = submodules(&cache, &["app", "vendor"]).unwrap();
    assert_eq!(files(&cache, "vendor", &found), is(&[("vendor/base/b.yaml", "b: 1\n")]));
    assert_eq!(submodules(&cache, &["vendor/base/deeper"]).unwrap().len(), 1, "one that is above");
    assert_eq!(submodules(&cache, &["."]).unwrap_err().reason(), "NotFound");
}

#[test]
fn a_file_that_names_more_than_the_tree_has_is_no_matter() {
    let (outer, base) = (Repository::new(), Repository::empty());
    let commit = base.push("b.yaml", "b: 1\n");
    link(&outer, &[("app/base", &url(&base), &commit)]);
    outer.git(&["rm", "--quiet", "--cached", "app/base"]);
    outer.git(&["commit", "--quiet", "-m", "no link"]);
    assert!(submodules(&Cache::of(&outer), &["app"]).unwrap().is_empty());
}

#[test]
fn a_tree_that_has_more_than_the_file_names_is_refused_where_it_is_wanted() {
    let outer = Repository::new();
    let commit = outer.head();
    for path in ["app/base", "other/base"] {
        outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    outer.git(&["commit", "--quiet", "-m", "links that no file names"]);
    let cache = Cache::of(&outer);
    let found = submodules(&cache, &["app"]).unwrap();
    let read = |path: &str| cache.mirror().tree_with(&cache.commit("main"), path, &TreeLimits::default(), &found);
    let message = read("app").unwrap_err().to_string();
    assert!(message.contains("`app/base` is a submodule that `.gitmodules` does not name"), "{message}");
    read("other").unwrap();
}

#[rstest]
#[case::another_host("https://127.0.0.2/base", "or from those that the operator allows (--allow-submodule-hosts)")]
#[case::ssh("git@127.0.0.2:base", "--allow-submodule-hosts")]
#[case::a_command("ext::sh -c touch% x", "is refused")]
#[case::credentials("https://ann:s3cret@127.0.0.2/base", "contains credentials")]
fn an_address_that_is_not_allowed_is_asked_for_nothing(#[case] address: &str, #[case] because: &str) {
    let outer = Repository::new();
    let commit = outer.head();
    link(&outer, &[("app/base", address, &commit)]);
    let error = submodules(&Cache::of(&outer), &["app"]).unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("SubmoduleRefused", false));
    let message = error.to_string();
    assert!(message.starts_with("the submodule `app/base` at commit ") && message.contains(because), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
}

#[rstest]
#[case::above("../base", "its path is not one of a tree")]
#[case::absolute("/app/base", "its path is not one of a tree")]
#[case::of_git("app/.git/hooks", "its path is not one of a tree")]
fn a_path_that_leaves_its_place_is_refused(#[case] path: &str, #[case] because: &str) {
    let outer = Repository::new();
    outer.push(".gitmodules", format!("[submodule \"a\"]\npath = {path}\nurl = ../x\n"));
    let message = submodules(&Cache::of(&outer), &["app"]).unwrap_err().to_string();
    assert!(message.contains(because), "{message}");
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let outer = Repository::new();
    // Git refuses to make one; a server can hold it all the same.
    let target = outer.blob(b"/etc/passwd");
    outer.push_tree(&outer.raw_tree(&[("120000", &target, b".gitmodules")]));
    let message = submodules(&Cache::of(&outer), &["app"]).unwrap_err().to_string();
    assert!(message.contains("`.gitmodules`") && message.contains("it is no regular file"), "{message}");
}

#[test]
fn a_commit_that_the_other_repository_does_not_have_is_told() {
    let (outer, base) = (Repository::new(), Repository::new());
    let commit = outer.head();
    base.push("b.yaml", "b: 1\n");
    let elsewhere = Repository::empty().push("x", "y");
    assert_ne!(commit, elsewhere);
    link(&outer, &[("app/base", &url(&base), &elsewhere)]);
    assert_eq!(submodules(&Cache::of(&outer), &["app"]).unwrap_err().reason(), "RevisionNotFound");
}

#[test]
fn submodules_that_lie_too_deep_within_each_other_are_refused() {
    let bottom = Repository::empty();
    let mut commit = bottom.push("x.yaml", "x: 1\n");
    let mut repositories = vec![bottom];
    let mut read = Vec::new();
    for _ in 0..5 {
        let next = Repository::empty();
        commit = link(&next, &[("app", &url(repositories.last().unwrap()), &commit)]);
        repositories.push(next);
        read.push(submodules(&Cache::of(repositories.last().unwrap()), &["app"]));
    }
    let last = read.pop().unwrap().unwrap_err().to_string();
    assert!(last.contains("deeper within each other than the limit of 4"), "{last}");
    assert_eq!(read.into_iter().map(|found| found.unwrap().len()).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

/// A repository of a server with one submodule, and a cache.
struct Served {
    outer: GitRepo,
    cache: TempDir,
}

impl Served {
    fn new(server: &GitServer, address: &str, commit: &str) -> Self {
        let outer = server.create_repo("outer").unwrap();
        outer.write(".gitmodules", &format!("[submodule \"b\"]\npath = app/base\nurl = {address}\n")).unwrap();
        outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},app/base")]).unwrap();
        outer.git(&["add", ".gitmodules"]).unwrap();
        outer.git(&["commit", "--quiet", "-m", "links"]).unwrap();
        outer.push().unwrap();
        Self { outer, cache: tempfile::tempdir().unwrap() }
    }

    fn read(&self, at: &str, hosts: &[&str]) -> Result<Vec<u8>, SourceError> {
        let credentials = Credentials::basic("ann", "s3cret").unwrap();
        let address = RepositoryUrl::parse(at, &UrlPolicy::default()).unwrap();
        let repositories = Repositories::open(self.cache.path())?;
        let mirror = repositories.mirror(&address, &credentials)?;
        let (limits, cancel) = (Limits::default(), CancellationToken::new());
        let commit: CommitId = self.outer.head().unwrap().parse().unwrap();
        mirror.fetch(&Revision::of(Some("main")).unwrap(), &limits, &cancel)?;
        let paths = ["app".to_owned()];
        let found = repositories.submodules(&mirror, &commit, &paths, &policy(hosts), &limits, &cancel)?;
        let tree = mirror.tree_with(&commit, "app", &TreeLimits::default(), &found)?;
        Ok(tree.read("app/base/b.yaml").unwrap())
    }
}

#[test]
fn the_credentials_go_to_the_same_server_and_to_no_other() {
    let wants = || Auth::Basic { user: "ann".into(), password: "s3cret".into() };
    let (server, other) = (GitServer::start().unwrap(), GitServer::start().unwrap());
    let base = |server: &GitServer| {
        let base = server.create_repo("base").unwrap();
        base.write("b.yaml", "b: 1\n").unwrap();
        base.commit_and_push("first").unwrap()
    };
    let (here, there) = (base(&server), base(&other));
    server.require(wants());
    let served = Served::new(&server, "../base.git", &here);
    assert_eq!(served.read(&server.url("outer"), &[]).unwrap(), b"b: 1\n");

    // Another port is another server: it is asked without credentials.
    let server = GitServer::start().unwrap();
    let served = Served::new(&server, &other.url("base"), &there);
    assert_eq!(served.read(&server.url("outer"), &[]).unwrap(), b"b: 1\n");
    other.require(wants());
    let served = Served { cache: tempfile::tempdir().unwrap(), ..served };
    assert_eq!(served.read(&server.url("outer"), &[]).unwrap_err().reason(), "AuthenticationFailed");
}
