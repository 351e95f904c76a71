//! Who signed a commit or a tag, and whether that signer is trusted.
//!
//! ```text
//! raw object ──signed──> payload + signature ─┐
//! data of a Secret ─────> TrustedKeys ────────┴─ ssh | openpgp ──> Signer | why not
//! ```
//!
//! It reads what is in a mirror and asks nobody: no key server, no program. It
//! never decides what follows from a refusal. The words of a refusal name the
//! object, the key that signed and the Secret, so that a person knows what to
//! do. The format of signatures in Git objects is that of gitformat-signature(5).

mod certificate;
mod keys;
mod openpgp;
mod policy;
mod signed;
mod ssh;
mod verify;

pub use keys::{KeysRefused, TrustedKeys};
pub use verify::SignedObject;

/// Why a signature does not count. A signer is said by kind, fingerprint and
/// name, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// It cannot be read, or is of a kind that is not read.
    Unreadable(String),
    /// The key is none of those that are trusted.
    Stranger(String),
    /// The key is trusted, and something about it or the signature is refused.
    Refused { signer: String, because: String },
    /// The key is trusted and did not sign this content.
    Altered(String),
}
