//! What is said: one JSON object, documented in `docs/notifications.md`.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::{Cause, CommitRecord, NotifyEvent},
    manifest::Digest,
};

/// Hex digits of an id: as many as never meet by chance.
const ID_DIGITS: usize = 32;

/// Something to say, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Names the occasion: whoever is told twice sees the same id.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event: NotifyEvent,
    /// When it happened.
    pub timestamp: Timestamp,
    /// One line for a person, as chat programs show it.
    pub text: String,
    /// The facts.
    pub data: About,
}

/// The facts of what happened. What does not apply is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Which installation of Bowline says it: two clusters may have an
    /// Application of the same name.
    pub installation: String,
    /// Namespace of the Application.
    pub namespace: String,
    /// Name of the Application.
    pub application: String,
    /// uid of the Application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application_uid: String,
    /// The release that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// Why that release was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The commit whose content it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitRecord>,
    /// The release whose content is there again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
    /// The release whose content was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected_release: Option<u64>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// The object that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What happened and why, in words.
    pub message: String,
    /// What a person can do, or what happens next.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
}

impl Letter {
    /// Says something. `occasion` tells two things of one event apart that
    /// happen to one Application: the number of a release, for example.
    pub fn new(event: NotifyEvent, timestamp: Timestamp, occasion: &[&str], data: About) -> Self {
        let about = [data.installation.as_str(), &data.application_uid, event.as_str()];
        let id = Digest::of_parts(about.iter().chain(occasion)).short(ID_DIGITS);
        let text = format!("{}/{}: {}", data.namespace, data.application, data.message);
        Self { id, event, timestamp, text, data }
    }

    /// The bytes that are sent and signed.
    pub fn body(&self) -> Vec<u8> {
        // Plain fields without maps: it can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(occasion: &[&str]) -> Letter {
        let data = About {
            installation: "cluster".into(),
            namespace: "team-a".into(),
            application: "shop".into(),
            application_uid: "uid".into(),
            release: Some(12),
            message: "release 12 failed: it breaks".into(),
            ..About::default()
        };
        Letter::new(NotifyEvent::Failed, Timestamp::UNIX_EPOCH, occasion, data)
    }

    #[test]
    fn the_same_occasion_has_the_same_id_and_another_one_another() {
        assert_eq!(letter(&["12"]).id, letter(&["12"]).id);
        assert_ne!(letter(&["12"]).id, letter(&["13"]).id);
        assert_ne!(letter(&["1", "2"]).id, letter(&["12"]).id);
    }

    #[test]
    fn the_body_has_what_applies_and_nothing_else() {
        let body = String::from_utf8(letter(&["12"]).body()).unwrap_or_default();
        insta::assert_snapshot!(body.replace(&letter(&["12"]).id, "ID"), @r#"{"id":"ID","type":"Failed","timestamp":"1970-01-01T00:00:00Z","text":"team-a/shop: release 12 failed: it breaks","data":{"installation":"cluster","namespace":"team-a","application":"shop","applicationUid":"uid","release":12,"message":"release 12 failed: it breaks"}}"#);
    }
}
