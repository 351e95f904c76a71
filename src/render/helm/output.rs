//! What `helm template` writes: documents, each below a comment that names its
//! template.

use super::chart::Chart;
use crate::{
    manifest::{
        Origin, Problem,
        yaml::{self, RepeatedKeys, read_documents},
    },
    render::{
        Limits,
        flatten::{Object, flatten},
        path::join,
    },
};

/// What stands before the name of a template.
const SOURCE: &str = "# Source: ";

/// Reads the documents of a render.
pub(super) fn read(chart: &Chart, output: &[u8], limits: &Limits) -> Result<Vec<Object>, Vec<Problem>> {
    let sources = sources(output);
    let file_of = |line: u32| {
        let index = sources.partition_point(|(at, _)| *at <= line);
        let source = index.checked_sub(1).and_then(|index| sources.get(index));
        source.map_or_else(|| chart.file(), |(_, template)| in_repository(chart, template))
    };
    let limits = yaml::Limits {
        file_bytes: usize::MAX,
        documents: limits.objects,
        // Helm itself takes the last of two: a chart of others is rendered as
        // its makers see it.
        repeated_keys: RepeatedKeys::LastWins,
        ..limits.yaml.clone()
    };
    let file = chart.file();
    let (documents, problems) = read_documents(&file, output, &limits);
    let placed = |problem: Problem| {
        let (file, line) = match problem.position {
            Some(position) => (file_of(position.line), format!("line {} of the render: ", position.line)),
            None => (problem.file, String::new()),
        };
        Problem {
            file,
            position: None,
            message: format!("renders to what is no manifest: {line}{}", problem.message),
            ..problem
        }
    };
    let mut problems: Vec<Problem> = problems.into_iter().map(placed).collect();
    let mut objects = Vec::new();
    for document in documents {
        let origin = Origin::new(file_of(document.position.line), None);
        flatten(Object { value: document.value, origin, positions: None }, &mut objects, &mut problems);
    }
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// The templates that are named, with their lines.
fn sources(output: &[u8]) -> Vec<(u32, String)> {
    let text = String::from_utf8_lossy(output);
    let mut previous = "---";
    let mut sources = Vec::new();
    for (line, number) in text.lines().zip(1_u32..) {
        // Within a document the same words are somebody's text.
        if let Some(name) = line.strip_prefix(SOURCE).filter(|_| previous == "---") {
            sources.push((number, name.trim().to_owned()));
        }
        previous = line;
    }
    sources
}

/// The file of a template, which Helm names from the chart: `web/templates/a.yaml`.
pub(super) fn in_repository(chart: &Chart, template: &str) -> String {
    let below = template.strip_prefix(chart.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let below = chart.without_aliases(below.unwrap_or(template));
    let copied = chart.copied.iter().rev().find_map(|(place, directory)| {
        let rest = below.strip_prefix(place.as_str())?.strip_prefix('/')?;
        Some(join(directory, rest))
    });
    copied.unwrap_or_else(|| join(&chart.directory, &below))
}
