//! Signatures by OpenPGP keys (RFC 4880 and RFC 9580), and the keys that are
//! trusted.

use jiff::Timestamp;
use pgp::{
    composed::{Deserializable as _, DetachedSignature, SignedPublicKey},
    packet::{Signature, SignatureType},
    types::{KeyDetails, VerifyingKey},
};

use super::{
    Problem,
    certificate::{self, Refusal, Role},
};
use crate::source::url::visible;

/// How a block of public keys begins and ends.
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The most characters of a user id that are said.
const USER: usize = 200;

/// The keys that are trusted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PublicKeys {
    keys: Vec<SignedPublicKey>,
}

impl PublicKeys {
    /// Whether a text holds armored public keys.
    pub(super) fn is_meant(text: &str) -> bool {
        text.contains(BEGIN)
    }

    /// Reads armored public keys, one block or several.
    ///
    /// # Errors
    /// In words: a block that cannot be read, or that holds no key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let blocks = text.split(BEGIN).skip(1);
        for (block, number) in blocks.zip(1..) {
            let (body, _) = block.split_once(END).ok_or_else(|| format!("block {number} has no end"))?;
            let block = format!("{BEGIN}{body}{END}\n");
            let wrong = |error: pgp::errors::Error| {
                format!("block {number} is no public key ({})", visible(&error.to_string()))
            };
            let (found, _) = SignedPublicKey::from_string_many(&block).map_err(wrong)?;
            let found = found.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            if found.is_empty() {
                return Err(format!("block {number} holds no public key"));
            }
            keys.extend(found);
        }
        Ok(Self { keys })
    }

    /// Trusts these too.
    pub(super) fn add(&mut self, more: Self) {
        self.keys.extend(more.keys);
    }

    /// Whose signature this is, in words, if it is one of those that are
    /// trusted and nothing speaks against the key now.
    pub(super) fn verify(&self, payload: &[u8], signature: &[u8], now: Timestamp) -> Result<String, Problem> {
        let signature = read(signature)?;
        let found = self.signers(&signature);
        let Some((first, role)) = found.first() else {
            return Err(Problem::Stranger(issuer(&signature)));
        };
        let signer = words(first, role);
        let refused = |because: String| Problem::Refused { signer: signer.clone(), because };
        if signature.typ() != Some(SignatureType::Binary) {
            return Err(refused("the signature is not one of a document".to_owned()));
        }
        certificate::digest(&signature).map_err(|because| refused(format!("the signature is by {because}")))?;
        // A key may be there more than once, older and newer. What was revoked
        // in one of them is revoked.
        let mut verdict = Err(Problem::Altered(signer.clone()));
        for (key, role) in &found {
            if fits(&signature, key, role, payload) {
                match certificate::accepts(key, role, &signature, now) {
                    Ok(()) if verdict.is_err() => verdict = Ok(words(key, role)),
                    Ok(()) => {}
                    Err(Refusal::Revoked(because)) => return Err(refused(because)),
                    Err(Refusal::Other(because)) if verdict.is_err() => verdict = Err(refused(because)),
                    Err(Refusal::Other(_)) => {}
                }
            }
        }
        verdict
    }

    /// The keys that may have made a signature, by what it says of itself.
    fn signers<'a>(&'a self, signature: &Signature) -> Vec<(&'a SignedPublicKey, Role<'a>)> {
        let mut found = Vec::new();
        for key in &self.keys {
            if names(signature, &key.primary_key) {
                found.push((key, Role::Primary));
            }
            let subkeys = key.public_subkeys.iter().filter(|subkey| names(signature, &subkey.key));
            found.extend(subkeys.map(|subkey| (key, Role::Subkey(subkey))));
        }
        found
    }
}

/// Whether a signature names a key as its own.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_key_id().contains(&&id) || signature.issuer_fingerprint().contains(&&fingerprint)
}

fn read(signature: &[u8]) -> Result<Signature, Problem> {
    let unreadable = |reason: String| Problem::Unreadable(reason);
    let wrong =
        |error: pgp::errors::Error| unreadable(format!("it is no OpenPGP signature ({})", visible(&error.to_string())));
    let (found, _) = DetachedSignature::from_armor_many_buf(signature).map_err(wrong)?;
    let mut found = found.take(2).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one.signature),
        (None, _) => Err(unreadable("it is empty, or of a version of OpenPGP that is not read".to_owned())),
        (Some(_), false) => Err(unreadable("it is more than one signature, and one is expected".to_owned())),
    }
}

/// Whether a key made a signature of some content.
fn fits(signature: &Signature, key: &SignedPublicKey, role: &Role<'_>, payload: &[u8]) -> bool {
    fn check(signature: &Signature, key: &impl VerifyingKey, payload: &[u8]) -> bool {
        signature.verify(key, payload).is_ok()
    }
    match role {
        Role::Primary => check(signature, &key.primary_key, payload),
        Role::Subkey(subkey) => check(signature, &subkey.key, payload),
    }
}

/// `OpenPGP 0123…CDEF (Ann <ann@example.com>)`, by the fingerprint that people
/// know a key by, which is that of the primary key.
fn words(key: &SignedPublicKey, role: &Role<'_>) -> String {
    let users = &key.details.users;
    let user = users.iter().find(|user| user.is_primary()).or(users.first());
    let user = user.and_then(|user| user.id.as_str()).unwrap_or("no name");
    let user: String = visible(user).chars().take(USER).collect();
    let subkey = match role {
        Role::Primary => String::new(),
        Role::Subkey(subkey) => format!(", subkey {:X}", subkey.key.fingerprint()),
    };
    format!("OpenPGP {:X}{subkey} ({user})", key.primary_key.fingerprint())
}

/// Who made a signature, by what it says of itself.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|print| format!("OpenPGP {print:X}"));
    let id = signature.issuer_key_id().first().map(|id| format!("OpenPGP {}", id.to_string().to_uppercase()));
    fingerprint.or(id).unwrap_or_else(|| "an OpenPGP key that it does not name".to_owned())
}
