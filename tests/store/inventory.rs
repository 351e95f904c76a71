//! The inventory: few writes, no lost update, whole after a crash.

use bowline::{
    api::Inventory,
    cluster::store::{StoreError, StoredInventory},
    history::inventory::{Layout, split},
    manifest::{Digest, Fingerprint, GroupKind, GroupVersionKind, ManifestDigest, ObjectId},
    plan::{Owned, OwnedObjects},
};
use kube::{Api, api::PostParams};

use crate::world::World;

#[tokio::test]
async fn what_was_written_is_read_again() {
    let world = World::new().await;
    let empty = world.shop.load_inventory().await.unwrap();
    assert!(empty.objects.is_empty() && empty.missing.is_empty());
    write(&world, &empty, objects(0..500)).await.unwrap();
    assert_eq!(world.shop.load_inventory().await.unwrap().objects, objects(0..500));
}

#[tokio::test]
async fn one_changed_object_is_one_request_and_no_change_is_none() {
    let world = World::new().await;
    let empty = world.shop.load_inventory().await.unwrap();
    let stored = write(&world, &empty, objects(0..1_000)).await.unwrap();
    let mark = world.access.audit_log().mark().unwrap();
    let mut changed = objects(0..1_000);
    changed.insert(id(7), owned(8_888));
    let stored = write(&world, &stored, changed.clone()).await.unwrap();
    let stored = write(&world, &stored, changed.clone()).await.unwrap();
    assert_eq!(world.requests_since(mark), ["update"]);
    assert_eq!(stored.objects, changed);
    assert_eq!(world.shop.load_inventory().await.unwrap().objects, changed);
}

#[tokio::test]
async fn the_second_of_two_writers_must_read_again() {
    let world = World::new().await;
    let empty = world.shop.load_inventory().await.unwrap();
    let first = write(&world, &empty, objects(0..10)).await.unwrap();
    let late = write(&world, &empty, objects(5..15)).await.unwrap_err();
    assert!(late.is_already_exists(), "{late}");
    write(&world, &first, objects(0..11)).await.unwrap();
    let late = write(&world, &first, objects(0..12)).await.unwrap_err();
    assert!(late.is_conflict() && late.is_lost_race(), "{late}");
    assert_eq!(world.shop.load_inventory().await.unwrap().objects, objects(0..11));
}

#[tokio::test]
async fn the_buckets_grow_and_shrink_with_the_objects() {
    let world = World::new().await;
    let mut stored = world.shop.load_inventory().await.unwrap();
    for (count, buckets) in [(10, 1), (600, 8), (580, 8), (20, 1)] {
        stored = write(&world, &stored, objects(0..count)).await.unwrap();
        let names = world.kubectl(&["get", "inventories", "-o", "name"]).unwrap();
        assert_eq!(names.lines().count(), buckets, "{count} objects: {names}");
        assert_eq!(world.shop.load_inventory().await.unwrap().objects, objects(0..count));
    }
}

#[tokio::test]
async fn a_writing_of_more_buckets_that_broke_off_is_as_if_it_had_not_begun() {
    let world = World::new().await;
    let empty = world.shop.load_inventory().await.unwrap();
    write(&world, &empty, objects(0..90)).await.unwrap();
    // Two of the eight new buckets were written, and then the controller was killed.
    let next = split("shop", &objects(0..400), Layout { generation: 1, buckets: 8 });
    for bucket in next.into_iter().take(2) {
        let name = format!("shop-{}-{}", bucket.generation, bucket.bucket);
        let api: Api<Inventory> = Api::namespaced(world.client.clone(), &world.namespace);
        api.create(&PostParams::default(), &Inventory::new(&name, bucket)).await.unwrap();
    }
    let found = world.shop.load_inventory().await.unwrap();
    assert_eq!(found.objects, objects(0..90));
    let stored = write(&world, &found, objects(0..300)).await.unwrap();
    assert_eq!(world.shop.load_inventory().await.unwrap().objects, objects(0..300));
    world.shop.delete_inventory(&stored).await.unwrap();
    assert_eq!(world.kubectl(&["get", "inventories", "-o", "name"]).unwrap(), "");
}

#[tokio::test]
async fn a_bucket_that_somebody_deleted_is_said_and_written_anew() {
    let world = World::new().await;
    let empty = world.shop.load_inventory().await.unwrap();
    write(&world, &empty, objects(0..300)).await.unwrap();
    world.kubectl(&["delete", "inventory", "shop-0-3"]).unwrap();
    let found = world.shop.load_inventory().await.unwrap();
    assert_eq!(found.missing, [3]);
    assert!(found.objects.len() < 300);
    write(&world, &found, objects(0..300)).await.unwrap();
    let mended = world.shop.load_inventory().await.unwrap();
    assert_eq!((mended.objects, mended.missing), (objects(0..300), vec![]));
}

/// Writes an inventory as it is wanted over a stored one.
async fn write(world: &World, stored: &StoredInventory, wanted: OwnedObjects) -> Result<StoredInventory, StoreError> {
    let gone = stored.objects.keys().filter(|id| !wanted.contains_key(*id)).map(|id| (id.clone(), None));
    let changes = gone.chain(wanted.iter().map(|(id, owned)| (id.clone(), Some(owned.clone())))).collect();
    let mut written = stored.clone();
    world.shop.write_inventory(&mut written, changes).await?;
    Ok(written)
}

fn objects(numbers: std::ops::Range<u32>) -> OwnedObjects {
    numbers.map(|number| (id(number), owned(number))).collect()
}

fn id(number: u32) -> ObjectId {
    ObjectId::new(GroupKind::new("apps", "Deployment"), Some("team-a".into()), format!("object-{number}"))
}

fn owned(number: u32) -> Owned {
    let digest = Digest::of(&number.to_be_bytes());
    Owned {
        gvk: GroupVersionKind::new("apps", "v1", "Deployment"),
        uid: (!number.is_multiple_of(5)).then(|| format!("uid-{number}")),
        manifest: Some(ManifestDigest(digest.clone())),
        fingerprint: (!number.is_multiple_of(4)).then_some(Fingerprint(digest)),
        done: number.is_multiple_of(7),
        hook: false,
    }
}
