//! What people read when their chart or kustomization does not render.

use bowline::render::{BuiltIn, HelmOptions, Programs, RenderType, ValueSource};

use super::case::{Repository, options, prepared, words};

const CHART: (&str, &str) = ("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n");

/// The problems of a chart with one template.
fn of_template(template: &str) -> String {
    Repository::new(&[CHART, ("web/templates/a.yaml", template)]).problems("web", &HelmOptions::default())
}

#[test]
fn the_word_of_a_template_is_told_at_its_place() {
    insta::assert_snapshot!(of_template("a: {{ required \"image is needed\" .Values.image }}\n"), @"web/templates/a.yaml:1:7: image is needed");
    insta::assert_snapshot!(of_template("\n{{ fail \"no way\" }}\n"), @"web/templates/a.yaml:2:4: no way");
}

#[test]
fn a_mistake_in_a_template_is_told_at_its_place() {
    insta::assert_snapshot!(of_template("a: {{ .Values.x.y.z }}\n"), @r#"web/templates/a.yaml:1:14: helm: web/templates/a.yaml:1:13; executing "web/templates/a.yaml" at <.Values.x.y.z>: nil pointer evaluating interface {}.y"#);
    insta::assert_snapshot!(of_template("a: {{ nothing }}\n"), @r#"web/templates/a.yaml:1:1: helm: parse error at (web/templates/a.yaml:1): function "nothing" not defined"#);
    insta::assert_snapshot!(of_template("a: [\n"), @"web/templates/a.yaml: helm: YAML parse error on web/templates/a.yaml: error converting YAML to JSON: yaml: line 1: did not find expected node content");
}

#[test]
fn what_is_no_object_is_told_of_its_template() {
    insta::assert_snapshot!(of_template("a: b\n"), @"web/templates/a.yaml: is not a Kubernetes object: it has no apiVersion, kind and metadata");
    insta::assert_snapshot!(of_template("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {on: yes}}\n"), @r#"
    web/templates/a.yaml: metadata.labels["true"] must be text, not a boolean
      hint: quote it to make it text
    "#);
}

#[test]
fn a_template_that_asks_the_cluster_is_refused() {
    insta::assert_snapshot!(of_template("a:\n  {{ lookup \"v1\" \"Secret\" \"shop\" \"a\" }}\n"), @r"
    web/templates/a.yaml:2:6: uses `lookup`, which reads the cluster while rendering: a render is made from Git alone
      hint: give the value that it looks up (charts often have an `existingSecret` or the like), so that the template does not come to it
    ");
}

#[test]
fn what_is_missing_is_named() {
    let helm = HelmOptions { value_files: vec!["../env/prod.yaml".to_owned()], ..HelmOptions::default() };
    insta::assert_snapshot!(Repository::new(&[CHART]).problems("web", &helm), @r#"
    render.helm.valueFiles: the value file "../env/prod.yaml" does not exist (looked for env/prod.yaml)
      hint: paths of value files are relative to source.path
    "#);
    let chart = "apiVersion: v2\nname: web\nversion: 0.1.0\ndependencies:\n- name: redis\n  version: 1.x\n  repository: https://charts.example.com\n- name: gone\n  version: 1.x\n  repository: file://../gone\n";
    insta::assert_snapshot!(Repository::new(&[("web/Chart.yaml", chart)]).problems("web", &HelmOptions::default()), @r"
    web/Chart.yaml:5:3: the dependency redis of https://charts.example.com is not in charts/, and render.helm.repositories does not name that repository
      hint: name it there, or run `helm dependency build` and commit what it puts into charts/
    web/Chart.yaml:8:3: the dependency gone is not at file://../gone
    ");
    let kustomization = "resources:\n- none.yaml\n- ../base\npatches:\n- path: patch.yaml\n";
    insta::assert_snapshot!(Repository::new(&[("app/kustomization.yaml", kustomization)]).problems("app", &HelmOptions::default()), @r#"
    app/kustomization.yaml:2:3: "none.yaml" does not exist
    app/kustomization.yaml:3:3: "../base" does not exist
    app/kustomization.yaml:5:3: "patch.yaml" does not exist
    "#);
}

#[test]
fn a_value_of_a_secret_is_in_no_message() {
    let template = "{{ fail (printf \"no %s, no %s\" .Values.password (.Values.password | b64enc)) }}\n";
    let repository = Repository::new(&[CHART, ("web/templates/a.yaml", template)]);
    let source = |secret| ValueSource {
        name: "Secret shop/values".to_owned(),
        content: b"password: hunter22\n".to_vec(),
        secret,
    };
    let problems = |secret| {
        let helm = HelmOptions { value_sources: vec![source(secret)], ..HelmOptions::default() };
        repository.problems("web", &helm)
    };
    insta::assert_snapshot!(problems(true), @"web/templates/a.yaml:1:4: no ***, no ***");
    insta::assert_snapshot!(problems(false), @"web/templates/a.yaml:1:4: no hunter22, no aHVudGVyMjI=");
}

#[test]
fn values_that_the_schema_refuses_are_named() {
    let schema = r#"{"type": "object", "properties": {"replicas": {"type": "integer"}}}"#;
    let repository =
        Repository::new(&[CHART, ("web/values.schema.json", schema), ("web/values.yaml", "replicas: many\n")]);
    insta::assert_snapshot!(repository.problems("web", &HelmOptions::default()), @"web/Chart.yaml: helm: values don't meet the specifications of the schema(s) in the following chart(s): web: - at '/replicas': got string, want integer");
}

#[test]
fn kustomize_complains_in_the_names_of_the_repository() {
    let repository = Repository::new(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\npatches:\n- path: patch.yaml\n"),
        ("app/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ("app/patch.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"),
    ]);
    insta::assert_snapshot!(repository.problems("app", &HelmOptions::default()), @"app/kustomization.yaml: kustomize: no resource matches strategic merge patch \"ConfigMap.v1.[noGrp]/other.[noNs]\": no matches for Id ConfigMap.v1.[noGrp]/other.[noNs]; failed to find unique target for patch ConfigMap.v1.[noGrp]/other.[noNs]");
}

#[test]
fn a_program_that_is_missing_is_named_with_the_way_to_name_it() {
    let repository = Repository::new(&[CHART]);
    let prepared = prepared(&repository.files(), RenderType::Helm, &options("web"), &HelmOptions::default()).unwrap();
    let none = Programs::default();
    let failure = prepared.render(&none, &options("web"), &BuiltIn).unwrap_err();
    insta::assert_snapshot!(words(&failure), @r"
    web/Chart.yaml: is to be rendered by helm, which was not found
      hint: install helm, or name it with --helm
    ");
}
