//! Helm, and the objects that it renders.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde::Deserialize as _;
use serde_json::Value;

pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn chart() -> PathBuf {
    checkout().join("charts/bowline")
}

/// Runs Helm without any configuration of the machine, and without a cluster.
pub fn helm(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(rig::tools::path("helm").unwrap())
        .args(arguments)
        .current_dir(chart())
        .env_clear()
        .env("HOME", home.path())
        .env("KUBECONFIG", home.path().join("none"))
        .output()
        .unwrap()
}

/// What `helm template` prints for some settings, each as `--set-json` takes it.
pub fn template(settings: &[&str], more: &[&str]) -> Result<String, String> {
    let mut arguments = vec!["template", "bowline", ".", "--namespace=bowline-system", "--kube-version=1.37.2"];
    for setting in settings {
        arguments.extend(["--set-json", setting]);
    }
    arguments.extend(more);
    let output = helm(&arguments);
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// The kinds of a cluster that serves what the chart asks for.
pub const SERVED: &str = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";

/// The objects of a chart with some settings.
pub fn rendered(settings: &[&str]) -> Vec<Value> {
    objects(&template(settings, &[SERVED]).unwrap())
}

/// The objects of a text of YAML documents.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).filter(|object| !object.is_null()).collect()
}

/// `Kind name`, with the namespace where it is another than the release's.
pub fn named(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str().filter(|namespace| *namespace != "bowline-system") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

pub fn names(objects: &[Value]) -> BTreeSet<String> {
    let names: BTreeSet<String> = objects.iter().map(named).collect();
    assert_eq!(names.len(), objects.len(), "an object stands there twice");
    names
}

/// The one object of a name, as [`named`] gives it.
pub fn one<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    objects.iter().find(|object| named(object) == name).unwrap_or_else(|| panic!("no {name} in {:?}", names(objects)))
}

/// Compares a generated file, or writes it where `BOWLINE_GENERATE` says so.
pub fn is_up_to_date(file: &str, expected: &str) {
    let path = checkout().join(file);
    if std::env::var_os("BOWLINE_GENERATE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == expected, "{file} is stale: run `cargo xtask generate`");
}
