//! Carrying out a plan, stage by stage. It makes no choices: what is sent, and
//! what must still hold, stands in the actions.
//!
//! Within a stage the writes go in the order of the plan: those of one kind at
//! once, the next kind when they are done, deletes last. An action that fails
//! does not stop the others of its kind (unless the server cannot be reached),
//! and nothing after them is begun: what comes later may need it. The results
//! of those say [`NotBegun`](Outcome::NotBegun).
//!
//! Before each write the permit is asked: a controller whose lease ran out
//! writes nothing more.

mod locate;
mod request;
mod still;
mod write;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
pub(in crate::cluster) use request::{Mode, Target};
use serde_json::Value;
use tracing::{Instrument as _, Span, info_span};
pub(in crate::cluster) use write::being_deleted;

use super::{Cluster, Identity};
use crate::{
    manifest::{Fingerprint, GroupKind, ObjectId},
    plan::{
        Action, DryRun, Observation, Observations, ServerError, Verb,
        ownership::{ByHand, handed_over},
    },
    telemetry::SPANS,
};

/// How many actions of a kind are under way; the cluster's own limit decides
/// how many requests are in flight.
const UNDER_WAY: usize = 64;

/// Whether writing is allowed at this moment.
pub trait WritePermit: Sync {
    /// Asked before each write.
    fn may_write(&self) -> bool;
}

impl<F: Fn() -> bool + Sync> WritePermit for F {
    fn may_write(&self) -> bool {
        self()
    }
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionResult {
    /// The object.
    pub id: ObjectId,
    /// What was to be done.
    pub verb: Verb,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The object is as the action wants it.
    Applied(Applied),
    /// The object is gone, or was gone already.
    Deleted,
    /// The object is being deleted; these finalizers hold it.
    Deleting {
        /// Who still has to let go.
        finalizers: Vec<String>,
    },
    /// The server refuses it, or could not be reached.
    Failed(ServerError),
    /// The object is not the one, or not as, the plan was made for: it must be
    /// observed again.
    Stale(ServerError),
    /// The object is being deleted: nothing is applied to it.
    Terminating {
        /// Who still has to let go.
        finalizers: Vec<String>,
    },
    /// It was not begun.
    NotBegun(NotBegun),
}

/// An object as an action left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// The whole object as the server answered: the live index and the
    /// fingerprint are made from it. Whoever is told of the progress may take it.
    pub object: Box<Value>,
    /// The hash over what the application answers for on it, once it was taken.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it was made by this action.
    pub created: bool,
}

/// Why an action was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotBegun {
    /// An action of an earlier kind did not succeed.
    EarlierFailure,
    /// There is no permit to write any more.
    NoPermit,
}

impl Outcome {
    /// Whether the action is done: what comes after it may begin.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Applied(_) | Self::Deleted | Self::Deleting { .. })
    }
}

/// What a stage is carried out with.
pub struct Stage<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// On whose behalf.
    pub identity: &'a Identity,
    /// The application's field manager.
    pub manager: &'a str,
    /// What the plan was made on. If an object changed since, and nothing that
    /// the plan relied on did (only its status, say), its action goes on with
    /// the new version; without the observation it is [`Stale`](Outcome::Stale).
    /// Fields that were added by hand are found again by it, too.
    pub observations: &'a Observations,
    /// Whether writing is still allowed.
    pub permit: &'a dyn WritePermit,
}

/// Carries out the actions of one stage that write, in their order, and says
/// of each what came of it as soon as it is known. Actions that write nothing
/// are passed over.
pub async fn apply_stage(
    stage: &Stage<'_>,
    actions: &[&Action],
    mut progress: impl FnMut(&mut ActionResult),
) -> Vec<ActionResult> {
    let mut results = Vec::with_capacity(actions.len());
    let mut failed = false;
    for group in groups(actions) {
        if failed {
            results.extend(group.iter().map(|action| {
                let mut result = result(action, Outcome::NotBegun(NotBegun::EarlierFailure));
                progress(&mut result);
                result
            }));
            continue;
        }
        // Without a server the others of the kind need not wait in vain.
        let out_of_reach = AtomicBool::new(false);
        let span = span_of(&group);
        let mut waiting = group.into_iter();
        let mut running = FuturesUnordered::new();
        let carrying_out = async {
            loop {
                let room = UNDER_WAY - running.len();
                running.extend(waiting.by_ref().take(room).map(|action| begin(stage, action, &out_of_reach)));
                let Some(mut result) = running.next().await else { break };
                failed |= !result.outcome.is_done();
                progress(&mut result);
                results.push(result);
            }
        };
        carrying_out.instrument(span).await;
    }
    results
}

/// The span of the writes of one kind.
fn span_of(group: &[&Action]) -> Span {
    let Some(first) = group.first() else { return Span::none() };
    let objects = i64::try_from(group.len()).unwrap_or(i64::MAX);
    if first.verb == Verb::Delete {
        info_span!(target: SPANS, "prune", "bowline.kind" = %first.id.group_kind(), "bowline.objects" = objects)
    } else {
        info_span!(target: SPANS, "write", "bowline.kind" = %first.id.group_kind(), "bowline.objects" = objects)
    }
}

/// Makes what was added by hand to an object the application's own, so that the
/// next apply takes it away: only who owns which field is written. Returns
/// whether the object is to be planned anew; false where there is nothing of
/// that kind.
///
/// # Errors
/// The server refuses it, or could not be reached.
pub async fn hand_over(stage: &Stage<'_>, id: &ObjectId, by_hand: &[ByHand]) -> Result<bool, ServerError> {
    let Some(Observation::Live { object, .. }) = stage.observations.get(id) else { return Ok(false) };
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let (Some(managed), Some(version), Some(gvk)) =
        (handed_over(object, stage.manager, by_hand), version, crate::manifest::gvk_of(object))
    else {
        return Ok(false);
    };
    write::hand_over(stage, id, &gvk, &managed, version).await
}

/// The dry-run of the actions of a stage, for when it opens: those that need a
/// namespace or kind of an earlier stage could not be tried before.
pub async fn prove(
    cluster: &Cluster,
    identity: &Identity,
    manager: &str,
    actions: &[&Action],
) -> BTreeMap<ObjectId, DryRun> {
    let mut waiting = actions.iter().copied().filter(|action: &&Action| is_write(action));
    let mut running = FuturesUnordered::new();
    let mut proofs = BTreeMap::new();
    loop {
        for action in waiting.by_ref().take(UNDER_WAY - running.len()) {
            running.push(write::dry_run(cluster, identity, manager, action));
        }
        let Some((id, dry_run)) = running.next().await else { return proofs };
        proofs.insert(id, dry_run);
    }
}

async fn begin(stage: &Stage<'_>, action: &Action, out_of_reach: &AtomicBool) -> ActionResult {
    if out_of_reach.load(Ordering::Relaxed) {
        return result(action, Outcome::NotBegun(NotBegun::EarlierFailure));
    }
    let outcome = write::carry_out(stage, action).await;
    if matches!(&outcome, Outcome::Failed(error) if error.code == 0 && error.transient) {
        out_of_reach.store(true, Ordering::Relaxed);
    }
    result(action, outcome)
}

fn result(action: &Action, outcome: Outcome) -> ActionResult {
    ActionResult { id: action.id.clone(), verb: action.verb, outcome }
}

fn is_write(action: &Action) -> bool {
    action.verb.writes()
}

/// The writes in groups that are carried out one after the other: neighbours
/// of one kind together, deletes last.
fn groups<'a>(actions: &[&'a Action]) -> Vec<Vec<&'a Action>> {
    let (deletes, applies): (Vec<&Action>, Vec<&Action>) =
        actions.iter().copied().filter(|action| is_write(action)).partition(|action| action.verb == Verb::Delete);
    let mut groups = neighbours(applies);
    groups.extend(neighbours(deletes));
    groups
}

fn neighbours(actions: Vec<&Action>) -> Vec<Vec<&Action>> {
    let mut groups: Vec<(GroupKind, Vec<&Action>)> = Vec::new();
    for action in actions {
        let kind = action.id.group_kind();
        match groups.last_mut() {
            Some((last, group)) if *last == kind => group.push(action),
            _ => groups.push((kind, vec![action])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::GroupVersionKind;

    fn action(verb: Verb, kind: &str, name: &str) -> Action {
        let id = ObjectId::new(GroupKind::new("", kind), Some("a".into()), name);
        Action::new(id, GroupVersionKind::new("", "v1", kind), verb, "")
    }

    #[test]
    fn one_kind_is_written_at_once_in_the_order_of_the_plan_and_deletes_come_last() {
        let actions = [
            action(Verb::Create, "ConfigMap", "a"),
            action(Verb::Delete, "Service", "old"),
            action(Verb::Update, "ConfigMap", "b"),
            action(Verb::Leave, "Secret", "kept"),
            action(Verb::Create, "Service", "c"),
            action(Verb::Delete, "ConfigMap", "old"),
        ];
        let actions: Vec<&Action> = actions.iter().collect();
        let names: Vec<Vec<&str>> =
            groups(&actions).iter().map(|group| group.iter().map(|it| it.id.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["c"], vec!["old"], vec!["old"]]);
    }
}
