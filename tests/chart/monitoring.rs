//! Alerts and the dashboard ask for metrics that there are, and Prometheus
//! understands them.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::helm::{chart, checkout, one, rendered};

/// The words of a text that begin like a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !word(character))
        .filter(|name| name.starts_with("bowline_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
    let known = metrics_in(&fs::read_to_string(checkout().join("docs/metrics.md")).unwrap());
    for file in ["alerts.yaml", "dashboards/bowline.json"] {
        let asked = metrics_in(&fs::read_to_string(chart().join(file)).unwrap());
        assert!(asked.len() > 5, "{file} is not read rightly: {asked:?}");
        let unknown: Vec<&String> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

#[test]
fn the_page_of_metrics_says_what_each_alert_means() {
    let page = fs::read_to_string(checkout().join("docs/metrics.md")).unwrap();
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(chart().join("alerts.yaml")).unwrap()).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 8);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md does not know {name}");
    }
}

/// Runs promtool in the directory with the rules and their tests.
fn promtool(arguments: &[&str]) -> String {
    let output = Command::new(rig::promtool().unwrap()).args(arguments).current_dir(checkout()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn prometheus_understands_the_alerts_and_they_come_when_they_should() {
    let said = promtool(&["check", "rules", "charts/bowline/alerts.yaml"]);
    assert!(said.contains("8 rules found"), "{said}");
    promtool(&["test", "rules", "tests/chart/alerts.test.yaml"]);
}

#[test]
fn prometheus_understands_what_the_dashboard_asks() {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(chart().join("dashboards/bowline.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m").replace("$namespace", "x"))
        .collect();
    assert!(expressions.len() > 15);
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| serde_json::json!({"record": format!("panel:{number}"), "expr": expression}))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.json");
    fs::write(&file, serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", "--lint=none", file.to_str().unwrap()]);
}

#[test]
fn the_operator_of_prometheus_gets_the_same_rules() {
    let objects = rendered(&[
        "metrics={\"prometheusRule\":{\"enabled\":true,\"labels\":{\"release\":\"monitoring\"}},\"dashboard\":{\"enabled\":true}}",
    ]);
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(chart().join("alerts.yaml")).unwrap()).unwrap();
    let rule = one(&objects, "PrometheusRule bowline-controller");
    assert_eq!(rule["spec"], rules);
    assert_eq!(rule["metadata"]["labels"]["release"], "monitoring");
    let dashboard = &one(&objects, "ConfigMap bowline-dashboard")["data"]["bowline.json"];
    assert_eq!(
        dashboard.as_str().unwrap().trim_end(),
        fs::read_to_string(chart().join("dashboards/bowline.json")).unwrap().trim_end()
    );
}
