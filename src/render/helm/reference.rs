//! Charts of chart repositories and registries: which one is meant.

use std::fmt;

use serde_json::Value;

use crate::manifest::yaml::{self, read_documents};

/// Names that a chart may have in a repository.
const NAME_CHARACTERS: &str = "._-";

/// A chart of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChartReference {
    /// URL of the repository (`https`, `http`), or of what is above the chart in
    /// a registry (`oci`); without a slash at its end.
    pub repository: String,
    /// Name of the chart.
    pub name: String,
    /// A version or a range of versions, as Helm takes them; empty for the
    /// newest that is no pre-release.
    pub version: String,
}

impl ChartReference {
    /// A reference that Helm can be asked for.
    ///
    /// # Errors
    /// In words: what is wrong with it.
    pub fn new(repository: &str, name: &str, version: &str) -> Result<Self, String> {
        let repository = repository.trim_end_matches('/');
        if repository.starts_with('@') || repository.starts_with("alias:") {
            return Err(format!("{repository} is a name of somebody's own list of repositories: write its URL"));
        }
        let url = url::Url::parse(repository).map_err(|error| format!("{repository:?} is no URL: {error}"))?;
        if !matches!(url.scheme(), "https" | "http" | "oci") || url.host_str().is_none_or(str::is_empty) {
            return Err(format!("{repository} is no https, http or oci URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL of a chart repository must not hold credentials: \
                        put them into a Secret and name it in render.helm.repositories"
                .to_owned());
        }
        let wrong = |character: char| !character.is_ascii_alphanumeric() && !NAME_CHARACTERS.contains(character);
        if name.is_empty() || name.contains(wrong) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(format!("{name:?} is no name of a chart"));
        }
        if version.contains(char::is_control) {
            return Err(format!("{version:?} is no version"));
        }
        Ok(Self { repository: repository.to_owned(), name: name.to_owned(), version: version.trim().to_owned() })
    }

    /// Whether it is of a registry (OCI).
    pub fn is_oci(&self) -> bool {
        self.repository.starts_with("oci://")
    }

    /// Whether it means one version, which never changes.
    pub fn is_pinned(&self) -> bool {
        let version = self.version.strip_prefix('v').unwrap_or(&self.version);
        semver::Version::parse(version).is_ok()
    }
}

impl fmt::Display for ChartReference {
    /// `web 1.2.3 of https://charts.example`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, name, version } = self;
        let space = if version.is_empty() { "" } else { " " };
        write!(f, "{name}{space}{version} of {repository}")
    }
}

/// A dependency as a lock file has it.
pub(super) struct Locked {
    pub(super) name: String,
    pub(super) version: String,
}

/// Reads `Chart.lock` or `requirements.lock`. What is wrong with it is found
/// where a dependency is not in it.
pub(super) fn locked(content: &[u8]) -> Vec<Locked> {
    let (documents, _) = read_documents("Chart.lock", content, &yaml::Limits::default());
    let list = documents.first().and_then(|document| document.value.get("dependencies")).and_then(Value::as_array);
    let text = |item: &Value, field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |item: &Value| Locked { name: text(item, "name"), version: text(item, "version") };
    list.into_iter().flatten().map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::https("https://charts.example/stable/", "web", "1.2.3", Ok("web 1.2.3 of https://charts.example/stable"))]
    #[case::registry("oci://registry.example:5000/charts", "web", "", Ok("web of oci://registry.example:5000/charts"))]
    #[case::own_name("@stable", "web", "1", Err("write its URL"))]
    #[case::alias("alias:stable", "web", "1", Err("write its URL"))]
    #[case::file("file:///srv/charts", "web", "1", Err("is no https, http or oci URL"))]
    #[case::no_url("charts", "web", "1", Err("is no URL"))]
    #[case::credentials("https://ada:secret@charts.example", "web", "1", Err("must not hold credentials"))]
    #[case::flag("https://charts.example", "--debug", "1", Err("is no name of a chart"))]
    #[case::path("https://charts.example", "../web", "1", Err("is no name of a chart"))]
    #[case::control("https://charts.example", "web", "1\n2", Err("is no version"))]
    fn a_reference_is_what_helm_can_be_asked_for(
        #[case] repository: &str,
        #[case] name: &str,
        #[case] version: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        match (ChartReference::new(repository, name, version), expected) {
            (Ok(reference), Ok(words)) => assert_eq!(reference.to_string(), words),
            (Err(message), Err(words)) => {
                assert!(message.contains(words), "{message}");
                assert!(!message.contains("secret"), "{message}");
            }
            (reference, expected) => panic!("{reference:?} in place of {expected:?}"),
        }
    }

    #[rstest]
    #[case("1.2.3", true)]
    #[case("v1.2.3-rc.1+build", true)]
    #[case("1.2", false)]
    #[case("^1.2.3", false)]
    #[case("", false)]
    fn only_a_whole_version_is_pinned(#[case] version: &str, #[case] expected: bool) {
        assert_eq!(ChartReference::new("https://charts.example", "web", version).unwrap().is_pinned(), expected);
    }
}
