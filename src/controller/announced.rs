//! Repositories as a webhook names them, and whether an Application's URL
//! means one of them.
//!
//! A repository has many URLs: by HTTPS and by SSH, with and without `.git`,
//! with a user, on another port. Two of them are taken for the same if host
//! and path are, whatever their case. Taking two for the same that are not
//! costs one look and nothing else.

/// A repository that a webhook names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announced {
    /// By a URL.
    Url(String),
    /// By its path alone, on whatever host: some servers send no URL.
    Path(String),
}

impl Announced {
    /// Whether a URL means this repository.
    pub(super) fn is_at(&self, url: &str) -> bool {
        let Some(place) = Place::of(url) else { return false };
        match self {
            Self::Url(announced) => Place::of(announced).is_some_and(|announced| announced == place),
            Self::Path(path) => {
                let path = tidy(path);
                !path.is_empty() && (place.path == path || place.path.ends_with(&format!("/{path}")))
            }
        }
    }
}

/// Where a repository is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    path: String,
}

impl Place {
    /// Reads a URL, or the short form of SSH, `git@host:path`.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let (authority, path) = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?,
            None => text.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // The port differs between the ways to one server.
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let path = tidy(path.split(['?', '#']).next().unwrap_or(path));
        (!path.is_empty()).then(|| Self { host: host.to_ascii_lowercase(), path })
    }
}

/// A path without what two URLs of one repository may differ in.
fn tidy(path: &str) -> String {
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://github.com/Acme/Shop.git", "https://github.com/acme/shop", true)]
    #[case("https://github.com/acme/shop", "git@github.com:acme/shop.git", true)]
    #[case("ssh://git@git.example.com:2222/acme/shop.git", "https://git.example.com/acme/shop/", true)]
    #[case("https://bot@git.example.com:8443/acme/shop.git", "https://git.example.com/acme/shop.git", true)]
    #[case("https://git.example.com/acme/shop.git", "https://git.example.com/acme/shop2.git", false)]
    #[case("https://git.example.com/acme/shop.git", "https://git.example.org/acme/shop.git", false)]
    #[case("https://git.example.com/shop.git", "https://git.example.com/acme/shop.git", false)]
    #[case("https://git.example.com/", "https://git.example.com/", false)]
    #[case("", "https://git.example.com/acme/shop.git", false)]
    #[case("no url", "no url", false)]
    #[case("file:///srv/git/shop.git", "file:///srv/git/shop", true)]
    fn two_urls_mean_one_repository(#[case] announced: &str, #[case] url: &str, #[case] same: bool) {
        assert_eq!(Announced::Url(announced.to_owned()).is_at(url), same);
    }

    #[rstest]
    #[case("scm/ACME/shop", "https://git.example.com/scm/acme/shop.git", true)]
    #[case("acme/shop", "ssh://git@git.example.com:7999/acme/shop.git", true)]
    #[case("acme/shop", "https://git.example.com/other-acme/shop.git", false)]
    #[case("shop", "https://git.example.com/acme/workshop.git", false)]
    #[case("", "https://git.example.com/acme/shop.git", false)]
    #[case("/", "https://git.example.com/acme/shop.git", false)]
    fn a_path_means_a_repository_of_any_host(#[case] path: &str, #[case] url: &str, #[case] same: bool) {
        assert_eq!(Announced::Path(path.to_owned()).is_at(url), same);
    }

    proptest! {
        #[test]
        fn any_two_texts_are_compared_without_a_panic(one: String, other: String) {
            let same = Announced::Url(one.clone()).is_at(&other);
            prop_assert_eq!(same, Announced::Url(other.clone()).is_at(&one));
            let _ = Announced::Path(one).is_at(&other);
        }
    }
}
