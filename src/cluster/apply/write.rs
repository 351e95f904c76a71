//! Carrying out one action.

use serde_json::Value;

use super::{Applied, Mode, NotBegun, Outcome, Stage, Target, locate::locate, still};
use crate::{
    cluster::{
        Cluster, Identity, RequestError,
        client::{Answer, Call, Patience},
        discovery::{Resolution, ServedKind},
        error::lacks_dry_run,
    },
    manifest::{GroupVersionKind, ObjectId},
    plan::{Action, DryRun, Observation, Precondition, ServerError, Verb, ownership::without_entries},
};

/// How often an action goes on after its object moved without a change that
/// matters.
const RENEWALS: usize = 5;

/// Carries out one action.
pub(super) async fn carry_out(stage: &Stage<'_>, action: &Action) -> Outcome {
    let served = match served(stage.cluster, action).await {
        Ok(served) => served,
        // What is deleted and of a kind that is not served is gone.
        Err(error) if action.verb == Verb::Delete && error.is_absent_path() => return Outcome::Deleted,
        Err(error) => return Outcome::Failed(error.into()),
    };
    let target = Target { id: &action.id, served: &served, identity: stage.identity };
    let written = match action.verb {
        Verb::Delete => delete(stage, target, action).await,
        Verb::Create | Verb::Update | Verb::Adopt => apply(stage, target, action).await,
        Verb::Replace => replace(stage, target, action).await,
        Verb::Leave | Verb::Refuse => return Outcome::NotBegun(NotBegun::EarlierFailure),
    };
    match written {
        Ok(outcome) => outcome,
        Err(stopped) => stopped.into_outcome(stage.identity, action),
    }
}

/// The dry-run of one action.
pub(super) async fn dry_run(
    cluster: &Cluster,
    identity: &Identity,
    manager: &str,
    action: &Action,
) -> (ObjectId, DryRun) {
    let attempt = async {
        let served = served(cluster, action).await?;
        let target = Target { id: &action.id, served: &served, identity };
        let call = match (action.verb, &action.body) {
            (Verb::Delete, _) => target.delete(&action.precondition, action.propagation, Mode::DryRun)?,
            (Verb::Replace, Some(body)) => target.try_under_another_name(manager, &body.read())?,
            (_, Some(body)) => target.apply(manager, &body.read(), &action.precondition, true, Mode::DryRun)?,
            (_, None) => return Ok(DryRun::NotTried),
        };
        let answer = match cluster.read(call).await {
            Err(error) if action.verb == Verb::Delete && error.is_not_found() => return Ok(DryRun::NotTried),
            answer => answer?,
        };
        Ok(DryRun::Would(Box::new(answer.json()?)))
    };
    let dry_run = match attempt.await {
        Ok(dry_run) => dry_run,
        Err(error) => {
            let error: RequestError = error;
            if let Some(webhook) = lacks_dry_run(&error.error) {
                return (action.id.clone(), DryRun::NotSupported(webhook.to_owned()));
            }
            DryRun::Error(identity.advise(error.into(), action.id.namespace.as_deref()))
        }
    };
    (action.id.clone(), dry_run)
}

/// Writes who owns which field of an object, if it is still at that version.
/// Returns whether it is to be planned anew.
pub(super) async fn hand_over(
    stage: &Stage<'_>,
    id: &ObjectId,
    gvk: &GroupVersionKind,
    managed_fields: &Value,
    version: &str,
) -> Result<bool, ServerError> {
    let Resolution::Served(served) = stage.cluster.discovery().resolve(gvk).await else { return Ok(false) };
    let target = Target { id, served: &served, identity: stage.identity };
    let call = target.set_managed_fields(stage.manager, managed_fields, version)?;
    match send(stage, &call, &mut Patience::new()).await {
        Ok(_) => Ok(true),
        Err(Stopped::NoPermit) => Ok(false),
        // It changed since it was observed: that is seen when it is planned anew.
        Err(Stopped::Failed(error)) if error.error.code == 409 => Ok(true),
        Err(Stopped::Failed(error)) => Err(error.into()),
    }
}

/// Why an action stopped before its end.
enum Stopped {
    Failed(RequestError),
    NoPermit,
}

impl From<RequestError> for Stopped {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

impl Stopped {
    fn into_outcome(self, identity: &Identity, action: &Action) -> Outcome {
        match self {
            Self::Failed(error) => Outcome::Failed(identity.advise(error.into(), action.id.namespace.as_deref())),
            Self::NoPermit => Outcome::NotBegun(NotBegun::NoPermit),
        }
    }
}

async fn served(cluster: &Cluster, action: &Action) -> Result<ServedKind, RequestError> {
    let mut resolution = cluster.discovery().resolve(&action.gvk).await;
    if matches!(resolution, Resolution::Absent) && action.verb == Verb::Delete {
        // The version that it was applied by may be gone, and the object not.
        resolution = cluster.discovery().resolve_group_kind(&action.gvk.group_kind()).await;
    }
    match resolution {
        Resolution::Served(served) => Ok(served),
        Resolution::Absent => {
            let mut error = RequestError::unsendable(format!("the cluster does not serve {}", action.gvk));
            error.error.code = 404;
            error.error.reason = "NotFound".into();
            Err(error)
        }
        Resolution::Unknown(reason) => Err(RequestError::no_answer("Unreachable", reason)),
    }
}

/// Sends a write, if it is allowed, and again while the server refuses it for
/// being busy. A request without an answer is not sent again: it may have been
/// carried out.
async fn send(stage: &Stage<'_>, call: &Call<'_>, patience: &mut Patience) -> Result<Answer, Stopped> {
    loop {
        let sent = stage.cluster.request_while(call, || stage.permit.may_write()).await;
        match sent.ok_or(Stopped::NoPermit)? {
            Err(error) if error.error.code != 0 && error.is_worth_a_retry() && patience.pause(&error).await => {}
            result => return Ok(result?),
        }
    }
}

async fn apply(stage: &Stage<'_>, target: Target<'_>, action: &Action) -> Result<Outcome, Stopped> {
    let Some(body) = &action.body else {
        return Err(RequestError::unsendable(format!("the plan for {} has no body", action.id)).into());
    };
    let mut precondition = action.precondition.clone();
    let mut patience = Patience::new();
    for _ in 0..=RENEWALS {
        let call = target.apply(stage.manager, &body.read(), &precondition, true, Mode::Write)?;
        let error = match send(stage, &call, &mut patience).await {
            Ok(answer) => return applied(stage, target, action, answer, &mut patience).await,
            Err(Stopped::Failed(error)) if is_unsettled(&error) => error,
            Err(stopped) => return Err(stopped),
        };
        // The object is not as planned, or there was no answer: look at it.
        match look(stage, target).await? {
            None if precondition.uid.is_none() && error.error.code == 0 => {}
            None => return Ok(Outcome::Stale(error.into())),
            Some(live) => {
                if let Some(finalizers) = being_deleted(&live) {
                    return Ok(Outcome::Terminating { finalizers });
                }
                match renewed(stage, action, &live) {
                    Some(renewed) => precondition = renewed,
                    None => return Ok(Outcome::Stale(error.into())),
                }
            }
        }
        if !patience.pause(&error).await {
            return Err(error.into());
        }
    }
    Ok(Outcome::Stale(busy_object(action)))
}

/// Whether it must be looked at what the object is now: it changed, it is
/// another one, or it is not known whether the request was carried out.
fn is_unsettled(error: &RequestError) -> bool {
    let other_uid = error.error.code == 422 && error.error.fields.iter().any(|field| field == "metadata.uid");
    (error.error.code == 0 && error.error.transient) || error.is_conflict() || other_uid
}

/// The precondition with the object's new version, if the object is still what
/// the plan was made on.
fn renewed(stage: &Stage<'_>, action: &Action, live: &Value) -> Option<Precondition> {
    let Some(Observation::Live { object, .. }) = stage.observations.get(&action.id) else { return None };
    let uid = text(live, "uid")?;
    if action.precondition.uid.as_deref() != Some(uid) || !still::is_as_planned(object, live) {
        return None;
    }
    Some(Precondition { uid: Some(uid.to_owned()), resource_version: Some(text(live, "resourceVersion")?.to_owned()) })
}

async fn applied(
    stage: &Stage<'_>,
    target: Target<'_>,
    action: &Action,
    answer: Answer,
    patience: &mut Patience,
) -> Result<Outcome, Stopped> {
    let created = answer.code == 201;
    let mut object: Value = answer.json()?;
    if let Some(finalizers) = being_deleted(&object) {
        return Ok(Outcome::Terminating { finalizers });
    }
    if created != (action.verb == Verb::Create) {
        let (was, planned) = if created { ("absent", "was there") } else { ("there", "was absent") };
        return Ok(Outcome::Stale(stale(format!("{} was {was}, the plan is made for one that {planned}", action.id))));
    }
    if !action.drops.is_empty() || !action.former.is_empty() {
        object = match drop_fields(stage, target, action, object, patience).await? {
            Ok(object) => object,
            Err(outcome) => return Ok(outcome),
        };
    }
    let (Some(uid), Some(version)) = (text(&object, "uid"), text(&object, "resourceVersion")) else {
        return Err(RequestError::no_answer("Unreadable", "the answer has no uid or no resourceVersion").into());
    };
    Ok(Outcome::Applied(Applied {
        uid: uid.to_owned(),
        resource_version: version.to_owned(),
        created,
        fingerprint: None,
        object: Box::new(object),
    }))
}

/// Removes what was added by hand from an object as the apply left it, and the
/// entries of those who managed it before.
async fn drop_fields(
    stage: &Stage<'_>,
    target: Target<'_>,
    action: &Action,
    left: Value,
    patience: &mut Patience,
) -> Result<Result<Value, Outcome>, Stopped> {
    let Some(Observation::Live { object: planned, .. }) = stage.observations.get(&action.id) else {
        let message = format!("{} is not observed, so that what was added by hand cannot be found", action.id);
        return Ok(Err(Outcome::Stale(stale(message))));
    };
    let pointers = match locate(&action.drops, planned, &left, stage.manager) {
        Ok(pointers) => pointers,
        Err(problem) => return Ok(Err(Outcome::Stale(stale(format!("{}: {problem}", action.id))))),
    };
    let mut kept = without_entries(&left, &action.former);
    if pointers.is_empty() && kept.is_none() {
        return Ok(Ok(left));
    }
    let mut version = text(&left, "resourceVersion").unwrap_or_default().to_owned();
    for _ in 0..=RENEWALS {
        let call = target.drop_fields(stage.manager, &pointers, kept.as_deref(), &version)?;
        let error = match send(stage, &call, patience).await {
            Ok(answer) => return Ok(Ok(answer.json()?)),
            Err(Stopped::Failed(error)) if is_unsettled(&error) => error,
            Err(stopped) => return Err(stopped),
        };
        match look(stage, target).await? {
            Some(live) if still::is_as_planned(&left, &live) => {
                version = text(&live, "resourceVersion").unwrap_or_default().to_owned();
                kept = without_entries(&live, &action.former);
            }
            _ => return Ok(Err(Outcome::Stale(error.into()))),
        }
        if !patience.pause(&error).await {
            return Err(error.into());
        }
    }
    Ok(Err(Outcome::Stale(busy_object(action))))
}

/// Deletes an object and makes it anew. What still holds the old one is told;
/// it is made by a later plan then.
async fn replace(stage: &Stage<'_>, target: Target<'_>, action: &Action) -> Result<Outcome, Stopped> {
    match delete(stage, target, action).await? {
        Outcome::Deleted => {}
        Outcome::Deleting { finalizers } => return Ok(Outcome::Terminating { finalizers }),
        other => return Ok(other),
    }
    let create = Action { verb: Verb::Create, precondition: Precondition::default(), ..action.clone() };
    apply(stage, target, &create).await
}

async fn delete(stage: &Stage<'_>, target: Target<'_>, action: &Action) -> Result<Outcome, Stopped> {
    let mut precondition = action.precondition.clone();
    let mut patience = Patience::new();
    for _ in 0..=RENEWALS {
        let call = target.delete(&precondition, action.propagation, Mode::Write)?;
        let error = match send(stage, &call, &mut patience).await {
            Ok(answer) => {
                // The answer is the object where something still holds it,
                // and a status where it is gone.
                let answer: Value = answer.json()?;
                return Ok(match being_deleted(&answer) {
                    Some(finalizers) if !finalizers.is_empty() => Outcome::Deleting { finalizers },
                    _ => Outcome::Deleted,
                });
            }
            Err(Stopped::Failed(error)) if error.is_not_found() => return Ok(Outcome::Deleted),
            Err(Stopped::Failed(error)) if is_unsettled(&error) => error,
            Err(stopped) => return Err(stopped),
        };
        match look(stage, target).await? {
            None => return Ok(Outcome::Deleted),
            // Another object has its name now.
            Some(live) if text(&live, "uid") != action.precondition.uid.as_deref() => {
                return Ok(Outcome::Stale(error.into()));
            }
            Some(live) => {
                if let Some(finalizers) = being_deleted(&live) {
                    return Ok(Outcome::Deleting { finalizers });
                }
                if precondition.resource_version.is_some() {
                    match renewed(stage, action, &live) {
                        Some(renewed) => precondition = renewed,
                        None => return Ok(Outcome::Stale(error.into())),
                    }
                }
            }
        }
        if !patience.pause(&error).await {
            return Err(error.into());
        }
    }
    Ok(Outcome::Stale(busy_object(action)))
}

/// The object as it is now.
async fn look(stage: &Stage<'_>, target: Target<'_>) -> Result<Option<Value>, RequestError> {
    match stage.cluster.read(target.get()?).await {
        Ok(answer) => answer.json().map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The finalizers of an object that is being deleted; none if it is not.
pub(in crate::cluster) fn being_deleted(object: &Value) -> Option<Vec<String>> {
    let metadata = object.get("metadata")?;
    metadata.get("deletionTimestamp").filter(|it| !it.is_null())?;
    let finalizers = metadata.get("finalizers").and_then(Value::as_array);
    Some(finalizers.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect())
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

fn stale(message: String) -> ServerError {
    ServerError { code: 409, reason: "Conflict".into(), message, fields: Vec::new(), transient: true }
}

fn busy_object(action: &Action) -> ServerError {
    stale(format!("{} changes faster than it can be written", action.id))
}
