//! `bowline export`: the content of a release as plain manifests.

use std::sync::Arc;

use serde_json::json;

use super::{CommandError, Connection, Output, content::Content, output::DataFormat, point::Point, words};
use crate::{
    manifest::{Manifest, Masker},
    plan::sort_as_written,
    render::yaml_stream,
};

/// Writes the content of a release as plain manifests.
///
/// `kubectl apply` takes what is written, and it means the same when it is
/// read back. It is read from the cluster, with your own rights: no Git is
/// needed. Secrets are left out unless their values are to be shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// The release: its number, its commit, or `HEAD~3` for the third commit
    /// before the newest; the one that is in the cluster if it is not given.
    #[arg(long, value_name = "N")]
    pub release: Option<Point>,
    /// Write Secrets too, with their values.
    #[arg(long)]
    pub show_secrets: bool,
    /// Form of the output: a stream of YAML documents, or a List as JSON.
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DataFormat,
}

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let history = session.known_history(&args.application).await?;
    let point = args.release.as_ref().unwrap_or(&Point::Live);
    let release = point.release(&args.application, &history, program)?;
    let mut content = Content::of(&session, &args.application);
    let manifests = content.read(release).await?;
    if args.show_secrets && content.is_without_secrets() {
        // What was asked for is not what could be written.
        return Err(CommandError::failed(format!("you may not get secrets in namespace {}", session.namespace))
            .hint("the manifests of Secrets are kept in Secrets; without --show-secrets they are left out"));
    }
    let (shown, left_out) = select(&manifests, args.show_secrets);
    output.write(&text(&shown, args.output)?)?;
    match left_out {
        _ if content.is_without_secrets() => content.tell(output)?,
        0 => {}
        count => {
            output.say(&format!("note: {} left out: --show-secrets writes them", words::count(count, "Secret")))?
        }
    }
    let what = format!("the content of release {} ({})", release.spec.number, release.spec.commit.short);
    output.say(&format!("{}: {what}", words::count(shown.len(), "object")))?;
    Ok(0)
}

/// The manifests as they are written first, and how many were left out.
fn select(manifests: &[Arc<Manifest>], show_secrets: bool) -> (Vec<Arc<Manifest>>, usize) {
    let mut shown: Vec<Arc<Manifest>> =
        manifests.iter().filter(|manifest| show_secrets || !manifest.is_secret()).cloned().collect();
    sort_as_written(&mut shown, |manifest| &manifest.id);
    let left_out = manifests.len() - shown.len();
    (shown, left_out)
}

fn text(manifests: &[Arc<Manifest>], format: DataFormat) -> Result<String, CommandError> {
    match format {
        // What is here is to be shown.
        DataFormat::Yaml => Ok(yaml_stream(manifests, true, &Masker::new(Vec::new()))),
        DataFormat::Json => {
            let items: Vec<_> = manifests.iter().map(|manifest| manifest.value.read().into_owned()).collect();
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
            serde_json::to_string_pretty(&list)
                .map(|text| text + "\n")
                .map_err(|error| CommandError::failed(format!("the output cannot be written: {error}")))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    use super::*;
    use crate::{
        manifest::{ManifestDigest, ObjectId, Scope},
        render::{BuiltIn, DirectoryOptions, directory},
        source::working::WorkingTree,
    };

    fn object(value: Value) -> Arc<Manifest> {
        let scope = if value["kind"] == "Namespace" { Scope::Cluster } else { Scope::Namespaced };
        Arc::new(Manifest::from_value(value, Some("team-a"), scope, None).unwrap())
    }

    fn map(name: &str, data: &Value) -> Arc<Manifest> {
        object(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data }))
    }

    fn sample() -> Vec<Arc<Manifest>> {
        vec![
            map(
                "env",
                &json!({ "mode": "0644", "on": "yes", "null": "null", "date": "2026-01-01", "text": "a\n b\n\n" }),
            ),
            object(
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" }, "stringData": { "password": "hunter22" } }),
            ),
            object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team-a" } })),
            object(
                json!({ "apiVersion": "example.com/v1", "kind": "Custom", "metadata": { "name": "one" }, "spec": { "number": 0.1, "large": u64::MAX, "null": null } }),
            ),
        ]
    }

    /// What a render of the written text gives.
    fn read_back(text: &str, name: &str) -> Vec<(ObjectId, ManifestDigest)> {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(name), text).unwrap();
        let tree = WorkingTree::open(root.path()).unwrap();
        let render = directory(&tree, &DirectoryOptions::default(), &BuiltIn).unwrap();
        identities(&render.manifests)
    }

    fn identities(manifests: &[Arc<Manifest>]) -> Vec<(ObjectId, ManifestDigest)> {
        let mut all: Vec<_> = manifests.iter().map(|manifest| (manifest.id.clone(), manifest.digest.clone())).collect();
        all.sort();
        all
    }

    #[rstest]
    #[case(DataFormat::Yaml, "all.yaml")]
    #[case(DataFormat::Json, "all.json")]
    fn what_is_written_means_the_same_when_it_is_read_back(#[case] format: DataFormat, #[case] name: &str) {
        let (shown, left_out) = select(&sample(), true);
        assert_eq!((read_back(&text(&shown, format).unwrap(), name), left_out), (identities(&sample()), 0));
    }

    #[test]
    fn what_others_need_comes_first_and_secrets_only_if_they_are_to_be_shown() {
        let kinds = |show_secrets| -> (Vec<String>, usize) {
            let (shown, left_out) = select(&sample(), show_secrets);
            (shown.iter().map(|manifest| manifest.id.kind.clone()).collect(), left_out)
        };
        assert_eq!(kinds(false), (vec!["Namespace".into(), "ConfigMap".into(), "Custom".into()], 1));
        assert_eq!(kinds(true).0, ["Namespace", "Secret", "ConfigMap", "Custom"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(values in prop::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..6)) {
            let manifests = vec![map("any", &json!(values))];
            prop_assert_eq!(read_back(&text(&manifests, DataFormat::Yaml).unwrap(), "all.yaml"), identities(&manifests));
        }
    }
}
