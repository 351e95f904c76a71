//! What happens to an object that the bundle no longer has.

use serde_json::Value;

use super::{
    Action, Candidate, DryRun, KIND_UNKNOWN, Observation, Policy, Precondition, ServerError, Verb,
    claim::{annotation, carries_our_marks, label, taken_over_by, uid},
    ownership::entry_of,
    propagation::propagation,
    refusal::{self, Tried, kubectl_object},
    settle::{Verdict, finalizers, is_job, is_terminating, untried},
};
use crate::manifest::ObjectId;

/// The annotation by which a live object says whether it may be pruned.
const PRUNE: &str = "bowline.dev/prune";

const ARGO_CD_OPTIONS: &str = "argocd.argoproj.io/sync-options";

/// Argo CD's options that keep an object. It tells pruning from the deletion of
/// the whole application, and asks a person to confirm; here each of them means
/// that the object is not deleted by itself.
const ARGO_CD_KEEPS: &[&str] = &["Prune=false", "Prune=confirm", "Delete=false", "Delete=confirm"];

/// Kinds that are not pruned unless the live object says so: deleting one
/// deletes what it holds.
const PROTECTED: &[(&str, &str)] = &[
    ("", "PersistentVolumeClaim"),
    ("", "PersistentVolume"),
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// Decides on an object that the bundle no longer has. It is deleted only if it
/// is a member by inventory, uid and our manager's entry.
pub(super) fn prune(candidate: &Candidate, observation: Option<&Observation>, policy: &Policy) -> Verdict {
    let (object, dry_run) = match observation {
        // Kinds come and go with their definition, and so do their objects.
        Some(Observation::Absent { .. } | Observation::NamespaceAbsent | Observation::KindAbsent) => {
            return Verdict::Forgotten(None);
        }
        // One kind that nobody can say anything of stops nothing else: what is
        // not known to be there is left for the next release.
        Some(Observation::Unreadable(error)) if error.transient && is_about_its_kind(error) => {
            let reason = format!(
                "is no longer in the bundle; whether it is still there could not be found out, so that it is left for \
                 the next release: {}",
                error.message
            );
            return Verdict::Left(leave(candidate, &reason), None);
        }
        Some(Observation::Unreadable(error)) => return Verdict::Refused(refusal::unreadable(&candidate.id, error)),
        None => return Verdict::Refused(refusal::not_observed(&candidate.id)),
        Some(Observation::Live { object, dry_run }) => (object, dry_run),
    };
    let membership = &policy.membership;
    let inventory_uid = candidate.owned.as_ref().and_then(|owned| owned.uid.as_deref());
    let same = match inventory_uid {
        Some(known) => uid(object) == Some(known),
        // It was about to be made when the last apply was cut off: its own
        // marks tell whether it was.
        None => carries_our_marks(object, membership),
    };
    if !same {
        return Verdict::Forgotten(Some(leave(candidate, "was made anew by somebody else; it is left to them")));
    }
    if let Some(other) = taken_over_by(object, membership) {
        return Verdict::Forgotten(Some(leave(candidate, &format!("belongs to {other} now"))));
    }
    if let Some(other) = policy.elsewhere.get(&candidate.id) {
        return Verdict::Forgotten(Some(leave(candidate, &format!("the Application {other} has it now"))));
    }
    if !policy.prune {
        return Verdict::Left(leave(candidate, "is no longer in the bundle; pruning is off"), None);
    }
    if is_terminating(object) {
        let waits = finalizers(object);
        let reason = if waits.is_empty() {
            "is being deleted already".to_owned()
        } else {
            format!("is being deleted already and waits for its finalizers: {}", waits.join(", "))
        };
        return Verdict::Left(leave(candidate, &reason), None);
    }
    if entry_of(object, &membership.manager).is_none() {
        let reason = format!(
            "has no entry of the field manager {} any more, so that it is not certain that it is ours; \
             to delete it: `kubectl delete {}`",
            membership.manager,
            kubectl_object(&candidate.id)
        );
        return Verdict::Left(leave(candidate, &reason), None);
    }
    if let Some(reason) = kept(&candidate.id, object) {
        return Verdict::Left(leave(candidate, &reason), None);
    }
    let done = candidate.owned.as_ref().is_some_and(|owned| owned.done);
    if done && is_job(&candidate.id) && policy.rollback.is_some_and(|rollback| !rollback.jobs) {
        return Verdict::Left(leave(candidate, "finished; a rollback leaves it (--include jobs)"), None);
    }
    let propagation = match propagation(object) {
        Ok(propagation) => propagation,
        Err(reason) => return Verdict::Left(leave(candidate, &reason), None),
    };
    if let DryRun::Error(error) = dry_run {
        let tried = Tried { id: &candidate.id, live: Some(object), body: None, manager: &membership.manager };
        return Verdict::Refused(refusal::of_error(error, &tried));
    }
    let mut action = leave(candidate, "is no longer in the bundle");
    action.verb = Verb::Delete;
    action.propagation = propagation;
    action.untried = untried(dry_run);
    // The same uid may have a new owner by then: what was looked at is what is
    // deleted.
    let version = object.get("metadata").and_then(|metadata| metadata.get("resourceVersion")).and_then(Value::as_str);
    action.precondition =
        Precondition { uid: uid(object).map(str::to_owned), resource_version: version.map(str::to_owned) };
    Verdict::Act(action)
}

/// Whether it is the kind that cannot be read (its discovery, its conversion,
/// the server behind it), and not the whole cluster for a moment.
fn is_about_its_kind(error: &ServerError) -> bool {
    error.reason == KIND_UNKNOWN || (500..=599).contains(&error.code)
}

/// Why the live object is to be kept, if it is.
fn kept(id: &ObjectId, object: &Value) -> Option<String> {
    let own = annotation(object, PRUNE);
    if own == Some("false") {
        return Some(format!("is annotated {PRUNE}: \"false\""));
    }
    if annotation(object, "helm.sh/resource-policy") == Some("keep") {
        return Some("is annotated helm.sh/resource-policy: keep".to_owned());
    }
    let options = annotation(object, ARGO_CD_OPTIONS).unwrap_or_default();
    if let Some(option) = options.split(',').map(str::trim).find(|option| ARGO_CD_KEEPS.contains(option)) {
        return Some(format!("is annotated {ARGO_CD_OPTIONS}: {option}"));
    }
    let protected = PROTECTED.iter().any(|(group, kind)| *group == id.group && *kind == id.kind);
    if protected && own != Some("true") {
        return Some(format!(
            "is no longer in the bundle; a {} is kept unless it is annotated: `kubectl annotate {} {PRUNE}=true`",
            id.kind,
            kubectl_object(id)
        ));
    }
    // A label that everything in the cluster depends on is worth a last look.
    (id.kind == "Namespace"
        && label(object, "kubernetes.io/metadata.name").is_some_and(|name| name.starts_with("kube-")))
    .then(|| "is a namespace of the cluster itself".to_owned())
}

fn leave(candidate: &Candidate, reason: &str) -> Action {
    super::settle::action(candidate, Verb::Leave, reason.to_owned())
}
