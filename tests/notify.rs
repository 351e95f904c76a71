//! Bringing letters to a real HTTP server on loopback.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use bowline::{
    api::NotifyEvent,
    notify::{About, Access, Courier, Delivery, Key, KeyRing, Letter, Reach, Target},
};
use jiff::{SignedDuration, Timestamp};
use rig::{Authority, Posted, Receiver};

const SECRET: &[u8] = b"a key of at least 16 bytes";

/// A key ring with a key, or with nothing.
struct Ring(Option<&'static [u8]>);

impl KeyRing for Ring {
    async fn access(&self) -> Result<Access, String> {
        let key = self.0.map(Key::read).transpose().map_err(|error| error.to_string())?;
        Ok(key.map(|key| Access::default().with_key(key)).unwrap_or_default())
    }
}

fn letter() -> Letter {
    let data = About {
        namespace: "team-a".into(),
        application: "shop".into(),
        message: "release 12 failed: it breaks".into(),
        ..About::default()
    };
    Letter::new(NotifyEvent::Failed, Timestamp::UNIX_EPOCH, &["12"], data)
}

fn loopback() -> Reach {
    Reach::Hosts(vec!["127.0.0.1".into()])
}

/// Brings the letter; what became of it, and why tries failed.
async fn deliver(url: &str, reach: &Reach, ring: &Ring, for_seconds: i64) -> (Delivery, Vec<String>) {
    let target: Target = url.parse().unwrap();
    let until = Timestamp::now() + SignedDuration::from_secs(for_seconds);
    let failures = Mutex::new(Vec::new());
    let failed = |why: &str| failures.lock().unwrap().push(why.to_owned());
    let delivery = Courier::default().deliver(&letter(), &target, reach, ring, until, failed).await;
    (delivery, failures.into_inner().unwrap())
}

fn is_signed(posted: &Posted) -> bool {
    let key = Key::read(SECRET).unwrap();
    let seconds = posted.header("webhook-timestamp").parse().unwrap();
    key.sign(posted.header("webhook-id"), seconds, &posted.body) == posted.header("webhook-signature")
}

#[tokio::test]
async fn a_letter_is_posted_once_and_signed() {
    let receiver = Receiver::start().unwrap();
    let (delivery, failures) = deliver(&receiver.url("/hooks/shop?team=a"), &loopback(), &Ring(Some(SECRET)), 60).await;
    assert_eq!((delivery, failures), (Delivery::Delivered, Vec::new()));
    let posted = receiver.posted();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].path, "/hooks/shop?team=a");
    assert_eq!(posted[0].header("content-type"), "application/json");
    assert_eq!(posted[0].header("webhook-id"), letter().id);
    assert_eq!(posted[0].body, letter().body());
    assert!(is_signed(&posted[0]), "{:?}", posted[0].headers);
}

#[tokio::test]
async fn without_a_key_nothing_is_signed_and_with_a_bad_one_nothing_is_sent() {
    let receiver = Receiver::start().unwrap();
    assert_eq!(deliver(&receiver.url("/"), &loopback(), &Ring(None), 60).await.0, Delivery::Delivered);
    assert_eq!(receiver.posted()[0].header("webhook-signature"), "");
    let (delivery, failures) = deliver(&receiver.url("/"), &loopback(), &Ring(Some(b"short")), 0).await;
    assert_eq!(delivery, Delivery::GivenUp("the key has 5 bytes, and less than 16 can be guessed".into()));
    assert_eq!((failures.len(), receiver.posted().len()), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_refuses_is_asked_again_with_the_same_id_until_it_takes_it() {
    let receiver = Receiver::start().unwrap();
    receiver.answer_with(503);
    let (taken, ring, reach, url) = (Courier::default(), Ring(Some(SECRET)), loopback(), receiver.url("/"));
    let target: Target = url.parse().unwrap();
    let until = Timestamp::now() + SignedDuration::from_secs(120);
    let recovers = |why: &str| {
        assert_eq!(why, format!("{target} answered 503 Service Unavailable"));
        if receiver.posted().len() == 2 {
            receiver.answer_with(204);
        }
    };
    let delivery = taken.deliver(&letter(), &target, &reach, &ring, until, recovers).await;
    assert_eq!(delivery, Delivery::Delivered);
    let posted = receiver.posted();
    assert_eq!(posted.len(), 3, "two refusals and one that went through");
    assert!(posted.iter().all(|posted| posted.header("webhook-id") == letter().id && is_signed(posted)));
}

/// A key ring of what a Secret would hold.
struct Held(BTreeMap<String, Vec<u8>>);

impl KeyRing for Held {
    async fn access(&self) -> Result<Access, String> {
        Access::from_secret(&self.0).map_err(|error| error.to_string())
    }
}

impl Held {
    fn new(entries: &[(&str, &str)]) -> Self {
        Self(entries.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
    }

    /// Tries once.
    async fn deliver(&self, url: &str) -> Delivery {
        let courier = Courier::default();
        courier.deliver(&letter(), &url.parse().unwrap(), &loopback(), self, Timestamp::now(), |_| {}).await
    }
}

#[tokio::test]
async fn a_receiver_with_a_certificate_of_ones_own_authority_is_trusted_by_it_alone_and_shown_a_token() {
    let authority = Authority::new("of the company").unwrap();
    let receiver = Receiver::start_tls(&authority).unwrap();
    let (url, ca) = (receiver.url("/"), authority.certificate_pem());
    let whole = Held::new(&[("ca.crt", ca), ("bearerToken", "let me in\n"), ("key", "a key of at least 16 bytes")]);
    assert!(matches!(whole.deliver(&url).await, Delivery::GivenUp(why) if why.contains("has spaces")));
    let whole = Held::new(&[("ca.crt", ca), ("bearerToken", "let-me-in\n"), ("key", "a key of at least 16 bytes")]);
    assert_eq!(whole.deliver(&url).await, Delivery::Delivered);
    let posted = receiver.posted().remove(0);
    assert_eq!(posted.header("authorization"), "Bearer let-me-in");
    assert!(is_signed(&posted));

    let other = Authority::new("of another").unwrap();
    for entries in
        [&[("bearerToken", "let-me-in")][..], &[("bearerToken", "let-me-in"), ("ca.crt", other.certificate_pem())]]
    {
        let delivery = Held::new(entries).deliver(&url).await;
        assert!(matches!(&delivery, Delivery::GivenUp(why) if why.contains("cannot be connected to")), "{delivery:?}");
    }
    assert_eq!(receiver.posted().len(), 1, "who is not trusted is shown nothing");
}

#[tokio::test]
async fn credentials_do_not_travel_in_the_clear() {
    let receiver = Receiver::start().unwrap();
    let delivery = Held::new(&[("username", "ada"), ("password", "secret")]).deliver(&receiver.url("/")).await;
    assert!(matches!(&delivery, Delivery::GivenUp(why) if why.contains("an https URL is needed")), "{delivery:?}");
    assert!(receiver.posted().is_empty());
}

#[tokio::test]
async fn what_is_of_no_use_any_more_is_given_up() {
    let receiver = Receiver::start().unwrap();
    receiver.answer_with(500);
    let (delivery, failures) = deliver(&receiver.url("/"), &loopback(), &Ring(None), 0).await;
    assert!(matches!(delivery, Delivery::GivenUp(why) if why.ends_with("answered 500 Internal Server Error")));
    assert_eq!((failures.len(), receiver.posted().len()), (1, 1));
}

#[tokio::test]
async fn a_yes_with_a_long_story_is_a_yes() {
    let receiver = Receiver::start().unwrap();
    receiver.answer_with_body("thank you ".repeat(100_000));
    let (delivery, failures) = deliver(&receiver.url("/"), &loopback(), &Ring(None), 0).await;
    assert_eq!((delivery, failures), (Delivery::Delivered, Vec::new()));
    assert_eq!(receiver.posted().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, inner) = (Receiver::start().unwrap(), Receiver::start().unwrap());
    receiver.redirect_to(inner.url("/").leak());
    let (delivery, _) = deliver(&receiver.url("/"), &loopback(), &Ring(None), 0).await;
    assert!(matches!(delivery, Delivery::GivenUp(why) if why.ends_with("answered 307 Temporary Redirect")));
    assert!(inner.posted().is_empty());
}

#[tokio::test]
async fn a_server_of_this_machine_is_not_spoken_to_unless_the_operator_names_it() {
    let receiver = Receiver::start().unwrap();
    let by_name = receiver.url("/").replace("127.0.0.1", "localhost");
    for url in [receiver.url("/"), by_name] {
        let (delivery, _) = deliver(&url, &Reach::Public, &Ring(None), 0).await;
        assert!(
            matches!(&delivery, Delivery::GivenUp(why) if why.contains("is an address of this machine")),
            "{delivery:?}"
        );
    }
    let elsewhere = Reach::Hosts(vec!["hooks.example.com".into()]);
    let (delivery, _) = deliver(&receiver.url("/"), &elsewhere, &Ring(None), 0).await;
    assert!(matches!(&delivery, Delivery::GivenUp(why) if why.contains("--outgoing-hosts")), "{delivery:?}");
    assert!(receiver.posted().is_empty());
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_costs_a_time_out_and_no_more() {
    let receiver = Receiver::start().unwrap();
    receiver.answer_after(Duration::from_secs(40));
    let began = Instant::now();
    let (delivery, _) = deliver(&receiver.url("/"), &loopback(), &Ring(None), 0).await;
    assert!(
        matches!(&delivery, Delivery::GivenUp(why) if why.ends_with("did not answer within 10s")),
        "{delivery:?} after {:?}",
        began.elapsed()
    );
}
