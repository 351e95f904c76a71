//! Telling people: what is to be told is handed to the courier, and what was
//! delivered is remembered on the release. Nothing here is waited for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Actor, StepError};
use crate::{
    api::{CommitRecord, Notify},
    controller::{
        decide::HeadView,
        outside::access_of,
        shared::Shared,
        telling::{Facts, MOST_TOLD, OF_USE, Refused, Telling, tellings},
    },
    notify::{Access, Delivery, KeyRing, Place, Reach, Target},
};

/// How many ids are known before those that are over are forgotten.
const MOST_KNOWN: usize = 1_000;

/// What is known of telling.
#[derive(Debug, Default)]
pub(super) struct Tellings {
    /// What is on its way, or was dealt with by this process, by id.
    known: BTreeSet<String>,
    /// What was delivered and is not remembered on its release yet.
    delivered: Vec<(u64, String)>,
    /// Ends what is on its way when it is to go elsewhere.
    stop: CancellationToken,
    /// Where it goes.
    to: Option<Notify>,
}

impl Tellings {
    /// Nothing is told yet; what will be on its way ends with the task.
    pub(super) fn under(stop: &CancellationToken) -> Self {
        Self { stop: stop.child_token(), ..Self::default() }
    }
}

/// What became of a telling, as its task says.
#[derive(Debug)]
pub(super) struct Told {
    id: String,
    remembered_by: Option<u64>,
    event: &'static str,
    delivery: Delivery,
}

impl Actor {
    /// Sends what is to be told and is not on its way yet.
    pub(super) fn tell(&mut self, now: Timestamp) {
        let notify = &self.known.application.spec.notify;
        if self.known.tellings.to != *notify {
            // Whoever is named now is told what is still worth it.
            self.known.tellings.stop.cancel();
            let (stop, to) = (self.stop.child_token(), notify.clone());
            let delivered = std::mem::take(&mut self.known.tellings.delivered);
            self.known.tellings = Tellings { known: BTreeSet::new(), delivered, stop, to };
        }
        if notify.is_none() && self.shared.options.notify.is_none() {
            return;
        }
        let to_tell = self.to_tell(now);
        if self.known.tellings.known.len() > MOST_KNOWN {
            // What is not to be told any more need not be known either.
            let open: BTreeSet<&String> = to_tell.iter().map(|telling| &telling.letter.id).collect();
            self.known.tellings.known.retain(|id| open.contains(id));
        }
        for telling in to_tell {
            if !self.known.tellings.known.contains(&telling.letter.id) {
                // Without a place it is tried again after the next event.
                let Some(place) = self.shared.courier.place() else { return };
                self.known.tellings.known.insert(telling.letter.id.clone());
                self.send(telling, place, now);
            }
        }
    }

    fn to_tell(&self, now: Timestamp) -> Vec<Telling> {
        let known = &self.known;
        let published = known.published.as_ref();
        let head = known.head_commit.as_ref();
        let hold = published.and_then(|status| status.hold.as_ref());
        let contested = known.contests.iter().filter(|(_, contest)| contest.is_contested(now));
        tellings(&Facts {
            now,
            installation: &self.shared.installation,
            namespace: known.owner.namespace(),
            application: known.owner.name(),
            uid: known.application.metadata.uid.as_deref().unwrap_or_default(),
            history: &known.history,
            hold: hold.zip(head),
            refused: head.and_then(|commit| self.not_even_tried(commit)),
            contested: contested.map(|(id, contest)| (id.to_string(), contest.words().to_owned())).collect(),
        })
    }

    /// Why what Git asks for makes no release, if so.
    fn not_even_tried<'a>(&'a self, commit: &'a CommitRecord) -> Option<Refused<'a>> {
        let by_itself = match &self.known.head {
            HeadView::Broken { .. } => self.known.head.is_refused(),
            HeadView::Rendered { guards, .. } => !guards.is_empty(),
            HeadView::Unknown => false,
        };
        let status = self.known.published.as_ref().filter(|_| by_itself)?;
        let failed = status.sync == Some(crate::api::SyncStatus::Failed);
        failed.then_some(Refused { commit, message: &status.note, next: &status.next })
    }

    fn send(&self, telling: Telling, place: Place, now: Timestamp) {
        let (shared, owner, stop) = (self.shared.clone(), self.known.owner.clone(), self.known.tellings.stop.clone());
        let (notify, application) = (self.known.application.spec.notify.clone(), self.known.application.clone());
        let told = self.tell_told.clone();
        let work = async move {
            let _place = place;
            let Telling { letter, remembered_by } = telling;
            let event = letter.event.as_str();
            let failed = |why: &str| {
                shared.metrics.notified(event, "failed");
                let message = format!("a notification ({event}) was not delivered: {why}");
                shared.events.tell(&application, "NotificationFailed", &message, true);
            };
            let target = match &notify {
                Some(notify) => notify.url.parse::<Target>().map_err(|error| error.to_string()),
                None => shared.options.notify.as_ref().map(|to| to.target.clone()).ok_or_else(String::new),
            };
            let delivery = match target {
                Err(why) => {
                    failed(&why);
                    Delivery::GivenUp(why)
                }
                Ok(target) => {
                    let reach = if notify.is_some() { &shared.options.reach } else { &Reach::Anywhere };
                    let keys = Keys { shared: &shared, namespace: owner.namespace(), notify: notify.as_ref() };
                    shared.courier.deliver(&letter, &target, reach, &keys, now + OF_USE, failed).await
                }
            };
            let told_of = Told { id: letter.id, remembered_by, event, delivery };
            // Nobody waits for it any more only if the task ended.
            let _ = told.send(told_of).await;
        };
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Takes in what became of a telling.
    pub(super) fn take_told(&mut self, told: Told) {
        let Told { id, remembered_by, event, delivery } = told;
        match delivery {
            Delivery::Delivered => {
                info!(id, event, "somebody was told");
                self.shared.metrics.notified(event, "delivered");
                if let Some(number) = remembered_by {
                    self.known.tellings.delivered.push((number, id));
                }
            }
            Delivery::GivenUp(why) => {
                warn!(id, event, why, "nobody could be told");
                self.shared.metrics.notified(event, "given_up");
            }
        }
    }

    /// Remembers on the releases what was delivered.
    pub(super) async fn remember_told(&mut self) -> Result<(), StepError> {
        while let Some((number, id)) = self.known.tellings.delivered.last().cloned() {
            self.note_after(number, |after| {
                if !after.told.contains(&id) && after.told.len() < MOST_TOLD {
                    after.told.push(id);
                }
            })
            .await?;
            self.known.tellings.delivered.pop();
        }
        Ok(())
    }
}

/// What signs and what is shown: from a Secret of the application's namespace,
/// or the operator's files.
struct Keys<'a> {
    shared: &'a Shared,
    namespace: &'a str,
    notify: Option<&'a Notify>,
}

impl KeyRing for Keys<'_> {
    async fn access(&self) -> Result<Access, String> {
        match (self.notify, &self.shared.options.notify) {
            (Some(notify), _) => match &notify.secret_ref {
                Some(secret) => access_of(self.shared, self.namespace, &secret.name).await,
                None => Ok(Access::default()),
            },
            (None, Some(server)) => server.access().await,
            (None, None) => Ok(Access::default()),
        }
    }
}
