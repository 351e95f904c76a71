//! Where repositories may be, as an operator allows it.

use std::{fmt, str::FromStr};

use super::url::RepositoryUrl;

/// Repositories that an operator allows: `HOST` or `HOST/PATH`, for that one
/// and all below it. A host may have a port, and `*.example.com` is all below
/// example.com.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: Option<u16>,
    path: Vec<String>,
}

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST or HOST/PATH, such as git.example.com/platform: {1}")]
pub struct NotAPlace(String, &'static str);

impl Place {
    /// Whether a repository is there.
    pub fn holds(&self, url: &RepositoryUrl) -> bool {
        let Some((host, port, path)) = parts(url) else { return false };
        // A server may read it as a way out of the path.
        let lower = path.to_ascii_lowercase();
        if !self.path.is_empty() && ["%2f", "%5c", "%2e"].iter().any(|escaped| lower.contains(escaped)) {
            return false;
        }
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        is_host(&self.host, &host)
            && self.port.is_none_or(|wanted| port == Some(wanted))
            && path.len() >= self.path.len()
            && self.path.iter().zip(path).all(|(wanted, part)| wanted == part)
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |because| NotAPlace(text.to_owned(), because);
        if text.contains("://") || text.contains('@') {
            return Err(refuse("it has neither a scheme nor a user"));
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| refuse("its port is no number"))?))
            }
            _ => (host, None),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        if name.is_empty() || name.contains(|character: char| character.is_whitespace() || "*?#".contains(character)) {
            return Err(refuse("it names no host"));
        }
        let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if path.iter().any(|part| part == "." || part == "..") {
            return Err(refuse("its path is not clean"));
        }
        Ok(Self { host: host.to_ascii_lowercase(), port, path })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))?;
        self.path.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

/// Host, port and path of a repository; none of one of this machine.
fn parts(url: &RepositoryUrl) -> Option<(String, Option<u16>, String)> {
    let parsed = url::Url::parse(url.as_str()).ok().filter(|_| !url.is_local())?;
    let host = parsed.host_str()?.to_ascii_lowercase();
    let port = parsed.port_or_known_default().or((parsed.scheme() == "ssh").then_some(22));
    Some((host, port, parsed.path().to_owned()))
}

/// Whether a host is the one of a pattern, or below it.
pub(super) fn is_host(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|below| below.ends_with('.')),
        None => host == pattern,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::source::url::UrlPolicy;

    #[rstest]
    #[case("git.example", "https://git.example/team/base.git", true)]
    #[case("git.example", "https://GIT.example/team/base.git", true)]
    #[case("Git.Example", "https://git.example/team/base.git", true)]
    #[case("git.example", "git@git.example:team/base.git", true)]
    #[case("git.example", "https://git.example.evil/team/base.git", false)]
    #[case("git.example", "https://evil.git.example/team/base.git", false)]
    #[case("*.example", "https://git.example/team/base", true)]
    #[case("*.example", "https://example/team/base", false)]
    #[case("git.example/team", "https://git.example/team/base", true)]
    #[case("git.example/team/base", "https://git.example/team/base", true)]
    #[case("git.example/team/", "https://git.example/team/deep/er", true)]
    #[case("git.example/team", "https://git.example/team-of-others/base", false)]
    #[case("git.example/team", "https://git.example/team/../evil/base", false)]
    #[case("git.example/team", "https://git.example/team/%2e%2e/evil/base", false)]
    #[case("git.example/team", "https://git.example/team/..%2fevil/base", false)]
    #[case("git.example/team", "https://git.example/team/x%5C..%5C..%5Cevil", false)]
    #[case("git.example", "https://git.example/team/a%2fb", true)]
    #[case("git.example/team", "https://git.example/Team/base", false)]
    #[case("git.example:8443", "https://git.example:8443/base", true)]
    #[case("git.example:8443", "https://git.example/base", false)]
    #[case("git.example:443", "https://git.example/base", true)]
    #[case("git.example:22/team", "git@git.example:team/base.git", true)]
    #[case("127.0.0.1:8080", "http://127.0.0.1:8080/base", true)]
    #[case("[::1]:8080", "http://[::1]:8080/base", true)]
    #[case("srv", "file:///srv/base", false)]
    fn a_repository_is_at_a_place_or_not(#[case] place: Place, #[case] url: &str, #[case] expected: bool) {
        let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
        assert_eq!(place.holds(&RepositoryUrl::parse(url, &policy).unwrap()), expected);
    }

    #[rstest]
    #[case("", "it names no host")]
    #[case("*", "it names no host")]
    #[case("/team", "it names no host")]
    #[case("a b/team", "it names no host")]
    #[case("https://git.example", "it has neither a scheme nor a user")]
    #[case("git@git.example:team", "it has neither a scheme nor a user")]
    #[case("git.example:x", "its port is no number")]
    #[case("git.example/../x", "its path is not clean")]
    fn what_is_no_place_is_told(#[case] text: &str, #[case] because: &str) {
        let error = text.parse::<Place>().unwrap_err().to_string();
        assert_eq!(error, format!("{text:?} is not HOST or HOST/PATH, such as git.example.com/platform: {because}"));
    }

    #[rstest]
    #[case("Git.example:8443//team/", "git.example:8443/team")]
    #[case("*.example", "*.example")]
    fn it_is_shown_as_it_is_meant(#[case] text: Place, #[case] shown: &str) {
        assert_eq!(text.to_string(), shown);
    }
}
