//! Values that came from Secrets: a template can put them into the words that
//! it fails with, and those go into statuses and events.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::Value;

use crate::manifest::yaml::{self, read_documents};

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
    found.retain(|value| value.len() >= SHORTEST);
    let encoded: Vec<String> = found.iter().map(|value| BASE64.encode(value)).collect();
    found.extend(encoded);
    found
}

/// A text without the values.
pub(super) fn without(secrets: &[String], text: String) -> String {
    secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::String(text) => {
            // A complaint is one line, whatever the value was.
            found.push(text.clone());
            found.extend(text.lines().map(|line| line.trim().to_owned()));
        }
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
