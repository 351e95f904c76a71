//! A plan as people and programs read it: masked, and of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{ActionView, FieldChangeView, PlanView},
    manifest::{Masker, ObjectId},
    plan::{Action, FieldChange, Gate, Plan},
};

/// How many objects are named that a stage waits for.
const GATE_NAMED: usize = 2;

/// Makes the view of a plan, in at most about `max_bytes` of JSON. Secret
/// values are masked with `salt`, in the words of refusals too. What does not
/// fit is left out from the end, field changes before actions, and the view
/// says how much.
pub fn plan_view(plan: &Plan, commit: &str, to_release: Option<u64>, salt: &[u8], max_bytes: usize) -> PlanView {
    let masker = masker(plan, salt);
    let mut view = PlanView {
        digest: plan.digest.clone(),
        bundle: plan.bundle.clone(),
        commit: commit.to_owned(),
        to_release,
        actions: Vec::new(),
        omitted: 0,
        unchanged: plan.unchanged,
        stages: stages(plan),
        refusals: Vec::new(),
        notes: Vec::new(),
    };
    // Room for the notes on what is left out.
    let mut room = max_bytes.saturating_sub(size(&view) + 1024);
    let refusals = plan.refusals.iter().map(|refusal| match &refusal.hint {
        Some(hint) => format!("{refusal} (hint: {hint})"),
        None => refusal.to_string(),
    });
    let more = fill(&mut view.refusals, refusals.map(|text| masker.text(&text).into_owned()), room / 4);
    room -= size(&view.refusals).min(room);
    let mut left_out = words(more, "refusal");
    let notes = plan.notes.iter().map(|text| masker.text(text).into_owned());
    let more = fill(&mut view.notes, notes, room / 8);
    room -= size(&view.notes).min(room);
    left_out.extend(words(more, "note"));

    let actions = plan.actions.iter().map(|action| action_view(action, &masker));
    let more = fill(&mut view.actions, actions, room);
    room -= size(&view.actions).min(room);
    view.omitted = u32::try_from(more).unwrap_or(u32::MAX);
    if more > 0 {
        left_out.push(format!("{more} actions ({})", by_kind(&plan.actions[view.actions.len()..])));
    }

    let mut without = 0;
    for (view, action) in view.actions.iter_mut().zip(&plan.actions) {
        let changes: Vec<FieldChangeView> =
            action.changes.iter().map(|change| field(change, action, &masker)).collect();
        let bytes = size(&changes);
        if bytes <= room {
            room -= bytes;
            view.changes = changes;
        } else {
            without += 1;
        }
    }
    if without > 0 {
        left_out.push(format!("the field changes of {without} actions"));
    }
    if !left_out.is_empty() {
        view.notes.push(format!("left out because the whole is too large: {}", left_out.join(", ")));
    }
    view
}

/// What each stage waits for; nothing where none waits for anything.
fn stages(plan: &Plan) -> Vec<String> {
    let words: Vec<String> = (0..plan.stages()).map(|stage| gate_words(&plan.gate(stage))).collect();
    if words.iter().all(String::is_empty) { Vec::new() } else { words }
}

/// What a stage waits for, in words; empty where it begins at once.
fn gate_words(gate: &Gate) -> String {
    let mut words = Vec::new();
    if let Some(run) = gate.hooks.iter().next_back() {
        words.push(format!("the {} hooks succeeded", run.phase));
    }
    if gate.all_healthy {
        words.push("all of it is healthy".to_owned());
    }
    let named = |ids: &BTreeSet<ObjectId>| {
        let first: Vec<String> = ids.iter().take(GATE_NAMED).map(ToString::to_string).collect();
        let more = ids.len().saturating_sub(GATE_NAMED);
        if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
    };
    if !gate.healthy.is_empty() {
        let is = if gate.healthy.len() == 1 { "is" } else { "are" };
        words.push(format!("{} {is} healthy", named(&gate.healthy)));
    }
    if !gate.gone.is_empty() {
        let is = if gate.gone.len() == 1 { "is" } else { "are" };
        words.push(format!("{} {is} gone", named(&gate.gone)));
    }
    words.join(" and ")
}

fn words(count: usize, what: &str) -> Vec<String> {
    if count == 0 { Vec::new() } else { vec![format!("{count} more {what}{}", if count == 1 { "" } else { "s" })] }
}

/// Takes items while they fit. Returns how many did not.
fn fill<T: Serialize>(into: &mut Vec<T>, items: impl ExactSizeIterator<Item = T>, room: usize) -> usize {
    let total = items.len();
    let mut used = 0;
    for item in items {
        used += size(&item) + 1;
        if used > room {
            break;
        }
        into.push(item);
    }
    total - into.len()
}

fn size<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

/// `12 Create ConfigMap, 3 Delete Secret`.
fn by_kind(actions: &[Action]) -> String {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for action in actions {
        *counts.entry((format!("{:?}", action.verb), action.id.kind.as_str())).or_default() += 1;
    }
    let mut words: Vec<String> =
        counts.iter().take(20).map(|((verb, kind), count)| format!("{count} {verb} {kind}")).collect();
    if counts.len() > words.len() {
        words.push("…".to_owned());
    }
    words.join(", ")
}

/// Knows every secret value of the plan, before and after, so that texts which
/// quote one are masked too.
fn masker(plan: &Plan, salt: &[u8]) -> Masker {
    let mut masker = Masker::new(salt);
    for action in plan.actions.iter().filter(|action| action.id.group.is_empty() && action.id.kind == "Secret") {
        if let Some(body) = &action.body {
            masker.learn(&body.read());
        }
        for change in &action.changes {
            for value in [&change.before, &change.after].into_iter().flatten() {
                masker.learn(&secret_with(&change.pointer, value));
            }
        }
    }
    masker
}

/// A Secret that has just this value at this place.
fn secret_with(pointer: &str, value: &Value) -> Value {
    let mut secret = value.clone();
    for token in pointer.split('/').skip(1).collect::<Vec<_>>().into_iter().rev() {
        secret = json!({ token.replace("~1", "/").replace("~0", "~"): secret });
    }
    if let Some(fields) = secret.as_object_mut() {
        fields.insert("apiVersion".into(), json!("v1"));
        fields.insert("kind".into(), json!("Secret"));
    }
    secret
}

fn action_view(action: &Action, masker: &Masker) -> ActionView {
    ActionView {
        verb: action.verb,
        group: action.id.group.clone(),
        kind: action.id.kind.clone(),
        namespace: action.id.namespace.clone(),
        name: action.id.name.clone(),
        reason: masker.text(&action.reason).into_owned(),
        changes: Vec::new(),
        stage: action.stage,
    }
}

fn field(change: &FieldChange, action: &Action, masker: &Masker) -> FieldChangeView {
    let masked = |value: &Option<Value>| {
        value.as_ref().map(|value| masker.field(&action.id.group_kind(), &change.pointer, value).to_string())
    };
    FieldChangeView { path: change.path.clone(), before: masked(&change.before), after: masked(&change.after) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::{
        manifest::{BundleDigest, Digest, GroupVersionKind, ObjectId, PlanDigest},
        plan::{Refusal, RefusalReason, Verb},
    };

    fn action(kind: &str, name: &str, changes: &[(&str, &str, Value)]) -> Action {
        let gvk = GroupVersionKind::new("", "v1", kind);
        let id = ObjectId::new(gvk.group_kind(), Some("team-a".into()), name);
        Action {
            changes: changes
                .iter()
                .map(|(path, pointer, after)| FieldChange {
                    path: (*path).into(),
                    pointer: (*pointer).into(),
                    before: None,
                    after: Some(after.clone()),
                    owned: true,
                })
                .collect(),
            ..Action::new(id, gvk, Verb::Update, "its manifest changed")
        }
    }

    fn plan(actions: Vec<Action>) -> Plan {
        Plan {
            bundle: BundleDigest(Digest::of(b"bundle")),
            actions,
            unchanged: 3,
            confirmed: Vec::new(),
            forgotten: Vec::new(),
            refusals: Vec::new(),
            notes: Vec::new(),
            gates: Vec::new(),
            last_gate: Default::default(),
            hooks: Vec::new(),
            overruled: Vec::new(),
            digest: PlanDigest(Digest::of(b"plan")),
        }
    }

    fn many(count: usize, text: &str) -> Plan {
        let one = |index| action("ConfigMap", &format!("c{index:05}"), &[("data.k", "/data/k", json!(text))]);
        plan((0..count).map(one).collect())
    }

    #[rstest]
    #[case::one_key("data.password", "/data/password", json!("aHVudGVyMi1odW50ZXIy"))]
    #[case::the_whole_map("data", "/data", json!({"password": "aHVudGVyMi1odW50ZXIy"}))]
    #[case::the_last_applied_annotation(
        "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]",
        "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
        json!("{\"data\": \"aHVudGVyMi1odW50ZXIy\"}")
    )]
    #[case::the_annotations_as_a_whole(
        "metadata.annotations", "/metadata/annotations",
        json!({"kubectl.kubernetes.io/last-applied-configuration": "aHVudGVyMi1odW50ZXIy"})
    )]
    fn the_values_of_secrets_are_masked(#[case] path: &str, #[case] pointer: &str, #[case] value: Value) {
        let plan = plan(vec![action("Secret", "s", &[(path, pointer, value)])]);
        let text = serde_json::to_string(&plan_view(&plan, "", None, b"salt", 524_288)).unwrap();
        assert!(!text.contains("aHVudGVyMi1odW50ZXIy") && text.contains("***"), "{text}");
    }

    #[test]
    fn a_refusal_that_quotes_a_secret_value_is_masked_too() {
        let mut plan = plan(vec![action("Secret", "s", &[("data.p", "/data/p", json!("aHVudGVyMi1odW50ZXIy"))])]);
        plan.refusals.push(Refusal {
            reason: RefusalReason::Invalid,
            object: None,
            message: "bad value hunter2-hunter2".into(),
            hint: None,
            transient: false,
        });
        let view = plan_view(&plan, "", None, b"salt", 524_288);
        assert!(view.refusals[0].starts_with("bad value ***"), "{}", view.refusals[0]);
    }

    #[test]
    fn a_plan_that_fits_is_shown_whole() {
        let view = plan_view(&many(100, "x"), "abc", Some(7), b"salt", 524_288);
        assert_eq!((view.actions.len(), view.omitted, view.unchanged), (100, 0, 3));
        assert_eq!((view.commit.as_str(), view.to_release), ("abc", Some(7)));
        assert_eq!(view.actions[0].changes[0].after.as_deref(), Some("\"x\""));
        assert!(view.notes.is_empty());
    }

    #[rstest]
    #[case::field_changes_go_first(many(200, &"x".repeat(10_000)), 200, 0)]
    #[case::then_actions(many(20_000, "x"), 0, 1)]
    #[case::one_enormous_value(many(1, &"x".repeat(1_000_000)), 1, 0)]
    fn what_does_not_fit_is_left_out_and_counted(#[case] plan: Plan, #[case] actions: usize, #[case] omitted: usize) {
        let limit = 524_288;
        let view = plan_view(&plan, "abc", None, b"salt", limit);
        assert!(serde_json::to_vec(&view).unwrap().len() <= limit);
        assert_eq!(view.actions.len() + view.omitted as usize, plan.actions.len());
        assert!(view.actions.len() >= actions && view.omitted as usize >= omitted);
        assert!(view.notes[0].starts_with("left out because the whole is too large"), "{:?}", view.notes);
    }

    #[test]
    fn refusals_have_their_share_and_no_more() {
        let mut plan = many(1, "x");
        let refusal = Refusal {
            reason: RefusalReason::Invalid,
            object: None,
            message: "x".repeat(1000),
            hint: None,
            transient: false,
        };
        plan.refusals = vec![refusal; 2000];
        let view = plan_view(&plan, "", None, b"salt", 524_288);
        assert!(view.refusals.len() > 100 && view.refusals.len() < 2000);
        assert!(view.notes[0].contains("more refusals"), "{:?}", view.notes);
        assert!(serde_json::to_vec(&view).unwrap().len() <= 524_288);
    }
}
