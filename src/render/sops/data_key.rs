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

const KEY_BYTES: usize = 32;

/// How many recipients a message names, and how many characters of each.
const RECIPIENTS_SHOWN: usize = 5;
const RECIPIENT_SHOWN: usize = 64;

/// The key of a file by the first of its recipients that one of the keys is of.
///
/// # Errors
/// None of the keys is one of a recipient, or what is encrypted for one is
/// damaged.
pub(super) fn data_key(metadata: &Metadata, keys: &AgeKeys) -> Result<DataKey, Refusal> {
    let mut damaged = None;
    for ForAge { recipient, encrypted } in &metadata.age {
        // Trying each key for each recipient would take long where there are many.
        let Some(identity) = keys.of(recipient) else { continue };
        match opened(encrypted, identity) {
            Ok(key) => return Ok(key),
            Err(_) => damaged = damaged.or(Some(recipient)),
        }
    }
    Err(match damaged {
        Some(recipient) => Refusal::DamagedKey { recipient: shortened(recipient) },
        None => {
            let shown = metadata.age.iter().take(RECIPIENTS_SHOWN).map(|entry| shortened(&entry.recipient));
            let mut recipients = shown.collect::<Vec<_>>().join(", ");
            let more = metadata.age.len().saturating_sub(RECIPIENTS_SHOWN);
            if more > 0 {
                recipients.push_str(&format!(" and {more} more"));
            }
            Refusal::NoKeyFits { recipients, keys: keys.source.clone() }
        }
    })
}

/// An ordinary recipient of age is shown whole; those of plugins are longer.
fn shortened(recipient: &str) -> String {
    let shown: String = recipient.chars().take(RECIPIENT_SHOWN).collect();
    if shown.len() == recipient.len() { shown } else { format!("{shown}…") }
}

fn opened(encrypted: &str, identity: &dyn Identity) -> Result<DataKey, DecryptError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(encrypted.as_bytes()))?;
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    decryptor.decrypt([identity].into_iter())?.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    DataKey::new(&key).ok_or(DecryptError::InvalidHeader)
}
