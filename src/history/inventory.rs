//! The inventory of an application as it is laid out in the cluster: hash
//! buckets, so that a small change rewrites one of them.
//!
//! The number of buckets follows the number of objects. When it changes, all
//! buckets are written anew under the next *generation*, and only then is the
//! old generation deleted: whatever is left after a crash has one generation
//! that is complete, and the newest complete one is the inventory.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{InventoryEntry, InventorySpec},
    manifest::ObjectId,
    plan::{Owned, OwnedObjects},
};

/// How many entries a bucket has on average at most, before there are more buckets.
const FULL: usize = 192;
/// How many a bucket has when their number is chosen.
const TARGET: usize = 128;
/// Below this average there are fewer buckets.
const SPARSE: usize = 24;
/// The number of buckets never passes this; a bucket then has more entries.
const MOST_BUCKETS: u32 = 1024;

/// How many buckets there are, and which writing of all of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Grows by one whenever the number of buckets changes.
    pub generation: u32,
    /// The number of buckets, a power of two.
    pub buckets: u32,
}

impl Layout {
    /// The layout of an application that has none yet.
    pub fn first(objects: usize) -> Self {
        Self { generation: 0, buckets: buckets_for(objects) }
    }

    /// The layout for a number of objects: this one while it fits, so that the
    /// buckets are not written anew at every change around a threshold.
    #[must_use]
    pub fn for_objects(self, objects: usize) -> Self {
        let average = objects / self.buckets.max(1) as usize;
        let too_few = average > FULL && self.buckets < MOST_BUCKETS;
        let too_many = self.buckets > 1 && average < SPARSE;
        if too_few || too_many {
            return Self { generation: self.generation.saturating_add(1), buckets: buckets_for(objects) };
        }
        self
    }

    /// The layout of one bucket as it was read.
    pub fn of(bucket: &InventorySpec) -> Self {
        Self { generation: bucket.generation, buckets: bucket.buckets }
    }
}

/// The number of buckets for a number of objects: a power of two with 128
/// entries a bucket or less.
pub fn buckets_for(objects: usize) -> u32 {
    let wanted = objects.div_ceil(TARGET).max(1).next_power_of_two();
    u32::try_from(wanted).unwrap_or(MOST_BUCKETS).min(MOST_BUCKETS)
}

/// The bucket of an object: the same for all of its API versions.
pub fn bucket_of(id: &ObjectId, buckets: u32) -> u32 {
    let [first, second, third, fourth, ..] = *id.sha256();
    u32::from_be_bytes([first, second, third, fourth]) % buckets.max(1)
}

/// What changes in an inventory: what is known of an object from now on, or
/// nothing where the application has it no more.
pub type Changes = BTreeMap<ObjectId, Option<Owned>>;

/// All buckets of a layout, also the empty ones.
pub fn split(application: &str, objects: &OwnedObjects, layout: Layout) -> Vec<InventorySpec> {
    buckets(application, objects, (0..layout.buckets.max(1)).collect(), layout).collect()
}

/// Some buckets of a layout, each made when it is asked for: all at once would
/// be the whole inventory once more.
pub fn buckets<'a>(
    application: &'a str,
    objects: &'a OwnedObjects,
    wanted: BTreeSet<u32>,
    layout: Layout,
) -> impl Iterator<Item = InventorySpec> + 'a {
    let mut held: BTreeMap<u32, Vec<(&ObjectId, &Owned)>> =
        wanted.into_iter().map(|bucket| (bucket, Vec::new())).collect();
    for (id, owned) in objects {
        if let Some(bucket) = held.get_mut(&bucket_of(id, layout.buckets)) {
            bucket.push((id, owned));
        }
    }
    held.into_iter().map(move |(bucket, objects)| InventorySpec {
        application: application.to_owned(),
        generation: layout.generation,
        bucket,
        buckets: layout.buckets.max(1),
        entries: objects.into_iter().map(|(id, owned)| entry(id, owned)).collect(),
    })
}

/// An inventory as it was put together from what is in the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Joined {
    /// The objects.
    pub objects: OwnedObjects,
    /// How they are laid out; none if there is nothing yet.
    pub layout: Option<Layout>,
    /// Numbers of buckets that ought to be there and are not: somebody deleted
    /// them, and what they named is no longer known.
    pub missing: Vec<u32>,
}

/// Why an inventory cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InventoryError {
    /// An entry has no usable API version.
    #[error("the inventory names {id} with the API version `{api_version}`, which is none")]
    ApiVersion {
        /// The object.
        id: ObjectId,
        /// What its entry says.
        api_version: String,
    },
    /// A bucket says something impossible of itself.
    #[error("bucket {bucket} of {buckets} of generation {generation} of the inventory cannot be")]
    Bucket {
        /// Its generation.
        generation: u32,
        /// Its number.
        bucket: u32,
        /// How many there are.
        buckets: u32,
    },
}

/// Puts an inventory together. The newest complete generation counts. If none
/// is complete, somebody deleted buckets: then all of them count, a newer
/// generation outranks an older one entry by entry, and what is missing is said.
pub fn join<'a>(buckets: impl IntoIterator<Item = &'a InventorySpec>) -> Result<Joined, InventoryError> {
    let mut generations: BTreeMap<u32, BTreeMap<u32, &InventorySpec>> = BTreeMap::new();
    for bucket in buckets {
        if bucket.bucket >= bucket.buckets {
            let InventorySpec { generation, bucket, buckets, .. } = *bucket;
            return Err(InventoryError::Bucket { generation, bucket, buckets });
        }
        generations.entry(bucket.generation).or_default().insert(bucket.bucket, bucket);
    }
    let complete = generations.values().rev().find(|buckets| missing(buckets).is_empty());
    let counted: Vec<_> = match complete {
        Some(complete) => vec![complete],
        None => generations.values().collect(),
    };
    let mut joined = Joined::default();
    for buckets in counted {
        joined.layout = buckets.values().next().map(|bucket| Layout::of(bucket));
        joined.missing = missing(buckets);
        for entry in buckets.values().flat_map(|bucket| &bucket.entries) {
            joined.objects.insert(entry.id.clone(), owned(entry)?);
        }
    }
    Ok(joined)
}

fn missing(buckets: &BTreeMap<u32, &InventorySpec>) -> Vec<u32> {
    let expected = buckets.values().map(|bucket| bucket.buckets).max().unwrap_or(0).min(MOST_BUCKETS);
    (0..expected).filter(|bucket| !buckets.contains_key(bucket)).collect()
}

fn entry(id: &ObjectId, owned: &Owned) -> InventoryEntry {
    InventoryEntry {
        id: id.clone(),
        api_version: owned.gvk.api_version(),
        uid: owned.uid.clone(),
        manifest: owned.manifest.clone(),
        fingerprint: owned.fingerprint.clone(),
        done: owned.done,
        hook: owned.hook,
    }
}

fn owned(entry: &InventoryEntry) -> Result<Owned, InventoryError> {
    let unusable = || InventoryError::ApiVersion { id: entry.id.clone(), api_version: entry.api_version.clone() };
    Ok(Owned {
        gvk: entry.gvk().ok_or_else(unusable)?,
        uid: entry.uid.clone(),
        manifest: entry.manifest.clone(),
        fingerprint: entry.fingerprint.clone(),
        done: entry.done,
        hook: entry.hook,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::manifest::{Digest, Fingerprint, GroupKind, GroupVersionKind, ManifestDigest};

    #[rstest]
    #[case(0, 1)]
    #[case(128, 1)]
    #[case(129, 2)]
    #[case(1_000, 8)]
    #[case(10_000, 128)]
    #[case(1_000_000, 1024)]
    fn buckets_have_128_entries_or_less(#[case] objects: usize, #[case] expected: u32) {
        assert_eq!(buckets_for(objects), expected);
    }

    #[rstest]
    #[case::it_fits(4, 512, 4)]
    #[case::a_little_over_is_borne(4, 760, 4)]
    #[case::too_full(4, 800, 8)]
    #[case::a_little_under_is_borne(4, 120, 4)]
    #[case::too_sparse(4, 80, 1)]
    #[case::one_bucket_may_be_empty(1, 0, 1)]
    fn the_layout_changes_only_when_it_must(#[case] buckets: u32, #[case] objects: usize, #[case] expected: u32) {
        let before = Layout { generation: 3, buckets };
        let after = before.for_objects(objects);
        assert_eq!(after.buckets, expected);
        assert_eq!(after.generation, if after.buckets == buckets { 3 } else { 4 });
    }

    #[test]
    fn the_bucket_of_an_object_is_the_same_for_ever() {
        let id = ObjectId::new(GroupKind::new("apps", "Deployment"), Some("team-a".into()), "web");
        assert_eq!([1, 2, 16, 1024].map(|buckets| bucket_of(&id, buckets)), [0, 1, 13, 925]);
    }

    #[test]
    fn one_changed_object_of_thousands_changes_one_bucket() {
        let before = objects(0..5_000);
        let layout = Layout::first(before.len());
        let mut after = before.clone();
        after.insert(id(7), owned_object(99));
        let bucket = bucket_of(&id(7), layout.buckets);
        let mut all = split("shop", &before, layout);
        all.extend(buckets("shop", &after, BTreeSet::from([bucket]), layout));
        all.swap_remove(bucket as usize);
        assert_eq!(all, split("shop", &after, layout));
    }

    #[test]
    fn the_newest_complete_generation_counts() {
        let old = split("shop", &objects(0..100), Layout { generation: 0, buckets: 2 });
        let new = split("shop", &objects(50..150), Layout { generation: 1, buckets: 4 });
        let all: Vec<_> = old.iter().chain(&new).collect();
        assert_eq!(join(all).expect("both are whole").objects, objects(50..150));
        let broken_off: Vec<_> = old.iter().chain(&new[..3]).collect();
        let joined = join(broken_off).expect("the old one is whole");
        assert_eq!((joined.objects, joined.layout), (objects(0..100), Some(Layout { generation: 0, buckets: 2 })));
        let old_partly_deleted: Vec<_> = old[1..].iter().chain(&new).collect();
        assert_eq!(join(old_partly_deleted).expect("the new one is whole").objects, objects(50..150));
    }

    #[test]
    fn buckets_that_somebody_deleted_are_said() {
        let mut buckets = split("shop", &objects(0..300), Layout { generation: 2, buckets: 4 });
        let lost = buckets.remove(1);
        let joined = join(&buckets).expect("what is left can be read");
        assert_eq!(joined.missing, [1]);
        assert_eq!(joined.objects.len() + lost.entries.len(), 300);
    }

    #[test]
    fn an_entry_without_a_usable_version_is_an_error_that_names_it() {
        let mut buckets = split("shop", &objects(0..1), Layout::first(1));
        buckets[0].entries[0].api_version = "a/b/c".into();
        let error = join(&buckets).expect_err("a/b/c is no version").to_string();
        assert_eq!(error, "the inventory names ConfigMap team-a/object-0 with the API version `a/b/c`, which is none");
    }

    proptest! {
        #[test]
        fn what_is_split_is_joined_again(numbers in prop::collection::btree_map(0..500_u32, 0..9_u32, 0..200), buckets in 0..6_u32) {
            let objects: OwnedObjects = numbers.iter().map(|(number, of)| (id(*number), owned_object(*of))).collect();
            let layout = Layout { generation: 1, buckets: 1 << buckets };
            let joined = join(&split("shop", &objects, layout)).expect("it was split a moment ago");
            prop_assert_eq!(joined, Joined { objects, layout: Some(layout), missing: Vec::new() });
        }

        #[test]
        fn writing_the_changed_buckets_is_as_good_as_writing_all(
            before in prop::collection::btree_map(0..300_u32, 0..9_u32, 0..200),
            after in prop::collection::btree_map(0..300_u32, 0..9_u32, 0..200),
        ) {
            let of = |numbers: &BTreeMap<u32, u32>| -> OwnedObjects {
                numbers.iter().map(|(number, of)| (id(*number), owned_object(*of))).collect()
            };
            let (before, after) = (of(&before), of(&after));
            let layout = Layout { generation: 0, buckets: 8 };
            let mut stored = split("shop", &before, layout);
            let all: BTreeSet<&ObjectId> = before.keys().chain(after.keys()).collect();
            let changed = all.into_iter().filter(|id| before.get(*id) != after.get(*id));
            let changed = changed.map(|id| bucket_of(id, layout.buckets)).collect();
            for bucket in buckets("shop", &after, changed, layout) {
                let number = bucket.bucket as usize;
                stored[number] = bucket;
            }
            prop_assert_eq!(stored, split("shop", &after, layout));
        }
    }

    fn objects(numbers: std::ops::Range<u32>) -> OwnedObjects {
        numbers.map(|number| (id(number), owned_object(number))).collect()
    }

    fn id(number: u32) -> ObjectId {
        ObjectId::new(GroupKind::new("", "ConfigMap"), Some("team-a".into()), format!("object-{number}"))
    }

    fn owned_object(number: u32) -> Owned {
        let digest = Digest::of(&number.to_be_bytes());
        Owned {
            gvk: GroupVersionKind::new("", "v1", "ConfigMap"),
            uid: (!number.is_multiple_of(5)).then(|| format!("uid-{number}")),
            manifest: (!number.is_multiple_of(3)).then(|| ManifestDigest(digest.clone())),
            fingerprint: (!number.is_multiple_of(4)).then_some(Fingerprint(digest)),
            done: number.is_multiple_of(7),
            hook: number.is_multiple_of(11),
        }
    }
}
