//! Bundles: shared chunks, whole or refused, swept when nobody needs them.

use std::{collections::BTreeSet, sync::Arc};

use bowline::{
    history::bundles::{Packed, pack},
    manifest::{BundleDigest, Digest, Manifest, Scope, bundle_digest},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_bundle_comes_back_as_it_was_stored() {
    let world = World::new().await;
    let (manifests, packed) = bundle(&world, 120, "value");
    world.shop.store_bundle(&packed).await.unwrap();
    assert!(world.shop.has_bundle(&packed.spec.digest).await.unwrap());
    assert_eq!(world.shop.load_bundle(&packed.spec.digest).await.unwrap(), manifests);
}

#[tokio::test]
async fn a_small_change_writes_a_chunk_and_the_index() {
    let world = World::new().await;
    let (_, first) = bundle(&world, 300, "value");
    world.shop.store_bundle(&first).await.unwrap();
    let mut manifests = bundle(&world, 300, "value").0;
    manifests[5] = Arc::new(config_map(&world, 5_000, "new"));
    let packed = pack("shop", &manifests, &digest_of(&manifests)).unwrap();
    let mark = world.access.audit_log().mark().unwrap();
    world.shop.store_bundle(&packed).await.unwrap();
    let mut verbs = world.requests_since(mark);
    verbs.sort();
    let creates = verbs.iter().filter(|verb| *verb == "create").count();
    // One manifest went and one came: two chunks, the origins, the index.
    assert!(creates <= 4 && verbs.iter().filter(|verb| *verb == "list").count() == 2, "{verbs:?}");
    assert_eq!(verbs.len(), creates + 2, "{verbs:?}");
}

#[tokio::test]
async fn manifests_of_secrets_are_kept_in_immutable_secrets() {
    let world = World::new().await;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" }, "stringData": { "password": "hunter2" } });
    let secret = Manifest::from_value(secret, Some(&world.namespace), Scope::Namespaced, None).unwrap();
    let manifests = vec![Arc::new(config_map(&world, 1, "x")), Arc::new(secret)];
    let packed = pack("shop", &manifests, &digest_of(&manifests)).unwrap();
    world.shop.store_bundle(&packed).await.unwrap();
    assert_eq!(world.shop.load_bundle(&packed.spec.digest).await.unwrap(), manifests);
    let kept = world.kubectl(&["get", "secrets", "-o", "jsonpath={.items[*].type} {.items[*].immutable}"]).unwrap();
    assert_eq!(kept, "bowline.dev/bundle true");
    let rest = world.kubectl(&["get", "bundles,bundlechunks", "-o", "yaml"]).unwrap();
    assert!(!rest.contains("hunter2") && !rest.contains("aHVudGVyMg=="));
}

#[tokio::test]
async fn the_largest_objects_can_be_stored() {
    let world = World::new().await;
    let mut noise = String::new();
    while noise.len() < 1_000_000 {
        noise.push_str(&Digest::of(noise.len().to_string().as_bytes()).hex());
    }
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "large" }, "stringData": { "noise": noise } });
    let secret = Manifest::from_value(secret, Some(&world.namespace), Scope::Namespaced, None).unwrap();
    let manifests = vec![Arc::new(config_map(&world, 1, &noise)), Arc::new(secret)];
    let packed = pack("shop", &manifests, &digest_of(&manifests)).unwrap();
    world.shop.store_bundle(&packed).await.unwrap();
    assert_eq!(world.shop.load_bundle(&packed.spec.digest).await.unwrap(), manifests);
}

#[tokio::test]
async fn a_bundle_with_a_chunk_gone_or_exchanged_is_refused_by_name_and_mended_by_storing_it_again() {
    let world = World::new().await;
    let (manifests, packed) = bundle(&world, 60, "value");
    world.shop.store_bundle(&packed).await.unwrap();
    let victim = packed.spec.chunks[0].name.clone();
    let other = packed.spec.chunks[1].name.clone();

    world.kubectl(&["delete", "bundlechunk", &victim]).unwrap();
    let error = world.shop.load_bundle(&packed.spec.digest).await.unwrap_err().to_string();
    assert_eq!(error, format!("chunk {victim} of the bundle is missing"));

    let forged = world.kubectl(&["get", "bundlechunk", &other, "-o", "json"]).unwrap();
    let mut forged: serde_json::Value = serde_json::from_str(&forged).unwrap();
    forged["metadata"] = json!({ "name": victim, "namespace": world.namespace });
    world.create(&forged).unwrap();
    let error = world.shop.load_bundle(&packed.spec.digest).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("chunk {victim} of the bundle is corrupt")), "{error}");

    world.kubectl(&["delete", "bundlechunk", &victim]).unwrap();
    world.shop.store_bundle(&packed).await.unwrap();
    assert_eq!(world.shop.load_bundle(&packed.spec.digest).await.unwrap(), manifests);
}

#[tokio::test]
async fn a_bundle_that_was_never_stored_is_absent() {
    let world = World::new().await;
    let error = world.shop.load_bundle(&BundleDigest(Digest::of(b"x"))).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn only_what_no_kept_release_names_is_swept_and_only_after_an_hour() {
    let world = World::new().await;
    let (kept_manifests, kept) = bundle(&world, 200, "value");
    let mut others = kept_manifests.clone();
    others[3] = Arc::new(config_map(&world, 9_999, "other"));
    let other = pack("shop", &others, &digest_of(&others)).unwrap();
    world.shop.store_bundle(&kept).await.unwrap();
    world.shop.store_bundle(&other).await.unwrap();
    let neighbour = world.store.of(&world.namespace, "shop-b");
    let (_, of_neighbour) = bundle(&world, 10, "value");
    let of_neighbour = Packed { spec: of_neighbour.spec, ..of_neighbour };
    let neighbours = bundle(&world, 10, "value").0;
    let neighbours_packed = pack("shop-b", &neighbours, &of_neighbour.spec.digest).unwrap();
    neighbour.store_bundle(&neighbours_packed).await.unwrap();

    let keep = BTreeSet::from([kept.spec.digest.clone()]);
    let now = Timestamp::now();
    let young = world.shop.sweep_bundles(&keep, now).await.unwrap();
    assert_eq!((young.bundles, young.chunks), (0, 0));
    let due = young.due.unwrap();
    assert!(due > now + SignedDuration::from_mins(58) && due < now + SignedDuration::from_mins(61), "{due}");

    let swept = world.shop.sweep_bundles(&keep, now + SignedDuration::from_hours(2)).await.unwrap();
    assert!(swept.bundles == 1 && (1..=4).contains(&swept.chunks) && swept.due.is_none(), "{swept:?}");
    assert_eq!(swept.kept, world.shop.kept_content().await.unwrap(), "what is left is known without another look");
    assert_eq!(world.shop.load_bundle(&kept.spec.digest).await.unwrap(), kept_manifests);
    assert!(world.shop.load_bundle(&other.spec.digest).await.unwrap_err().is_not_found());
    assert_eq!(neighbour.load_bundle(&neighbours_packed.spec.digest).await.unwrap(), neighbours);
}

#[tokio::test]
async fn one_look_at_all_applications_sees_what_each_would_see_by_itself() {
    let world = World::new().await;
    let (_, packed) = bundle(&world, 30, "value");
    world.shop.store_bundle(&packed).await.unwrap();
    let neighbour = world.store.of(&world.namespace, "shop-b");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" }, "stringData": { "password": "hunter2" } });
    let secret = Manifest::from_value(secret, Some(&world.namespace), Scope::Namespaced, None).unwrap();
    let manifests = vec![Arc::new(config_map(&world, 1, "x")), Arc::new(secret)];
    let of_neighbour = pack("shop-b", &manifests, &digest_of(&manifests)).unwrap();
    neighbour.store_bundle(&of_neighbour).await.unwrap();
    let lost = packed.spec.chunks[0].name.clone();
    world.kubectl(&["delete", "bundlechunk", &lost]).unwrap();

    let all = world.store.kept_content(&BTreeSet::new()).await.unwrap();
    let here = world.store.kept_content(&BTreeSet::from([world.namespace.clone()])).await.unwrap();
    let of = |application: &str| all[&(world.namespace.clone(), application.to_owned())].clone();
    assert_eq!(of("shop"), world.shop.kept_content().await.unwrap());
    assert_eq!(of("shop-b"), neighbour.kept_content().await.unwrap());
    assert!(here.len() == 2 && here.iter().all(|(key, kept)| all[key] == *kept), "{here:?}");
    assert!(of("shop").bytes > 0 && of("shop-b").bytes > 0);
    let missing =
        |application: &str, digest: &BundleDigest| of(application).missing(&world.namespace, application, digest);
    assert_eq!(missing("shop", &packed.spec.digest), Some(format!("chunk {lost} of the bundle is missing")));
    assert_eq!(missing("shop-b", &of_neighbour.spec.digest), None);
    let never = missing("shop", &BundleDigest(Digest::of(b"never"))).unwrap();
    assert!(never.starts_with("Bundle ") && never.ends_with(" does not exist"), "{never}");
}

fn bundle(world: &World, count: usize, value: &str) -> (Vec<Arc<Manifest>>, Packed) {
    let mut manifests: Vec<_> = (0..count).map(|number| Arc::new(config_map(world, number, value))).collect();
    manifests.sort_by(|one, other| one.id.cmp(&other.id));
    let packed = pack("shop", &manifests, &digest_of(&manifests)).unwrap();
    (manifests, packed)
}

fn config_map(world: &World, number: usize, value: &str) -> Manifest {
    let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("object-{number}") }, "data": { "key": value } });
    Manifest::from_value(value, Some(&world.namespace), Scope::Namespaced, None).unwrap()
}

fn digest_of(manifests: &[Arc<Manifest>]) -> BundleDigest {
    bundle_digest(&manifests.iter().map(|manifest| (**manifest).clone()).collect::<Vec<_>>())
}
