//! The reference of all rules, `docs/health.md`, from the table.

use std::fmt::Write as _;

use super::table::{FILES, Otherwise, Rule};
use super::{RuleError, TABLE, cases};
use crate::health::assess;

const HEAD: &str = include_str!("page.md");

/// The reference page of all rules with their cases and sources.
fn reference_page() -> Result<String, RuleError> {
    let table = TABLE.as_ref().map_err(Clone::clone)?;
    let mut page = HEAD.to_owned();
    for (file, text) in FILES {
        let title = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or(file);
        let _ = write!(page, "\n## {}\n", title.trim_end_matches('.'));
        for (_, rule) in table.rules.iter().filter(|(of, _)| of == file) {
            write_rule(rule, &mut page);
        }
    }
    Ok(page)
}

fn write_rule(rule: &Rule, page: &mut String) {
    let kinds: Vec<&str> = rule.kinds.iter().map(|kind| if kind == "*" { "every other kind" } else { kind }).collect();
    let groups: Vec<String> = rule.groups.iter().map(|group| format!("`{group}`")).collect();
    let sources: Vec<String> = rule.sources.iter().map(|source| format!("<{source}>")).collect();
    let _ = write!(page, "\n### {}\n\nOf {}. Source: {}.\n", kinds.join(", "), groups.join(", "), sources.join(", "));
    if !rule.status {
        page.push_str("An object without a status is Healthy: its controller need not write one.\n");
    }
    if !rule.generation {
        page.push_str("`status.observedGeneration` does not count.\n");
    }
    for (verdict, why) in &rule.never {
        let _ = writeln!(page, "Never {verdict}: {why}.");
    }
    if !rule.lines.is_empty() {
        page.push_str("\n| health | when |\n| --- | --- |\n");
        for line in &rule.lines {
            let _ = writeln!(page, "| {} | {} |", line.verdict, code(&line.written));
        }
    }
    let _ = match rule.otherwise {
        Otherwise::Conventions => writeln!(page, "\nElse by convention."),
        Otherwise::Verdict(verdict) => writeln!(page, "\nElse {verdict}."),
    };
    page.push_str("\n| case | health | reason |\n| --- | --- | --- |\n");
    for case in &rule.cases {
        let (Some(group), Some(kind)) = (rule.groups.first(), rule.kinds.first()) else { continue };
        let health = assess(&cases::object(case, group, kind));
        let written = case.object.to_string();
        let _ = writeln!(page, "| {} | {} | {} |", code(&written), health.status, cell(&health.reason));
    }
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_table_says() {
        let page = reference_page().unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/health.md");
        if std::env::var_os("BOWLINE_GENERATE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/health.md is not what the table says: run the test with BOWLINE_GENERATE=1");
    }
}
