//! Kubernetes events, without a flood: what is said again within a few minutes
//! becomes a count on the event that is there, and that at most once a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
    remembered: Arc<Mutex<HashMap<Key, Remembered>>>,
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
        Self { client, instance: instance.into(), remembered: Arc::default() }
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
        match self.say(&key, Instant::now()) {
            Say::Nothing => Ok(()),
            Say::Again(name, count) => {
                let series = EventSeries { count, last_observed_time: MicroTime(now) };
                let patch = Patch::Merge(json!({ "series": series }));
                match send(what, api.patch(&name, &PatchParams::default(), &patch)).await {
                    // The server forgets events after an hour; the next one is new.
                    Err(error) if error.is_not_found() => {
                        self.forget(&key);
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
                self.remember(key, name, Instant::now());
                Ok(())
            }
        }
    }

    fn say(&self, key: &Key, now: Instant) -> Say {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, event| now.duration_since(event.seen) < SERIES);
        let Some(event) = remembered.get_mut(key) else { return Say::Anew };
        event.count = event.count.saturating_add(1);
        event.seen = now;
        if now.duration_since(event.written) < AT_MOST_EVERY {
            return Say::Nothing;
        }
        event.written = now;
        Say::Again(event.name.clone(), event.count)
    }

    fn remember(&self, key: Key, name: String, now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            let oldest = remembered.iter().min_by_key(|(_, event)| event.seen).map(|(key, _)| key.clone());
            oldest.and_then(|key| remembered.remove(&key));
        }
        remembered.insert(key, Remembered { name, count: 1, seen: now, written: now });
    }

    fn forget(&self, key: &Key) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
