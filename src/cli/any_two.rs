//! `bowline diff --from … --to …`: what differs between two releases, or
//! between one and what is live.

use serde_json::{Value, json};

use super::{
    CommandError, Output,
    content::Content,
    follow::plan_of_sync,
    output::DataFormat,
    plan_text::actions_text,
    point::{Point, Resolved, unreleased},
    request::sync_spec,
    session::Session,
    words,
};
use crate::{
    api::{ActionView, Cause, FieldChangeView, PlanView, Release, SyncRequestSpec},
    history::{Comparison, History, ObjectDifference, Side, compare},
    manifest::Masker,
    plan::Verb,
};

/// Shows what differs, and gives the exit code.
pub async fn run(
    session: &Session,
    application: &str,
    from: &Point,
    to: &Point,
    format: Option<DataFormat>,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let history = session.known_history(application).await?;
    let (from, to) = (from.resolve(application, &history)?, to.resolve(application, &history)?);
    let difference = match (from, to) {
        (Resolved::Release(from), Resolved::Release(to)) => {
            let mut content = Content::of(session, application);
            let (before, after) = (content.read(from).await?, content.read(to).await?);
            content.tell(output)?;
            let salt: [u8; 16] = rand::random();
            let comparison = compare(&before, &after);
            let without_secrets = content.is_without_secrets();
            let difference = of_releases(&comparison, &Masker::new(salt));
            let unclear = without_secrets && from.spec.bundle != to.spec.bundle;
            Difference { without_secrets, unclear, ..difference }
        }
        (Resolved::Live, Resolved::Live) => {
            return Err(CommandError::usage("both sides are live").hint("name a release on one side: --from 12"));
        }
        (Resolved::Live, side) => of_plan(&plan(session, application, side, output).await?, false),
        (side, Resolved::Live) => of_plan(&plan(session, application, side, output).await?, true),
        (Resolved::Revision(text), _) | (_, Resolved::Revision(text)) => {
            return Err(unreleased(text, application, session.program)
                .hint("what was never released can be compared with what is live: --to live"));
        }
    };
    let between = between(&history, from, to);
    match format {
        Some(format) => output.write_data(format, &as_data(application, session, from, to, &difference, &between))?,
        None => {
            output.write(&actions_text(&difference.actions, &from.words(), &to.words()))?;
            output.write(&moved_text(&difference.moved))?;
            for line in commits_text(&between, from, to) {
                output.say(&line)?;
            }
            for note in &difference.notes {
                output.say(&format!("note: {note}"))?;
            }
            output.say(&sum(&difference))?;
        }
    }
    Ok(match (difference.actions.is_empty(), difference.unclear) {
        (false, _) => 1,
        (true, true) => 2,
        (true, false) => 0,
    })
}

/// What the controller would change to bring some content.
async fn plan(
    session: &Session,
    application: &str,
    side: Resolved<'_>,
    output: &mut Output,
) -> Result<PlanView, CommandError> {
    session.application(application).await?;
    let spec = match side {
        Resolved::Release(release) => {
            SyncRequestSpec { from_release: Some(release.spec.number), ..sync_spec(application) }
        }
        Resolved::Revision(text) => SyncRequestSpec { revision: Some(text.to_owned()), ..sync_spec(application) },
        Resolved::Live => sync_spec(application),
    };
    plan_of_sync(session, spec, output).await
}

/// What differs, as it is shown.
#[derive(Debug, Default)]
struct Difference {
    actions: Vec<ActionView>,
    /// Objects that are read from another file: object, before, after.
    moved: Vec<(String, String, String)>,
    unchanged: usize,
    without_secrets: bool,
    /// Whether something differs that cannot be shown.
    unclear: bool,
    /// What must be known to read it right.
    notes: Vec<String>,
}

fn of_releases(comparison: &Comparison, masker: &Masker) -> Difference {
    let differing = |object: &&ObjectDifference| object.side != Side::Both || !object.changes.is_empty();
    let actions = comparison.objects.iter().filter(differing).map(|object| action(object, masker)).collect();
    let moved = |object: &ObjectDifference| {
        let (before, after) = object.moved.clone()?;
        Some((object.id.to_string(), before, after))
    };
    let moved = comparison.objects.iter().filter_map(moved).collect();
    Difference { actions, moved, unchanged: comparison.unchanged, ..Difference::default() }
}

fn action(object: &ObjectDifference, masker: &Masker) -> ActionView {
    let id = &object.id;
    let masked = |pointer: &str, value: &Option<Value>| {
        value.as_ref().map(|value| masker.field(&id.group_kind(), pointer, value).to_string())
    };
    ActionView {
        verb: match object.side {
            Side::Added => Verb::Create,
            Side::Removed => Verb::Delete,
            Side::Both => Verb::Update,
        },
        group: id.group.clone(),
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        reason: String::new(),
        changes: object
            .changes
            .iter()
            .map(|change| FieldChangeView {
                path: change.path.clone(),
                before: masked(&change.pointer, &change.before),
                after: masked(&change.pointer, &change.after),
            })
            .collect(),
        stage: 0,
    }
}

/// A plan leads from what is live to some content; turned around, it says how
/// what is live differs from that content. What the plan would leave alone, or
/// what it may not do, is a difference all the same, and said.
fn of_plan(plan: &PlanView, turned: bool) -> Difference {
    let mut difference = Difference { unchanged: plan.unchanged as usize, ..Difference::default() };
    for action in &plan.actions {
        match action.verb {
            // The notes of the plan tell of it.
            Verb::Leave => {}
            _ if turned => difference.actions.push(turn(action.clone())),
            _ => difference.actions.push(action.clone()),
        }
    }
    for action in difference.actions.iter_mut().filter(|action| action.verb == Verb::Refuse) {
        action.verb = Verb::Update;
    }
    let refusals = plan.refusals.iter().map(|refusal| format!("it could not be brought so: {}", words::line(refusal)));
    difference.notes.extend(plan.notes.iter().map(|note| words::line(note)).chain(refusals));
    if plan.omitted > 0 {
        let omitted = format!("{} more objects differ: the whole is too large to be shown", plan.omitted);
        difference.notes.push(omitted);
    }
    difference.unclear = !plan.refusals.is_empty() || plan.omitted > 0;
    difference
}

fn turn(mut action: ActionView) -> ActionView {
    if action.verb != Verb::Refuse {
        // Other reasons are of the plan, and not of the difference.
        action.reason = String::new();
    }
    action.verb = match action.verb {
        Verb::Create => Verb::Delete,
        Verb::Delete => Verb::Create,
        Verb::Refuse => Verb::Refuse,
        _ => Verb::Update,
    };
    for change in &mut action.changes {
        std::mem::swap(&mut change.before, &mut change.after);
    }
    action
}

/// The releases that lie between two sides, with the later one, the oldest first.
fn between<'a>(history: &'a History, from: Resolved<'_>, to: Resolved<'_>) -> Vec<&'a Release> {
    let number = |side: Resolved<'_>| match side {
        Resolved::Release(release) => Some(release.spec.number),
        Resolved::Live => history.applied().map(|release| release.spec.number),
        Resolved::Revision(_) => None,
    };
    let (Some(from), Some(to)) = (number(from), number(to)) else { return Vec::new() };
    let range = from.min(to) + 1..=from.max(to);
    history.iter().filter(|release| range.contains(&release.spec.number)).collect()
}

fn commits_text(between: &[&Release], from: Resolved<'_>, to: Resolved<'_>) -> Vec<String> {
    if between.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("between {} and {}:", from.words(), to.words())];
    lines.extend(between.iter().map(|release| {
        let spec = &release.spec;
        let commit = &spec.commit;
        let what = match (spec.cause, spec.rollback_to) {
            (Cause::Rollback | Cause::AutomaticRollback, Some(target)) => {
                format!("{}, back to the content of release {target}", spec.cause)
            }
            _ => format!("{} ({})", words::short_line(&commit.subject, 72), words::short_line(&commit.author, 40)),
        };
        format!("  release {}  {}  {what}", spec.number, commit.short)
    }));
    lines
}

fn moved_text(moved: &[(String, String, String)]) -> String {
    let line = |(object, before, after): &(String, String, String)| {
        format!("moved: {}  {} → {}\n", words::line(object), words::line(before), words::line(after))
    };
    moved.iter().map(line).collect()
}

fn sum(difference: &Difference) -> String {
    let number = |verb: Verb| difference.actions.iter().filter(|action| action.verb == verb).count();
    let parts = [
        (number(Verb::Create), "added"),
        (difference.actions.len() - number(Verb::Create) - number(Verb::Delete), "changed"),
        (number(Verb::Delete), "removed"),
        (difference.moved.len(), "moved to another file"),
        (difference.unchanged, "the same"),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    match (difference.actions.is_empty(), parts.is_empty()) {
        (false, _) => parts.join(", "),
        (true, _) if difference.unclear => "whether something differs cannot be told in full".to_owned(),
        (true, true) => "nothing differs".to_owned(),
        (true, false) => format!("nothing differs: {}", parts.join(", ")),
    }
}

/// The stable form for programs.
fn as_data(
    application: &str,
    session: &Session,
    from: Resolved<'_>,
    to: Resolved<'_>,
    difference: &Difference,
    between: &[&Release],
) -> Value {
    let side = |side: Resolved<'_>| match side {
        Resolved::Live => json!({ "live": true }),
        Resolved::Revision(text) => json!({ "revision": text }),
        Resolved::Release(release) => json!({
            "release": release.spec.number, "commit": release.spec.commit.id, "bundle": release.spec.bundle,
        }),
    };
    let object = |action: &ActionView| {
        json!({
            "group": action.group, "kind": action.kind, "namespace": action.namespace, "name": action.name,
            "change": match action.verb {
                Verb::Create => "Added",
                Verb::Delete => "Removed",
                _ => "Changed",
            },
            "fields": action.changes,
        })
    };
    let moved =
        |(object, before, after): &(String, String, String)| json!({ "object": object, "from": before, "to": after });
    let commit = |release: &&Release| json!({ "release": release.spec.number, "cause": release.spec.cause, "commit": release.spec.commit });
    json!({
        "application": application,
        "namespace": session.namespace,
        "from": side(from),
        "to": side(to),
        "objects": difference.actions.iter().map(object).collect::<Vec<_>>(),
        "moved": difference.moved.iter().map(moved).collect::<Vec<_>>(),
        "unchanged": difference.unchanged,
        "withoutSecrets": difference.without_secrets,
        "notes": difference.notes,
        "between": between.iter().map(commit).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::testing::{Releases, changed, plain, plan},
        *,
    };
    use crate::{
        api::Phase,
        manifest::{Manifest, Origin, Scope},
    };

    fn object(kind: &str, name: &str, file: &str, data: &Value) -> Arc<Manifest> {
        let value = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "data": data });
        let origin = Some(Origin::new(file, None));
        Arc::new(Manifest::from_value(value, Some("team-a"), Scope::Namespaced, origin).unwrap())
    }

    fn difference() -> Difference {
        let before = [
            object("ConfigMap", "env", "a.yaml", &json!({ "LEVEL": "info", "MODE": "x" })),
            object("ConfigMap", "old", "a.yaml", &json!({ "x": "1" })),
            object("Secret", "login", "a.yaml", &json!({ "password": "aHVudGVyMg==" })),
            object("ConfigMap", "same", "a.yaml", &json!({})),
        ];
        let after = [
            object("ConfigMap", "env", "b.yaml", &json!({ "LEVEL": "debug", "MODE": "x" })),
            object("Secret", "login", "a.yaml", &json!({ "password": "aHVudGVyMw==" })),
            object("ConfigMap", "same", "a.yaml", &json!({})),
        ];
        of_releases(&compare(&before, &after), &Masker::new(*b"salt"))
    }

    #[test]
    fn two_releases_are_compared_object_by_object_and_secrets_stay_secret() {
        let difference = difference();
        let text = actions_text(&difference.actions, "release 12", "release 15") + &moved_text(&difference.moved);
        insta::assert_snapshot!(plain(&(text + &sum(&difference))), @r#"
        --- ConfigMap team-a/env (release 12)
        +++ ConfigMap team-a/env (release 15)
        @@ data.LEVEL @@
        -info
        +debug
        --- ConfigMap team-a/old (release 12)
        +++ /dev/null
        @@ apiVersion @@
        -v1
        @@ data @@
        -{
        -  "x": "1"
        -}
        @@ kind @@
        -ConfigMap
        @@ metadata @@
        -{
        -  "name": "old",
        -  "namespace": "team-a"
        -}
        --- Secret team-a/login (release 12)
        +++ Secret team-a/login (release 15)
        @@ data.password @@
        -*** (7 bytes, 4707)
        +*** (7 bytes, 1137)
        moved: ConfigMap team-a/env  a.yaml → b.yaml
        2 changed, 1 removed, 1 moved to another file, 1 the same
        "#);
    }

    #[test]
    fn the_releases_between_are_told_with_their_commits() {
        let releases = Releases::of("shop")
            .release(400, |_| {})
            .ended(Phase::Healthy, 3, "")
            .release(300, |_| {})
            .ended(Phase::Healthy, 3, "")
            .release(200, |spec| {
                spec.cause = Cause::Rollback;
                spec.rollback_to = Some(1);
            })
            .ended(Phase::Healthy, 3, "");
        let history = History::new(releases.from(1));
        let side = |number| Resolved::Release(history.get(number).unwrap());
        let told = |from, to| commits_text(&between(&history, from, to), from, to).join("\n");
        insta::assert_snapshot!(told(side(1), Resolved::Live), @r"
        between release 1 and live:
          release 2  0000002  Change 2 (grace)
          release 3  0000003  Rollback, back to the content of release 1
        ");
        assert_eq!(told(side(2), side(2)), "");
        assert!(told(side(3), side(1)).starts_with("between release 3 and release 1:"));
    }

    #[test]
    fn what_cannot_be_shown_is_not_told_as_no_difference() {
        let mut plan = plan(vec![], 7);
        plan.refusals = vec!["Service team-a/web: spec.clusterIP is immutable".into()];
        let difference = of_plan(&plan, false);
        assert!(difference.unclear);
        assert_eq!(sum(&difference), "whether something differs cannot be told in full");
        assert_eq!(difference.notes, ["it could not be brought so: Service team-a/web: spec.clusterIP is immutable"]);
    }

    #[test]
    fn a_plan_turned_around_says_how_what_is_live_differs() {
        use super::super::testing::action;
        let mut plan = plan(
            vec![
                action(Verb::Create, "ConfigMap", "gone", "is not there"),
                action(Verb::Update, "ConfigMap", "env", "").with(vec![changed(
                    "data.A",
                    Some("\"live\""),
                    Some("\"git\""),
                )]),
                action(Verb::Delete, "ConfigMap", "extra", "not in the content"),
                action(Verb::Leave, "Job", "migrate", "finished"),
                action(Verb::Refuse, "Service", "web", "spec.clusterIP is immutable"),
            ],
            7,
        );
        plan.notes = vec!["Job team-a/migrate is left: finished".into()];
        let difference = of_plan(&plan, true);
        assert_eq!((difference.notes.as_slice(), difference.unclear), (plan.notes.as_slice(), false));
        insta::assert_snapshot!(plain(&(actions_text(&difference.actions, "release 3", "live") + &sum(&difference))), @r#"
        --- ConfigMap team-a/gone (release 3)
        +++ /dev/null
        --- ConfigMap team-a/env (release 3)
        +++ ConfigMap team-a/env (live)
        @@ data.A @@
        -git
        +live
        --- /dev/null
        +++ ConfigMap team-a/extra (live)
        --- Service team-a/web (release 3)
        +++ Service team-a/web (live)
        @@ spec.clusterIP is immutable @@
        1 added, 2 changed, 1 removed, 7 the same
        "#);
    }
}
