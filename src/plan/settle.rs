//! What happens to one object that the bundle has.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::{Value, json};

use super::{
    Action, Body, Candidate, DryRun, FieldChange, Observation, Owned, Policy, Precondition, Proposal, Refusal,
    RefusalReason, Verb, Why, adopt, backward, body,
    claim::{TAKE_OVER, carries_our_marks, claimant, other_managers, taken_over_by, uid},
    conflict,
    diff::{Difference, asked, diff},
    ownership::{self, ByHand, FieldSet, LostField, TakenField, entry_api_version, entry_of, lost_fields},
    refusal::{self, Tried},
    roles::role_of,
};
use crate::manifest::{GroupKind, Manifest, ObjectId};

/// How many fields a word on one object names.
const FIELDS_NAMED: usize = 3;

/// What is decided on one object.
pub(super) enum Verdict {
    /// Something is done to it.
    Act(Action),
    /// It is made when the object that is being deleted is gone.
    ActWhenGone(Action),
    /// It cannot be done.
    Refused(Refusal),
    /// It is as it should be; the inventory records it. Where that is not what
    /// the manifest says, a word on why.
    Confirmed(Owned, Option<String>),
    /// The inventory forgets it, with a word on why where it still exists.
    Forgotten(Option<Action>),
    /// It is left as it is, for a reason; the inventory may record it.
    Left(Action, Option<Owned>),
}

/// What this plan writes for others to stand on.
#[derive(Default)]
pub(super) struct Ground {
    /// Namespaces.
    pub(super) namespaces: BTreeSet<String>,
    /// Kinds, by their definition.
    pub(super) kinds: BTreeSet<GroupKind>,
    /// Namespaces that are being deleted and are made anew.
    pub(super) going: BTreeSet<String>,
    /// Roles, which a binding is judged by.
    pub(super) roles: BTreeSet<ObjectId>,
}

impl Ground {
    /// Whether the server can only judge the object once the plan's first
    /// stage is written.
    pub(super) fn is_needed_by(&self, candidate: &Candidate, observation: &Observation) -> bool {
        let in_going = candidate.id.namespace.as_ref().is_some_and(|namespace| self.going.contains(namespace));
        in_going
            || self.kinds.contains(&candidate.id.group_kind())
            || matches!(observation, Observation::NamespaceAbsent)
                && candidate.id.namespace.as_ref().is_some_and(|namespace| self.namespaces.contains(namespace))
            || matches!(observation, Observation::Absent { dry_run: DryRun::Error(error) } if error.code == 404)
                && role_of(candidate).is_some_and(|role| self.roles.contains(&role))
    }
}

/// What an object stands on: what the plan writes, and what the bundle has.
pub(super) struct Standing<'a> {
    pub(super) ground: &'a Ground,
    pub(super) proposal: &'a Proposal,
}

/// An action without content.
pub(super) fn action(candidate: &Candidate, verb: Verb, reason: String) -> Action {
    Action::new(candidate.id.clone(), candidate.gvk.clone(), verb, reason)
}

pub(super) fn is_job(id: &ObjectId) -> bool {
    id.group == "batch" && id.kind == "Job"
}

pub(super) fn is_terminating(object: &Value) -> bool {
    object.get("metadata").and_then(|metadata| metadata.get("deletionTimestamp")).is_some_and(|time| !time.is_null())
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.get("metadata").and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Annotation of a manifest that lets its object be deleted and made anew where
/// a field cannot be changed.
pub(super) const REPLACE: &str = "bowline.dev/replace";

/// Kinds that are never deleted to be made anew: what they hold would go too.
fn is_never_replaced(id: &ObjectId) -> bool {
    matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("", "PersistentVolumeClaim" | "PersistentVolume" | "Namespace")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Whether a candidate's manifest lets its object be deleted and made anew.
pub fn may_be_replaced(candidate: &Candidate) -> bool {
    candidate.desired.as_ref().is_some_and(|manifest| manifest.annotation(REPLACE) == Some("true"))
        && !is_never_replaced(&candidate.id)
}

/// `is being deleted and waits for its finalizer example.com/hold`.
fn being_deleted(object: &Value) -> String {
    let waits = finalizers(object);
    match waits.as_slice() {
        [] => "is being deleted".to_owned(),
        [one] => format!("is being deleted and waits for its finalizer {one}"),
        _ => format!("is being deleted and waits for its finalizers {}", waits.join(", ")),
    }
}

/// Decides on an object that the bundle has.
pub(super) fn settle(
    candidate: &Candidate,
    manifest: &Manifest,
    observation: Option<&Observation>,
    policy: &Policy,
    standing: &Standing<'_>,
) -> Verdict {
    let Some(observation) = observation else {
        return Verdict::Refused(refusal::not_observed(&candidate.id));
    };
    let later = standing.ground.is_needed_by(candidate, observation);
    match observation {
        Observation::Unreadable(error) => Verdict::Refused(refusal::unreadable(&candidate.id, error)),
        Observation::NamespaceAbsent if !later => {
            let mut refusal = refusal::namespace_absent(&candidate.id);
            let brought = candidate.id.namespace.as_ref();
            // It was there a moment ago: it is seen to be gone soon, and made anew.
            refusal.transient = brought.is_some_and(|namespace| standing.proposal.namespaces.contains(namespace));
            Verdict::Refused(refusal)
        }
        Observation::KindAbsent if !later => {
            Verdict::Refused(kind_absent(candidate, standing.proposal.kinds.contains(&candidate.id.group_kind())))
        }
        Observation::NamespaceAbsent | Observation::KindAbsent => {
            create(candidate, manifest, &DryRun::NotTried, policy, later)
        }
        Observation::Absent { dry_run } => create(candidate, manifest, dry_run, policy, later),
        Observation::Live { object, dry_run } => {
            let hands = hands(object, policy);
            Meeting { candidate, manifest, live: object, policy, later, hands }.settle(dry_run)
        }
    }
}

/// A kind that the bundle itself defines is served soon after its definition
/// is written.
pub(super) fn kind_absent(candidate: &Candidate, defined: bool) -> Refusal {
    let (message, hint) = if defined {
        (format!("the server does not serve {} yet", candidate.gvk), None)
    } else {
        let hint = "install the CustomResourceDefinition first, or correct apiVersion and kind".to_owned();
        (format!("the server does not know {}", candidate.gvk), Some(hint))
    };
    Refusal { reason: RefusalReason::KindAbsent, object: Some(candidate.id.clone()), message, hint, transient: defined }
}

fn create(candidate: &Candidate, manifest: &Manifest, dry_run: &DryRun, policy: &Policy, later: bool) -> Verdict {
    if is_job(&candidate.id) && policy.rollback.is_some_and(|rollback| !rollback.jobs) {
        let leave = action(candidate, Verb::Leave, "finished; not run again (--include jobs)".to_owned());
        return Verdict::Left(leave, Some(not_run(candidate, manifest)));
    }
    let body = body(manifest, None, policy);
    if let (DryRun::Error(error), false) = (dry_run, later) {
        let tried = Tried { id: &candidate.id, live: None, body: Some(&body), manager: &policy.membership.manager };
        let refused = refusal::of_error(error, &tried);
        return Verdict::Refused(match role_of(candidate).filter(|_| error.code == 404) {
            // The server learns of a role a moment after it was made.
            Some(role) => {
                Refusal { message: format!("refers to {role}, which does not exist"), transient: true, ..refused }
            }
            None => refused,
        });
    }
    let reason = match candidate.why {
        Why::New => "is new",
        Why::Gone | Why::Drifted => "was deleted",
        Why::Changed | Why::Unconfirmed | Why::Removed | Why::Hook => "does not exist",
    };
    let mut action = action(candidate, Verb::Create, reason.to_owned());
    // Identity is said once, by the action itself.
    let desired = manifest.value.read();
    let mut named = json!({"apiVersion": desired["apiVersion"], "kind": desired["kind"], "metadata": {}});
    for name in ["name", "namespace"] {
        if let Some(value) = desired["metadata"].get(name) {
            named["metadata"][name] = value.clone();
        }
    }
    action.changes = diff(&named, &desired).into_iter().map(|change| field_change(change, true)).collect();
    action.body = Some(match &candidate.desired {
        Some(desired) => Body::Marked(desired.clone(), policy.membership.clone()),
        None => body.into(),
    });
    action.manifest = Some(manifest.digest.clone());
    action.unproven = later;
    action.untried = untried(dry_run);
    Verdict::Act(action)
}

/// The webhook that kept an object from being tried.
pub(super) fn untried(dry_run: &DryRun) -> Option<String> {
    match dry_run {
        DryRun::NotSupported(webhook) => Some(webhook.clone()),
        _ => None,
    }
}

/// The record of a Job that a rollback does not run.
fn not_run(candidate: &Candidate, manifest: &Manifest) -> Owned {
    Owned {
        gvk: candidate.gvk.clone(),
        uid: None,
        manifest: Some(manifest.digest.clone()),
        fingerprint: None,
        done: true,
        hook: false,
    }
}

fn fingerprint(candidate: &Candidate, live: &Value, policy: &Policy) -> Option<crate::manifest::Fingerprint> {
    let ignore = policy.ignore_for(&candidate.id);
    ownership::fingerprint(live, &policy.membership.manager, &ignore, &policy.hand_managers)
}

pub(super) fn field_change(change: Difference, owned: bool) -> FieldChange {
    let pointer = change.after_at.or(change.before_at).map(|at| ownership::pointer_of(&at)).unwrap_or_default();
    FieldChange { path: change.path, pointer, before: change.before, after: change.after, owned }
}

/// The managers whose additions go: those that people act under, and on an
/// object that moves here, the application that it comes from.
fn hands<'p>(live: &Value, policy: &'p Policy) -> Cow<'p, BTreeSet<String>> {
    let ours = entry_of(live, &policy.membership.manager).is_some();
    let former: Vec<&str> = if ours { Vec::new() } else { other_managers(live, &policy.membership).collect() };
    if former.is_empty() {
        return Cow::Borrowed(&policy.hand_managers);
    }
    let former = former.into_iter().map(str::to_owned);
    Cow::Owned(policy.hand_managers.iter().cloned().chain(former).collect())
}

/// An object that the bundle has and the cluster too.
struct Meeting<'a> {
    candidate: &'a Candidate,
    manifest: &'a Manifest,
    live: &'a Value,
    policy: &'a Policy,
    later: bool,
    /// The managers whose additions go.
    hands: Cow<'a, BTreeSet<String>>,
}

impl Meeting<'_> {
    fn settle(&self, dry_run: &DryRun) -> Verdict {
        let membership = &self.policy.membership;
        let owned = self.candidate.owned.as_ref();
        let ours = owned.is_some_and(|owned| owned.uid.is_some() && owned.uid.as_deref() == uid(self.live));
        if is_terminating(self.live) {
            // What is ours is watched, and seen to be gone.
            return if ours { self.made_anew() } else { Verdict::Refused(self.terminating()) };
        }
        let claimed = if ours { taken_over_by(self.live, membership) } else { claimant(self.live, membership) };
        let given_up = claimed.is_some() && self.policy.given_up.contains(&self.candidate.id);
        let take_over = given_up || self.manifest.annotation(TAKE_OVER) == Some("true");
        if let Some(other) = claimed.as_ref().filter(|_| !take_over) {
            return Verdict::Refused(self.owned_by(other));
        }
        // What the last apply left, though it could not say so any more.
        let ours = ours || (claimed.is_none() && carries_our_marks(self.live, membership));
        let body = body(self.manifest, Some(self.live), self.policy);
        let (state, by_hand) = self.by_hand(dry_run, &body);
        if !ours && !take_over {
            let unasked = adopt::dropped_unasked(state, &by_hand, &self.hands);
            if !unasked.is_empty() {
                return Verdict::Refused(adopt::refuse(&self.candidate.id, &unasked));
            }
        }

        let changes = match dry_run {
            DryRun::Would(result) => {
                let changes = self.changes(result);
                let needed = changes.iter().any(|change| change.owned) || !self.has_ownership_of(result);
                if !needed && by_hand.is_empty() && !self.later {
                    return Verdict::Confirmed(self.as_it_is(), self.overruled(&body));
                }
                changes
            }
            _ if self.later => Vec::new(),
            DryRun::NotTried | DryRun::NotSupported(_) => self.asked(&body),
            DryRun::Error(_) => Vec::new(),
        };
        let left = |rollback| backward::left(&self.candidate.id, rollback, self.manifest, self.live);
        if let Some(reason) = self.policy.rollback.and_then(left) {
            return Verdict::Left(action(self.candidate, Verb::Leave, reason), self.left_record(ours));
        }
        if let (DryRun::Error(error), false) = (dry_run, self.later) {
            let tried = Tried {
                id: &self.candidate.id,
                live: Some(self.live),
                body: Some(&body),
                manager: &membership.manager,
            };
            let refusal = refusal::of_error(error, &tried);
            if refusal.reason == RefusalReason::Immutable && ours && may_be_replaced(self.candidate) {
                return Verdict::Act(self.replaced(&refusal));
            }
            return Verdict::Refused(refusal);
        }

        let takes =
            if self.later { Vec::new() } else { conflict::takes(self.live, dry_run, &body, &membership.manager) };
        if let Some(refusal) = conflict::refuse(&self.candidate.id, &takes, self.policy).filter(|_| !take_over) {
            return Verdict::Refused(refusal);
        }

        let lost = self.lost(dry_run);
        let takes: Vec<TakenField> = takes.into_iter().filter(|taken| !self.is_told(taken, &lost)).collect();
        let mut hands: Vec<&str> = by_hand.iter().map(|field| field.manager.as_str()).collect();
        hands.sort_unstable();
        hands.dedup();
        let mut reason = self.reason(ours, claimed.as_deref(), &lost, &changes);
        if !hands.is_empty() && ours {
            reason.push_str(&format!("; fields were added by {}", hands.join(", ")));
        } else if !hands.is_empty() {
            reason.push_str(&format!("; fields that the manifest does not have go (set by {})", hands.join(", ")));
        }
        if let Some(words) = conflict::words(&takes) {
            reason.push_str(&format!("; {words}"));
        }
        let mut action = action(self.candidate, if ours { Verb::Update } else { Verb::Adopt }, reason);
        action.precondition = Precondition {
            uid: uid(self.live).map(str::to_owned),
            resource_version: self.live["metadata"]["resourceVersion"].as_str().map(str::to_owned),
        };
        action.changes = changes;
        // What is dropped is a change as well, which no dry-run of the apply shows.
        for field in &by_hand {
            if action.changes.iter().any(|change| change.path == field.path_for_people) {
                continue;
            }
            let before = state.pointer(&field.pointer).cloned();
            let (path, pointer) = (field.path_for_people.clone(), field.pointer.clone());
            action.changes.push(FieldChange { path, pointer, before, after: None, owned: true });
        }
        action.drops = by_hand.iter().filter_map(|field| field.pointer_in(self.live)).collect();
        action.body = Some(body.into());
        action.manifest = Some(self.manifest.digest.clone());
        action.unproven = self.later;
        action.untried = untried(dry_run);
        action.takes = takes;
        if !ours || entry_of(self.live, &membership.manager).is_none() {
            action.former = ownership::former_managers(state, &membership.manager, &self.hands);
        }
        Verdict::Act(action)
    }

    /// Fields that the last apply left as ours and that are not any more.
    fn lost(&self, dry_run: &DryRun) -> Vec<LostField> {
        match dry_run {
            DryRun::Would(result) => lost_fields(result, self.live, &self.policy.membership.manager),
            _ => Vec::new(),
        }
    }

    /// Whether the reason for putting an object back says already from whom a
    /// field is taken.
    fn is_told(&self, taken: &TakenField, lost: &[LostField]) -> bool {
        matches!(self.candidate.why, Why::Drifted | Why::Gone)
            && lost.iter().any(|field| field.path == taken.path && field.managers == taken.managers)
    }

    /// What was added by hand and stays after the apply, with the state that
    /// its pointers lead into. An apply takes back what hand managers took of
    /// ours, so that the result of the dry-run is looked at.
    fn by_hand<'r>(&'r self, dry_run: &'r DryRun, body: &Value) -> (&'r Value, Vec<ByHand>) {
        let ignore = self.policy.ignore_for(&self.candidate.id);
        let of = |state: &Value| {
            let manager = &self.policy.membership.manager;
            ownership::by_hand_counting(state, manager, &ignore, &self.hands)
        };
        if let DryRun::Would(result) = dry_run {
            return (result, of(result));
        }
        // Without one, what is sent is known at least.
        let mut found = of(self.live);
        found.retain(|field| field.pointer_in(body).is_none());
        (self.live, found)
    }

    fn changes(&self, result: &Value) -> Vec<FieldChange> {
        let manager = &self.policy.membership.manager;
        let covered = |object: &Value, at: &Option<Vec<String>>| match at {
            Some(at) => entry_of(object, manager).is_some_and(|fields| fields.covers(object, at)),
            None => false,
        };
        let changes = diff(self.live, result).into_iter();
        changes
            .map(|change| {
                let owned = covered(self.live, &change.before_at) || covered(result, &change.after_at);
                field_change(change, owned)
            })
            .collect()
    }

    /// Without a dry-run: what is asked for, by our own reading.
    fn asked(&self, body: &Value) -> Vec<FieldChange> {
        let changes = asked(self.live, body, &self.policy.membership.manager).into_iter();
        changes.map(|change| field_change(change, true)).collect()
    }

    /// Whether our entry on the live object is what an apply would leave.
    fn has_ownership_of(&self, result: &Value) -> bool {
        let manager = &self.policy.membership.manager;
        let versions = entry_api_version(self.live, manager) == entry_api_version(result, manager);
        match (entry_of(self.live, manager), entry_of(result, manager)) {
            (Some(has), Some(would)) => versions && FieldSet::is_same(has, would),
            _ => false,
        }
    }

    /// What differs although the server gives the same again when the manifest
    /// is applied: an apply cannot change it, and trying would have no end.
    fn overruled(&self, body: &Value) -> Option<String> {
        if self.candidate.why != Why::Drifted {
            return None;
        }
        let differences = asked(self.live, body, &self.policy.membership.manager);
        let fields: Vec<&str> =
            differences.iter().take(FIELDS_NAMED).map(|difference| difference.path.as_str()).collect();
        (!fields.is_empty()).then(|| {
            format!(
                "{} keeps its {}: the server gives the same again when the manifest is applied, \
                 so an admission policy or webhook decides it",
                self.candidate.id,
                fields.join(", ")
            )
        })
    }

    fn as_it_is(&self) -> Owned {
        Owned {
            gvk: self.candidate.gvk.clone(),
            uid: uid(self.live).map(str::to_owned),
            manifest: Some(self.manifest.digest.clone()),
            fingerprint: fingerprint(self.candidate, self.live, self.policy),
            done: self
                .candidate
                .owned
                .as_ref()
                .is_some_and(|owned| owned.done && owned.uid.as_deref() == uid(self.live)),
            hook: false,
        }
    }

    /// How the inventory records what a rollback leaves, so that no later
    /// repair changes it: as it is, with the manifest that it was spared.
    fn left_record(&self, ours: bool) -> Option<Owned> {
        let is_job = is_job(&self.candidate.id);
        if !ours {
            return is_job.then(|| not_run(self.candidate, self.manifest));
        }
        let record = self.as_it_is();
        Some(Owned { done: is_job || record.done, ..record })
    }

    fn reason(&self, ours: bool, claimed: Option<&str>, lost: &[LostField], changes: &[FieldChange]) -> String {
        if let Some(other) = claimed {
            if self.policy.given_up.contains(&self.candidate.id) {
                return format!("is taken over from {other}, which no longer has it");
            }
            return format!("is taken over from {other} ({TAKE_OVER})");
        }
        if !ours {
            return match self.candidate.owned.as_ref().and_then(|owned| owned.uid.as_ref()) {
                Some(_) => "was made anew by somebody else, and nobody claims it".to_owned(),
                None => "exists already, and nobody claims it".to_owned(),
            };
        }
        let mut takers: Vec<&str> = lost.iter().flat_map(|field| &field.managers).map(String::as_str).collect();
        takers.sort_unstable();
        takers.dedup();
        let by = if takers.is_empty() { String::new() } else { format!(" (changed by {})", takers.join(", ")) };
        match self.candidate.why {
            Why::New => "carries our marks and is not in the inventory".to_owned(),
            Why::Changed => "its manifest changed".to_owned(),
            Why::Gone | Why::Drifted if !changes.iter().any(|change| change.owned) && !lost.is_empty() => {
                let fields: Vec<&str> = lost.iter().map(|field| field.path.as_str()).collect();
                format!("regains ownership of {}{by}", fields.join(", "))
            }
            Why::Gone | Why::Drifted => format!("drifted{by}"),
            Why::Unconfirmed | Why::Removed | Why::Hook => "what came of the last apply is not known".to_owned(),
        }
    }

    /// The action that makes an object of ours anew when it is gone.
    fn made_anew(&self) -> Verdict {
        let reason = format!("{}; made anew when it is gone", being_deleted(self.live));
        match create(self.candidate, self.manifest, &DryRun::NotTried, self.policy, true) {
            Verdict::Act(mut create) => {
                create.reason = reason;
                Verdict::ActWhenGone(create)
            }
            other => other,
        }
    }

    fn replaced(&self, refusal: &Refusal) -> Action {
        let reason = format!("{}; it is deleted and made anew ({REPLACE})", refusal.message);
        let mut replace = action(self.candidate, Verb::Replace, reason);
        let body = body(self.manifest, None, self.policy);
        replace.precondition = Precondition {
            uid: uid(self.live).map(str::to_owned),
            resource_version: self.live["metadata"]["resourceVersion"].as_str().map(str::to_owned),
        };
        replace.changes = self.asked(&body);
        replace.body = Some(body.into());
        replace.manifest = Some(self.manifest.digest.clone());
        replace
    }

    fn terminating(&self) -> Refusal {
        let hint = if finalizers(self.live).is_empty() {
            "it is made anew once it is gone".to_owned()
        } else {
            "see to whoever serves the finalizer; it is made anew once it is gone".to_owned()
        };
        Refusal {
            reason: RefusalReason::Terminating,
            object: Some(self.candidate.id.clone()),
            message: being_deleted(self.live),
            hint: Some(hint),
            transient: true,
        }
    }

    fn owned_by(&self, other: &str) -> Refusal {
        Refusal {
            reason: RefusalReason::OwnedByOther,
            object: Some(self.candidate.id.clone()),
            message: format!("belongs to {other}"),
            hint: Some(format!("to take it over, annotate the manifest with {TAKE_OVER}: \"true\"")),
            transient: false,
        }
    }
}
