//! How long the parts of a release took, for its outcome.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{self, Release, ReleaseDurations};

/// What is known of the release that is running, and of the head that the next
/// one may bring.
#[derive(Debug, Clone, Default)]
pub(super) struct Took {
    /// The commit of the head that was fetched last.
    head: String,
    fetch: Option<Duration>,
    render: Option<Duration>,
    plan: Option<Duration>,
    apply: Option<Duration>,
    /// Whether the running release brings the head.
    of_head: bool,
}

impl Took {
    /// A commit is the head. One that is looked at again was fetched before.
    pub(super) fn fetched(&mut self, commit: String, took: Duration) {
        if self.head != commit {
            (self.head, self.fetch, self.render) = (commit, Some(took), None);
        }
    }

    /// The head was rendered.
    pub(super) fn rendered(&mut self, took: Duration) {
        self.render = Some(took);
    }

    /// A release begins, with the content of this commit of the head or, as
    /// rollbacks do, with other content.
    pub(super) fn begun(&mut self, commit_of_head: Option<&str>) {
        self.of_head = commit_of_head.is_some_and(|commit| commit == self.head);
        (self.plan, self.apply) = (None, None);
    }

    /// A plan was made.
    pub(super) fn planned(&mut self, took: Duration) {
        self.plan = Some(self.plan.unwrap_or_default() + took);
    }

    /// Something was written.
    pub(super) fn applied(&mut self, took: Duration) {
        self.apply = Some(self.apply.unwrap_or_default() + took);
    }

    /// What the outcome of a release says that ends now.
    pub(super) fn durations(&self, release: &Release, now: Timestamp) -> ReleaseDurations {
        let applied_at = release.status.as_ref().and_then(|status| status.applied_at);
        let health = applied_at.and_then(|applied| Duration::try_from(now.duration_since(applied)).ok());
        let of_head = |took: Option<Duration>| took.filter(|_| self.of_head).map(api::Duration::measured);
        ReleaseDurations {
            fetch: of_head(self.fetch),
            render: of_head(self.render),
            plan: self.plan.map(api::Duration::measured),
            apply: self.apply.map(api::Duration::measured),
            health: health.map(api::Duration::measured),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A release that has ended at a second, and whose objects had all been
    /// written some seconds before.
    fn release(applied_at: Option<i64>) -> Release {
        let spec = serde_json::from_value(serde_json::json!({
            "application": "shop", "number": 1, "cause": "Push", "commit": { "id": "c1", "short": "c1" },
            "bundle": crate::manifest::BundleDigest(crate::manifest::Digest::of(b"b")),
            "inputs": crate::manifest::InputDigest(crate::manifest::Digest::of(b"i")),
            "counts": {}, "createdAt": Timestamp::UNIX_EPOCH,
        }));
        let mut release = Release::new("shop-1", spec.unwrap());
        let status = release.status.get_or_insert_default();
        status.applied_at = applied_at.map(|second| Timestamp::from_second(second).unwrap());
        release
    }

    fn told(took: &Took, release: &Release) -> String {
        let now = Timestamp::from_second(20).unwrap();
        serde_json::to_string(&took.durations(release, now)).unwrap()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_part_is_told_and_tries_are_added_up() {
        let mut took = Took::default();
        took.fetched("c1".into(), seconds(1));
        took.rendered(seconds(2));
        took.begun(Some("c1"));
        took.planned(seconds(3));
        took.planned(seconds(4));
        took.applied(seconds(1));
        took.applied(seconds(1));
        // Looked at again, the commit was not fetched again.
        took.fetched("c1".into(), seconds(9));
        let told = told(&took, &release(Some(15)));
        assert_eq!(told, r#"{"fetch":"1s","render":"2s","plan":"7s","apply":"2s","health":"5s"}"#);
    }

    #[test]
    fn a_rollback_fetches_and_renders_nothing() {
        let mut took = Took::default();
        took.fetched("c1".into(), seconds(1));
        took.rendered(seconds(2));
        took.planned(seconds(9));
        took.begun(None);
        took.planned(seconds(1));
        assert_eq!(told(&took, &release(None)), r#"{"plan":"1s"}"#);
    }

    #[test]
    fn after_a_restart_nothing_is_made_up() {
        assert_eq!(told(&Took::default(), &release(Some(19))), r#"{"health":"1s"}"#);
    }
}
