//! What each provider sends, and what is not taken.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use axum::http::Request;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt as _;

use super::*;

const SECRET: &str = "correct horse battery";
const OTHER: &str = "incorrect horse batt.";

fn hmac(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a provider would send.
fn signed(provider: &str, event: &str, body: &[u8], secret: &str) -> Request<Body> {
    let signature = hmac(secret, body);
    let prefixed = format!("sha256={signature}");
    let request = Request::post(format!("/hooks/{provider}")).header("content-type", "application/json");
    let request = match provider {
        "github" => request.header("X-GitHub-Event", event).header("X-Hub-Signature-256", prefixed),
        "gitlab" => request.header("X-Gitlab-Event", event).header("X-Gitlab-Token", secret),
        "gitea" => request.header("X-Gitea-Event", event).header("X-Gitea-Signature", signature),
        "forgejo" => request.header("X-Forgejo-Event", event).header("X-Forgejo-Signature", signature),
        "bitbucket" => request.header("X-Event-Key", event).header("X-Hub-Signature", prefixed),
        _ => request.header("X-Bowline-Signature-256", prefixed),
    };
    request.body(Body::from(body.to_vec())).unwrap()
}

struct World {
    router: Router,
    leader: Arc<Mutex<Option<SocketAddr>>>,
    announced: Arc<Mutex<Vec<Announced>>>,
    metrics: Metrics,
    secrets: tempfile::TempDir,
}

impl World {
    /// All providers have the secret; so many repositories are looked at.
    fn new(looked: Option<usize>) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        for provider in Provider::ALL {
            let lines = format!("another secret of old\n{SECRET}\n");
            std::fs::write(secrets.path().join(provider.as_str()), lines).unwrap();
        }
        let announced: Arc<Mutex<Vec<Announced>>> = Arc::default();
        let metrics = Metrics::new("1.2.3");
        let look_now: LookNow = Arc::new({
            let announced = announced.clone();
            move |now| {
                announced.lock().unwrap().extend(now.iter().cloned());
                looked
            }
        });
        let leader: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let known = leader.clone();
        let hooks = Hooks {
            secrets: secrets.path().to_owned(),
            look_now,
            leader: Arc::new(move || *known.lock().unwrap()),
            metrics: metrics.clone(),
        };
        Self { router: router(hooks), leader, announced, metrics, secrets }
    }

    async fn send(&self, request: Request<Body>) -> (u16, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn announced(&self) -> Vec<String> {
        let words = |one: &Announced| match one {
            Announced::Url(url) => url.clone(),
            Announced::Path(path) => format!("path {path}"),
        };
        self.announced.lock().unwrap().iter().map(words).collect()
    }
}

fn github() -> Value {
    json!({"ref": "refs/heads/main", "repository": {"full_name": "acme/shop", "html_url": "https://github.com/acme/shop",
        "clone_url": "https://github.com/acme/shop.git", "ssh_url": "git@github.com:acme/shop.git"}})
}

fn gitlab() -> Value {
    json!({"object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "project": {
        "web_url": "https://gitlab.com/acme/shop", "git_http_url": "https://gitlab.com/acme/shop.git",
        "git_ssh_url": "git@gitlab.com:acme/shop.git"}})
}

fn bitbucket_cloud() -> Value {
    json!({"push": {"changes": []}, "repository": {"full_name": "acme/shop",
        "links": {"html": {"href": "https://bitbucket.org/acme/shop"}}}})
}

fn bitbucket_data_center() -> Value {
    json!({"eventKey": "repo:refs_changed", "repository": {"slug": "shop", "project": {"key": "ACME"}}})
}

#[rstest]
#[case::github("github", "push", github(), &["https://github.com/acme/shop.git", "git@github.com:acme/shop.git", "https://github.com/acme/shop"])]
#[case::github_tag("github", "create", github(), &["https://github.com/acme/shop.git", "git@github.com:acme/shop.git", "https://github.com/acme/shop"])]
#[case::gitlab("gitlab", "Push Hook", gitlab(), &["https://gitlab.com/acme/shop.git", "git@gitlab.com:acme/shop.git", "https://gitlab.com/acme/shop"])]
#[case::gitlab_tag("gitlab", "Tag Push Hook", gitlab(), &["https://gitlab.com/acme/shop.git", "git@gitlab.com:acme/shop.git", "https://gitlab.com/acme/shop"])]
#[case::gitlab_system("gitlab", "System Hook", gitlab(), &["https://gitlab.com/acme/shop.git", "git@gitlab.com:acme/shop.git", "https://gitlab.com/acme/shop"])]
#[case::gitea("gitea", "push", github(), &["https://github.com/acme/shop.git", "git@github.com:acme/shop.git", "https://github.com/acme/shop"])]
#[case::forgejo("forgejo", "push", github(), &["https://github.com/acme/shop.git", "git@github.com:acme/shop.git", "https://github.com/acme/shop"])]
#[case::bitbucket("bitbucket", "repo:push", bitbucket_cloud(), &["https://bitbucket.org/acme/shop"])]
#[case::bitbucket_data_center("bitbucket", "repo:refs_changed", bitbucket_data_center(), &["path ACME/shop"])]
#[case::generic("generic", "", json!({"repository": "https://git.example.com/shop.git"}), &["https://git.example.com/shop.git"])]
#[case::generic_many("generic", "", json!({"repositories": ["https://a.example/a", "https://a.example/b"]}), &["https://a.example/a", "https://a.example/b"])]
#[tokio::test]
async fn a_push_has_its_repository_looked_at(
    #[case] provider: &str,
    #[case] event: &str,
    #[case] payload: Value,
    #[case] announced: &[&str],
) {
    let world = World::new(Some(1));
    let answer = world.send(signed(provider, event, payload.to_string().as_bytes(), SECRET)).await;
    assert_eq!(answer, (202, "looks at the repository now\n".to_owned()));
    assert_eq!(world.announced(), announced);
    let name = if provider == "forgejo" { "gitea" } else { provider };
    let line = format!("bowline_webhooks_total{{provider=\"{name}\",outcome=\"looked\"}} 1");
    assert!(world.metrics.encode().unwrap().contains(&line), "{}", world.metrics.encode().unwrap());
}

#[rstest]
#[case::github("github", "push", github())]
#[case::gitlab("gitlab", "Push Hook", gitlab())]
#[case::gitea("gitea", "push", github())]
#[case::forgejo("forgejo", "push", github())]
#[case::bitbucket("bitbucket", "repo:push", bitbucket_cloud())]
#[case::generic("generic", "", json!({"repository": "https://git.example.com/shop.git"}))]
#[tokio::test]
async fn nothing_is_done_before_verification(#[case] provider: &str, #[case] event: &str, #[case] payload: Value) {
    let world = World::new(Some(1));
    let body = payload.to_string();
    let unsigned = Request::post(format!("/hooks/{provider}")).body(Body::from(body.clone())).unwrap();
    let mut changed = signed(provider, event, body.as_bytes(), SECRET);
    // GitLab sends the secret itself: what is changed there is the token.
    if provider == "gitlab" {
        let longer = format!("{SECRET}!");
        changed.headers_mut().insert("X-Gitlab-Token", longer.parse().unwrap());
    } else {
        *changed.body_mut() = Body::from(body.replace("shop", "shoq"));
    }
    for request in [unsigned, changed, signed(provider, event, body.as_bytes(), OTHER)] {
        assert_eq!(world.send(request).await.0, 401);
    }
    // Not even what is no JSON is told to somebody without the secret.
    assert_eq!(world.send(signed(provider, event, b"{", OTHER)).await.0, 401);
    assert_eq!(world.announced(), Vec::<String>::new());
}

#[rstest]
#[case::other_algorithm("sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709")]
#[case::no_prefix("da39a3ee5e6b4b0d3255bfef95601890afd80709")]
#[case::empty("sha256=")]
#[case::odd("sha256=abc")]
#[case::no_hex("sha256=zz")]
#[case::short("sha256=da39")]
#[tokio::test]
async fn a_signature_that_is_none_verifies_nothing(#[case] signature: &str) {
    let world = World::new(Some(1));
    let request =
        Request::post("/hooks/github").header("X-GitHub-Event", "push").header("X-Hub-Signature-256", signature);
    assert_eq!(world.send(request.body(Body::from(github().to_string())).unwrap()).await.0, 401);
}

#[rstest]
#[case::github("github", "ping", "{}", 200, "pong")]
#[case::github_issue("github", "issues", "{}", 200, "nothing to do")]
#[case::gitlab_issue("gitlab", "Issue Hook", "{}", 200, "nothing to do")]
#[case::gitlab_user("gitlab", "System Hook", r#"{"event_name": "user_create"}"#, 200, "nothing to do")]
#[case::bitbucket_test("bitbucket", "diagnostics:ping", "{\"test\": true}", 200, "pong")]
#[case::bitbucket_comment("bitbucket", "pullrequest:comment_created", "{}", 200, "nothing to do")]
#[case::no_json("github", "push", "{", 400, "the body is no JSON")]
#[case::empty("github", "push", "", 400, "the body is no JSON")]
#[case::another_shape("github", "push", "[]", 400, "names no repository: repository.clone_url")]
#[case::no_repository("github", "push", "{\"repository\": {\"clone_url\": 7}}", 400, "names no repository")]
#[case::gitlab_none("gitlab", "Push Hook", "{\"project\": null}", 400, "project.git_http_url")]
#[case::bitbucket_none("bitbucket", "repo:push", "{\"repository\": {\"slug\": \"shop\"}}", 400, "repository.slug")]
#[case::generic_none("generic", "", "{\"repository\": \"\"}", 400, "{\"repository\": \"URL\"}")]
#[case::generic_text("generic", "", "\"https://git.example.com/shop\"", 400, "{\"repository\": \"URL\"}")]
#[tokio::test]
async fn what_is_no_push_is_answered_in_words(
    #[case] provider: &str,
    #[case] event: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] words: &str,
) {
    let world = World::new(Some(1));
    let answer = world.send(signed(provider, event, body.as_bytes(), SECRET)).await;
    assert_eq!(answer.0, status, "{answer:?}");
    assert!(answer.1.contains(words), "{answer:?}");
    assert_eq!(world.announced(), Vec::<String>::new());
}

#[tokio::test]
async fn a_form_says_how_to_set_the_webhook_up() {
    let world = World::new(Some(1));
    let mut request = signed("github", "push", b"payload=%7B%7D", SECRET);
    request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let answer = world.send(request).await;
    assert_eq!(answer.0, 400);
    assert!(answer.1.contains("set the webhook's content type to application/json"), "{answer:?}");
}

#[tokio::test]
async fn a_webhook_without_its_event_names_the_header() {
    let world = World::new(Some(1));
    let mut request = signed("github", "push", github().to_string().as_bytes(), SECRET);
    request.headers_mut().remove("X-GitHub-Event");
    assert_eq!(world.send(request).await, (400, "the header x-github-event is missing\n".to_owned()));
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read_and_while_it_comes() {
    let world = World::new(Some(1));
    let large = vec![b' '; BODY + 1];
    let told = Request::post("/hooks/github").header("content-length", large.len()).body(Body::empty()).unwrap();
    assert_eq!(world.send(told).await.0, 413, "by its length alone");
    assert_eq!(world.send(signed("github", "push", &large, SECRET)).await.0, 413, "though it is signed");
    assert!(world.metrics.encode().unwrap().contains("outcome=\"too_large\"} 2"));
}

#[tokio::test]
async fn only_providers_that_have_a_secret_are_taken() {
    let world = World::new(Some(1));
    let directory = world.secrets.path();
    std::fs::remove_file(directory.join("github")).unwrap();
    std::fs::write(directory.join("gitlab"), "short").unwrap();
    let push = github().to_string();
    assert_eq!(world.send(signed("github", "push", push.as_bytes(), SECRET)).await.0, 404);
    assert_eq!(world.send(signed("sourceforge", "push", push.as_bytes(), SECRET)).await.0, 404);
    let answer = world.send(signed("gitlab", "Push Hook", gitlab().to_string().as_bytes(), "short")).await;
    assert_eq!(answer, (503, "the secret cannot be read; see the controller's log\n".to_owned()));
    let get = Request::get("/hooks/gitea").body(Body::empty()).unwrap();
    assert_eq!(world.send(get).await.0, 405);
    assert_eq!(world.announced(), Vec::<String>::new());
}

#[rstest]
#[case::nobody_reads_it(Some(0), 200, "no Application reads this repository")]
#[case::two_ways(Some(2), 202, "by 2 URLs or credentials")]
#[case::another_leads(None, 503, "another replica leads")]
#[tokio::test]
async fn who_sent_it_is_told_what_comes_of_it(#[case] looked: Option<usize>, #[case] status: u16, #[case] words: &str) {
    let world = World::new(looked);
    let answer = world.send(signed("github", "push", github().to_string().as_bytes(), SECRET)).await;
    assert_eq!(answer.0, status);
    assert!(answer.1.contains(words), "{answer:?}");
}

/// Serves the webhooks of a replica on a port of its own.
async fn served(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[rstest]
#[case::github("github", "push", github())]
#[case::gitlab("gitlab", "Push Hook", gitlab())]
#[case::forgejo("forgejo", "push", github())]
#[case::bitbucket("bitbucket", "repo:push", bitbucket_cloud())]
#[case::generic("generic", "", json!({"repository": "https://git.example.com/shop.git"}))]
#[tokio::test]
async fn a_replica_that_does_not_lead_hands_it_to_the_one_that_does(
    #[case] provider: &str,
    #[case] event: &str,
    #[case] payload: Value,
) {
    let (leading, following) = (World::new(Some(2)), World::new(None));
    *following.leader.lock().unwrap() = Some(served(&leading).await);
    let answer = following.send(signed(provider, event, payload.to_string().as_bytes(), SECRET)).await;
    assert_eq!(answer, (202, "looks at the repository now, by 2 URLs or credentials\n".to_owned()));
    assert_eq!(leading.announced(), following.announced(), "it arrives as it came");
    assert!(following.metrics.encode().unwrap().contains("outcome=\"handed_over\"} 1"));
    assert!(leading.metrics.encode().unwrap().contains("outcome=\"looked\"} 1"));
}

#[tokio::test]
async fn nothing_is_handed_over_that_is_not_verified_and_the_leader_verifies_again() {
    let (leading, following) = (World::new(Some(1)), World::new(None));
    *following.leader.lock().unwrap() = Some(served(&leading).await);
    let push = github().to_string();
    assert_eq!(following.send(signed("github", "push", push.as_bytes(), OTHER)).await.0, 401);
    assert!(!leading.metrics.encode().unwrap().contains("bowline_webhooks_total{"), "it heard of nothing");
    // The leader has another secret: its word counts.
    std::fs::write(leading.secrets.path().join("github"), OTHER).unwrap();
    assert_eq!(following.send(signed("github", "push", push.as_bytes(), SECRET)).await.0, 401);
    assert_eq!(leading.announced(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_handed_over_goes_no_further_and_a_leader_that_is_gone_is_said() {
    let (one, other) = (World::new(None), World::new(None));
    *one.leader.lock().unwrap() = Some(served(&other).await);
    *other.leader.lock().unwrap() = Some(served(&one).await);
    let push = github().to_string();
    let answer = one.send(signed("github", "push", push.as_bytes(), SECRET)).await;
    assert_eq!(answer, (503, "another replica leads; try again\n".to_owned()));
    assert_eq!(one.announced().len(), 3, "it did not come back");
    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    *one.leader.lock().unwrap() = Some(closed);
    assert_eq!(one.send(signed("github", "push", push.as_bytes(), SECRET)).await.0, 503);
    assert!(one.metrics.encode().unwrap().contains("outcome=\"not_leading\"} 1"));
}
