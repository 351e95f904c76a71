//! What is in a chunk: manifests as JSON, compressed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::manifest::{FieldLines, GroupVersionKind, Manifest, ObjectId, Origin, Position, gvk_of, manifest_digest};

/// The most that one chunk holds before compression. Even where nothing can be
/// compressed it fits a Secret (1 MiB), and in base64 a custom resource.
pub(super) const FRAGMENT_BYTES: usize = 900 * 1024;
/// The level of compression: fast, and most of what there is to gain on YAML-like text.
const LEVEL: i32 = 3;

pub(super) fn compress(text: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(text, LEVEL)
}

/// Decompresses one chunk, which has a limit, so that a forged one cannot fill
/// the memory.
pub(super) fn decompress(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = FRAGMENT_BYTES as u64 + 1;
    zstd::stream::read::Decoder::new(compressed)?.take(limit).read_to_end(&mut text)?;
    if text.len() > FRAGMENT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any chunk that was stored"));
    }
    Ok(text)
}

/// A manifest in a chunk.
#[derive(Serialize, Deserialize)]
struct Entry<V> {
    value: V,
    /// Numbers that a JSON reader may round, by JSON pointer, as they are written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    floats: BTreeMap<String, String>,
}

/// The JSON of one manifest as a chunk holds it.
pub(super) fn write(manifest: &Manifest) -> Option<Vec<u8>> {
    let value = manifest.value.read();
    let same = identity(&value).is_some_and(|(id, gvk)| id == manifest.id && gvk == manifest.gvk);
    if !same {
        return None;
    }
    let mut floats = BTreeMap::new();
    rounded_floats(&value, &mut String::new(), &mut floats);
    serde_json::to_vec(&Entry { value: value.as_ref(), floats }).ok()
}

/// How many bytes [`write`] makes of a manifest.
pub(super) fn bytes(manifest: &Manifest) -> Option<usize> {
    match manifest.value.exact_text() {
        Some(text) => Some(text.len() + r#"{"value":}"#.len()),
        None => write(manifest).map(|json| json.len()),
    }
}

/// The manifests of a chunk's JSON.
pub(super) fn read(text: &[u8]) -> Result<Vec<Manifest>, &'static str> {
    let entries: Vec<Entry<Value>> = serde_json::from_slice(text).map_err(|_| "it is not the JSON of a chunk")?;
    entries.into_iter().map(manifest).collect()
}

fn manifest(entry: Entry<Value>) -> Result<Manifest, &'static str> {
    let Entry { mut value, floats } = entry;
    for (pointer, text) in floats {
        let number = text.parse::<f64>().ok().and_then(Number::from_f64).ok_or("a number is none")?;
        *value.pointer_mut(&pointer).ok_or("a number has no place")? = Value::Number(number);
    }
    let (id, gvk) = identity(&value).ok_or("an object has no apiVersion, kind or name")?;
    let digest = manifest_digest(&value);
    Ok(Manifest { id, gvk, value: value.into(), digest, origin: None })
}

fn identity(value: &Value) -> Option<(ObjectId, GroupVersionKind)> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let gvk = gvk_of(value)?;
    let metadata = value.get("metadata")?;
    let id = ObjectId::new(gvk.group_kind(), text(metadata, "namespace"), text(metadata, "name")?);
    Some((id, gvk))
}

/// Finds numbers that serde_json does not read back as it wrote them: beyond
/// 15 digits it may be off by the last bit.
fn rounded_floats(value: &Value, pointer: &mut String, found: &mut BTreeMap<String, String>) {
    let mut descend = |key: &str, value: &Value| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        rounded_floats(value, pointer, found);
        pointer.truncate(length);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| descend(key, value)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| descend(&index.to_string(), value));
        }
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            if serde_json::from_str::<Value>(&text).ok().as_ref() != Some(value) {
                found.insert(pointer.clone(), text);
            }
        }
        _ => {}
    }
}

/// Where manifests were read, in the order of their identities. Those of
/// Secrets are apart, so that who may not read Secrets knows of the others.
#[derive(Serialize, Deserialize)]
struct Origins {
    files: Vec<String>,
    manifests: Vec<Option<Place>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Option<Place>>,
}

/// The index of a file, the line and column within it if they are known, and
/// the lines of the fields.
type Place = (u32, Option<(u32, u32)>, FieldLines);

/// The JSON that says where manifests, sorted by identity, were read; none if
/// nothing is known of any, or if it is too large for a chunk even without the
/// lines of fields: it only serves people.
pub(super) fn origins(sorted: &[&Manifest]) -> Option<Vec<u8>> {
    let fits = |text: &Vec<u8>| text.len() <= FRAGMENT_BYTES;
    written_origins(sorted, true).filter(fits).or_else(|| written_origins(sorted, false).filter(fits))
}

fn written_origins(sorted: &[&Manifest], with_lines: bool) -> Option<Vec<u8>> {
    let names: BTreeSet<&str> =
        sorted.iter().filter_map(|manifest| Some(manifest.origin.as_ref()?.file.as_str())).collect();
    if names.is_empty() {
        return None;
    }
    let files: Vec<String> = names.into_iter().map(ToOwned::to_owned).collect();
    let place = |origin: &Origin| {
        let file = files.binary_search(&origin.file).ok().and_then(|index| u32::try_from(index).ok())?;
        let position = origin.position.map(|position| (position.line, position.column));
        Some((file, position, if with_lines { origin.lines.clone() } else { FieldLines::default() }))
    };
    let places = |secret: bool| {
        let manifests = sorted.iter().filter(|manifest| manifest.is_secret() == secret);
        manifests.map(|manifest| manifest.origin.as_ref().and_then(place)).collect()
    };
    let (manifests, secrets) = (places(false), places(true));
    serde_json::to_vec(&Origins { files, manifests, secrets }).ok()
}

/// Says of manifests, sorted by identity, where they were read. Manifests of
/// Secrets may be left out.
pub(super) fn add_origins(sorted: &mut [Manifest], text: &[u8]) {
    let Ok(Origins { files, manifests, secrets }) = serde_json::from_slice::<Origins>(text) else { return };
    for (secret, places) in [(false, manifests), (true, secrets)] {
        let of_kind: Vec<&mut Manifest> = sorted.iter_mut().filter(|manifest| manifest.is_secret() == secret).collect();
        if of_kind.len() != places.len() {
            continue;
        }
        for (manifest, place) in of_kind.into_iter().zip(places) {
            manifest.origin = place.and_then(|(file, position, lines)| {
                let file = files.get(file as usize)?.clone();
                let position = position.map(|(line, column)| Position { line, column });
                Some(Origin { file, position, lines })
            });
        }
    }
}
