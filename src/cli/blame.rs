//! `bowline blame`: who set each field of a live object, and where it is
//! written.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CommandError, Connection, Output,
    content::Content,
    output::DataFormat,
    session::Session,
    table::{Cell, Table},
    words,
};
use crate::{
    cluster::{
        Identity,
        client::{Call, path},
        discovery::Resolution,
    },
    controller::settings::membership,
    history::{Blamed, Layer, Source, blame, verify},
    manifest::{GroupVersionKind, Masker, ObjectId},
};

/// Says who set each field of a live object, and where it is written.
///
/// For each field the manager that the server recorded; for the application's
/// own the file and line, and the release that changed it last, with its
/// commit and author. The object and the content of releases are read with
/// your own rights. A commit is the one that was released: where several were
/// pushed between two releases, an earlier one of them may have made the
/// change.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// The object: deployment/web, deployment.apps/web or deployment/NS/web.
    #[arg(value_name = "KIND/NAME")]
    pub object: String,
    /// A field and all within it, as in spec.template.spec.containers[web].image;
    /// the whole object if it is not given.
    #[arg(value_name = "FIELD")]
    pub field: Option<String>,
    /// Show the values of Secrets.
    #[arg(long)]
    pub show_secrets: bool,
    /// Form of the output.
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
}

/// How much of a value is shown.
const VALUE: usize = 40;

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let wanted = Wanted::parse(&args.object)?;
    let history = session.known_history(&args.application).await?;
    let releases: Vec<_> = history.reached_cluster().collect();
    let Some(newest) = releases.last() else {
        return Err(CommandError::failed(format!("no release of {} has reached the cluster", args.application)));
    };
    let mut content = Content::of(&session, &args.application);
    let current = content.read(newest).await?;
    let ids = current.iter().map(|manifest| (&manifest.id, &manifest.gvk));
    let (id, gvk) = wanted.find(ids, &args.application, content.is_without_secrets())?;
    let live = live(&session, id, gvk).await?;

    let mut layers = Vec::new();
    // A release that cannot be read ends what is known.
    let mut cut = None;
    for release in releases.iter().rev() {
        let manifests = match content.read(release).await {
            Ok(manifests) => manifests,
            Err(error) => {
                cut = Some(error.error);
                break;
            }
        };
        let manifest = manifests.iter().find(|manifest| manifest.id == *id).cloned();
        layers.push(Layer { release, manifest });
    }
    layers.reverse();
    let whole = cut.is_none() && verify(history.releases(), None).whole_from == Some(1);
    // The name of the field manager depends on the installation only where it is very long.
    let manager = membership("", &session.namespace, &args.application).manager;
    let manager = own_manager(&live, &manager, &format!("{}/{}", session.namespace, args.application));
    let mut blamed = blame(&live, &manager, &layers, whole);
    if let Some(field) = &args.field {
        blamed.retain(|blamed| is_within(&blamed.path, field));
        if blamed.is_empty() {
            return Err(nothing_there(&live, id, field));
        }
    }
    let masker = Masker::new(rand::random::<[u8; 16]>());
    let value = |blamed: &Blamed<'_>| {
        let pointer = blamed.pointer.as_deref().unwrap_or_default();
        let masked = |value: &Value| {
            if args.show_secrets { value.clone() } else { masker.field(&id.group_kind(), pointer, value) }
        };
        blamed.value.map(masked)
    };
    match args.output {
        Some(format) => output.write_data(format, &as_data(&session, args, id, &blamed, value))?,
        None => output.write(&table(&blamed, &manager, value, Timestamp::now()))?,
    }
    if let Some(error) = cut {
        output.say(&format!("note: what is older is not known: {}", words::line(&error)))?;
    }
    Ok(0)
}

/// What a person typed: kind, group if it was given, namespace if it was
/// given, and name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    kind: String,
    group: Option<String>,
    namespace: Option<String>,
    name: String,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, None, *name),
            [kind, namespace, name] => (*kind, Some(*namespace), *name),
            _ => ("", None, ""),
        };
        if kind.is_empty() || name.is_empty() {
            return Err(CommandError::usage(format!("`{}` names no object", words::line(text)))
                .hint("name it as deployment/web, deployment.apps/web or deployment/NAMESPACE/web"));
        }
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, Some(group.to_owned())),
            None => (kind, None),
        };
        Ok(Self {
            kind: kind.to_ascii_lowercase(),
            group,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The object of the application that is meant.
    fn find<'a>(
        &self,
        ids: impl Iterator<Item = (&'a ObjectId, &'a GroupVersionKind)>,
        application: &str,
        without_secrets: bool,
    ) -> Result<(&'a ObjectId, &'a GroupVersionKind), CommandError> {
        let all: Vec<_> = ids.collect();
        let found: Vec<_> = all.iter().copied().filter(|(id, _)| self.means(id)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let named: Vec<String> =
                    all.iter().map(|(id, _)| format!("{}/{}", id.kind.to_ascii_lowercase(), id.name)).collect();
                let typed = format!("{}/{}", self.kind, self.name);
                let near = words::near(&typed, named.iter().map(String::as_str));
                let error = CommandError::failed(format!("{application} has no {} {}", self.kind, self.name));
                if without_secrets && self.is_secret() {
                    return Err(error.hint("you may not get secrets in its namespace, where their manifests are kept"));
                }
                Err(if near.is_empty() { error } else { error.hint(format!("did you mean {}?", near.join(" or "))) })
            }
            several => {
                let ids: Vec<String> = several.iter().map(|(id, _)| id.to_string()).collect();
                Err(CommandError::usage(format!("several objects are called so: {}", ids.join(", ")))
                    .hint("name group or namespace too: deployment.apps/web, deployment/NAMESPACE/web"))
            }
        }
    }

    fn means(&self, id: &ObjectId) -> bool {
        let kind = id.kind.to_ascii_lowercase();
        // The plural of an English kind, as kubectl takes it.
        let plurals = [
            format!("{kind}s"),
            format!("{kind}es"),
            kind.strip_suffix('y').map(|stem| format!("{stem}ies")).unwrap_or_default(),
        ];
        (self.kind == kind || plurals.contains(&self.kind))
            && self.group.as_ref().is_none_or(|group| *group == id.group)
            && self.namespace.as_ref().is_none_or(|namespace| Some(namespace) == id.namespace.as_ref())
            && self.name == id.name
    }

    fn is_secret(&self) -> bool {
        matches!(self.kind.as_str(), "secret" | "secrets")
    }
}

async fn live(session: &Session, id: &ObjectId, gvk: &GroupVersionKind) -> Result<Value, CommandError> {
    let cluster = session.cluster();
    let kind = match cluster.discovery().resolve(gvk).await {
        Resolution::Served(kind) => kind,
        Resolution::Absent => return Err(CommandError::failed(format!("the cluster does not serve {}", id.kind))),
        Resolution::Unknown(why) => {
            return Err(CommandError::failed(format!("{} cannot be looked up: {why}", id.kind)));
        }
    };
    let unreadable = |error: &dyn std::fmt::Display| CommandError::failed(format!("{id} cannot be read: {error}"));
    let path = path::object(&kind.resource, id.namespace.as_deref(), &id.name).map_err(|error| unreadable(&error))?;
    let call = Call::get(path, &Identity::Own).secret(id.group.is_empty() && id.kind == "Secret");
    let answer = cluster.read(call).await.map_err(|error| match error.error.code {
        403 => unreadable(&error).hint(format!(
            "an administrator can give you this right: a role with the verb get on {}",
            match kind.resource.group.as_str() {
                "" => kind.resource.plural.clone(),
                group => format!("{}.{group}", kind.resource.plural),
            }
        )),
        404 => CommandError::failed(format!("{id} is not in the cluster")),
        _ => unreadable(&error),
    })?;
    answer.json().map_err(|error| unreadable(&error))
}

/// The application's manager on the object. A name that is too long is a
/// digest, which only the object tells: it is the only one of Bowline's there.
fn own_manager(live: &Value, likely: &str, application: &str) -> String {
    let annotated = live["metadata"]["annotations"][crate::plan::APPLICATION_ANNOTATION].as_str() == Some(application);
    let managers = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut names = managers.filter_map(|entry| entry["manager"].as_str());
    let own = names.clone().find(|name| *name == likely);
    let digest = names.find(|name| annotated && name.starts_with("bowline/") && !name[8..].contains('/'));
    own.or(digest).unwrap_or(likely).to_owned()
}

/// Whether a path is a field or within it.
fn is_within(path: &str, field: &str) -> bool {
    let field = field.trim_start_matches('.');
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn nothing_there(live: &Value, id: &ObjectId, field: &str) -> CommandError {
    let all: Vec<String> = crate::plan::ownership::managed_values(live)
        .into_iter()
        .flat_map(|managed| managed.values.into_iter().map(|value| value.path))
        .collect();
    let near = words::near(field, all.iter().map(String::as_str));
    let error = CommandError::failed(format!("nobody set {} of {id}", words::line(field)));
    match near.is_empty() {
        true => error.hint("fields that the server filled in by itself have no manager"),
        false => error.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

fn table(blamed: &[Blamed<'_>], own: &str, value: impl Fn(&Blamed<'_>) -> Option<Value>, now: Timestamp) -> String {
    let mut table = Table::new(vec!["FIELD", "VALUE", "MANAGER", "WRITTEN", "CHANGED BY"]);
    for field in blamed {
        let shown = match value(field) {
            None => "(unset)".to_owned(),
            Some(Value::String(text)) => words::short_line(&text, VALUE),
            Some(other) => words::short_line(&other.to_string(), VALUE),
        };
        let manager = if field.manager == own { "bowline".to_owned() } else { words::line(&field.manager) };
        let (written, changed) = match &field.source {
            None => (String::new(), String::new()),
            Some(Source::Unwritten) => ("(added by bowline)".to_owned(), String::new()),
            Some(Source::Release { release, or_earlier, file, line }) => {
                (place(file.as_deref(), *line), changed_by(release, *or_earlier, now))
            }
        };
        let cells: Vec<Cell> =
            vec![words::line(&field.path).into(), shown.into(), manager.into(), written.into(), changed.into()];
        table.row(cells);
    }
    table.render()
}

fn place(file: Option<&str>, line: Option<u32>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{}:{line}", words::line(file)),
        (Some(file), None) => words::line(file),
        (None, _) => "(place unknown)".to_owned(),
    }
}

/// `4f1c2d9 "Scale web to 4" (grace, 3m ago, release 12)`.
fn changed_by(release: &crate::api::Release, or_earlier: bool, now: Timestamp) -> String {
    let spec = &release.spec;
    let commit = &spec.commit;
    let age = words::age(spec.created_at, now);
    let number = format!("release {}{}", spec.number, if or_earlier { " or earlier" } else { "" });
    let author = words::short_line(&commit.author, 40);
    let subject = words::short_line(&commit.subject, 48);
    match spec.rollback_to {
        // What a rollback brings back is old: who brought it back is who is asked.
        Some(target) if spec.requested_by.is_empty() => {
            format!("{} back to release {target} ({}, {age} ago, {number})", commit.short, spec.cause)
        }
        Some(target) => {
            let by = words::short_line(&spec.requested_by, 40);
            format!("{} back to release {target} ({by}, {age} ago, {number})", commit.short)
        }
        None => format!("{} \"{subject}\" ({author}, {age} ago, {number})", commit.short),
    }
}

/// The stable form for programs.
fn as_data(
    session: &Session,
    args: &Args,
    id: &ObjectId,
    blamed: &[Blamed<'_>],
    value: impl Fn(&Blamed<'_>) -> Option<Value>,
) -> Value {
    let source = |source: &Source<'_>| match source {
        Source::Unwritten => json!({ "addedByBowline": true }),
        Source::Release { release, or_earlier, file, line } => json!({
            "release": release.spec.number,
            "orEarlier": or_earlier,
            "commit": release.spec.commit,
            "requestedBy": release.spec.requested_by,
            "file": file,
            "line": line,
        }),
    };
    let field = |blamed: &Blamed<'_>| {
        json!({
            "field": blamed.path,
            "value": value(blamed),
            "manager": blamed.manager,
            "source": blamed.source.as_ref().map(source),
        })
    };
    json!({
        "application": args.application,
        "namespace": session.namespace,
        "object": { "group": id.group, "kind": id.kind, "namespace": id.namespace, "name": id.name },
        "fields": blamed.iter().map(field).collect::<Vec<_>>(),
    })
}
