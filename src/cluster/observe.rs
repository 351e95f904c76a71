//! What the server says of a plan's candidates: the live objects, and the
//! dry-run of what would be written.
//!
//! A candidate that the application does not have yet is tried first and read
//! only if that does not settle it: one request for each new object.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::Value;

use super::{
    Cluster, Identity, RequestError,
    apply::{Mode, Target, being_deleted},
    client::{Call, Patience, path},
    discovery::{Resolution, ServedKind},
    error::lacks_dry_run,
};
use crate::{
    manifest::{GroupKind, ObjectId},
    plan::{
        Candidate, DryRun, KIND_UNKNOWN, Observation, Observations, Policy, Precondition, Propagation, Proposal,
        ServerError, Why, body, may_be_replaced,
    },
};

/// How many candidates are under way; the cluster's own limit decides how many
/// requests are in flight.
const UNDER_WAY: usize = 64;
/// How often a candidate is looked at again because it changed between the
/// read and the dry-run.
const LOOKS: usize = 8;

/// Observes the candidates of a proposal: the live object of each and, where
/// the policy wants a preflight, the dry-run of what would be written. No
/// candidate, no request. Of the dry-run of a creation only that it would be is
/// kept: ten thousand new objects would fill the memory with what their
/// manifests say anyway. What cannot be read is
/// [`Unreadable`](Observation::Unreadable), never absent.
pub async fn observe(cluster: &Cluster, identity: &Identity, proposal: &Proposal, policy: &Policy) -> Observations {
    let observer = Observer {
        cluster,
        identity,
        policy,
        absent_namespaces: Mutex::default(),
        present_namespaces: Mutex::default(),
        broken: Mutex::default(),
    };
    let mut waiting = proposal.looked_at();
    let mut running = FuturesUnordered::new();
    let mut observations = Observations::new();
    loop {
        running.extend(waiting.by_ref().take(UNDER_WAY - running.len()).map(|candidate| observer.observe(candidate)));
        let Some((id, observation)) = running.next().await else { return observations };
        observations.insert(id, observation);
    }
}

struct Observer<'a> {
    cluster: &'a Cluster,
    identity: &'a Identity,
    policy: &'a Policy,
    absent_namespaces: Mutex<BTreeSet<String>>,
    present_namespaces: Mutex<BTreeSet<String>>,
    /// What a candidate ran out of patience with: a kind, or the server itself
    /// under no kind. The others need not wait as long again, and a broken kind
    /// does not stop the rest.
    broken: Mutex<HashMap<Option<GroupKind>, ServerError>>,
}

/// What ends the observation of a candidate before its object is known.
enum Ended {
    NamespaceAbsent(String),
    KindAbsent,
    KindUnknown(String),
    /// The object changes all the time.
    Busy(RequestError),
    Failed(RequestError),
}

impl From<RequestError> for Ended {
    fn from(error: RequestError) -> Self {
        match error.absent_namespace() {
            Some(namespace) => Self::NamespaceAbsent(namespace.to_owned()),
            None => Self::Failed(error),
        }
    }
}

impl Observer<'_> {
    async fn observe(&self, candidate: &Candidate) -> (ObjectId, Observation) {
        (candidate.id.clone(), self.find_out(candidate).await)
    }

    async fn find_out(&self, candidate: &Candidate) -> Observation {
        let namespace = candidate.id.namespace.as_deref();
        if namespace.is_some_and(|namespace| contains(&self.absent_namespaces, namespace)) {
            return Observation::NamespaceAbsent;
        }
        if let Some(error) = self.known_broken(candidate) {
            return Observation::Unreadable(error);
        }
        match self.look(candidate).await {
            Ok(observation) => observation,
            Err(Ended::KindAbsent) => Observation::KindAbsent,
            // A webhook may speak of another one.
            Err(Ended::NamespaceAbsent(name)) if Some(name.as_str()) == namespace => {
                insert(&self.absent_namespaces, &name);
                Observation::NamespaceAbsent
            }
            Err(Ended::NamespaceAbsent(name)) => Observation::Unreadable(
                RequestError::no_answer("NotFound", format!("the namespace {name} does not exist")).into(),
            ),
            Err(Ended::Failed(error)) => {
                let broken = match error.error.code {
                    0 | 429 if error.error.transient => Some(None),
                    500..=599 if error.is_worth_a_retry() => Some(Some(candidate.id.group_kind())),
                    _ => None,
                };
                self.give_up(candidate, error, broken)
            }
            Err(Ended::Busy(error)) => Observation::Unreadable(error.into()),
            Err(Ended::KindUnknown(reason)) => {
                let error = RequestError::no_answer(KIND_UNKNOWN, reason);
                self.give_up(candidate, error, Some(Some(candidate.id.group_kind())))
            }
        }
    }

    fn give_up(&self, candidate: &Candidate, error: RequestError, broken: Option<Option<GroupKind>>) -> Observation {
        // The plan adds to other refusals what would help.
        let error = self.identity.explain(error.into());
        if let Some(what) = broken {
            tracing::debug!(object = %candidate.id, error = error.message, "gave up reading");
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(what, error.clone());
        }
        Observation::Unreadable(error)
    }

    fn known_broken(&self, candidate: &Candidate) -> Option<ServerError> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get(&None).or_else(|| broken.get(&Some(candidate.id.group_kind()))).cloned()
    }

    async fn look(&self, candidate: &Candidate) -> Result<Observation, Ended> {
        let served = self.served(candidate).await?;
        let target = Target { id: &candidate.id, served: &served, identity: self.identity };
        let mut patience = Patience::new();
        let mut tried = None;
        if candidate.why == Why::New && self.policy.preflight {
            match self.try_action(target, candidate, None, &mut patience).await? {
                // Neither says whether there is an object.
                refused @ (DryRun::Error(_) | DryRun::NotSupported(_)) => tried = Some(refused),
                dry_run => return Ok(Observation::Absent { dry_run }),
            }
        }
        for _ in 0..LOOKS {
            let live = self.read(target, &mut patience).await?;
            let dry_run = match (&live, tried.take()) {
                // Tried already: it is absent, and the refusal is about what
                // would be created.
                (None, Some(tried)) if !matches!(&tried, DryRun::Error(error) if error.code == 409) => tried,
                _ => self.try_action(target, candidate, live.as_ref(), &mut patience).await?,
            };
            if let DryRun::Error(error) = &dry_run
                && moved(error)
            {
                // A rollout writes the status many times a second, for a while.
                let message = format!("{} changes faster than it can be read", candidate.id);
                let busy = RequestError::no_answer("Conflict", message);
                if !patience.pause(&busy).await {
                    return Err(Ended::Busy(busy));
                }
                continue;
            }
            return match live {
                Some(object) => Ok(Observation::Live { object: Box::new(object), dry_run }),
                None => {
                    self.check_namespace(candidate).await?;
                    Ok(Observation::Absent { dry_run })
                }
            };
        }
        let message = format!("{} changes faster than it can be read", candidate.id);
        Err(Ended::Busy(RequestError::no_answer("Conflict", message)))
    }

    /// How the candidate's kind is served. What the bundle no longer has may be
    /// of a version that is no longer served: then it is read by another one.
    async fn served(&self, candidate: &Candidate) -> Result<ServedKind, Ended> {
        let discovery = self.cluster.discovery();
        let mut resolution = discovery.resolve(&candidate.gvk).await;
        if resolution == Resolution::Absent && candidate.desired.is_none() {
            resolution = discovery.resolve_group_kind(&candidate.gvk.group_kind()).await;
        }
        match resolution {
            Resolution::Served(served) => Ok(served),
            Resolution::Absent => Err(Ended::KindAbsent),
            Resolution::Unknown(reason) => Err(Ended::KindUnknown(reason)),
        }
    }

    async fn read(&self, target: Target<'_>, patience: &mut Patience) -> Result<Option<Value>, Ended> {
        match self.cluster.patiently(&target.get()?, patience).await {
            Ok(answer) => Ok(Some(answer.json()?)),
            Err(error) if error.is_absent_path() => Err(self.kind_vanished()),
            Err(error) if lacks_namespace(&error, target) => Err(error.into()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The dry-run of what would be done to `live`.
    async fn try_action(
        &self,
        target: Target<'_>,
        candidate: &Candidate,
        live: Option<&Value>,
        patience: &mut Patience,
    ) -> Result<DryRun, Ended> {
        if !self.policy.preflight || live.is_some_and(|live| being_deleted(live).is_some()) {
            return Ok(DryRun::NotTried);
        }
        let (call, made) = match (candidate.desired.as_deref(), live) {
            (Some(desired), live) => {
                let body = body(desired, live, self.policy);
                let precondition = live.map(precondition_of).unwrap_or_default();
                let manager = &self.policy.membership.manager;
                // A dry-run harms nobody: it is forced, and `conclude` refuses
                // what others claim.
                (target.apply(manager, &body, &precondition, true, Mode::DryRun)?, live.is_none())
            }
            (None, Some(live)) => {
                (target.delete(&precondition_of(live), Propagation::Background, Mode::DryRun)?, false)
            }
            (None, None) => return Ok(DryRun::NotTried),
        };
        let is_hook = candidate.why == Why::Hook;
        if let (true, Some(desired), Some(_)) = (is_hook, &candidate.desired, live) {
            // What ran before is deleted and made anew: an apply says nothing of that.
            return self.try_anew(target, &body(desired, None, self.policy), patience).await;
        }
        match self.cluster.patiently(&call, patience).await {
            Ok(answer) => {
                let would: Value = if made { Value::Null } else { answer.json()? };
                Ok(DryRun::Would(Box::new(would)))
            }
            Err(error) if error.is_absent_path() => Err(self.kind_vanished()),
            Err(error) if lacks_namespace(&error, target) => Err(error.into()),
            // Gone since it was read.
            Err(error) if error.is_not_found() && live.is_some() => Ok(DryRun::Error(conflict(error))),
            Err(error) if error.error.code == 0 => Err(error.into()),
            Err(error) if matches!(error.error.code, 403 | 422) && live.is_some() && may_be_replaced(candidate) => {
                let Some(desired) = &candidate.desired else { return Ok(DryRun::Error(error.into())) };
                match self.try_anew(target, &body(desired, None, self.policy), patience).await? {
                    DryRun::Error(refused) => Ok(DryRun::Error(refused)),
                    _ => Ok(DryRun::Error(self.identity.explain(error.into()))),
                }
            }
            Err(error) => Ok(match lacks_dry_run(&error.error) {
                Some(webhook) => DryRun::NotSupported(webhook.to_owned()),
                None => DryRun::Error(self.identity.explain(error.into())),
            }),
        }
    }

    /// Has the server try to make an object anew whose name is taken by the
    /// one that is to be deleted: under another name, so that what is wrong with it is
    /// known before the deletion.
    async fn try_anew(&self, target: Target<'_>, body: &Value, patience: &mut Patience) -> Result<DryRun, Ended> {
        let call = target.try_under_another_name(&self.policy.membership.manager, body)?;
        match self.cluster.patiently(&call, patience).await {
            Ok(_) => Ok(DryRun::NotTried),
            Err(error) if error.error.code == 0 => Err(error.into()),
            Err(error) if is_about_the_name(&error) => Ok(DryRun::NotTried),
            Err(error) => Ok(match lacks_dry_run(&error.error) {
                Some(webhook) => DryRun::NotSupported(webhook.to_owned()),
                None => DryRun::Error(self.identity.explain(error.into())),
            }),
        }
    }

    fn kind_vanished(&self) -> Ended {
        self.cluster.discovery().invalidate();
        Ended::KindAbsent
    }

    /// Without a dry-run nothing tells that the namespace of an absent object
    /// is absent too. Asked with our own credentials, once for each namespace.
    async fn check_namespace(&self, candidate: &Candidate) -> Result<(), Ended> {
        let Some(namespace) = candidate.id.namespace.as_deref() else { return Ok(()) };
        if self.policy.preflight && candidate.desired.is_some() || contains(&self.present_namespaces, namespace) {
            return Ok(());
        }
        let path = path::core(None, "namespaces", namespace)?;
        match self.cluster.read(Call::get(path, &Identity::Own)).await {
            Ok(_) => {
                insert(&self.present_namespaces, namespace);
                Ok(())
            }
            Err(error) if error.is_not_found() => Err(Ended::NamespaceAbsent(namespace.to_owned())),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the server refuses a trial only because of the other name, or because
/// what is to be deleted still holds an address or a port.
fn is_about_the_name(error: &RequestError) -> bool {
    error.error.fields.iter().any(|field| field == "metadata.name") || error.error.message.contains("already allocated")
}

/// Whether the namespace of the object is what is absent: a Namespace that is
/// absent itself is an absent object.
fn lacks_namespace(error: &RequestError, target: Target<'_>) -> bool {
    target.id.namespace.is_some() && error.absent_namespace().is_some()
}

/// Whether the object changed between the read and the dry-run.
fn moved(error: &ServerError) -> bool {
    let other_uid = error.code == 422 && error.fields.iter().any(|field| field == "metadata.uid");
    (error.code == 409 && !super::error::is_field_manager_conflict(error)) || other_uid
}

fn conflict(error: RequestError) -> ServerError {
    ServerError { code: 409, reason: "Conflict".into(), ..error.error }
}

fn precondition_of(live: &Value) -> Precondition {
    let text = |name: &str| live.get("metadata")?.get(name)?.as_str().map(str::to_owned);
    Precondition { uid: text("uid"), resource_version: text("resourceVersion") }
}

fn contains(set: &Mutex<BTreeSet<String>>, name: &str) -> bool {
    set.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

fn insert(set: &Mutex<BTreeSet<String>>, name: &str) {
    set.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
}
