//! Properties of the reader, and what its problems and positions say.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn read(text: &str) -> (Vec<Document>, Vec<Problem>) {
    read_documents("f.yaml", text.as_bytes(), &Limits::default())
}

fn problems(text: &str, limits: &Limits) -> Vec<String> {
    read_documents("f.yaml", text.as_bytes(), limits).1.iter().map(Problem::to_string).collect()
}

/// Pieces of YAML, which together are mostly broken.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b: ",
        ": ",
        ":",
        "- ",
        "-",
        "? ",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&x ",
        "*x",
        "!",
        "!!str ",
        "!!int ",
        "!!binary ",
        "!<a> ",
        "%TAG !e! x\n",
        "%YAML 1.1\n",
        "|\n",
        ">-\n",
        "|+2\n",
        "'",
        "\"",
        "\\",
        "\\x4",
        "\\u00e9",
        "#",
        " #c",
        "---",
        "\n---\n",
        "\n...\n",
        "<<: ",
        "@",
        "`",
        "é",
        "\u{2028}",
        "\u{85}",
        "\r\n",
        "\r",
        "1.5",
        "0x1f",
        "\u{feff}",
        "\0",
        "\u{7}",
        "{\"a\": 1}",
        "\"a\": ",
        "\\ud83d",
        "1e999",
        "😀",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
        let _ = read_documents("f.yaml", &bytes, &Limits::default());
    }

    #[test]
    fn pieces_of_yaml_are_read_or_refused_without_a_panic(text in yamlish()) {
        let (documents, problems) = read(&text);
        // YAML knows more line breaks than editors do.
        let breaks = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
        let lines = u32::try_from(breaks).unwrap() + 2;
        for problem in problems {
            let position = problem.position;
            prop_assert!(position.is_some_and(|position| (1..=lines).contains(&position.line)), "{problem}");
        }
        for document in documents {
            prop_assert!(document.positions.of("").is_some());
        }
    }

    #[test]
    fn json_is_read_as_json(value in crate::manifest::arbitrary::object()) {
        // Of floats, serde_json reads only some as they were written.
        let text = value.to_string();
        let (documents, problems) = read(&text);
        prop_assert_eq!(&problems, &[]);
        prop_assert_eq!(documents.len(), 1);
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(keys(&documents[0].value), keys(&value));
    }
}

#[test]
fn a_position_leads_to_the_line_of_a_field() {
    let (documents, _) = read("# head\na:\n  b/c:\n  - x\n  - d: 1\n---\nz: &m {k: 1}\nx:\n  <<: *m\n");
    let at = |document: &Document, pointer: &str| document.positions.of(pointer).map(|at| (at.line, at.column));
    assert_eq!(documents[0].position, Position { line: 2, column: 1 });
    assert_eq!(at(&documents[0], "/a"), Some((2, 1)));
    assert_eq!(at(&documents[0], "/a/b~1c"), Some((3, 3)));
    assert_eq!(at(&documents[0], "/a/b~1c/0"), Some((4, 5)));
    assert_eq!(at(&documents[0], "/a/b~1c/1/d"), Some((5, 5)));
    assert_eq!(at(&documents[0], "/a/none"), None);
    assert_eq!(documents[0].positions.nearest("/a/none").line, 2);
    assert_eq!(at(&documents[1], "/x/k"), Some((7, 8)), "a merged field is where it was written");
    let below = documents[0].positions.below("/a/b~1c/1").unwrap();
    assert_eq!(below.of("/d"), Some(Position { line: 5, column: 5 }));
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let (documents, problems) = read("a: [\n---\nb: 1\n---\nc: 'x\n---\nd: 2\n");
    let values: Vec<_> = documents.into_iter().map(|document| document.value).collect();
    assert_eq!(values, [json!({"b": 1}), json!({"d": 2})]);
    let lines: Vec<_> = problems.iter().map(|problem| problem.position.unwrap().line).collect();
    assert_eq!(lines, [1, 5]);
}

#[test]
fn all_faults_of_a_document_are_named() {
    let text = "a: 1\na: 2\nb: !!int x\nc: .nan\n[1]: d\n~: e\n";
    assert_eq!(
        problems(text, &Limits::default()),
        [
            "f.yaml:2:1: duplicate key \"a\"",
            "f.yaml:3:10: a text is tagged as !!int",
            "f.yaml:4:4: is not a finite number",
            "f.yaml:5:1: a mapping or list cannot be a key",
            "f.yaml:6:1: null cannot be a key",
        ]
    );
}

#[rstest]
#[case::size("a: 1\n", Limits { file_bytes: 4, ..Limits::default() }, "f.yaml: is 5 bytes, more than the limit of 4 for one file")]
#[case::depth("[[[1]]]\n", Limits { depth: 2, ..Limits::default() }, "f.yaml:1:3: is nested deeper than 2 levels")]
#[case::depth_of_json("{\"a\":{\"b\":{}}}", Limits { depth: 2, ..Limits::default() }, "f.yaml:1:11: is nested deeper than 2 levels")]
#[case::depth_by_aliases("a: &a [1]\nb: &b [*a]\nc: [*b]\n", Limits { depth: 3, ..Limits::default() }, "f.yaml:3:5: is nested deeper than 3 levels")]
#[case::documents("a: 1\n---\nb: 1\n", Limits { documents: 1, ..Limits::default() }, "f.yaml:3:1: has more than 1 documents")]
#[case::alias_text("a: &a text\nb: [*a, *a]\n", Limits { alias_bytes: 7, ..Limits::default() }, "f.yaml:2:9: aliases repeat more than 7 bytes of text")]
fn a_limit_that_is_passed_is_named(#[case] text: &str, #[case] limits: Limits, #[case] expected: &str) {
    assert_eq!(problems(text, &limits), [expected]);
}

#[test]
fn a_bomb_of_aliases_is_refused_soon() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ('b'..='i').zip('a'..) {
        text.push_str(&format!("{name}: &{name} [*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of}]\n"));
    }
    let begun = std::time::Instant::now();
    assert_eq!(problems(&text, &Limits::default()), ["f.yaml:4:17: aliases expand to too many values"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

#[rstest]
#[case::brackets("[".repeat(1 << 20))]
#[case::dashes("- ".repeat(1 << 19))]
#[case::braces("{a: ".repeat(1 << 18))]
#[case::keys("? ".repeat(1 << 19))]
#[case::json("{\"a\":".repeat(1 << 18))]
#[case::quotes("'".repeat(1 << 20))]
#[case::long_line("a ".repeat(1 << 19))]
#[case::separators("---\n".repeat(1 << 18))]
#[case::directives("%YAML 1.1\n".repeat(1 << 17))]
#[case::anchors("&a ".repeat(1 << 19))]
fn a_hostile_text_is_answered_soon(#[case] text: String) {
    let begun = std::time::Instant::now();
    let _ = read(&text);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}
