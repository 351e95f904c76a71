//! What an Application changes of what its files say, without a kustomization:
//! patches, then labels and annotations, then images, as Kustomize orders them.
//!
//! Patches are carried out by the real Kustomize; the rest is done here, object
//! by object. A change that reaches nothing is a mistake and refused.

mod images;
mod metadata;
mod patches;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

pub use images::ImageOverride;
pub use patches::Patch;
pub use target::Target;

pub(super) use patches::patch;

use crate::manifest::Problem;

/// What is changed of each object that is rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Touches {
    /// Patches, carried out in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Labels of each object itself, neither of its pods nor of its selectors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of each object itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Images of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageOverride>,
}

impl Touches {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a render depends on by them; none where nothing is changed.
    pub(super) fn inputs(&self) -> Option<Value> {
        if self.is_empty() { None } else { serde_json::to_value(self).ok() }
    }

    /// Changes one object by all but the patches, and notes which of the
    /// images it has.
    pub(super) fn touch(&self, object: &mut Value, images_met: &mut BTreeSet<usize>) {
        metadata::add(object, "labels", &self.labels);
        metadata::add(object, "annotations", &self.annotations);
        images::replace(object, &self.images, images_met);
    }

    /// What is wrong if only these images were met.
    pub(super) fn unmet(&self, images_met: &BTreeSet<usize>) -> Vec<Problem> {
        let unmet = self.images.iter().enumerate().filter(|(index, _)| !images_met.contains(index));
        let problem = |(index, image): (usize, &ImageOverride)| {
            let message = format!("no container has the image {}", image.name);
            Problem::in_file(format!("spec.render.images[{index}]"), message)
                .hint("write the name as the files have it, without tag and digest, or leave this out")
        };
        unmet.map(problem).collect()
    }
}
