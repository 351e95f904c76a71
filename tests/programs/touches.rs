//! What an Application changes of its objects is what Kustomize would make of
//! a kustomization with the same words, and mistakes are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use bowline::{
    manifest::{ManifestDigest, ObjectId},
    render::{
        BuiltIn, DirectoryOptions, HelmOptions, ImageOverride, KnownFiles, Patch, Programs, Render, RenderFailure,
        Target, Touches, directory, directory_after,
    },
    source::tree::MemoryTree,
};
use rstest::rstest;
use serde_json::json;

use super::case::{Repository, options, prepared, program, programs, words};

const OBJECTS: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: wait, image: "example.com:5000/tools"}]
      containers:
        - name: web
          image: shop/web:1
          env: [{name: A, value: "1"}, {name: B, value: "yes"}]
          ports: [{containerPort: 80}]
        - {name: side, image: "shop/side@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, labels: {app: api}}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: shop/api}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}, {port: 443}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {"on": "on", number: "012", long: "a\n  b\n", "null": "~", image: "shop/web:1"}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: one}
spec: {list: [1, 2.50, 1e3], deep: {containers: [{name: x, image: "shop/web:1"}]}}
"#;

type Objects = BTreeMap<ObjectId, ManifestDigest>;

fn digests(render: &Render) -> Objects {
    render.manifests.iter().map(|manifest| (manifest.id.clone(), manifest.digest.clone())).collect()
}

fn tree(text: &str) -> MemoryTree {
    [("all.yaml", text.as_bytes().to_vec())].into_iter().collect()
}

fn render(text: &str, touches: &Touches) -> Result<Render, RenderFailure> {
    let options = DirectoryOptions { touches: touches.clone(), ..options(".") };
    directory_after(&tree(text), &options, &BuiltIn, &KnownFiles::default(), programs())
}

fn patch(patch: &str) -> Patch {
    Patch { patch: patch.to_owned(), target: None }
}

fn for_target(patch: &str, target: Target) -> Patch {
    Patch { patch: patch.to_owned(), target: Some(target) }
}

fn of_kind(kind: &str) -> Target {
    Target { kind: Some(kind.to_owned()), ..Target::default() }
}

fn patches(patches: &[Patch]) -> Touches {
    Touches { patches: patches.to_vec(), ..Touches::default() }
}

fn image(name: &str, new_name: &str, new_tag: &str, digest: &str) -> ImageOverride {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ImageOverride { name: name.to_owned(), new_name: given(new_name), new_tag: given(new_tag), digest: given(digest) }
}

/// For a target; Kustomize wants it to be whole.
const ANY: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: any}\nspec: {replicas: 5}\n";

const ENVIRONMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - name: web
          env: [{name: B, $patch: delete}, {name: C, value: "on"}]
          resources: {limits: {memory: 64Mi}}
"#;

#[rstest]
#[case::strategic(patches(&[patch(ENVIRONMENT)]))]
#[case::json(patches(&[for_target(r#"[{"op": "replace", "path": "/spec/replicas", "value": 3}]"#, Target { name: Some("web".into()), ..of_kind("Deployment") })]))]
#[case::json_as_yaml(patches(&[for_target("- {op: add, path: /spec/replicas, value: 2}\n- {op: test, path: /kind, value: Deployment}\n", of_kind("Deployment"))]))]
#[case::labels_select(patches(&[for_target(ANY, Target { label_selector: Some("tier=front".into()), ..of_kind("Deployment") })]))]
#[case::whole_object_goes(patches(&[patch("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n$patch: delete\n")]))]
#[case::a_list_by_its_key(patches(&[patch("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 443, name: tls}]}\n")]))]
#[case::a_field_goes(patches(&[patch("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: null}\n")]))]
#[case::a_kind_of_ones_own(patches(&[patch("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\nspec: {list: [7]}\n")]))]
#[case::one_after_the_other(patches(&[patch(ENVIRONMENT), for_target("- op: remove\n  path: /spec/template/spec/containers/0/env/0\n", Target { name: Some("w.b".into()), ..of_kind("Deployment|StatefulSet") })]))]
#[case::all_annotations_go(patches(&[for_target("- op: replace\n  path: /metadata\n  value: {name: words, labels: {a: b}}\n", of_kind("ConfigMap"))]))]
#[case::words_of_yaml(patches(&[for_target(r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any"}, "data": {"yes": "yes", "number": "1_000"}}"#, of_kind("ConfigMap"))]))]
#[case::everything(Touches {
    patches: vec![patch(ENVIRONMENT)],
    labels: [("team".to_owned(), "shop".to_owned()), ("app".to_owned(), "all".to_owned())].into(),
    images: vec![image("shop/web", "", "2", ""), image("example.com:5000/tools", "tools", "", "")],
    ..Touches::default()
})]
#[case::images(Touches {
    images: vec![
        image("shop/web", "mirror.example/web", "2", ""),
        image("shop/api", "", "", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        image("shop/side", "", "3.1", ""),
    ],
    ..Touches::default()
})]
fn touches_are_what_a_kustomization_with_the_same_words_makes(#[case] touches: Touches) {
    let ours = render(OBJECTS, &touches).unwrap_or_else(|failure| panic!("{}", words(&failure)));

    let entries: Vec<_> = touches.patches.iter().map(|patch| json!(patch)).collect();
    let mut kustomization = json!({"resources": ["all.yaml"], "patches": entries, "images": touches.images});
    if !touches.labels.is_empty() {
        kustomization["labels"] = json!([{"pairs": touches.labels, "includeSelectors": false}]);
    }
    let kustomization = kustomization.to_string();
    let repository = Repository::new(&[("all.yaml", OBJECTS), ("kustomization.yaml", &kustomization)]);
    let output = Command::new(program("kustomize")).arg("build").arg(repository.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = directory(&tree(&String::from_utf8(output.stdout).unwrap()), &options("."), &BuiltIn).unwrap();

    assert_eq!(digests(&ours), digests(&theirs));
    let plain = directory(&tree(OBJECTS), &options("."), &BuiltIn).unwrap();
    assert_ne!(digests(&ours), digests(&plain), "something is changed");
}

#[test]
fn annotations_are_for_the_object_and_not_for_its_pods() {
    let touches = Touches { annotations: [("owner".to_owned(), "ada".to_owned())].into(), ..Touches::default() };
    for manifest in render(OBJECTS, &touches).unwrap().manifests {
        let value = manifest.value.read();
        assert_eq!(value["metadata"]["annotations"]["owner"], "ada", "{}", manifest.id);
        assert!(value.pointer("/spec/template/metadata/annotations").is_none(), "{}", manifest.id);
    }
}

fn problems(touches: &Touches) -> String {
    words(&render(OBJECTS, touches).unwrap_err())
}

#[test]
fn what_changes_nothing_is_a_mistake() {
    insta::assert_snapshot!(problems(&patches(&[for_target(ANY, Target { name: Some("webb".into()), ..of_kind("Deployment") })])), @r#"
    spec.render.patches[0]: there is no object to patch: kind Deployment, name webb
      hint: the target is compared with the objects as the files have them
    "#);
    insta::assert_snapshot!(problems(&patches(&[patch("apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n"), for_target("[{op: remove, path: /spec}]", of_kind("Job"))])), @r#"
    spec.render.patches[0]: there is no object to patch: kind Secret, name web
      hint: the target is compared with the objects as the files have them
    spec.render.patches[1]: there is no object to patch: kind Job
      hint: the target is compared with the objects as the files have them
    "#);
    let nothing =
        words(&render("", &patches(&[for_target("[{op: remove, path: /spec}]", Target::default())])).unwrap_err());
    insta::assert_snapshot!(nothing, @r"
    spec.render.patches[0]: there is no object to patch
      hint: the target is compared with the objects as the files have them
    ");
    insta::assert_snapshot!(problems(&Touches { images: vec![image("shop/web", "", "2", ""), image("web", "", "2", "")], ..Touches::default() }), @r#"
    spec.render.images[1]: no container has the image web
      hint: write the name as the files have it, without tag and digest, or leave this out
    "#);
}

#[test]
fn what_is_no_patch_is_told_with_its_number() {
    let strategic = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
    insta::assert_snapshot!(problems(&patches(&[patch(strategic), patch("a: [")])), @r#"spec.render.patches[1]:1:4: is not YAML: a list in brackets has no end"#);
    insta::assert_snapshot!(problems(&patches(&[patch(" ")])), @r#"spec.render.patches[0]: the patch is empty"#);
    insta::assert_snapshot!(problems(&patches(&[patch("[{op: remove, path: /spec}]")])), @r#"spec.render.patches[0]: a list of JSON 6902 operations needs a target"#);
    insta::assert_snapshot!(problems(&patches(&[patch("spec: {replicas: 1}")])), @r#"
    spec.render.patches[0]: a patch that is no list of operations needs apiVersion, kind and metadata.name
      hint: Kustomize reads it as an object of that kind, whatever the target is
    "#);
    insta::assert_snapshot!(problems(&patches(&[for_target(ANY, of_kind("("))])), @r#"spec.render.patches[0]: target.kind: "(" is no regular expression"#);
    insta::assert_snapshot!(problems(&patches(&[for_target("[{op: remove, path: /spec/nothing}]", of_kind("Deployment"))])), @r#"spec.render.patches: kustomize: error in remove for path: '/spec/nothing': Unable to remove nonexistent key: nothing: missing value"#);
    insta::assert_snapshot!(problems(&patches(&[for_target("[{op: change, path: /spec}]", of_kind("Deployment"))])), @r#"spec.render.patches: kustomize: Unexpected kind: change"#);
    insta::assert_snapshot!(problems(&patches(&[for_target(ANY, Target { label_selector: Some("a in (".into()), ..of_kind("Deployment") })])), @r#"spec.render.patches: kustomize: unable to find patch target "Deployment.[noVer].[noGrp]/[noName].[noNs]:a=:l=a in (" in `resources`: unable to parse requirement: found '', expected: ',', ')' or identifier"#);
}

#[test]
fn patches_need_the_program_and_nothing_else_does() {
    let options = |touches: &Touches| DirectoryOptions { touches: touches.clone(), ..options(".") };
    let failure = directory(&tree(OBJECTS), &options(&patches(&[patch(ENVIRONMENT)])), &BuiltIn).unwrap_err();
    insta::assert_snapshot!(words(&failure), @r#"
    spec.render.patches: is to be rendered by kustomize, which was not found
      hint: install kustomize, or name it with --kustomize
    "#);
    let images = Touches { images: vec![image("shop/web", "", "2", "")], ..Touches::default() };
    assert!(directory(&tree(OBJECTS), &options(&images), &BuiltIn).is_ok());
}

#[test]
fn an_object_that_is_there_twice_is_told_of_whatever_the_patches() {
    let twice = format!("{OBJECTS}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\n");
    let failure = render(&twice, &patches(&[patch(ENVIRONMENT)])).unwrap_err();
    assert!(words(&failure).contains("is defined twice"), "{}", words(&failure));
}

#[test]
fn charts_and_kustomizations_are_touched_as_directories_are_and_their_digests_tell() {
    let touches = Touches {
        images: vec![image("shop/web", "", "2", "")],
        ..patches(&[for_target("[{op: add, path: /spec/replicas, value: 5}]", of_kind("Deployment"))])
    };
    let template = OBJECTS.split("---\n").next().unwrap();
    let repository = Repository::new(&[
        ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("chart/templates/web.yaml", template),
        ("overlay/kustomization.yaml", "resources: [web.yaml]\n"),
        ("overlay/web.yaml", template),
    ]);
    let expected = digests(&render(template, &touches).unwrap());
    let helm = HelmOptions { release_name: "demo".into(), ..HelmOptions::default() };
    let mut inputs = BTreeSet::new();
    for path in ["chart", "overlay"] {
        for touches in [&Touches::default(), &touches] {
            let options = DirectoryOptions { touches: touches.clone(), ..options(path) };
            let kind = bowline::render::detect(&repository.files(), path).unwrap();
            let prepared = prepared(&repository.files(), kind, &options, &helm).unwrap();
            let render = prepared.render(programs(), &options, &BuiltIn).unwrap();
            assert_eq!(digests(&render) == expected, !touches.is_empty(), "{path}");
            let by_both = path == "chart" && !touches.is_empty();
            assert_eq!(render.renderer.contains(", Kustomize v5"), by_both, "{}", render.renderer);
            inputs.insert(render.inputs);
        }
    }
    assert_eq!(inputs.len(), 4, "each has a digest of its own");
}

#[test]
fn a_render_after_another_is_touched_anew_and_no_more_than_it_must_be() {
    let first = Touches { images: vec![image("shop/web", "", "2", "")], ..Touches::default() };
    let second = Touches { images: vec![image("shop/web", "", "3", "")], ..Touches::default() };
    let after = |touches: &Touches, known: &KnownFiles| {
        let options = DirectoryOptions { touches: touches.clone(), ..options(".") };
        directory_after(&tree(OBJECTS), &options, &BuiltIn, known, &Programs::default())
    };
    let one = after(&first, &KnownFiles::default()).unwrap();
    let same = after(&first, &one.known).unwrap();
    assert_eq!((digests(&same), &same.inputs), (digests(&one), &one.inputs));
    let other = after(&second, &one.known).unwrap();
    assert_ne!(digests(&other), digests(&one));
    assert_eq!(digests(&other), digests(&after(&second, &KnownFiles::default()).unwrap()));
}
