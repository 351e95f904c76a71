//! Charts of chart repositories and registries, for the applications that name
//! them: fetched once, kept on this disk as long as there is room.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tracing::{info, warn};

use crate::{
    api::{HelmSpec, RepositorySpec, ValuesKind},
    cluster::{Cluster, Identity, data::read_data},
    manifest::Digest,
    notify::{NotATarget, NotReachable, Reach, Target},
    render::{ChartReference, Programs, RepositoryAccess},
};

/// Bytes of charts that are kept.
const ROOM: u64 = 256 << 20;

/// The charts that were fetched.
#[derive(Debug)]
pub struct ChartCache {
    directory: PathBuf,
}

impl ChartCache {
    /// Those of a directory, which need not exist yet.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// A chart for the applications of a namespace: the kept one if its version
    /// is a whole one, else what the repository has now.
    ///
    /// # Errors
    /// In words: it cannot be fetched.
    pub fn chart(
        &self,
        programs: &Programs,
        namespace: &str,
        chart: &ChartReference,
        access: &[RepositoryAccess],
    ) -> Result<Arc<[u8]>, String> {
        let access = access_to(access, chart);
        let file = self.directory.join(key(namespace, chart, &access));
        if chart.is_pinned()
            && let Ok(content) = fs::read(&file)
        {
            // What is used stays.
            if let Ok(file) = File::options().append(true).open(&file) {
                let _ = file.set_modified(SystemTime::now());
            }
            return Ok(content.into());
        }
        let content = programs.fetch_chart(chart, &access)?;
        info!(%chart, bytes = content.len(), "fetched a chart");
        if chart.is_pinned()
            && let Err(error) = self.keep(&file, &content)
        {
            warn!(%chart, %error, "the chart is not kept on this disk");
        }
        Ok(content)
    }

    fn keep(&self, file: &Path, content: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut whole = tempfile::NamedTempFile::new_in(&self.directory)?;
        whole.write_all(content)?;
        whole.persist(file).map_err(|error| error.error)?;
        self.make_room()
    }

    /// Takes away what was not used for the longest time.
    fn make_room(&self) -> std::io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.directory)?
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in kept {
            if bytes <= ROOM {
                break;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// The name of a file: nobody reads what another's credentials opened, nor
/// what another namespace did.
fn key(namespace: &str, chart: &ChartReference, access: &RepositoryAccess) -> String {
    let (name, password) = access.credentials.as_ref().map_or(("", ""), |(name, password)| (name, password));
    let chart = chart.to_string();
    let ca = access.ca.as_deref().unwrap_or_default();
    let parts = [namespace, &chart, name, password].map(str::as_bytes).into_iter().chain([ca]);
    Digest::of_parts(parts).to_string().replace(':', "-")
}

/// Whether the server of a chart may be spoken to, as for other servers that an
/// application names. Helm looks the name up once more.
///
/// # Errors
/// In words: why it may not.
pub fn may_reach(reach: &Reach, chart: &ChartReference) -> Result<(), String> {
    let url = chart.repository.replacen("oci://", "https://", 1);
    let target: Target = url.parse().map_err(|error: NotATarget| format!("{chart}: {error}"))?;
    let refused = |error: NotReachable| format!("{chart} is not fetched: {error}");
    reach.check_host(&target).map_err(refused)?;
    let port = target.url().port_or_known_default().unwrap_or(443);
    // A name that means nothing is told by whoever fetches.
    let addresses = target.url().socket_addrs(|| Some(port)).unwrap_or_default();
    addresses.iter().try_for_each(|address| reach.check_address(address.ip()).map_err(refused))
}

/// What the repository of a chart is shown: the entry with the longest URL that
/// is for it.
pub fn access_to(access: &[RepositoryAccess], chart: &ChartReference) -> RepositoryAccess {
    let fitting = access.iter().filter(|access| access.is_for(&chart.repository));
    fitting.max_by_key(|access| access.url.len()).cloned().unwrap_or_default()
}

/// What an application shows to chart repositories, read on somebody's behalf.
///
/// # Errors
/// In words: which Secret cannot be used, and why.
pub async fn repository_access(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    spec: Option<&HelmSpec>,
) -> Result<Vec<RepositoryAccess>, String> {
    let mut all = Vec::new();
    for RepositorySpec { url, secret_ref, plain_http } in spec.into_iter().flat_map(|spec| &spec.repositories) {
        let mut access = RepositoryAccess { url: url.clone(), plain_http: *plain_http, ..RepositoryAccess::default() };
        if let Some(secret) = secret_ref {
            let what = format!("Secret {namespace}/{} for {url}", secret.name);
            let data = read_data(cluster, identity, ValuesKind::Secret, namespace, &secret.name).await;
            let data = data.map_err(|error| format!("{what} cannot be read: {error}"))?;
            let data = data.ok_or_else(|| format!("{what} does not exist"))?;
            let text = |key: &str| match data.get(key).map(|value| String::from_utf8(value.clone())) {
                Some(Err(_)) => Err(format!("{what}: {key} is no text")),
                Some(Ok(value)) => Ok(Some(value.trim_end_matches('\n').to_owned())),
                None => Ok(None),
            };
            access.credentials = match (text("username")?, text("password")?) {
                (Some(name), Some(password)) => Some((name, password)),
                (None, None) => None,
                _ => return Err(format!("{what} needs both username and password")),
            };
            access.ca = data.get("ca.crt").cloned();
            if access.credentials.is_none() && access.ca.is_none() {
                return Err(format!("{what} has neither username and password nor ca.crt"));
            }
        }
        all.push(access);
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_url_that_fits_is_shown() {
        let of = |url: &str| RepositoryAccess { url: url.into(), ..RepositoryAccess::default() };
        let all = [of("oci://r.example"), of("oci://r.example/team"), of("oci://r.example/team/deep/er")];
        let chart = ChartReference::new("oci://r.example/team/deep", "web", "1.0.0").unwrap();
        assert_eq!(access_to(&all, &chart).url, "oci://r.example/team");
        let other = ChartReference::new("oci://other.example", "web", "1.0.0").unwrap();
        assert_eq!(access_to(&all, &other), RepositoryAccess::default());
    }

    #[test]
    fn what_credentials_opened_is_for_those_alone() {
        let chart = ChartReference::new("https://charts.example", "web", "1.0.0").unwrap();
        let by = |password: &str| {
            let credentials = Some(("ada".to_owned(), password.to_owned()));
            RepositoryAccess { credentials, ..RepositoryAccess::default() }
        };
        let keys = [
            key("team", &chart, &RepositoryAccess::default()),
            key("team", &chart, &by("one")),
            key("team", &chart, &by("two")),
            key("other", &chart, &by("one")),
        ];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        assert_eq!(keys[1], key("team", &chart, &by("one")));
    }

    #[test]
    fn an_application_has_nobody_near_the_controller_asked() {
        let at = |url: &str| ChartReference::new(url, "web", "1.0.0").unwrap();
        let near = may_reach(&Reach::Public, &at("oci://169.254.169.254/charts")).unwrap_err();
        assert!(near.starts_with("web 1.0.0 of oci://169.254.169.254/charts is not fetched: "), "{near}");
        assert!(may_reach(&Reach::Public, &at("http://localhost:8080")).is_err());
        assert_eq!(may_reach(&Reach::Public, &at("https://192.0.2.1/charts")), Ok(()));
        let named = Reach::Hosts(vec!["127.0.0.1".into()]);
        assert_eq!(may_reach(&named, &at("oci://127.0.0.1:5000/charts")), Ok(()));
        assert!(may_reach(&named, &at("https://192.0.2.1")).unwrap_err().contains("--outgoing-hosts"));
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = ChartCache::in_directory(directory.path().to_owned());
        let big = |name: &str, seconds: u64| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_len(ROOM / 2 - 1).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        big("used", 3);
        big("older", 1);
        big("old", 2);
        cache.make_room().unwrap();
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["old", "used"]);
    }
}
