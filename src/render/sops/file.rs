//! Whole files: what form one has, and what it is when it is decrypted.

use serde_json::Value;

use super::{
    cipher::DataKey,
    data_key::data_key,
    dotenv,
    keys::Decryption,
    metadata::{FIELD, Metadata, is_metadata},
    refusal::Refusal,
    tree::{Opening, Refused},
};
use crate::{
    manifest::{
        Problem,
        writer::to_yaml,
        yaml::{Content, Document, Limits, Written, read_if_has},
    },
    render::secrets,
};

/// Where the data of a binary file is.
const DATA: &str = "data";

/// A decrypted file.
pub(in crate::render) struct Decrypted<T> {
    pub(in crate::render) content: T,
    /// What no message may hold.
    pub(in crate::render) secrets: Vec<String>,
}

/// The documents of a YAML or JSON file that SOPS encrypted; `None` if it did
/// not.
///
/// # Errors
/// It cannot be decrypted, or was changed; nothing of it is given then.
pub(in crate::render) fn documents(
    file: &str,
    content: &[u8],
    limits: &Limits,
    decryption: &Decryption,
) -> Option<Result<Decrypted<Vec<Document>>, Vec<Problem>>> {
    let read = encrypted_documents(file, content, limits)?;
    Some(read.and_then(|documents| decrypt_documents(file, documents, decryption)))
}

/// The content of a file of any form that SOPS encrypted; `None` if it did not.
/// YAML and JSON come with the same values, not with the same layout.
///
/// # Errors
/// It cannot be decrypted, or was changed; nothing of it is given then.
pub(in crate::render) fn decrypt_file(
    file: &str,
    content: &[u8],
    limits: &Limits,
    decryption: &Decryption,
) -> Result<Option<Decrypted<Vec<u8>>>, Vec<Problem>> {
    if let Some(documents) = encrypted_documents(file, content, limits) {
        let documents = documents?;
        return if is_binary(file, content, &documents) {
            binary(file, &documents, decryption).map(Some)
        } else {
            let decrypted = decrypt_documents(file, documents, decryption)?;
            Ok(Some(Decrypted { content: text_of(file, &decrypted.content), secrets: decrypted.secrets }))
        };
    }
    let Ok(text) = std::str::from_utf8(content) else { return Ok(None) };
    let refused = |refusal: Refusal| vec![refusal.of(file, None)];
    if dotenv::is_encrypted(text) {
        let decrypted = dotenv::metadata(text).and_then(|metadata| {
            with_opening(&metadata, decryption, |opening| dotenv::decrypt(text, opening).map_err(|it| (it, None)))
                .map_err(|(refusal, _)| refusal)
        });
        return decrypted.map(Some).map_err(refused);
    }
    if is_ini(text) {
        return Err(refused(Refusal::Ini));
    }
    Ok(None)
}

/// The documents, if SOPS encrypted them.
fn encrypted_documents(file: &str, content: &[u8], limits: &Limits) -> Option<Result<Vec<Written>, Vec<Problem>>> {
    // Most files are not encrypted, and are read once.
    std::str::from_utf8(content).ok().filter(|text| text.contains(FIELD))?;
    let read = read_if_has(file, content, limits, FIELD, is_metadata)?;
    match &read {
        Ok(documents) if documents.iter().all(|it| it.field(FIELD).is_none() || is_for_an_operator(it)) => None,
        _ => Some(read),
    }
}

/// An object that an operator decrypts in the cluster has SOPS' metadata as
/// its own field.
fn is_for_an_operator(document: &Written) -> bool {
    let text = |field: &str| document.field(field).and_then(Written::text).unwrap_or_default();
    is_of_operator(text("apiVersion"), text("kind"))
}

/// The kinds of objects that SOPS encrypted and that are applied as they are.
pub(super) fn is_of_operator(api_version: &str, kind: &str) -> bool {
    kind.ends_with("SopsSecret") && api_version.contains('/')
}

fn decrypt_documents(
    file: &str,
    documents: Vec<Written>,
    decryption: &Decryption,
) -> Result<Decrypted<Vec<Document>>, Vec<Problem>> {
    let opened = open(documents, decryption).map_err(|(refusal, at)| vec![refusal.of(file, at)])?;
    let Decrypted { content, secrets } = opened;
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for document in content {
        match document.into_document(file) {
            Ok(document) => found.push(document),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Decrypted { content: found, secrets }) } else { Err(problems) }
}

fn open(mut documents: Vec<Written>, decryption: &Decryption) -> Result<Decrypted<Vec<Written>>, Refused> {
    let metadata = metadata_of(&documents)?;
    with_opening(&metadata, decryption, |opening| {
        for document in &mut documents {
            let position = document.position;
            let Content::Mapping(fields) = &mut document.content else {
                return Err((Refusal::NoMapping, Some(position)));
            };
            fields.retain(|field| field.key != FIELD);
            opening.value(document, &mut Vec::new())?;
        }
        Ok(documents)
    })
}

/// The metadata of a file, which each of its documents has.
fn metadata_of(documents: &[Written]) -> Result<Metadata, Refused> {
    let mac = |document: &Written| Some(document.field(FIELD)?.field("mac")?.clone().content);
    let first = documents.first();
    for (index, document) in documents.iter().enumerate() {
        if !document.field(FIELD).is_some_and(is_metadata) || mac(document) != first.and_then(mac) {
            return Err((Refusal::OtherDocument(index + 1), Some(document.position)));
        }
    }
    let Some(sops) = first.and_then(|first| first.field(FIELD)) else { return Err((Refusal::NoMapping, None)) };
    Metadata::read(sops).map_err(|refusal| (refusal, Some(sops.position)))
}

/// Decrypts something, and verifies it before it is given out.
fn with_opening<T>(
    metadata: &Metadata,
    decryption: &Decryption,
    decrypt: impl FnOnce(&mut Opening<'_>) -> Result<T, Refused>,
) -> Result<Decrypted<T>, Refused> {
    let refused = |refusal: Refusal| (refusal, None);
    let keys = decryption.keys().map_err(refused)?;
    let key: DataKey = data_key(metadata, keys).map_err(refused)?;
    let mut opening = Opening::new(metadata, &key);
    let content = decrypt(&mut opening)?;
    let secrets = secrets::to_mask(opening.verify().map_err(refused)?);
    Ok(Decrypted { content, secrets })
}

/// Whether a file is binary content in an envelope: JSON under another name,
/// with nothing in it but the data.
fn is_binary(file: &str, content: &[u8], documents: &[Written]) -> bool {
    let [Written { content: Content::Mapping(fields), .. }] = documents else { return false };
    let only_data = fields.iter().all(|field| field.key == DATA || field.key == FIELD);
    let begins = content.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    only_data && begins && fields.iter().any(|field| field.key == DATA) && !has_extension(file, STRUCTURED)
}

fn binary(file: &str, documents: &[Written], decryption: &Decryption) -> Result<Decrypted<Vec<u8>>, Vec<Problem>> {
    let opened = metadata_of(documents).and_then(|metadata| {
        let data = documents.first().and_then(|document| document.field(DATA)).and_then(Written::text);
        let data = data.ok_or((Refusal::NotEncrypted(DATA.to_owned()), None))?;
        with_opening(&metadata, decryption, |opening| {
            opening.bytes(data, &[DATA.to_owned()]).map_err(|refusal| (refusal, None))
        })
    });
    opened.map_err(|(refusal, at)| vec![refusal.of(file, at)])
}

/// What SOPS reads as YAML or JSON by its name.
const STRUCTURED: &[&str] = &["yaml", "yml", "json"];

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).is_some_and(|(_, it)| extensions.contains(&it))
}

fn text_of(file: &str, documents: &[Document]) -> Vec<u8> {
    let text = match documents {
        [document] if has_extension(file, &["json"]) => json(&document.value),
        documents => documents.iter().map(|document| to_yaml(&document.value)).collect::<Vec<_>>().join("---\n"),
    };
    text.into_bytes()
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Whether SOPS encrypted an INI file: it has a section of its own.
fn is_ini(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "[sops]") && text.contains("ENC[AES256_GCM,")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use age::{secrecy::ExposeSecret as _, x25519::Identity};
    use proptest::prelude::*;

    use super::*;
    use crate::render::sops::keys::AgeKeys;

    fn decryption() -> (String, Decryption) {
        let identity = Identity::generate();
        let key = identity.to_string();
        let keys = AgeKeys::read("keys", [("a", key.expose_secret().as_bytes())]).unwrap();
        (identity.to_public().to_string(), Decryption::by(keys))
    }

    /// Whether it is one of ours, whatever comes of it.
    fn is_ours(file: &str, content: &[u8], decryption: &Decryption) -> bool {
        let limits = Limits::default();
        let _ = documents(file, content, &limits, decryption);
        !matches!(decrypt_file(file, content, &limits, decryption), Ok(None))
    }

    #[test]
    fn files_that_only_speak_of_it_are_left_alone() {
        let none = Decryption::default();
        assert!(!is_ours("a.yaml", b"# sops\na: sops\nb: {sops: {mac: x}}\n", &none));
        assert!(!is_ours("values.yaml", b"sops: {enabled: true, version: 3.10.2}\na: &x 1\nb: *x\n", &none));
        assert!(!is_ours("install.sh", b"#!/bin/sh\nsops_version=3.10.2\necho sops\n", &none));
        assert!(!is_ours("a.bin", &[0xff, b's', b'o', b'p', b's'], &none));
        assert!(!is_ours("a.ini", b"[sops]\nmac = x\n", &none));
        assert!(is_ours("a.yaml", b"a: b\nsops: {mac: x}\n", &none));
    }

    #[test]
    fn nothing_of_a_file_is_given_before_the_keys_are_asked() {
        let text = b"sops: {mac: 'ENC[AES256_GCM,x]', lastmodified: x, age: [{recipient: age1x, enc: y}]}\n";
        let problems = documents("a.yaml", text, &Limits::default(), &Decryption::unavailable("it is gone"));
        let problems = problems.unwrap().err().unwrap();
        assert_eq!(problems[0].to_string(), "a.yaml: is encrypted by SOPS, and its key is not at hand: it is gone");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "(sops|: |\n|\\{|\\}|mac|age|- |ENC\\[|=|_|[a-z0-9]){0,60}") {
            let (_, keys) = decryption();
            for file in ["a.yaml", "a.json", "a.env", "a.bin"] {
                is_ours(file, &bytes, &keys);
                is_ours(file, text.as_bytes(), &keys);
                is_ours(file, &[b"sops_mac=x\n", bytes.as_slice()].concat(), &keys);
                is_ours(file, &[b"sops:\n  mac: x\n", text.as_bytes()].concat(), &keys);
            }
        }

        #[test]
        fn nothing_that_is_encrypted_for_a_key_is_too_much_for_it(inner in prop::collection::vec(any::<u8>(), 0..200), words in "[ -~]{0,80}") {
            let (recipient, keys) = decryption();
            let armored = format!(
                "-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n",
                base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [b"age-encryption.org/v1\n-> X25519 ", inner.as_slice()].concat()),
            );
            let header = format!("age-encryption.org/v1\n-> X25519 {words}\n");
            for enc in [armored, header, words] {
                let sops = serde_json::json!({
                    "a": "ENC[AES256_GCM,data:x]",
                    "sops": {"mac": "ENC[AES256_GCM,x]", "lastmodified": "x", "age": [{"recipient": recipient, "enc": enc}]},
                });
                let refused = documents("a.json", sops.to_string().as_bytes(), &Limits::default(), &keys).unwrap();
                let problems = refused.err().unwrap();
                prop_assert!(problems[0].message.contains("it is damaged"), "{}", problems[0]);
            }
        }
    }
}
