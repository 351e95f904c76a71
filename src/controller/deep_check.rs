//! Whose turn a deep check is: a bounded number of objects an hour, over all
//! applications, one after the other. Pure, but for the set of who was asked.
//!
//! A deep check has the server try the manifest of an object that is in sync
//! by its fingerprint. It costs a read and a dry-run, so that it is off unless
//! it is asked for; it is there so that a fingerprint that is wrong, or blind
//! to something, cannot stay unseen.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    cluster::OwnerKey,
    manifest::ObjectId,
    plan::{Owned, OwnedObjects},
};

/// The most that can be asked for: ten a second.
pub const MOST_PER_HOUR: u32 = 36_000;

/// The applications in turn.
#[derive(Debug, Default)]
pub(super) struct Rota {
    last: Option<OwnerKey>,
}

impl Rota {
    /// How long it is from one turn to the next; none where it is off.
    pub(super) fn interval(per_hour: u32) -> Option<Duration> {
        let per_hour = per_hour.min(MOST_PER_HOUR);
        (per_hour > 0).then(|| Duration::from_secs(3_600) / per_hour)
    }

    /// The application whose turn is next.
    pub(super) fn next(&mut self, applications: &BTreeSet<OwnerKey>) -> Option<OwnerKey> {
        let after = self
            .last
            .as_ref()
            .and_then(|last| applications.range::<OwnerKey, _>((Bound::Excluded(last), Bound::Unbounded)).next());
        let next = after.or_else(|| applications.first()).cloned();
        self.last.clone_from(&next);
        next
    }
}

/// The object of an application that is compared next: each once in a round,
/// but for those that are known to differ, and those of which nothing is
/// recorded that could be wrong.
pub(super) fn next_object<'a>(
    objects: &'a OwnedObjects,
    after: Option<&ObjectId>,
    differs: impl Fn(&ObjectId) -> bool,
) -> Option<&'a ObjectId> {
    let comparable = |(id, owned): &(&ObjectId, &Owned)| {
        let is_recorded = owned.uid.is_some() && owned.manifest.is_some() && owned.fingerprint.is_some();
        is_recorded && !owned.done && !differs(id)
    };
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let later = objects.range::<ObjectId, _>((from, Bound::Unbounded)).find(&comparable);
    later.or_else(|| objects.iter().find(&comparable)).map(|(id, _)| id)
}

/// The applications that were told that it is their turn.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<BTreeSet<OwnerKey>>);

impl Asked {
    /// Tells an application.
    pub(super) fn ask(&self, owner: OwnerKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(owner);
    }

    /// Whether an application was told; it is told once.
    pub(super) fn take(&self, owner: &OwnerKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(owner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::plan::testing::{config_map, owned};

    fn owners(names: &[&str]) -> BTreeSet<OwnerKey> {
        names.iter().map(|name| OwnerKey::new("team-a", name)).collect()
    }

    #[rstest]
    #[case::off(0, None)]
    #[case::one(1, Some(3_600_000))]
    #[case::sixty(60, Some(60_000))]
    #[case::the_most(MOST_PER_HOUR, Some(100))]
    #[case::more_than_the_most(u32::MAX, Some(100))]
    fn checks_are_spread_over_the_hour(#[case] per_hour: u32, #[case] milliseconds: Option<u64>) {
        assert_eq!(Rota::interval(per_hour), milliseconds.map(Duration::from_millis));
    }

    #[test]
    fn applications_take_turns_also_while_some_come_and_go() {
        let mut rota = Rota::default();
        let mut turn = |names: &[&str]| rota.next(&owners(names)).map(|owner| owner.name().to_owned());
        assert_eq!(turn(&["a", "b", "c"]).as_deref(), Some("a"));
        assert_eq!(turn(&["a", "b", "c"]).as_deref(), Some("b"));
        assert_eq!(turn(&["a", "c", "d"]).as_deref(), Some("c"));
        assert_eq!(turn(&["a"]).as_deref(), Some("a"));
        assert_eq!(turn(&["a"]).as_deref(), Some("a"));
        assert_eq!(turn(&[]), None);
        assert_eq!(turn(&["a", "b"]).as_deref(), Some("a"));
    }

    #[test]
    fn what_is_not_recorded_or_done_is_not_compared() {
        let mut objects: OwnedObjects = ["a", "b", "c", "d"]
            .iter()
            .map(|name| config_map(name, "x"))
            .map(|it| (it.id.clone(), owned(&it)))
            .collect();
        let id = |name: &str| config_map(name, "x").id.clone();
        objects.get_mut(&id("a")).unwrap().done = true;
        objects.get_mut(&id("b")).unwrap().fingerprint = None;
        objects.get_mut(&id("d")).unwrap().uid = None;
        assert_eq!(next_object(&objects, None, |_| false), Some(&id("c")));
        assert_eq!(next_object(&objects, Some(&id("c")), |_| false), Some(&id("c")));
        assert_eq!(next_object(&objects, None, |it| *it == id("c")), None, "it is known to differ");
        objects.get_mut(&id("c")).unwrap().manifest = None;
        assert_eq!(next_object(&objects, None, |_| false), None);
    }

    #[test]
    fn who_is_asked_is_asked_once() {
        let asked = Asked::default();
        let owner = OwnerKey::new("team-a", "shop");
        asked.ask(owner.clone());
        asked.ask(owner.clone());
        assert!(asked.take(&owner));
        assert!(!asked.take(&owner));
    }

    proptest! {
        #[test]
        fn in_a_round_each_object_has_its_turn_once(names in prop::collection::btree_set("[a-z]{1,3}", 1..20), start in 0..20usize) {
            let objects: OwnedObjects =
                names.iter().map(|name| config_map(name, "x")).map(|it| (it.id.clone(), owned(&it))).collect();
            let mut last = objects.keys().nth(start).cloned();
            let mut seen = BTreeSet::new();
            for _ in 0..objects.len() {
                last = next_object(&objects, last.as_ref(), |_| false).cloned();
                seen.extend(last.clone());
            }
            prop_assert_eq!(seen.len(), objects.len());
        }
    }
}
