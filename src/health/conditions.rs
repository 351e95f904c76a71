//! Conditions of a status, as the API conventions write them.

use serde_json::Value;

use super::fields;

/// What a condition says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// `True`.
    True,
    /// `False`.
    False,
    /// `Unknown`, or anything else.
    Unknown,
}

/// One condition, borrowed from its object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    /// Type, such as `Ready`.
    pub kind: &'a str,
    /// The status as it is written: some kinds say more than true and false.
    pub said: &'a str,
    /// Whether it holds.
    pub truth: Truth,
    /// One word for programs, or empty.
    pub reason: &'a str,
    /// A sentence for people, or empty.
    pub message: &'a str,
    /// `Error`, `Warning` or `Info` where a project writes it, or empty.
    pub severity: &'a str,
    /// The generation it was written for.
    pub observed_generation: Option<i64>,
}

impl<'a> Condition<'a> {
    /// Reads one condition; `None` for what has no type or no status.
    pub(super) fn read(value: &'a Value) -> Option<Self> {
        let kind = fields::text(value, "type")?;
        let said = match value.get("status") {
            Some(Value::String(text)) => text.as_str(),
            Some(Value::Bool(true)) => "True",
            Some(Value::Bool(false)) => "False",
            // Some projects list a type only while it holds.
            None => "True",
            Some(_) => return None,
        };
        let truth = if said.eq_ignore_ascii_case("true") {
            Truth::True
        } else if said.eq_ignore_ascii_case("false") {
            Truth::False
        } else {
            Truth::Unknown
        };
        Some(Self {
            kind,
            said,
            truth,
            reason: fields::text(value, "reason").unwrap_or_default(),
            message: fields::text(value, "message").unwrap_or_default(),
            severity: fields::text(value, "severity").unwrap_or_default(),
            observed_generation: fields::number(value, "observedGeneration"),
        })
    }

    /// Whether the type is this one; case does not matter.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    /// The condition holds.
    pub(super) fn holds(&self) -> bool {
        self.truth == Truth::True
    }

    /// The condition does not hold, and its controller knows it.
    pub(super) fn fails(&self) -> bool {
        self.truth == Truth::False
    }

    /// `Ready is False: SecretSyncedError: could not get the secret`.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{} is {}", self.kind, self.said);
        let why = self.why();
        if !why.is_empty() {
            text.push_str(": ");
            text.push_str(&why);
        }
        text
    }

    /// `SecretSyncedError: could not get the secret`, as far as it is told.
    pub(super) fn why(&self) -> String {
        match (self.reason, self.message.trim()) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) if reason.eq_ignore_ascii_case(message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

/// The conditions in `conditions` of the value.
pub(super) fn of(value: &Value) -> impl Iterator<Item = Condition<'_>> {
    fields::list(value, "conditions").iter().filter_map(Condition::read)
}

/// The conditions of an object's status.
pub(super) fn of_status(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    fields::list(object, "status.conditions").iter().filter_map(Condition::read)
}

/// The condition of a type in an object's status.
pub(super) fn find<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    of_status(object).find(|condition| condition.is(kind))
}

/// The condition of a type in an object's status, where it holds.
pub(super) fn holding<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    find(object, kind).filter(Condition::holds)
}
