//! Releases: read all, made once, ended once.

use jiff::Timestamp;
use kube::api::PostParams;

use super::{ApplicationStore, FIELD_MANAGER, StoreError, delete, of_uid, send, statuses::write_status};
use crate::{
    api::{HookResult, Phase, Release, ReleaseAfter, ReleaseOutcome, ReleaseSpec, ReleaseStatus},
    history::{History, ReleaseNumber},
};

/// The name of a release: its application and number.
pub fn release_name(application: &str, number: ReleaseNumber) -> String {
    format!("{application}-{number}")
}

impl ApplicationStore {
    /// Reads the releases of the application, also of an earlier one of the
    /// same name.
    pub async fn load_history(&self) -> Result<History, StoreError> {
        let api = self.api::<Release>();
        let what = || format!("list the releases of {}/{}", self.namespace, self.application);
        let releases = send(what, api.list(&self.by_application())).await?;
        Ok(History::new(releases.items))
    }

    /// Reads one release; none if it is not kept.
    pub async fn load_release(&self, number: ReleaseNumber) -> Result<Option<Release>, StoreError> {
        let name = release_name(&self.application, number);
        let what = || format!("read {}", self.named::<Release>(&name));
        send(what, self.api::<Release>().get_opt(&name)).await
    }

    /// Makes a release: the intent, before any act. Its name is the
    /// compare-and-swap between two controllers; the one who loses gets
    /// [`StoreError::LostRace`] and must read the history again. The same
    /// release made twice, after an answer that was lost, is one.
    pub async fn create_release(&self, spec: ReleaseSpec) -> Result<Release, StoreError> {
        let number = spec.number;
        let name = release_name(&self.application, number);
        let release = Release { metadata: self.metadata(&name), spec, status: None };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let what = || format!("create {}", self.named::<Release>(&name));
        match send(what, self.api::<Release>().create(&parameters, &release)).await {
            Err(error) if error.is_already_exists() => match self.load_release(number).await? {
                Some(found) if found.spec == release.spec => Ok(found),
                _ => Err(StoreError::LostRace(number)),
            },
            other => other,
        }
    }

    /// Says where a release is, and when all of it had been written if it was.
    pub async fn set_phase(
        &self,
        release: &Release,
        phase: Phase,
        applied_at: Option<Timestamp>,
    ) -> Result<Release, StoreError> {
        self.change_release(release, |status| {
            status.phase = Some(phase);
            status.applied_at = applied_at.or(status.applied_at);
        })
        .await
    }

    /// Ends a release. An outcome is written once: where there is one already
    /// this is [`StoreError::Ended`], and where the release was changed since
    /// it was read a conflict.
    pub async fn set_outcome(&self, release: &Release, outcome: ReleaseOutcome) -> Result<Release, StoreError> {
        let known = release.status.as_ref().and_then(|status| status.outcome.as_ref());
        if known.is_some_and(|known| *known != outcome) {
            return Err(StoreError::Ended(release.spec.number));
        }
        self.change_release(release, |status| {
            status.phase = Some(outcome.phase);
            status.outcome = Some(outcome);
        })
        .await
    }

    /// Records which hooks of a release ended.
    pub async fn set_hooks(&self, release: &Release, hooks: Vec<HookResult>) -> Result<Release, StoreError> {
        self.change_release(release, |status| status.hooks = hooks).await
    }

    /// Records what happened to a release after its end.
    pub async fn set_after(&self, release: &Release, after: ReleaseAfter) -> Result<Release, StoreError> {
        self.change_release(release, |status| status.after = Some(after)).await
    }

    /// Deletes a release that retention no longer keeps.
    pub async fn delete_release(&self, release: &Release) -> Result<(), StoreError> {
        let name = release_name(&self.application, release.spec.number);
        delete(&self.api::<Release>(), &self.namespace, &name, of_uid(release.metadata.uid.clone())).await
    }

    async fn change_release(
        &self,
        release: &Release,
        change: impl FnOnce(&mut ReleaseStatus),
    ) -> Result<Release, StoreError> {
        let mut status = release.status.clone().unwrap_or_default();
        change(&mut status);
        write_status(&self.api::<Release>(), release, &status).await
    }
}
