//! Applications, releases and plans for tests, made by hand.
#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use serde_json::json;

use crate::{
    api::{
        ActionView, Application, ApplicationStatus, Cause, CommitRecord, FieldChangeView, Head, Phase, PlanView,
        Release, ReleaseCounts, ReleaseOutcome, ReleaseSpec, ReleaseStatus, RollbackVerdict, SyncStatus,
    },
    health::HealthStatus,
    history::release_digest,
    manifest::{BundleDigest, Digest, InputDigest, PlanDigest},
    plan::Verb,
};

/// Now, in tests.
pub const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

/// A while ago.
pub fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}

/// Text without colours.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// An Application without a status.
pub fn application(namespace: &str, name: &str) -> Application {
    let spec = json!({ "source": { "repoURL": "https://git.example/shop.git", "revision": "main" } });
    let mut application = Application::new(name, serde_json::from_value(spec).unwrap());
    application.metadata.namespace = Some(namespace.to_owned());
    application.metadata.generation = Some(1);
    application.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ago(86_400)));
    application
}

/// An Application with a status that is as it should be, to be adjusted.
pub fn with_status(name: &str, adjust: impl FnOnce(&mut ApplicationStatus)) -> Application {
    let mut application = application("team-a", name);
    let mut status = ApplicationStatus {
        observed_generation: Some(1),
        sync: Some(SyncStatus::Synced),
        health: Some(HealthStatus::Healthy),
        head: Some(head("main 4f1c2d9", "Scale web to 4")),
        conditions: vec![ready("True", 180)],
        ..ApplicationStatus::default()
    };
    adjust(&mut status);
    application.status = Some(status);
    application
}

/// The condition Ready as it has been for some seconds.
pub fn ready(status: &str, seconds: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
        type_: "Ready".into(),
        status: status.into(),
        reason: "Synced".into(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ago(seconds)),
    }
}

/// What a revision resolves to.
pub fn head(short: &str, subject: &str) -> Head {
    Head {
        short: short.into(),
        commit: "4f1c2d9aa00".into(),
        subject: subject.into(),
        author: "grace".into(),
        committed_at: Some(ago(240)),
        bundle: Some(bundle(short)),
        inputs: None,
    }
}

/// A bundle by its name.
pub fn bundle(name: &str) -> BundleDigest {
    BundleDigest(Digest::of(name.as_bytes()))
}

/// Releases of one application as they come to be, the oldest first.
#[derive(Default)]
pub struct Releases {
    releases: Vec<Release>,
    application: String,
}

impl Releases {
    pub fn of(application: &str) -> Self {
        Self { releases: Vec::new(), application: application.into() }
    }

    /// A release that was made some seconds ago.
    pub fn release(mut self, seconds: i64, adjust: impl FnOnce(&mut ReleaseSpec)) -> Self {
        let number = self.releases.last().map_or(1, |release| release.spec.number + 1);
        let mut spec = ReleaseSpec {
            application: self.application.clone(),
            number,
            cause: Cause::Push,
            commit: CommitRecord {
                id: format!("{number:040x}"),
                short: format!("{number:07x}"),
                subject: format!("Change {number}"),
                author: "grace".into(),
                email: "grace@example.com".into(),
                committed_at: Some(ago(seconds + 60)),
                signer: String::new(),
            },
            bundle: bundle(&number.to_string()),
            inputs: InputDigest(Digest::of(number.to_string().as_bytes())),
            renderer: String::new(),
            counts: ReleaseCounts::default(),
            plan: None,
            rollback_to: None,
            rejects: Vec::new(),
            accepts: false,
            include: Vec::new(),
            prune: None,
            application_uid: String::new(),
            requested_by: String::new(),
            verified: true,
            reason: String::new(),
            request: String::new(),
            previous: self.releases.last().and_then(release_digest),
            generation: 1,
            created_at: ago(seconds),
        };
        adjust(&mut spec);
        let metadata = ObjectMeta {
            name: Some(format!("{}-{number}", self.application)),
            namespace: Some("team-a".into()),
            ..ObjectMeta::default()
        };
        self.releases.push(Release { metadata, spec, status: None });
        self
    }

    /// The newest release is in this phase.
    pub fn phase(mut self, phase: Phase) -> Self {
        let release = self.releases.last_mut().unwrap();
        release.status.get_or_insert_default().phase = Some(phase);
        self
    }

    /// The newest release ended after some seconds.
    pub fn ended(mut self, phase: Phase, after: i64, message: &str) -> Self {
        let release = self.releases.last_mut().unwrap();
        let outcome = ReleaseOutcome {
            phase,
            message: message.into(),
            failures: Vec::new(),
            written: 3,
            touched_cluster: true,
            rollback: RollbackVerdict::None,
            durations: crate::api::ReleaseDurations::default(),
            ended_at: release.spec.created_at + SignedDuration::from_secs(after),
        };
        let status = release.status.get_or_insert_default();
        status.phase = Some(phase);
        status.outcome = Some(outcome);
        self
    }

    /// The status of the newest release, to be adjusted.
    pub fn status(mut self, adjust: impl FnOnce(&mut ReleaseStatus)) -> Self {
        adjust(self.releases.last_mut().unwrap().status.get_or_insert_default());
        self
    }

    /// The releases from a number on: older ones were trimmed.
    pub fn from(self, number: u64) -> Vec<Release> {
        self.releases.into_iter().filter(|release| release.spec.number >= number).collect()
    }
}

/// A plan of these actions.
pub fn plan(actions: Vec<ActionView>, unchanged: u32) -> PlanView {
    PlanView {
        digest: PlanDigest(Digest::of(b"plan")),
        bundle: bundle("plan"),
        commit: "51e0c3a".into(),
        to_release: Some(30),
        actions,
        omitted: 0,
        unchanged,
        stages: Vec::new(),
        refusals: Vec::new(),
        notes: Vec::new(),
    }
}

/// An action on an object of the namespace `team-a`.
pub fn action(verb: Verb, kind: &str, name: &str, reason: &str) -> ActionView {
    ActionView {
        verb,
        group: String::new(),
        kind: kind.into(),
        namespace: Some("team-a".into()),
        name: name.into(),
        reason: reason.into(),
        changes: Vec::new(),
        stage: 0,
    }
}

/// A change of a field.
pub fn changed(path: &str, before: Option<&str>, after: Option<&str>) -> FieldChangeView {
    FieldChangeView { path: path.into(), before: before.map(Into::into), after: after.map(Into::into) }
}

impl ActionView {
    pub(in crate::cli) fn with(mut self, changes: Vec<FieldChangeView>) -> Self {
        self.changes = changes;
        self
    }

    pub(in crate::cli) fn stage(mut self, stage: u32) -> Self {
        self.stage = stage;
        self
    }
}
