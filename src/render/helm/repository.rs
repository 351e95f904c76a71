//! Fetching charts from chart repositories and registries, by the real Helm.

use std::{ffi::OsString, fs, path::PathBuf, sync::Arc};

use base64::Engine as _;
use serde_json::json;

use super::ChartReference;
use crate::render::{programs::Programs, workspace::Workspace};

/// How many characters of a complaint are kept.
const LONGEST: usize = 400;

/// What a chart repository or registry is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RepositoryAccess {
    /// URL, or the beginning of URLs.
    pub url: String,
    /// Name and password of an account.
    pub credentials: Option<(String, String)>,
    /// Authorities that are trusted in place of the system's, PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether a registry is spoken to by plain HTTP.
    pub plain_http: bool,
}

impl RepositoryAccess {
    /// Whether it is for a repository: its own, or one below it.
    pub fn is_for(&self, repository: &str) -> bool {
        is_below(&self.url, repository)
    }
}

/// Whether a repository is that of a URL, or one below it.
pub(super) fn is_below(url: &str, repository: &str) -> bool {
    let rest = repository.strip_prefix(url.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl std::fmt::Debug for RepositoryAccess {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RepositoryAccess({})", self.url)
    }
}

impl Programs {
    /// Fetches a packed chart.
    ///
    /// # Errors
    /// In words: Helm is not there, or what it complains of, without secrets.
    pub fn fetch_chart(&self, chart: &ChartReference, access: &RepositoryAccess) -> Result<Arc<[u8]>, String> {
        let failed = |error: std::io::Error| format!("no private directory to fetch {chart} into: {error}");
        let workspace = Workspace::new().map_err(failed)?;
        let into = |name: &str, content: &[u8]| workspace.beside(name, content).map_err(failed);
        let mut common: Vec<OsString> = Vec::new();
        let ca = access.ca.as_deref().map(|ca| into("ca.crt", ca)).transpose()?;
        let name = if chart.is_oci() {
            common.push(flag("--registry-config", into("registry.json", &registry_config(chart, access))?));
            if access.plain_http {
                common.push("--plain-http".into());
            }
            common.extend(ca.map(|ca| flag("--ca-file", ca)));
            format!("{}/{}", chart.repository, chart.name)
        } else {
            let config = repository_config(chart, access, ca.as_ref());
            common.push(flag("--repository-config", into("repositories.yaml", &config)?));
            common.push(flag("--repository-cache", workspace.home()));
            let update = ["repo".into(), "update".into(), REPOSITORY.into()];
            self.ask_helm(chart, access, &workspace, update.into_iter().chain(common.iter().cloned()).collect())?;
            format!("{REPOSITORY}/{}", chart.name)
        };
        let mut pull: Vec<OsString> = vec!["pull".into(), name.into(), flag("--destination", workspace.tree())];
        if !chart.version.is_empty() {
            pull.push(format!("--version={}", chart.version).into());
        }
        self.ask_helm(chart, access, &workspace, pull.into_iter().chain(common).collect())?;
        packed_chart(&workspace.tree())
            .ok_or_else(|| format!("{chart}: Helm fetched no packed chart"))
            .and_then(|path| fs::read(path).map(Arc::from).map_err(|error| format!("{chart} cannot be read: {error}")))
    }

    fn ask_helm(
        &self,
        chart: &ChartReference,
        access: &RepositoryAccess,
        workspace: &Workspace,
        arguments: Vec<OsString>,
    ) -> Result<(), String> {
        let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
        let finished = self.fetch(&arguments, workspace, &chart.to_string()).map_err(|problem| problem.to_string())?;
        if finished.succeeded {
            return Ok(());
        }
        let text = workspace.without_its_name(finished.complaints.trim());
        let from = text.find("Error: ").map_or(0, |at| at + "Error: ".len());
        // Why a repository cannot be read stands between words of progress.
        let output = String::from_utf8_lossy(&finished.output).into_owned();
        let progress = |line: &&str| line.starts_with("...") || line.starts_with("Hang tight");
        let why = output.lines().map(str::trim).filter(|line| !progress(line));
        let lines = text[from..].lines().map(str::trim).chain(why).filter(|line| !line.is_empty());
        let mut words = lines.collect::<Vec<_>>().join("; ");
        if let Some((_, password)) = access.credentials.as_ref().filter(|(_, password)| !password.is_empty()) {
            words = words.replace(password.as_str(), "…");
        }
        let words: String = words.chars().take(LONGEST).collect();
        Err(format!("{chart} cannot be fetched: helm: {words}"))
    }
}

/// The name by which Helm knows the one repository.
const REPOSITORY: &str = "charts";

fn flag(name: &str, path: PathBuf) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(path);
    flag
}

/// Credentials of a registry, as container tools keep them.
fn registry_config(chart: &ChartReference, access: &RepositoryAccess) -> Vec<u8> {
    let host = chart.repository.trim_start_matches("oci://").split('/').next().unwrap_or_default();
    let mut auths = serde_json::Map::new();
    if let Some((name, password)) = &access.credentials {
        let both = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        auths.insert(host.to_owned(), json!({ "auth": both }));
    }
    json!({ "auths": auths }).to_string().into_bytes()
}

/// The list of repositories, as Helm keeps it. Credentials go to the host of
/// the repository alone, not to where its index leads.
fn repository_config(chart: &ChartReference, access: &RepositoryAccess, ca: Option<&PathBuf>) -> Vec<u8> {
    let (name, password) = access.credentials.clone().unwrap_or_default();
    let entry = json!({
        "name": REPOSITORY, "url": chart.repository, "username": name, "password": password,
        "caFile": ca.map(|ca| ca.to_string_lossy().into_owned()).unwrap_or_default(),
        "pass_credentials_all": false, "insecure_skip_tls_verify": false,
    });
    json!({ "apiVersion": "", "repositories": [entry] }).to_string().into_bytes()
}

fn packed_chart(directory: &std::path::Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://charts.example/team", true)]
    #[case("https://charts.example/team/web", true)]
    #[case("https://charts.example/teams", false)]
    #[case("https://charts.example", false)]
    #[case("http://charts.example/team", false)]
    fn access_is_for_a_repository_and_those_below_it(#[case] repository: &str, #[case] expected: bool) {
        let access = RepositoryAccess { url: "https://charts.example/team/".into(), ..RepositoryAccess::default() };
        assert_eq!(access.is_for(repository), expected);
    }
}
