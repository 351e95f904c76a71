//! The key of a file, which each recipient has in an age file of its own.

use std::io::Read as _;

use age::{DecryptError, Decryptor, Identity, armor::ArmoredReader};
use zeroize::Zeroizing;

use super::{
    cipher::DataKey,
    keys::AgeKeys,
    metadata::{ForAge, Metadata},
    refusal::Refusal,
};

/// The key of a file by the first of its recipients that one of the keys is of.
///
/// # Errors
/// None of the keys is one of a recipient, or what is encrypted for it is
/// damaged.
pub(super) fn data_key(metadata: &Metadata, keys: &AgeKeys) -> Result<DataKey, Refusal> {
    let mut damaged = None;
    for ForAge { recipient, encrypted } in &metadata.age {
        match opened(encrypted, keys) {
            Ok(key) => return Ok(key),
            Err(DecryptError::NoMatchingKeys) => {}
            Err(_) => damaged = damaged.or(Some(recipient)),
        }
    }
    Err(match damaged {
        Some(recipient) => Refusal::DamagedKey { recipient: recipient.clone() },
        None => {
            let recipients = metadata.age.iter().map(|entry| entry.recipient.as_str()).collect::<Vec<_>>().join(", ");
            Refusal::NoKeyFits { recipients, keys: keys.source.clone() }
        }
    })
}

fn opened(encrypted: &str, keys: &AgeKeys) -> Result<DataKey, DecryptError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(encrypted.as_bytes()))?;
    let identities = keys.identities.iter().map(|identity| identity as &dyn Identity);
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    decryptor.decrypt(identities)?.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    DataKey::new(&key).ok_or(DecryptError::InvalidHeader)
}

const KEY_BYTES: usize = 32;
