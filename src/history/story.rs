//! Histories for tests, told as a story.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use super::{History, ReleaseNumber};
use crate::{
    api::{
        Cause, CommitRecord, Phase, Release, ReleaseAfter, ReleaseCounts, ReleaseOutcome, ReleaseSpec, RollbackVerdict,
    },
    manifest::{BundleDigest, Digest, InputDigest},
};

/// A history as it comes to be: each word makes or ends a release.
#[derive(Default)]
pub(super) struct Story {
    history: History,
}

impl From<History> for Story {
    fn from(history: History) -> Self {
        Self { history }
    }
}

pub(super) fn story() -> Story {
    Story::default()
}

/// A content by its name: `A` is a bundle and its inputs; `A1<I` is the bundle
/// `A1` rendered from the inputs `I`.
pub(super) fn content(name: &str) -> (BundleDigest, InputDigest) {
    let (bundle, inputs) = name.split_once('<').unwrap_or((name, name));
    (
        BundleDigest(Digest::of(format!("bundle {bundle}").as_bytes())),
        InputDigest(Digest::of(format!("inputs {inputs}").as_bytes())),
    )
}

impl Story {
    pub(super) fn push(self, name: &str) -> Self {
        self.release(Cause::Push, name, |_| {})
    }

    pub(super) fn accept(self, name: &str) -> Self {
        self.release(Cause::Request, name, |spec| spec.accepts = true)
    }

    pub(super) fn rollback_to(self, target: ReleaseNumber) -> Self {
        self.back(Cause::Rollback, target)
    }

    pub(super) fn automatic_rollback_to(self, target: ReleaseNumber) -> Self {
        self.back(Cause::AutomaticRollback, target)
    }

    fn back(self, cause: Cause, target: ReleaseNumber) -> Self {
        let rejects = self.history.rejections_for(target);
        let of = self.history.get(target).unwrap().spec.clone();
        self.release(cause, "", |spec| {
            spec.bundle = of.bundle;
            spec.inputs = of.inputs;
            spec.rollback_to = Some(target);
            spec.rejects = rejects;
            spec.reason = "queue backs up".into();
            if cause == Cause::Rollback {
                spec.requested_by = "ada".into();
            }
        })
    }

    fn release(mut self, cause: Cause, name: &str, adjust: impl FnOnce(&mut ReleaseSpec)) -> Self {
        if self.history.running().is_some() {
            self = self.ends(Phase::Superseded, true);
        }
        let number = self.history.next_number();
        let (bundle, inputs) = content(name);
        let mut spec = ReleaseSpec {
            application: "shop".into(),
            number,
            cause,
            commit: CommitRecord {
                id: format!("{number:040x}"),
                short: format!("{number:07x}"),
                subject: format!("Change {number}"),
                author: "Grace".into(),
                email: "grace@example.com".into(),
                committed_at: None,
                signer: String::new(),
            },
            bundle,
            inputs,
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
            verified: false,
            reason: String::new(),
            request: String::new(),
            previous: self.history.tip(),
            generation: 1,
            created_at: minute(number),
        };
        adjust(&mut spec);
        let labels = BTreeMap::from([("bowline.dev/application".to_owned(), "shop".to_owned())]);
        let metadata = ObjectMeta {
            name: Some(format!("shop-{number}")),
            namespace: Some("team-a".into()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        self.history.put(Release { metadata, spec, status: None });
        self
    }

    pub(super) fn applying(self) -> Self {
        self.change(|release| release.status.get_or_insert_default().phase = Some(Phase::Applying))
    }

    pub(super) fn healthy(self) -> Self {
        self.ends(Phase::Healthy, true)
    }

    pub(super) fn failed(self) -> Self {
        self.ends(Phase::Failed, true)
    }

    /// Failed before the first write.
    pub(super) fn refused(self) -> Self {
        self.ends(Phase::Failed, false)
    }

    /// Healthy, and there was nothing to write.
    pub(super) fn already_there(self) -> Self {
        self.ends(Phase::Healthy, false)
    }

    fn ends(self, phase: Phase, touched_cluster: bool) -> Self {
        self.change(|release| {
            let ended_at = release.spec.created_at;
            let status = release.status.get_or_insert_default();
            status.phase = Some(phase);
            status.outcome = Some(ReleaseOutcome {
                phase,
                message: String::new(),
                failures: Vec::new(),
                written: u32::from(touched_cluster),
                touched_cluster,
                rollback: RollbackVerdict::None,
                durations: crate::api::ReleaseDurations::default(),
                ended_at,
            });
        })
    }

    /// The newest release degrades after its end.
    pub(super) fn degrades(self) -> Self {
        self.change(|release| {
            let at = release.spec.created_at;
            release.status.get_or_insert_default().after =
                Some(ReleaseAfter { degraded_at: Some(at), ..ReleaseAfter::default() });
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Release)) -> Self {
        let mut release = self.history.current().unwrap().clone();
        change(&mut release);
        self.history.put(release);
        self
    }

    pub(super) fn history(self) -> History {
        self.history
    }
}

fn minute(number: ReleaseNumber) -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_mins(i64::try_from(number).unwrap())
}
