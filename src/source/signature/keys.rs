//! The keys whose signatures count, from the data of a Secret.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Problem, openpgp::PublicKeys, ssh::AllowedSigners};

/// The most bytes of keys that are read.
const BYTES: usize = 1 << 20;

/// Why a Secret cannot be used to verify signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be used to verify signatures: {reason}")]
pub struct KeysRefused {
    name: String,
    reason: String,
}

/// The keys whose signatures count.
#[derive(Clone, PartialEq)]
pub struct TrustedKeys {
    name: String,
    digest: [u8; 32],
    ssh: AllowedSigners,
    openpgp: PublicKeys,
}

impl TrustedKeys {
    /// Reads the data of a Secret: each value holds armored OpenPGP public
    /// keys, or lines of SSH's allowed signers; the names of its keys mean
    /// nothing. `name` is how a message calls it, such as `Secret team/keys`.
    ///
    /// # Errors
    /// It holds nothing, or something that is neither and cannot be honoured:
    /// a file that is half understood could trust too much.
    pub fn from_secret(name: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeysRefused> {
        let refused = |reason: String| KeysRefused { name: name.to_owned(), reason };
        if data.is_empty() {
            let hint = "put armored OpenPGP public keys or lines of SSH's allowed signers into it";
            return Err(refused(format!("it holds no keys; {hint}")));
        }
        if data.values().map(Vec::len).sum::<usize>() > BYTES {
            return Err(refused(format!("it holds more than {BYTES} bytes")));
        }
        let mut hasher = Sha256::new();
        let (mut ssh, mut openpgp) = (AllowedSigners::default(), PublicKeys::default());
        for (key, value) in data {
            let text = std::str::from_utf8(value).map_err(|_| {
                refused(format!("`{key}` is not text; `gpg --armor --export` and `ssh-keygen` write keys as text"))
            })?;
            if text.contains("PRIVATE KEY") {
                let hint = "only public keys belong there, so take it out and consider it known";
                return Err(refused(format!("`{key}` holds a private key; {hint}")));
            }
            let wrong = |reason: String| refused(format!("`{key}` {reason}"));
            if PublicKeys::is_meant(text) {
                openpgp.add(PublicKeys::parse(text).map_err(wrong)?);
            } else {
                ssh.add(AllowedSigners::parse(text).map_err(wrong)?);
            }
            hasher.update((value.len() as u64).to_be_bytes());
            hasher.update(value);
        }
        Ok(Self { name: name.to_owned(), digest: hasher.finalize().into(), ssh, openpgp })
    }

    /// How messages call the Secret.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A digest of all keys: while it is the same, so is every verdict, but
    /// for those that time changes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whose signature this is, in words.
    pub(super) fn verify(
        &self,
        payload: &[u8],
        signature: &[u8],
        said: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<String, Problem> {
        if signature.starts_with(b"-----BEGIN SIGNED MESSAGE-----") {
            let reason = "it is by a certificate (X.509), and only signatures by OpenPGP and SSH keys are read";
            return Err(Problem::Unreadable(reason.to_owned()));
        }
        if signature.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            return self.ssh.verify(payload, signature, said, now);
        }
        if signature.starts_with(b"-----BEGIN PGP ") {
            return self.openpgp.verify(payload, signature, now);
        }
        Err(Problem::Unreadable("it is of a kind that is not known".to_owned()))
    }
}

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKeys({})", self.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(&[], "it holds no keys; put armored")]
    #[case::an_empty_file(&[("signers", "# none")], "`signers` holds no key")]
    #[case::one_bad_line(&[("a.pub", "ann KEY\nbob ssh-rsa"), ("b.pub", "ann KEY")], "`a.pub` line 2 has no key")]
    #[case::a_block_without_an_end(
        &[("k.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc")],
        "`k.asc` block 1 has no end"
    )]
    #[case::an_empty_block(
        &[("k.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----")],
        "`k.asc` block 1"
    )]
    #[case::a_private_key(&[("k", "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret")], "`k` holds a private key")]
    #[case::a_private_key_beside(
        &[("k", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----BEGIN PGP PRIVATE KEY BLOCK-----\ns3cret")],
        "`k` holds a private key"
    )]
    fn a_secret_that_is_not_understood_is_refused_by_its_keys(#[case] keys: &[(&str, &str)], #[case] because: &str) {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKRL0sY9WfGJrX9CMWGLIWQ9HpvBgJHJ3jlzIZAjWZN";
        let value = |text: &str| text.replace("KEY", if text.contains("BEGIN") { "KEY" } else { KEY }).into_bytes();
        let data = keys.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect();
        let message = TrustedKeys::from_secret("Secret team/keys", &data).unwrap_err().to_string();
        assert!(message.starts_with("Secret team/keys cannot be used to verify signatures: "), "{message}");
        assert!(message.contains(because), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
