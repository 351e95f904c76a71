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

use super::poller::{Asked, CredentialStore, Failure, Found};
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
    /// The directories whose submodules are read.
    pub(super) submodules: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn new(namespace: &str, revision: Option<String>, verify: Option<&Verify>) -> Self {
        Self { revision, demand: verify.map(|verify| (verify.clone(), namespace.to_owned())), submodules: None }
    }

    /// What is asked of a repository.
    pub(super) fn of(namespace: &str, asked: &Asked) -> Self {
        let submodules = asked.submodules.clone();
        Self { submodules, ..Self::new(namespace, asked.revision.clone(), asked.verify.as_ref()) }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use rig::{GitRepo, SshSigner};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::{Credentials, Limits, Mirror, Repositories, RepositoryUrl, UrlPolicy};

    /// A Secret that counts who reads it.
    #[derive(Default)]
    struct Secret(Mutex<(usize, BTreeMap<String, Vec<u8>>)>);

    impl Secret {
        fn hold(&self, signers: &[&SshSigner]) {
            let lines: String = signers.iter().map(|signer| format!("them {}\n", signer.public().unwrap())).collect();
            self.0.lock().unwrap().1 = BTreeMap::from([("signers".to_owned(), lines.into_bytes())]);
        }

        fn reads(&self) -> usize {
            std::mem::take(&mut self.0.lock().unwrap().0)
        }
    }

    impl CredentialStore for Secret {
        async fn secret(&self, _: &str, _: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            Ok(state.1.clone())
        }
    }

    struct World {
        repository: GitRepo,
        mirror: Mirror,
        secret: Arc<Secret>,
        signatures: Signatures<Secret>,
        _cache: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let (repository, cache) = (GitRepo::local("shop").unwrap(), tempfile::tempdir().unwrap());
            let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
            let url = RepositoryUrl::parse(&repository.file_url(), &policy).unwrap();
            let mirror = Repositories::open(cache.path()).unwrap().mirror(&url, &Credentials::none()).unwrap();
            let secret = Arc::<Secret>::default();
            Self { repository, mirror, signatures: Signatures::new(secret.clone()), secret, _cache: cache }
        }

        /// Pushes a commit that is signed, and fetches it.
        fn push(&self, signer: &SshSigner) -> Found {
            let settings = signer.settings();
            let settings = settings.iter().flat_map(|setting| ["-c", setting.as_str()]);
            let commit = ["commit", "--quiet", "--allow-empty", "-S", "-m", "signed"];
            self.repository.git(&settings.chain(commit).collect::<Vec<_>>()).unwrap();
            self.repository.push().unwrap();
            let cancel = CancellationToken::new();
            let fetched = self.mirror.fetch(&"main".parse().unwrap(), &Limits::default(), &cancel).unwrap();
            Found {
                mirror: self.mirror.clone(),
                commit: self.mirror.commit(&fetched.resolved.commit).unwrap(),
                reference: fetched.resolved.reference,
                tag: fetched.resolved.tag,
                signed: None,
                submodules: Default::default(),
                forced_from: None,
                took: Duration::ZERO,
            }
        }

        async fn check(&mut self, found: &Found) -> Result<String, String> {
            self.check_for("main", found).await
        }

        async fn check_for(&mut self, revision: &str, found: &Found) -> Result<String, String> {
            let verify = Verify { object: SignedObject::Commit, secret: "keys".into() };
            let wanted = Wanted::new("team", Some(revision.to_owned()), Some(&verify));
            let checked = self.signatures.check(&wanted, found.clone()).await;
            match checked {
                Ok(found) => Ok(found.signed.unwrap().signer),
                Err(failure) => {
                    assert_eq!((failure.reason.as_str(), failure.forbids_head()), (REFUSED, true));
                    assert_eq!(failure.commit.unwrap().id, found.commit.id);
                    Err(failure.message)
                }
            }
        }
    }

    #[tokio::test]
    async fn the_keys_are_read_for_what_is_new_and_not_for_what_passed_and_stays() {
        let (mut world, ann) = (World::new(), SshSigner::generate("ed25519", None).unwrap());
        world.secret.hold(&[&ann]);
        let head = world.push(&ann);
        for _ in 0..3 {
            world.check(&head).await.unwrap();
        }
        assert_eq!(world.secret.reads(), 1);
        let head = world.push(&ann);
        world.check(&head).await.unwrap();
        assert_eq!(world.secret.reads(), 1);
        // Nobody wants it signed: nobody reads anything.
        let found = world.signatures.check(&Wanted::new("team", None, None), head).await.unwrap();
        assert_eq!((found.signed, world.secret.reads()), (None, 0));
    }

    #[tokio::test]
    async fn what_is_refused_is_looked_at_again_by_the_keys_of_then() {
        let (mut world, ann) = (World::new(), SshSigner::generate("ed25519", None).unwrap());
        let bob = SshSigner::generate("ed25519", None).unwrap();
        world.secret.hold(&[&ann]);
        let head = world.push(&bob);
        let message = world.check(&head).await.unwrap_err();
        assert!(message.contains("none of the keys of Secret team/keys"), "{message}");
        assert_eq!(world.check(&head).await.unwrap_err(), message, "the same is told once only");
        world.secret.hold(&[&ann, &bob]);
        world.check(&head).await.unwrap();
        assert_eq!(world.secret.reads(), 3);
    }

    #[tokio::test]
    async fn a_key_that_was_taken_out_counts_for_nothing_from_the_next_reading_on() {
        let (mut world, ann) = (World::new(), SshSigner::generate("ed25519", None).unwrap());
        let bob = SshSigner::generate("ed25519", None).unwrap();
        world.secret.hold(&[&ann, &bob]);
        let first = world.push(&bob);
        world.check_for("release", &first).await.unwrap();
        world.secret.hold(&[&ann]);
        world.check_for("release", &first).await.unwrap();
        assert_eq!(world.secret.reads(), 1, "what passed and stays asks for nothing");
        let second = world.push(&ann);
        world.check(&second).await.unwrap();
        world.check_for("release", &first).await.unwrap_err();
    }
}
