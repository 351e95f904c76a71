//! Repositories over HTTP and TLS, by Git's own server.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use bowline::source::{
    CommitId, Credentials, Fetched, Limits, Mirror, Relation, Repositories, RepositoryUrl, Revision, SourceError,
    UrlPolicy, tree::Tree as _,
};
use rig::git_server::{Auth, GitRepo, GitServer};
use rstest::rstest;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "pa55word-of-ann";

struct Remote {
    server: GitServer,
    repository: GitRepo,
    cache: TempDir,
    repositories: Repositories,
}

impl Remote {
    fn new(server: GitServer) -> Self {
        let repository = server.create_repo("team/shop").unwrap();
        repository.write("app/a.yaml", "a: 1\n").unwrap();
        repository.commit_and_push("first").unwrap();
        let cache = tempfile::tempdir().unwrap();
        let repositories = Repositories::open(cache.path()).unwrap();
        Self { server, repository, cache, repositories }
    }

    fn plain() -> Self {
        Self::new(GitServer::start().unwrap())
    }

    fn url(&self) -> RepositoryUrl {
        url(&self.server.url("team/shop"))
    }

    fn mirror(&self, credentials: &Credentials) -> Mirror {
        self.repositories.mirror(&self.url(), credentials).unwrap()
    }

    fn fetch_as(&self, credentials: &Credentials, revision: &str) -> Result<Fetched, SourceError> {
        self.mirror(credentials).fetch(&revision.parse()?, &Limits::default(), &CancellationToken::new())
    }

    fn fetch(&self, revision: &str) -> Result<Fetched, SourceError> {
        self.fetch_as(&Credentials::none(), revision)
    }

    fn push(&self, content: &str) -> CommitId {
        self.repository.write("app/a.yaml", content).unwrap();
        self.repository.commit_and_push("change").unwrap().parse().unwrap()
    }

    fn head(&self) -> CommitId {
        self.repository.head().unwrap().parse().unwrap()
    }

    /// The newest bare repository of the cache.
    fn generation(&self) -> PathBuf {
        let mut mirrors = std::fs::read_dir(self.cache.path()).unwrap().map(|entry| entry.unwrap().path());
        let mirror = mirrors.find(|path| path.is_dir()).unwrap();
        std::fs::read_dir(mirror).unwrap().map(|entry| entry.unwrap().path()).max().unwrap()
    }

    /// How many commits the real `git` counts in the cache, from a commit on.
    fn commits(&self, commit: &CommitId) -> String {
        let output = Command::new("git")
            .args(["rev-list", "--count", commit.as_str()])
            .current_dir(self.generation())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn url(text: &str) -> RepositoryUrl {
    RepositoryUrl::parse(text, &UrlPolicy::default()).unwrap()
}

fn basic(password: &str) -> Credentials {
    Credentials::basic("ann", password).unwrap()
}

#[test]
fn only_the_newest_commit_is_received_at_first() {
    let remote = Remote::plain();
    for number in 2..6 {
        remote.push(&format!("a: {number}\n"));
    }
    let fetched = remote.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, remote.head());
    assert!(fetched.bytes > 0);
    assert_eq!(remote.commits(&fetched.resolved.commit), "1");
    let mirror = remote.mirror(&Credentials::none());
    assert_eq!(mirror.commit(&fetched.resolved.commit).unwrap().parents.len(), 1, "a parent is named, not fetched");
    let tree = mirror.tree(&fetched.resolved.commit, "app", &Default::default()).unwrap();
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 5\n");
}

#[test]
fn nothing_new_costs_one_request_and_no_objects() {
    let remote = Remote::plain();
    remote.fetch("main").unwrap();
    let before = remote.server.requests();
    assert_eq!(remote.fetch("main").unwrap().bytes, 0);
    assert_eq!(remote.server.requests() - before, 1);
    let revisions: Vec<Revision> = ["main", "", "gone"].map(|text| text.parse().unwrap()).into();
    remote.mirror(&Credentials::none()).poll(&revisions, &Limits::default(), &CancellationToken::new()).unwrap();
    assert_eq!(remote.server.requests() - before, 2, "many revisions are one request");
}

#[test]
fn several_pushes_are_told_as_forward_with_their_log() {
    let remote = Remote::plain();
    remote.push("a: 2\n");
    let before = remote.fetch("main").unwrap().resolved.commit;
    for number in 3..6 {
        remote.push(&format!("a: {number}\n"));
    }
    let fetched = remote.fetch("main").unwrap();
    let moved = fetched.moved.unwrap();
    assert_eq!((&moved.from, moved.relation), (&before, Relation::Forward));
    let mirror = remote.mirror(&Credentials::none());
    let log = mirror.log_between(&before, &fetched.resolved.commit, 10).unwrap().unwrap();
    assert_eq!((log.commits.len(), log.more), (3, false));
}

#[test]
fn a_shallow_history_that_was_rewritten_is_told() {
    let remote = Remote::plain();
    for number in 2..5 {
        remote.push(&format!("a: {number}\n"));
    }
    let before = remote.fetch("main").unwrap().resolved.commit;
    remote.repository.reset("HEAD~1").unwrap();
    remote.repository.write("app/a.yaml", "a: 9\n").unwrap();
    remote.repository.commit("rewritten").unwrap();
    remote.repository.force_push().unwrap();
    let fetched = remote.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, remote.head());
    let moved = fetched.moved.unwrap();
    assert_eq!((moved.from.clone(), moved.relation, moved.is_forced()), (before, Relation::Rewritten, true));
    let tree = remote.mirror(&Credentials::none()).tree(&remote.head(), "app", &Default::default()).unwrap();
    assert_eq!(tree.read("app/a.yaml").unwrap(), b"a: 9\n");
}

#[test]
fn a_shallow_branch_that_moved_back_is_told() {
    let remote = Remote::plain();
    let first = remote.head();
    let before = remote.push("a: 2\n");
    remote.fetch("main").unwrap();
    remote.repository.reset("HEAD~1").unwrap();
    remote.repository.force_push().unwrap();
    let fetched = remote.fetch("main").unwrap();
    assert_eq!(fetched.resolved.commit, first);
    let moved = fetched.moved.unwrap();
    assert_eq!((moved.from.clone(), moved.relation, moved.is_forced()), (before, Relation::Backward, true));
}

#[test]
fn a_history_of_another_root_is_told() {
    let remote = Remote::plain();
    let before = remote.fetch("main").unwrap().resolved.commit;
    remote.repository.git(&["checkout", "--quiet", "--orphan", "other"]).unwrap();
    remote.repository.commit("another root").unwrap();
    remote.repository.git(&["branch", "-M", "other", "main"]).unwrap();
    remote.repository.force_push().unwrap();
    let moved = remote.fetch("main").unwrap().moved.unwrap();
    assert_eq!((moved.from, moved.relation), (before, Relation::Rewritten));
}

#[test]
fn branches_and_tags_are_fetched_beside_each_other() {
    let remote = Remote::plain();
    let first = remote.fetch("main").unwrap().resolved.commit;
    remote.repository.branch("feature").unwrap();
    let feature = remote.push("a: feature\n");
    remote.repository.tag("v1.0.0").unwrap();
    let by_tag = remote.fetch("~1.0").unwrap();
    assert_eq!((by_tag.resolved.commit, by_tag.moved), (feature.clone(), None));
    let by_branch = remote.fetch("feature").unwrap();
    assert_eq!((by_branch.resolved.commit, by_branch.bytes), (feature, 0));
    assert_eq!(remote.fetch("main").unwrap().resolved.commit, first);
}

#[test]
fn a_commit_that_is_no_tip_is_found_in_the_whole_history() {
    let remote = Remote::plain();
    let old = remote.head();
    remote.push("a: 2\n");
    remote.fetch("main").unwrap();
    let fetched = remote.fetch(old.as_str()).unwrap();
    assert_eq!(fetched.resolved.commit, old);
    assert!(remote.mirror(&Credentials::none()).tree(&old, "app", &Default::default()).is_ok());
    assert_eq!(remote.fetch("main").unwrap().bytes, 0, "the branch is there too");
}

#[test]
fn a_commit_is_received_alone_where_the_server_gives_it() {
    let remote = Remote::plain();
    let old = remote.push("a: 2\n");
    remote.push("a: 3\n");
    remote.repository.in_bare(&["config", "uploadpack.allowAnySHA1InWant", "true"]).unwrap();
    assert_eq!(remote.fetch(old.as_str()).unwrap().resolved.commit, old);
    assert_eq!(remote.commits(&old), "1");
}

#[test]
fn a_commit_that_does_not_exist_is_searched_for_once() {
    let remote = Remote::plain();
    let unknown = "0123456789012345678901234567890123456789";
    let ask = || {
        let before = remote.server.requests();
        let error = remote.fetch(unknown).unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("RevisionNotFound", false), "{error}");
        remote.server.requests() - before
    };
    assert!(ask() > 1);
    assert_eq!(ask(), 1, "until the repository lists something else");
    remote.push("a: 2\n");
    assert!(ask() > 1);
}

#[test]
fn an_empty_repository_is_called_empty() {
    let remote = Remote::plain();
    remote.server.create_repo("empty").unwrap();
    let error = remote
        .repositories
        .fetch(
            &url(&remote.server.url("empty")),
            &Credentials::none(),
            &Revision::Default,
            &Limits::default(),
            &CancellationToken::new(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("the repository is empty"), "{error}");
}

#[test]
fn right_credentials_are_taken() {
    let remote = Remote::plain();
    remote.server.require(Auth::Basic { user: "ann".to_owned(), password: PASSWORD.to_owned() });
    assert_eq!(remote.fetch_as(&basic(PASSWORD), "main").unwrap().resolved.commit, remote.head());
    remote.server.require(Auth::Bearer { token: PASSWORD.to_owned() });
    let bearer = Credentials::bearer(PASSWORD).unwrap();
    assert_eq!(remote.fetch_as(&bearer, "main").unwrap().resolved.commit, remote.head());
}

#[rstest]
#[case::none(Credentials::none(), "name a Secret with username and password or bearerToken in source.secretRef")]
#[case::wrong_password(basic("wr0ng-secret"), "the server refuses username and password of the Secret")]
#[case::wrong_token(Credentials::bearer("wr0ng-secret").unwrap(), "the server refuses the bearerToken of the Secret")]
fn wrong_credentials_are_refused_soon_and_never_shown(
    #[case] credentials: Credentials,
    #[case] advice: &str,
    #[values(true, false)] basic: bool,
) {
    let remote = Remote::plain();
    remote.server.require(if basic {
        Auth::Basic { user: "ann".to_owned(), password: PASSWORD.to_owned() }
    } else {
        Auth::Bearer { token: PASSWORD.to_owned() }
    });
    let error = remote.fetch_as(&credentials, "main").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("AuthenticationFailed", false), "{error}");
    assert!(error.to_string().contains(advice), "{error}");
    assert!(!format!("{error} {error:?} {credentials:?}").contains("wr0ng"), "{error:?}");
    assert!(remote.server.requests() <= 3, "an answer that was refused is not given again");
}

#[test]
fn credentials_are_nowhere_on_the_disk() {
    let remote = Remote::plain();
    remote.server.require(Auth::Basic { user: "ann".to_owned(), password: PASSWORD.to_owned() });
    remote.fetch_as(&basic(PASSWORD), "main").unwrap();
    let found = Command::new("grep").args(["-r", "-l", PASSWORD]).arg(remote.cache.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let shown = format!("{:?} {:?}", remote.repositories, remote.mirror(&basic(PASSWORD)));
    assert!(!shown.contains(PASSWORD), "{shown}");
}

#[test]
fn a_sha_256_repository_is_refused_with_its_reason() {
    let remote = Remote::plain();
    let bare = remote.repository.bare_path();
    std::fs::remove_dir_all(bare).unwrap();
    std::fs::create_dir(bare).unwrap();
    remote
        .repository
        .in_bare(&["init", "--quiet", "--bare", "--object-format=sha256", "--initial-branch=main"])
        .unwrap();
    let tree = remote.repository.in_bare(&["mktree", "--missing"]).unwrap();
    let commit = remote.repository.in_bare(&["commit-tree", &tree, "-m", "sha256"]).unwrap();
    remote.repository.in_bare(&["update-ref", "refs/heads/main", &commit]).unwrap();
    let file =
        RepositoryUrl::parse(&remote.repository.file_url(), &UrlPolicy { allow_file: true, ..Default::default() });
    for address in [remote.url(), file.unwrap()] {
        let mirror = remote.repositories.mirror(&address, &Credentials::none()).unwrap();
        let error = mirror.fetch(&Revision::Default, &Limits::default(), &CancellationToken::new()).unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("RepositoryUnsupported", false), "{error}");
    }
}

#[rstest]
#[case::not_found(404, "NotFound", false)]
#[case::forbidden(403, "AuthenticationFailed", false)]
#[case::unavailable(503, "Unreachable", true)]
#[case::too_many(429, "Unreachable", true)]
fn a_server_that_fails_is_told_by_its_status(#[case] status: u16, #[case] reason: &str, #[case] transient: bool) {
    let remote = Remote::plain();
    let kept = remote.fetch("main").unwrap().resolved.commit;
    remote.server.fail_with(Some(status));
    let error = remote.fetch("main").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{error}");
    assert!(error.to_string().contains(remote.url().as_str()), "{error}");
    assert!(remote.mirror(&Credentials::none()).tree(&kept, ".", &Default::default()).is_ok(), "what is here stays");
    remote.server.fail_with(None);
    assert_eq!(remote.fetch("main").unwrap().resolved.commit, kept);
}

#[test]
fn a_server_that_is_gone_is_unreachable_until_it_is_back() {
    let mut remote = Remote::plain();
    remote.server.stop();
    let error = remote.fetch("main").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("Unreachable", true), "{error}");
    remote.server.start_again().unwrap();
    assert!(remote.fetch("main").is_ok());
}

#[test]
fn a_page_that_is_not_git_is_told() {
    let address = answer_each("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi".to_owned());
    let error = fetch_from(&format!("http://{address}/shop"), &Credentials::none()).unwrap_err();
    assert_eq!(error.reason(), "NotFound", "{error}");
    assert!(error.to_string().contains("something else than Git"), "{error}");
}

#[test]
fn a_redirect_to_another_host_is_refused_and_sends_no_credentials_there() {
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    let target =
        format!("http://localhost:{}/shop/info/refs?service=git-upload-pack", thief.local_addr().unwrap().port());
    let address = answer_each(format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"));
    for credentials in [basic(PASSWORD), Credentials::bearer(PASSWORD).unwrap()] {
        let error = fetch_from(&format!("http://{address}/shop"), &credentials).unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("UrlRefused", false), "{error}");
        assert!(thief.accept().is_err(), "nobody connects to where the redirect leads");
    }
}

#[test]
fn a_server_that_repeats_the_credentials_does_not_get_them_into_an_error() {
    let line = format!("ERR no access with {PASSWORD}\u{1b}[2J");
    let packet = format!("001e# service=git-upload-pack\n0000{:04x}{line}", line.len() + 4);
    let address = answer_each(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: {}\r\n\r\n{packet}",
        packet.len()
    ));
    let error = fetch_from(&format!("http://{address}/shop"), &Credentials::bearer(PASSWORD).unwrap()).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(error.to_string().contains("no access with ***"), "{error}");
    assert!(!shown.contains(PASSWORD) && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn credentials_do_not_travel_unencrypted_to_other_machines() {
    let error = fetch_from("http://git.example.invalid/shop", &basic(PASSWORD)).unwrap_err();
    assert_eq!(error.reason(), "CredentialsRefused", "{error}");
}

#[test]
fn more_bytes_than_the_limit_are_refused() {
    let remote = Remote::plain();
    let noise: String = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
    remote.push(&noise);
    let limits = Limits { bytes: 10_000, ..Limits::default() };
    let mirror = remote.mirror(&Credentials::none());
    let error = mirror.fetch(&Revision::Default, &limits, &CancellationToken::new()).unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("TooLarge", false), "{error}");
    assert!(error.to_string().contains("limit of 10000 bytes"), "{error}");
}

#[test]
fn a_fetch_waits_for_another_only_until_its_deadline_or_cancellation() {
    let remote = Remote::plain();
    remote.server.delay(Duration::from_secs(2));
    let mirror = remote.mirror(&Credentials::none());
    let cancel = CancellationToken::new();
    std::thread::scope(|scope| {
        scope.spawn(|| remote.fetch("main").unwrap());
        std::thread::sleep(Duration::from_millis(300));
        let short = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
        let error = mirror.fetch(&Revision::Default, &short, &CancellationToken::new()).unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("Timeout", true));
        assert!(error.to_string().starts_with("another fetch of"), "{error}");
        let waiting = scope.spawn(|| mirror.fetch(&Revision::Default, &Limits::default(), &cancel));
        std::thread::sleep(Duration::from_millis(100));
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().reason(), "Cancelled");
    });
}

#[test]
fn a_private_authority_is_trusted_by_the_secret_alone() {
    let remote = Remote::new(GitServer::start_tls().unwrap());
    let error = remote.fetch("main").unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("TlsFailed", false), "{error}");
    assert!(error.to_string().contains("ca.crt"), "{error}");

    let pem = remote.server.authority_pem().unwrap().as_bytes();
    let trusting = Credentials::none().with_ca(pem).unwrap();
    assert_eq!(remote.fetch_as(&trusting, "main").unwrap().resolved.commit, remote.head());

    let error = remote.fetch("main").unwrap_err();
    assert_eq!(error.reason(), "TlsFailed", "one repository's authority is not trusted for another: {error}");

    let other = GitServer::start_tls().unwrap();
    let stranger = Credentials::none().with_ca(other.authority_pem().unwrap().as_bytes()).unwrap();
    let error = remote.fetch_as(&stranger, "main").unwrap_err();
    assert_eq!(error.reason(), "TlsFailed", "{error}");
    assert!(error.to_string().contains("the certificates of the Secret's ca.crt were used"), "{error}");
}

#[test]
fn credentials_and_a_private_authority_go_together() {
    let remote = Remote::new(GitServer::start_tls().unwrap());
    remote.server.require(Auth::Basic { user: "ann".to_owned(), password: PASSWORD.to_owned() });
    let pem = remote.server.authority_pem().unwrap().as_bytes();
    let credentials = basic(PASSWORD).with_ca(pem).unwrap();
    assert!(remote.fetch_as(&credentials, "main").is_ok());
}

/// A server that gives every request the same answer. Returns its address.
fn answer_each(answer: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    address
}

fn fetch_from(text: &str, credentials: &Credentials) -> Result<Fetched, SourceError> {
    let cache = tempfile::tempdir().unwrap();
    let repositories = Repositories::open(cache.path()).unwrap();
    repositories.fetch(&url(text), credentials, &Revision::Default, &Limits::default(), &CancellationToken::new())
}
