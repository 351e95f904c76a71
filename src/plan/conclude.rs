//! From candidates and what the server said of them to the plan.

use std::cmp::Reverse;

use serde_json::json;

use super::{
    Action, Candidate, Observation, Observations, Plan, Policy, Precondition, Proposal, Refusal, Verb, Why,
    digest::plan_digest,
    order::rank,
    propose::{defines, is_namespace},
    prune::prune,
    settle::{Ground, Standing, Verdict, action, settle},
};
use crate::manifest::{GroupKind, GroupVersionKind, ObjectId};

/// Of so many creations a plan says field by field what is made. What the others
/// make stands in their bodies: ten thousand copies would fill the memory, and
/// more are read by nobody.
const CREATIONS_IN_FULL: usize = 500;

/// Makes the plan. The same input makes the same plan; nothing is read and no
/// clock is asked.
///
/// What cannot be done is a refusal, by object; a plan with refusals is carried
/// out in no part. Guards refuse too, unless `policy.allow_prune` names the
/// digest of this very plan.
pub fn conclude(proposal: &Proposal, observations: &Observations, policy: &Policy) -> Plan {
    let mut draft = Draft::default();
    let mut ground = Ground::default();

    // Namespaces and definitions come first: what stands on them is judged by
    // whether this plan writes them.
    let (bases, others): (Vec<&Candidate>, Vec<&Candidate>) =
        proposal.candidates.iter().partition(|candidate| is_namespace(&candidate.id) || kind_of(candidate).is_some());
    for candidate in bases {
        if draft.decide(candidate, proposal, observations, policy, &ground) && candidate.desired.is_some() {
            ground.kinds.extend(kind_of(candidate));
            ground.namespaces.extend(is_namespace(&candidate.id).then(|| candidate.id.name.clone()));
        }
    }
    if let Some(namespace) = namespace_to_make(proposal, observations, policy) {
        ground.namespaces.insert(namespace.id.name.clone());
        draft.actions.push((false, namespace));
    }
    for candidate in others {
        draft.decide(candidate, proposal, observations, policy, &ground);
    }
    draft.forgotten.extend(proposal.moved.iter().cloned());
    draft.finish(proposal, policy)
}

#[derive(Default)]
struct Draft {
    /// Actions, and whether each is about an object that the bundle no longer has.
    actions: Vec<(bool, Action)>,
    refusals: Vec<Refusal>,
    confirmed: Vec<(ObjectId, super::Owned)>,
    forgotten: Vec<ObjectId>,
    unchanged: u32,
    creations: usize,
}

impl Draft {
    /// Decides on one candidate. Returns whether it is written.
    fn decide(
        &mut self,
        candidate: &Candidate,
        proposal: &Proposal,
        observations: &Observations,
        policy: &Policy,
        ground: &Ground,
    ) -> bool {
        let observation = observations.get(&candidate.id);
        let removed = candidate.desired.is_none();
        let verdict = match &candidate.desired {
            Some(manifest) => settle(candidate, manifest, observation, policy, &Standing { ground, proposal }),
            None => prune(candidate, observation, policy),
        };
        match verdict {
            Verdict::Act(mut action) => {
                action.stage = u32::from(
                    action.unproven || observation.is_some_and(|seen| !removed && ground.is_needed_by(candidate, seen)),
                );
                if action.verb == Verb::Create {
                    self.creations += 1;
                    if self.creations > CREATIONS_IN_FULL {
                        action.changes = Vec::new();
                    }
                }
                self.actions.push((removed, action));
                return true;
            }
            Verdict::Refused(refusal) => {
                let refuse = action(candidate, Verb::Refuse, refusal.message.clone());
                self.actions.push((removed, refuse));
                self.refusals.push(refusal);
            }
            Verdict::Confirmed(owned) => {
                self.unchanged += 1;
                self.confirmed.push((candidate.id.clone(), owned));
            }
            Verdict::Forgotten(leave) => {
                self.forgotten.push(candidate.id.clone());
                self.actions.extend(leave.map(|leave| (removed, leave)));
            }
            Verdict::Left(leave, owned) => {
                self.confirmed.extend(owned.map(|owned| (candidate.id.clone(), owned)));
                self.actions.push((removed, leave));
            }
        }
        false
    }

    fn finish(mut self, proposal: &Proposal, policy: &Policy) -> Plan {
        // Deletions come after everything else, whatever the number of stages.
        let last = self.actions.iter().map(|(_, action)| action.stage).max().unwrap_or(0);
        for (_, action) in self.actions.iter_mut().filter(|(removed, _)| *removed) {
            action.stage = last;
        }
        self.actions.sort_by(|(left_removed, left), (right_removed, right)| {
            let place = |action: &Action| (rank(&action.id), action.id.clone());
            (left.stage, left_removed).cmp(&(right.stage, right_removed)).then_with(|| {
                if *left_removed {
                    Reverse(place(left)).cmp(&Reverse(place(right)))
                } else {
                    place(left).cmp(&place(right))
                }
            })
        });
        let actions: Vec<Action> = self.actions.into_iter().map(|(_, action)| action).collect();
        let digest = plan_digest(&proposal.bundle, &actions);
        let mut refusals = self.refusals;
        refusals.sort_by(|left, right| (&left.object, left.reason).cmp(&(&right.object, right.reason)));
        if policy.allow_prune.as_ref() != Some(&digest) {
            let name = |guard: &Refusal| {
                let look = guard.hint.clone().unwrap_or_default();
                Refusal { hint: Some(format!("{look}; to let it pass once, allow the plan {digest}")), ..guard.clone() }
            };
            refusals.splice(0..0, proposal.guards.iter().map(name));
        }
        self.confirmed.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.forgotten.sort();
        self.forgotten.dedup();
        Plan {
            bundle: proposal.bundle.clone(),
            notes: notes(&actions, policy),
            unchanged: proposal.unchanged + self.unchanged,
            confirmed: self.confirmed,
            forgotten: self.forgotten,
            refusals,
            digest,
            actions,
        }
    }
}

fn kind_of(candidate: &Candidate) -> Option<GroupKind> {
    candidate.desired.as_deref().and_then(defines)
}

/// The namespace of `createNamespace`, where an object needs it and the bundle
/// does not bring it. It is no member of the application: it is never pruned.
fn namespace_to_make(proposal: &Proposal, observations: &Observations, policy: &Policy) -> Option<Action> {
    let name = policy.create_namespace.as_ref()?;
    let needed = proposal.candidates.iter().any(|candidate| {
        candidate.desired.is_some()
            && candidate.id.namespace.as_ref() == Some(name)
            && matches!(observations.get(&candidate.id), Some(Observation::NamespaceAbsent))
    });
    let brought = proposal.namespaces.contains(name);
    if !needed || brought {
        return None;
    }
    let gvk = GroupVersionKind::new("", "v1", "Namespace");
    let id = ObjectId::new(gvk.group_kind(), None, name.clone());
    let candidate = Candidate { id, gvk, desired: None, owned: None, why: Why::New };
    let mut create = action(&candidate, Verb::Create, "does not exist (destination.createNamespace)".to_owned());
    create.body = Some(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).into());
    create.precondition = Precondition::default();
    create.unproven = true;
    Some(create)
}

fn notes(actions: &[Action], policy: &Policy) -> Vec<String> {
    let mut notes = Vec::new();
    let later = actions.iter().filter(|action| action.unproven && action.stage > 0).count();
    if later > 0 {
        let what = if later == 1 { "1 object is" } else { &format!("{later} objects are") };
        notes.push(format!("{what} tried only when the namespace or kind that this plan writes is there"));
    }
    if !policy.preflight
        && actions.iter().any(|action| matches!(action.verb, Verb::Create | Verb::Update | Verb::Adopt))
    {
        notes.push("preflight is off: nothing was tried, and defaults may show as changes".to_owned());
    }
    let kept = actions.iter().filter(|action| action.verb == Verb::Leave);
    notes.extend(kept.map(|action| format!("{} is left: {}", action.id, action.reason)));
    notes
}

#[cfg(test)]
mod tests;
