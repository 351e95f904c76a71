//! Objects that drift again and again: when to stop repairing one, for how
//! long, and what to tell a person. Pure.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    manifest::ObjectId,
    plan::{Action, Verb, ownership::managers_at},
};

/// Within which time repairs of one object count together.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// So many repairs within that time make an object contested.
const REPAIRS: usize = 5;
/// How long a contested object is left alone at first.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// How long at first where another try may help.
const TRANSIENT_PAUSE: SignedDuration = SignedDuration::from_secs(2);
/// And at most.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(30);
/// After so long without a repair the fight counts as over.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);
/// How many fields a message names.
const FIELDS_NAMED: usize = 3;
/// How many pointers a rule that a message proposes has, before it names the
/// managers in their place.
const POINTERS_NAMED: usize = 4;

/// What is known of the repairs of one object.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    repairs: VecDeque<Timestamp>,
    until: Option<Timestamp>,
    pause: SignedDuration,
    words: String,
    /// Whether it was left alone because it could not be put back, and not
    /// because it was put back in vain.
    refused: bool,
}

impl Contest {
    /// Nothing was repaired yet.
    pub(super) fn new() -> Self {
        Self { repairs: VecDeque::new(), until: None, pause: PAUSE, words: String::new(), refused: false }
    }

    /// Counts a repair. True if that makes the object contested: it is to be
    /// left alone.
    pub(super) fn repaired(&mut self, now: Timestamp) -> bool {
        if std::mem::take(&mut self.refused) {
            self.pause = PAUSE;
        }
        self.repairs.push_back(now);
        while self.repairs.front().is_some_and(|time| now.duration_since(*time) > WINDOW) {
            self.repairs.pop_front();
        }
        self.repairs.len() >= REPAIRS
    }

    /// Leaves the object alone for a while, longer each time.
    pub(super) fn leave_alone(&mut self, now: Timestamp, words: String) {
        self.until = Some(now + self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.repairs.clear();
        self.words = words;
    }

    /// Leaves an object alone that cannot be put back: for a moment at first
    /// where another try may help.
    pub(super) fn refused(&mut self, now: Timestamp, transient: bool, words: String) {
        if !std::mem::replace(&mut self.refused, true) {
            self.pause = if transient { TRANSIENT_PAUSE } else { PAUSE };
        }
        self.leave_alone(now, words);
    }

    /// Until when the object is left alone, if it is.
    pub(super) fn left_alone_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| *until > now)
    }

    /// Whether it is left alone because it was put back in vain.
    pub(super) fn is_contested(&self, now: Timestamp) -> bool {
        !self.refused && self.left_alone_until(now).is_some()
    }

    /// Whether there is nothing left to remember.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let last = self.repairs.back().copied().max(self.until);
        last.is_none_or(|last| now.duration_since(last) >= FORGOTTEN)
    }

    /// Why it is left alone, for a person.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

/// What is told of an object that somebody changes again and again: the
/// fields, who sets them, and the rule that leaves them to whoever that is.
/// `live` is the object as it was found before the last repair.
pub(super) fn words(action: &Action, live: Option<&Value>, manager: &str) -> String {
    if action.verb == Verb::Create {
        return "deleted again and again; the audit log of the API server says by whom".to_owned();
    }
    let changed: Vec<_> = action.changes.iter().filter(|change| change.owned && !change.pointer.is_empty()).collect();
    let managers_of = |pointer: &str| live.map(|live| managers_at(live, pointer, manager)).unwrap_or_default();
    let fields: Vec<String> = changed
        .iter()
        .take(FIELDS_NAMED)
        .map(|change| match managers_of(&change.pointer).join(", ") {
            by if by.is_empty() => change.path.clone(),
            by => format!("{} by {by}", change.path),
        })
        .collect();
    let more = changed.len().saturating_sub(FIELDS_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let managers: BTreeSet<String> = changed.iter().flat_map(|change| managers_of(&change.pointer)).collect();
    let rule = if changed.len() > POINTERS_NAMED && !managers.is_empty() {
        rule(&action.id, "managers", managers.iter().map(String::as_str))
    } else {
        rule(&action.id, "pointers", changed.iter().take(POINTERS_NAMED).map(|change| change.pointer.as_str()))
    };
    format!("changed again and again: {}{more}; to leave it so, add to spec.sync.ignore: {rule}", fields.join(", "))
}

/// A rule as an item of `sync.ignore`, in one line of YAML.
fn rule<'a>(id: &ObjectId, field: &str, values: impl Iterator<Item = &'a str>) -> String {
    let mut parts = Vec::new();
    if !id.group.is_empty() {
        parts.push(format!("group: {}", scalar(&id.group)));
    }
    parts.push(format!("kind: {}", scalar(&id.kind)));
    if let Some(namespace) = &id.namespace {
        parts.push(format!("namespace: {}", scalar(namespace)));
    }
    parts.push(format!("name: {}", scalar(&id.name)));
    let values: Vec<String> = values.map(scalar).collect();
    parts.push(format!("{field}: [{}]", values.join(", ")));
    format!("{{{}}}", parts.join(", "))
}

/// A text as YAML reads it back within a flow: plain where that is certain,
/// quoted otherwise.
fn scalar(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-~".contains(character);
    let begins = text.starts_with(|first: char| first == '/' || first.is_ascii_alphabetic());
    let is_word = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if begins && !is_word && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{
        manifest::{GroupKind, GroupVersionKind},
        plan::FieldChange,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn action(verb: Verb, group: &str, kind: &str, pointers: &[&str]) -> Action {
        let change = |pointer: &&str| FieldChange {
            path: pointer.trim_start_matches('/').replace('/', "."),
            pointer: (*pointer).to_owned(),
            before: None,
            after: None,
            owned: true,
        };
        let id = ObjectId::new(GroupKind::new(group, kind), Some("team-a".into()), "web");
        Action {
            changes: pointers.iter().map(change).collect(),
            ..Action::new(id, GroupVersionKind::new(group, "v1", kind), verb, "drifted")
        }
    }

    fn live() -> Value {
        let set = |manager: &str, spec: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": spec}})
        };
        json!({"spec": {"replicas": 3, "paused": true, "a": 1, "b": 2, "c": 3}, "metadata": {"managedFields": [
            set("autoscaler", json!({"f:replicas": {}})),
            set("tool", json!({"f:paused": {}, "f:a": {}, "f:b": {}, "f:c": {}})),
            set("ours", json!({"f:replicas": {}})),
        ]}})
    }

    #[rstest]
    #[case::in_a_row(&[0, 1, 2, 3, 4], true)]
    #[case::a_minute_apart(&[0, 60, 120, 180, 240], true)]
    #[case::fewer(&[0, 1, 2, 3], false)]
    #[case::two_minutes_apart(&[0, 120, 240, 360, 480, 600], false)]
    fn an_object_is_contested_after_five_repairs_within_five_minutes(#[case] repairs: &[i64], #[case] expected: bool) {
        let mut contest = Contest::new();
        let contested = repairs.iter().map(|second| contest.repaired(at(*second))).last().unwrap();
        assert_eq!(contested, expected);
    }

    #[test]
    fn it_is_left_alone_twice_as_long_each_time_up_to_half_an_hour() {
        let mut contest = Contest::new();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            contest.leave_alone(at(0), String::new());
            pauses.push(contest.left_alone_until(at(0)).unwrap().duration_since(at(0)).as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(contest.left_alone_until(at(1800)), None);
        assert!(!contest.is_over(at(1800)) && contest.is_over(at(1800 + 600)));
    }

    #[test]
    fn a_contested_field_is_told_with_its_manager_and_the_rule_that_settles_it() {
        let action = action(Verb::Update, "apps", "Deployment", &["/spec/replicas"]);
        insta::assert_snapshot!(words(&action, Some(&live()), "ours"), @"changed again and again: spec.replicas by autoscaler; to leave it so, add to spec.sync.ignore: {group: apps, kind: Deployment, namespace: team-a, name: web, pointers: [/spec/replicas]}");
    }

    #[test]
    fn many_contested_fields_are_settled_by_their_manager() {
        let action =
            action(Verb::Update, "", "ConfigMap", &["/spec/paused", "/spec/a", "/spec/b", "/spec/c", "/spec/d"]);
        insta::assert_snapshot!(words(&action, Some(&live()), "ours"), @"changed again and again: spec.paused by tool, spec.a by tool, spec.b by tool and 2 more; to leave it so, add to spec.sync.ignore: {kind: ConfigMap, namespace: team-a, name: web, managers: [tool]}");
    }

    #[test]
    fn what_is_deleted_again_and_again_has_no_rule() {
        let action = action(Verb::Create, "", "ConfigMap", &[]);
        insta::assert_snapshot!(words(&action, None, "ours"), @"deleted again and again; the audit log of the API server says by whom");
    }

    #[rstest]
    #[case("/spec/replicas", "/spec/replicas")]
    #[case("/metadata/annotations/a.b~1c", "/metadata/annotations/a.b~1c")]
    #[case("/data/a: b", r#""/data/a: b""#)]
    #[case("/data/a,b]", r#""/data/a,b]""#)]
    #[case("123", r#""123""#)]
    #[case("on", r#""on""#)]
    fn a_proposed_rule_reads_back_as_it_was_meant(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(scalar(text), expected);
        let read: Vec<String> = serde_yaml::from_str(&format!("[{}]", scalar(text))).unwrap();
        assert_eq!(read, [text]);
    }
}
