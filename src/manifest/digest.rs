//! Digests: SHA-256 with the scheme that was hashed under.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The scheme of the digests that this version makes. It changes when the
/// canonical form or a fingerprint's rule changes; a digest of another scheme
/// is computed again and never read as a difference.
const SCHEME: &str = "v1";

/// A SHA-256 digest with its scheme, written `v1:<64 hex digits>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    /// That of this version takes no memory of its own.
    scheme: Cow<'static, str>,
    bytes: [u8; 32],
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a digest of the form v1:<64 hex digits>")]
pub struct NotADigest(String);

/// Parts that are hashed one after the other: see [`Digest::of_parts`].
#[derive(Default)]
pub struct DigestOfParts(Sha256);

impl DigestOfParts {
    /// Hashes another part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// The digest of all parts.
    pub fn digest(self) -> Digest {
        Digest { scheme: Cow::Borrowed(SCHEME), bytes: self.0.finalize().into() }
    }
}

impl Digest {
    /// Hashes bytes under the current scheme.
    pub fn of(bytes: &[u8]) -> Self {
        Self { scheme: Cow::Borrowed(SCHEME), bytes: Sha256::digest(bytes).into() }
    }

    /// Hashes parts under the current scheme, each with its length before it,
    /// so that no two different lists of parts have the same digest.
    pub fn of_parts<I, P>(parts: I) -> Self
    where
        I: IntoIterator<Item = P>,
        P: AsRef<[u8]>,
    {
        let mut hashed = DigestOfParts::default();
        for part in parts {
            hashed.add(part.as_ref());
        }
        hashed.digest()
    }

    /// Whether the digest was made under the scheme of this version.
    pub fn is_current_scheme(&self) -> bool {
        self.scheme == SCHEME
    }

    /// All 64 hex digits, without the scheme.
    pub fn hex(&self) -> String {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
        let mut hex = String::with_capacity(64);
        hex.extend(self.bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
        hex
    }

    /// The first digits, for people and for names: `length` hex digits.
    pub fn short(&self, length: usize) -> String {
        let mut hex = self.hex();
        hex.truncate(length);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        f.write_str(":")?;
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotADigest(text.to_owned());
        let (scheme, hex) = text.split_once(':').ok_or_else(refuse)?;
        if scheme.is_empty() || hex.len() != 64 || !hex.is_ascii() {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).map_err(|_| refuse())?;
        }
        let scheme = if scheme == SCHEME { Cow::Borrowed(SCHEME) } else { Cow::Owned(scheme.to_owned()) };
        Ok(Self { scheme, bytes })
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

macro_rules! digest_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotADigest;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl std::ops::Deref for $name {
            type Target = Digest;

            fn deref(&self) -> &Digest {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[a-z][a-z0-9]{0,7}:[0-9a-f]{64}$",
                    "maxLength": 73
                })
            }
        }
    };
}

digest_of!(
    /// Digest of one manifest in canonical form.
    ManifestDigest
);
digest_of!(
    /// Digest of all manifests of one render: the name of a bundle.
    BundleDigest
);
digest_of!(
    /// Digest of all files and values that a render read.
    InputDigest
);
digest_of!(
    /// Digest of a plan: actions, identities, uids, desired digests and
    /// owned-field changes, never resourceVersions.
    PlanDigest
);
digest_of!(
    /// Digest of a release with its outcome: a link of the chain.
    ReleaseDigest
);
digest_of!(
    /// Hash of the values of the fields that an application owns on a live
    /// object, and of what hand managers own beside it.
    Fingerprint
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_digest_reads_back_as_it_was_written(bytes: Vec<u8>) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
        }

        #[test]
        fn any_text_is_refused_or_read_without_a_panic(text: String) {
            let _ = text.parse::<Digest>();
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Digest::of_parts(["ab", "c"]), Digest::of_parts(["a", "bc"]));
    }

    #[test]
    fn another_scheme_is_kept_and_known_as_such() {
        let foreign: Digest = format!("v0:{}", Digest::of(b"x").hex()).parse().expect("a digest of another scheme");
        assert!(!foreign.is_current_scheme());
    }
}
