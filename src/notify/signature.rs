//! Signatures of what is sent, as the Standard Webhooks specification has
//! them, so that libraries in many languages verify them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a key in its usual written form begins with.
const PREFIX: &str = "whsec_";
/// A shorter key can be guessed.
const SHORTEST: usize = 16;

/// A key that both sides know.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Why a text is no key. It never says the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// It can be guessed.
    #[error("the key has {0} bytes, and less than {SHORTEST} can be guessed")]
    TooShort(usize),
    /// It says that it is base64, and is not.
    #[error("the key begins with {PREFIX}, and what follows is not base64")]
    NotBase64,
}

impl Key {
    /// Reads a key: `whsec_` and base64, or any other bytes as they are. The
    /// line break that editors leave at the end is not part of it.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAKey> {
        let bytes = bytes.trim_ascii_end();
        let key = match bytes.strip_prefix(PREFIX.as_bytes()) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| NotAKey::NotBase64)?,
            None => bytes.to_vec(),
        };
        if key.len() < SHORTEST {
            return Err(NotAKey::TooShort(key.len()));
        }
        Ok(Self(key))
    }

    /// The value of `webhook-signature` for a body that is sent under an id at
    /// a time, in seconds since 1970.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        // HMAC takes keys of any length, so this never fails.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_the_one_that_the_specification_gives() {
        let key = Key::read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("it is a key");
        let body = br#"{"test": 2432232314}"#;
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[rstest]
    #[case::plain(b"0123456789abcdef", None)]
    #[case::short(b"secret\n", Some(NotAKey::TooShort(6)))]
    #[case::empty(b"", Some(NotAKey::TooShort(0)))]
    #[case::not_base64(b"whsec_%%%", Some(NotAKey::NotBase64))]
    #[case::short_base64(b"whsec_c2VjcmV0", Some(NotAKey::TooShort(6)))]
    fn a_key_that_protects_nothing_is_refused(#[case] bytes: &[u8], #[case] refused: Option<NotAKey>) {
        assert_eq!(Key::read(bytes).err(), refused);
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = Key::read(b"0123456789abcdef").expect("it is a key");
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
