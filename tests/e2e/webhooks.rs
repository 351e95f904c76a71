//! A webhook has a push looked at, whatever the interval.

use std::io::{Read as _, Write as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::world::{Controller, Site, Start, Team, config_map, eventually};

const SECRET: &str = "a secret of the test of webhooks";

fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a push of a repository as Gitea would; the status and the text of the answer.
fn announce(address: &str, url: &str, secret: &str) -> (u16, String) {
    let body = json!({"ref": "refs/heads/main", "repository": {"clone_url": url}}).to_string();
    let head = format!(
        "POST /hooks/gitea HTTP/1.1\r\nHost: bowline\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Gitea-Event: push\r\nX-Gitea-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        signature(secret, &body),
        body.len(),
    );
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned())
}

/// Where a controller receives webhooks.
fn hooks_of(controller: &mut Controller) -> String {
    controller.wait_for_log("webhooks are received");
    let log = controller.log();
    log.split("hooks=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_a_webhook_announces_is_deployed_though_the_interval_is_an_hour() {
    let site = Site::new();
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("gitea"), SECRET).unwrap();
    // Arguments are static: the directory is named by this one process alone.
    let directory: &'static str = secrets.path().display().to_string().leak();
    let arguments =
        vec!["--hooks-listen", "127.0.0.1:0", "--hooks-secrets", directory, "--hooks-advertise", "127.0.0.1"];
    let start = Start { arguments, ..Start::default() };
    let mut controller = site.start(&start);
    controller.wait_for_log(" leading ");
    let address = hooks_of(&mut controller);
    let address = address.as_str();
    let team = Team::at(&site, "webhooks").await;
    let push = |value: &str| team.push(value, &[("deploy/one.yaml", config_map("one", value).to_string())]);
    let first = push("one");
    team.deploy_shop(json!({"source": {"interval": "1h"}}));
    team.until_synced("shop", &first).await;

    // The same repository by another URL: on another port, without the ending.
    let url = team.git.url("shop");
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let host = host.split(':').next().unwrap();
    let other = format!("{scheme}://somebody@{host}:1/{}", path.trim_end_matches(".git").to_uppercase());
    let second = push("two");
    assert_eq!(announce(address, &url, "some other secret than that one").0, 401);
    let requests = team.git.requests();
    assert_eq!(
        announce(address, &format!("{scheme}://{host}/another/repository.git"), SECRET),
        (200, "no Application reads this repository by a URL of this host and path".to_owned())
    );
    assert_eq!(team.git.requests(), requests, "nobody looked");
    assert_eq!(announce(address, &other, SECRET), (202, "looks at the repository now".to_owned()));
    team.until_synced("shop", &second).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");

    // Probes and metrics have an address of their own.
    let counted = eventually("the webhooks are counted", async || {
        let counted = controller.metric("bowline_webhooks_total");
        if counted.len() == 3 { Ok(counted) } else { Err(format!("{counted:?}")) }
    })
    .await;
    for outcome in ["unverified", "unknown_repository", "looked"] {
        let line = format!("bowline_webhooks_total{{provider=\"gitea\",outcome=\"{outcome}\"}} 1");
        assert!(counted.contains(&line), "{counted:?}");
    }

    // A Service sends it to any replica: the one that follows hands it over.
    let mut follower = site.start(&start);
    follower.wait_for_log("another replica leads");
    let elsewhere = hooks_of(&mut follower);
    let third = push("three");
    assert_eq!(announce(&elsewhere, &url, "some other secret than that one").0, 401);
    assert_eq!(announce(&elsewhere, &url, SECRET), (202, "looks at the repository now".to_owned()));
    team.until_synced("shop", &third).await;
    assert!(follower.metric("bowline_webhooks_total").iter().any(|line| line.contains("outcome=\"handed_over\"} 1")));
}
