//! Every input of `fixtures/yaml-golden.json` is read as Kubernetes' own YAML
//! library reads it. How the file is made anew: `tools/yaml-golden/README.md`.
#![allow(clippy::unwrap_used, clippy::panic)]

use bowline::manifest::yaml::{Limits, read_documents};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    name: String,
    input: String,
    #[serde(default)]
    json: Vec<Value>,
    error: Option<String>,
    stricter: Option<String>,
}

/// The fixture, or another file of the same form.
fn cases() -> Vec<Golden> {
    let path = std::env::var("BOWLINE_YAML_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/yaml-golden.json").to_owned());
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_input_is_read_as_kubernetes_reads_it() {
    let cases = cases();
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let failures: Vec<String> = cases.iter().filter_map(difference).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn difference(case: &Golden) -> Option<String> {
    let (documents, problems) = read_documents("golden.yaml", case.input.as_bytes(), &Limits::default());
    let read: Vec<Value> = documents.into_iter().map(|document| document.value).collect();
    let differs = match (&case.error, &case.stricter) {
        (Some(_), _) | (None, Some(_)) => problems.is_empty(),
        (None, None) => !problems.is_empty() || !same(&Value::from(read.clone()), &Value::from(case.json.clone())),
    };
    differs.then(|| {
        let expected = case.error.clone().unwrap_or_else(|| Value::from(case.json.clone()).to_string());
        format!(
            "{}\n  input    {:?}\n  expected {expected}\n  read     {read:?}\n  problems {problems:?}",
            case.name, case.input
        )
    })
}

/// Equal, where a number is its value and not its notation. The fixture's own
/// floats are read with an error in the last place.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (exact, left, right) = (left == right, left.as_f64().unwrap(), right.as_f64().unwrap());
            exact || (left - right).abs() <= right.abs() * f64::EPSILON
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}
