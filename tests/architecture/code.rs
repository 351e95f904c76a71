//! Reads Rust as far as the rules need it: without comments, strings and test
//! code, as tokens, as the paths that the code names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{root, rust_files};

/// A piece of code, with the line that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path such as `crate::api::Release`, with the line where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
}

impl Named {
    pub fn starts_with(&self, prefix: &[&str]) -> bool {
        self.path.len() >= prefix.len() && self.path.iter().zip(prefix).all(|(part, wanted)| part == wanted)
    }

    pub fn text(&self) -> String {
        self.path.join("::")
    }
}

/// A file of the program, without its tests.
pub struct SourceFile {
    pub path: PathBuf,
    pub tokens: Vec<Token>,
    pub paths: Vec<Named>,
}

impl SourceFile {
    pub fn read(path: &Path) -> SourceFile {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let (tokens, _) = without_tests(&tokens(&text));
        let paths = paths(&tokens);
        SourceFile { path: path.to_owned(), tokens, paths }
    }

    /// The top module: `plan` of `src/plan/diff.rs`; none of `src/main.rs`.
    pub fn module(&self) -> Option<&str> {
        let mut parts = self.path.components().skip(1);
        let first = parts.next()?.as_os_str().to_str()?;
        if parts.next().is_some() { Some(first) } else { None }
    }

    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// How often each macro of these names is called, with its line.
    pub fn macros<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a Token> {
        self.tokens
            .windows(2)
            .filter(|pair| pair[1].text == "!" && names.contains(&pair[0].text.as_str()))
            .map(|pair| &pair[0])
    }
}

/// The files of `src/` that are part of the program.
pub fn program() -> &'static [SourceFile] {
    static PROGRAM: OnceLock<Vec<SourceFile>> = OnceLock::new();
    PROGRAM.get_or_init(read_program)
}

fn read_program() -> Vec<SourceFile> {
    let all = rust_files("src");
    let tests: BTreeSet<PathBuf> = all.iter().flat_map(|path| test_files(path)).collect();
    let is_test = |path: &Path| path.ancestors().any(|ancestor| tests.contains(ancestor));
    all.iter().filter(|path| !is_test(path)).map(|path| SourceFile::read(path)).collect()
}

/// The files and directories that a file names as modules of tests only.
fn test_files(path: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let (_, modules) = without_tests(&tokens(&text));
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let directory = path.parent().unwrap();
    let directory = if matches!(stem, "mod" | "lib" | "main") { directory.to_owned() } else { directory.join(stem) };
    modules.iter().flat_map(|name| [directory.join(format!("{name}.rs")), directory.join(name)]).collect()
}

/// The code as tokens: words, `::`, and single characters. Comments are left
/// out; of strings and characters only an empty string is left.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        let begin = at;
        let mut string = false;
        if c == '/' && next == '/' {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
        } else if c == '/' && next == '*' {
            at = end_of_comment(&chars, at);
        } else if c == '"' {
            at = end_of_string(&chars, at);
            string = true;
        } else if c == '\'' && next != '\\' && is_word(next) && chars.get(at + 2) != Some(&'\'') {
            // A lifetime.
            at += 1 + chars[at + 1..].iter().take_while(|c| is_word(**c)).count();
        } else if c == '\'' {
            at += if next == '\\' { 3 } else { 2 };
            at += chars[at..].iter().take_while(|c| **c != '\'').count() + 1;
            string = true;
        } else if is_word(c) {
            at += chars[at..].iter().take_while(|c| is_word(**c)).count();
            let word: String = chars[begin..at].iter().collect();
            if matches!(word.as_str(), "r" | "br")
                && matches!(chars.get(at), Some('"' | '#'))
                && let Some(end) = end_of_raw_string(&chars, at)
            {
                at = end;
                string = true;
            }
            if !string {
                tokens.push(Token { text: word, line });
            }
        } else if c == ':' && next == ':' {
            at += 2;
            tokens.push(Token { text: "::".to_owned(), line });
        } else {
            at += 1;
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
        }
        if string {
            tokens.push(Token { text: "\"\"".to_owned(), line });
        }
        at = at.min(chars.len());
        line += chars[begin..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_comment(chars: &[char], begin: usize) -> usize {
    let (mut at, mut depth) = (begin, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (at, depth) = (at + 2, depth + 1),
            ('*', '/') => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], begin: usize) -> usize {
    let mut at = begin + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of `r#"…"#`, where `at` is behind the `r`; none for `r#type`.
fn end_of_raw_string(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    let mut at = at + hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// The tokens without items that only tests have, and the names of the modules
/// among those that are files of their own.
pub fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let begins = |at: usize, what: &[&str]| texts[at..].starts_with(what);
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let is_test = begins(at, &["#", "[", "cfg", "(", "test", ")", "]"]) || begins(at, &["#", "[", "test", "]"]);
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += texts[at..].iter().position(|text| *text == "]").unwrap() + 1;
        let end = end_of_item(&texts, at);
        if let Some(name) = texts[at..end].iter().position(|text| *text == "mod")
            && texts[end - 1] == ";"
        {
            modules.push(texts[at + name + 1].to_owned());
        }
        at = end;
    }
    (kept, modules)
}

/// Behind the `;`, the `,` or the braces that end the item at `begin`.
fn end_of_item(texts: &[&str], begin: usize) -> usize {
    let mut depth = 0;
    for (offset, text) in texts[begin..].iter().enumerate() {
        match *text {
            "{" | "(" | "[" => depth += 1,
            "}" if depth == 0 => return begin + offset,
            "}" if depth == 1 => return begin + offset + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" | "," if depth == 0 => return begin + offset + 1,
            _ => {}
        }
    }
    texts.len()
}

/// All paths of two parts or more, those of `use` groups one by one.
pub fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_name(&tokens[at].text) && tokens.get(at + 1).is_some_and(|next| next.text == "::") {
            at = read_path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path at `at`, and gives where the code goes on.
fn read_path(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
    let mut path = before.to_vec();
    loop {
        path.push(tokens[at].text.clone());
        let line = tokens[at].line;
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            found.push(Named { path, line });
            return at;
        }
        match tokens.get(at + 1).map(|token| token.text.as_str()) {
            Some("{") => return read_group(tokens, at + 2, &path, found),
            Some(next) if is_name(next) || next == "*" => at += 1,
            // Behind a turbofish the path is another one.
            _ => {
                found.push(Named { path, line });
                return at + 1;
            }
        }
    }
}

fn read_group(tokens: &[Token], mut at: usize, path: &[String], found: &mut Vec<Named>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "}" => return at + 1,
            "as" => at += 2,
            text if is_name(text) || text == "*" => at = read_path(tokens, at, path, found),
            _ => at += 1,
        }
    }
    at
}

fn texts(code: &str) -> Vec<String> {
    let (tokens, _) = without_tests(&tokens(code));
    paths(&tokens).iter().map(Named::text).collect()
}

#[test]
fn paths_are_found_in_groups_and_in_expressions() {
    let code = r##"
        use crate::{api::{Release, lists::Cause as Why}, manifest::*};
        use std::io;
        fn f() -> kube::Result<()> { let x = Vec::<u8>::new(); crate::plan::propose(x, '"', "crate::no::string") }
        // crate::no::comment
        /* crate::no::comment /* nested */ crate::no::comment */
        const RAW: &'static str = r#"crate::no::"raw" "#;
    "##;
    assert_eq!(
        texts(code),
        [
            "crate::api::Release",
            "crate::api::lists::Cause",
            "crate::manifest::*",
            "std::io",
            "kube::Result",
            "Vec",
            "crate::plan::propose",
        ]
    );
}

#[test]
fn test_code_is_left_out() {
    let code = "
        #[cfg(test)] mod testing;
        #[cfg(test)] use crate::no::one;
        fn f() { a::b() }
        #[cfg(test)]
        mod tests { use crate::no::two; fn g() { { crate::no::three } } }
        #[test]
        fn h() { crate::no::four(); }
        fn i() { c::d() }
    ";
    assert_eq!(texts(code), ["a::b", "c::d"]);
    assert_eq!(without_tests(&tokens(code)).1, ["testing"]);
}
