//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use aes_gcm::{
    AesGcm, KeyInit as _, Nonce, Tag,
    aead::{AeadInOut as _, consts::U32},
    aes::Aes256,
};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use zeroize::Zeroizing;

/// What each encrypted value begins with.
pub(super) const BEGIN: &str = "ENC[AES256_GCM,";

/// AES-256-GCM with SOPS' nonce of 32 bytes.
type Cipher = AesGcm<Aes256, U32>;

/// The key of a file, 32 bytes, which decrypts its values.
pub(super) struct DataKey(Cipher);

/// What a value was before it was encrypted.
#[derive(Clone, PartialEq)]
pub(super) struct Clear {
    pub(super) kind: Kind,
    /// Its bytes as they were encrypted: `True`, `12`, `1.5`, or the text.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// The type that an encrypted value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Bool,
    Bytes,
    /// A point in time, as text of RFC 3339.
    Time,
    Comment,
}

/// A value cannot be decrypted: another key, another path, or it was changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecipherable;

impl DataKey {
    /// `None` if it has not 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        Cipher::new_from_slice(key).ok().map(Self)
    }

    /// Decrypts a value that was encrypted with some additional data. An empty
    /// text stays one.
    pub(super) fn decrypt(&self, text: &str, additional: &str) -> Result<Clear, Undecipherable> {
        if text.is_empty() {
            return Ok(Clear { kind: Kind::Text, bytes: Zeroizing::default() });
        }
        let parts = Parts::read(text).ok_or(Undecipherable)?;
        let mut bytes = Zeroizing::new(parts.data);
        let nonce = Nonce::<U32>::try_from(parts.nonce.as_slice()).map_err(|_| Undecipherable)?;
        let tag = Tag::try_from(parts.tag.as_slice()).map_err(|_| Undecipherable)?;
        self.0
            .decrypt_inout_detached(&nonce, additional.as_bytes(), bytes.as_mut_slice().into(), &tag)
            .map_err(|_| Undecipherable)?;
        Ok(Clear { kind: parts.kind, bytes })
    }
}

struct Parts {
    data: Vec<u8>,
    nonce: Vec<u8>,
    tag: Vec<u8>,
    kind: Kind,
}

impl Parts {
    fn read(text: &str) -> Option<Self> {
        let inner = text.strip_prefix(BEGIN)?.strip_suffix(']')?;
        let mut fields = inner.split(',');
        let mut field = |name: &str| fields.next()?.strip_prefix(name);
        let (data, nonce, tag, kind) = (field("data:")?, field("iv:")?, field("tag:")?, field("type:")?);
        let kind = match kind {
            "str" => Kind::Text,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "bool" => Kind::Bool,
            "bytes" => Kind::Bytes,
            "time" => Kind::Time,
            "comment" => Kind::Comment,
            _ => return None,
        };
        if fields.next().is_some() {
            return None;
        }
        let decode = |text: &str| BASE64.decode(text).ok();
        Some(Self { data: decode(data)?, nonce: decode(nonce)?, tag: decode(tag)?, kind })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::render::sops::testing::encrypted;

    const KEY: [u8; 32] = [7; 32];

    fn key() -> DataKey {
        DataKey::new(&KEY).unwrap()
    }

    #[test]
    fn a_value_is_decrypted_at_its_own_path_only() {
        let text = encrypted(&KEY, b"hunter22", "str", "data:password:");
        let clear = key().decrypt(&text, "data:password:").unwrap();
        assert_eq!((clear.kind, clear.bytes.as_slice()), (Kind::Text, b"hunter22".as_slice()));
        assert!(key().decrypt(&text, "data:user:").is_err());
        assert!(DataKey::new(&[8; 32]).unwrap().decrypt(&text, "data:password:").is_err());
        assert!(DataKey::new(&[7; 16]).is_none());
    }

    #[test]
    fn an_empty_text_is_itself() {
        assert!(key().decrypt("", "a:").unwrap().bytes.is_empty());
    }

    #[rstest]
    #[case("ENC[AES256_GCM,data:,iv:,tag:,type:str]")]
    #[case("ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]")]
    #[case("ENC[AES256_GCM,data:*,iv:*,tag:*,type:str]")]
    #[case("ENC[AES256_GCM,data:AA==]")]
    #[case("hunter22")]
    fn what_has_not_the_form_is_refused(#[case] text: &str) {
        assert!(key().decrypt(text, "a:").is_err());
    }

    #[rstest]
    #[case("type:str", "type:int2")]
    #[case("type:str", "type:str,more:x")]
    #[case("AES256_GCM", "AES256_CBC")]
    fn another_form_is_refused(#[case] from: &str, #[case] to: &str) {
        let text = encrypted(&KEY, b"hunter22", "str", "a:");
        assert!(key().decrypt(&text.replace(from, to), "a:").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_for_it(text in "\\PC{0,80}", inner in "[a-zA-Z0-9:,=/+\\]]{0,80}") {
            let _ = key().decrypt(&text, "a:");
            let text = format!("ENC[AES256_GCM,{inner}]");
            prop_assert!(key().decrypt(&text, "a:").is_err());
        }

        #[test]
        fn a_bit_that_flips_is_noticed(at in 0..200usize, bit in 0..8u8) {
            let text = encrypted(&KEY, b"hunter22hunter22", "str", "a:");
            let mut bytes = text.clone().into_bytes();
            // The type is not authenticated by the value, but by the code over all.
            let end = text.find(",type:").unwrap();
            let at = at % end;
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(key().decrypt(&changed, "a:").is_err());
        }
    }
}
