//! A plan as a person reads it: what changes, field by field, what is left
//! alone and why, and a sum.

use unicode_width::UnicodeWidthStr as _;

use super::{CommandError, style, words};
use crate::{
    api::{ActionView, FieldChangeView, PlanView},
    plan::Verb,
};

/// Columns after which what stands behind an object or a field begins at the
/// latest.
const WIDEST: usize = 64;
/// How much of a value is shown.
const LONGEST_VALUE: usize = 72;

/// The actions of a plan and their sum.
pub fn plan_text(plan: &PlanView) -> String {
    let mut text = String::new();
    let column = column(plan);
    let mut stage = None;
    for action in &plan.actions {
        if stage != Some(action.stage) {
            let waits = plan.stages.get(action.stage as usize).map(String::as_str).filter(|waits| !waits.is_empty());
            let opening = match (stage, waits) {
                (None, None) => None,
                (None, Some(waits)) => Some(format!("when {waits}:")),
                (Some(_), None) => Some("then, when that is there:".to_owned()),
                (Some(_), Some(waits)) => Some(format!("then, when {waits}:")),
            };
            if let Some(opening) = opening {
                text.push_str(&format!("  {}\n", style::dim(&words::short_line(&opening, 160))));
            }
            stage = Some(action.stage);
        }
        text.push_str(&action_text(action, column));
    }
    if plan.omitted > 0 {
        text.push_str(&format!("  … and {} more: the plan is too large to be shown whole\n", plan.omitted));
    }
    for refusal in &plan.refusals {
        let (what, hint) = split_hint(refusal);
        text.push_str(&format!("  {} {}\n", style::bad("!"), words::line(what)));
        if let Some(hint) = hint {
            text.push_str(&format!("      hint: {}\n", words::line(hint)));
        }
    }
    for note in &plan.notes {
        text.push_str(&format!("  note: {}\n", words::line(note)));
    }
    text + &format!("  {}\n", sum(plan))
}

/// A refusal and its hint, which a plan joins as `… (hint: …)`.
fn split_hint(refusal: &str) -> (&str, Option<&str>) {
    match refusal.split_once(" (hint: ") {
        Some((what, hint)) => (what, Some(hint.strip_suffix(')').unwrap_or(hint))),
        None => (refusal, None),
    }
}

/// Why a plan cannot be carried out, as an error: the reasons, and what can be
/// done about each.
pub fn refused(plan: &PlanView) -> Option<CommandError> {
    let split: Vec<(&str, Option<&str>)> = plan.refusals.iter().map(|refusal| split_hint(refusal)).collect();
    let (what, _) = split.first()?;
    let error = match split.len() {
        1 => format!("it would be refused: {what}"),
        _ => {
            let all: Vec<String> = split.iter().map(|(what, _)| format!("- {what}")).collect();
            format!("it would be refused:\n{}", all.join("\n"))
        }
    };
    let mut hints: Vec<&str> = split.iter().filter_map(|(_, hint)| *hint).collect();
    hints.dedup();
    Some(hints.into_iter().fold(CommandError::failed(error), CommandError::hint))
}

/// The sign of an action.
pub fn sign(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "+",
        Verb::Update | Verb::Adopt => "~",
        Verb::Replace => "±",
        Verb::Delete => "-",
        Verb::Leave => " ",
        Verb::Refuse => "!",
    }
}

/// Whether a plan would change something.
pub fn changes_anything(plan: &PlanView) -> bool {
    let writes = |action: &ActionView| action.verb.writes();
    plan.omitted > 0 || plan.actions.iter().any(writes)
}

fn action_text(action: &ActionView, column: usize) -> String {
    let paint = style::of_verb(action.verb);
    let object = words::line(&action.id().to_string());
    let mut text = format!("  {} {}", paint(sign(action.verb)), style::bold(&object));
    // A change says itself what it is; everything else needs its reason.
    let reason = words::short_line(&action.reason, 160);
    if !reason.is_empty() && (action.verb != Verb::Update || action.changes.is_empty()) {
        text.push_str(&format!("{}{reason}", pad(object.width() + 4, column)));
    }
    text.push('\n');
    if matches!(action.verb, Verb::Update | Verb::Adopt) {
        for change in &action.changes {
            let path = words::line(&change.path);
            text.push_str(&format!("      {path}{}{}\n", pad(path.width() + 6, column), change_text(change)));
        }
    }
    text
}

/// At least two spaces, up to the column.
fn pad(width: usize, column: usize) -> String {
    " ".repeat(column.saturating_sub(width).max(2))
}

fn column(plan: &PlanView) -> usize {
    let widths = plan.actions.iter().flat_map(|action| {
        let object = words::line(&action.id().to_string()).width() + 4;
        let shown = if matches!(action.verb, Verb::Update | Verb::Adopt) { action.changes.as_slice() } else { &[] };
        shown.iter().map(|change| words::line(&change.path).width() + 6).chain([object])
    });
    widths.filter(|width| *width <= WIDEST).max().unwrap_or(0) + 3
}

/// `2.0.0 → 1.9.4`.
fn change_text(change: &FieldChangeView) -> String {
    if let (Some(before), Some(after)) = (&change.before, &change.after)
        && let (Some(before), Some(after)) = (block(before), block(after))
    {
        return lines_changed(&before, &after);
    }
    let before = change.before.as_deref().map_or("(unset)".to_owned(), value);
    let after = change.after.as_deref().map_or("(unset)".to_owned(), value);
    format!("{before} → {after}")
}

/// A value as it is written by hand: text without quotes where nobody could
/// take it for anything else.
fn value(json: &str) -> String {
    let shown = match serde_json::from_str::<serde_json::Value>(json) {
        Ok(serde_json::Value::String(text)) if is_plain(&text) => text,
        _ => json.to_owned(),
    };
    words::short_line(&shown, LONGEST_VALUE)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.contains(['"', '\n', '\t'])
        && !text.starts_with(['{', '[', '('])
        && serde_json::from_str::<serde_json::Value>(text).is_err()
}

/// A text of several lines.
pub(super) fn block(json: &str) -> Option<String> {
    serde_json::from_str::<String>(json).ok().filter(|text| text.trim_end().contains('\n'))
}

fn lines_changed(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let (mut added, mut removed) = (0, 0);
    for change in diff.iter_all_changes() {
        match change.tag() {
            similar::ChangeTag::Insert => added += 1,
            similar::ChangeTag::Delete => removed += 1,
            similar::ChangeTag::Equal => {}
        }
    }
    format!("{} added, {} removed", words::count(added, "line"), removed)
}

/// `2 changed, 1 deleted, 39 unchanged; nothing else is touched`.
pub fn sum(plan: &PlanView) -> String {
    let number = |verb: Verb| plan.actions.iter().filter(|action| action.verb == verb).count();
    let mut parts: Vec<String> = [
        (number(Verb::Create), "created"),
        (number(Verb::Update), "changed"),
        (number(Verb::Adopt), "adopted"),
        (number(Verb::Replace), "deleted and made anew"),
        (number(Verb::Delete), "deleted"),
        (number(Verb::Leave), "left alone"),
        (plan.unchanged as usize, "unchanged"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{number} {what}"))
    .collect();
    let refused = number(Verb::Refuse).max(plan.refusals.len());
    if refused > 0 {
        parts.push(format!("{refused} refused"));
        return format!("{}; nothing is done while anything is refused", parts.join(", "));
    }
    match (changes_anything(plan), parts.is_empty()) {
        (true, _) => format!("{}; nothing else is touched", parts.join(", ")),
        (false, true) => "nothing changes".to_owned(),
        (false, false) => format!("nothing changes: {}", parts.join(", ")),
    }
}

/// A plan as unified text, for `diff`: a part for each object, the fields in
/// it, texts of several lines line by line.
pub fn diff_text(plan: &PlanView) -> String {
    actions_text(&plan.actions, "live", "planned")
}

/// What leads from one state to another as unified text, with the states' names.
pub fn actions_text(actions: &[ActionView], from: &str, to: &str) -> String {
    let mut text = String::new();
    for action in actions {
        if matches!(action.verb, Verb::Leave | Verb::Refuse) {
            continue;
        }
        let object = words::line(&action.id().to_string());
        let (before, after) = match action.verb {
            Verb::Create => ("/dev/null", to),
            Verb::Delete => (from, "/dev/null"),
            _ => (from, to),
        };
        let named = |side: &str| if side == "/dev/null" { side.to_owned() } else { format!("{object} ({side})") };
        text.push_str(&style::bold(&format!("--- {}\n+++ {}", named(before), named(after))));
        text.push('\n');
        if action.changes.is_empty() && !action.reason.is_empty() {
            text.push_str(&format!("{}\n", style::accent(&format!("@@ {} @@", words::line(&action.reason)))));
        }
        for change in &action.changes {
            text.push_str(&format!("{}\n", style::accent(&format!("@@ {} @@", words::line(&change.path)))));
            text.push_str(&hunk(change));
        }
    }
    text
}

fn hunk(change: &FieldChangeView) -> String {
    let (before, after) = (change.before.as_deref().map(pretty), change.after.as_deref().map(pretty));
    let diff =
        similar::TextDiff::from_lines(before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
    let mut text = String::new();
    for (index, group) in diff.grouped_ops(3).iter().enumerate() {
        if index > 0 {
            text.push_str(" …\n");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let shown = crate::manifest::escape_control(change.value().trim_end_matches('\n')).into_owned();
            text.push_str(&match change.tag() {
                similar::ChangeTag::Insert => style::good(&format!("+{shown}")),
                similar::ChangeTag::Delete => style::bad(&format!("-{shown}")),
                similar::ChangeTag::Equal => format!(" {shown}"),
            });
            text.push('\n');
        }
    }
    text
}

/// Several lines for what is easier read so; always ended by a line break, so
/// that a missing one at the end makes no difference.
fn pretty(json: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(json);
    let text = match parsed {
        Ok(serde_json::Value::String(text)) if text.contains('\n') || is_plain(&text) => text,
        Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| json.to_owned())
        }
        _ => json.to_owned(),
    };
    text.trim_end_matches('\n').to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::testing::{action, changed, plain, plan},
        *,
    };

    fn rollback() -> PlanView {
        plan(
            vec![
                action(Verb::Update, "Deployment", "worker", "").with(vec![changed(
                    "spec.template.spec.containers[worker].image",
                    Some("\"queue:2.0.0\""),
                    Some("\"queue:1.9.4\""),
                )]),
                action(Verb::Update, "ConfigMap", "worker-env", "").with(vec![
                    changed("data.CLIENT", Some("\"v2\""), Some("\"v1\"")),
                    changed("data.BATCH", Some("\"10\""), None),
                ]),
                action(Verb::Delete, "Job", "migrate-31", "created by release 31"),
                action(Verb::Leave, "Job", "migrate-30", "finished; not run again (--include jobs)"),
            ],
            39,
        )
    }

    #[test]
    fn a_plan_lines_up_fields_and_reasons() {
        insta::assert_snapshot!(plain(&plan_text(&rollback())), @r#"
          ~ Deployment team-a/worker
              spec.template.spec.containers[worker].image   queue:2.0.0 → queue:1.9.4
          ~ ConfigMap team-a/worker-env
              data.CLIENT                                   v2 → v1
              data.BATCH                                    "10" → (unset)
          - Job team-a/migrate-31                           created by release 31
            Job team-a/migrate-30                           finished; not run again (--include jobs)
          2 changed, 1 deleted, 1 left alone, 39 unchanged; nothing else is touched
        "#);
    }

    #[test]
    fn a_plan_that_changes_nothing_says_so() {
        assert_eq!(plain(&plan_text(&plan(vec![], 3))), "  nothing changes: 3 unchanged\n");
        assert_eq!(sum(&plan(vec![], 0)), "nothing changes");
    }

    #[test]
    fn refusals_and_stages_are_told() {
        let mut plan = plan(
            vec![
                action(Verb::Create, "Namespace", "n", "is not there yet"),
                action(Verb::Create, "ConfigMap", "a", "is not there yet").stage(1),
                action(Verb::Refuse, "Service", "web", "spec.clusterIP is immutable"),
            ],
            0,
        );
        plan.refusals = vec!["Service team-a/web: spec.clusterIP is immutable".into()];
        plan.notes = vec!["quota is not tried".into()];
        plan.omitted = 7;
        insta::assert_snapshot!(plain(&plan_text(&plan)), @r"
          + Namespace team-a/n   is not there yet
          then, when that is there:
          + ConfigMap team-a/a   is not there yet
          then, when that is there:
          ! Service team-a/web   spec.clusterIP is immutable
          … and 7 more: the plan is too large to be shown whole
          ! Service team-a/web: spec.clusterIP is immutable
          note: quota is not tried
          2 created, 1 refused; nothing is done while anything is refused
        ");
    }

    #[test]
    fn a_difference_is_unified_text_and_long_texts_are_compared_by_line() {
        let before = serde_json::json!("a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n").to_string();
        let after = serde_json::json!("a = 1\nb = 2\nc = 3\nd = 4\ne = 6\nf = 7\n").to_string();
        let plan = plan(
            vec![
                action(Verb::Update, "ConfigMap", "conf", "").with(vec![
                    changed("data[app.conf]", Some(&before), Some(&after)),
                    changed("metadata.labels", None, Some("{\"a\":\"b\"}")),
                ]),
                action(Verb::Delete, "Job", "old", "Git no longer has it"),
            ],
            1,
        );
        insta::assert_snapshot!(plain(&diff_text(&plan)), @r#"
        --- ConfigMap team-a/conf (live)
        +++ ConfigMap team-a/conf (planned)
        @@ data[app.conf] @@
         b = 2
         c = 3
         d = 4
        -e = 5
        +e = 6
        +f = 7
        @@ metadata.labels @@
        +{
        +  "a": "b"
        +}
        --- Job team-a/old (live)
        +++ /dev/null
        @@ Git no longer has it @@
        "#);
        let short = plain(&plan_text(&plan));
        assert!(short.contains("2 lines added, 1 removed"), "{short}");
    }

    #[test]
    fn a_refusal_is_an_error_with_its_hint() {
        let mut plan = plan(vec![], 0);
        assert_eq!(refused(&plan), None);
        plan.refusals = vec!["11 of 15 objects would be deleted (hint: check that they are meant to go)".into()];
        insta::assert_snapshot!(refused(&plan).map(|error| error.to_string()).unwrap_or_default(), @r"
        error: it would be refused: 11 of 15 objects would be deleted
        hint: check that they are meant to go
        ");
        plan.refusals.push("Service team-a/web: spec.clusterIP is immutable".into());
        insta::assert_snapshot!(refused(&plan).map(|error| error.to_string()).unwrap_or_default(), @r"
        error: it would be refused:
          - 11 of 15 objects would be deleted
          - Service team-a/web: spec.clusterIP is immutable
        hint: check that they are meant to go
        ");
    }

    #[rstest]
    #[case("\"queue:2.0\"", "queue:2.0")]
    #[case("\"3\"", "\"3\"")]
    #[case("\"true\"", "\"true\"")]
    #[case("\"\"", "\"\"")]
    #[case("\" a\"", "\" a\"")]
    #[case("3", "3")]
    #[case("not json", "not json")]
    fn text_loses_its_quotes_only_where_nothing_is_lost(#[case] json: &str, #[case] shown: &str) {
        assert_eq!(value(json), shown);
    }
}
