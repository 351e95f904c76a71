//! Charts of chart repositories and registries, fetched by the real Helm.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use bowline::{
    controller::charts::ChartCache,
    manifest::{ManifestDigest, ObjectId},
    render::{
        Base, BaseReference, BuiltIn, ChartReference, Elsewhere, HelmOptions, NoBase, Render, RenderType,
        RepositoryAccess, Unprepared, prepare,
    },
};
use rig::{Authority, ChartRepository, Registry};

use super::case::{Repository, options, program, programs, words};

const ACCOUNT: (&str, &str) = ("ada", "correct horse");

/// Helm, as people use it.
fn helm(home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program("helm"));
    let output = command.args(arguments).env("HOME", home).current_dir(home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Packs a chart of one ConfigMap in some versions.
fn pack(name: &str, versions: &[&str], into: &Path) {
    let chart = tempfile::tempdir().unwrap();
    let put = |file: &str, content: &str| {
        let file = chart.path().join(name).join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    };
    put(
        "templates/words.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}-{{ .Chart.Name }}\"}\ndata: {version: {{ .Chart.Version | quote }}, word: {{ .Values.word | quote }}}\n",
    );
    put("values.yaml", "word: own\n");
    for version in versions {
        put("Chart.yaml", &format!("apiVersion: v2\nname: {name}\nversion: {version}\n"));
        let source = chart.path().join(name);
        helm(chart.path(), &["package", &source.to_string_lossy(), "--destination", &into.to_string_lossy()]);
    }
}

fn chart_repository(account: Option<(&str, &str)>) -> ChartRepository {
    let repository = ChartRepository::start(account).unwrap();
    pack("web", &["1.0.0", "1.2.0", "2.0.0", "3.0.0-rc.1"], repository.directory());
    helm(repository.directory(), &["repo", "index", "."]);
    repository
}

fn fill(registry: &Registry, flags: &[&str]) {
    let packed = tempfile::tempdir().unwrap();
    pack("web", &["1.0.0", "1.2.0", "2.0.0"], packed.path());
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        let file = packed.path().join(format!("web-{version}.tgz"));
        let to = format!("oci://{}/charts", registry.host());
        helm(packed.path(), &[&["push", &file.to_string_lossy(), &to], flags].concat());
    }
}

/// What an Application would say.
struct Wanted {
    repository: Repository,
    helm: HelmOptions,
    access: RepositoryAccess,
    fetched: usize,
}

impl Wanted {
    /// A chart of elsewhere, with a value file of the repository.
    fn chart(url: &str, version: &str) -> Self {
        let chart = ChartReference::new(url, "web", version).unwrap();
        let helm = HelmOptions { chart: Some(chart), value_files: vec!["prod.yaml".into()], ..HelmOptions::default() };
        Self::new(url, &[("app/prod.yaml", "word: prod\n")], helm)
    }

    /// A chart of the repository that has one of elsewhere.
    fn dependency(url: &str, version: &str, lock: Option<&str>) -> Self {
        let dependency = format!("- {{name: web, version: {version:?}, repository: {url:?}}}");
        let chart = format!("apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n{dependency}\n");
        let mut files = vec![("app/Chart.yaml", chart), ("app/values.yaml", "web: {word: shop}\n".to_owned())];
        if let Some(version) = lock {
            let entry = format!("- name: web\n  repository: {url}\n  version: {version}\n");
            files.push((
                "app/Chart.lock",
                format!("dependencies:\n{entry}digest: sha256:0\ngenerated: \"2026-01-01T00:00:00Z\"\n"),
            ));
        }
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
        let helm = HelmOptions { repositories: vec![url.to_owned()], ..HelmOptions::default() };
        Self::new(url, &files, helm)
    }

    fn new(url: &str, files: &[(&str, &str)], helm: HelmOptions) -> Self {
        let access = RepositoryAccess { url: url.to_owned(), plain_http: true, ..RepositoryAccess::default() };
        Self { repository: Repository::new(files), helm, access, fetched: 0 }
    }

    fn by(mut self, account: (&str, &str)) -> Self {
        self.access.credentials = Some((account.0.to_owned(), account.1.to_owned()));
        self
    }

    fn render(&mut self) -> Result<Render, String> {
        let options = options("app");
        let mut fetch = Fetch { access: &self.access, fetched: &mut self.fetched };
        match prepare(&self.repository.files(), RenderType::Helm, &options, &self.helm, &mut fetch) {
            Ok(prepared) => prepared.render(programs(), &options, &BuiltIn).map_err(|failure| words(&failure)),
            Err(Unprepared::Failed(failure)) => Err(words(&failure)),
            Err(Unprepared::Unavailable(message)) => Err(message),
        }
    }

    /// Version and word of what is rendered.
    fn comes_to(&mut self) -> (String, String) {
        let render = self.render().unwrap();
        let data = render.manifests[0].value.read()["data"].clone();
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        (text("version"), text("word"))
    }
}

/// Charts of the server of a test.
struct Fetch<'a> {
    access: &'a RepositoryAccess,
    fetched: &'a mut usize,
}

impl Elsewhere for Fetch<'_> {
    fn chart(&mut self, chart: &ChartReference) -> Result<Arc<[u8]>, String> {
        *self.fetched += 1;
        programs().fetch_chart(chart, self.access)
    }

    fn base(&mut self, base: &BaseReference) -> Result<Base, NoBase> {
        panic!("{base} is of no chart")
    }
}

fn both(version: &str, word: &str) -> (String, String) {
    (version.to_owned(), word.to_owned())
}

#[test]
fn a_chart_of_a_chart_repository_takes_values_of_the_files() {
    let charts = chart_repository(None);
    assert_eq!(Wanted::chart(&charts.url(), "1.0.0").comes_to(), both("1.0.0", "prod"));
    assert_eq!(Wanted::chart(&charts.url(), "^1").comes_to(), both("1.2.0", "prod"));
    assert_eq!(Wanted::chart(&charts.url(), ">=1 <3").comes_to(), both("2.0.0", "prod"));
}

#[test]
fn what_was_fetched_is_kept_for_its_namespace_as_long_as_its_version_says_what_it_is() {
    let charts = chart_repository(None);
    let directory = tempfile::tempdir().unwrap();
    let cache = ChartCache::in_directory(directory.path().to_owned());
    let requests = |namespace: &str, version: &str| {
        let before = charts.requests();
        let chart = ChartReference::new(&charts.url(), "web", version).unwrap();
        let content = cache.chart(programs(), namespace, &chart, &[]).unwrap();
        assert!(!content.is_empty());
        charts.requests() - before
    };
    let fetch = requests("team", "1.0.0");
    assert!(fetch >= 2, "the index and the chart: {fetch}");
    assert_eq!(requests("team", "1.0.0"), 0, "kept");
    assert_eq!(requests("other", "1.0.0"), fetch, "another namespace has to ask for itself");
    assert_eq!((requests("team", "^1"), requests("team", "^1")), (fetch, fetch), "a range is asked for each time");
}

#[test]
fn two_aliases_of_one_chart_are_fetched_once() {
    let charts = chart_repository(None);
    let mut wanted = Wanted::dependency(&charts.url(), "1.x", None);
    let dependency =
        |alias: &str| format!("- {{name: web, alias: {alias}, version: 1.x, repository: {:?}}}\n", charts.url());
    let chart = format!(
        "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n{}{}",
        dependency("one"),
        dependency("two")
    );
    wanted.repository.put("app/Chart.yaml", chart.as_bytes());
    wanted.repository.put("app/values.yaml", b"one: {word: first}\ntwo: {word: second}\n");
    let mut found: Vec<String> = wanted.render().unwrap().manifests.iter().map(|it| it.id.name.clone()).collect();
    found.sort();
    assert_eq!((found, wanted.fetched), (vec!["release-name-one".to_owned(), "release-name-two".to_owned()], 1));
}

#[test]
fn a_chart_of_elsewhere_renders_equal_to_the_program_itself() {
    let charts = chart_repository(None);
    let ours = Wanted::chart(&charts.url(), "1.0.0").render().unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("prod.yaml"), "word: prod\n").unwrap();
    let arguments = ["template", "release-name", "web", "--repo", &charts.url(), "--version", "1.0.0"];
    let theirs = helm(home.path(), &[&arguments[..], &["--values", "prod.yaml", "--namespace", "shop"]].concat());
    let tree = [("all.yaml", theirs.into_bytes())].into_iter().collect::<bowline::source::tree::MemoryTree>();
    let theirs = bowline::render::directory(&tree, &options("."), &BuiltIn).unwrap();
    let digests = |render: &Render| -> BTreeMap<ObjectId, ManifestDigest> {
        render.manifests.iter().map(|manifest| (manifest.id.clone(), manifest.digest.clone())).collect()
    };
    assert_eq!(digests(&ours), digests(&theirs));
    let origin = ours.manifests[0].origin.as_ref().unwrap();
    assert_eq!(origin.file, "web.tgz/templates/words.yaml");
}

#[test]
fn a_dependency_comes_in_the_version_that_the_lock_file_has() {
    let charts = chart_repository(None);
    assert_eq!(Wanted::dependency(&charts.url(), "1.x", None).comes_to(), both("1.2.0", "shop"));
    assert_eq!(Wanted::dependency(&charts.url(), "1.x", Some("1.0.0")).comes_to(), both("1.0.0", "shop"));
}

#[test]
fn a_registry_is_a_repository_too() {
    let registry = Registry::start(None, None).unwrap();
    fill(&registry, &["--plain-http"]);
    let url = format!("oci://{}/charts", registry.host());
    assert_eq!(Wanted::chart(&url, "1.0.0").comes_to(), both("1.0.0", "prod"));
    assert_eq!(Wanted::chart(&url, "1.x").comes_to(), both("1.2.0", "prod"));
    assert_eq!(Wanted::dependency(&url, "^2", None).comes_to(), both("2.0.0", "shop"));
}

#[test]
fn an_account_lets_in_and_its_password_is_told_to_nobody() {
    let charts = chart_repository(Some(ACCOUNT));
    assert_eq!(Wanted::chart(&charts.url(), "1.0.0").by(ACCOUNT).comes_to(), both("1.0.0", "prod"));
    let wrong = ("ada", "wrong horse");
    let refused = Wanted::chart(&charts.url(), "1.0.0").by(wrong).render().unwrap_err();
    assert!(refused.contains("401") && refused.contains(&charts.url()), "{refused}");
    assert!(!refused.contains(wrong.1), "{refused}");

    let authority = Authority::new("registry").unwrap();
    let registry = Registry::start(Some(ACCOUNT), Some(&authority)).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), authority.certificate_pem()).unwrap();
    let (ca_file, config) = (ca.path().to_string_lossy(), tempfile::tempdir().unwrap());
    let config = config.path().join("registry.json");
    let config = config.to_string_lossy();
    let home = tempfile::tempdir().unwrap();
    let login = ["registry", "login", &registry.host(), "--username", ACCOUNT.0, "--password", ACCOUNT.1];
    let flags = ["--ca-file", &ca_file, "--registry-config", &config];
    helm(home.path(), &[&login[..], &flags].concat());
    fill(&registry, &flags);

    let url = format!("oci://{}/charts", registry.host());
    let wanted = |account: (&str, &str), ca: Option<&str>| {
        let mut wanted = Wanted::chart(&url, "1.0.0").by(account);
        wanted.access.plain_http = false;
        wanted.access.ca = ca.map(|ca| ca.as_bytes().to_vec());
        wanted
    };
    let trusted = Some(authority.certificate_pem());
    assert_eq!(wanted(ACCOUNT, trusted).comes_to(), both("1.0.0", "prod"));
    let refused = wanted(wrong, trusted).render().unwrap_err();
    assert!(refused.contains("401") && !refused.contains(wrong.1), "{refused}");
    let untrusted = wanted(ACCOUNT, None).render().unwrap_err();
    assert!(untrusted.contains("certificate"), "{untrusted}");
}

#[test]
fn what_cannot_be_fetched_is_told_with_its_name() {
    let charts = chart_repository(None);
    let missing = |wanted: &mut Wanted| wanted.render().unwrap_err().replace(&charts.url(), "https://charts.example");
    insta::assert_snapshot!(missing(&mut Wanted::chart(&charts.url(), "9.9.9")), @r#"web 9.9.9 of https://charts.example cannot be fetched: helm: chart "web" matching 9.9.9 not found in charts index. (try 'helm repo update'): no chart version found for web-9.9.9"#);
    let mut nowhere = Wanted::chart("http://127.0.0.1:9/charts", "1.0.0");
    let words = nowhere.render().unwrap_err();
    assert!(words.starts_with("web 1.0.0 of http://127.0.0.1:9/charts cannot be fetched: helm: "), "{words}");
    let mut unlocked = Wanted::dependency(&charts.url(), "1.x", None);
    unlocked.repository.put("app/Chart.lock", b"dependencies:\n- {name: other, version: 1.0.0}\n");
    insta::assert_snapshot!(missing(&mut unlocked), @r#"
    app/Chart.yaml:5:3: the dependency web is not in Chart.lock
      hint: run `helm dependency update` and commit Chart.lock
    "#);
    let mut nobody = Wanted::chart(&charts.url(), "1.0.0");
    nobody.helm.chart = Some(ChartReference::new(&charts.url(), "shop", "1.0.0").unwrap());
    let words = nobody.render().unwrap_err();
    assert!(words.contains("shop 1.0.0 of ") && words.contains("not found"), "{words}");
    let mut unnamed = Wanted::dependency(&charts.url(), "1.x", None);
    unnamed.helm.repositories.clear();
    insta::assert_snapshot!(missing(&mut unnamed), @r#"
    app/Chart.yaml:5:3: the dependency web of https://charts.example is not in charts/, and render.helm.repositories does not name that repository
      hint: name it there, or run `helm dependency build` and commit what it puts into charts/
    "#);
    assert_eq!(unnamed.fetched, 0, "nothing is asked of a repository that nobody named");
}
