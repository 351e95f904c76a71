//! Bases of other repositories, over HTTP, from real Git.

use std::collections::BTreeMap;

use bowline::{
    controller::bases::{BASES_DEADLINE, BasePolicy, Bases},
    manifest::InputDigest,
    render::{Base, BaseReference, BuiltIn, Elsewhere, HelmOptions, NoBase, Render, RenderType, Unprepared, prepare},
    source::Repositories,
};
use rig::{GitRepo, GitServer};
use tokio_util::sync::CancellationToken;

use super::{
    case::{Repository, options, programs, words},
    equal::{by_the_program, objects},
};

/// Bases from the servers of this test.
struct Allowed {
    bases: Bases,
    _directory: tempfile::TempDir,
    policy: BasePolicy,
    asked: usize,
}

impl Allowed {
    fn new(places: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let allowed = places.iter().map(|place| place.parse().unwrap()).collect();
        let policy = BasePolicy { allowed, ..BasePolicy::default() };
        let bases = Bases::of(Repositories::open(directory.path()).unwrap());
        Self { bases, _directory: directory, policy, asked: 0 }
    }

    fn render(&mut self, repository: &Repository, path: &str) -> Result<(Render, InputDigest), String> {
        let prepared =
            prepare(&repository.files(), RenderType::Kustomize, &options(path), &HelmOptions::default(), self);
        let prepared = prepared.map_err(|error| match error {
            Unprepared::Failed(failure) => words(&failure),
            Unprepared::Unavailable(message) => format!("unavailable: {message}"),
        })?;
        let render = prepared.render(programs(), &options(path), &BuiltIn).map_err(|failure| words(&failure))?;
        Ok((render, prepared.inputs().clone()))
    }
}

impl Elsewhere for Allowed {
    fn chart(&mut self, chart: &bowline::render::ChartReference) -> Result<std::sync::Arc<[u8]>, String> {
        panic!("{chart} is of no kustomization")
    }

    fn base(&mut self, reference: &BaseReference) -> Result<Base, NoBase> {
        self.asked += 1;
        let until = std::time::Instant::now() + BASES_DEADLINE;
        self.bases.base(None, reference, &self.policy, until, &CancellationToken::new())
    }
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n")
}

fn push(repo: &GitRepo, files: &[(&str, &str)]) -> String {
    files.iter().for_each(|(path, text)| repo.write(path, text).unwrap());
    repo.commit_and_push("A change").unwrap()
}

/// A platform repository with a tag, and another one that it names.
struct Platform {
    server: GitServer,
    platform: GitRepo,
}

impl Platform {
    fn new() -> Self {
        let server = GitServer::start().unwrap();
        let (platform, common) = (server.create_repo("platform").unwrap(), server.create_repo("common").unwrap());
        push(
            &common,
            &[("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: common-\n"), ("a.yaml", &map("labels", "one"))],
        );
        let web = format!(
            "resources:\n- a.yaml\n- ../shared  # beside it\n- {}\nconfigMapGenerator:\n- name: made\n  files: [text=t.txt]\n",
            server.url("common")
        );
        push(
            &platform,
            &[
                ("web/kustomization.yaml", &web),
                ("web/a.yaml", &map("web", "one")),
                ("web/t.txt", "a text\n"),
                ("shared/kustomization.yaml", "resources: [b.yaml]\n"),
                ("shared/b.yaml", &map("shared", "one")),
                (
                    "extra/kustomization.yaml",
                    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {extra: \"yes\"}\n",
                ),
                ("broken/kustomization.yaml", "resources: [none.yaml]\n"),
                ("invalid/kustomization.yaml", "resources: [a.yaml]\n"),
                ("invalid/a.yaml", "kind: [\n"),
            ],
        );
        platform.tag("v1").unwrap();
        Self { server, platform }
    }

    fn at(&self, path: &str) -> String {
        format!("{}//{path}", self.server.url("platform"))
    }

    fn overlay(&self, resource: &str) -> Repository {
        let text = format!("# An overlay.\nnamePrefix: prod-\nresources:\n- own.yaml\n- {resource}\n");
        Repository::new(&[("overlays/prod/kustomization.yaml", &text), ("overlays/prod/own.yaml", &map("own", "one"))])
    }
}

fn files(render: &Render) -> BTreeMap<String, String> {
    let file = |manifest: &bowline::manifest::Manifest| manifest.origin.as_ref().unwrap().file.clone();
    render.manifests.iter().map(|manifest| (manifest.id.name.clone(), file(manifest))).collect()
}

#[test]
fn bases_of_other_repositories_render_equal_to_the_program_itself() {
    let platform = Platform::new();
    let text = format!(
        "# An overlay.\nnamePrefix: prod-\ncommonAnnotations: {{inject: \"no\", since: \"2024_01\"}}\nimages: [{{name: web, newTag: \"2024_01\"}}]\nresources:\n- own.yaml\n- {}\ncomponents:\n- {}\npatches:\n- target: {{kind: ConfigMap, name: web}}\n  patch: |\n    - {{op: add, path: /data/b, value: \"0644\"}}\n",
        platform.at("web?ref=v1"),
        platform.at("extra?ref=v1"),
    );
    let repository =
        Repository::new(&[("overlays/prod/kustomization.yaml", &text), ("overlays/prod/own.yaml", &map("own", "one"))]);
    let mut allowed = Allowed::new(&["127.0.0.1"]);
    let (render, _) = allowed.render(&repository, "overlays/prod").unwrap();
    let theirs = by_the_program(RenderType::Kustomize, repository.path(), "overlays/prod", &HelmOptions::default());
    assert_eq!(objects(&render), theirs);
    assert_eq!(theirs.len(), 5);
    // One repository at one revision is fetched once.
    assert_eq!(allowed.asked, 2);

    let url = platform.server.url("platform");
    let made = render.manifests.iter().find(|manifest| manifest.id.name.starts_with("prod-made-")).unwrap();
    let expected = [
        ("prod-own", "overlays/prod/own.yaml".to_owned()),
        ("prod-web", format!("{url}@v1//web/a.yaml")),
        ("prod-shared", format!("{url}@v1//shared/b.yaml")),
        ("prod-common-labels", format!("{}//a.yaml", platform.server.url("common"))),
        (&made.id.name, format!("{url}@v1//web/kustomization.yaml")),
    ];
    assert_eq!(files(&render), expected.into_iter().map(|(name, file)| (name.to_owned(), file)).collect());
}

#[test]
fn what_a_base_comes_to_counts_and_not_where_its_branch_is() {
    let platform = Platform::new();
    let repository = platform.overlay(&platform.at("web?ref=main"));
    let render = |repository: &Repository| Allowed::new(&["127.0.0.1"]).render(repository, "overlays/prod").unwrap();
    let (first, inputs) = render(&repository);
    push(&platform.platform, &[("README.md", "Words.\n")]);
    let (_, elsewhere) = render(&repository);
    assert_eq!(elsewhere, inputs, "a commit elsewhere in the other repository");
    push(&platform.platform, &[("shared/b.yaml", &map("shared", "two"))]);
    let (second, moved) = render(&repository);
    assert_ne!(moved, inputs);
    assert_ne!(second.bundle, first.bundle);
    // A tag stays where it is.
    let (tagged, _) = render(&platform.overlay(&platform.at("web?ref=v1")));
    assert_eq!(tagged.bundle, first.bundle);
}

#[test]
fn what_is_wrong_with_a_base_is_told_where_it_is() {
    let mut platform = Platform::new();
    let url = platform.server.url("platform");
    let told = |resource: &str, places: &[&str]| {
        let repository = platform.overlay(resource);
        let told = Allowed::new(places).render(&repository, "overlays/prod").err().unwrap_or_default();
        told.replace(&url, "URL").replace(&platform.server.port().to_string(), "PORT")
    };
    let web = platform.at("web?ref=v1");
    insta::assert_snapshot!(told(&web, &[]), @r"
    overlays/prod/kustomization.yaml:5:3: URL@v1//web is not loaded: the operator allows no bases of other repositories
      hint: copy it into the repository, or have its place allowed (--allow-bases)
    ");
    insta::assert_snapshot!(told(&web, &["127.0.0.1/other", "git.example"]), @r"
    overlays/prod/kustomization.yaml:5:3: URL@v1//web is not loaded: the operator allows bases of 127.0.0.1/other, git.example only
      hint: copy it into the repository, or have its place allowed (--allow-bases)
    ");
    insta::assert_snapshot!(told(&platform.at("none?ref=v1"), &["127.0.0.1"]), @r#"overlays/prod/kustomization.yaml:5:3: URL@v1 has no directory "none""#);
    insta::assert_snapshot!(told(&platform.at("broken?ref=v1"), &["127.0.0.1"]), @r#"URL@v1//broken/kustomization.yaml:1:13: "none.yaml" does not exist"#);
    insta::assert_snapshot!(told(&platform.at("invalid?ref=v1"), &["127.0.0.1"]), @"overlays/prod/kustomization.yaml: kustomize: accumulating resources: accumulation err='accumulating resources from 'URL@v1//invalid': 'URL@v1//invalid' must resolve to a file': recursed accumulation of path 'URL@v1//invalid': accumulating resources: accumulating resources from 'a.yaml': MalformedYAMLError: yaml: line 1: did not find expected node content in File: a.yaml");
    insta::assert_snapshot!(told(&platform.at("web?ref=v9"), &["127.0.0.1"]), @"unavailable: URL@v9//web cannot be fetched: `v9` does not exist at URL; branches: main; tags: v1");
    insta::assert_snapshot!(told(&platform.at("web?ref=a..b"), &["127.0.0.1"]), @r"
    overlays/prod/kustomization.yaml:5:3: URL@a..b//web cannot be loaded: the revision `a..b` is refused: it is not a name that Git allows
      hint: name a branch, a tag or a commit
    ");
    let file = url.replace("platform.git", "a.yaml");
    insta::assert_snapshot!(told(&file, &["127.0.0.1"]), @r#"
    overlays/prod/kustomization.yaml:5:3: "http://127.0.0.1:PORT/a.yaml" would be loaded from elsewhere while rendering, which is not done
      hint: copy it into the repository: only directories of Git repositories are loaded
    "#);
    // A base may name what is in its own repository, and nothing of ours.
    let up = "resources: [../../../tree/overlays/prod/own.yaml]\n";
    let own = push(&platform.platform, &[("web/kustomization.yaml", up)]);
    let told = told(&platform.at(&format!("web?ref={own}")), &["127.0.0.1"]).replace(&own, "COMMIT");
    insta::assert_snapshot!(told, @r#"URL@COMMIT//web/kustomization.yaml:1:13: "../../../tree/overlays/prod/own.yaml" leaves the repository"#);
    platform.server.stop();
    let repository = platform.overlay(&web);
    let gone = Allowed::new(&["127.0.0.1"]).render(&repository, "overlays/prod").unwrap_err();
    assert!(gone.starts_with(&format!("unavailable: {url}@v1//web cannot be fetched: ")), "{gone}");
}

#[test]
fn what_would_have_kustomize_itself_load_a_base_is_refused() {
    let platform = Platform::new();
    let web = platform.at("web?ref=v1");
    let told = |files: &[(&str, &str)]| {
        let told = Allowed::new(&["127.0.0.1"]).render(&Repository::new(files), "app").err().unwrap_or_default();
        told.replace(&web, "WEB").replace(&platform.server.url("platform"), "URL")
    };
    let naming = format!("resources: [\"{web}\"]\n");
    // Another spelling, two documents, and a file that is data as well.
    insta::assert_snapshot!(told(&[("app/kustomization.yaml", &naming.replace("resources", "Re\u{17f}ources"))]), @r#"
    app/kustomization.yaml:1:1: "Reſources" is read as resources by Kustomize
      hint: write resources
    "#);
    insta::assert_snapshot!(told(&[("app/kustomization.yaml", &format!("{naming}---\n{naming}"))]), @"app/kustomization.yaml: has 2 documents, of which Kustomize reads one");
    let generator = "resources: [sub]\nconfigMapGenerator: [{name: k, files: [sub/kustomization.yaml]}]\n";
    insta::assert_snapshot!(told(&[("app/kustomization.yaml", generator), ("app/sub/kustomization.yaml", &naming)]), @"app/sub/kustomization.yaml: names a base of another repository, and cannot be a file for something else as well");
    let item = "configMapGenerator: [{name: k, Files: [\"http://127.0.0.1:1/x\"]}]\n";
    insta::assert_snapshot!(told(&[("app/kustomization.yaml", item)]), @r#"
    app/kustomization.yaml:1:32: "Files" is read as files by Kustomize
      hint: write files
    "#);
}
