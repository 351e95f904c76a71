//! Files that are made from the code: the CustomResourceDefinitions, the
//! admission policies and the API reference. A stale file fails the test;
//! `BOWLINE_GENERATE=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "generated/refusals.rs"]
mod refusals;

use std::{env, fmt::Write as _, fs, path::Path};

use bowline::api::{custom_resource_definitions, mutating_policies, validating_policies};
use rstest::rstest;
use serde_json::Value;

const HEADER: &str = "# Made from the code by `cargo xtask generate`: do not edit.\n";

#[test]
fn the_chart_has_the_definition_of_each_resource() {
    for (name, definition) in definitions() {
        let file = format!("charts/bowline/definitions/{name}.yaml");
        is_up_to_date(&file, &format!("{HEADER}{}", yaml(&definition)));
    }
}

#[test]
fn the_manifests_have_all_definitions_in_one_file() {
    let all = definitions().into_iter().map(|(_, definition)| definition);
    is_up_to_date("manifests/crds.yaml", &format!("{HEADER}{}", documents(all)));
}

#[test]
fn the_manifests_have_the_admission_policies() {
    let note = "# Kubernetes serves MutatingAdmissionPolicy as v1 from 1.36 on. Before, leave the last two\n\
                # objects out: requestedBy is then checked and not filled in.\n";
    let all = validating_policies().into_iter().chain(mutating_policies());
    is_up_to_date("manifests/policies.yaml", &format!("{HEADER}{note}{}", documents(all)));
}

#[test]
fn the_chart_has_the_admission_policies_that_its_cluster_serves() {
    let served = "{{- if .Capabilities.APIVersions.Has \"admissionregistration.k8s.io/v1/MutatingAdmissionPolicy\" }}";
    let validating = documents(validating_policies());
    let mutating = documents(mutating_policies());
    assert!(
        !validating.contains("{{") && !mutating.contains("{{"),
        "a policy holds what Helm would take for a template"
    );
    let installed = "{{- if .Values.admissionPolicies.install }}";
    let template =
        format!("{HEADER}{installed}\n{validating}{served}\n---\n{mutating}{{{{- end }}}}\n{{{{- end }}}}\n");
    is_up_to_date("charts/bowline/templates/policies.yaml", &template);
}

#[test]
fn the_reference_describes_each_field() {
    is_up_to_date("docs/api.md", &reference());
}

#[test]
fn the_page_of_refusals_has_the_words_that_people_see() {
    is_up_to_date("docs/refusals.md", &refusals::page());
}

#[rstest]
#[case::unsigned_formats("uint")]
#[case::unions("anyOf")]
fn definitions_hold_nothing_that_the_api_server_warns_of(#[case] unwanted: &str) {
    for (name, definition) in definitions() {
        assert!(!definition.to_string().contains(unwanted), "{name} has {unwanted}");
    }
}

/// What is written must be read back as it was meant, by YAML 1.1 too: `yes`,
/// `on` and `1_000` are no text there unless they are quoted.
#[test]
fn no_text_of_the_generated_yaml_is_something_else_in_yaml_1_1() {
    let all = definitions().into_iter().map(|(_, definition)| definition);
    for document in all.chain(validating_policies()).chain(mutating_policies()) {
        let read: Value = serde_yaml::from_str(&yaml(&document)).unwrap();
        assert_eq!(read, document);
        for text in texts(&document) {
            let ambiguous = ["y", "n", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str());
            assert!(!ambiguous, "`{text}` needs quotes");
        }
    }
}

/// The file name and the definition of each resource.
fn definitions() -> Vec<(String, Value)> {
    custom_resource_definitions()
        .into_iter()
        .map(|mut definition| {
            let annotations = definition.metadata.annotations.get_or_insert_default();
            // Deleting a definition deletes every object of it, the history too.
            annotations.insert("helm.sh/resource-policy".into(), "keep".into());
            let name = definition.spec.names.plural.clone();
            (name, whole_numbers(serde_json::to_value(definition).unwrap()))
        })
        .collect()
}

/// Limits are numbers with a fraction in the type and whole ones in every document.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        Value::Array(list) => list.into_iter().map(whole_numbers).collect(),
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is small")]
            Some(float) if number.is_f64() && float.fract() == 0.0 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        other => other,
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| [vec![key.as_str()], texts(value)].concat()).collect(),
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text],
        _ => Vec::new(),
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap()
}

fn documents(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().map(|value| yaml(&value)).collect::<Vec<_>>().join("---\n")
}

fn is_up_to_date(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("BOWLINE_GENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is stale: run `cargo xtask generate`");
}

/// The reference of all resources: a table of fields each.
fn reference() -> String {
    let mut text = String::from(
        "<!-- Made from the code by `cargo xtask generate`: do not edit. -->\n\n# API reference: `bowline.dev/v1alpha1`\n\n\
         All resources are namespaced and have the category `bowline` (`kubectl get bowline`).\n",
    );
    for (_, definition) in definitions() {
        let names = &definition["spec"]["names"];
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        write!(text, "\n## {}\n\n{}\n", word(&names["kind"]), word(&schema["description"])).unwrap();
        let short: Vec<&str> = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !short.is_empty() {
            writeln!(text, "Short name: `{}`.", short.join("`, `")).unwrap();
        }
        for rule in rules(schema) {
            write!(text, "\n- {rule}").unwrap();
        }
        text.push_str(if rules(schema).is_empty() { "" } else { "\n" });
        for part in ["spec", "status"] {
            let properties = &schema["properties"][part];
            if properties.is_null() {
                continue;
            }
            for rule in rules(properties) {
                write!(text, "\n- {rule}\n").unwrap();
            }
            text.push_str("\n| field | type | default | |\n| --- | --- | --- | --- |\n");
            fields(properties, part, &mut text);
        }
    }
    text
}

fn fields(schema: &Value, path: &str, text: &mut String) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let (kind, inner) = kind(field);
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            // The defaults of an object's fields stand at the fields.
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`"),
        };
        let mut described = word(&field["description"]).replace('\n', " ").replace('|', "\\|");
        for rule in rules(field) {
            write!(described, " *{}.*", rule.replace('|', "\\|")).unwrap();
        }
        writeln!(text, "| `{path}` | {kind} | {default} | {described} |").unwrap();
        // The API server's own Condition is described where it belongs.
        if name != "conditions" {
            fields(inner, &format!("{path}{}", if field["items"].is_null() { "" } else { "[]" }), text);
        }
    }
}

/// The type of a field in words, and the schema of what is within it.
fn kind(field: &Value) -> (String, &Value) {
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return (words.join(", "), field);
    }
    match field["format"].as_str() {
        Some("date-time") => ("time".into(), field),
        _ if !field["items"].is_null() => (format!("list of {}", kind(&field["items"]).0), &field["items"]),
        _ => (word(&field["type"]).to_owned(), field),
    }
}

fn rules(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules.into_iter().flatten().map(|rule| word(&rule["message"]).to_owned()).collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
