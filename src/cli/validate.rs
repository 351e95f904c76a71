//! `bowline validate`: everything that is wrong with a directory, offline.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::render::{Input, OpenRevision, write_problem};
use crate::{
    manifest::{Problem, escape_control},
    plan::{Refusal, unobeyable},
    render::Render,
};

/// Names everything that is wrong with a directory or repository, offline.
///
/// Each problem of its manifests with file, line and column.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to validate.
    #[command(flatten)]
    pub input: Input,
    /// Form of the output: lines for people, or one JSON array of problems.
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON array.
    Json,
}

/// Runs the command: problems on `out`, whatever prevents looking on `err`.
/// Gives the exit code: 0 if nothing is wrong, else 1.
///
/// # Errors
/// Writing failed.
pub fn run(args: &Args, open: OpenRevision<'_>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let rendered = match args.input.render(open, false) {
        Ok(rendered) => rendered,
        Err(message) => {
            writeln!(err, "error: {}", escape_control(&message))?;
            return Ok(1);
        }
    };
    let problems = match &rendered {
        Ok(render) => disorder(render),
        Err(failure) => failure.problems.clone(),
    };
    match (args.output, &rendered) {
        (Some(Format::Json), _) => writeln!(out, "{:#}", problems.iter().map(as_json).collect::<Value>())?,
        (None, Ok(render)) if problems.is_empty() => {
            let (objects, files) = (counted(render.manifests.len(), "object"), counted(render.files, "file"));
            writeln!(out, "{}: {objects} in {files}, nothing wrong", args.input.directory.display())?;
        }
        (None, _) => {
            problems.iter().try_for_each(|problem| write_problem("error", problem, out))?;
            writeln!(err, "{} found", counted(problems.len(), "problem"))?;
        }
    }
    out.flush()?;
    Ok(u8::from(!problems.is_empty()))
}

/// What is wrong with waves, dependencies and hooks: it would refuse the plan.
fn disorder(render: &Render) -> Vec<Problem> {
    let manifests = &render.manifests;
    let problem = |refusal: Refusal| {
        let of = manifests.iter().find(|manifest| Some(&manifest.id) == refusal.object.as_ref());
        let origin = of.and_then(|manifest| manifest.origin.as_ref());
        Problem {
            file: origin.map(|origin| origin.file.clone()).unwrap_or_default(),
            position: origin.and_then(|origin| origin.position),
            message: refusal.to_string(),
            hint: refusal.hint,
        }
    };
    unobeyable(manifests).into_iter().map(problem).collect()
}

fn as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.position.map(|position| position.line),
        "column": problem.position.map(|position| position.column),
        "message": problem.message,
        "hint": problem.hint,
    })
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn validate(files: &[(&str, &str)], args: &[&str]) -> (u8, String, String) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            std::fs::write(root.path().join(path), content).unwrap();
        }
        let directory = root.path().to_str().unwrap().to_owned();
        let cli = Cli::parse_from(["validate", &directory].iter().chain(args));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let open = |_: &Path, _: &str| Err("no revisions".to_owned());
        let code = run(&cli.args, &open, &mut out, &mut err).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&directory, "DIR");
        (code, text(out), text(err))
    }

    #[test]
    fn a_directory_without_a_problem_says_so() {
        let files = [("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")];
        assert_eq!(validate(&files, &[]), (0, "DIR: 1 object in 1 file, nothing wrong\n".to_owned(), String::new()));
    }

    #[test]
    fn an_order_that_cannot_be_is_a_problem_too() {
        let depends = |name: &str, on: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: team-a\n  annotations:\n    \
                 config.kubernetes.io/depends-on: /namespaces/team-a/ConfigMap/{on}\n"
            )
        };
        let (a, b) = (depends("a", "b"), depends("b", "a"));
        let (code, out, _) = validate(&[("a.yaml", &a), ("b.yaml", &b)], &[]);
        insta::assert_snapshot!(out, @r"
        error: a.yaml:1:1: ConfigMap team-a/a: depends on itself: ConfigMap team-a/a → ConfigMap team-a/b → ConfigMap team-a/a
          hint: remove one of these dependencies (config.kubernetes.io/depends-on)
        ");
        assert_eq!(code, 1);
    }

    #[test]
    fn every_problem_of_every_file_is_named() {
        let files = [
            ("a.yaml", "kind: ConfigMap\nmetadata:\n  name: A_b\n---\na: 1\na: 2\n---\n[\n"),
            ("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n"),
        ];
        let (code, out, err) = validate(&files, &[]);
        insta::assert_snapshot!(out, @r#"
        error: a.yaml:1:1: apiVersion is missing
        error: a.yaml:3:3: metadata.name "A_b" is not valid
          hint: at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit first and last
        error: a.yaml:6:1: duplicate key "a"
          hint: it is set at 5:1 too; keep one of them
        error: a.yaml:8:1: is not YAML: a list in brackets has no end
        error: b.yaml:3:21: Namespace is not namespaced and cannot have metadata.namespace
          hint: remove metadata.namespace
        "#);
        assert_eq!((code, err.as_str()), (1, "5 problems found\n"));
        let (code, out, _) = validate(&files[1..], &["-o", "json"]);
        let problems: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &problems[0]["file"], &problems[0]["line"]), (1, &json!("b.yaml"), &json!(3)));
    }
}
