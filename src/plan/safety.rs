//! Whether a release can be taken back without a person.

use std::sync::Arc;

use serde_json::Value;

use super::schedule::{Role, role};
use crate::manifest::{Manifest, pairs};

/// Annotation of a Job whose work cannot be undone: a migration, for example.
const IRREVERSIBLE: &str = "bowline.dev/irreversible";

/// Why the step from one bundle to another must not be taken back by itself, if
/// so: it changes a CustomResourceDefinition, a claim or a claim template, or
/// runs a Job that is annotated `bowline.dev/irreversible: "true"`. What the
/// step adds or removes of the former is no obstacle: a rollback leaves them.
pub fn irreversible(from: &[Arc<Manifest>], to: &[Arc<Manifest>]) -> Option<String> {
    let sorted = |manifests: &'_ [Arc<Manifest>]| {
        let mut sorted: Vec<Arc<Manifest>> = manifests.to_vec();
        sorted.sort_by(|left, right| left.id.cmp(&right.id));
        sorted
    };
    let (from, to) = (sorted(from), sorted(to));
    pairs(&from, &to).find_map(|(before, after)| reason(before.map(AsRef::as_ref), after?))
}

fn reason(before: Option<&Manifest>, after: &Manifest) -> Option<String> {
    // A hook is run again though it did not change.
    let runs_again = after.id.kind == "Job" && matches!(role(after), Ok(Role::Hook(_)));
    if before.is_some_and(|before| before.digest == after.digest) && !runs_again {
        return None;
    }
    let id = &after.id;
    match (id.group.as_str(), id.kind.as_str(), before) {
        ("batch", "Job", _) if after.annotation(IRREVERSIBLE) == Some("true") => {
            Some(format!("it ran {id}, which is annotated {IRREVERSIBLE}: \"true\""))
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition", Some(_)) => Some(format!("it changed {id}")),
        ("", "PersistentVolumeClaim", Some(_)) => Some(format!("it changed {id}")),
        ("apps", "StatefulSet", Some(before)) if claim_templates(before) != claim_templates(after) => {
            Some(format!("it changed the claim templates of {id}"))
        }
        _ => None,
    }
}

fn claim_templates(manifest: &Manifest) -> Option<&Value> {
    manifest.value.get("spec")?.get("volumeClaimTemplates")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::manifest;

    fn of(version: &str, kind: &str, spec: Value) -> Vec<Arc<Manifest>> {
        vec![manifest(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}))]
    }

    fn job(annotation: &str, image: &str) -> Vec<Arc<Manifest>> {
        vec![manifest(json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"image": image},
            "metadata": {"name": "a", "annotations": {"bowline.dev/irreversible": annotation}}}))]
    }

    const CRD: &str = "apiextensions.k8s.io/v1";

    #[rstest]
    #[case::nothing(vec![], vec![], None)]
    #[case::a_deployment(of("apps/v1", "Deployment", json!(1)), of("apps/v1", "Deployment", json!(2)), None)]
    #[case::a_definition(
        of(CRD, "CustomResourceDefinition", json!(1)), of(CRD, "CustomResourceDefinition", json!(2)),
        Some("it changed CustomResourceDefinition a"))]
    #[case::the_same_definition(
        of(CRD, "CustomResourceDefinition", json!(1)), of(CRD, "CustomResourceDefinition", json!(1)), None)]
    #[case::a_new_definition(vec![], of(CRD, "CustomResourceDefinition", json!(1)), None)]
    #[case::a_claim(
        of("v1", "PersistentVolumeClaim", json!(1)), of("v1", "PersistentVolumeClaim", json!(2)),
        Some("it changed PersistentVolumeClaim a"))]
    #[case::a_claim_template(
        of("apps/v1", "StatefulSet", json!({"volumeClaimTemplates": [1]})),
        of("apps/v1", "StatefulSet", json!({"volumeClaimTemplates": [2]})),
        Some("it changed the claim templates of StatefulSet a"))]
    #[case::a_stateful_set_otherwise(
        of("apps/v1", "StatefulSet", json!({"replicas": 1})), of("apps/v1", "StatefulSet", json!({"replicas": 2})), None)]
    #[case::a_job(of("batch/v1", "Job", json!(1)), of("batch/v1", "Job", json!(2)), None)]
    #[case::an_irreversible_job(
        vec![], job("true", "x"), Some("it ran Job a, which is annotated bowline.dev/irreversible: \"true\""))]
    #[case::an_irreversible_job_of_before(job("true", "x"), job("true", "x"), None)]
    #[case::another_content_of_it(
        job("true", "x"),
        job("true", "y"),
        Some("it ran Job a, which is annotated bowline.dev/irreversible: \"true\"")
    )]
    #[case::a_job_that_says_it_is_not(vec![], job("false", "x"), None)]
    fn a_step_is_taken_back_by_itself_only_where_that_is_safe(
        #[case] from: Vec<Arc<Manifest>>,
        #[case] to: Vec<Arc<Manifest>>,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(irreversible(&from, &to).as_deref(), expected);
    }
}
