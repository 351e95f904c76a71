//! A file into documents, as `kubectl` does it: by lines that begin with `---`.

use super::{Position, Problem};

/// The text of one document, with a line break at its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The line of the file that the text begins at, from 1.
    pub(super) first_line: u32,
    pub(super) text: std::borrow::Cow<'a, str>,
}

/// Splits at lines that begin with `---`. Content after the mark and a space
/// belongs to the document that begins there (`--- {a: 1}`), which is what YAML
/// says and `kubectl` refuses. Any other line that begins with three dashes is
/// refused, and its document is skipped.
pub(super) fn split<'a>(file: &str, text: &'a str, problems: &mut Vec<Problem>) -> Vec<Chunk<'a>> {
    // A byte order mark would hide a separator on the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    let (mut start, mut first_line, mut refused) = (0, 1, false);
    let (mut offset, mut line_number) = (0, 1);
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        if let Some(rest) = rest.filter(|_| !is_prologue(&text[start..offset])) {
            if !refused {
                push(&mut chunks, &text[start..offset], first_line);
            }
            let alone = rest.trim().is_empty() || rest.trim_start().starts_with('#');
            (start, first_line) = if alone { (offset + line.len(), line_number + 1) } else { (offset, line_number) };
            refused = !alone && !rest.starts_with([' ', '\t']);
            if refused {
                problems.push(
                    Problem::in_file(file, "a line that begins with `---` separates documents and holds nothing else")
                        .at(Position { line: line_number, column: 4 })
                        .hint("put the content on the next line, or indent it where it is text"),
                );
            }
        }
        offset += line.len();
        line_number = line_number.saturating_add(1);
    }
    if !refused {
        push(&mut chunks, &text[start..], first_line);
    }
    chunks
}

fn push<'a>(chunks: &mut Vec<Chunk<'a>>, text: &'a str, first_line: u32) {
    if text.trim().is_empty() {
        return;
    }
    // As in kubectl, a block scalar at the end of a file keeps its line break
    // where the file does not end with one, and carriage returns go first.
    let mut text = std::borrow::Cow::from(text);
    if text.contains("\r\n") {
        text = text.replace("\r\n", "\n").into();
    }
    if !text.ends_with('\n') {
        text.to_mut().push('\n');
    }
    chunks.push(Chunk { first_line, text });
}

/// Whether the text holds directives (`%YAML 1.1`) and nothing but comments
/// beside them: they belong to the document after the separator.
fn is_prologue(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let mut directives = 0;
    lines.all(|line| {
        directives += 1;
        line.starts_with('%')
    }) && directives > 0
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one("a: 1\n", &[(1, "a: 1\n")])]
    #[case::no_line_break_at_the_end("a: 1", &[(1, "a: 1\n")])]
    #[case::two("a: 1\n---\nb: 2\n", &[(1, "a: 1\n"), (3, "b: 2\n")])]
    #[case::separator_first_and_last("---\na: 1\n---\n", &[(2, "a: 1\n")])]
    #[case::comment_on_the_separator("---  # one\na: 1\n--- # two\n", &[(2, "a: 1\n")])]
    #[case::carriage_returns("a: 1\r\n---\r\nb: 2\r\n", &[(1, "a: 1\n"), (3, "b: 2\n")])]
    #[case::byte_order_mark("\u{feff}---\na: 1\n", &[(2, "a: 1\n")])]
    #[case::indented_dashes_are_content("a: |\n  ---\n  b\n", &[(1, "a: |\n  ---\n  b\n")])]
    #[case::directives_belong_to_what_follows("# x\n%YAML 1.1\n---\na: 1\n", &[(1, "# x\n%YAML 1.1\n---\na: 1\n")])]
    #[case::nothing("", &[])]
    fn a_file_is_split_at_separators(#[case] text: &str, #[case] expected: &[(u32, &str)]) {
        let mut problems = Vec::new();
        let chunks = split("f", text, &mut problems);
        assert_eq!(problems, []);
        let chunks: Vec<_> = chunks.iter().map(|chunk| (chunk.first_line, chunk.text.as_ref())).collect();
        assert_eq!(chunks, expected);
    }

    #[test]
    fn content_on_a_separator_line_belongs_to_the_document() {
        let mut problems = Vec::new();
        let chunks = split("f", "a: 1\n--- {b: 2}\n---\nd: 4\n", &mut problems);
        let texts: Vec<_> = chunks.iter().map(|chunk| chunk.text.as_ref()).collect();
        assert_eq!(texts, ["a: 1\n", "--- {b: 2}\n", "d: 4\n"]);
        assert_eq!(problems, []);
    }

    #[test]
    fn another_line_of_dashes_is_refused_and_the_rest_is_read() {
        let mut problems = Vec::new();
        let chunks = split("f", "a: 1\n----\nc: 3\n---\nd: 4\n", &mut problems);
        let texts: Vec<_> = chunks.iter().map(|chunk| chunk.text.as_ref()).collect();
        assert_eq!(texts, ["a: 1\n", "d: 4\n"]);
        let expected = "f:2:4: a line that begins with `---` separates documents and holds nothing else";
        assert_eq!(problems[0].to_string(), expected);
    }
}
