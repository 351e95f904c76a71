//! `lookup` and chance in templates, found by their names.
//!
//! A template may ask the cluster by the function `lookup`. Without a cluster
//! Helm answers with nothing, and the chart then renders as if it were new: a
//! password that is kept in a Secret would be made anew with each render. So a
//! render that runs into it is refused, and one that does not is not: in the
//! private copy the function's name is replaced by that of one that fails with
//! whatever it is given, and whose name is as long.

/// The function that reads the cluster.
const LOOKUP: &str = "lookup";
/// A function that is no function of what it gets, and fails for that: of the
/// same length, so that columns in messages stay true.
const FAILS: &str = "call  ";

/// Functions whose result differs each time, as Helm's documentation of its
/// template functions has them.
const CHANCE: &[&str] = &[
    "randAlphaNum",
    "randAlpha",
    "randNumeric",
    "randAscii",
    "randBytes",
    "randInt",
    "uuidv4",
    "shuffle",
    "genPrivateKey",
    "genCA",
    "genCAWithKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htpasswd",
    "bcrypt",
    "encryptAES",
    "now",
    "ago",
];

/// A text in which `lookup` fails, if it has any.
pub(super) fn without_lookup(text: &str) -> Option<String> {
    let places: Vec<usize> = names(text).filter(|(_, name)| *name == LOOKUP).map(|(at, _)| at).collect();
    let mut changed = text.to_owned();
    for at in &places {
        changed.replace_range(*at..*at + LOOKUP.len(), FAILS);
    }
    (!places.is_empty()).then_some(changed)
}

/// Whether a text uses chance or the clock.
pub(super) fn uses_chance(text: &str) -> bool {
    names(text).any(|(_, name)| CHANCE.contains(&name))
}

/// The names of functions within the actions of a template, with where they
/// begin: words that are no fields, no variables, and not within quotes.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    actions(text).flat_map(move |(begin, end)| words(text, begin, end))
}

/// The actions of a template, `{{ … }}`, without comments.
fn actions(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let begin = at + text.get(at..)?.find("{{")? + 2;
            let inside = text.get(begin..)?;
            let trimmed = inside.strip_prefix("- ").unwrap_or(inside).trim_start();
            if trimmed.starts_with("/*") {
                at = begin + inside.find("*/").map_or(inside.len(), |end| end + 2);
                continue;
            }
            let end = begin + end_of_action(inside);
            at = end;
            return Some((begin, end));
        }
    })
}

/// Where the action ends that a text begins within.
fn end_of_action(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'`' | b'\'' => at = end_of_quoted(bytes, at),
            b'}' if bytes.get(at + 1) == Some(&b'}') => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind the quoted text that begins at a quote.
fn end_of_quoted(bytes: &[u8], begin: usize) -> usize {
    let quote = bytes[begin];
    let mut at = begin + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn words(text: &str, begin: usize, end: usize) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut found = Vec::new();
    let mut at = begin;
    while at < end {
        match bytes[at] {
            b'"' | b'`' | b'\'' => at = end_of_quoted(bytes, at),
            byte if is_word(byte) => {
                let from = at;
                while at < end && is_word(bytes[at]) {
                    at += 1;
                }
                let is_field = from > begin && matches!(bytes[from - 1], b'.' | b'$');
                if !is_field {
                    found.push((from, &text[from..at]));
                }
            }
            _ => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("{{ lookup \"v1\" \"Secret\" \"a\" \"b\" }}", Some("{{ call   \"v1\" \"Secret\" \"a\" \"b\" }}"))]
    #[case(
        "{{- $x := (lookup \"v1\" \"Secret\" \"a\" \"b\").data }}",
        Some("{{- $x := (call   \"v1\" \"Secret\" \"a\" \"b\").data }}")
    )]
    #[case(
        "a lookup b {{ .Values.lookup }} {{ $lookup }} {{ \"lookup\" }} {{/* lookup */}} {{- /* lookup */ -}}",
        None
    )]
    #[case("{{ `}} lookup` }} lookup {{ lookups }}", None)]
    #[case("{{ \"\\\"}} \" | lookup }}", Some("{{ \"\\\"}} \" | call   }}"))]
    #[case("{{ unfinished lookup", Some("{{ unfinished call  "))]
    fn lookup_is_found_where_it_is_called(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(without_lookup(text).as_deref(), expected);
    }

    #[rstest]
    #[case("password: {{ randAlphaNum 16 | b64enc }}", true)]
    #[case("at: {{ now | date \"2006\" }}", true)]
    #[case("now: {{ .Values.now }} randAlphaNum", false)]
    fn chance_is_known_by_its_functions(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(uses_chance(text), expected);
    }
}
