//! `bowline health`: the health of objects in files, offline.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::health::checks::{Check, CompiledChecks};
use crate::health::{Evidence, Health};
use crate::manifest::escape_control;
use crate::manifest::yaml::{Limits, read_documents};

/// Judges the health of objects in files, offline.
///
/// One verdict for each object, in the order of the files. Lists are judged item by item.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Files of objects in YAML or JSON; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    pub filenames: Vec<PathBuf>,
    /// File of CEL checks to try, as in `spec.health.checks` of an Application.
    #[arg(long, value_name = "FILE")]
    pub checks: Option<PathBuf>,
    /// Form of the output: a table for people, or one JSON array.
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON array.
    Json,
}

/// One object with its verdict.
struct Judged {
    object: Value,
    health: Health,
}

/// Runs the command: verdicts on `out`, files that could not be read on `err`.
/// Gives the exit code: 0 whatever the health, 1 if something could not be read.
///
/// # Errors
/// Writing failed.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let checks = match args.checks.as_deref().map_or_else(|| Ok(Vec::new()), read_checks) {
        Ok(checks) => checks,
        Err(message) => {
            writeln!(err, "error: {}", escape_control(&message))?;
            return Ok(1);
        }
    };
    let checks = match CompiledChecks::compile(&checks) {
        Ok(checks) => checks,
        Err(errors) => {
            errors.iter().try_for_each(|error| writeln!(err, "error: {}", escape_control(&error.to_string())))?;
            return Ok(1);
        }
    };
    let mut judged = Vec::new();
    let mut broken = false;
    for path in &args.filenames {
        let shown = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                broken = true;
                writeln!(err, "error: {}: {error}", escape_control(&shown))?;
                if path.is_dir() {
                    writeln!(err, "  hint: name its files: -f {}/*.yaml", escape_control(shown.trim_end_matches('/')))?;
                }
                continue;
            }
        };
        let (documents, problems) = read_documents(&shown, &bytes, &Limits::default());
        for problem in problems {
            broken = true;
            writeln!(err, "error: {}", escape_control(&problem.to_string()))?;
            if let Some(hint) = &problem.hint {
                writeln!(err, "  hint: {}", escape_control(hint))?;
            }
        }
        for document in documents {
            if is_object_or_array_of_them(&document.value) {
                flatten(document.value, &checks, &mut judged);
            } else {
                broken = true;
                let (line, column) = (document.position.line, document.position.column);
                let found = name_of(&document.value);
                writeln!(err, "error: {}:{line}:{column}: is {found}, not an object", escape_control(&shown))?;
                writeln!(err, "  hint: an object begins with `apiVersion:` and `kind:`")?;
            }
        }
    }
    match args.output {
        Some(Format::Json) => write_json(&judged, out)?,
        None => write_table(&judged, out)?,
    }
    out.flush()?;
    Ok(u8::from(broken))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // One byte more than the reader takes, so that it sees what is too much.
    let limit = Limits::default().file_bytes as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads a list of checks, by itself or under `checks`.
fn read_checks(path: &Path) -> Result<Vec<Check>, String> {
    let shown = path.display();
    let bytes = read(path).map_err(|error| format!("{shown}: {error}"))?;
    let (mut documents, problems) = read_documents(&shown.to_string(), &bytes, &Limits::default());
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let document = documents.pop().ok_or_else(|| format!("{shown}: has no checks"))?;
    if !documents.is_empty() {
        return Err(format!("{shown}: has more than one document; put all checks in one list"));
    }
    let mut value = document.value;
    if let Some(checks) = value.get_mut("checks") {
        value = checks.take();
    }
    serde_json::from_value(value).map_err(|error| format!("{shown}: is no list of checks: {error}"))
}

/// An array of objects is what `bowline render -o json` and `jq .items` write.
fn is_object_or_array_of_them(value: &Value) -> bool {
    value.is_object() || value.as_array().is_some_and(|items| items.iter().all(Value::is_object))
}

/// Judges an object, or each item of a list. The items of a typed list
/// (`PodList`) may leave their type to the list.
fn flatten(value: Value, checks: &CompiledChecks, judged: &mut Vec<Judged>) {
    if let Value::Array(items) = value {
        return items.into_iter().for_each(|item| flatten(item, checks, judged));
    }
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let items = value.get("items");
    // A List without items is an empty one; another kind of such a name is none.
    let is_list = items.is_some_and(Value::is_array) || (kind == "List" && items.is_none_or(Value::is_null));
    let Some(of) = kind.strip_suffix("List").filter(|_| is_list) else {
        return judged.push(Judged { health: checks.assess(&value, &Evidence::default()), object: value });
    };
    let (of, api_version) = (of.to_owned(), value.get("apiVersion").cloned());
    let Value::Object(mut list) = value else { return };
    let Some(Value::Array(items)) = list.remove("items") else { return };
    for mut item in items {
        if let Value::Object(fields) = &mut item
            && !of.is_empty()
            && !fields.contains_key("kind")
        {
            fields.insert("kind".to_owned(), json!(of));
            if let Some(api_version) = &api_version {
                fields.entry("apiVersion").or_insert_with(|| api_version.clone());
            }
        }
        flatten(item, checks, judged);
    }
}

fn write_json(judged: &[Judged], out: &mut dyn Write) -> io::Result<()> {
    let rows: Value = judged.iter().map(as_json).collect();
    writeln!(out, "{rows:#}")
}

fn as_json(judged: &Judged) -> Value {
    let field = |of: Option<&Value>, name: &str| of.and_then(|of| of.get(name)).cloned().unwrap_or(Value::Null);
    let metadata = judged.object.get("metadata");
    let mut row = Map::new();
    row.insert("apiVersion".to_owned(), field(Some(&judged.object), "apiVersion"));
    row.insert("kind".to_owned(), field(Some(&judged.object), "kind"));
    row.insert("namespace".to_owned(), field(metadata, "namespace"));
    row.insert("name".to_owned(), field(metadata, "name"));
    row.insert("health".to_owned(), json!(judged.health.status.as_str()));
    row.insert("reason".to_owned(), json!(judged.health.reason));
    Value::Object(row)
}

fn write_table(judged: &[Judged], out: &mut dyn Write) -> io::Result<()> {
    if judged.is_empty() {
        return writeln!(out, "no objects");
    }
    let rows: Vec<[String; 3]> = judged
        .iter()
        .map(|judged| {
            let text = |path: &str| judged.object.pointer(path).and_then(Value::as_str).unwrap_or("-");
            let name = match judged.object.pointer("/metadata/namespace").and_then(Value::as_str) {
                Some(namespace) => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
                None => format!("{} {}", text("/kind"), text("/metadata/name")),
            };
            [
                escape_control(&name).into(),
                judged.health.status.to_string(),
                escape_control(&judged.health.reason).into(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0).max("OBJECT".len()), width(1).max("HEALTH".len()));
    writeln!(out, "{:first$}  {:second$}  REASON", "OBJECT", "HEALTH")?;
    for [name, health, reason] in &rows {
        writeln!(out, "{}", format!("{name:first$}  {health:second$}  {reason}").trim_end())?;
    }
    Ok(())
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        Value::String(_) => "text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a truth value",
        Value::Null => "nothing",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn health(files: &[(&str, &str)], args: &[&str]) -> (u8, String, String) {
        let root = tempfile::tempdir().unwrap();
        let mut words = vec!["health".to_owned(), "-f".to_owned()];
        for (name, content) in files {
            let path = root.path().join(name);
            std::fs::write(&path, content).unwrap();
            words.push(path.to_str().unwrap().to_owned());
        }
        words.extend(args.iter().map(|&arg| arg.to_owned()));
        let cli = Cli::parse_from(words);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&cli.args, &mut out, &mut err).unwrap();
        let directory = root.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(directory, "DIR");
        (code, text(out), text(err))
    }

    const OBJECTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 3}
status: {replicas: 3, updatedReplicas: 3, availableReplicas: 1}
---
# Only a comment.
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- {apiVersion: v1, kind: PodList, items: [{metadata: {name: a, namespace: shop}, status: {phase: Failed}}]}
";

    #[test]
    fn each_object_has_a_line() {
        let (code, out, err) = health(&[("a.yaml", OBJECTS)], &[]);
        insta::assert_snapshot!(out, @r#"
        OBJECT               HEALTH       REASON
        Deployment shop/web  Progressing  1 of 3 replicas available
        Namespace shop       Healthy
        Pod shop/a           Degraded     failed
        "#);
        assert_eq!((code, err.as_str()), (0, ""));
    }

    #[test]
    fn json_is_one_array_in_the_order_of_the_input() {
        let (code, out, err) = health(&[("a.yaml", OBJECTS)], &["-o", "json"]);
        let rows: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, err.as_str(), rows.as_array().unwrap().len()), (0, "", 3));
        assert_eq!(
            rows[0],
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
                   "health": "Progressing", "reason": "1 of 3 replicas available"})
        );
        assert_eq!(
            rows[1],
            json!({"apiVersion": "v1", "kind": "Namespace", "namespace": null, "name": "shop",
                   "health": "Healthy", "reason": ""})
        );
        assert_eq!((&rows[2]["kind"], &rows[2]["health"]), (&json!("Pod"), &json!("Degraded")));
    }

    #[test]
    fn a_broken_document_is_named_and_the_others_are_judged() {
        let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\na: 1\na: 2\n---\n- text\n";
        let (code, out, err) = health(&[("a.yaml", broken), ("b.yaml", OBJECTS)], &["-o", "json"]);
        assert_eq!(code, 1);
        insta::assert_snapshot!(err, @r#"
        error: DIR/a.yaml:6:1: duplicate key "a"
          hint: it is set at 5:1 too; keep one of them
        error: DIR/a.yaml:8:1: is a list, not an object
          hint: an object begins with `apiVersion:` and `kind:`
        "#);
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().len(), 4);
    }

    #[test]
    fn checks_are_tried_on_the_files() {
        let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}, status: {level: 3}}";
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("checks.yaml");
        let try_checks = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let (code, out, err) = health(&[("a.yaml", widget)], &["--checks", path.to_str().unwrap()]);
            (code, out, err.replace(root.path().to_str().unwrap(), "DIR"))
        };
        let check = "checks: [{group: example.com, kind: Widget, degraded: object.status.level == 3}]";
        let (code, out, err) = try_checks(check);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("Widget a  Degraded  the check `degraded` of Widget holds"), "{out}");
        let (code, out, err) = try_checks("[{kind: Widget, healthy: '('}]");
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.starts_with("error: `healthy` of the check of Widget: does not parse: "), "{err}");
        let (code, _, err) = try_checks("[{kind: Widget, health: 'true'}]");
        assert_eq!(code, 1);
        assert!(err.starts_with("error: DIR/checks.yaml: is no list of checks: unknown field `health`"), "{err}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let cli = Cli::parse_from(["health", "-f", "/does/not/exist.yaml"]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&cli.args, &mut out, &mut err).unwrap(), 1);
        assert!(String::from_utf8(err).unwrap().starts_with("error: /does/not/exist.yaml: "));
        assert_eq!(String::from_utf8(out).unwrap(), "no objects\n");
    }

    #[rstest]
    #[case("# nothing\n")]
    #[case("{apiVersion: v1, kind: List, items: []}")]
    #[case("{apiVersion: v1, kind: List, items: null}")]
    #[case("{apiVersion: v1, kind: List}")]
    #[case("[]")]
    fn nothing_to_judge_is_an_empty_array(#[case] text: &str) {
        assert_eq!(health(&[("a.yaml", text)], &["-o", "json"]), (0, "[]\n".to_owned(), String::new()));
    }

    #[test]
    fn an_array_of_objects_is_judged_item_by_item() {
        let array = r#"[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}},
                        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"status":{"phase":"Failed"}}]"#;
        let (code, out, err) = health(&[("a.json", array)], &[]);
        insta::assert_snapshot!(out, @r#"
        OBJECT       HEALTH    REASON
        Namespace a  Healthy
        Pod b        Degraded  failed
        "#);
        assert_eq!((code, err.as_str()), (0, ""));
    }

    #[test]
    fn a_directory_is_refused_with_the_way_to_name_its_files() {
        let root = tempfile::tempdir().unwrap();
        let cli = Cli::parse_from(["health", "-f", root.path().to_str().unwrap()]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&cli.args, &mut out, &mut err).unwrap(), 1);
        let err = String::from_utf8(err).unwrap().replace(root.path().to_str().unwrap(), "DIR");
        assert!(err.starts_with("error: DIR: "), "{err}");
        assert!(err.ends_with("\n  hint: name its files: -f DIR/*.yaml\n"), "{err}");
    }
}
