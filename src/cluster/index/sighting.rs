//! What the index reads of an object before it forgets the object.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    api::{APPLICATION_ANNOTATION, SET_LABEL},
    cluster::OwnerKey,
    health::{Evidence, Health, OwnChecks},
    manifest::{Fingerprint, GroupVersionKind, ObjectId},
    plan::{IgnoreRule, Membership, Policy, ownership},
};

/// What decides how the objects of an application are read. When it changes,
/// what is known of them is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintPolicy {
    /// How the application's objects are marked, with its field manager.
    pub membership: Membership,
    /// Fields that are left alone.
    pub ignore: Vec<IgnoreRule>,
    /// Managers whose additions count as made by hand.
    pub hand_managers: BTreeSet<String>,
    /// How their health is judged.
    pub checks: OwnChecks,
}

impl FingerprintPolicy {
    /// What of a policy decides how objects are read, and how their health is
    /// judged.
    pub fn new(policy: &Policy, checks: OwnChecks) -> Self {
        Self {
            membership: (*policy.membership).clone(),
            ignore: policy.ignore.clone(),
            hand_managers: policy.hand_managers.clone(),
            checks,
        }
    }

    /// The hash over what the application answers for on one of its objects.
    pub fn fingerprint(&self, object: &Value) -> Option<Fingerprint> {
        let gvk = type_of(object)?;
        let id = Sighting::read(object)?.id(&gvk);
        let ignore: Vec<IgnoreRule> = self.ignore.iter().filter(|rule| rule.concerns(&id)).cloned().collect();
        ownership::fingerprint(object, &self.membership.manager, &ignore, &self.hand_managers)
    }
}

/// What is concluded from an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// Hash over the fields that its application owns; `None` where it owns none.
    pub fingerprint: Option<Fingerprint>,
    /// Its health.
    pub health: Health,
}

/// An object of an application, with what it is assessed by.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The whole object, for this moment only.
    pub object: &'a Value,
    /// The application.
    pub owner: &'a OwnerKey,
    /// How its objects are read.
    pub policy: &'a FingerprintPolicy,
    /// Whether the kind has a status, from discovery.
    pub has_status: Option<bool>,
}

/// How an object of an application is assessed.
pub type Assess = dyn Fn(&Subject<'_>) -> Assessed + Send + Sync;

/// What an object says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// uid.
    pub uid: String,
    /// resourceVersion; 0 where it is no integer, which is never taken as old.
    pub version: u64,
    /// The application that it names.
    pub owner: Option<OwnerKey>,
    /// Value of its set label.
    pub set: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is a Job that completed, or a Pod that succeeded.
    pub done: bool,
}

/// Assesses an object by its ownership, and by the checks of its application and
/// the built-in rules of health.
pub fn assess(subject: &Subject<'_>) -> Assessed {
    let evidence = Evidence { status_subresource: subject.has_status, ..Evidence::default() };
    Assessed {
        fingerprint: subject.policy.fingerprint(subject.object),
        health: subject.policy.checks.assess(subject.object, &evidence),
    }
}

impl Sighting {
    /// Reads an object; `None` where it has no name.
    pub fn read(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let text = |field: &str| metadata.get(field).and_then(Value::as_str);
        Some(Self {
            namespace: text("namespace").unwrap_or_default().to_owned(),
            name: text("name")?.to_owned(),
            uid: text("uid").unwrap_or_default().to_owned(),
            version: text("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0),
            owner: metadata
                .get("annotations")
                .and_then(|annotations| annotations.get(APPLICATION_ANNOTATION))
                .and_then(Value::as_str)
                .and_then(OwnerKey::parse),
            set: metadata
                .get("labels")
                .and_then(|labels| labels.get(SET_LABEL))
                .and_then(Value::as_str)
                .map(str::to_owned),
            deleting: text("deletionTimestamp").is_some(),
            done: is_complete(object),
        })
    }

    /// The identity of the object, which is of this type.
    pub fn id(&self, gvk: &GroupVersionKind) -> ObjectId {
        let namespace = (!self.namespace.is_empty()).then(|| self.namespace.clone());
        ObjectId::new(gvk.group_kind(), namespace, self.name.clone())
    }
}

/// The type of an object.
pub(super) fn type_of(object: &Value) -> Option<GroupVersionKind> {
    GroupVersionKind::from_api_version(object.get("apiVersion")?.as_str()?, object.get("kind")?.as_str()?)
}

fn is_complete(object: &Value) -> bool {
    let Some(gvk) = type_of(object) else { return false };
    if gvk.group.is_empty() && gvk.kind == "Pod" {
        return object.pointer("/status/phase").and_then(Value::as_str) == Some("Succeeded");
    }
    gvk.group == "batch"
        && gvk.kind == "Job"
        && object.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                let field = |name: &str| condition.get(name).and_then(Value::as_str);
                field("type") == Some("Complete") && field("status") == Some("True")
            })
        })
}
