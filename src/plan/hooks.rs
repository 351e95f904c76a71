//! What happens to the object of a hook that is to be run.

use serde_json::{Value, json};

use super::{
    Action, DryRun, HookCandidate, HookRuns, Observation, Owned, Policy, Precondition, Refusal, RefusalReason, Verb,
    body,
    claim::{annotation, carries_our_marks, claimant, uid},
    refusal::{self, Tried},
    settle::{action, finalizers, is_terminating},
};

/// Annotation of a hook's object that says which run it is, so that a
/// controller that was killed in between does not run it twice.
const RUN: &str = "bowline.dev/hook-run";

/// What is decided on a hook.
pub(super) enum Verdict {
    /// It is run.
    Run(Box<Action>),
    /// It is run when the former object is gone.
    RunWhenGone(Box<Action>),
    /// It was begun by this release before.
    Runs(Owned),
    /// It is not run, for a reason worth saying.
    Left(Box<Action>),
    /// It cannot be run.
    Refused(Refusal),
}

/// Decides on a hook that is to be run.
pub(super) fn settle(
    hook: &HookCandidate,
    observation: Option<&Observation>,
    policy: &Policy,
    runs: &HookRuns,
    is_made_before: bool,
) -> Verdict {
    let candidate = &hook.candidate;
    let id = &candidate.id;
    let (Some(manifest), Some(observation)) = (candidate.desired.as_deref(), observation) else {
        return Verdict::Refused(refusal::not_observed(id));
    };
    let mut body = body(manifest, None, policy);
    let name = format!("{}/{}", runs.release, hook.run.phase);
    body["metadata"]["annotations"][RUN] = json!(name);
    let run = |verb: Verb, reason: &str, precondition: Precondition, unproven: bool| {
        let mut run = action(candidate, verb, reason.to_owned());
        run.precondition = precondition;
        run.body = Some(body.clone().into());
        run.manifest = Some(manifest.digest.clone());
        run.hook = Some(hook.run.phase);
        run.unproven = unproven;
        Box::new(run)
    };
    let reason = format!("runs as a {} hook", hook.run.phase);
    match observation {
        Observation::Unreadable(error) => Verdict::Refused(refusal::unreadable(id, error)),
        Observation::NamespaceAbsent | Observation::KindAbsent if is_made_before => {
            Verdict::Run(run(Verb::Create, &reason, Precondition::default(), true))
        }
        Observation::NamespaceAbsent => Verdict::Refused(refusal::namespace_absent(id)),
        Observation::KindAbsent => Verdict::Refused(super::settle::kind_absent(candidate, false)),
        Observation::Absent { dry_run: DryRun::Error(error) } => {
            Verdict::Refused(refusal::of_error(error, &tried(hook, None, &body, policy)))
        }
        Observation::Absent { .. } => Verdict::Run(run(Verb::Create, &reason, Precondition::default(), false)),
        Observation::Live { object, dry_run } => {
            let known = candidate.owned.as_ref().and_then(|owned| owned.uid.as_deref());
            let ours = known.is_some() && known == uid(object) || carries_our_marks(object, &policy.membership);
            if !ours {
                return Verdict::Refused(of_another(hook, object, policy));
            }
            if is_terminating(object) {
                let waits = finalizers(object);
                let reason = match waits.is_empty() {
                    true => format!("{reason} when the former one is gone"),
                    false => format!("{reason} when the former one is gone, which waits for {}", waits.join(", ")),
                };
                return Verdict::RunWhenGone(run(Verb::Create, &reason, Precondition::default(), true));
            }
            if runs.release > 0 && annotation(object, RUN) == Some(&name) {
                return Verdict::Runs(Owned {
                    gvk: candidate.gvk.clone(),
                    uid: uid(object).map(str::to_owned),
                    manifest: Some(manifest.digest.clone()),
                    fingerprint: None,
                    done: false,
                    hook: true,
                });
            }
            if hook.hook.runs_once() {
                let reason = "ran before and is kept (hook-delete: Never); it is not run again";
                return Verdict::Left(Box::new(action(candidate, Verb::Leave, reason.to_owned())));
            }
            if let DryRun::Error(error) = dry_run {
                return Verdict::Refused(refusal::of_error(error, &tried(hook, None, &body, policy)));
            }
            let version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            let precondition = Precondition { uid: uid(object).map(str::to_owned), resource_version: version };
            Verdict::Run(run(Verb::Replace, &format!("{reason}; the former one is deleted"), precondition, false))
        }
    }
}

fn tried<'a>(hook: &'a HookCandidate, live: Option<&'a Value>, body: &'a Value, policy: &'a Policy) -> Tried<'a> {
    Tried { id: &hook.candidate.id, live, body: Some(body), manager: &policy.membership.manager }
}

/// An object of that name which no run of this application made: running the
/// hook would delete it.
fn of_another(hook: &HookCandidate, object: &Value, policy: &Policy) -> Refusal {
    let whose = match claimant(object, &policy.membership) {
        Some(other) => format!("belongs to {other}"),
        None => "exists already and was not made by this application".to_owned(),
    };
    Refusal {
        reason: RefusalReason::OwnedByOther,
        object: Some(hook.candidate.id.clone()),
        message: format!("{whose}: to run the {} hook it would have to be deleted", hook.run.phase),
        hint: Some(format!(
            "give the hook another name, or delete it: `kubectl delete {}`",
            refusal::kubectl_object(&hook.candidate.id)
        )),
        transient: false,
    }
}
