//! What Bowline renders is what the programs render, after canonical form.

use std::{collections::BTreeMap, path::Path, process::Command};

use bowline::{
    manifest::{ManifestDigest, ObjectId, yaml::RepeatedKeys},
    render::{BuiltIn, DirectoryOptions, HelmOptions, Limits, Render, RenderType, detect, directory},
    source::tree::MemoryTree,
};

use super::case::{Case, Repository, options, program, words};

/// The objects of a render by their digests.
pub type Objects = BTreeMap<ObjectId, ManifestDigest>;

/// What the program itself makes of a directory, with what people would type.
pub fn by_the_program(kind: RenderType, repository: &Path, path: &str, helm: &HelmOptions) -> Objects {
    let directory_of = repository.join(path);
    let mut command = match kind {
        RenderType::Kustomize => {
            let mut command = Command::new(program("kustomize"));
            command.arg("build").arg(&directory_of);
            command
        }
        _ => helm_command(&directory_of, helm),
    };
    let home = tempfile::tempdir().unwrap();
    let output = command.env("HOME", home.path()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    read(output.stdout)
}

fn helm_command(directory: &Path, helm: &HelmOptions) -> Command {
    // Dependencies by file:// are for Helm to put into charts/, as people have it.
    let mut command = Command::new(program("helm"));
    command.args(["template", &helm.release_name]).arg(directory).args(["--namespace", "shop", "--include-crds"]);
    for file in &helm.value_files {
        command.arg("--values").arg(directory.join(file));
    }
    if let Some(values) = &helm.values {
        for (key, value) in values.as_object().unwrap() {
            command.arg("--set-json").arg(format!("{key}={value}"));
        }
    }
    if let Some(version) = &helm.capabilities.kube_version {
        command.args(["--kube-version", version]);
    }
    for version in &helm.capabilities.api_versions {
        command.args(["--api-versions", version]);
    }
    command
}

/// What a program wrote, read as a file of manifests.
fn read(output: Vec<u8>) -> Objects {
    let tree: MemoryTree = [("all.yaml", output)].into_iter().collect();
    let mut limits = Limits::default();
    limits.yaml.repeated_keys = RepeatedKeys::LastWins;
    let options = DirectoryOptions { limits, ..options(".") };
    let render = directory(&tree, &options, &BuiltIn).unwrap_or_else(|failure| panic!("{}", words(&failure)));
    objects(&render)
}

pub fn objects(render: &Render) -> Objects {
    render.manifests.iter().map(|manifest| (manifest.id.clone(), manifest.digest.clone())).collect()
}

/// Has Helm itself put the dependencies of a chart and of those into `charts/`.
fn build_dependencies(chart: &Path) {
    let text = std::fs::read_to_string(chart.join("Chart.yaml")).unwrap_or_default();
    for line in text.lines().filter(|line| line.contains("file://")) {
        let relative = line.split("file://").nth(1).unwrap().trim_end_matches(['"', '}', ' ']);
        build_dependencies(&chart.join(relative));
    }
    if !text.contains("file://") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("helm"));
    let output = command.args(["dependency", "update"]).arg(chart).env("HOME", home.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_case_renders_equal_to_the_program_itself() {
    let cases = Case::all();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    for Case { name, path, helm, repository } in cases {
        let render = repository.render(&path, &helm);
        let render = render.unwrap_or_else(|failure| panic!("{name}: {}", words(&failure)));
        let ours = objects(&render);
        let kind = detect(&repository.files(), if path == "." { "" } else { &path }).unwrap();
        if kind == RenderType::Helm {
            build_dependencies(&repository.path().join(&path));
        }
        let theirs = by_the_program(kind, repository.path(), &path, &helm);
        assert!(!theirs.is_empty(), "{name} renders to nothing");
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn each_object_names_the_file_that_it_comes_from() {
    let mut named = 0;
    for Case { name, path, helm, repository } in Case::all() {
        let render = repository.render(&path, &helm).unwrap();
        for manifest in &render.manifests {
            let file = &manifest.origin.as_ref().unwrap().file;
            assert!(repository.path().join(file).is_file(), "{name}: {} comes from {file}", manifest.id);
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
}

#[test]
fn a_packed_subchart_renders_like_one_that_is_not() {
    let chart = [
        ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies: [{name: cache, version: 0.1.0}]\n"),
        ("templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n"),
    ];
    let cache = [
        ("Chart.yaml", "apiVersion: v2\nname: cache\nversion: 0.1.0\n"),
        (
            "templates/cache.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cache}\ndata:\n  size: {{ .Values.size | quote }}\n  \
             {{- if .Values.look }}\n  found: {{ (lookup \"v1\" \"Secret\" \"a\" \"b\").kind }}\n  {{- end }}\n",
        ),
        ("values.yaml", "size: 3\nlook: false\n"),
    ];
    let (packed, subchart) = (Repository::new(&chart), Repository::new(&cache));
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(packed.path().join("charts")).unwrap();
    let mut command = Command::new(program("helm"));
    command.arg("package").arg(subchart.path()).arg("--destination").arg(packed.path().join("charts"));
    assert!(command.env("HOME", home.path()).output().unwrap().status.success());
    assert!(packed.path().join("charts/cache-0.1.0.tgz").is_file());
    let helm = HelmOptions::default();
    let ours = packed.render(".", &helm).unwrap_or_else(|failure| panic!("{}", words(&failure)));
    let ours: Objects = ours.manifests.iter().map(|it| (it.id.clone(), it.digest.clone())).collect();
    assert_eq!(ours, by_the_program(RenderType::Helm, packed.path(), ".", &helm));
    assert_eq!(ours.len(), 2);

    let values = serde_json::json!({"cache": {"look": true}});
    let problems = packed.problems(".", &HelmOptions { values: Some(values), ..HelmOptions::default() });
    assert!(problems.contains("cache/templates/cache.yaml:7:") && problems.contains("uses `lookup`"), "{problems}");
}
