//! From which file each object of a kustomization comes.
//!
//! Kustomize tells it in an annotation if `buildMetadata` asks for it. Where
//! the kustomization does not ask, it is asked in the private copy, and the
//! annotation is taken away again: what is rendered is what the repository says.

use std::{fs, io, path::Path};

use serde_json::{Map, Value};

use super::bases::Bases;
use crate::{
    manifest::yaml::{self, read_documents},
    render::path::relative_to,
};

/// The annotation, as kustomize's documentation of `buildMetadata` names it.
const ORIGIN: &str = "config.kubernetes.io/origin";

/// Asks for origins in the file of a kustomization, where that can be done
/// without changing what it says. Whether it was.
pub(super) fn ask(file: &Path) -> io::Result<bool> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(false) };
    if !can_be_asked(&text) {
        return Ok(false);
    }
    fs::write(file, format!("{}\nbuildMetadata: [originAnnotations]\n", text.trim_end()))?;
    Ok(true)
}

/// Whether a field can be written below the others: one document, a mapping in
/// block form that begins at the first column.
fn can_be_asked(text: &str) -> bool {
    let (documents, problems) = read_documents("kustomization.yaml", text.as_bytes(), &yaml::Limits::default());
    let [document] = documents.as_slice() else { return false };
    let Value::Object(fields) = &document.value else { return false };
    let in_block = document.position.column == 1
        && !text.lines().any(|line| line.starts_with(['{', '[']) || line.trim_end() == "...");
    let one = text.lines().skip(1).filter(|line| line.starts_with("---")).count() == 0;
    problems.is_empty() && in_block && one && !fields.contains_key("buildMetadata")
}

/// The file that an object comes from, from the root of the repository, or in a
/// base of another one. The annotation goes if nobody but us asked for it.
pub(super) fn take(object: &mut Value, asked: bool, directory: &str, bases: &Bases) -> Option<String> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.get(ORIGIN)?.as_str()?.to_owned();
    if asked {
        annotations.remove(ORIGIN);
        if annotations.is_empty()
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
    let (documents, _) = read_documents("origin", text.as_bytes(), &yaml::Limits::default());
    let fields: &Map<String, Value> = documents.first()?.value.as_object()?;
    // An object that a generator made is named where that is configured.
    let path = ["path", "configuredIn"].iter().find_map(|field| fields.get(*field)?.as_str())?;
    relative_to(directory, path).or_else(|| bases.file(directory, path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("resources: [a.yaml]\n", true)]
    #[case("# first\n---\nresources:\n- a.yaml\n", false)]
    #[case("{resources: [a.yaml]}\n", false)]
    #[case("resources: [a.yaml]\nbuildMetadata: [managedByLabel]\n", false)]
    #[case("resources: [a.yaml]\n---\nresources: [b.yaml]\n", false)]
    #[case("", false)]
    fn origins_are_asked_for_where_that_changes_nothing(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(can_be_asked(text), expected);
    }

    #[test]
    fn an_origin_is_read_and_taken_away() {
        let mut object = json!({"metadata": {"name": "a", "annotations": {ORIGIN: "path: ../../base/web.yaml\n"}}});
        assert_eq!(take(&mut object, true, "overlays/prod", &Bases::default()).as_deref(), Some("base/web.yaml"));
        assert_eq!(object, json!({"metadata": {"name": "a"}}));
        let text =
            "configuredIn: kustomization.yaml\nconfiguredBy:\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n";
        let mut object = json!({"metadata": {"annotations": {ORIGIN: text, "b": "c"}}});
        assert_eq!(take(&mut object, false, "app", &Bases::default()).as_deref(), Some("app/kustomization.yaml"));
        assert_eq!(object["metadata"]["annotations"][ORIGIN], text);
    }
}
