//! What of a status nobody waits to hear.

use crate::api::{ApplicationStatus, ConditionType, Head, SyncStatus};

/// Whether two statuses of an application say the same but for the commit that
/// the head is at, which comes to the same content.
pub fn differs_by_the_commit_only(before: &ApplicationStatus, after: &ApplicationStatus) -> bool {
    let content = |head: &Option<Head>| head.as_ref().map(|head| (head.bundle.clone(), head.inputs.clone()));
    if content(&before.head) != content(&after.head) || after.sync != Some(SyncStatus::Synced) {
        return false;
    }
    let rest = |status: &ApplicationStatus| {
        let mut status = ApplicationStatus { head: None, ..status.clone() };
        let rendered = status.conditions.iter_mut().find(|it| it.type_ == ConditionType::Rendered.as_str());
        if let Some(rendered) = rendered.filter(|rendered| rendered.status == "True") {
            rendered.message.clear();
        }
        status
    };
    rest(before) == rest(after)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::Digest;

    fn status(commit: &str) -> Value {
        json!({
            "observedGeneration": 1, "sync": "Synced", "health": "Healthy", "note": "",
            "head": {"short": commit, "commit": commit, "subject": "", "author": "", "bundle": Digest::of(b"content").to_string()},
            "conditions": [{
                "type": "Rendered", "status": "True", "reason": "Rendered", "message": format!("commit {commit} was rendered"),
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
        })
    }

    #[rstest]
    #[case::the_commit_alone("/observedGeneration", json!(1), true)]
    #[case::its_subject_too("/head/subject", json!("Words"), true)]
    #[case::another_content("/head/bundle", json!(Digest::of(b"other").to_string()), false)]
    #[case::a_word_about_it("/note", json!("a word"), false)]
    #[case::it_does_not_render("/conditions/0/status", json!("False"), false)]
    #[case::it_is_not_live("/sync", json!("OutOfSync"), false)]
    #[case::another_spec("/observedGeneration", json!(2), false)]
    fn only_a_commit_that_changes_nothing_is_no_news(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        let (before, mut after) = (status("one"), status("two"));
        *after.pointer_mut(pointer).unwrap() = value;
        let [before, after] = [before, after].map(|status| serde_json::from_value(status).unwrap());
        assert_eq!(differs_by_the_commit_only(&before, &after), expected);
    }
}
