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
        // What one namespace may read, another may not.
        let key = Digest::of_parts([namespace, &chart.to_string(), &format!("{access:?}")]).to_string();
        let file = self.directory.join(key.replace(':', "-"));
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
            let data = match read_data(cluster, identity, ValuesKind::Secret, namespace, &secret.name).await {
                Ok(Some(data)) => data,
                Ok(None) => return Err(format!("{what} does not exist")),
                Err(mut error) => {
                    error.error = identity.advise(error.error, Some(namespace));
                    return Err(format!("{what} cannot be read: {error}"));
                }
            };
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
