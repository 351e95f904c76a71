//! A replica that does not lead keeps its watches in sync, so that it judges
//! at once when its turn comes.
//!
//! Which kinds an application has stands in its inventory. It is read once, and
//! again when a release of the application begins or ends; nothing is written,
//! and Git is not asked.

use std::collections::{BTreeSet, HashMap};

use futures::StreamExt as _;
use tracing::debug;

use super::{
    settings::{Occasion, membership, policy},
    shared::Shared,
    watched::watched,
};
use crate::{
    api::Phase,
    cluster::{OwnerKey, index::FingerprintPolicy, store::StoreError},
    health::OwnChecks,
};

/// How many inventories are read at a time.
const READ_AT_A_TIME: usize = 8;
/// The pause before an inventory that could not be read is read again.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// What the kinds and the reading of an application's objects follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: Option<String>,
    generation: Option<i64>,
    release: Option<(u64, Option<Phase>)>,
}

/// Follows until it is dropped.
pub(super) async fn follow(shared: &Shared) {
    let mut changed = shared.own.changed();
    shared.own.ready().await;
    let mut seen: HashMap<OwnerKey, Seen> = HashMap::new();
    let mut due = shared.own.applications();
    keep_existing(shared);
    loop {
        let news: Vec<(OwnerKey, Seen)> =
            due.iter().filter_map(|owner| Some((owner.clone(), look(shared, owner, seen.get(owner))?))).collect();
        let results: Vec<_> = futures::stream::iter(news)
            .map(|(owner, now)| async move {
                let watching = watch(shared, &owner).await;
                (owner, now, watching)
            })
            .buffer_unordered(READ_AT_A_TIME)
            .collect()
            .await;
        let mut again = BTreeSet::new();
        for (owner, now, watching) in results {
            match watching {
                Ok(()) => {
                    seen.insert(owner, now);
                }
                Err(error) => {
                    debug!(%error, application = owner.as_str(), "its kinds are not known: it is not watched yet");
                    again.insert(owner);
                }
            }
        }
        let gone = due.iter().any(|owner| shared.own.application(owner).is_none());
        if gone {
            seen.retain(|owner, _| shared.own.application(owner).is_some());
            keep_existing(shared);
        }
        due = tokio::select! {
            changed = changed.next() => changed,
            () = tokio::time::sleep(PAUSE), if !again.is_empty() => BTreeSet::new(),
        };
        due.append(&mut again);
    }
}

/// Ends the watches of applications that are gone.
pub(super) fn keep_existing(shared: &Shared) {
    let existing = shared.own.applications();
    shared.index.retain(|owner| existing.contains(owner));
}

/// What is to be taken up of an application, if anything.
fn look(shared: &Shared, owner: &OwnerKey, seen: Option<&Seen>) -> Option<Seen> {
    let application = shared.own.application(owner)?;
    let release = shared.own.releases(owner).pop();
    let now = Seen {
        uid: application.metadata.uid.clone(),
        generation: application.metadata.generation,
        release: release.map(|release| (release.spec.number, release.status.as_ref().and_then(|status| status.phase))),
    };
    (seen != Some(&now)).then_some(now)
}

async fn watch(shared: &Shared, owner: &OwnerKey) -> Result<(), StoreError> {
    let Some(application) = shared.own.application(owner) else { return Ok(()) };
    let stored = shared.store.of(owner.namespace(), owner.name()).load_inventory().await?;
    let membership = membership(&shared.installation, owner.namespace(), owner.name());
    let policy = policy(&application, &membership, &Occasion::default());
    shared.index.set_policy(owner, FingerprintPolicy::new(&policy, OwnChecks::of(&application.spec.health.checks)));
    let objects = stored.objects.iter().map(|(id, owned)| (id, &owned.gvk));
    let watched = watched(shared.cluster.discovery(), &shared.options.watch_namespaces, objects).await;
    shared.index.ensure_all(owner, watched);
    Ok(())
}
