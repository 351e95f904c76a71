//! Kubernetes events, without a flood: what is said again within a few minutes
//! becomes a count on the event that is there, and that at most once a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{FIELD_MANAGER, StoreError, send};

/// How long the same words add to one event.
const SERIES: Duration = Duration::from_mins(6);
/// How often a count is written at most.
const AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// How many different events are remembered.
const REMEMBERED: usize = 2048;
/// The longest note that the API takes, in bytes.
const LONGEST_NOTE: usize = 1024;
/// The name of the controller in events.
const REPORTER: &str = "bowline.dev/controller";

/// Whether an event is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Things go their way.
    Normal,
    /// Something is not as it should be.
    Warning,
}

/// Writes events about objects.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: String,
    said: Arc<Mutex<Said>>,
}

/// What makes two events the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    kind: EventKind,
    reason: String,
    note: String,
}

#[derive(Debug, Clone)]
struct Remembered {
    name: String,
    count: i32,
    seen: Instant,
    written: Instant,
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    /// It is new.
    Anew,
    /// It was said before, under this name, and this often by now.
    Again(String, i32),
    /// It was said a moment ago.
    Nothing,
}

impl Events {
    /// Makes a writer of events; `instance` tells replicas apart.
    pub fn new(client: Client, instance: impl Into<String>) -> Self {
        Self { client, instance: instance.into(), said: Arc::default() }
    }

    /// Says something of an object: `reason` and `action` in PascalCase, the
    /// note in words, cut at 1 KiB. It must hold no secret.
    pub async fn publish(
        &self,
        object: &ObjectReference,
        kind: EventKind,
        reason: &str,
        action: &str,
        note: &str,
    ) -> Result<(), StoreError> {
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let note = cut(note, LONGEST_NOTE);
        let what = || format!("write an event of {namespace}/{}", object.name.as_deref().unwrap_or_default());
        let key =
            Key { uid: object.uid.clone().unwrap_or_default(), kind, reason: reason.to_owned(), note: note.to_owned() };
        let now = Timestamp::now();
        let say = self.said().again(&key, Instant::now());
        match say {
            Say::Nothing => Ok(()),
            Say::Again(name, count) => {
                let series = EventSeries { count, last_observed_time: MicroTime(now) };
                let patch = Patch::Merge(json!({ "series": series }));
                match send(what, api.patch(&name, &PatchParams::default(), &patch)).await {
                    // The server forgets events after an hour; the next one is new.
                    Err(error) if error.is_not_found() => {
                        self.said().forget(&key);
                        Ok(())
                    }
                    other => other.map(|_| ()),
                }
            }
            Say::Anew => {
                let name = format!("{}.{:x}", object.name.as_deref().unwrap_or("bowline"), now.as_nanosecond());
                let event = Event {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        namespace: Some(namespace.clone()),
                        ..ObjectMeta::default()
                    },
                    action: Some(action.to_owned()),
                    event_time: Some(MicroTime(now)),
                    note: Some(note.to_owned()),
                    reason: Some(reason.to_owned()),
                    regarding: Some(object.clone()),
                    reporting_controller: Some(REPORTER.to_owned()),
                    reporting_instance: Some(cut(&self.instance, 128).to_owned()),
                    type_: Some(match kind {
                        EventKind::Normal => "Normal".to_owned(),
                        EventKind::Warning => "Warning".to_owned(),
                    }),
                    ..Event::default()
                };
                let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
                send(what, api.create(&parameters, &event)).await?;
                self.said().remember(key, name, Instant::now());
                Ok(())
            }
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was said within the last minutes.
#[derive(Default)]
struct Said(HashMap<Key, Remembered>);

impl Said {
    /// What to do with an event, which is counted by this.
    fn again(&mut self, key: &Key, now: Instant) -> Say {
        self.0.retain(|_, event| now.duration_since(event.seen) < SERIES);
        let Some(event) = self.0.get_mut(key) else { return Say::Anew };
        event.count = event.count.saturating_add(1);
        event.seen = now;
        if now.duration_since(event.written) < AT_MOST_EVERY {
            return Say::Nothing;
        }
        event.written = now;
        Say::Again(event.name.clone(), event.count)
    }

    /// Remembers an event that was written; where there are too many, the one
    /// that was not seen for longest is forgotten.
    fn remember(&mut self, key: Key, name: String, now: Instant) {
        if self.0.len() >= REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, event)| event.seen).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.0.remove(&key));
        }
        self.0.insert(key, Remembered { name, count: 1, seen: now, written: now });
    }

    fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_is_counted_and_written_once_a_minute() {
        let (mut said, begin) = (Said::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(said.again(&key("a"), at(0)), Say::Anew);
        said.remember(key("a"), "event-1".into(), at(0));
        let written: Vec<(u64, Say)> = (1..=180)
            .map(|second| (second, said.again(&key("a"), at(second))))
            .filter(|(_, say)| *say != Say::Nothing)
            .collect();
        let again = |count| Say::Again("event-1".into(), count);
        assert_eq!(written, [(60, again(61)), (120, again(121)), (180, again(181))]);
        assert_eq!(said.again(&key("b"), at(181)), Say::Anew, "other words are another event");
        assert_eq!(said.again(&key("a"), at(180 + 360)), Say::Anew, "after six quiet minutes it is news again");
    }

    #[test]
    fn a_flood_of_different_events_is_not_remembered_without_end() {
        let (mut said, begin) = (Said::default(), Instant::now());
        for number in 0..3_000_u64 {
            said.remember(key(&number.to_string()), format!("event-{number}"), begin + Duration::from_millis(number));
        }
        assert_eq!(said.0.len(), REMEMBERED);
        assert!(said.0.contains_key(&key("2999")) && !said.0.contains_key(&key("0")));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
    }

    fn key(note: &str) -> Key {
        Key { uid: "uid".into(), kind: EventKind::Normal, reason: "Synced".into(), note: note.to_owned() }
    }
}
