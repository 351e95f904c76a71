//! What a directory renders to, and everything that is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use bowline::{
    manifest::{GroupKind, Scope},
    render::{BuiltIn, Chain, DirectoryOptions, Limits, Render, ScopeLookup, Scopes, UnknownKind, directory},
    source::{
        tree::{MemoryTree, Tree},
        working::WorkingTree,
    },
};
use rstest::rstest;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

fn render_with(files: &[(&str, &str)], options: &DirectoryOptions) -> Result<Render, Vec<String>> {
    let tree: MemoryTree = files.iter().copied().collect();
    render_tree(&tree, options)
}

fn render_tree(tree: &dyn Tree, options: &DirectoryOptions) -> Result<Render, Vec<String>> {
    directory(tree, options, &BuiltIn).map_err(|failure| {
        failure.problems.iter().map(|problem| with_hint(problem.to_string(), problem.hint.as_deref())).collect()
    })
}

fn with_hint(problem: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem,
    }
}

fn render(files: &[(&str, &str)]) -> Result<Render, Vec<String>> {
    render_with(
        files,
        &DirectoryOptions { default_namespace: Some("team-a".to_owned()), ..DirectoryOptions::default() },
    )
}

fn names(render: &Render) -> Vec<String> {
    render.manifests.iter().map(|manifest| manifest.id.to_string()).collect()
}

#[rstest]
#[case::nothing(&[], &[])]
#[case::no_manifests(&[("README.md", "# x"), ("script.sh", "x")], &[])]
#[case::empty_documents(&[("a.yaml", ""), ("b.yaml", "---\n# only this\n---\nnull\n...\n---\n{}\n")], &[])]
#[case::extensions(
    &[("a.yaml", CONFIG_MAP), ("sub/b.yml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b}"),
      ("c.json", r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}}"#)],
    &["ConfigMap team-a/a", "Pod team-a/b", "Pod team-a/c"],
)]
#[case::hidden_files_and_directories(&[(".a.yaml", "x"), (".github/b.yaml", "x"), ("sub/.c.yaml", "x")], &[])]
#[case::documents_of_a_file(
    &[("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")],
    &["Pod team-a/a", "Pod team-a/b"],
)]
#[case::own_namespace(
    &[("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: other}")], &["Pod other/b"],
)]
#[case::empty_namespace(
    &[("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: ''}")], &["Pod team-a/b"],
)]
#[case::cluster_scoped(
    &[("a.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:a:B_c'}")],
    &["ClusterRole system:a:B_c"],
)]
#[case::unknown_kinds_are_namespaced(
    &[("a.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: b}")], &["Thing team-a/b"],
)]
#[case::well_known_kinds(
    &[("a.yaml", "apiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata: {name: b}")], &["ClusterIssuer b"],
)]
#[case::a_crd_outranks_what_is_well_known(
    &[("a.yaml", "apiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata: {name: b}"),
      ("z.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.cert-manager.io}\n\
                  spec: {group: cert-manager.io, scope: Namespaced, names: {kind: ClusterIssuer}}")],
    &["CustomResourceDefinition a.cert-manager.io", "ClusterIssuer team-a/b"],
)]
#[case::a_crd_tells_the_scope_of_its_kind(
    &[("a.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: b}"),
      ("z.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n\
                  spec: {group: example.com, scope: Cluster, names: {kind: Thing}}")],
    &["CustomResourceDefinition things.example.com", "Thing b"],
)]
#[case::a_list(
    &[("a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n\
                  - apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: Pod\n    metadata: {name: b}\n")],
    &["Pod team-a/a", "Pod team-a/b"],
)]
#[case::a_typed_list(
    &[("a.yaml", "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n")], &["Deployment team-a/a"],
)]
#[case::an_empty_list(&[("a.yaml", "apiVersion: v1\nkind: List\nitems: []\n---\nkind: List\napiVersion: v1\n")], &[])]
#[case::a_kind_that_is_only_called_list(
    &[("a.yaml", "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: a}\nspec: {}\n")], &["AllowList team-a/a"],
)]
#[case::same_name_in_other_namespaces_and_kinds(
    &[("a.yaml", CONFIG_MAP), ("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}"),
      ("c.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}")],
    &["ConfigMap b/a", "ConfigMap team-a/a", "Secret team-a/a"],
)]
fn a_directory_renders_to(#[case] files: &[(&str, &str)], #[case] expected: &[&str]) {
    assert_eq!(names(&render(files).unwrap()), expected);
}

#[test]
fn without_a_default_namespace_objects_stay_without() {
    let render = render_with(&[("a.yaml", CONFIG_MAP)], &DirectoryOptions::default()).unwrap();
    assert_eq!(names(&render), ["ConfigMap a"]);
    assert!(render.manifests[0].value["metadata"].get("namespace").is_none());
}

#[rstest]
#[case::not_an_object("- a\n", &["a.yaml:1:1: is not a Kubernetes object: it must be a mapping"])]
#[case::text("just text\n", &["a.yaml:1:1: is not a Kubernetes object: it must be a mapping"])]
#[case::no_type("metadata: {name: a}\n", &["a.yaml:1:1: apiVersion is missing", "a.yaml:1:1: kind is missing"])]
#[case::values("replicas: 3\nimage: {tag: '1'}\n", &[
    "a.yaml:1:1: is not a Kubernetes object: it has no apiVersion, kind and metadata (exclude the file (render.exclude, --exclude), or move it out of the directory)"])]
#[case::kustomization("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n", &[
    "a.yaml:1:1: is a part of a kustomization, and no object of a cluster (exclude the file (render.exclude, --exclude), or move it out of the directory)"])]
#[case::no_metadata("apiVersion: v1\nkind: Pod\n", &[
    "a.yaml:1:1: metadata is missing (give the object a metadata.name)"])]
#[case::no_name("apiVersion: v1\nkind: Pod\nmetadata: {labels: {}}\n", &["a.yaml:3:1: metadata.name is missing"])]
#[case::generated_name("apiVersion: v1\nkind: Job\nmetadata:\n  generateName: a-\n", &[
    "a.yaml:4:3: metadata.generateName is not supported (each apply would make another object; give it a metadata.name)"])]
#[case::number_as_name("apiVersion: v1\nkind: Pod\nmetadata:\n  name: 12\n", &[
    "a.yaml:4:3: metadata.name must be text, not a number (quote it to make it text)"])]
#[case::number_as_version("apiVersion: 1\nkind: Pod\nmetadata: {name: a}\n", &[
    "a.yaml:1:1: apiVersion must be text, not a number (quote it to make it text)"])]
#[case::bad_version("apiVersion: a/b/c\nkind: Pod\nmetadata: {name: a}\n", &[
    "a.yaml:1:1: apiVersion \"a/b/c\" is not valid (it is a version (v1) or a group and a version (apps/v1))"])]
#[case::bad_name("apiVersion: v1\nkind: Pod\nmetadata:\n  name: A\n", &[
    "a.yaml:4:3: metadata.name \"A\" is not valid (at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit first and last)"])]
#[case::bad_namespace("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: a.b\n", &[
    "a.yaml:5:3: metadata.namespace \"a.b\" is not valid (at most 63 lower-case letters, digits and `-`, with a letter or digit first and last)"])]
#[case::label_that_is_no_text("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    a: yes\n    b: 1\n", &[
    "a.yaml:6:5: metadata.labels[\"a\"] must be text, not a boolean (quote it to make it text)",
    "a.yaml:7:5: metadata.labels[\"b\"] must be text, not a number (quote it to make it text)"])]
#[case::null_annotation("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    a:\n", &[
    "a.yaml:6:5: metadata.annotations[\"a\"] must be text, not null (write \"\" for an empty value)"])]
#[case::label_value("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {a: b c}\n", &[
    "a.yaml:5:12: the value of metadata.labels[\"a\"] is not valid (at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit first and last)"])]
#[case::labels_that_are_a_list("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: [a]\n", &[
    "a.yaml:5:3: metadata.labels must be a mapping"])]
#[case::namespace_of_a_cluster_scoped_kind("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  namespace: b\n", &[
    "a.yaml:5:3: Node is not namespaced and cannot have metadata.namespace (remove metadata.namespace)"])]
#[case::config_map_value("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  on: 1\n", &[
    "a.yaml:5:3: data.true must be text (quote it to make it text)"])]
#[case::item_of_a_list("apiVersion: v1\nkind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- 12\n", &[
    "a.yaml:4:3: apiVersion is missing", "a.yaml:6:3: is not a Kubernetes object: it must be a mapping"])]
#[case::items_that_are_no_list("apiVersion: v1\nkind: List\nitems: {a: 1}\n", &[
    "a.yaml:3:1: items of a list must be a list"])]
#[case::template("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: {{ .Values.a }}\n", &[
    "a.yaml:5:7: a mapping or list cannot be a key (quote it to make it text; the `{{ }}` of a template must be rendered before)"])]
#[case::duplicate_key("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  x: 1\n  x: 2\n", &[
    "a.yaml:6:3: duplicate key \"x\" (it is set at 5:3 too; keep one of them)"])]
#[case::several_documents("a: [\n---\nb: *x\n---\napiVersion: v1\n", &[
    "a.yaml:1:4: is not YAML: a list in brackets has no end",
    "a.yaml:3:4: an alias has no anchor of its name before it (anchors do not reach over a document separator; quote a text that begins with *)",
    "a.yaml:5:1: kind is missing", "a.yaml:5:1: metadata is missing (give the object a metadata.name)"])]
#[case::nul("a: \0\n", &[
    "a.yaml:1:4: has the control character NUL (YAML allows no control characters; write it as an escape within double quotes)"])]
#[case::dot_in_a_service("apiVersion: v1\nkind: Service\nmetadata:\n  name: a.b\n", &[
    "a.yaml:4:3: metadata.name \"a.b\" is not valid (at most 63 lower-case letters, digits and `-`, with a letter or digit first and last)"])]
#[case::encrypted("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nsops:\n  age: [{recipient: age1, enc: x}]\n  mac: \"ENC[AES256_GCM,x]\"\n  lastmodified: x\n", &[
    "a.yaml: is encrypted by SOPS, and no key is given: name a Secret with it in render.decryption.secretRef (a command takes a file of keys by --age-key-file)"])]
#[case::encrypted_in_a_list("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  sops: {mac: x}\n", &[
    "a.yaml:7:3: is encrypted by SOPS, and is not decrypted: it is not at the top of a file of its own, or comes out of a template"])]
#[case::infinity("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: .inf\n", &[
    "a.yaml:4:7: is not a finite number (Kubernetes' objects are JSON, which has no infinity and no NaN; quote it to make it text)"])]
fn what_is_refused_with_its_place(#[case] content: &str, #[case] expected: &[&str]) {
    assert_eq!(render(&[("a.yaml", content)]).unwrap_err(), expected);
}

#[test]
fn a_secret_value_is_in_no_problem() {
    let content =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {p: 'hunter22!'}\nstringData: {q: 8675309}\n";
    assert_eq!(
        render(&[("a.yaml", content)]).unwrap_err(),
        [
            "a.yaml:4:8: data.p is not base64 (encode it, or put it into stringData (of a Secret) or data (of a ConfigMap))",
            "a.yaml:5:14: stringData.q must be text (quote it to make it text)",
        ]
    );
}

#[test]
fn an_object_that_is_defined_twice_is_refused_with_both_places() {
    let again = "# x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: team-a\n";
    assert_eq!(
        render(&[("a.yaml", CONFIG_MAP), ("b/c.yaml", again)]).unwrap_err(),
        ["b/c.yaml:3:1: ConfigMap team-a/a is defined twice (it is defined at a.yaml:1:1 too; keep one of them)"]
    );
    let version = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n---\n\
                   apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n";
    assert_eq!(render(&[("a.yaml", version)]).unwrap_err().len(), 1);
}

#[test]
fn a_file_that_is_not_utf_8_is_named_and_the_others_are_looked_at() {
    let tree: MemoryTree =
        [("a.yaml", b"a: 1\nb: \xff\n".to_vec()), ("b.yaml", b"kind: Pod\n".to_vec())].into_iter().collect();
    let problems = render_tree(&tree, &DirectoryOptions::default()).unwrap_err();
    assert!(problems[0].starts_with("a.yaml:2:4: is not UTF-8"), "{problems:?}");
    assert!(problems[1].starts_with("b.yaml:1:1: apiVersion is missing"), "{problems:?}");
}

#[rstest]
#[case::include(&["web/**"], &[], &["ConfigMap team-a/b", "ConfigMap team-a/c"])]
#[case::exclude(&[], &["**/c.yaml"], &["ConfigMap team-a/a", "ConfigMap team-a/b"])]
#[case::exclude_outranks(&["**"], &["web/**"], &["ConfigMap team-a/a"])]
#[case::a_star_stays_within_a_directory(&["*.yaml"], &[], &["ConfigMap team-a/a"])]
#[case::alternatives(&["{a.yaml,web/b.yaml}"], &[], &["ConfigMap team-a/a", "ConfigMap team-a/b"])]
#[case::leading_dot(&["./a.yaml"], &[], &["ConfigMap team-a/a"])]
fn globs_choose_files(#[case] include: &[&str], #[case] exclude: &[&str], #[case] expected: &[&str]) {
    let named = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let files = [
        ("deploy/a.yaml", a.as_str()),
        ("deploy/web/b.yaml", &b),
        ("deploy/web/x/c.yaml", &c),
        ("z.yaml", "broken: ["),
    ];
    let options = DirectoryOptions {
        path: "deploy/".to_owned(),
        include: include.iter().map(|glob| (*glob).to_owned()).collect(),
        exclude: exclude.iter().map(|glob| (*glob).to_owned()).collect(),
        default_namespace: Some("team-a".to_owned()),
        ..DirectoryOptions::default()
    };
    assert_eq!(names(&render_with(&files, &options).unwrap()), expected);
}

#[test]
fn a_glob_that_is_not_valid_is_named() {
    let options = DirectoryOptions { exclude: vec!["a[".to_owned()], ..DirectoryOptions::default() };
    let problems = render_with(&[("a.yaml", CONFIG_MAP)], &options).unwrap_err();
    assert!(problems[0].starts_with("render.exclude: the glob \"a[\" is not valid: "), "{problems:?}");
}

#[rstest]
#[case("none", "none: does not exist")]
#[case("a.yaml", "a.yaml: is a file, not a directory")]
#[case("../other", "../other: is not a path within the repository")]
fn a_path_must_be_a_directory_of_the_repository(#[case] path: &str, #[case] expected: &str) {
    let options = DirectoryOptions { path: path.to_owned(), ..DirectoryOptions::default() };
    let problems = render_with(&[("a.yaml", CONFIG_MAP)], &options).unwrap_err();
    assert!(problems[0].starts_with(expected), "{problems:?}");
}

#[test]
fn a_kustomization_is_passed_over_where_a_directory_is_asked_for_and_it_is_excluded() {
    let options = DirectoryOptions { exclude: vec!["kustomization.yaml".to_owned()], ..DirectoryOptions::default() };
    let render = render_with(&[("a.yaml", CONFIG_MAP), ("kustomization.yaml", "resources: []")], &options).unwrap();
    assert_eq!(names(&render), ["ConfigMap a"]);
}

#[test]
fn links_are_followed_within_the_directory_only() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("app")).unwrap();
    std::fs::write(root.path().join("outside.yaml"), CONFIG_MAP).unwrap();
    std::fs::write(root.path().join("app/config.txt"), CONFIG_MAP).unwrap();
    let link =
        |target: &str, name: &str| std::os::unix::fs::symlink(target, root.path().join("app").join(name)).unwrap();
    link("config.txt", "a.yaml");
    link("/etc/passwd", "passwd");
    let options = DirectoryOptions { path: "app".to_owned(), ..DirectoryOptions::default() };
    let rendered = render_tree(&WorkingTree::open(root.path()).unwrap(), &options).unwrap();
    assert_eq!(names(&rendered), ["ConfigMap a"]);

    link("../outside.yaml", "b.yaml");
    link("/etc/hosts", "c.yaml");
    link("d.yaml", "d.yaml");
    link("none.yaml", "e.yaml");
    let problems = render_tree(&WorkingTree::open(root.path()).unwrap(), &options).unwrap_err();
    let messages: Vec<_> = problems.iter().map(|problem| problem.split(" (").next().unwrap()).collect();
    assert_eq!(
        messages,
        [
            "app/b.yaml: is a link to \"../outside.yaml\", which leaves the directory of the application",
            "app/c.yaml: is a link to \"/etc/hosts\", which leaves the directory of the application",
            "app/d.yaml: is a link over more than 16 links, or in a circle",
            "app/e.yaml: is a link to \"none.yaml\", which is no file of the application",
        ]
    );
}

struct Served(Scopes);

impl ScopeLookup for Served {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.0.scope(kind)
    }

    fn unknown_kind(&self) -> UnknownKind {
        UnknownKind::Refuse
    }
}

#[test]
fn a_kind_that_a_cluster_does_not_serve_is_refused() {
    let mut served = Scopes::default();
    served.insert(GroupKind::new("", "ConfigMap"), Scope::Namespaced);
    let tree: MemoryTree =
        [("a.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"), ("b.yaml", CONFIG_MAP)]
            .into_iter()
            .collect();
    let served = Served(served);
    let failure = directory(&tree, &DirectoryOptions::default(), &Chain(vec![&served])).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "a.yaml:2:1: kind Thing.example.com is not served by the cluster and no CRD of this application defines it"
    );
}

#[test]
fn digests_tell_content_and_inputs_apart() {
    let base = render(&[("a.yaml", CONFIG_MAP)]).unwrap();
    let commented = render(&[("a.yaml", &format!("# hello\n{CONFIG_MAP}"))]).unwrap();
    assert_eq!(base.bundle, commented.bundle);
    assert_ne!(base.inputs, commented.inputs);
    let moved = render(&[("b.yaml", CONFIG_MAP)]).unwrap();
    assert_eq!(base.bundle, moved.bundle);
    let changed = render(&[("a.yaml", &format!("{CONFIG_MAP}data: {{x: z}}\n"))]).unwrap();
    assert_ne!(base.bundle, changed.bundle);
    let beside = render(&[("a.yaml", CONFIG_MAP), ("README.md", "x")]).unwrap();
    assert_eq!(base.inputs, beside.inputs);
}

#[rstest]
#[case(Limits { files: 1, ..Limits::default() }, "holds 2 manifest files, more than the limit of 1")]
#[case(Limits { bytes: 60, ..Limits::default() }, "its files are more than the limit of 60 bytes together")]
#[case(Limits { objects: 1, ..Limits::default() }, "holds more than the limit of 1 objects")]
fn a_limit_that_is_passed_is_named(#[case] limits: Limits, #[case] expected: &str) {
    let options = DirectoryOptions { limits, ..DirectoryOptions::default() };
    let files = [("a.yaml", CONFIG_MAP), ("b.yaml", CONFIG_MAP)];
    let problems = render_with(&files, &options).unwrap_err();
    assert_eq!(problems, [format!(".: {expected}")]);
}
