//! The table itself: its files and their shape.

#[cfg(test)]
use std::collections::BTreeMap;
use std::collections::HashMap;

use serde::Deserialize;

use super::RuleError;
use super::language::Test;
use crate::health::HealthStatus;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($name, ".yaml")))),*]
    };
}

/// The files of the table, by family.
pub(super) const FILES: &[(&str, &str)] = files![
    "argo",
    "databases",
    "delivery",
    "flux",
    "messaging",
    "network",
    "observability",
    "openshift",
    "operators",
    "platform",
    "scheduling",
    "security",
    "stores",
    "workloads"
];

/// What decides where no line of a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The conventions.
    Conventions,
    /// A verdict.
    Verdict(HealthStatus),
}

/// One line of a rule.
#[derive(Debug)]
pub(super) struct Line {
    /// The verdict.
    pub(super) verdict: HealthStatus,
    /// Tests that all hold.
    pub(super) tests: Vec<Test>,
    /// The reason, where the tests do not tell it well.
    pub(super) says: Option<String>,
    /// Judged before the generation is looked at: the line reads no status.
    pub(super) early: bool,
    /// The tests as written.
    #[cfg(test)]
    pub(super) written: String,
}

/// The rule of some kinds.
#[derive(Debug)]
pub(super) struct Rule {
    /// Groups; a leading `*.` stands for any prefix.
    pub(super) groups: Vec<String>,
    /// Kinds; `*` stands for all.
    pub(super) kinds: Vec<String>,
    /// The project's own documentation of its API.
    #[cfg(test)]
    pub(super) sources: Vec<String>,
    /// States that its kinds cannot tell of, with the reason.
    #[cfg(test)]
    pub(super) never: BTreeMap<HealthStatus, String>,
    /// Its controller writes a status for every object.
    pub(super) status: bool,
    /// `status.observedGeneration` counts.
    pub(super) generation: bool,
    /// The usual fields that pause an object count.
    pub(super) suspend: bool,
    /// Its lines, the first that holds decides.
    pub(super) lines: Vec<Line>,
    /// What decides where none does.
    pub(super) otherwise: Otherwise,
    /// Its cases.
    #[cfg(test)]
    pub(super) cases: Vec<Case>,
}

/// An object with the verdict that its rule gives.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// The verdict.
    pub(super) verdict: HealthStatus,
    /// What the object has besides its kind.
    pub(super) object: serde_json::Value,
}

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Rules in the order of the files, with the name of the file.
    pub(super) rules: Vec<(&'static str, Rule)>,
    by_kind: HashMap<String, Vec<usize>>,
    /// Rules for all kinds of a group.
    by_group: HashMap<String, Vec<usize>>,
    /// Rules for all kinds of the groups that end so.
    by_suffix: Vec<(String, usize)>,
}

impl Table {
    /// Reads the embedded files.
    pub(super) fn read() -> Result<Self, RuleError> {
        let mut table = Self::default();
        for &(file, text) in FILES {
            let written: Vec<Written> =
                serde_yaml::from_str(text).map_err(|error| RuleError::File { file, message: error.to_string() })?;
            for rule in written {
                table.add(file, rule.read(file)?);
            }
        }
        Ok(table)
    }

    fn add(&mut self, file: &'static str, rule: Rule) {
        let index = self.rules.len();
        for kind in &rule.kinds {
            if kind != "*" {
                self.by_kind.entry(kind.clone()).or_default().push(index);
                continue;
            }
            for group in &rule.groups {
                match group.strip_prefix('*') {
                    Some(suffix) => self.by_suffix.push((suffix.to_owned(), index)),
                    None => self.by_group.entry(group.clone()).or_default().push(index),
                }
            }
        }
        self.rules.push((file, rule));
    }

    /// The rule of a kind: one that names it, or else one for its group.
    pub(super) fn find(&self, group: &str, kind: &str) -> Option<&Rule> {
        let named = self.by_kind.get(kind).into_iter().flatten().map(|&index| &self.rules[index].1);
        if let Some(rule) = named.into_iter().find(|rule| rule.groups.iter().any(|known| covers(known, group))) {
            return Some(rule);
        }
        let of_group = self.by_group.get(group).into_iter().flatten().copied();
        let of_suffix = self.by_suffix.iter().filter(|(suffix, _)| group.ends_with(suffix.as_str()));
        // Of several the first in the files.
        of_group.chain(of_suffix.map(|&(_, index)| index)).min().map(|index| &self.rules[index].1)
    }
}

fn covers(known: &str, group: &str) -> bool {
    match known.strip_prefix('*') {
        Some(suffix) => group.ends_with(suffix),
        None => known == group,
    }
}

/// A rule as its file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    groups: Vec<String>,
    kinds: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests and the reference page"))]
    source: Sources,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests and the reference page"))]
    never: Never,
    #[serde(default = "yes")]
    status: bool,
    #[serde(default = "yes")]
    generation: bool,
    #[serde(default = "yes")]
    suspend: bool,
    #[serde(default)]
    rules: Vec<WrittenLine>,
    #[serde(default, rename = "else")]
    otherwise: Option<HealthStatus>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests and the reference page"))]
    cases: Cases,
}

#[cfg(test)]
type Cases = Vec<HashMap<HealthStatus, serde_json::Value>>;
#[cfg(test)]
type Sources = OneOrMore;
#[cfg(test)]
type Never = BTreeMap<HealthStatus, String>;
/// Outside of tests these are passed over.
#[cfg(not(test))]
type Cases = serde::de::IgnoredAny;
#[cfg(not(test))]
type Sources = serde::de::IgnoredAny;
#[cfg(not(test))]
type Never = serde::de::IgnoredAny;

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLine {
    health: HealthStatus,
    #[serde(rename = "if")]
    tests: OneOrMore,
    #[serde(default)]
    says: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Written {
    fn read(self, file: &'static str) -> Result<Rule, RuleError> {
        let kind = self.kinds.first().cloned().unwrap_or_default();
        let mut lines = Vec::with_capacity(self.rules.len());
        for line in self.rules {
            let written = line.tests.into_vec();
            let tests = written
                .iter()
                .map(|test| {
                    Test::read(test).map_err(|source| RuleError::Test {
                        file,
                        kind: kind.clone(),
                        test: test.clone(),
                        source,
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            let early = !tests.iter().any(Test::reads_status);
            lines.push(Line {
                verdict: line.health,
                tests,
                says: line.says,
                early,
                #[cfg(test)]
                written: written.join(", "),
            });
        }
        let otherwise = self.otherwise.map_or(Otherwise::Conventions, Otherwise::Verdict);
        Ok(Rule {
            groups: self.groups,
            kinds: self.kinds,
            #[cfg(test)]
            sources: self.source.into_vec(),
            #[cfg(test)]
            never: self.never,
            status: self.status,
            generation: self.generation,
            suspend: self.suspend,
            lines,
            otherwise,
            #[cfg(test)]
            cases: self.cases.into_iter().flatten().map(|(verdict, object)| Case { verdict, object }).collect(),
        })
    }
}
