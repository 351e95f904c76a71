//! The table of rules for kinds of well-known projects.
//!
//! One YAML file a family of projects, embedded and read once. A rule names
//! its kinds, cites the project's own API documentation, and lists tests from
//! top to bottom: the first that holds decides. Where none does, the
//! conventions do, or the verdict under `else`. `language` describes the
//! tests, `page` writes the reference from the table.

#[cfg(test)]
mod cases;
mod evaluate;
mod language;
#[cfg(test)]
mod page;
mod table;

use std::sync::LazyLock;

use serde_json::Value;
use thiserror::Error;

use self::language::SyntaxError;
use self::table::{Otherwise, Table};
use super::{Health, HealthStatus, conventions, fields};

/// Why the table of rules could not be read.
#[derive(Debug, Clone, Error)]
pub(crate) enum RuleError {
    /// The file is no YAML of the expected shape.
    #[error("{file}: {message}")]
    File {
        /// Name of the file.
        file: &'static str,
        /// What the reader said.
        message: String,
    },
    /// A test of a rule does not parse.
    #[error("{file}: {kind}: `{test}`: {source}")]
    Test {
        /// Name of the file.
        file: &'static str,
        /// First kind of the rule.
        kind: String,
        /// The test as written.
        test: String,
        /// What is wrong with it.
        source: SyntaxError,
    },
}

static TABLE: LazyLock<Result<Table, RuleError>> = LazyLock::new(Table::read);

/// Judges a custom resource by its rule and, where the rule has nothing to
/// say or there is none, by convention.
pub(super) fn assess(group: &str, kind: &str, object: &Value, has_status: Option<bool>) -> Health {
    let table = match TABLE.as_ref() {
        Ok(table) => table,
        Err(error) => return Health::new(HealthStatus::Unknown, format!("the rules could not be read: {error}")),
    };
    let Some(rule) = table.find(group, kind) else { return conventions::assess(object, has_status) };
    // Paused on purpose is told by the spec, which needs no controller.
    if let Some(health) = rule.lines.iter().filter(|line| line.early).find_map(|line| evaluate::line(line, object)) {
        return health;
    }
    if rule.suspend
        && let Some(health) = conventions::suspended(object)
    {
        return health;
    }
    if rule.generation
        && let Some(health) = fields::generation_behind(object)
    {
        return health;
    }
    // The table knows its kinds better than an operator who switched the status subresource off.
    let has_status = if rule.status { has_status.or(Some(true)) } else { Some(false) };
    if let Some(health) = conventions::unwritten(object, has_status) {
        return health;
    }
    if let Some(health) = rule.lines.iter().filter(|line| !line.early).find_map(|line| evaluate::line(line, object)) {
        return health;
    }
    match rule.otherwise {
        Otherwise::Conventions => conventions::verdict(object),
        Otherwise::Verdict(HealthStatus::Healthy) => Health::healthy(),
        Otherwise::Verdict(status) => {
            Health::new(status, conventions::told(object).unwrap_or("its status does not say that it is ready yet"))
        }
    }
}
