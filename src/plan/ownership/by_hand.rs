//! What people added to a live object beside what was applied.
//!
//! A server-side apply leaves fields that it does not name, so they are found
//! here and removed by a JSON patch. Only what is certain is named: a field
//! that hand managers alone own, that is there, and that the server would not
//! set again by itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Element, Entry, FieldSet, PeoplePath, entries, pointer_of, server_set};

/// The manager that the server makes up when an object that had no entries is
/// applied for the first time. It owns everything that was live then, of which
/// nobody knows who set it: nothing of that is dropped.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The manager of `kubectl apply --server-side`, the only one that people act
/// under by apply; the others update.
pub(crate) const KUBECTL_APPLY: &str = "kubectl";

/// What the field managers of applications begin with. They count as hands for
/// an object that moves from one application to another, and never else.
pub(crate) const APPLICATIONS: &str = "bowline/";

/// Managers of kubectl whose changes are meant to stay: dropping what
/// `rollout restart` set would replace the pods once more.
const MEANT_TO_STAY: [&str; 3] = ["kubectl-rollout", "kubectl-annotate", "kubectl-label"];

/// A field that somebody added by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Where, as a JSON pointer into the live object.
    pub pointer: String,
    /// Who added it.
    pub manager: String,
    /// Where, for people.
    pub path_for_people: String,
    /// Where, as the entry of its manager writes it: what names the place in
    /// any state of the object.
    steps: Vec<String>,
}

impl ByHand {
    /// The steps to the place, as the entry of its manager writes them.
    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// The same place in another state of the object, as a JSON pointer.
    pub fn pointer_in(&self, object: &Value) -> Option<String> {
        let mut value = object;
        let mut tokens = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let (token, child) = Element::parse(step)?.find(value)?;
            tokens.push(token);
            value = child;
        }
        Some(pointer_of(&tokens))
    }
}

/// The fields of a live object that hand managers own, and that neither
/// `manager` nor anybody else does. A container or list item that was added as
/// a whole is one entry. They come in an order in which a JSON patch can remove
/// them one after the other: of two items of one list the later comes first.
///
/// Entries of subresources never count as made by hand, and neither do
/// finalizers, owner references, Bowline's own annotations, `status`, and
/// values that the server sets by itself.
pub fn added_by_hand(object: &Value, manager: &str, hand_managers: &BTreeSet<String>) -> Vec<ByHand> {
    let (hands, others): (Vec<Entry<'_>>, Vec<Entry<'_>>) =
        entries(object).partition(|entry| entry.manager != manager && is_by_hand(entry, hand_managers));
    if hands.is_empty() {
        return Vec::new();
    }
    let hands: Vec<(&str, FieldSet<'_>)> = hands.iter().map(|entry| (entry.manager, entry.fields)).collect();
    let others: Vec<FieldSet<'_>> = others.iter().map(|entry| entry.fields).collect();
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let mut search = Search { kind, steps: Vec::new(), found: Vec::new() };
    search.node(&hands, &others, object, &mut Vec::new(), &PeoplePath::default());
    let mut found = search.found;
    found.sort_by(|(left, _), (right, _)| right.cmp(left));
    found.dedup_by(|(left, _), (right, _)| left == right);
    found.into_iter().map(|(_, field)| field).collect()
}

fn is_by_hand(entry: &Entry<'_>, hand_managers: &BTreeSet<String>) -> bool {
    is_by_people(entry, hand_managers) && entry.manager != BEFORE_FIRST_APPLY
}

/// Whether people wrote an entry of the object itself, or nobody knows who did.
pub(super) fn is_by_people(entry: &Entry<'_>, hand_managers: &BTreeSet<String>) -> bool {
    entry.subresource.is_empty()
        && hand_managers.contains(entry.manager)
        && !MEANT_TO_STAY.contains(&entry.manager)
        && entry.applied == (entry.manager == KUBECTL_APPLY || entry.manager.starts_with(APPLICATIONS))
}

/// Whether people act under a field manager, whatever becomes of what they do:
/// they are told apart from programs, which would set a field again.
pub(crate) fn is_person(manager: &str, hand_managers: &BTreeSet<String>) -> bool {
    hand_managers.contains(manager) || MEANT_TO_STAY.contains(&manager)
}

/// A step of a place, ordered so that items of one list compare by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Field(String),
}

impl AsRef<str> for StepText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A step as a token of a JSON pointer.
struct StepText(String);

impl From<&Step> for StepText {
    fn from(step: &Step) -> Self {
        match step {
            Step::Index(index) => Self(index.to_string()),
            Step::Field(name) => Self(name.clone()),
        }
    }
}

struct Search<'a> {
    kind: &'a str,
    steps: Vec<String>,
    found: Vec<(Vec<Step>, ByHand)>,
}

impl Search<'_> {
    fn node(
        &mut self,
        hands: &[(&str, FieldSet<'_>)],
        others: &[FieldSet<'_>],
        value: &Value,
        place: &mut Vec<Step>,
        path: &PeoplePath,
    ) {
        for (position, (_, fields)) in hands.iter().enumerate() {
            for (raw, _) in fields.raw_children() {
                // A step that several hands own is looked at once.
                if hands[..position].iter().any(|(_, earlier)| earlier.raw_child(raw).is_some()) {
                    continue;
                }
                let Some(element) = Element::parse(raw) else { continue };
                let Some((token, child)) = element.find(value) else { continue };
                let path = match &element {
                    Element::Field(name) => path.field(name),
                    Element::Key(key) => path.key(key),
                    Element::Member(member) => path.member(member),
                    Element::Index(index) => path.index(*index),
                };
                place.push(match element {
                    Element::Field(name) => Step::Field(name.to_owned()),
                    _ => Step::Index(token.parse().unwrap_or_default()),
                });
                let hands: Vec<(&str, FieldSet<'_>)> =
                    hands.iter().filter_map(|(manager, fields)| Some((*manager, fields.raw_child(raw)?))).collect();
                let others: Vec<FieldSet<'_>> = others.iter().filter_map(|fields| fields.raw_child(raw)).collect();
                self.steps.push(raw.to_owned());
                self.child(&hands, &others, child, place, &path);
                self.steps.pop();
                place.pop();
            }
        }
    }

    fn child(
        &mut self,
        hands: &[(&str, FieldSet<'_>)],
        others: &[FieldSet<'_>],
        value: &Value,
        place: &mut Vec<Step>,
        path: &PeoplePath,
    ) {
        let texts: Vec<StepText> = place.iter().map(StepText::from).collect();
        if server_set::is_fixed(self.kind, &texts) {
            return;
        }
        match hands.iter().find(|(_, fields)| fields.owns_itself()) {
            Some((manager, _)) if others.is_empty() => {
                if server_set::is_left_alone(self.kind, &texts, value) {
                    return;
                }
                let field = ByHand {
                    pointer: pointer_of(&texts),
                    manager: (*manager).to_owned(),
                    path_for_people: path.as_str().to_owned(),
                    steps: self.steps.clone(),
                };
                self.found.push((place.clone(), field));
            }
            _ => self.node(hands, others, value, place, path),
        }
    }
}
