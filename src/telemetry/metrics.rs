//! The metrics of the program, by Prometheus' conventions.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of durations, in seconds: from an apply of one object to a
/// release of thousands.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

type Word = &'static str;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApplicationLabels {
    sync: Word,
    health: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReleaseLabels {
    cause: Word,
    outcome: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    event: Word,
    outcome: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: Word,
    code: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: Word,
}

/// A step on the way from a commit to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A repository is fetched.
    Fetch,
    /// Files are rendered.
    Render,
    /// A plan is made: candidates, live objects, dry-runs, conclusion.
    Plan,
    /// A plan is applied.
    Apply,
}

/// What a deep check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeepCheck {
    /// The object is as it should be.
    Same,
    /// It differs though its fingerprint did not.
    Different,
    /// It could not be compared.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    provider: Word,
    outcome: Word,
}

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    applications: Family<ApplicationLabels, Gauge>,
    releases: Family<ReleaseLabels, Counter>,
    repairs: Family<OutcomeLabels, Counter>,
    deep_checks: Family<OutcomeLabels, Counter>,
    rollbacks: Family<CauseLabels, Counter>,
    notifications: Family<NotificationLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    fetch: Histogram,
    render: Histogram,
    plan: Histogram,
    apply: Histogram,
    fetches: Family<OutcomeLabels, Counter>,
    watches: Family<StatusLabels, Gauge>,
    watch_age: Gauge<f64, AtomicU64>,
    objects: Gauge,
    leader: Gauge,
    history: Gauge,
    history_of: Mutex<HashMap<String, u64>>,
    hooks: Mutex<Vec<Hook>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics of a program of this version, all at zero.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("bowline");
        registry.register(
            "build",
            "The version that runs",
            Info::new(vec![("version".to_owned(), version.to_owned())]),
        );
        let inner = Inner {
            applications: register(&mut registry, "applications", "Applications by sync and health"),
            releases: register(&mut registry, "releases", "Releases that ended, by cause and outcome"),
            repairs: register(&mut registry, "repairs", "Repairs of objects that drifted, by outcome"),
            deep_checks: register(&mut registry, "deep_checks", "Objects compared by deep checks, by outcome"),
            rollbacks: register(&mut registry, "rollbacks", "Rollbacks that began, by cause"),
            notifications: register(
                &mut registry,
                "notifications",
                "Tries to tell somebody of something, by event and outcome",
            ),
            webhooks: register(&mut registry, "webhooks", "Webhooks that were received, by provider and outcome"),
            requests: register(
                &mut registry,
                "api_requests",
                "Requests to the API server, by verb and class of the answer",
            ),
            fetches: register(&mut registry, "fetches", "Fetches of repositories, by outcome"),
            watches: register(&mut registry, "watches", "Watches of applied kinds, by status"),
            objects: register(&mut registry, "live_objects", "Objects that the live index knows"),
            history: {
                let gauge = Gauge::default();
                let help = "How much content of releases is kept in the cluster";
                registry.register_with_unit("history", help, Unit::Bytes, gauge.clone());
                gauge
            },
            history_of: Mutex::default(),
            leader: register(&mut registry, "leader", "Whether this process is the leader"),
            fetch: duration(&mut registry, "fetch_duration", "How long fetching a repository took"),
            render: duration(&mut registry, "render_duration", "How long rendering took"),
            plan: duration(&mut registry, "plan_duration", "How long planning took, with its dry-runs"),
            apply: duration(&mut registry, "apply_duration", "How long applying a plan took"),
            watch_age: {
                let gauge: Gauge<f64, AtomicU64> = Gauge::default();
                let help = "How long ago the quietest watch was last heard of";
                registry.register_with_unit("watch_last_event_age", help, Unit::Seconds, gauge.clone());
                gauge
            },
            hooks: Mutex::default(),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// Sets how many applications there are of each sync and health.
    pub fn set_applications(&self, counts: impl IntoIterator<Item = ((&'static str, &'static str), u32)>) {
        self.0.applications.clear();
        for ((sync, health), count) in counts {
            self.0.applications.get_or_create(&ApplicationLabels { sync, health }).set(i64::from(count));
        }
    }

    /// A release ended.
    pub fn release_ended(&self, cause: &'static str, outcome: &'static str) {
        self.0.releases.get_or_create(&ReleaseLabels { cause, outcome }).inc();
    }

    /// Objects that drifted were repaired, or were not.
    pub fn repaired(&self, outcome: &'static str, objects: u64) {
        self.0.repairs.get_or_create(&OutcomeLabels { outcome }).inc_by(objects);
    }

    /// An object was compared by a deep check.
    pub fn deep_checked(&self, found: DeepCheck) {
        let outcome = match found {
            DeepCheck::Same => "same",
            DeepCheck::Different => "different",
            DeepCheck::Unknown => "unknown",
        };
        self.0.deep_checks.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A rollback began.
    pub fn rollback_began(&self, cause: &'static str) {
        self.0.rollbacks.get_or_create(&CauseLabels { cause }).inc();
    }

    /// Somebody was told of something, or could not be.
    pub fn notified(&self, event: &'static str, outcome: &'static str) {
        self.0.notifications.get_or_create(&NotificationLabels { event, outcome }).inc();
    }

    /// A webhook was received.
    pub fn webhook(&self, provider: &'static str, outcome: &'static str) {
        self.0.webhooks.get_or_create(&WebhookLabels { provider, outcome }).inc();
    }

    /// A request to the API server was answered, or not: code 0.
    pub fn api_request(&self, verb: &'static str, code: u16) {
        self.0.requests.get_or_create(&RequestLabels { verb, code: class(code) }).inc();
    }

    /// A repository was fetched, or could not be.
    pub fn fetched(&self, outcome: &'static str) {
        self.0.fetches.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A step took so long.
    pub fn took(&self, step: Step, duration: Duration) {
        let histogram = match step {
            Step::Fetch => &self.0.fetch,
            Step::Render => &self.0.render,
            Step::Plan => &self.0.plan,
            Step::Apply => &self.0.apply,
        };
        histogram.observe(duration.as_secs_f64());
    }

    /// Sets how many watches there are of each status, and how long ago the
    /// quietest was last heard of.
    pub fn set_watches(&self, counts: impl IntoIterator<Item = (&'static str, u32)>, oldest: Duration) {
        self.0.watches.clear();
        for (status, count) in counts {
            self.0.watches.get_or_create(&StatusLabels { status }).set(i64::from(count));
        }
        self.0.watch_age.set(oldest.as_secs_f64());
    }

    /// Sets how many objects the live index knows.
    pub fn set_live_objects(&self, count: usize) {
        self.0.objects.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets how many bytes of content the releases of an application keep; the
    /// metric is the sum of all.
    pub fn set_history_bytes(&self, application: &str, bytes: u64) {
        self.change_history_bytes(|all| _ = all.insert(application.to_owned(), bytes));
    }

    /// Forgets those of an application that is gone.
    pub fn forget_history_bytes_of(&self, application: &str) {
        self.change_history_bytes(|all| _ = all.remove(application));
    }

    /// Forgets all: somebody else looks after the applications now.
    pub fn forget_history_bytes(&self) {
        self.change_history_bytes(|all| all.clear());
    }

    fn change_history_bytes(&self, change: impl FnOnce(&mut HashMap<String, u64>)) {
        let mut all = self.0.history_of.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let sum = all.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        self.0.history.set(i64::try_from(sum).unwrap_or(i64::MAX));
    }

    /// Sets whether this process is the leader.
    pub fn set_leader(&self, leader: bool) {
        self.0.leader.set(i64::from(leader));
    }

    /// Something that sets gauges when they are about to be read, and only then.
    pub fn before_encoding(&self, hook: impl Fn(&Self) + Send + Sync + 'static) {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// All metrics in the text format of OpenMetrics.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        for hook in self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(self);
        }
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

fn register<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn duration(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(SECONDS);
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

fn class(code: u16) -> Word {
    match code {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics, beginning: &str) -> Vec<String> {
        let text = metrics.encode().unwrap();
        text.lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
    }

    #[test]
    fn names_follow_the_conventions_and_the_text_ends_as_it_should() {
        let metrics = Metrics::new("1.2.3");
        metrics.release_ended("Push", "Healthy");
        metrics.api_request("apply", 409);
        metrics.took(Step::Apply, Duration::from_millis(300));
        metrics.set_leader(true);
        assert_eq!(lines(&metrics, "bowline_build"), vec!["bowline_build_info{version=\"1.2.3\"} 1"]);
        assert_eq!(
            lines(&metrics, "bowline_releases"),
            vec!["bowline_releases_total{cause=\"Push\",outcome=\"Healthy\"} 1"]
        );
        assert_eq!(
            lines(&metrics, "bowline_api_requests"),
            vec!["bowline_api_requests_total{verb=\"apply\",code=\"4xx\"} 1"]
        );
        assert_eq!(
            lines(&metrics, "bowline_apply_duration_seconds_sum"),
            vec!["bowline_apply_duration_seconds_sum 0.3"]
        );
        assert_eq!(lines(&metrics, "bowline_leader"), vec!["bowline_leader 1"]);
        assert!(metrics.encode().unwrap().ends_with("# EOF\n"));
    }

    #[test]
    fn an_application_that_changes_its_state_leaves_the_old_one() {
        let metrics = Metrics::new("0");
        metrics.set_applications([(("Synced", "Healthy"), 2), (("Held", "Healthy"), 1)]);
        metrics.set_applications([(("Synced", "Healthy"), 3)]);
        assert_eq!(
            lines(&metrics, "bowline_applications"),
            vec!["bowline_applications{sync=\"Synced\",health=\"Healthy\"} 3"]
        );
    }

    #[test]
    fn the_bytes_of_all_histories_are_one_number() {
        let metrics = Metrics::new("0");
        metrics.set_history_bytes("team-a/shop", 100);
        metrics.set_history_bytes("team-a/billing", 50);
        metrics.set_history_bytes("team-a/shop", 120);
        assert_eq!(lines(&metrics, "bowline_history"), vec!["bowline_history_bytes 170"]);
        metrics.forget_history_bytes_of("team-a/billing");
        assert_eq!(lines(&metrics, "bowline_history"), vec!["bowline_history_bytes 120"]);
        metrics.forget_history_bytes();
        assert_eq!(lines(&metrics, "bowline_history"), vec!["bowline_history_bytes 0"]);
    }

    #[test]
    fn what_is_costly_is_looked_up_when_it_is_read() {
        let metrics = Metrics::new("0");
        metrics.before_encoding(|metrics| {
            metrics.set_watches([("InSync", 4)], Duration::from_secs(7));
            metrics.set_live_objects(120);
        });
        assert_eq!(lines(&metrics, "bowline_watches"), vec!["bowline_watches{status=\"InSync\"} 4"]);
        assert_eq!(lines(&metrics, "bowline_watch_last"), vec!["bowline_watch_last_event_age_seconds 7.0"]);
        assert_eq!(lines(&metrics, "bowline_live_objects"), vec!["bowline_live_objects 120"]);
    }
}
