//! Age identities: the keys that files are decrypted by.

use std::{fmt, sync::Arc};

use age::x25519;

use super::refusal::Refusal;
use crate::manifest::Digest;

/// How many identities are kept at most.
const IDENTITIES: usize = 64;

/// How files that SOPS encrypted are decrypted.
#[derive(Clone, Default)]
pub struct Decryption(State);

#[derive(Clone, Default)]
enum State {
    /// Encrypted files are refused.
    #[default]
    Without,
    /// They are refused for this reason: the keys that were asked for cannot be
    /// had. Files that are not encrypted need none.
    Unavailable(String),
    By(Arc<AgeKeys>),
}

impl Decryption {
    /// Files are decrypted by these keys.
    pub fn by(keys: AgeKeys) -> Self {
        Self(State::By(Arc::new(keys)))
    }

    /// Encrypted files are refused for a reason, in words.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self(State::Unavailable(reason.into()))
    }

    /// Names the keys by their recipients, which are public: with other keys it
    /// is tried anew what can be decrypted. `None` without keys.
    pub fn fingerprint(&self) -> Option<Digest> {
        match &self.0 {
            State::By(keys) => Some(keys.fingerprint()),
            State::Without | State::Unavailable(_) => None,
        }
    }

    pub(super) fn keys(&self) -> Result<&AgeKeys, Refusal> {
        match &self.0 {
            State::By(keys) => Ok(keys),
            State::Without => Err(Refusal::NoKeys),
            State::Unavailable(reason) => Err(Refusal::KeysUnavailable(reason.clone())),
        }
    }
}

impl PartialEq for Decryption {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (State::Unavailable(one), State::Unavailable(other)) => one == other,
            (State::Without, State::Without) => true,
            (State::By(one), State::By(other)) => one.recipients() == other.recipients(),
            _ => false,
        }
    }
}

impl Eq for Decryption {}

impl fmt::Debug for Decryption {
    /// The keys are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Without => f.write_str("Decryption(without)"),
            State::Unavailable(reason) => write!(f, "Decryption(unavailable: {reason})"),
            State::By(keys) => write!(f, "Decryption({} by {} keys)", keys.source, keys.identities.len()),
        }
    }
}

/// Age identities, and where they are from. They are wiped from memory when
/// they are dropped.
pub struct AgeKeys {
    /// For people: `Secret shop/age`.
    pub(super) source: String,
    /// With the recipients that they are of.
    identities: Vec<(String, x25519::Identity)>,
}

impl AgeKeys {
    /// Reads identities from files in age's own format: one in a line, comments
    /// after `#`. `source` is where they are from, for people; each file has a
    /// name of its own.
    ///
    /// # Errors
    /// In words: a line is no identity that can be used, or there is none, or
    /// more than 64. No line is ever repeated.
    pub fn read<'a>(
        source: impl Into<String>,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, String> {
        let mut keys = Self { source: source.into(), identities: Vec::new() };
        for (name, content) in files {
            let place = if name.is_empty() { keys.source.clone() } else { format!("{} of {}", name, keys.source) };
            let text =
                std::str::from_utf8(content).map_err(|_| format!("{place} is no file of age keys: not UTF-8"))?;
            for (index, line) in text.lines().map(str::trim).enumerate() {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let identity = line.parse::<x25519::Identity>().map_err(|_| {
                    let (line_number, what) = (index + 1, not_an_identity(line));
                    format!(
                        "{place} has {what} in line {line_number}, where an age identity (AGE-SECRET-KEY-1…) belongs"
                    )
                })?;
                if keys.identities.len() == IDENTITIES {
                    return Err(format!("{} has more than {IDENTITIES} age identities", keys.source));
                }
                keys.identities.push((identity.to_public().to_string(), identity));
            }
        }
        if keys.identities.is_empty() {
            return Err(format!("{} has no age identity (AGE-SECRET-KEY-1…)", keys.source));
        }
        Ok(keys)
    }

    /// The key of a recipient, if it is there.
    pub(super) fn of(&self, recipient: &str) -> Option<&x25519::Identity> {
        self.identities.iter().find(|(of, _)| of == recipient).map(|(_, identity)| identity)
    }

    /// The public names of the keys, sorted.
    fn recipients(&self) -> Vec<&str> {
        let mut recipients: Vec<&str> = self.identities.iter().map(|(recipient, _)| recipient.as_str()).collect();
        recipients.sort_unstable();
        recipients.dedup();
        recipients
    }

    fn fingerprint(&self) -> Digest {
        Digest::of_parts(self.recipients())
    }
}

impl fmt::Debug for AgeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgeKeys({}, {})", self.source, self.identities.len())
    }
}

fn not_an_identity(line: &str) -> &'static str {
    let upper = line.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-PQ-") {
        "a post-quantum identity, which is not supported,"
    } else if upper.starts_with("AGE-PLUGIN-") {
        "an identity of a plugin, which is not supported,"
    } else if upper.starts_with("AGE1") {
        "a recipient, which is the public part of a key,"
    } else if upper.starts_with("-----BEGIN") {
        "an SSH key or an encrypted file, which is not supported,"
    } else {
        "something else"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use rstest::rstest;

    use super::*;

    fn text(identity: &x25519::Identity) -> String {
        identity.to_string().expose_secret().to_owned()
    }

    fn read(content: &str) -> Result<AgeKeys, String> {
        AgeKeys::read("Secret shop/age", [("age.agekey", content.as_bytes())])
    }

    #[test]
    fn a_file_of_age_keygen_is_read() {
        let (one, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let file = format!("# created: now\n# public key: {}\n{}\r\n\n{}", one.to_public(), text(&one), text(&other));
        let keys = read(&file).unwrap();
        let mut expected = vec![one.to_public().to_string(), other.to_public().to_string()];
        expected.sort();
        assert_eq!(keys.recipients(), expected);
    }

    #[rstest]
    #[case("", "Secret shop/age has no age identity (AGE-SECRET-KEY-1…)")]
    #[case(
        "AGE-SECRET-KEY-1QQ",
        "age.agekey of Secret shop/age has something else in line 1, where an age identity (AGE-SECRET-KEY-1…) belongs"
    )]
    #[case(
        "\nage1abc",
        "age.agekey of Secret shop/age has a recipient, which is the public part of a key, in line 2, where an age identity (AGE-SECRET-KEY-1…) belongs"
    )]
    #[case(
        "AGE-SECRET-KEY-PQ-1A",
        "age.agekey of Secret shop/age has a post-quantum identity, which is not supported, in line 1, where an age identity (AGE-SECRET-KEY-1…) belongs"
    )]
    #[case(
        "AGE-PLUGIN-YUBIKEY-1A",
        "age.agekey of Secret shop/age has an identity of a plugin, which is not supported, in line 1, where an age identity (AGE-SECRET-KEY-1…) belongs"
    )]
    #[case(
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "age.agekey of Secret shop/age has an SSH key or an encrypted file, which is not supported, in line 1, where an age identity (AGE-SECRET-KEY-1…) belongs"
    )]
    fn what_is_no_identity_is_told_by_its_line_and_never_repeated(#[case] content: &str, #[case] expected: &str) {
        assert_eq!(read(content).unwrap_err(), expected);
    }

    #[test]
    fn too_many_identities_are_refused() {
        let key = text(&x25519::Identity::generate());
        assert!(read(&vec![key.as_str(); 64].join("\n")).is_ok());
        let error = read(&vec![key.as_str(); 65].join("\n")).unwrap_err();
        assert_eq!(error, "Secret shop/age has more than 64 age identities");
    }

    #[test]
    fn keys_are_known_by_their_recipients_and_never_shown() {
        let (one, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let decryption = |content: &str| Decryption::by(read(content).unwrap());
        let [ab, ba, a] =
            [format!("{}\n{}", text(&one), text(&other)), format!("{}\n{}", text(&other), text(&one)), text(&one)]
                .map(|content| decryption(&content));
        assert_eq!((&ab, ab.fingerprint()), (&ba, ba.fingerprint()));
        assert_ne!((&ab, ab.fingerprint()), (&a, a.fingerprint()));
        assert_eq!(Decryption::default().fingerprint(), None);
        assert_eq!(format!("{ab:?}"), "Decryption(Secret shop/age by 2 keys)");
    }
}
