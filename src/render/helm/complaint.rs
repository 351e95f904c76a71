//! What Helm complains of, in the repository's own names.

use super::{chart::Chart, output::in_repository};
use crate::{
    manifest::{Position, Problem},
    render::secrets,
};

/// How many characters of a complaint are kept.
const LONGEST: usize = 600;

/// Reads what Helm wrote when it failed.
pub(super) fn read(chart: &Chart, complaints: &str) -> Problem {
    let text = secrets::without(&chart.secrets, words(chart, complaints));
    let Some((template, position)) = place(chart, &text) else {
        return Problem::in_file(chart.file(), format!("helm: {}", shortened(text)));
    };
    let file = in_repository(chart, &template);
    let below =
        template.strip_prefix(chart.name.as_str()).map_or(template.as_str(), |rest| rest.trim_start_matches('/'));
    let mut problem = if text.contains("error calling call: non-function") && runs_into_lookup(chart, &text, below) {
        let message = "uses `lookup`, which reads the cluster while rendering: a render is made from Git alone";
        let hint = "give the value that it looks up (charts often have an `existingSecret` or the like), \
                    so that the template does not come to it";
        Problem::in_file(file, message).hint(hint)
    } else {
        // What `fail` and `required` say is their authors' word.
        let own = text.strip_prefix("execution error at (").and_then(|text| text.split_once("): "));
        Problem::in_file(
            file,
            own.map_or_else(|| format!("helm: {}", shortened(text.clone())), |(_, words)| shortened(words.to_owned())),
        )
    };
    problem.position = position;
    problem
}

/// Whether one of the templates on the way had a `lookup`.
fn runs_into_lookup(chart: &Chart, text: &str, below: &str) -> bool {
    chart.without_lookup.contains(below) || chart.without_lookup.iter().any(|template| text.contains(template.as_str()))
}

/// The error alone, without progress, and without the names of the workspace.
fn words(chart: &Chart, complaints: &str) -> String {
    let from = complaints.find("Error: ").map_or(0, |at| at + "Error: ".len());
    let mut text = chart.workspace.without_its_name(complaints[from..].trim());
    for (index, (name, _)) in chart.values.iter().enumerate() {
        text = text.replace(&format!("values-{index}.yaml"), name);
    }
    let advice = "Use --debug flag to render out invalid YAML";
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(advice));
    lines.fold(String::new(), |text, line| match text.as_str() {
        "" => line.to_owned(),
        before if before.ends_with(':') => format!("{before} {line}"),
        before => format!("{before}; {line}"),
    })
}

/// A text of bounded length. What is wrong stands at its ends: a template that
/// calls itself has a place for each call between them.
fn shortened(text: String) -> String {
    let characters = text.chars().count();
    if characters <= LONGEST {
        return text;
    }
    let (head, tail): (String, String) =
        (text.chars().take(LONGEST / 2).collect(), text.chars().skip(characters - LONGEST / 2).collect());
    format!("{head} … {tail}")
}

/// The innermost place that is named: `web/templates/a.yaml:3:14`. Helm counts
/// columns from 0.
fn place(chart: &Chart, text: &str) -> Option<(String, Option<Position>)> {
    if chart.name.is_empty() {
        return None;
    }
    let prefix = format!("{}/", chart.name);
    let found = text.match_indices(&prefix).filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|character: char| character.is_whitespace() || matches!(character, ')' | '"' | '>' | ';'));
        let mut parts = rest[..end.unwrap_or(rest.len())].trim_end_matches(':').split(':');
        let file = parts.next().filter(|file| file.contains("/templates/"))?.to_owned();
        let line = parts.next().and_then(|line| line.parse().ok());
        let column: u32 = parts.next().and_then(|column| column.parse().ok()).unwrap_or(0);
        Some((file, line.map(|line| Position { line, column: column + 1 })))
    });
    let found: Vec<_> = found.collect();
    found.iter().rev().find(|(_, position)| position.is_some()).or(found.last()).cloned()
}
