//! Reading what the cluster remembers of an application, and looking at what
//! the watches say.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Actor, StepError};
use crate::{
    api::{Phase, Release, RequestPhase, RequestStatus, RollbackRequest, SyncRequest},
    cluster::{Identity, OwnerKey, index::FingerprintPolicy},
    controller::{
        decide::{Ask, Live, Request, Resolution, Stage},
        dependencies::dependencies,
        settings::{Occasion, membership, policy, settings},
        watched::watched,
    },
    health::{HealthStatus, OwnChecks},
    history::{bundles::KnownChunks, inventory::Changes},
    manifest::{Manifest, ObjectId},
    plan::Membership,
};

impl Actor {
    pub(super) fn membership(&self) -> Membership {
        membership(&self.shared.installation, self.known.owner.namespace(), self.known.owner.name())
    }

    /// The ServiceAccount that the application's objects are applied as.
    pub(super) fn identity(&self) -> Identity {
        let account = &self.known.application.spec.destination.service_account_name;
        Identity::service_account(self.known.owner.namespace(), account.clone())
    }

    /// Reads releases and inventory, and what was pinned.
    pub(super) async fn load(&mut self) -> Result<(), StepError> {
        self.known.history = self.store.load_history().await?;
        self.known.stored = self.store.load_inventory().await?;
        if !self.known.stored.missing.is_empty() {
            warn!(buckets = ?self.known.stored.missing, "parts of the inventory were deleted: nothing is pruned by what they named");
        }
        // What was done for the release that still runs is not forgotten.
        let running = self.known.history.running().map(|release| release.spec.number);
        match &mut self.known.attempt {
            Some(attempt) if Some(attempt.release) == running => attempt.stage = Stage::Unplanned,
            attempt => *attempt = None,
        }
        self.known.underway = None;
        // What is stored is looked at again.
        self.known.chunks = KnownChunks::default();
        self.known.loaded = true;
        self.known.content_unseen = true;
        if let Some(at) = self.known.history.current().and_then(broke_at) {
            // Another process may have seen it.
            self.brake().note(self.known.owner.as_str(), at);
        }
        if self.known.again.due.is_none() {
            self.put_off_another_try(Timestamp::now());
        }
        info!(
            releases = self.known.history.releases().len(),
            objects = self.known.stored.objects.len(),
            chain = ?self.known.history.tip(),
            "remembered"
        );
        Ok(())
    }

    /// Looks at the application, the requests and the live objects. False if
    /// the application is gone.
    pub(super) fn look(&mut self, now: Timestamp) -> bool {
        let owner = self.known.owner.clone();
        let Some(application) = self.shared.own.application(&owner) else { return false };
        let known = self.known.application.metadata.uid.as_ref();
        if known.is_some() && known != application.metadata.uid.as_ref() {
            // Another one took its name: nothing that is known is of it.
            info!("another Application of this name took its place");
            return false;
        }
        let first = self.known.application.metadata.uid.is_none();
        let changed = self.known.application.metadata.generation != application.metadata.generation;
        if first {
            let status = application.status.as_ref();
            self.known.pin = status.and_then(|status| status.pin.clone());
            self.known.published = status.cloned();
        }
        self.known.application = application;
        if first || changed {
            self.settings_changed(first);
        }
        self.known.suspensions = self.shared.own.suspensions(&owner);
        self.read_requests();
        self.look_at_objects(now);
        self.look_at_dependencies();
        true
    }

    fn look_at_dependencies(&mut self) {
        let head = self.known.found.as_ref().map(|found| found.commit.id.as_str());
        let namespace = self.known.owner.namespace();
        let find = |name: &str| self.shared.own.application(&OwnerKey::new(namespace, name));
        self.known.dependencies = dependencies(&self.known.application, head, find);
    }

    /// Whether the watch tells of a release, or of its end, that this process
    /// did not make. Two replicas never lead at once, but what one has sent may
    /// arrive after the other began to lead.
    pub(super) fn is_overtaken(&self) -> bool {
        let has_ended = |release: &Release| release.status.as_ref().is_some_and(|status| status.outcome.is_some());
        let newest = self.known.history.current().map_or(0, |release| release.spec.number);
        let running = self.known.history.running().map(|release| release.spec.number);
        let seen = self.shared.own.releases(&self.known.owner);
        let degraded = |release: &Release| {
            let after = release.status.as_ref().and_then(|status| status.after.as_ref());
            after.is_some_and(|after| after.degraded_at.is_some())
        };
        seen.iter().any(|release| {
            let number = release.spec.number;
            let known = self.known.history.get(number);
            let is_news = known.is_some_and(|known| degraded(release) && !degraded(known));
            number > newest || is_news || (Some(number) == running && has_ended(release))
        })
    }

    fn settings_changed(&mut self, first: bool) {
        let application = self.known.application.clone();
        let expiry =
            SignedDuration::try_from(self.shared.options.request_expiry).unwrap_or(SignedDuration::from_mins(10));
        // Releases may be too old by now, or by the new settings.
        self.known.forget_due = application.spec.rollback.history_age.map(|_| Timestamp::UNIX_EPOCH);
        self.known.settings = settings(&application, self.shared.options.observe_only, expiry);
        let policy = policy(&application, &self.membership(), &Occasion::default());
        let checks = OwnChecks::of(&application.spec.health.checks);
        if let Some(problem) = checks.problem().filter(|_| checks != self.known.checks) {
            warn!(problem, "the checks of health cannot be used");
            self.event("ChecksRefused", problem, true);
        }
        self.known.checks = checks.clone();
        self.shared.index.set_policy(&self.known.owner, FingerprintPolicy::new(&policy, checks));
        // A rule may have settled what was contested.
        self.known.contests.clear();
        self.known.explained.clear();
        self.watch_later = true;
        let interval = application.spec.source.interval.get();
        if self.known.found.as_ref().is_some_and(|found| !self.is_verified(found)) {
            // What was found by other rules may not be deployed by these.
            self.forget_head();
        }
        let (path, tell) = (&application.spec.source.path, self.known.tell.clone());
        self.shared.poller.subscribe(&self.known.owner, self.asked(), path, interval, tell);
        if !first {
            self.known.needs_render = true;
        }
    }

    /// Watches the kinds of the objects that the application has, and those of
    /// some content.
    pub(super) async fn watch_kinds(&self, manifests: &[Arc<Manifest>]) {
        let owned = self.known.stored.objects.iter().map(|(id, owned)| (id, &owned.gvk));
        let objects = owned.chain(manifests.iter().map(|manifest| (&manifest.id, &manifest.gvk)));
        let served = &self.shared.options.watch_namespaces;
        let watched = watched(self.shared.cluster.discovery(), served, objects).await;
        self.shared.index.ensure_all(&self.known.owner, watched);
    }

    fn look_at_objects(&mut self, now: Timestamp) {
        let mut summary = self.shared.index.summary(&self.known.owner, &self.known.stored.objects);
        self.known.found_by_deep_check.retain(|id, _| self.known.stored.objects.contains_key(id));
        summary.drifted.extend(self.known.found_by_deep_check.keys().filter(|id| !summary.gone.contains(*id)).cloned());
        self.known.contests.retain(|_, contest| !contest.is_over(now));
        let left_alone = |id: &crate::manifest::ObjectId| {
            self.known.contests.get(id).is_some_and(|contest| contest.left_alone_until(now).is_some())
        };
        let drifted = summary.drifted.iter().filter(|id| !left_alone(id)).cloned().collect();
        let gone = summary.gone.iter().filter(|id| !left_alone(id)).cloned().collect();
        // What was deleted and waits for its finalizers is no part of a release
        // any more: it is shown as a problem, and nobody waits for it.
        let deleted = |id: &ObjectId| {
            self.known.stored.objects.get(id).is_some_and(|owned| owned.done && owned.manifest.is_none())
        };
        let unhealthy = summary.unhealthy.iter().filter(|(id, _)| !deleted(id));
        let unhealthy = unhealthy.map(|(id, health)| (id.clone(), health.clone())).collect();
        let deleting = summary.deleting.clone();
        let hooks = self.hook_progress();
        let live = Live { settled: summary.in_sync, drifted, gone, unhealthy, deleting, hooks };
        if (&live.drifted, &live.gone) != (&self.known.live.drifted, &self.known.live.gone) {
            self.known.again.hurry(now);
        }
        self.known.live = live;
        let degraded =
            summary.in_sync && summary.worst() == HealthStatus::Degraded && self.known.history.running().is_none();
        let before = self.known.degraded_since;
        self.known.degraded_since = if degraded { before.or(Some(now)) } else { None };
        self.known.summary = summary;
        self.count_time(now);
        let applications = self.shared.own.count();
        let mut brake = self.brake();
        brake.runs(self.known.owner.as_str(), self.known.attempt.is_some(), now);
        if self.is_about_to_break(now) {
            brake.note(self.known.owner.as_str(), now);
        }
        // What degrades counts from the beginning, so that of many at once none
        // goes back because it was the first.
        match (before, self.known.degraded_since) {
            (None, Some(_)) => brake.note(self.known.owner.as_str(), now),
            (Some(_), None) if self.known.history.running().is_none() => brake.release(self.known.owner.as_str()),
            _ => {}
        }
        let says = brake.look(self.known.owner.as_str(), applications, now);
        drop(brake);
        self.known.brake = says;
    }

    /// Whether the running release has little time left and objects of its own
    /// that are not healthy: of many that are to fail in the same moment none
    /// is to go back because it was the first.
    fn is_about_to_break(&self, now: Timestamp) -> bool {
        let Some(attempt) = &self.known.attempt else { return false };
        let own = |id: &ObjectId| attempt.changed.contains(id) && !attempt.unhealthy_before.contains(id);
        let late = attempt.elapsed(now).saturating_mul(5) >= self.known.settings.timeout.saturating_mul(4);
        attempt.touched && late && self.known.live.unhealthy.iter().any(|(id, _)| own(id))
    }

    /// When the running release has little time left.
    pub(super) fn little_time_left_at(&self, now: Timestamp) -> Option<Timestamp> {
        let attempt = self.known.attempt.as_ref().filter(|attempt| attempt.counting_since.is_some())?;
        let left = self.known.settings.timeout * 4 / 5 - attempt.elapsed(now);
        left.is_positive().then(|| now + left)
    }

    /// Runs the release's clock only while all watches are in sync, or before
    /// there is anything to watch for; never while it is tried again because
    /// the server could not serve, which is not the release's doing.
    fn count_time(&mut self, now: Timestamp) {
        let settled = self.known.live.settled;
        let Some(attempt) = &mut self.known.attempt else { return };
        let held_up = self.known.server_trouble && matches!(attempt.stage, Stage::Retry { .. });
        let waits = attempt.stage == Stage::Applied || !attempt.gate.is_open();
        let counts = (settled || !waits) && !held_up;
        match (counts, attempt.counting_since) {
            (true, None) => attempt.counting_since = Some(now),
            (false, Some(since)) => {
                attempt.counted += now.duration_since(since).max(SignedDuration::ZERO);
                attempt.counting_since = None;
            }
            _ => {}
        }
    }

    fn read_requests(&mut self) {
        let owner = self.known.owner.clone();
        let by_uid = |uid: Option<&String>| uid.cloned().unwrap_or_default();
        self.known.sync_requests = self
            .shared
            .own
            .sync_requests(&owner)
            .into_iter()
            .map(|request| (by_uid(request.metadata.uid.as_ref()), request))
            .collect();
        self.known.rollback_requests = self
            .shared
            .own
            .rollback_requests(&owner)
            .into_iter()
            .map(|request| (by_uid(request.metadata.uid.as_ref()), request))
            .collect();
        let known =
            |uid: &String| self.known.sync_requests.contains_key(uid) || self.known.rollback_requests.contains_key(uid);
        let answered = self.known.answered.iter().filter(|uid| known(uid)).cloned().collect();
        self.known.answered = answered;
        let known: BTreeSet<String> =
            self.known.sync_requests.keys().chain(self.known.rollback_requests.keys()).cloned().collect();
        self.known.told.retain(|uid| known.contains(uid));
        self.known.resolutions.retain(|uid, _| known.contains(uid));
        self.known.previews.retain(|uid, _| known.contains(uid));
        let syncs = self.known.sync_requests.values().filter_map(|request| self.sync_request(request));
        let told = &self.known.told;
        let rollbacks = self.known.rollback_requests.values().filter_map(|request| rollback_request(request, told));
        let mut requests: Vec<Request> =
            syncs.chain(rollbacks).filter(|request| !self.known.answered.contains(&request.uid)).collect();
        requests.sort_by(|one, other| (one.created_at, &one.uid).cmp(&(other.created_at, &other.uid)));
        self.known.requests = requests;
    }

    fn sync_request(&self, request: &SyncRequest) -> Option<Request> {
        if request.status.as_ref().is_some_and(|status| status.ended_at.is_some()) {
            return None;
        }
        let uid = request.metadata.uid.clone()?;
        let spec = &request.spec;
        let privileged = spec.accept.is_some() || spec.allow_prune.is_some() || spec.revision.is_some();
        let checked = self.shared.policies.approvals_are_checked() || self.shared.options.trust_unverified_requests;
        let inadmissible = (privileged && !checked && (!spec.dry_run || spec.revision.is_some())).then(|| {
            "accept, allowPrune and revision need the admission policies of Bowline, which check who may: install them (manifests/policies.yaml), \
             or start the controller with --trust-unverified-requests"
                .to_owned()
        });
        let looked = self.known.resolutions.get(&uid).cloned().unwrap_or(Resolution::Pending);
        Some(Request {
            name: format!("SyncRequest {}", request.metadata.name.clone().unwrap_or_default()),
            created_at: request.metadata.creation_timestamp.as_ref()?.0,
            ask: Ask::Sync {
                looked,
                accept: spec.accept.clone(),
                allow_prune: spec.allow_prune.clone(),
                from_release: spec.from_release,
            },
            told: self.known.told.contains(&uid) || is_running(request.status.as_ref()),
            dry_run: spec.dry_run,
            inadmissible,
            uid,
        })
    }

    /// Writes what changes in the inventory.
    pub(super) async fn save_inventory(&mut self, changes: Changes) -> Result<(), StepError> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.store.write_inventory(&mut self.known.stored, changes).await;
        // How much of it was written is not known.
        self.known.loaded &= written.is_ok();
        Ok(written?)
    }

    /// Writes the pin into the Application's status at once.
    pub(super) async fn save_pin(&mut self) -> Result<(), StepError> {
        let mut status = self.known.published.clone().unwrap_or_default();
        status.pin.clone_from(&self.known.pin);
        let leads = || self.shared.leadership.may_write();
        let written = self.shared.store.write_status_while(self.known.application.as_ref(), &status, |_| leads());
        if written.await?.is_none() {
            return Err(StepError::NotLeading);
        }
        // A status that was on its way may go over it: it is said again.
        self.known.published = None;
        if let Some(pin) = &self.known.pin {
            warn!(
                revision = pin.revision,
                commit = pin.commit,
                "a person asked for this revision: it stays until the head changes"
            );
        }
        Ok(())
    }

    /// Looks at the admission policies again where a request stands on them.
    pub(super) async fn look_at_policies(&mut self, now: Timestamp) {
        let stands_on_them = |request: &&Arc<SyncRequest>| {
            (request.spec.accept.is_some() || request.spec.allow_prune.is_some() || request.spec.revision.is_some())
                && request.status.as_ref().is_none_or(|status| status.ended_at.is_none())
        };
        if self.known.sync_requests.values().any(|request| stands_on_them(&request)) {
            self.shared.policies.look_again(&self.shared.store, now).await;
            self.read_requests();
        }
    }
}

/// When a release broke that had changed something, if it did.
fn broke_at(release: &Release) -> Option<Timestamp> {
    let status = release.status.as_ref()?;
    let failed = status.outcome.as_ref().filter(|outcome| outcome.phase == Phase::Failed && outcome.touched_cluster);
    let degraded = status.after.as_ref().and_then(|after| after.degraded_at);
    failed.map(|outcome| outcome.ended_at).or(degraded)
}

/// Whether a request was told that its release is on its way.
fn is_running(status: Option<&RequestStatus>) -> bool {
    status.is_some_and(|status| status.phase == Some(RequestPhase::Running))
}

fn rollback_request(request: &RollbackRequest, told: &BTreeSet<String>) -> Option<Request> {
    if request.status.as_ref().is_some_and(|status| status.ended_at.is_some()) {
        return None;
    }
    let spec = &request.spec;
    let uid = request.metadata.uid.clone()?;
    Some(Request {
        told: told.contains(&uid) || is_running(request.status.as_ref()),
        uid,
        name: format!("RollbackRequest {}", request.metadata.name.clone().unwrap_or_default()),
        created_at: request.metadata.creation_timestamp.as_ref()?.0,
        ask: Ask::Rollback { from: spec.from_release, to: spec.to_release, include: spec.include.clone() },
        dry_run: spec.dry_run,
        inadmissible: None,
    })
}
