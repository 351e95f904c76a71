//! A render after another one: the same result, and only what changed is read.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bowline::{
    manifest::{GroupKind, Scope},
    render::{
        BuiltIn, DirectoryOptions, KnownFiles, Programs, Render, ScopeLookup, UnknownKind, directory, directory_after,
    },
    source::tree::{MemoryTree, Tree, TreeEntry, TreeError},
};
use proptest::prelude::*;

/// A tree that notes which files are read.
struct Reading {
    tree: MemoryTree,
    read: Mutex<Vec<String>>,
}

impl Reading {
    fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { tree: files.into_iter().collect(), read: Mutex::default() }
    }

    fn read_files(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }
}

impl Tree for Reading {
    fn entries(&self) -> &[TreeEntry] {
        self.tree.entries()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        self.read.lock().unwrap().push(path.to_owned());
        self.tree.read(path)
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        self.tree.content_id(path)
    }
}

/// A cluster where the kind Thing is as told, and all others are as usual.
struct Things(Scope);

impl ScopeLookup for Things {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        if kind.kind == "Thing" { Some(self.0) } else { BuiltIn.scope(kind) }
    }

    fn unknown_kind(&self) -> UnknownKind {
        UnknownKind::Refuse
    }
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: \"{value}\"}}\n")
}

fn options(namespace: &str) -> DirectoryOptions {
    DirectoryOptions { default_namespace: Some(namespace.to_owned()), ..DirectoryOptions::default() }
}

#[test]
fn only_files_that_changed_are_read_again_and_the_manifests_of_the_others_are_the_same_ones() {
    let (a, b, changed) = (config_map("a", "1"), config_map("b", "1"), config_map("b", "2"));
    let first = directory(&Reading::of([("a.yaml", &*a), ("b.yaml", &*b)]), &options("shop"), &BuiltIn).unwrap();
    let tree = Reading::of([("a.yaml", &*a), ("b.yaml", &*changed)]);
    let second = directory_after(&tree, &options("shop"), &BuiltIn, &first.known, &Programs::default()).unwrap();
    assert_eq!(tree.read_files(), ["b.yaml"]);
    assert!(Arc::ptr_eq(&first.manifests[0], &second.manifests[0]), "what did not change is shared");
    assert_eq!(second, directory(&tree, &options("shop"), &BuiltIn).unwrap());
    assert_ne!((first.bundle, first.inputs), (second.bundle, second.inputs));
}

#[test]
fn another_default_namespace_or_another_scope_of_a_kind_makes_everything_anew() {
    let file = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n";
    let tree = Reading::of([("a.yaml", file)]);
    let render = |namespace, scope, known: &KnownFiles| {
        let render = directory_after(&tree, &options(namespace), &Things(scope), known, &Programs::default()).unwrap();
        (render.manifests[0].id.to_string(), render.known)
    };
    let (id, known) = render("shop", Scope::Namespaced, &KnownFiles::default());
    assert_eq!(id, "Thing shop/a");
    assert_eq!(render("other", Scope::Namespaced, &known).0, "Thing other/a");
    assert_eq!(render("shop", Scope::Cluster, &known).0, "Thing a");
}

#[test]
fn what_other_files_decide_on_is_read_each_time() {
    let definition = r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
        "names": {"kind": "Thing", "plural": "things"}, "versions": [{"name": "v1"}]}}"#;
    let thing = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n";
    let (both, a) = ([("crd.json", definition), ("thing.yaml", thing)], config_map("a", "1"));
    let first = directory(&Reading::of(both), &options("shop"), &BuiltIn).unwrap();
    assert!(first.known.is_empty());
    // Without the definition the same file is of a kind that nobody knows.
    let alone = Reading::of([("thing.yaml", thing), ("a.yaml", &*a)]);
    let (again, anew) = (
        directory_after(&alone, &options("shop"), &Things(Scope::Namespaced), &first.known, &Programs::default()),
        directory(&alone, &options("shop"), &Things(Scope::Namespaced)),
    );
    assert_eq!(again, anew);
}

#[test]
fn a_file_that_does_not_render_is_not_known() {
    let (a, twice) = (config_map("a", "1"), config_map("a", "2"));
    let first = directory(&Reading::of([("a.yaml", &*a)]), &options("shop"), &BuiltIn).unwrap();
    let tree = Reading::of([("a.yaml", &*a), ("b.yaml", &*twice), ("c.yaml", "- x\n")]);
    let (again, anew) = (
        directory_after(&tree, &options("shop"), &BuiltIn, &first.known, &Programs::default()),
        directory(&tree, &options("shop"), &BuiltIn),
    );
    assert_eq!(again.unwrap_err(), anew.unwrap_err());
}

fn files() -> impl Strategy<Value = BTreeMap<String, String>> {
    let content = prop_oneof![
        6 => ("[a-d]", "[0-2]").prop_map(|(name, value)| config_map(&name, &value)),
        1 => Just("- no object\n".to_owned()),
        1 => ("[a-d]", "[a-d]").prop_map(|(one, other)| format!("{}---\n{}", config_map(&one, "1"), config_map(&other, "1"))),
    ];
    prop::collection::btree_map("[a-e]\\.yaml", content, 0..5)
}

proptest! {
    #[test]
    fn a_render_after_others_is_what_it_would_be_without(histories in prop::collection::vec(files(), 1..6)) {
        let mut known = KnownFiles::default();
        for files in &histories {
            let tree = Reading::of(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
            let again = directory_after(&tree, &options("shop"), &BuiltIn, &known, &Programs::default());
            let anew = directory(&tree, &options("shop"), &BuiltIn);
            prop_assert_eq!(&again, &anew);
            if let Ok(Render { known: now, .. }) = again {
                known = now;
            }
        }
    }
}
