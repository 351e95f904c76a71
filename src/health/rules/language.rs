//! The tests of a rule, as text.
//!
//! ```text
//! @Ready=False                        a condition, by type and status
//! @Ready=False/Failed|*Error          with one of these reasons (* is any text)
//! @Ready|Available=False~quota        with a message that contains this
//! status.parents[]@Accepted=False     in the conditions of any of these
//! status.phase=Failed|Error           a field is one of these; case does not matter
//! status.phase!=Running               a field is there and is none of these
//! status.phase~Error                  contains
//! status.readyReplicas<spec.replicas  less (or >) than a field or a number; a missing left side is 0
//! status.address                      is there, and is not empty, false or 0
//! metadata.annotations[a.b/c]?        is there at all
//! metadata.annotations[a.b/c]=true    a field whose name has dots
//! !…                                  not
//! ```
//!
//! `[]` in a path stands for each item of a list, or each value of a map; the
//! test holds if it holds for any of them.

use thiserror::Error;

/// What is wrong with a test.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SyntaxError {
    /// Nothing where a path should be.
    #[error("a path is missing")]
    NoPath,
    /// A bracket that is never closed.
    #[error("a bracket is not closed")]
    OpenBracket,
    /// A condition without a type.
    #[error("a condition needs a type")]
    NoType,
    /// No alternative where at least one should be.
    #[error("a value is missing")]
    NoValue,
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A field.
    Field(String),
    /// Each item, or each value.
    Each,
}

/// A path into an object.
pub(super) type Path = Vec<Step>;

/// A text with at most one `*` at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The whole text.
    Whole(String),
    /// How it begins.
    Begins(String),
    /// How it ends.
    Ends(String),
}

impl Pattern {
    fn read(text: &str) -> Self {
        if let Some(text) = text.strip_suffix('*') {
            Self::Begins(text.to_owned())
        } else if let Some(text) = text.strip_prefix('*') {
            Self::Ends(text.to_owned())
        } else {
            Self::Whole(text.to_owned())
        }
    }

    /// Whether a text is meant, whatever its case.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => whole.eq_ignore_ascii_case(text),
            Self::Begins(start) => text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)),
            Self::Ends(end) => {
                let from = text.len().checked_sub(end.len());
                from.and_then(|from| text.get(from..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }
        }
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// A number.
    Number(i64),
    /// Another field.
    Field(Path),
}

/// What is asked of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asks {
    /// It says something.
    Set,
    /// It is there, whatever it says.
    There,
    /// It is one of these.
    Is(Vec<Pattern>),
    /// It is there and is none of these.
    IsNot(Vec<Pattern>),
    /// It contains one of these, in lower case.
    Contains(Vec<String>),
    /// It is less.
    Less(Operand),
    /// It is more.
    More(Operand),
}

/// What a test looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A condition of one of these types.
    Condition {
        /// Where the conditions are; `status` where nothing is written.
        base: Path,
        /// Types.
        types: Vec<Pattern>,
        /// Statuses; any where empty.
        statuses: Vec<Pattern>,
        /// Reasons; any where empty.
        reasons: Vec<Pattern>,
        /// Parts of the message, in lower case; any where empty.
        message: Vec<String>,
    },
    /// A field.
    Field {
        /// Where.
        path: Path,
        /// What is asked.
        asks: Asks,
    },
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// The test holds where its subject does not.
    pub(super) negated: bool,
    /// What it looks at.
    pub(super) subject: Subject,
}

impl Test {
    /// Reads a test.
    pub(super) fn read(text: &str) -> Result<Self, SyntaxError> {
        let text = text.trim();
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text.trim_start()));
        let subject = match text.find('@') {
            Some(at) => condition(&text[..at], &text[at + 1..])?,
            None => field(text)?,
        };
        Ok(Self { negated, subject })
    }

    /// Whether the test reads the status.
    pub(super) fn reads_status(&self) -> bool {
        match &self.subject {
            Subject::Condition { .. } => true,
            Subject::Field { path, .. } => path.first() == Some(&Step::Field("status".to_owned())),
        }
    }
}

fn condition(base: &str, text: &str) -> Result<Subject, SyntaxError> {
    let base = if base.is_empty() { vec![Step::Field("status".to_owned())] } else { path(base)? };
    let (text, message) = text.split_once('~').unwrap_or((text, ""));
    let (types, rest) = text.split_once('=').unwrap_or((text, ""));
    let (statuses, reasons) = rest.split_once('/').unwrap_or((rest, ""));
    let types: Vec<Pattern> = parts(types).map(Pattern::read).collect();
    if types.is_empty() {
        return Err(SyntaxError::NoType);
    }
    Ok(Subject::Condition {
        base,
        types,
        statuses: parts(statuses).map(Pattern::read).collect(),
        reasons: parts(reasons).map(Pattern::read).collect(),
        message: parts(message).map(str::to_lowercase).collect(),
    })
}

fn field(text: &str) -> Result<Subject, SyntaxError> {
    let mut depth = 0usize;
    let operator = text.char_indices().find(|&(_, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(c, '=' | '!' | '~' | '<' | '>')
    });
    if operator.is_none()
        && let Some(text) = text.strip_suffix('?')
    {
        return Ok(Subject::Field { path: path(text)?, asks: Asks::There });
    }
    let Some((at, operator)) = operator else { return Ok(Subject::Field { path: path(text)?, asks: Asks::Set }) };
    let (left, right) = (path(&text[..at])?, text[at + 1..].trim());
    let values = |text: &str| -> Result<Vec<Pattern>, SyntaxError> {
        let values: Vec<Pattern> = parts(text).map(Pattern::read).collect();
        if values.is_empty() { Err(SyntaxError::NoValue) } else { Ok(values) }
    };
    let asks = match operator {
        '=' => Asks::Is(values(right)?),
        '!' => Asks::IsNot(values(right.strip_prefix('=').ok_or(SyntaxError::NoValue)?)?),
        '~' => Asks::Contains(parts(right).map(str::to_lowercase).collect()),
        '<' => Asks::Less(operand(right)?),
        _ => Asks::More(operand(right)?),
    };
    Ok(Subject::Field { path: left, asks })
}

fn operand(text: &str) -> Result<Operand, SyntaxError> {
    match text.parse() {
        Ok(number) => Ok(Operand::Number(number)),
        Err(_) => Ok(Operand::Field(path(text)?)),
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split('|').map(str::trim).filter(|part| !part.is_empty())
}

/// Reads a path.
pub(super) fn path(text: &str) -> Result<Path, SyntaxError> {
    let mut steps = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']').ok_or(SyntaxError::OpenBracket)?;
            let name = &inner[..end];
            steps.push(if name.is_empty() { Step::Each } else { Step::Field(name.to_owned()) });
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return Err(SyntaxError::NoPath);
            }
            steps.push(Step::Field(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    if steps.is_empty() { Err(SyntaxError::NoPath) } else { Ok(steps) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", SyntaxError::NoPath)]
    #[case("!", SyntaxError::NoPath)]
    #[case("@=True", SyntaxError::NoType)]
    #[case("status.a[b=1", SyntaxError::NoPath)]
    #[case("status.phase=", SyntaxError::NoValue)]
    #[case("status..phase", SyntaxError::NoPath)]
    fn a_test_that_does_not_parse_is_refused(#[case] text: &str, #[case] error: SyntaxError) {
        let refused = Test::read(text).unwrap_err();
        assert!(refused == error || refused == SyntaxError::OpenBracket, "{refused}");
    }

    #[test]
    fn a_type_may_have_a_slash() {
        let Subject::Condition { types, reasons, .. } = Test::read("@cnpg.io/hibernation=True/A|B").unwrap().subject
        else {
            unreachable!("a condition is read as one")
        };
        assert_eq!(types, [Pattern::Whole("cnpg.io/hibernation".into())]);
        assert_eq!(reasons, [Pattern::Whole("A".into()), Pattern::Whole("B".into())]);
    }

    #[rstest]
    #[case("Failed*", "FailedCreate", true)]
    #[case("*Error", "secretsyncederror", true)]
    #[case("*Error", "ü", false)]
    #[case("Failed", "FailedCreate", false)]
    fn a_star_is_any_text(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(Pattern::read(pattern).matches(text), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text: String) {
            let _ = Test::read(&text);
        }
    }
}
