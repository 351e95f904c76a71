//! What differs between the content of two releases, object by object.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    manifest::{Manifest, ObjectId, pairs},
    plan::{FieldChange, compared},
};

/// What differs between two bundles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// The objects that differ or were moved, by identity.
    pub objects: Vec<ObjectDifference>,
    /// How many objects are the same in both, wherever they were read.
    pub unchanged: usize,
}

/// How one object differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectDifference {
    /// The object.
    pub id: ObjectId,
    /// On which side it is.
    pub side: Side,
    /// Its fields that differ; all of its top fields where it is on one side
    /// only, and none where it only moved.
    pub changes: Vec<FieldChange>,
    /// The files in which it was read, where they are not the same: before and after.
    pub moved: Option<(String, String)>,
}

/// On which side of a comparison an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Only after.
    Added,
    /// Only before.
    Removed,
    /// On both.
    Both,
}

/// Compares two bundles.
pub fn compare(before: &[Arc<Manifest>], after: &[Arc<Manifest>]) -> Comparison {
    let mut comparison = Comparison::default();
    for pair in pairs(sorted(before), sorted(after)) {
        let difference = match pair {
            (Some(old), Some(new)) => both(old, new),
            (Some(old), None) => Some(one_sided(old, Side::Removed)),
            (None, Some(new)) => Some(one_sided(new, Side::Added)),
            (None, None) => None,
        };
        let same =
            difference.as_ref().is_none_or(|difference| difference.side == Side::Both && difference.changes.is_empty());
        comparison.unchanged += usize::from(same);
        comparison.objects.extend(difference);
    }
    comparison
}

fn sorted(manifests: &[Arc<Manifest>]) -> Vec<&Arc<Manifest>> {
    let mut sorted: Vec<_> = manifests.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    sorted
}

fn both(old: &Manifest, new: &Manifest) -> Option<ObjectDifference> {
    let file = |manifest: &Manifest| manifest.origin.as_ref().map(|origin| origin.file.clone());
    let moved = file(old).zip(file(new)).filter(|(old, new)| old != new);
    let same = old.digest == new.digest;
    let changes = if same { Vec::new() } else { compared(&old.value.read(), &new.value.read()) };
    let differs = !changes.is_empty() || moved.is_some();
    differs.then(|| ObjectDifference { id: old.id.clone(), side: Side::Both, changes, moved })
}

fn one_sided(manifest: &Manifest, side: Side) -> ObjectDifference {
    let value = manifest.value.read();
    let changes = match side {
        Side::Removed => compared(&value, &Value::Null),
        Side::Added | Side::Both => compared(&Value::Null, &value),
    };
    ObjectDifference { id: manifest.id.clone(), side, changes, moved: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::{Origin, Scope};

    fn map(name: &str, file: &str, data: &Value) -> Arc<Manifest> {
        let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
        let origin = Some(Origin::new(file, None));
        Arc::new(Manifest::from_value(value, Some("team-a"), Scope::Namespaced, origin).unwrap())
    }

    fn told(comparison: &Comparison) -> Vec<String> {
        let told = |object: &ObjectDifference| {
            let fields: Vec<&str> = object.changes.iter().map(|change| change.path.as_str()).collect();
            let moved = object.moved.as_ref().map(|(from, to)| format!(" {from} -> {to}")).unwrap_or_default();
            format!("{:?} {} {}{moved}", object.side, object.id.name, fields.join(","))
        };
        comparison.objects.iter().map(told).collect()
    }

    #[test]
    fn objects_are_added_removed_changed_and_moved() {
        let before = [
            map("changed", "a.yaml", &json!({ "x": "1", "y": "1" })),
            map("gone", "a.yaml", &json!({})),
            map("moved", "a.yaml", &json!({ "x": "1" })),
            map("same", "a.yaml", &json!({ "x": "1" })),
        ];
        let after = [
            map("changed", "b.yaml", &json!({ "x": "2", "z": "1" })),
            map("moved", "b.yaml", &json!({ "x": "1" })),
            map("new", "b.yaml", &json!({ "x": "1" })),
            map("same", "a.yaml", &json!({ "x": "1" })),
        ];
        let comparison = compare(&before, &after);
        insta::assert_snapshot!(told(&comparison).join("\n"), @r"
        Both changed data.x,data.y,data.z a.yaml -> b.yaml
        Removed gone apiVersion,data,kind,metadata
        Both moved  a.yaml -> b.yaml
        Added new apiVersion,data,kind,metadata
        ");
        assert_eq!(comparison.unchanged, 2, "what only moved is unchanged");
    }

    #[test]
    fn the_order_of_two_bundles_does_not_matter_and_the_same_is_nothing() {
        let one = [map("a", "a.yaml", &json!({ "x": "1" })), map("b", "a.yaml", &json!({ "x": "1" }))];
        let other = [one[1].clone(), one[0].clone()];
        assert_eq!(compare(&one, &other), Comparison { objects: Vec::new(), unchanged: 2 });
    }
}
