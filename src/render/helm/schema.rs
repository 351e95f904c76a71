//! `values.schema.json`: a schema may have parts that are elsewhere, and Helm
//! would load those over the network.

use serde_json::Value;

use crate::manifest::Problem;

/// The references of a schema that lead to other hosts. What is no JSON is for
/// Helm to complain of.
pub(super) fn loads_from_elsewhere(file: &str, content: &[u8]) -> Vec<Problem> {
    let Ok(schema) = serde_json::from_slice::<Value>(content) else { return Vec::new() };
    let mut found = Vec::new();
    collect(&schema, &mut found);
    found.sort_unstable();
    found.dedup();
    let problem = |reference: &&str| {
        Problem::in_file(file, format!("refers to {reference:?}, which would be loaded while rendering, and is not"))
            .hint("copy what it refers to into the chart, or take the reference out")
    };
    found.iter().map(problem).collect()
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(reference) if matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") => {
                        // The drafts of JSON Schema itself come with the program.
                        if reference.contains("://") && !reference.contains("://json-schema.org/") {
                            found.push(reference);
                        }
                    }
                    field => collect(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_other_hosts_are_named_once() {
        let schema = br##"{"$schema": "https://json-schema.org/draft-07/schema#", "properties": {
            "a": {"$ref": "#/definitions/a"}, "b": {"$ref": "http://localhost:8080/b.json"},
            "c": [{"$ref": "http://localhost:8080/b.json"}]}}"##;
        let problems = loads_from_elsewhere("web/values.schema.json", schema);
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "web/values.schema.json: refers to \"http://localhost:8080/b.json\", which would be loaded while rendering, and is not"
            ]
        );
    }
}
