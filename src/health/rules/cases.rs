//! The cases of the table, as objects.
//!
//! A case writes a condition in one line, `Ready=False/Reason: message`.

use serde_json::{Value, json};

use super::table::{Case, Rule};

/// The object that a case means, of one of the rule's groups and kinds.
pub(super) fn object(case: &Case, group: &str, kind: &str) -> Value {
    let group = group.strip_prefix("*.").map_or(group.to_owned(), |suffix| format!("example.{suffix}"));
    let kind = if kind == "*" { "Example" } else { kind };
    let mut object = case.object.clone();
    expand(&mut object);
    if let Value::Object(fields) = &mut object {
        fields.insert("apiVersion".to_owned(), json!(format!("{group}/v1")));
        fields.insert("kind".to_owned(), json!(kind));
    }
    object
}

/// All objects of a case.
pub(super) fn objects<'a>(rule: &'a Rule, case: &'a Case) -> impl Iterator<Item = Value> + 'a {
    rule.kinds.iter().flat_map(move |kind| rule.groups.iter().map(move |group| object(case, group, kind)))
}

fn expand(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::Array(items) if name == "conditions" => {
                        for item in items.iter_mut() {
                            if let Value::String(text) = item {
                                *item = condition(text);
                            }
                        }
                    }
                    other => expand(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(expand),
        _ => {}
    }
}

fn condition(text: &str) -> Value {
    let (head, message) = text.split_once(": ").unwrap_or((text, ""));
    let (kind, rest) = head.split_once('=').unwrap_or((head, "True"));
    let (status, reason) = rest.split_once('/').unwrap_or((rest, ""));
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::super::{TABLE, evaluate, table};
    use super::*;
    use crate::health::{HealthStatus, assess};

    #[test]
    fn every_case_of_every_rule_has_its_verdict() {
        let table = TABLE.as_ref().unwrap();
        let mut wrong = Vec::new();
        for (file, rule) in &table.rules {
            for case in &rule.cases {
                for object in objects(rule, case) {
                    let health = assess(&object);
                    let told = health.status == HealthStatus::Healthy || !health.reason.is_empty();
                    if health.status != case.verdict || !told {
                        wrong.push(format!("{file}: expected {}, got {health:?}: {object}", case.verdict));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn statuses_as_projects_write_them_have_the_health_that_a_person_would_give_them() {
        let mut wrong = Vec::new();
        for line in include_str!("statuses.txt").lines().filter(|line| !line.starts_with('#')) {
            let parts: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
            let mut object: Value = serde_yaml::from_str(parts[3]).unwrap();
            expand(&mut object);
            object["apiVersion"] = json!(parts[1]);
            object["kind"] = json!(parts[2]);
            let health = assess(&object);
            if health.status.as_str() != parts[0] {
                wrong.push(format!("got {health:?}: {line}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_line_of_every_rule_decides_a_case() {
        let table = TABLE.as_ref().unwrap();
        let mut idle = Vec::new();
        for (file, rule) in &table.rules {
            let mut decided = BTreeSet::new();
            for case in &rule.cases {
                let object = object(case, &rule.groups[0], &rule.kinds[0]);
                let early = rule.lines.iter().filter(|line| line.early);
                let late = rule.lines.iter().filter(|line| !line.early);
                let first = early.chain(late).find(|line| evaluate::line(line, &object).is_some());
                decided.extend(first.map(|line| line.written.as_str()));
            }
            for line in &rule.lines {
                if !decided.contains(line.written.as_str()) {
                    idle.push(format!("{file}: {}: {}", rule.kinds[0], line.written));
                }
            }
        }
        assert!(idle.is_empty(), "these lines decide no case:\n{}", idle.join("\n"));
    }

    #[test]
    fn every_rule_is_found_by_its_kinds_and_cites_its_source() {
        let table = TABLE.as_ref().unwrap();
        for (file, rule) in &table.rules {
            let cites = |source: &String| source.starts_with("https://");
            assert!(
                !rule.sources.is_empty() && rule.sources.iter().all(cites),
                "{file}: {:?}: {:?}",
                rule.kinds,
                rule.sources
            );
            assert!(!rule.cases.is_empty(), "{file}: {:?} has no cases", rule.kinds);
            for kind in &rule.kinds {
                for group in &rule.groups {
                    let group = group.replace("*.", "example.");
                    let kind = if kind == "*" { "Example" } else { kind };
                    let found = table.find(&group, kind).unwrap();
                    assert!(std::ptr::eq(found, rule), "{file}: {kind}.{group} has two rules");
                }
            }
        }
    }

    #[test]
    fn every_rule_has_cases_of_each_state_that_its_kinds_can_be_in() {
        let table = TABLE.as_ref().unwrap();
        let mut wrong = Vec::new();
        for (file, rule) in &table.rules {
            let shown: BTreeSet<_> = rule.cases.iter().map(|case| case.verdict).collect();
            for state in [HealthStatus::Healthy, HealthStatus::Progressing, HealthStatus::Degraded] {
                match (shown.contains(&state), rule.never.contains_key(&state)) {
                    (false, false) => wrong.push(format!("{file}: {:?} has no case of {state}", rule.kinds)),
                    (true, true) => wrong.push(format!("{file}: {:?} is said never to be {state}", rule.kinds)),
                    _ => {}
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_file_of_the_table_is_read() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/health/rules");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
            .collect();
        files.sort();
        let mut listed: Vec<&str> = table::FILES.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
    }
}
