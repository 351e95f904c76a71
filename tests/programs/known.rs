//! What a render depends on, and what it does not.

use bowline::{
    render::{BuiltIn, HelmOptions, Probes},
    source::files::Files,
};

use super::case::{Repository, options, programs};

/// Files whose content has a name, as that of a Git repository has.
struct Named<'a>(&'a Repository);

impl Files for Named<'_> {
    fn find(&self, path: &str) -> Result<Option<bowline::source::files::Found>, bowline::source::tree::TreeError> {
        self.0.files().find(path)
    }

    fn below(
        &self,
        directory: &str,
    ) -> Result<Vec<bowline::source::tree::TreeEntry>, bowline::source::tree::TreeError> {
        self.0.files().below(directory)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, bowline::source::tree::TreeError> {
        self.0.files().read(path)
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        let files = self.0.files();
        match files.find(path).ok()?? {
            bowline::source::files::Found::Directory => {
                let names = files.below(path).ok()?;
                Some(names.iter().flat_map(|entry| files.read(&entry.path).unwrap_or_default()).collect())
            }
            _ => files.read(path).ok(),
        }
    }
}

fn is_unchanged(repository: &Repository, probes: &Probes) -> bool {
    probes.iter().all(|(path, id)| Named(repository).content_id(path) == *id)
}

fn probes(repository: &Repository, path: &str, helm: &HelmOptions) -> Probes {
    let kind = bowline::render::detect(&repository.files(), path).unwrap();
    let prepared = super::case::prepared(&Named(repository), kind, &options(path), helm).unwrap();
    prepared.probes().clone()
}

#[test]
fn a_change_of_a_base_is_seen_and_one_elsewhere_is_not() {
    let repository = Repository::new(&[
        ("overlays/prod/kustomization.yaml", "resources: [../../base]\n"),
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("base/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ("overlays/test/kustomization.yaml", "resources: [../../base]\n"),
    ]);
    let helm = HelmOptions::default();
    let before = probes(&repository, "overlays/prod", &helm);
    let digest = repository.prepare("overlays/prod", &helm).unwrap().inputs().clone();
    repository.put("overlays/test/kustomization.yaml", b"resources: []\n");
    repository.put("base/README.md", b"words\n");
    assert!(is_unchanged(&repository, &before));
    assert_eq!(*repository.prepare("overlays/prod", &helm).unwrap().inputs(), digest);
    repository.put("base/a.yaml", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n");
    assert!(!is_unchanged(&repository, &before));
    assert_ne!(*repository.prepare("overlays/prod", &helm).unwrap().inputs(), digest);
}

#[test]
fn a_file_that_comes_to_be_where_none_was_is_seen() {
    let repository = Repository::new(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\n"),
        ("app/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
    ]);
    let before = probes(&repository, "app", &HelmOptions::default());
    // With two of them kustomize does not know which counts.
    repository.put("app/Kustomization", b"resources: []\n");
    assert!(!is_unchanged(&repository, &before));
}

#[test]
fn a_value_file_elsewhere_counts_and_a_file_beside_it_does_not() {
    let repository = Repository::new(&[
        ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("charts/web/templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\n"),
        ("env/prod.yaml", "name: a\n"),
        ("env/test.yaml", "name: b\n"),
    ]);
    let helm = HelmOptions { value_files: vec!["../../env/prod.yaml".to_owned()], ..HelmOptions::default() };
    let before = probes(&repository, "charts/web", &helm);
    repository.put("env/test.yaml", b"name: c\n");
    assert!(is_unchanged(&repository, &before));
    repository.put("env/prod.yaml", b"name: d\n");
    assert!(!is_unchanged(&repository, &before));
}

#[test]
fn a_chart_that_does_not_ask_for_the_cluster_is_the_same_on_another() {
    let of = |template: &str| {
        let repository = Repository::new(&[
            ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
            ("templates/a.yaml", template),
        ]);
        let inputs = |version: &str, apis: &[&str]| {
            let mut helm = HelmOptions::default();
            helm.capabilities.kube_version = Some(version.to_owned());
            helm.capabilities.api_versions = apis.iter().map(ToString::to_string).collect();
            repository.prepare(".", &helm).unwrap().inputs().clone()
        };
        (inputs("v1.36.0", &["apps/v1"]), inputs("v1.37.0", &["apps/v1", "example.com/v1"]))
    };
    let (one, other) = of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    assert_eq!(one, other);
    let (one, other) = of("a: {{ .Capabilities.KubeVersion.Version }}\n");
    assert_ne!(one, other);
    let (one, other) = of("a: {{ .Capabilities.APIVersions.Has \"example.com/v1\" }}\n");
    assert_ne!(one, other);
    let (one, other) = of("a: {{ .Capabilities.APIVersions.Has \"other.com/v1\" }}\n");
    assert_eq!(one, other);
}

#[test]
fn fields_from_chance_are_named() {
    let repository = Repository::new(&[
        ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        (
            "templates/a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  fixed: x\n  password: {{ randAlphaNum 20 }}\n",
        ),
    ]);
    let helm = HelmOptions::default();
    let render = repository.render(".", &helm).unwrap();
    let unsteady: Vec<String> =
        render.unsteady.iter().map(|unsteady| format!("{}: {:?}", unsteady.id, unsteady.pointers)).collect();
    assert_eq!(unsteady, ["Secret shop/a: [\"/data/password\"]"]);
    let again = repository.prepare(".", &helm).unwrap();
    assert_eq!(again.inputs(), &render.inputs, "its inputs are the same, whatever it renders to");
    assert_ne!(again.render(programs(), &options("."), &BuiltIn).unwrap().bundle, render.bundle);
    assert!(render.renderer.starts_with("Helm v4."), "{}", render.renderer);
}
