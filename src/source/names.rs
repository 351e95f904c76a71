//! Which names of a tree are refused.

/// What is wrong with the name of an entry, if anything. Git itself refuses to
/// make such entries; a repository can hold them all the same.
pub(super) fn refusal(name: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Some("has a name that is not UTF-8");
    };
    match text {
        "" => Some("has an empty name"),
        "." | ".." => Some("has a name that means another directory"),
        _ if text.contains('/') => Some("has a name with a slash in it"),
        _ if text.contains('\0') => Some("has a name with a zero byte in it"),
        _ if text.eq_ignore_ascii_case(".git") => Some("has a name that is Git's own"),
        _ if text.len() > 255 => Some("has a name of more than 255 bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(b"app.yaml", true)]
    #[case::hidden(b".helmignore", true)]
    #[case::git_ignore(b".gitignore", true)]
    #[case::three_dots(b"...", true)]
    #[case::umlaut("käse.yaml".as_bytes(), true)]
    #[case::backslash(b"a\\b", true)]
    #[case::parent(b"..", false)]
    #[case::self_(b".", false)]
    #[case::empty(b"", false)]
    #[case::slash(b"a/b", false)]
    #[case::absolute(b"/etc", false)]
    #[case::git(b".git", false)]
    #[case::git_in_another_case(b".GiT", false)]
    #[case::latin_1(b"k\xe4se", false)]
    #[case::zero(b"a\0b", false)]
    #[case::overlong(&[b'a'; 256], false)]
    fn a_name_is_taken_or_refused(#[case] name: &[u8], #[case] taken: bool) {
        assert_eq!(refusal(name).is_none(), taken);
    }
}
