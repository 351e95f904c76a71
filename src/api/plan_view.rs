//! A plan as people and programs read it: masked, and of bounded size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    manifest::{BundleDigest, ObjectId, ObjectKey, PlanDigest},
    plan::Verb,
};

/// A plan, masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Digest of the plan: what an approval names.
    pub digest: PlanDigest,
    /// The content that it brings.
    pub bundle: BundleDigest,
    /// The commit of that content, if it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The release whose content it brings, for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_release: Option<u64>,
    /// The actions in their order; cut short where `omitted` is not zero.
    #[serde(default)]
    pub actions: Vec<ActionView>,
    /// How many actions were left out because the whole is too large.
    #[serde(default)]
    pub omitted: u32,
    /// How many objects stay as they are.
    #[serde(default)]
    pub unchanged: u32,
    /// What each stage waits for, in words; empty where it begins at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// Why the plan as a whole cannot be carried out, if so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    /// What the person who reads it should know before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An action, masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionView {
    /// What it does.
    pub verb: Verb,
    /// API group of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What changes, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChangeView>,
    /// Stage of the plan, from 0.
    #[serde(default)]
    pub stage: u32,
}

impl ActionView {
    /// The identity of the object.
    pub fn id(&self) -> ObjectId {
        ObjectId::of(ObjectKey {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        })
    }
}

/// A change of a field, masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChangeView {
    /// Where, for people: `spec.template.spec.containers[web].image`.
    pub path: String,
    /// The value before as JSON, masked; none if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The value after as JSON, masked; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
