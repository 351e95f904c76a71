//! Lets a head pass that is signed by whom its Application trusts.
//!
//! The Secret with the keys is read when there is something new to verify, and
//! again at each look while something is refused; a head that passed and stays
//! costs no request. So a key that is taken out of the Secret counts for
//! nothing new from then on, and what runs stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::poller::{CredentialStore, Failure, Found};
use crate::source::{Resolved, SignedObject, TrustedKeys};

/// The reason of a head that is not signed as it must be.
pub(super) const REFUSED: &str = "SignatureRefused";
/// The reason where the keys cannot be read.
const KEYS_UNUSABLE: &str = "KeysUnusable";

/// What must be signed, and by the keys of which Secret of the application's
/// namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verify {
    /// What must be signed.
    pub object: SignedObject,
    /// Name of the Secret.
    pub secret: String,
}

/// Who signed what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was verified.
    pub verify: Verify,
    /// Who signed it, in words.
    pub signer: String,
}

/// A Secret, by namespace and name.
type SecretKey = (String, String);

/// What somebody wants of a repository, and what must be signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    /// Branch, tag, range or commit.
    pub(super) revision: Option<String>,
    /// What must be signed, and the namespace of the Secret.
    demand: Option<(Verify, String)>,
}

impl Wanted {
    pub(super) fn new(namespace: &str, revision: Option<String>, verify: Option<&Verify>) -> Self {
        Self { revision, demand: verify.map(|verify| (verify.clone(), namespace.to_owned())) }
    }

    fn secret(&self) -> Option<SecretKey> {
        self.demand.as_ref().map(|(verify, namespace)| (namespace.clone(), verify.secret.clone()))
    }
}

impl Failure {
    /// Whether a head was found that may not be deployed.
    pub(super) fn forbids_head(&self) -> bool {
        self.commit.is_some()
    }
}

/// A head that passed.
struct Passed {
    resolved: Resolved,
    keys: [u8; 32],
    signed: Signed,
}

/// What is known of signatures, of one repository.
pub(super) struct Signatures<S> {
    secrets: Arc<S>,
    /// The digests of the keys that were read last.
    keys: BTreeMap<SecretKey, [u8; 32]>,
    passed: BTreeMap<Wanted, Passed>,
}

impl<S: CredentialStore> Signatures<S> {
    pub(super) fn new(secrets: Arc<S>) -> Self {
        Self { secrets, keys: BTreeMap::new(), passed: BTreeMap::new() }
    }

    /// Forgets what nobody wants any more.
    pub(super) fn keep(&mut self, wanted: &[Wanted]) {
        self.passed.retain(|passed, _| wanted.contains(passed));
        let demanded: BTreeSet<SecretKey> = wanted.iter().filter_map(Wanted::secret).collect();
        self.keys.retain(|secret, _| demanded.contains(secret));
    }

    /// What was found, with its signer, if it is signed as it must be.
    pub(super) async fn check(&mut self, wanted: &Wanted, found: Found) -> Result<Found, Failure> {
        if let Some((passed, secret)) = self.passed.get(wanted).zip(wanted.secret())
            && passed.resolved == found.resolved()
            && self.keys.get(&secret) == Some(&passed.keys)
        {
            return Ok(Found { signed: Some(passed.signed.clone()), ..found });
        }
        self.check_anew(wanted, found).await
    }

    /// The same by the keys that the Secret has now.
    pub(super) async fn check_anew(&mut self, wanted: &Wanted, found: Found) -> Result<Found, Failure> {
        let Some(((verify, _), secret)) = wanted.demand.clone().zip(wanted.secret()) else { return Ok(found) };
        self.passed.remove(wanted);
        let of_head = |failure: Failure| Failure { commit: Some(Box::new(found.commit.clone())), ..failure };
        let keys = self.read(&secret).await.map_err(of_head)?;
        let digest = keys.digest();
        self.keys.insert(secret, digest);
        let (mirror, resolved) = (found.mirror.clone(), found.resolved());
        let (of, object) = (resolved.clone(), verify.object);
        let work = tokio::task::spawn_blocking(move || mirror.signer(&of, object, &keys, Timestamp::now()));
        let signer = match work.await {
            Ok(Ok(signer)) => signer,
            Ok(Err(error)) => return Err(of_head(Failure::of(&error))),
            Err(error) => {
                let message = format!("the signature could not be verified: {error}");
                return Err(of_head(Failure::new(REFUSED, message)));
            }
        };
        let signed = Signed { verify, signer };
        self.passed.insert(wanted.clone(), Passed { resolved, keys: digest, signed: signed.clone() });
        Ok(Found { signed: Some(signed), ..found })
    }

    async fn read(&self, (namespace, name): &SecretKey) -> Result<TrustedKeys, Failure> {
        let refuse = |message: String| Failure::new(KEYS_UNUSABLE, message);
        let called = format!("Secret {namespace}/{name}");
        let data = self.secrets.secret(namespace, name).await;
        let data = data.map_err(|error| refuse(format!("{called}, of source.verify: {error}")))?;
        TrustedKeys::from_secret(&called, &data).map_err(|error| refuse(error.to_string()))
    }
}
