//! `bowline render`: the canonical manifests of a directory or repository,
//! offline.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::application;
use crate::{
    api::Application,
    controller::{
        bases::{BASES_DEADLINE, BasePolicy, Bases},
        charts::access_to,
        settings::{asked_type, helm_options, touches},
    },
    manifest::{Masker, Problem, escape_control, is_dns_label},
    render::{
        AgeKeys, Base, BaseReference, BuiltIn, Capabilities, ChartReference, Decryption, DirectoryOptions, Elsewhere,
        HelmOptions, KnownFiles, NoBase, Programs, Render, RenderFailure, RenderType, RepositoryAccess, ScopeLookup,
        Unprepared, ValueSource, detect, directory_after, json_array, prepare, yaml_stream,
    },
    source::{
        Place, Repositories,
        files::{Files, Listed},
        tree::{Tree, TreeError},
        working::{WorkingFiles, WorkingTree},
    },
};

/// Opens a repository of this machine at a revision.
pub type OpenRevision<'a> = &'a dyn Fn(&Path, &str) -> Result<Box<dyn Tree>, String>;

/// Shows the canonical manifests of a directory or repository, offline.
///
/// Whether a kind is namespaced is known of Kubernetes' own kinds, of those of
/// well-known projects, and of the CRDs of the same input; any other kind is
/// taken as namespaced.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to render.
    #[command(flatten)]
    pub input: Input,
    /// Show the values of Secrets.
    #[arg(long)]
    pub show_secrets: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub output: Format,
}

/// What an offline command reads.
#[derive(Debug, Clone, clap::Args)]
pub struct Input {
    /// Directory or Git repository.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Branch, tag or commit to read instead of the working tree.
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Directory within DIR; all of it if it is not given.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Namespace of namespaced objects that name none; without it they stay
    /// without.
    #[arg(short, long, value_name = "NS", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Read only files that match the glob (repeatable).
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out files that match the glob (repeatable).
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Render as the Application of this file does, by its spec.source.path,
    /// spec.render and destination namespace; what else is given outranks it.
    #[arg(long, value_name = "FILE")]
    pub application: Option<PathBuf>,
    /// How the files are meant; found out from them if it is not given.
    #[arg(long = "type", value_enum, value_name = "TYPE", ignore_case = true)]
    pub kind: Option<Kind>,
    /// File of this machine with values of a chart (repeatable; later ones
    /// outrank earlier ones).
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// What a chart has as .Release.Name: without it release-name, or what the
    /// Application has.
    #[arg(long, value_name = "NAME")]
    pub release_name: Option<String>,
    /// URL of a chart repository, or its beginning, that dependencies may be
    /// fetched from (repeatable).
    #[arg(long, value_name = "URL")]
    pub chart_repository: Vec<String>,
    /// Leave out what a chart has in crds/.
    #[arg(long)]
    pub skip_crds: bool,
    /// The version of Kubernetes that a chart is told.
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
    /// What the cluster serves, as a chart is told, for example
    /// monitoring.coreos.com/v1 (repeatable).
    #[arg(long, value_name = "API")]
    pub api_version: Vec<String>,
    /// The programs that render.
    #[command(flatten)]
    pub programs: ProgramArgs,
    /// The keys of encrypted files.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Keys of files that SOPS encrypted.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KeyArgs {
    /// File of this machine with the age identities that decrypt files which
    /// SOPS encrypted; without a key such files are refused.
    #[arg(long, env = "SOPS_AGE_KEY_FILE", value_name = "FILE")]
    pub age_key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// Reads them. What is wrong with the file is told where a file needs it.
    pub(crate) fn decryption(&self) -> Option<Decryption> {
        let file = self.age_key_file.as_ref()?;
        let name = file.display().to_string();
        let content = std::fs::read(file).map(Zeroizing::new);
        let keys = content.map_err(|error| format!("{name} cannot be read: {error}"));
        let keys = keys.and_then(|content| AgeKeys::read(&*name, [("", content.as_slice())]));
        Some(keys.map_or_else(Decryption::unavailable, Decryption::by))
    }
}

/// Programs that render charts and kustomizations, and what they may be given.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProgramArgs {
    /// The program helm (version 4), which renders charts; the one on the PATH
    /// if it is not given.
    #[arg(long, env = "BOWLINE_HELM", value_name = "PROGRAM")]
    pub helm: Option<PathBuf>,
    /// The program kustomize (version 5), which renders kustomizations; the one
    /// on the PATH if it is not given.
    #[arg(long, env = "BOWLINE_KUSTOMIZE", value_name = "PROGRAM")]
    pub kustomize: Option<PathBuf>,
    /// Where bases of other repositories may be, that kustomizations name:
    /// `HOST` or `HOST/PATH` for all below it, such as git.example.com/platform;
    /// `*.example.com` is all below example.com. Without it none are loaded.
    #[arg(long, env = "BOWLINE_ALLOW_BASES", value_name = "PLACE", value_delimiter = ',', num_args = 1..)]
    pub allow_bases: Vec<Place>,
}

impl ProgramArgs {
    /// Finds them.
    pub(crate) fn find(&self) -> Programs {
        Programs::find(self.helm.as_deref(), self.kustomize.as_deref())
    }
}

/// How files are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A directory of YAML and JSON files.
    Directory,
    /// A kustomization.
    Kustomize,
    /// A Helm chart.
    Helm,
}

impl From<Kind> for RenderType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Directory => Self::Directory,
            Kind::Kustomize => Self::Kustomize,
            Kind::Helm => Self::Helm,
        }
    }
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A stream of YAML documents.
    Yaml,
    /// One JSON array.
    Json,
}

/// Runs the command: manifests on `out`, everything else on `err`. Gives the
/// exit code: 0, or 1 if there is nothing to show for what is wrong.
///
/// # Errors
/// Writing failed.
pub fn run(args: &Args, open: OpenRevision<'_>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match args.input.render(open, true) {
        Ok(Ok(render)) => {
            let masker = Masker::new(rand::random::<[u8; 32]>());
            match args.output {
                Format::Yaml => out.write_all(yaml_stream(&render.manifests, args.show_secrets, &masker).as_bytes())?,
                Format::Json => {
                    let array = json_array(&render.manifests, args.show_secrets, &masker);
                    writeln!(out, "{array:#}")?;
                }
            }
            out.flush()?;
            for unsteady in &render.unsteady {
                writeln!(err, "warning: {}", escape_control(&unsteady.to_string()))?;
            }
            render.warnings.iter().try_for_each(|warning| write_problem("warning", warning, err))?;
            Ok(0)
        }
        Ok(Err(failure)) => {
            failure.problems.iter().try_for_each(|problem| write_problem("error", problem, err))?;
            Ok(1)
        }
        Err(message) => {
            writeln!(err, "error: {}", escape_control(&message))?;
            Ok(1)
        }
    }
}

impl Input {
    /// Renders the input; the outer error is that it cannot be opened. A
    /// lenient render has warnings where only the API server would refuse.
    pub(crate) fn render(
        &self,
        open: OpenRevision<'_>,
        lenient: bool,
    ) -> Result<Result<Render, RenderFailure>, String> {
        let application = self.application.as_deref().map(application::read).transpose()?;
        let (common, ways) = self.options(application.as_ref(), lenient)?;
        match &self.revision {
            Some(revision) => {
                let tree = open(&self.directory, revision)?;
                let files = Listed(tree.as_ref());
                ways.render(&files, &common, &BuiltIn, || {
                    Ok(directory_after(tree.as_ref(), &common, &BuiltIn, &KnownFiles::default(), &ways.programs))
                })
            }
            None => render_working(&self.directory, &common, &ways, &BuiltIn),
        }
    }

    /// What is given, and what the application says where nothing is.
    fn options(&self, application: Option<&Application>, lenient: bool) -> Result<(DirectoryOptions, Ways), String> {
        let spec = application.map(|application| application.spec.render.clone()).unwrap_or_default();
        let or = |given: &Vec<String>, otherwise: &Vec<String>| {
            if given.is_empty() { otherwise.clone() } else { given.clone() }
        };
        let path = application.map(|application| application.spec.source.path.clone());
        let common = DirectoryOptions {
            path: self.path.clone().or(path).unwrap_or_else(|| ".".to_owned()),
            include: or(&self.include, &spec.include),
            exclude: or(&self.exclude, &spec.exclude),
            default_namespace: self.namespace.clone().or_else(|| application.and_then(application::namespace)),
            touches: touches(&spec),
            lenient,
            decryption: self.keys.decryption().unwrap_or_default(),
            ..DirectoryOptions::default()
        };
        let kind = self.kind.map(RenderType::from).or_else(|| asked_type(&spec));
        let repositories = application.map(application::repositories).unwrap_or_default();
        let ways = Ways {
            kind,
            helm: self.helm(application)?,
            repositories,
            programs: self.programs.find(),
            allow_bases: self.programs.allow_bases.clone(),
        };
        Ok((common, ways))
    }

    fn helm(&self, application: Option<&Application>) -> Result<HelmOptions, String> {
        let read = |path: &PathBuf| {
            let name = path.display().to_string();
            let content = std::fs::read(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
            Ok::<_, String>(ValueSource { name, content, secret: false })
        };
        let sources = self.values.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let capabilities =
            Capabilities { kube_version: self.kube_version.clone(), api_versions: self.api_version.clone() };
        let mut options = match application {
            Some(application) => {
                application::values_are_given(application, &self.values)?;
                helm_options(application, sources, capabilities)?
            }
            None => HelmOptions {
                release_name: "release-name".to_owned(),
                value_sources: sources,
                capabilities,
                ..HelmOptions::default()
            },
        };
        options.skip_crds |= self.skip_crds;
        options.repositories.extend(self.chart_repository.iter().cloned());
        if let Some(name) = &self.release_name {
            options.release_name.clone_from(name);
        }
        Ok(options)
    }
}

/// The ways to render: which one, and with what.
pub(crate) struct Ways {
    /// Found out from the files if it is not given.
    pub(crate) kind: Option<RenderType>,
    pub(crate) helm: HelmOptions,
    /// How chart repositories are spoken to.
    pub(crate) repositories: Vec<RepositoryAccess>,
    pub(crate) programs: Programs,
    /// Where bases of other repositories may be.
    pub(crate) allow_bases: Vec<Place>,
}

impl Ways {
    /// Renders files the way that is asked for, or the way that they are meant.
    fn render(
        &self,
        files: &dyn Files,
        common: &DirectoryOptions,
        scopes: &dyn ScopeLookup,
        as_directory: impl FnOnce() -> Result<Result<Render, RenderFailure>, String>,
    ) -> Result<Result<Render, RenderFailure>, String> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => {
                let path = common.path.trim_start_matches("./").trim_end_matches('/');
                detect(files, path).map_err(|error| error.to_string())?
            }
        };
        match kind {
            RenderType::Directory => as_directory(),
            kind => {
                let mut elsewhere = FromHere { ways: self, cache: None };
                match prepare(files, kind, common, &self.helm, &mut elsewhere) {
                    Ok(prepared) => Ok(prepared.render(&self.programs, common, scopes)),
                    Err(Unprepared::Failed(failure)) => Ok(Err(failure)),
                    Err(Unprepared::Unavailable(message)) => Err(message),
                }
            }
        }
    }
}

/// What comes from elsewhere to this machine, for one render.
struct FromHere<'a> {
    ways: &'a Ways,
    /// Where repositories are fetched to, once one is.
    cache: Option<(Bases, tempfile::TempDir)>,
}

impl Elsewhere for FromHere<'_> {
    fn chart(&mut self, chart: &ChartReference) -> Result<Arc<[u8]>, String> {
        self.ways.programs.fetch_chart(chart, &access_to(&self.ways.repositories, chart))
    }

    fn base(&mut self, reference: &BaseReference) -> Result<Base, NoBase> {
        let failed = |error: &dyn std::fmt::Display| {
            NoBase::Unavailable(format!("no private directory to fetch {reference} into: {error}"))
        };
        let bases = match &self.cache {
            Some((bases, _)) => bases,
            None => {
                let directory = tempfile::tempdir().map_err(|error| failed(&error))?;
                let repositories = Repositories::open(directory.path()).map_err(|error| failed(&error))?;
                &self.cache.insert((Bases::of(repositories), directory)).0
            }
        };
        let policy = BasePolicy { allowed: self.ways.allow_bases.clone(), ..BasePolicy::default() };
        bases.base(None, reference, &policy, Instant::now() + BASES_DEADLINE, &CancellationToken::new())
    }
}

/// Renders a directory of this machine. A chart or kustomization may use what
/// is elsewhere in the same Git working tree.
pub(crate) fn render_working(
    from: &Path,
    common: &DirectoryOptions,
    ways: &Ways,
    scopes: &dyn ScopeLookup,
) -> Result<Result<Render, RenderFailure>, String> {
    let (files, below) = WorkingFiles::around(from).map_err(|error| error.to_string())?;
    let path = match (below.as_str(), common.path.as_str()) {
        ("", path) => path.to_owned(),
        (below, ".") => below.to_owned(),
        (below, path) => format!("{below}/{path}"),
    };
    let whole = DirectoryOptions { path, ..common.clone() };
    ways.render(&files, &whole, scopes, || {
        let tree = WorkingTree::open(from).map_err(|error: TreeError| error.to_string())?;
        Ok(directory_after(&tree, common, scopes, &KnownFiles::default(), &ways.programs))
    })
}

/// A namespace that can be one: whatever is given here goes into every object.
fn namespace(text: &str) -> Result<String, &'static str> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("a namespace has at most 63 lower-case letters, digits and `-`, with a letter or digit first and last")
}

/// One problem for people: `error:` or `warning:` with its place, and a hint.
pub(crate) fn write_problem(label: &str, problem: &Problem, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{label}: {}", escape_control(&problem.to_string()))?;
    match &problem.hint {
        Some(hint) => writeln!(out, "  hint: {}", escape_control(hint)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// Runs the command in a directory of files; code, output and errors.
    fn render(files: &[(&str, &str)], args: &[&str]) -> (u8, String, String) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        let directory = root.path().to_str().unwrap().to_owned();
        let cli = Cli::parse_from(["render", &directory].iter().chain(args));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let open = |_: &Path, revision: &str| Err(format!("no revision {revision}"));
        let code = run(&cli.args, &open, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap().replace(&directory, "DIR"))
    }

    const SAMPLE: &[(&str, &str)] = &[
        ("a.yaml", "# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mode: '0644'}\n"),
        ("b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {password: hunter22}\n"),
    ];

    #[test]
    fn manifests_come_as_a_yaml_stream() {
        let (code, out, err) = render(SAMPLE, &["--namespace", "team-a", "--exclude", "b.yaml"]);
        insta::assert_snapshot!(out, @r#"
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: a
          namespace: team-a
        data:
          mode: "0644"
        "#);
        assert_eq!((code, err.as_str()), (0, ""));
    }

    #[test]
    fn json_is_one_array_and_secrets_are_masked() {
        let (code, out, _) = render(SAMPLE, &["-o", "json"]);
        let array: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, array.as_array().unwrap().len()), (0, 2));
        assert!(array[1]["data"]["password"].as_str().unwrap().starts_with("*** (8 bytes, "));
        let (_, shown, _) = render(SAMPLE, &["-o", "json", "--show-secrets"]);
        assert!(shown.contains("aHVudGVyMjI="));
    }

    #[rstest]
    #[case("Team_A")]
    #[case("")]
    #[case("-a")]
    #[case("a.b")]
    fn what_cannot_be_a_namespace_is_refused(#[case] namespace: &str) {
        let error = Cli::try_parse_from(["render", ".", &format!("--namespace={namespace}")]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn an_empty_directory_is_an_empty_array() {
        assert_eq!(render(&[("README.md", "x")], &["-o", "json"]).1, "[]\n");
    }

    #[test]
    fn problems_are_named_with_their_places_and_nothing_is_shown() {
        let files =
            [SAMPLE[0], ("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {on: yes}\n")];
        let (code, out, err) = render(&files, &[]);
        insta::assert_snapshot!(err, @r#"
        error: c.yaml:5:12: metadata.labels["true"] must be text, not a boolean
          hint: quote it to make it text
        "#);
        assert_eq!((code, out.as_str()), (1, ""));
    }

    #[test]
    fn what_only_the_server_refuses_is_shown_with_a_warning() {
        let files = [("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mode: 0644}\n")];
        let (code, out, err) = render(&files, &["-o", "json"]);
        assert!(out.contains("\"mode\": 420"), "{out}");
        insta::assert_snapshot!(err, @r"
        warning: a.yaml:4:8: data.mode must be text
          hint: quote it to make it text
        ");
        assert_eq!(code, 0);
    }

    #[test]
    fn a_namespace_of_a_kind_that_has_none_is_left_out_with_a_warning() {
        let files = [("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n")];
        let (code, out, err) = render(&files, &["--namespace", "team-a"]);
        insta::assert_snapshot!(out, @r#"
        ---
        apiVersion: v1
        kind: Namespace
        metadata:
          name: a
        "#);
        insta::assert_snapshot!(err, @r"
        warning: a.yaml:3:21: Namespace is not namespaced and cannot have metadata.namespace
          hint: remove metadata.namespace
        ");
        assert_eq!(code, 0);
    }

    #[test]
    fn a_revision_is_opened_by_the_caller() {
        let (code, _, err) = render(SAMPLE, &["--revision", "v1"]);
        assert_eq!((code, err.as_str()), (1, "error: no revision v1\n"));
    }
}
