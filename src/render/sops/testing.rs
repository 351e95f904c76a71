//! Encrypting as SOPS does, for tests of the parts; whole files come from the
//! real program.

#![allow(clippy::unwrap_used)]

use aes_gcm::{
    AesGcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload, consts::U32},
    aes::Aes256,
};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

/// A value in SOPS' form.
pub(super) fn encrypted(key: &[u8; 32], clear: &[u8], kind: &str, additional: &str) -> String {
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(key).unwrap();
    let iv: [u8; 32] = rand::random();
    let nonce = Nonce::<U32>::from(iv);
    let sealed = cipher.encrypt(&nonce, Payload { msg: clear, aad: additional.as_bytes() }).unwrap();
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let [data, iv, tag] = [data, &iv, tag].map(|bytes| BASE64.encode(bytes));
    format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]")
}
