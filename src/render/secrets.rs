//! Values that came from Secrets or from encrypted files: what is said of an
//! object, and what a template fails with, can hold them, and that goes into
//! statuses and events.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::Value;

use crate::manifest::{
    Problem,
    yaml::{self, read_documents},
};

/// Shorter values are no secrets, and are parts of ordinary words.
const SHORTEST: usize = 4;

/// All values of a file, as they are and in base64. What is no YAML is one value.
pub(super) fn in_values(content: &[u8]) -> Vec<String> {
    let (documents, problems) = read_documents("values", content, &yaml::Limits::default());
    let mut found = Vec::new();
    documents.iter().for_each(|document| collect(&document.value, &mut found));
    if !problems.is_empty() {
        found.extend(String::from_utf8_lossy(content).lines().map(|line| line.trim().to_owned()));
    }
    to_mask(found)
}

/// Values, as they are and in base64, without those that are no secrets.
pub(super) fn to_mask(mut found: Vec<String>) -> Vec<String> {
    found.retain(|value| value.len() >= SHORTEST);
    let encoded: Vec<String> = found.iter().map(|value| BASE64.encode(value)).collect();
    found.extend(encoded);
    found
}

/// A value whole, and line by line: what is said of it is one line.
pub(super) fn collect_text(text: &str, found: &mut Vec<String>) {
    found.push(text.to_owned());
    found.extend(text.lines().map(|line| line.trim().to_owned()));
}

/// Problems without the values.
pub(super) fn without_in(secrets: &mut [String], problems: &mut [Problem]) {
    if secrets.is_empty() {
        return;
    }
    longest_first(secrets);
    for problem in problems {
        problem.message = without(secrets, std::mem::take(&mut problem.message));
        problem.hint = problem.hint.take().map(|hint| without(secrets, hint));
    }
}

/// In the order in which they are taken out: one may hold another.
pub(super) fn longest_first(secrets: &mut [String]) {
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// A text without the values, which come the longest first.
pub(super) fn without(secrets: &[String], text: String) -> String {
    secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::String(text) => collect_text(text, found),
        Value::Number(number) => found.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_any_depth_are_taken_out_of_a_text() {
        let secrets = in_values(b"a: {password: hunter22}\nb: [one-time, yes]\nc: 12345678\nd: ab\n");
        let text = "no hunter22, aHVudGVyMjI=, one-time, 12345678; ab stays";
        assert_eq!(without(&secrets, text.to_owned()), "no ***, ***, ***, ***; ab stays");
    }

    #[test]
    fn what_is_no_yaml_is_secret_line_by_line() {
        assert_eq!(without(&in_values(b"a: [hunter22\n"), "in a: [hunter22".to_owned()), "in ***");
    }
}
