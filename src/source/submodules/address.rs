//! Where a submodule is, and whether it may be asked.

use crate::source::{
    place::is_host,
    url::{RepositoryUrl, UrlPolicy},
};

/// The address of a submodule: as it is written, or relative to that of the
/// repository that has it, as git-submodule(1) says.
///
/// # Errors
/// In words: it is not one that is allowed.
pub(super) fn resolve(outer: &RepositoryUrl, written: &str, policy: &UrlPolicy) -> Result<RepositoryUrl, String> {
    let whole = if written.starts_with("./") || written.starts_with("../") {
        relative(outer.as_str(), written)?
    } else {
        written.to_owned()
    };
    RepositoryUrl::parse(&whole, policy).map_err(|error| error.to_string())
}

fn relative(outer: &str, written: &str) -> Result<String, String> {
    let (scheme, rest) = outer.split_once("://").unwrap_or(("", outer));
    let mut parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    let mut below = written;
    loop {
        if let Some(rest) = below.strip_prefix("../") {
            // The first part is the host.
            if parts.len() < 2 {
                return Err(format!("its URL {written:?} leads above the root of the host"));
            }
            parts.pop();
            below = rest;
        } else if let Some(rest) = below.strip_prefix("./") {
            below = rest;
        } else {
            break;
        }
    }
    if below.is_empty() || below.split('/').any(|part| part == "..") {
        return Err(format!("its URL {written:?} names no repository"));
    }
    Ok(format!("{scheme}://{}/{below}", parts.join("/")))
}

/// Whether the host of a submodule may be asked: that of the outermost
/// repository itself, or one that the operator allows.
///
/// # Errors
/// In words: it may not.
pub(super) fn check_host(outermost: &RepositoryUrl, url: &RepositoryUrl, allowed: &[String]) -> Result<(), String> {
    let (own, host) = (host(outermost), host(url));
    let is_allowed = |pattern: &String| is_host(pattern, &host);
    if outermost.is_local() == url.is_local() && own == host || !url.is_local() && allowed.iter().any(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "it is at {url}, and submodules come from the host of the repository itself, or from those that the operator \
         allows (--allow-submodule-hosts)"
    ))
}

fn host(url: &RepositoryUrl) -> String {
    let parsed = url::Url::parse(url.as_str()).ok();
    parsed.and_then(|url| url.host_str().map(str::to_ascii_lowercase)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn url(text: &str) -> RepositoryUrl {
        RepositoryUrl::parse(text, &UrlPolicy { allow_file: true, ..UrlPolicy::default() }).unwrap()
    }

    #[rstest]
    #[case::beside("https://h.example/team/shop.git", "../base.git", "https://h.example/team/base.git")]
    #[case::another_team("https://h.example/team/shop", "../../ops/base", "https://h.example/ops/base")]
    #[case::below("https://h.example:8443/shop", "./base", "https://h.example:8443/shop/base")]
    #[case::over_ssh("git@h.example:team/shop.git", "../base.git", "ssh://git@h.example/team/base.git")]
    #[case::local("file:///srv/git/shop", "../base", "file:///srv/git/base")]
    #[case::whole("https://h.example/shop", "https://other.example/base", "https://other.example/base")]
    fn an_address_is_resolved(#[case] outer: &str, #[case] written: &str, #[case] found: &str) {
        let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
        assert_eq!(resolve(&url(outer), written, &policy).unwrap().as_str(), found);
    }

    #[rstest]
    #[case::above_the_host("../../../other.example/x", "leads above the root of the host")]
    #[case::itself("./", "names no repository")]
    #[case::dots_within("./a/../../b", "names no repository")]
    #[case::a_file("file:///srv/secret", "file URLs are not allowed")]
    #[case::a_path("/srv/secret", "is not a URL")]
    #[case::a_command("ext::sh -c id", "refused")]
    #[case::credentials("https://ann:s3cret@h.example/x", "contains credentials")]
    fn an_address_is_refused(#[case] written: &str, #[case] because: &str) {
        let message = resolve(&url("https://h.example/team/shop"), written, &UrlPolicy::default()).unwrap_err();
        assert!(message.contains(because) && !message.contains("s3cret"), "{message}");
    }

    #[rstest]
    #[case::the_same("https://h.example/x", true)]
    #[case::the_same_by_ssh("git@h.example:x", true)]
    #[case::another("https://evil.example/x", false)]
    #[case::one_that_ends_so("https://evilh.example/x", false)]
    #[case::allowed("https://vendor.example/x", true)]
    #[case::below_an_allowed_domain("https://a.cdn.example/x", true)]
    #[case::the_domain_itself("https://cdn.example/x", false)]
    #[case::a_file("file:///srv/x", false)]
    fn hosts_are_those_of_the_repository_and_of_the_operator(#[case] at: &str, #[case] may: bool) {
        let allowed = ["Vendor.example".to_owned(), "*.cdn.example".to_owned()];
        assert_eq!(check_host(&url("https://h.example/shop"), &url(at), &allowed).is_ok(), may);
    }

    #[test]
    fn a_local_repository_leads_to_local_ones_only() {
        assert!(check_host(&url("file:///srv/a"), &url("file:///srv/b"), &[]).is_ok());
        assert!(check_host(&url("file:///srv/a"), &url("https://h.example/b"), &[]).is_err());
    }
}
