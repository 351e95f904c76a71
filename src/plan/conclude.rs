//! From candidates and what the server said of them to the plan.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::json;

use super::{
    Action, ActiveHook, Candidate, Gate, Observation, Observations, Plan, Policy, Precondition, Proposal, Refusal,
    Verb, Why,
    digest::plan_digest,
    hooks,
    order::rank,
    propose::{defines, is_namespace},
    prune::prune,
    roles::is_role,
    schedule::{HookPhase, wave_of_live},
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

    // Namespaces, definitions and roles come first: what stands on them is
    // judged by whether this plan writes them.
    let is_base =
        |candidate: &&Candidate| is_namespace(&candidate.id) || kind_of(candidate).is_some() || is_role(&candidate.id);
    let (bases, others): (Vec<&Candidate>, Vec<&Candidate>) = proposal.candidates.iter().partition(is_base);
    for candidate in bases {
        let Some(place) = draft.decide(candidate, proposal, observations, policy, &ground) else { continue };
        if candidate.desired.is_none() {
            continue;
        }
        draft.grounds.extend(kind_of(candidate).map(|kind| (Base::Kind(kind), place.level)));
        ground.kinds.extend(kind_of(candidate));
        ground.roles.extend(is_role(&candidate.id).then(|| candidate.id.clone()));
        if is_namespace(&candidate.id) {
            let name = candidate.id.name.clone();
            draft.grounds.insert(Base::Namespace(name.clone()), place.level);
            if place.after == 1 {
                ground.going.insert(name.clone());
            }
            ground.namespaces.insert(name);
        }
    }
    if let Some(namespace) = namespace_to_make(proposal, observations, policy) {
        ground.namespaces.insert(namespace.id.name.clone());
        draft.add(bottom(proposal), namespace);
    }
    for candidate in others {
        draft.decide(candidate, proposal, observations, policy, &ground);
    }
    draft.decide_hooks(proposal, observations, policy, &ground);
    draft.forgotten.extend(proposal.moved.iter().cloned());
    draft.finish(proposal, policy)
}

#[derive(Default)]
struct Draft {
    actions: Vec<Placed>,
    refusals: Vec<Refusal>,
    confirmed: Vec<(ObjectId, super::Owned)>,
    forgotten: Vec<ObjectId>,
    overruled: Vec<String>,
    unchanged: u32,
    creations: usize,
    /// The levels of what this plan writes for others to stand on.
    grounds: BTreeMap<Base, u32>,
    hooks: Vec<(Place, ActiveHook)>,
    /// Objects that must be gone before they are made anew.
    going: BTreeSet<ObjectId>,
}

/// What others stand on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    Kind(GroupKind),
    Namespace(String),
}

/// An action with its place in the order of the plan.
struct Placed {
    place: Place,
    /// Whether it is about an object that the bundle no longer has.
    removed: bool,
    /// The wave of an object that is removed, as it says itself.
    wave: i32,
    action: Action,
}

impl Draft {
    fn add(&mut self, place: Place, action: Action) {
        self.actions.push(Placed { place, removed: false, wave: 0, action });
    }

    /// Adds an action on an object that the bundle no longer has.
    fn add_removed(&mut self, observation: Option<&Observation>, action: Action) {
        let wave = match observation {
            Some(Observation::Live { object, .. }) => wave_of_live(object),
            _ => 0,
        };
        self.actions.push(Placed { place: Place::of_member(0), removed: true, wave, action });
    }

    /// Decides on one candidate. Returns its place if it is written.
    fn decide(
        &mut self,
        candidate: &Candidate,
        proposal: &Proposal,
        observations: &Observations,
        policy: &Policy,
        ground: &Ground,
    ) -> Option<Place> {
        let observation = observations.get(&candidate.id);
        let removed = candidate.desired.is_none();
        let verdict = match &candidate.desired {
            Some(manifest) => settle(candidate, manifest, observation, policy, &Standing { ground, proposal }),
            None => prune(candidate, observation, policy),
        };
        let level = self.level(candidate, proposal);
        let place = if level == 0 && is_namespace(&candidate.id) { bottom(proposal) } else { Place::of_member(level) };
        let add = |draft: &mut Self, place, action| match removed {
            true => draft.add_removed(observation, action),
            false => draft.add(place, action),
        };
        match verdict {
            Verdict::Act(mut action) => {
                if action.verb == Verb::Create {
                    self.creations += 1;
                    if self.creations > CREATIONS_IN_FULL {
                        action.changes = Vec::new();
                    }
                }
                let later =
                    action.unproven || observation.is_some_and(|seen| !removed && ground.is_needed_by(candidate, seen));
                let place = Place { after: u32::from(later), ..place };
                add(self, place, action);
                return Some(place);
            }
            Verdict::ActWhenGone(action) => {
                let place = Place { after: 1, ..place };
                self.going.insert(candidate.id.clone());
                add(self, place, action);
                return Some(place);
            }
            Verdict::Refused(refusal) => {
                let refuse = action(candidate, Verb::Refuse, refusal.message.clone());
                add(self, place, refuse);
                self.refusals.push(refusal);
            }
            Verdict::Confirmed(owned, overruled) => {
                self.overruled.extend(overruled);
                self.unchanged += 1;
                self.confirmed.push((candidate.id.clone(), owned));
            }
            Verdict::Forgotten(leave) => {
                self.forgotten.push(candidate.id.clone());
                if let Some(leave) = leave {
                    add(self, place, leave);
                }
            }
            Verdict::Left(leave, owned) => {
                self.confirmed.extend(owned.map(|owned| (candidate.id.clone(), owned)));
                add(self, place, leave);
            }
        }
        None
    }

    /// The level of a member: its own, or that of what it stands on where this
    /// comes later.
    fn level(&self, candidate: &Candidate, proposal: &Proposal) -> u32 {
        let namespace = candidate.id.namespace.clone().map(Base::Namespace);
        let bases = [Some(Base::Kind(candidate.id.group_kind())), namespace];
        let bases = bases.iter().flatten().filter_map(|base| self.grounds.get(base).copied());
        bases.chain([proposal.schedule.level(&candidate.id)]).max().unwrap_or(0)
    }

    fn decide_hooks(&mut self, proposal: &Proposal, observations: &Observations, policy: &Policy, ground: &Ground) {
        let Some(runs) = &policy.hooks else { return };
        let mut before = BTreeSet::new();
        for hook in &proposal.hooks {
            let place = Place::of_hook(hook.run.phase, hook.level);
            let id = &hook.run.id;
            // Namespaces come before all hooks, kinds before those that run after
            // the sync.
            let is_made_before = id.namespace.as_ref().is_some_and(|namespace| ground.namespaces.contains(namespace))
                || hook.run.phase != HookPhase::PreSync && ground.kinds.contains(&id.group_kind());
            let active = |begun| ActiveHook { run: hook.run.clone(), hook: hook.hook.clone(), begun };
            let again = !before.insert(id);
            match hooks::settle(hook, observations.get(id), policy, runs, is_made_before) {
                hooks::Verdict::Run(mut action) => {
                    // The object of a former phase is looked at when it is there.
                    action.unproven |= again;
                    self.hooks.push((place, active(false)));
                    self.add(place, *action);
                }
                hooks::Verdict::RunWhenGone(action) => {
                    self.going.insert(id.clone());
                    self.hooks.push((place, active(false)));
                    self.add(Place { after: 1, ..place }, *action);
                }
                hooks::Verdict::Runs(owned) => {
                    self.hooks.push((place, active(true)));
                    self.confirmed.push((id.clone(), owned));
                }
                hooks::Verdict::Left(leave) => self.add(place, *leave),
                hooks::Verdict::Refused(refusal) => {
                    self.add(place, action(&hook.candidate, Verb::Refuse, refusal.message.clone()));
                    self.refusals.push(refusal);
                }
            }
        }
    }

    fn finish(mut self, proposal: &Proposal, policy: &Policy) -> Plan {
        // Deletions come after all other members, whatever the number of stages.
        let members = self.actions.iter().filter(|placed| !placed.removed && placed.action.verb.writes());
        let last = members.map(|placed| placed.place).filter(|place| place.phase == Place::SYNC).max();
        let last = last.unwrap_or(Place::of_member(0));
        for placed in self.actions.iter_mut().filter(|placed| placed.removed) {
            placed.place = last;
        }
        let places: BTreeSet<Place> =
            self.actions.iter().filter(|placed| placed.action.verb.writes()).map(|placed| placed.place).collect();
        let places: Vec<Place> = places.into_iter().collect();
        for placed in &mut self.actions {
            let stage = places.partition_point(|place| *place < placed.place).min(places.len().saturating_sub(1));
            placed.action.stage = u32::try_from(stage).unwrap_or(u32::MAX);
        }
        self.actions.sort_by(|left, right| {
            let order = |placed: &Placed| (rank(&placed.action.id), placed.action.id.clone());
            (left.action.stage, left.removed).cmp(&(right.action.stage, right.removed)).then_with(|| {
                if left.removed {
                    Reverse((left.wave, order(left))).cmp(&Reverse((right.wave, order(right))))
                } else {
                    order(left).cmp(&order(right))
                }
            })
        });
        let gates = places.iter().map(|place| Arc::new(self.gate(*place, proposal))).collect();
        let last_gate =
            Gate { hooks: self.hooks.iter().map(|(_, hook)| hook.run.clone()).collect(), ..Gate::default() };
        let actions: Vec<Action> = self.actions.into_iter().map(|placed| placed.action).collect();
        let digest = plan_digest(&proposal.bundle, &actions);
        let mut refusals = self.refusals;
        refusals.extend(proposal.problems.iter().cloned());
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
            notes: notes(&actions, proposal, policy),
            overruled: self.overruled,
            unchanged: proposal.unchanged + self.unchanged,
            confirmed: self.confirmed,
            forgotten: self.forgotten,
            refusals,
            gates,
            last_gate: Arc::new(last_gate),
            hooks: self.hooks.into_iter().map(|(_, hook)| hook).collect(),
            digest,
            actions,
        }
    }

    /// What must be so before the stage of this place is opened.
    fn gate(&self, place: Place, proposal: &Proposal) -> Gate {
        let of_stage = || self.actions.iter().filter(|placed| placed.place == place).map(|placed| &placed.action);
        let members = of_stage().filter(|action| action.hook.is_none() && action.manifest.is_some());
        let earlier = self.hooks.iter().filter(|(of, _)| (of.phase, of.level) < (place.phase, place.level));
        Gate {
            healthy: match place.phase {
                Place::SYNC => proposal.schedule.waits_for(members.map(|action| &action.id)),
                _ => BTreeSet::new(),
            },
            all_healthy: place.phase > Place::SYNC,
            hooks: earlier.map(|(_, hook)| hook.run.clone()).collect(),
            gone: of_stage().map(|action| &action.id).filter(|id| self.going.contains(*id)).cloned().collect(),
        }
    }
}

/// Where an action stands in the order of a plan: its phase, the level in it,
/// and whether it comes after what the same level makes, or after something is
/// gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    phase: u32,
    level: u32,
    after: u32,
}

impl Place {
    const PRE_SYNC: u32 = 0;
    const SYNC: u32 = 1;
    const POST_SYNC: u32 = 2;
    const TEST: u32 = 3;
    /// Before everything, also before hooks: the namespace that they live in.
    const FIRST: Self = Self { phase: Self::PRE_SYNC, level: 0, after: 0 };

    fn of_member(level: u32) -> Self {
        Self { phase: Self::SYNC, level, after: 0 }
    }

    fn of_hook(phase: HookPhase, level: u32) -> Self {
        let phase = match phase {
            // Those of a failed release are run alone, and wait for nothing.
            HookPhase::PreSync | HookPhase::SyncFailed => Self::PRE_SYNC,
            HookPhase::PostSync => Self::POST_SYNC,
            HookPhase::Test => Self::TEST,
        };
        // The namespace that Bowline makes itself comes before.
        Self { phase, level: level + 1, after: 0 }
    }
}

/// Where namespaces stand: before the hooks, which may live in them.
fn bottom(proposal: &Proposal) -> Place {
    let has_hooks = proposal.hooks.iter().any(|hook| hook.run.phase == HookPhase::PreSync);
    if has_hooks { Place::FIRST } else { Place::of_member(0) }
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

fn notes(actions: &[Action], proposal: &Proposal, policy: &Policy) -> Vec<String> {
    let mut notes = Vec::new();
    let later = actions.iter().filter(|action| action.unproven && action.stage > 0 && action.hook.is_none()).count();
    if later > 0 {
        let what = if later == 1 { "1 object is" } else { &format!("{later} objects are") };
        notes.push(format!("{what} tried only when the namespace or kind that this plan writes is there"));
    }
    if !policy.preflight
        && actions.iter().any(|action| matches!(action.verb, Verb::Create | Verb::Update | Verb::Adopt))
    {
        notes.push("preflight is off: nothing was tried, and defaults may show as changes".to_owned());
    }
    notes.extend(actions.iter().filter_map(|action| {
        let webhook = action.untried.as_ref()?;
        Some(format!(
            "{} is tried only when it is written: admission webhook {webhook} does not support dry-run",
            action.id
        ))
    }));
    let kept = actions.iter().filter(|action| action.verb == Verb::Leave);
    notes.extend(kept.map(|action| format!("{} is left: {}", action.id, action.reason)));
    notes.extend(proposal.left_out.iter().map(|(id, why)| format!("{id} {why}")));
    notes
}

#[cfg(test)]
mod tests;
