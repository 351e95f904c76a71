//! An Application as its file has it, for commands that ask no cluster.

use std::path::{Path, PathBuf};

use crate::{
    api::{Application, GROUP, RepositorySpec, ValuesReference},
    manifest::yaml::{Limits, read_documents},
    render::RepositoryAccess,
};

/// Reads the one Application of a file.
///
/// # Errors
/// The file cannot be read, or holds none, several, or one with a wrong field.
pub(super) fn read(file: &Path) -> Result<Application, String> {
    let name = file.display().to_string();
    let content = std::fs::read(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let (documents, problems) = read_documents(&name, &content, &Limits::default());
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let is_application = |value: &serde_json::Value| {
        let text = |field: &str| value.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        text("kind") == "Application" && text("apiVersion").split('/').next() == Some(GROUP)
    };
    let mut found: Vec<_> = documents.into_iter().filter(|document| is_application(&document.value)).collect();
    match (found.pop(), found.len()) {
        (Some(document), 0) => serde_json::from_value(document.value)
            .map_err(|error| format!("{name}:{}: the Application is not one: {error}", document.position.line)),
        (None, _) => Err(format!("{name} holds no Application of {GROUP}")),
        (Some(_), others) => Err(format!("{name} holds {} Applications: give a file with one", others + 1)),
    }
}

/// The namespace of objects that name none, if the file says it.
pub(super) fn namespace(application: &Application) -> Option<String> {
    application.spec.destination.namespace.clone().or_else(|| application.metadata.namespace.clone())
}

/// How chart repositories are spoken to, as far as the file says it: Secrets
/// are in the cluster.
pub(super) fn repositories(application: &Application) -> Vec<RepositoryAccess> {
    let all = application.spec.render.helm.iter().flat_map(|helm| &helm.repositories);
    let access = |repository: &RepositorySpec| RepositoryAccess {
        url: repository.url.clone(),
        plain_http: repository.plain_http,
        ..RepositoryAccess::default()
    };
    all.map(access).collect()
}

/// Whether files stand in for the values that only the cluster has.
///
/// # Errors
/// They do not; names those that are missing.
pub(super) fn values_are_given(application: &Application, files: &[PathBuf]) -> Result<(), String> {
    let Some(helm) = &application.spec.render.helm else { return Ok(()) };
    let needed: Vec<String> = helm
        .values_from
        .iter()
        .filter(|reference| !reference.optional)
        .map(|ValuesReference { kind, name, key, .. }| format!("{kind} {name}, key {key}"))
        .collect();
    if needed.is_empty() || !files.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the Application takes values from the cluster ({}): give files in their place with --values",
        needed.join("; ")
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SHOP: &str = "apiVersion: bowline.dev/v1alpha1\nkind: Application\nmetadata: {name: shop, namespace: team}\nspec:\n  source: {repoURL: https://git.example/shop}\n";

    #[rstest]
    #[case::one(SHOP, Ok("shop"))]
    #[case::among_others(&format!("kind: Namespace\napiVersion: v1\n---\n{SHOP}"), Ok("shop"))]
    #[case::none("kind: Application\napiVersion: argoproj.io/v1alpha1\n", Err("holds no Application of bowline.dev"))]
    #[case::two(&format!("{SHOP}---\n{SHOP}"), Err("holds 2 Applications: give a file with one"))]
    #[case::wrong(&SHOP.replace("{repoURL: https://git.example/shop}", "7"), Err("the Application is not one: "))]
    #[case::no_yaml("a: b: c", Err("app.yaml"))]
    fn the_one_application_of_a_file_is_read(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.yaml");
        std::fs::write(&file, text).unwrap();
        match (read(&file), expected) {
            (Ok(application), Ok(name)) => {
                assert_eq!(application.metadata.name.as_deref(), Some(name));
                assert_eq!(namespace(&application).as_deref(), Some("team"));
            }
            (Err(message), Err(words)) => assert!(message.contains(words), "{message}"),
            (read, expected) => panic!("{read:?} in place of {expected:?}"),
        }
    }
}
