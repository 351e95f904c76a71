//! The content of releases, read with the caller's own rights.

use std::sync::Arc;

use super::{CommandError, Output, session::Session};
use crate::{
    api::Release,
    cluster::{
        error::chain,
        store::{BundleReader, Store, StoreError},
    },
    history::bundles::BundleError,
    manifest::Manifest,
};

/// What became of a look at the content of a release.
pub enum Checked {
    /// It is what its digests say.
    Whole,
    /// It may not be read.
    Forbidden(CommandError),
    /// It is not, or it cannot be read.
    Damaged(CommandError),
}

/// The content of releases of one application.
pub struct Content {
    reader: BundleReader,
    namespace: String,
}

impl Content {
    /// Nothing is read yet.
    pub fn of(session: &Session, application: &str) -> Self {
        let store = Store::new(session.client.clone());
        Self { reader: store.of(&session.namespace, application).reader(), namespace: session.namespace.clone() }
    }

    /// The manifests of a release, proved by their digests.
    pub async fn read(&mut self, release: &Release) -> Result<Arc<[Arc<Manifest>]>, CommandError> {
        let read = self.reader.read(&release.spec.bundle).await;
        read.map_err(|error| unreadable(release.spec.number, &self.namespace, &error))
    }

    /// Whether the content of a release is whole.
    pub async fn check(&mut self, release: &Release) -> Checked {
        match self.reader.read(&release.spec.bundle).await {
            Ok(_) => Checked::Whole,
            Err(error) if error.is_forbidden() => {
                Checked::Forbidden(unreadable(release.spec.number, &self.namespace, &error))
            }
            Err(error) => Checked::Damaged(unreadable(release.spec.number, &self.namespace, &error)),
        }
    }

    /// Says once what was left out for want of rights.
    pub fn tell(&self, output: &mut Output) -> Result<(), CommandError> {
        if !self.is_without_secrets() {
            return Ok(());
        }
        output.say(&format!(
            "note: Secrets are left out: you may not get secrets in namespace {}, where their manifests are kept",
            self.namespace
        ))
    }

    /// Whether Secrets were left out for want of rights.
    pub fn is_without_secrets(&self) -> bool {
        self.reader.is_without_secrets()
    }
}

/// Why the content of a release cannot be had, and what can be done about it.
fn unreadable(release: u64, namespace: &str, error: &StoreError) -> CommandError {
    let failed = CommandError::failed(format!("the content of release {release} cannot be read: {}", chain(error)));
    match error {
        error if error.is_forbidden() => failed.hint(format!(
            "an administrator can give you this right: a Role in namespace {namespace} with the verb get on bundles.bowline.dev and bundlechunks.bowline.dev (and on secrets, for the manifests of Secrets)"
        )),
        StoreError::Bundle(BundleError::Missing(_)) => {
            failed.hint("nothing is made of content that is not whole; a sync of the same commit stores it again")
        }
        StoreError::Bundle(BundleError::Corrupt(chunk) | BundleError::Decompress { name: chunk, .. }) => failed.hint(
            format!("nothing is made of content that is not whole; delete {chunk}, and a sync of the same commit stores it again"),
        ),
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str) -> StoreError {
        let what = "read Bundle team-a/shop-1".to_owned();
        StoreError::Refused { what, code, reason: reason.into(), message: "bundles is forbidden".into() }
    }

    #[test]
    fn what_is_missing_to_read_content_is_said() {
        insta::assert_snapshot!(unreadable(3, "team-a", &refused(403, "Forbidden")), @r"
        error: the content of release 3 cannot be read: cannot read Bundle team-a/shop-1: bundles is forbidden
        hint: an administrator can give you this right: a Role in namespace team-a with the verb get on bundles.bowline.dev and bundlechunks.bowline.dev (and on secrets, for the manifests of Secrets)
        ");
        insta::assert_snapshot!(unreadable(3, "team-a", &BundleError::Missing("shop-0f".into()).into()), @r"
        error: the content of release 3 cannot be read: chunk shop-0f of the bundle is missing
        hint: nothing is made of content that is not whole; a sync of the same commit stores it again
        ");
        insta::assert_snapshot!(unreadable(3, "team-a", &BundleError::Corrupt("shop-0f".into()).into()), @r"
        error: the content of release 3 cannot be read: chunk shop-0f of the bundle is corrupt: its content does not have the digest that the bundle names
        hint: nothing is made of content that is not whole; delete shop-0f, and a sync of the same commit stores it again
        ");
    }
}
