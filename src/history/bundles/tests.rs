//! Bundles: what is packed is unpacked, shared, kept apart, and never trusted.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::manifest::{Origin, Position, Scope};

#[test]
fn what_is_packed_is_unpacked_byte_for_byte() {
    let manifests = sample(500);
    let packed = packed(&manifests);
    assert_eq!(unpacked(&packed).unwrap(), manifests);
}

#[test]
fn a_bundle_without_manifests_is_one_too() {
    let packed = packed(&[]);
    assert!(packed.chunks.is_empty() && packed.spec.origins.is_none());
    assert_eq!(unpacked(&packed).unwrap(), []);
}

#[test]
fn the_order_of_manifests_does_not_matter() {
    let manifests = sample(200);
    let reversed: Vec<_> = manifests.iter().rev().cloned().collect();
    assert_eq!(packed(&manifests), packed(&reversed));
}

#[rstest]
#[case::changed(|manifests: &mut Vec<Arc<Manifest>>| manifests[700] = Arc::new(changed(&manifests[700])), 1)]
#[case::added(|manifests: &mut Vec<Arc<Manifest>>| manifests.push(config_map(5_000, "new")), 2)]
#[case::removed(|manifests: &mut Vec<Arc<Manifest>>| { manifests.remove(700); }, 2)]
fn a_small_change_shares_all_but_a_few_chunks(#[case] change: fn(&mut Vec<Arc<Manifest>>), #[case] at_most: usize) {
    let mut manifests = sample(2_000);
    let before = names(&packed(&manifests).spec.chunks);
    change(&mut manifests);
    let after = names(&packed(&manifests).spec.chunks);
    let new = after.difference(&before).count();
    assert!((1..=at_most).contains(&new), "{new} new chunks of {}", after.len());
}

#[test]
fn beside_known_chunks_only_new_ones_are_made_and_the_index_is_the_same() {
    let mut manifests = sample(2_000);
    manifests.push(secret(1, "aHVudGVyMg=="));
    let before = packed(&manifests);
    manifests[700] = Arc::new(changed(&manifests[700]));
    let digest = digest_of(&manifests);
    let beside = pack_beside("shop", &manifests, &digest, &before.known).unwrap();
    let alone = pack("shop", &manifests, &digest).unwrap();
    assert_eq!((&beside.spec, &beside.known), (&alone.spec, &alone.known));
    assert_eq!(beside.chunks.len(), 1, "where they were read did not change");
    let mut all = beside.clone();
    all.chunks.extend(before.chunks);
    assert_eq!(unpacked(&all).unwrap(), sorted(manifests));
}

#[test]
fn what_is_packed_stays_packed_in_memory() {
    let manifests = sample(100);
    let unpacked = unpacked(&packed(&manifests)).unwrap();
    for manifest in manifests.iter().chain(&unpacked) {
        assert!(manifest.value.is_packed(), "{}", manifest.id);
    }
}

#[test]
fn chunks_have_about_a_dozen_manifests() {
    let chunks = packed(&sample(2_000)).spec.chunks.len();
    assert!((2_000 / 24..2_000 / 8).contains(&chunks), "{chunks} chunks");
}

#[test]
fn two_applications_share_no_chunk() {
    let manifests = sample(50);
    let digest = digest_of(&manifests);
    let shop = pack("shop", &manifests, &digest).unwrap();
    let copy = pack("shop-copy", &manifests, &digest).unwrap();
    assert!(names(&shop.spec.chunks).is_disjoint(&names(&copy.spec.chunks)));
    assert_ne!(bundle_name("shop", &digest), bundle_name("shop-copy", &digest));
}

#[test]
fn manifests_of_secrets_are_kept_in_secrets_and_all_others_are_not() {
    let mut manifests = sample(40);
    manifests.extend((0..30).map(|number| secret(number, "aHVudGVyMg==")));
    let packed = packed(&manifests);
    assert_eq!(unpacked(&packed).unwrap().len(), 70);
    for chunk in &packed.chunks {
        let text = String::from_utf8(content::decompress(&chunk.content).unwrap()).unwrap();
        assert_eq!(text.contains("aHVudGVyMg=="), chunk.reference.store == ChunkStore::Secret, "{text}");
        assert_eq!(
            text.contains(r#""kind":"ConfigMap""#),
            chunk.reference.store == ChunkStore::BundleChunk && Some(&chunk.reference) != packed.spec.origins.as_ref()
        );
    }
}

/// Text that no compression makes smaller by much.
fn noise(length: usize) -> String {
    let mut text = String::with_capacity(length + 64);
    while text.len() < length {
        text.push_str(&Digest::of(text.len().to_string().as_bytes()).hex());
    }
    text.truncate(length);
    text
}

#[test]
fn the_largest_objects_fit() {
    let value = noise(1_040_000);
    let manifests = vec![config_map(1, &value), config_map(2, "small"), secret(1, &noise(1_390_000))];
    let packed = packed(&manifests);
    assert_eq!(unpacked(&packed).unwrap(), sorted(manifests));
    for chunk in &packed.chunks {
        let most = if chunk.reference.store == ChunkStore::Secret { 1_048_576 } else { 1_400_000 * 3 / 4 };
        assert!(chunk.content.len() <= most, "{} bytes", chunk.content.len());
    }
}

#[test]
fn a_large_object_leaves_its_neighbours_together() {
    let mut manifests = sample(24);
    let before = names(&packed(&manifests).spec.chunks);
    manifests.push(config_map(99, &noise(300_000)));
    let after = names(&packed(&manifests).spec.chunks);
    assert_eq!(after.difference(&before).count(), 1);
}

#[test]
fn where_a_manifest_was_read_is_remembered_and_is_no_part_of_its_chunk() {
    let moved: Vec<_> = sample(60)
        .into_iter()
        .map(|manifest| {
            let origin = Some(Origin::new("other.yaml", Some(Position { line: 7, column: 1 })));
            Arc::new(Manifest { origin, ..(*manifest).clone() })
        })
        .collect();
    let (before, after) = (packed(&sample(60)), packed(&moved));
    assert_eq!(before.spec.chunks, after.spec.chunks);
    assert_eq!(unpacked(&after).unwrap(), moved);
}

#[test]
fn without_its_origins_a_bundle_is_whole() {
    let manifests = sample(10);
    let mut packed = packed(&manifests);
    let origins = packed.spec.origins.clone().unwrap();
    packed.chunks.retain(|chunk| chunk.reference != origins);
    let unpacked = unpacked(&packed).unwrap();
    assert!(unpacked.iter().all(|manifest| manifest.origin.is_none()));
    assert_eq!(digest_of(&unpacked), digest_of(&manifests));
}

#[test]
fn lines_of_fields_that_take_too_much_are_left_out_and_the_files_are_kept() {
    let with_lines = |count: usize, lines: usize| -> Vec<Arc<Manifest>> {
        let mut manifests = sample(count);
        for manifest in &mut manifests {
            let origin = Arc::make_mut(manifest).origin.as_mut().unwrap();
            origin.lines = "c".repeat(lines).into();
        }
        manifests
    };
    // Ten thousand objects of forty fields are within what is kept.
    for (count, lines, kept) in [(100, 40, true), (10_000, 40, true), (1_000, 2_000, false)] {
        let manifests = with_lines(count, lines);
        let unpacked = unpacked(&packed(&manifests)).unwrap();
        let first = unpacked[0].origin.clone().unwrap();
        assert_eq!(!first.lines.is_empty(), kept, "{count} objects of {lines} fields");
        assert!(first.file.starts_with("deploy/") && first.position.is_some());
    }
}

#[test]
fn who_may_not_read_secrets_has_all_others_with_their_places() {
    let mut manifests = sample(50);
    manifests.extend((0..3).map(|number| secret(number, "aHVudGVyMg==")));
    let manifests = sorted(manifests);
    let packed = packed(&manifests);
    let contents: BTreeMap<_, _> = packed
        .chunks
        .iter()
        .filter(|chunk| chunk.reference.store == ChunkStore::BundleChunk)
        .map(|chunk| (chunk.reference.name.clone(), chunk.content.as_slice()))
        .collect();
    let lookup = |reference: &ChunkRef| contents.get(&reference.name).map(|content| Cow::Borrowed(*content));
    assert!(unpack(&packed.spec, lookup).unwrap_err().to_string().contains("is missing"));
    let others: Vec<_> = manifests.iter().filter(|manifest| !manifest.is_secret()).cloned().collect();
    assert_eq!(unpack_without_secrets(&packed.spec, lookup).unwrap(), others);
}

/// Damages a bundle, and says what the error must be.
type Damage = fn(&mut Packed);

#[rstest]
#[case::a_chunk_is_gone(|packed: &mut Packed| { packed.chunks.retain(|chunk| chunk.reference != packed.spec.chunks[0]); }, "is missing")]
#[case::a_chunk_is_another(|packed: &mut Packed| {
    let second = packed.spec.chunks[1].clone();
    let other = packed.chunks.iter().find(|chunk| chunk.reference == second).unwrap().content.clone();
    *first_content(packed) = other;
}, "is corrupt")]
#[case::a_chunk_is_noise(|packed: &mut Packed| *first_content(packed) = b"noise".to_vec(), "cannot be decompressed")]
#[case::a_chunk_is_cut(|packed: &mut Packed| { let chunk = first_content(packed); chunk.truncate(chunk.len() / 2); }, "cannot be decompressed")]
#[case::a_chunk_is_a_bomb(|packed: &mut Packed| {
    *first_content(packed) = content::compress(&vec![b' '; 50 << 20]).unwrap();
}, "cannot be decompressed")]
#[case::a_chunk_is_not_named(|packed: &mut Packed| { packed.spec.chunks.remove(0); }, "says that it has 100 manifests")]
#[case::a_chunk_is_named_twice(|packed: &mut Packed| { let first = packed.spec.chunks[0].clone(); packed.spec.chunks.push(first); }, "says that it has 100 manifests")]
#[case::a_large_chunk_is_named_hundreds_of_times(|packed: &mut Packed| {
    let large = chunk("shop", ChunkStore::BundleChunk, &vec![b' '; content::FRAGMENT_BYTES], false).unwrap();
    packed.spec.chunks = vec![large.reference.clone(); 400];
    packed.chunks.push(large);
}, "more than 256 MiB")]
#[case::it_is_another_bundle(|packed: &mut Packed| packed.spec.digest = BundleDigest(Digest::of(b"another")), "have the digest")]
#[case::a_chunk_has_no_manifests(|packed: &mut Packed| {
    let forged = chunk("shop", ChunkStore::BundleChunk, br#"[{"value":{"kind":"X"}}]"#, false).unwrap();
    packed.spec.chunks[0] = forged.reference.clone();
    packed.chunks.push(forged);
}, "holds no manifests")]
fn a_damaged_bundle_is_never_given_out(#[case] damage: Damage, #[case] expected: &str) {
    let mut packed = packed(&sample(100));
    damage(&mut packed);
    let error = unpacked(&packed).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

/// The content of the first chunk that the index names.
fn first_content(packed: &mut Packed) -> &mut Vec<u8> {
    let first = packed.spec.chunks[0].clone();
    &mut packed.chunks.iter_mut().find(|chunk| chunk.reference == first).unwrap().content
}

#[test]
fn a_digest_of_another_scheme_is_no_reason_to_refuse_a_bundle() {
    let manifests = sample(10);
    let mut packed = packed(&manifests);
    packed.spec.digest = format!("v0:{}", Digest::of(b"x").hex()).parse().unwrap();
    assert_eq!(unpacked(&packed).unwrap(), manifests);
}

#[test]
fn two_manifests_of_one_object_are_refused() {
    let manifests = [config_map(1, "a"), config_map(1, "b")];
    let error = pack("shop", &manifests, &digest_of(&manifests)).unwrap_err().to_string();
    assert_eq!(error, "ConfigMap team-a/object-1 is in the bundle twice");
}

#[rstest]
#[case(json!(0.1))]
#[case(json!(1.0))]
#[case(json!(0.300_000_000_000_000_04))]
#[case(json!(1.797_693_134_862_315_7e308))]
#[case(json!(5e-324))]
#[case(json!(i64::MIN))]
#[case(json!(u64::MAX))]
fn numbers_are_kept_to_the_last_bit(#[case] number: Value) {
    let manifests = [custom(&number)];
    assert_eq!(unpacked(&packed(&manifests)).unwrap(), manifests);
}

proptest! {
    #[test]
    fn any_number_is_kept_to_the_last_bit(numbers: Vec<f64>) {
        let manifests = [custom(&json!({ "a/b~c": numbers }))];
        prop_assert_eq!(unpacked(&packed(&manifests)).unwrap(), manifests);
    }

    #[test]
    fn any_content_is_read_or_refused_without_a_panic(text: Vec<u8>) {
        let _ = content::read(&text);
        let _ = content::decompress(&text);
    }

    #[test]
    fn any_set_of_manifests_comes_back(numbers in prop::collection::btree_map(0..1_000_usize, "[ -~]{0,20}", 0..120)) {
        let manifests: Vec<_> = numbers.iter().map(|(number, value)| config_map(*number, value)).collect();
        prop_assert_eq!(unpacked(&packed(&manifests)).unwrap(), sorted(manifests));
    }
}

#[rstest]
#[case::named_by_a_kept_bundle(0, 120, false)]
#[case::unused_and_old(1, 61, true)]
#[case::unused_and_young(1, 59, false)]
fn only_what_nobody_names_for_an_hour_is_swept(#[case] chunk: usize, #[case] minutes: i64, #[case] expected: bool) {
    let (kept, other) = (packed(&sample(10)), packed(&[config_map(777, "x")]));
    let reference = [&kept.spec.chunks[0], &other.spec.chunks[0]][chunk];
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let stored = StoredChunk {
        store: reference.store,
        name: reference.name.clone(),
        uid: "uid".into(),
        bytes: 100,
        created_at: now - SignedDuration::from_mins(minutes),
    };
    let swept = sweep(std::slice::from_ref(&kept.spec), vec![stored.clone()], now);
    assert_eq!(swept, if expected { vec![stored] } else { vec![] });
}

fn packed(manifests: &[Arc<Manifest>]) -> Packed {
    pack("shop", manifests, &digest_of(manifests)).unwrap()
}

fn digest_of(manifests: &[Arc<Manifest>]) -> BundleDigest {
    let manifests: Vec<Manifest> = manifests.iter().map(|manifest| (**manifest).clone()).collect();
    bundle_digest(&manifests)
}

fn unpacked(packed: &Packed) -> Result<Vec<Arc<Manifest>>, BundleError> {
    let contents: BTreeMap<_, _> =
        packed.chunks.iter().map(|chunk| (chunk.reference.cmp_key(), chunk.content.as_slice())).collect();
    unpack(&packed.spec, |reference| contents.get(&reference.cmp_key()).map(|content| Cow::Borrowed(*content)))
}

fn names(chunks: &[ChunkRef]) -> BTreeSet<String> {
    chunks.iter().map(|chunk| chunk.name.clone()).collect()
}

fn sorted(mut manifests: Vec<Arc<Manifest>>) -> Vec<Arc<Manifest>> {
    manifests.sort_by(|one, other| one.id.cmp(&other.id));
    manifests
}

fn sample(count: usize) -> Vec<Arc<Manifest>> {
    sorted((0..count).map(|number| config_map(number, "some value")).collect())
}

fn config_map(number: usize, value: &str) -> Arc<Manifest> {
    manifest(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("object-{number}") }, "data": { "key": value } }),
        number,
    )
}

fn changed(manifest: &Manifest) -> Manifest {
    let mut value = manifest.value.read().into_owned();
    value["data"]["key"] = json!("changed");
    Manifest::from_value(value, None, Scope::Namespaced, manifest.origin.clone()).unwrap()
}

fn secret(number: usize, value: &str) -> Arc<Manifest> {
    manifest(
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("secret-{number}") }, "data": { "key": value } }),
        number,
    )
}

fn custom(value: &Value) -> Arc<Manifest> {
    manifest(
        json!({ "apiVersion": "example.com/v1", "kind": "Custom", "metadata": { "name": "one" }, "spec": { "value": value } }),
        0,
    )
}

fn manifest(value: Value, number: usize) -> Arc<Manifest> {
    let position = Some(Position { line: u32::try_from(number).unwrap() + 1, column: 1 });
    let origin = Some(Origin::new(format!("deploy/{}.yaml", number % 7), position));
    Arc::new(Manifest::from_value(value, Some("team-a"), Scope::Namespaced, origin).unwrap())
}
