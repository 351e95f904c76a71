//! The file `.gitmodules`: gitmodules(5), in the syntax of git-config(1).

use crate::source::url::visible;

/// A submodule as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: String,
    pub(super) url: String,
}

/// Reads the file. What it says beside path and URL, such as commands and
/// branches, is of no interest here, and other files are never included.
///
/// # Errors
/// In words, with the line, or the name of a submodule that lacks something.
pub(super) fn parse(text: &str) -> Result<Vec<Named>, String> {
    let mut sections: Vec<(String, Option<String>, Option<String>)> = Vec::new();
    let mut within = false;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split_once(']').map(|(header, _)| header.trim());
            let header = header.ok_or_else(|| format!("line {number} has no `]`"))?;
            let name = header
                .strip_prefix("submodule")
                .map(str::trim)
                .and_then(|name| name.strip_prefix('"')?.strip_suffix('"'));
            within = name.is_some();
            if let Some(name) = name.filter(|name| !sections.iter().any(|(known, ..)| known == name)) {
                sections.push((name.to_owned(), None, None));
            } else if within {
                return Err(format!("line {number} names a submodule for the second time"));
            }
            continue;
        }
        let Some((_, path, url)) = sections.last_mut().filter(|_| within) else { continue };
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let place = match key.trim().to_ascii_lowercase().as_str() {
            "path" => path,
            "url" => url,
            _ => continue,
        };
        if place
            .replace(unquoted(value).ok_or_else(|| format!("line {number} has a value that is not read"))?)
            .is_some()
        {
            return Err(format!("line {number} says the same thing for the second time"));
        }
    }
    let named = sections.into_iter().map(|(name, path, url)| match (path, url) {
        (Some(path), Some(url)) => Ok(Named { path, url }),
        (None, _) => Err(format!("submodule `{}` has no path", visible(&name))),
        (_, None) => Err(format!("submodule `{}` has no url", visible(&name))),
    });
    named.collect()
}

/// A value without quotes and what is a comment after it; none where it goes on
/// in the next line, or has an escape that means nothing.
fn unquoted(value: &str) -> Option<String> {
    let (mut text, mut quoted) = (String::new(), false);
    // Blanks at the end count within quotes only.
    let mut end = 0;
    let mut characters = value.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            _ => text.push(character),
        }
        if quoted || !character.is_whitespace() {
            end = text.len();
        }
    }
    text.truncate(end);
    (!quoted).then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", &[])]
    #[case::as_git_writes_it("[submodule \"base\"]\n\tpath = vendor/base\n\turl = ../base.git\n", &[("vendor/base", "../base.git")])]
    #[case::quoted("[submodule \"a\"]\npath=\"a b\"\nurl=\"https://h/\\\"x\" ; why\n", &[("a b", "https://h/\"x")])]
    #[case::other_things("[core]\npath=no\n[submodule \"a\"]\nupdate = !rm -rf /\nbranch = x\nPath = a\nURL = u # so\n", &[("a", "u")])]
    #[case::an_include_is_not_followed("[include]\npath = /etc/passwd\n", &[])]
    fn a_file_is_read(#[case] text: &str, #[case] named: &[(&str, &str)]) {
        let found: Vec<(String, String)> = parse(text).unwrap().into_iter().map(|it| (it.path, it.url)).collect();
        let named: Vec<(String, String)> = named.iter().map(|(path, url)| ((*path).into(), (*url).into())).collect();
        assert_eq!(found, named);
    }

    #[rstest]
    #[case::no_end("[submodule \"a\"\npath = a", "line 1 has no `]`")]
    #[case::no_path("[submodule \"a\"]\nurl = u", "submodule `a` has no path")]
    #[case::no_url("[submodule \"a\"]\npath = a", "submodule `a` has no url")]
    #[case::twice(
        "[submodule \"a\"]\npath = a\nurl = u\n[submodule \"a\"]\nurl = v",
        "line 4 names a submodule for the second"
    )]
    #[case::two_urls("[submodule \"a\"]\npath = a\nurl = u\nurl = v", "line 4 says the same thing for the second time")]
    #[case::an_open_quote("[submodule \"a\"]\npath = \"a", "line 2 has a value that is not read")]
    #[case::a_continued_line("[submodule \"a\"]\npath = a\\\n  b", "line 2 has a value that is not read")]
    fn a_file_that_is_not_understood_is_refused(#[case] text: &str, #[case] because: &str) {
        let message = parse(text).unwrap_err();
        assert!(message.starts_with(because), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(\\[submodule \"a\"\\]|\n|path|=|url|\"|\\\\|#|\\PC){0,20}") {
            let _ = parse(&text);
        }
    }
}
