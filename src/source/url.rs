//! The address of a repository, and what of it may be shown.

use std::fmt;

/// What the operator allows as the address of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Allows `file://`: every application could then read each repository
    /// that the process can read.
    pub allow_file: bool,
    /// Allows credentials over unencrypted `http://` to other machines than
    /// this one.
    pub allow_plain_http_credentials: bool,
}

/// Why the address of a repository is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository URL {url} is refused: {reason}")]
pub struct UrlRefused {
    /// The address, redacted.
    pub url: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The address of a repository. It never holds a credential, so it can be
/// shown everywhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryUrl {
    text: String,
    transport: Transport,
    carries_credentials: bool,
}

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Transport {
    Local,
    Http,
    Ssh { user: Option<String>, host: String, port: u16 },
}

impl RepositoryUrl {
    /// Reads an address under a policy.
    ///
    /// # Errors
    /// It is not a URL, has a scheme that is not supported or not allowed, or
    /// holds something that could be a credential.
    pub fn parse(text: &str, policy: &UrlPolicy) -> Result<Self, UrlRefused> {
        let refuse = |reason: &str| UrlRefused { url: redact(text), reason: reason.to_owned() };
        if text.trim() != text || text.is_empty() {
            return Err(refuse("it is empty or has spaces around it"));
        }
        if text.chars().any(char::is_control) {
            return Err(refuse("it contains control characters"));
        }
        let whole = from_scp(text);
        let Ok(url) = url::Url::parse(whole.as_deref().unwrap_or(text)) else {
            return Err(refuse("it is not a URL such as https://host/path"));
        };
        let over_ssh = url.scheme() == "ssh";
        match url.scheme() {
            "https" | "http" | "file" | "ssh" => {}
            "git+ssh" | "ssh+git" => return Err(refuse("its scheme is not supported; use ssh")),
            _ => return Err(refuse("its scheme is not supported; use https or ssh")),
        }
        if url.password().is_some() || (!over_ssh && !url.username().is_empty()) {
            return Err(refuse(
                "it contains credentials; remove them from the URL, rotate them if they were ever committed, \
                 and put them as username and password into a Secret named by secretRef",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a query or a fragment, which Git does not use and which may hold a credential"));
        }
        let local = url.scheme() == "file";
        if local {
            if !policy.allow_file {
                return Err(refuse("file URLs are not allowed by the operator of this installation"));
            }
            if url.host_str().is_some_and(|host| !host.is_empty()) || url.to_file_path().is_err() {
                return Err(refuse("a file URL takes an absolute path and no host, as file:///srv/repository.git"));
            }
        } else if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("it names no host"));
        }
        if over_ssh {
            return Self::over_ssh(&url).map_err(|reason| refuse(&reason));
        }
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let carries_credentials = url.scheme() == "https" || loopback || policy.allow_plain_http_credentials;
        let transport = if local { Transport::Local } else { Transport::Http };
        Ok(Self { text: url.as_str().trim_end_matches('/').to_owned(), transport, carries_credentials })
    }

    fn over_ssh(url: &url::Url) -> Result<Self, String> {
        // What a host or a user of such a name would be to other programs.
        let odd = |text: &str| text.starts_with('-') || text.chars().any(|character| !character.is_ascii_graphic());
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if odd(&host) || odd(url.username()) || [&host, url.username()].iter().any(|text| text.contains('%')) {
            return Err("its user or host has characters that they cannot have".to_owned());
        }
        if url.path().trim_matches('/').is_empty() {
            return Err("it names no repository on the host".to_owned());
        }
        let user = Some(url.username().to_owned()).filter(|user| !user.is_empty());
        let transport = Transport::Ssh { user, host, port: url.port().unwrap_or(22) };
        Ok(Self { text: url.as_str().trim_end_matches('/').to_owned(), transport, carries_credentials: true })
    }

    /// Whether it is a repository of this machine.
    pub fn is_local(&self) -> bool {
        self.transport == Transport::Local
    }

    /// User, host and port, if it is reached over SSH.
    pub(super) fn ssh(&self) -> Option<(Option<&str>, &str, u16)> {
        match &self.transport {
            Transport::Ssh { user, host, port } => Some((user.as_deref(), host, *port)),
            _ => None,
        }
    }

    /// Whether credentials may be sent to it.
    pub(super) fn carries_credentials(&self) -> bool {
        self.carries_credentials
    }

    /// Whether another repository is on the same server, by scheme, host and
    /// port, so that the credentials for one are those for the other.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        match (url::Url::parse(self.as_str()), url::Url::parse(other.as_str())) {
            (Ok(one), Ok(other)) => {
                let server = |url: &url::Url| {
                    (
                        url.scheme().to_owned(),
                        url.host_str().map(str::to_ascii_lowercase),
                        url.port_or_known_default().or((url.scheme() == "ssh").then_some(22)),
                    )
                };
                server(&one) == server(&other)
            }
            _ => false,
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `git@host:path`, the short form of `ssh://git@host/path`, as a URL.
fn from_scp(text: &str) -> Option<String> {
    let (before, path) = text.split_once(':').filter(|_| !text.contains("://"))?;
    let is_host = !before.is_empty() && !before.contains('/') && before.contains('@') && !before.starts_with('-');
    let is_path = !path.is_empty() && !path.starts_with(':') && !path.starts_with("//");
    // In the short form a path is relative to the user's home, which servers of
    // Git have no use for.
    (is_host && is_path).then(|| format!("ssh://{before}/{}", path.trim_start_matches('/')))
}

/// Takes everything out of a URL, or of what was meant to be one, that may be
/// a credential: what stands before an `@`, the query and the fragment. All
/// control characters are escaped.
pub fn redact(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            (format!("{scheme}://"), rest)
        }
        _ => (String::new(), text),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let shown = match rest.rsplit_once('@') {
        Some(("git", host)) => format!("git@{host}"),
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    format!("{scheme}{shown}").chars().flat_map(escape).collect()
}

/// A character as it may be shown. Control characters could drive a terminal,
/// and marks of writing direction could show a text in another order.
fn escape(character: char) -> Vec<char> {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || turns { character.escape_unicode().collect() } else { vec![character] }
}

/// A text from outside as it may be shown: control characters are escaped.
pub(super) fn visible(text: &str) -> String {
    text.chars().flat_map(escape).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::https("https://git.example.com/team/shop.git", "https://git.example.com/team/shop.git")]
    #[case::a_trailing_slash_is_no_difference(
        "https://git.example.com/team/shop/",
        "https://git.example.com/team/shop"
    )]
    #[case::the_host_has_no_case("https://Git.Example.COM/Team", "https://git.example.com/Team")]
    #[case::a_port("http://git.example.com:8080/x", "http://git.example.com:8080/x")]
    #[case::file("file:///srv/git/shop.git", "file:///srv/git/shop.git")]
    #[case::ssh("ssh://git@git.example.com:2222/team/shop.git/", "ssh://git@git.example.com:2222/team/shop.git")]
    #[case::ssh_without_a_user("ssh://git.example.com/x", "ssh://git.example.com/x")]
    #[case::ssh_in_short_form("git@git.example.com:team/shop.git", "ssh://git@git.example.com/team/shop.git")]
    #[case::ssh_in_short_form_from_the_root("git@git.example.com:/srv/x", "ssh://git@git.example.com/srv/x")]
    fn an_address_is_read(#[case] text: &str, #[case] shown: &str) {
        let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
        assert_eq!(RepositoryUrl::parse(text, &policy).unwrap().to_string(), shown);
    }

    #[rstest]
    #[case::user_and_password("https://ann:s3cret@git.example.com/x", "contains credentials")]
    #[case::a_token_as_user("https://s3cret@git.example.com/x", "contains credentials")]
    #[case::a_password_with_an_at("https://ann:s3cret@s3cret@git.example.com/x", "contains credentials")]
    #[case::a_token_in_the_query("https://git.example.com/x?access_token=s3cret", "query")]
    #[case::a_fragment("https://git.example.com/x#s3cret", "fragment")]
    #[case::not_a_url_but_with_a_password("//ann:s3cret@git.example.com/x", "not a URL")]
    #[case::another_scheme_with_a_password("ftp://ann:s3cret@git.example.com/x", "scheme")]
    #[case::a_password_over_ssh("ssh://git:s3cret@git.example.com/x", "contains credentials")]
    #[case::a_host_that_is_an_option("ssh://-oProxyCommand=id/x", "")]
    #[case::no_repository("ssh://git@git.example.com/", "names no repository")]
    #[case::a_user_that_is_an_option("ssh://-x@git.example.com/x", "characters that they cannot have")]
    #[case::another_name_of_ssh("git+ssh://git@git.example.com/x", "use ssh")]
    #[case::scp_without_a_user("git.example.com:team/shop.git", "not supported")]
    #[case::a_plain_path("/srv/git/shop.git", "not a URL")]
    #[case::file_without_leave("file:///srv/git/shop.git", "not allowed by the operator")]
    #[case::a_remote_helper("ext::sh -c id", "not supported")]
    #[case::an_option("--upload-pack=id", "not a URL")]
    #[case::a_line_break("https://git.example.com/\nx", "control")]
    #[case::nothing("", "empty")]
    fn an_address_is_refused_and_the_reason_shows_no_credential(#[case] text: &str, #[case] because: &str) {
        let message = RepositoryUrl::parse(text, &UrlPolicy::default()).unwrap_err().to_string();
        assert!(message.contains(because), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_or_writes_to_the_terminal(text in "\\PC*|.*") {
            for shown in [redact(&text), RepositoryUrl::parse(&text, &UrlPolicy::default()).map_or_else(|e| e.to_string(), |u| u.to_string())] {
                proptest::prop_assert!(!shown.contains(char::is_control), "{:?}", shown);
            }
        }

        #[test]
        fn what_stands_before_the_host_or_in_the_query_is_never_shown(
            scheme in "(https?|git|ftp|ext)",
            user in "[a-zA-Z0-9._~%@:!$&'()*+,;=-]{0,12}",
            rest in "/[a-z/]{0,12}",
        ) {
            for text in [
                format!("{scheme}://{user}s3cret{user}@git.example.com{rest}"),
                format!("{scheme}://{user}:s3cret@git.example.com{rest}"),
                format!("{scheme}://git.example.com{rest}?token=s3cret{user}"),
            ] {
                let error = RepositoryUrl::parse(&text, &UrlPolicy::default()).unwrap_err().to_string();
                proptest::prop_assert!(!error.contains("s3cret"), "{}", error);
            }
        }
    }

    #[rstest]
    #[case::https("https://git.example.com/x", false, true)]
    #[case::plain_http("http://git.example.com/x", false, false)]
    #[case::plain_http_with_leave("http://git.example.com/x", true, true)]
    #[case::plain_http_to_this_machine("http://127.0.0.1:3000/x", false, true)]
    #[case::a_name_that_only_looks_local("http://localhost.example.com/x", false, false)]
    fn credentials_travel_encrypted(#[case] text: &str, #[case] leave: bool, #[case] carried: bool) {
        let policy = UrlPolicy { allow_plain_http_credentials: leave, ..UrlPolicy::default() };
        assert_eq!(RepositoryUrl::parse(text, &policy).unwrap().carries_credentials(), carried);
    }

    #[rstest]
    #[case::the_same("https://h.example/x", true)]
    #[case::the_port_written_out("https://H.example:443/x", true)]
    #[case::another_port("https://h.example:8443/x", false)]
    #[case::another_scheme("http://h.example/x", false)]
    #[case::over_ssh("ssh://git@h.example/x", false)]
    #[case::another_host("https://vendor.example/x", false)]
    fn credentials_are_for_one_server(#[case] at: &str, #[case] same: bool) {
        let of = |text: &str| RepositoryUrl::parse(text, &UrlPolicy::default()).unwrap();
        assert_eq!(of("https://h.example/shop").is_beside(&of(at)), same);
    }
}
