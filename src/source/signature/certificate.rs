//! Whether an OpenPGP key counts: what it says of itself by signatures of its
//! own, of which only those count that are strong and hold.
//!
//! The rules are those of RFC 9580, sections 5.2.3 and 10.1, and of RFC 4880
//! where keys are older. Who else signed a key is of no interest, since the
//! Secret says whom to trust; revokers that a key names are not asked.

use jiff::{SignedDuration, Timestamp};
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType, SubpacketData},
    ser::Serialize as _,
    types::{KeyDetails, PublicParams, Tag},
};

use super::policy;

/// How far the clock of a signer may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(15);

/// Which part of a key signed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    /// The primary key itself.
    Primary,
    /// A subkey of it.
    Subkey(&'a SignedPublicSubKey),
}

/// Why a key does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was revoked; nothing changes that.
    Revoked(String),
    /// Something else.
    Other(String),
}

/// Whether a key, or a subkey of it, may have made a signature, and counts now.
pub(super) fn accepts(
    key: &SignedPublicKey,
    role: &Role<'_>,
    signature: &Signature,
    now: Timestamp,
) -> Result<(), Refusal> {
    let other = Refusal::Other;
    if key.details.revocation_signatures.iter().any(|revocation| revokes_key(revocation, key)) {
        return Err(Refusal::Revoked("the key was revoked".to_owned()));
    }
    strong(key.primary_key.public_params()).map_err(|because| other(format!("of the key: {because}")))?;
    let said = newest_of_itself(key, now)
        .ok_or_else(|| other("the key has no signature of its own by SHA-256 or better that holds".to_owned()))?;
    not_expired("the key", key.primary_key.created_at(), said, now).map_err(other)?;
    let signer_made = match role {
        Role::Primary => {
            may_sign("the key", said).map_err(other)?;
            key.primary_key.created_at()
        }
        Role::Subkey(subkey) => {
            accepts_subkey(key, subkey, now)?;
            subkey.key.created_at()
        }
    };
    signed_in_time(signature, signer_made, now).map_err(other)
}

/// Why a signature's digest does not count.
pub(super) fn digest(signature: &Signature) -> Result<(), String> {
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => Ok(()),
        Some(weak @ (HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160)) => {
            Err(format!("{weak}, which is too weak; sign with SHA-256 or better"))
        }
        _ => Err("a digest that is not known".to_owned()),
    }
}

fn accepts_subkey(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), Refusal> {
    let other = |because: &str| Refusal::Other(because.to_owned());
    let holds = |signature: &&Signature| signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok();
    let of = |wanted: SignatureType| subkey.signatures.iter().filter(move |it| it.typ() == Some(wanted));
    if of(SignatureType::SubkeyRevocation).any(|revocation| holds(&revocation)) {
        return Err(Refusal::Revoked("the subkey was revoked".to_owned()));
    }
    strong(subkey.key.public_params()).map_err(|because| Refusal::Other(format!("of the subkey: {because}")))?;
    let bindings = of(SignatureType::SubkeyBinding).filter(|it| digest(it).is_ok() && in_force(it, now)).filter(holds);
    let binding = bindings
        .max_by_key(|binding| binding.created().map(|at| at.as_secs()))
        .ok_or_else(|| other("the subkey is not bound to the key by SHA-256 or better"))?;
    not_expired("the subkey", subkey.key.created_at(), binding, now).map_err(Refusal::Other)?;
    may_sign("the subkey", binding).map_err(Refusal::Other)?;
    // A key could bind the subkey of another as its own.
    let back = binding.embedded_signature().filter(|back| digest(back).is_ok());
    let agrees = back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok());
    if agrees { Ok(()) } else { Err(other("the subkey did not sign that it belongs to the key")) }
}

/// The newest signature by which a key speaks of itself: over a user id that
/// was not revoked, or over the key alone.
fn newest_of_itself(key: &SignedPublicKey, now: Timestamp) -> Option<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|it| it.typ() == Some(SignatureType::Key) && it.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        let own: Vec<&Signature> = user
            .signatures
            .iter()
            .filter(|it| it.verify_certification(primary, Tag::UserId, &user.id).is_ok())
            .collect();
        let revoked = own.iter().any(|it| it.typ() == Some(SignatureType::CertRevocation));
        own.into_iter().filter(move |_| !revoked)
    });
    let strong = direct.chain(users).filter(|it| digest(it).is_ok() && in_force(it, now));
    strong.max_by_key(|it| it.created().map(|at| at.as_secs()))
}

fn revokes_key(signature: &Signature, key: &SignedPublicKey) -> bool {
    signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(&key.primary_key).is_ok()
}

/// Whether a key of this kind is strong enough.
fn strong(parameters: &PublicParams) -> Result<(), String> {
    match parameters {
        PublicParams::RSA(rsa) => {
            // A number of OpenPGP begins with its length in bits.
            let bytes = rsa.to_bytes().unwrap_or_default();
            let bits = bytes.first_chunk().map_or(0, |bits| usize::from(u16::from_be_bytes(*bits)));
            policy::rsa(bits)
        }
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        _ => Err("keys of its kind are not accepted; use ed25519, ECDSA or RSA".to_owned()),
    }
}

fn not_expired(what: &str, made: pgp::types::Timestamp, said: &Signature, now: Timestamp) -> Result<(), String> {
    let life = said.key_expiration_time().map_or(0, |life| life.as_secs());
    let Some(end) = after(made, life).filter(|_| life > 0) else { return Ok(()) };
    if end <= now { Err(format!("{what} expired on {}", policy::moment(end))) } else { Ok(()) }
}

/// Whether a key may sign: it says so, or says nothing of its use.
fn may_sign(what: &str, said: &Signature) -> Result<(), String> {
    let mut packets = said.config().into_iter().flat_map(|config| config.hashed_subpackets());
    let says = packets.any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)));
    if says && !said.key_flags().sign() { Err(format!("{what} is not meant for signatures")) } else { Ok(()) }
}

/// Whether a signature of a key counts now: it is from the past, and has not
/// ended.
fn in_force(signature: &Signature, now: Timestamp) -> bool {
    let Some(made) = signature.created() else { return false };
    let life = signature.signature_expiration_time().map_or(0, |life| life.as_secs());
    let ended = life > 0 && after(made, life).is_none_or(|end| end <= now);
    after(made, 0).is_some_and(|made| made <= latest(now)) && !ended
}

fn signed_in_time(signature: &Signature, key_made: pgp::types::Timestamp, now: Timestamp) -> Result<(), String> {
    let Some(made) = signature.created() else { return Err("the signature does not say when it was made".to_owned()) };
    if made.as_secs() < key_made.as_secs() {
        return Err("the signature is older than the key".to_owned());
    }
    if after(made, 0).is_none_or(|made| made > latest(now)) {
        return Err("the signature is of a time that is yet to come; check the clocks".to_owned());
    }
    if in_force(signature, now) { Ok(()) } else { Err("the signature has expired".to_owned()) }
}

fn latest(now: Timestamp) -> Timestamp {
    now.checked_add(AHEAD).unwrap_or(now)
}

fn after(at: pgp::types::Timestamp, seconds: u32) -> Option<Timestamp> {
    Timestamp::from_second(i64::from(at.as_secs()) + i64::from(seconds)).ok()
}
