//! The levels of waves and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Refusal, RefusalReason,
    dependency::{DEPENDS_ON, dependencies},
    wave,
};
use crate::manifest::{Manifest, ObjectId};

/// In which order the members of a bundle are written. Objects that say
/// nothing are on the level of wave 0; where no object says anything, there is
/// one level and nothing is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Waves, of all members if any has one, and of none otherwise.
    waves: BTreeMap<ObjectId, i32>,
    /// What each member depends on.
    depends: BTreeMap<ObjectId, Vec<ObjectId>>,
    /// Levels other than 0.
    levels: BTreeMap<ObjectId, u32>,
}

impl Schedule {
    /// Reads the annotations of the members. What cannot be obeyed is refused:
    /// annotations without a meaning, dependencies on what the application does
    /// not have, and circles, with their path.
    pub fn of<'a>(members: impl Iterator<Item = &'a Manifest> + Clone) -> (Self, Vec<Refusal>) {
        let mut schedule = Self::default();
        let mut refusals = Vec::new();
        let mut waves: BTreeMap<&ObjectId, i32> = BTreeMap::new();
        for manifest in members.clone() {
            match wave(manifest) {
                Ok(0) => {}
                Ok(wave) => _ = waves.insert(&manifest.id, wave),
                Err(refusal) => refusals.push(*refusal),
            }
            match dependencies(manifest) {
                Ok(depends) if depends.is_empty() => {}
                Ok(depends) => _ = schedule.depends.insert(manifest.id.clone(), depends),
                Err(refusal) => refusals.push(*refusal),
            }
        }
        if waves.is_empty() && schedule.depends.is_empty() {
            return (schedule, refusals);
        }
        let known: BTreeSet<&ObjectId> = members.map(|manifest| &manifest.id).collect();
        if !waves.is_empty() {
            let wave_of = |id: &ObjectId| waves.get(id).copied().unwrap_or(0);
            schedule.waves = known.iter().map(|id| ((*id).clone(), wave_of(id))).collect();
        }
        refusals.extend(schedule.unknown(&known));
        refusals.extend(schedule.against_waves());
        if refusals.is_empty() {
            match schedule.depths() {
                Ok(depths) => schedule.levels = schedule.number(&depths),
                Err(circle) => refusals.push(circular(&circle)),
            }
        }
        (schedule, refusals)
    }

    /// The level of a member, from 0.
    pub fn level(&self, id: &ObjectId) -> u32 {
        self.levels.get(id).copied().unwrap_or(0)
    }

    /// What must be healthy before these members are written: what they depend
    /// on, and all that belongs to an earlier wave.
    pub fn waits_for<'a>(&self, members: impl Iterator<Item = &'a ObjectId>) -> BTreeSet<ObjectId> {
        let mut waits_for = BTreeSet::new();
        let mut latest = None;
        for id in members {
            waits_for.extend(self.depends.get(id).into_iter().flatten().cloned());
            latest = latest.max(self.waves.get(id).copied());
        }
        if let Some(latest) = latest {
            waits_for.extend(self.waves.iter().filter(|(_, wave)| **wave < latest).map(|(id, _)| id.clone()));
        }
        waits_for
    }

    fn wave(&self, id: &ObjectId) -> i32 {
        self.waves.get(id).copied().unwrap_or(0)
    }

    /// Dependencies on objects that the application does not have: nothing
    /// would ever open what waits for them.
    fn unknown(&self, known: &BTreeSet<&ObjectId>) -> Vec<Refusal> {
        let edges = self.depends.iter().flat_map(|(id, depends)| depends.iter().map(move |on| (id, on)));
        edges
            .filter(|(_, on)| !known.contains(on))
            .map(|(id, on)| Refusal {
                reason: RefusalReason::DependencyAbsent,
                object: Some(id.clone()),
                message: format!("depends on {on}, which the application does not have"),
                hint: Some(format!(
                    "add it to the same path, or correct the annotation {DEPENDS_ON}; \
                     for what another Application brings, use dependsOn of the Application"
                )),
                transient: false,
            })
            .collect()
    }

    /// Dependencies on what only a later wave brings.
    fn against_waves(&self) -> Vec<Refusal> {
        let edges = self.depends.iter().flat_map(|(id, depends)| depends.iter().map(move |on| (id, on)));
        edges
            .filter(|(id, on)| self.wave(id) < self.wave(on))
            .map(|(id, on)| Refusal {
                reason: RefusalReason::DependencyCycle,
                object: Some(id.clone()),
                message: format!(
                    "is of wave {} and depends on {on} of wave {}, which comes after it",
                    self.wave(id),
                    self.wave(on)
                ),
                hint: Some(format!(
                    "give it a later wave, or remove one of the annotations ({}, {DEPENDS_ON})",
                    super::WAVE
                )),
                transient: false,
            })
            .collect()
    }

    /// How far each member is from the beginning of its wave, along what it
    /// depends on within the wave; or the members of a circle.
    fn depths(&self) -> Result<BTreeMap<&ObjectId, u32>, Vec<ObjectId>> {
        let mut depths = BTreeMap::new();
        for start in self.depends.keys() {
            // Depth first without recursion: chains may be long.
            let mut path: Vec<(&ObjectId, usize)> = vec![(start, 0)];
            let mut on_path = BTreeSet::from([start]);
            while let Some((id, next)) = path.last_mut() {
                let id = *id;
                let depends = self.depends.get(id).map(Vec::as_slice).unwrap_or_default();
                let Some(on) = depends.get(*next).filter(|_| !depths.contains_key(id)) else {
                    let within = depends.iter().filter(|on| self.wave(on) == self.wave(id));
                    let depth = within.map(|on| depths.get(on).copied().unwrap_or(0) + 1).max().unwrap_or(0);
                    depths.entry(id).or_insert(depth);
                    on_path.remove(id);
                    path.pop();
                    continue;
                };
                *next += 1;
                if on_path.contains(on) {
                    let from = path.iter().position(|(id, _)| *id == on).unwrap_or(0);
                    return Err(path[from..].iter().map(|(id, _)| (*id).clone()).collect());
                }
                if !depths.contains_key(on) {
                    on_path.insert(on);
                    path.push((on, 0));
                }
            }
        }
        Ok(depths)
    }

    /// Numbers the levels: wave by wave, and within a wave by depth.
    fn number(&self, depths: &BTreeMap<&ObjectId, u32>) -> BTreeMap<ObjectId, u32> {
        let mut deepest: BTreeMap<i32, u32> = BTreeMap::from([(0, 0)]);
        for wave in self.waves.values() {
            deepest.entry(*wave).or_insert(0);
        }
        for (id, depth) in depths {
            let deepest = deepest.entry(self.wave(id)).or_insert(0);
            *deepest = (*deepest).max(*depth);
        }
        if self.waves.values().all(|wave| *wave != 0) && !self.waves.is_empty() {
            deepest.remove(&0);
        }
        let mut first = BTreeMap::new();
        let mut level = 0;
        for (wave, depth) in deepest {
            first.insert(wave, level);
            level += depth + 1;
        }
        let members = self.waves.keys().chain(self.depends.keys());
        members
            .map(|id| (id, first.get(&self.wave(id)).copied().unwrap_or(0) + depths.get(id).copied().unwrap_or(0)))
            .filter(|(_, level)| *level > 0)
            .map(|(id, level)| (id.clone(), level))
            .collect()
    }
}

fn circular(circle: &[ObjectId]) -> Refusal {
    let mut path: Vec<String> = circle.iter().map(ToString::to_string).collect();
    path.extend(path.first().cloned());
    Refusal {
        reason: RefusalReason::DependencyCycle,
        object: circle.first().cloned(),
        message: format!("depends on itself: {}", path.join(" → ")),
        hint: Some(format!("remove one of these dependencies ({DEPENDS_ON})")),
        transient: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::plan::testing::manifest;

    /// A ConfigMap with a wave and dependencies on others by name.
    fn object(name: &str, wave: Option<&str>, on: &[&str]) -> Arc<Manifest> {
        let mut annotations = Map::new();
        if let Some(wave) = wave {
            annotations.insert("bowline.dev/wave".into(), json!(wave));
        }
        if !on.is_empty() {
            let references: Vec<String> = on.iter().map(|on| format!("/namespaces/team-a/ConfigMap/{on}")).collect();
            annotations.insert(DEPENDS_ON.into(), json!(references.join(", ")));
        }
        manifest(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "team-a", "annotations": annotations}}))
    }

    fn schedule(objects: &[Arc<Manifest>]) -> (Schedule, Vec<String>) {
        let (schedule, refusals) = Schedule::of(objects.iter().map(AsRef::as_ref));
        (schedule, refusals.iter().map(ToString::to_string).collect())
    }

    fn levels(objects: &[Arc<Manifest>]) -> Vec<(String, u32)> {
        let (schedule, refusals) = schedule(objects);
        assert_eq!(refusals, Vec::<String>::new());
        objects.iter().map(|object| (object.id.name.clone(), schedule.level(&object.id))).collect()
    }

    fn named(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        expected.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
    }

    #[test]
    fn objects_that_say_nothing_are_on_one_level_and_cost_nothing() {
        let (schedule, _) = schedule(&[object("a", None, &[]), object("b", None, &[])]);
        assert_eq!(schedule, Schedule::default());
    }

    #[test]
    fn waves_come_in_the_order_of_their_numbers() {
        let objects = [object("late", Some("10"), &[]), object("plain", None, &[]), object("early", Some("-5"), &[])];
        assert_eq!(levels(&objects), named(&[("late", 2), ("plain", 1), ("early", 0)]));
    }

    #[test]
    fn a_first_wave_that_is_not_zero_begins_at_once() {
        let objects = [object("a", Some("3"), &[]), object("b", Some("7"), &[])];
        assert_eq!(levels(&objects), named(&[("a", 0), ("b", 1)]));
    }

    #[test]
    fn dependencies_make_levels_within_a_wave_and_later_waves_come_after_all_of_them() {
        let objects = [
            object("a", None, &["b"]),
            object("b", None, &["c"]),
            object("c", None, &[]),
            object("next", Some("1"), &["a"]),
            object("other", Some("1"), &[]),
        ];
        assert_eq!(levels(&objects), named(&[("a", 2), ("b", 1), ("c", 0), ("next", 3), ("other", 3)]));
    }

    #[test]
    fn a_member_waits_for_what_it_depends_on_and_for_earlier_waves_only() {
        let objects = [
            object("a", None, &["b"]),
            object("b", None, &[]),
            object("apart", None, &[]),
            object("early", Some("-1"), &[]),
        ];
        let (schedule, _) = schedule(&objects);
        let waits = schedule.waits_for([&objects[0].id].into_iter());
        let names: Vec<&str> = waits.iter().map(|id| id.name.as_str()).collect();
        assert_eq!(names, ["b", "early"]);
    }

    #[test]
    fn a_circle_is_refused_with_its_path() {
        let objects = [object("a", None, &["b"]), object("b", None, &["c"]), object("c", None, &["b"])];
        let (_, refusals) = schedule(&objects);
        assert_eq!(
            refusals,
            ["ConfigMap team-a/b: depends on itself: ConfigMap team-a/b → ConfigMap team-a/c → ConfigMap team-a/b"]
        );
        let (_, refusals) = schedule(&[object("a", None, &["a"])]);
        assert_eq!(refusals, ["ConfigMap team-a/a: depends on itself: ConfigMap team-a/a → ConfigMap team-a/a"]);
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_object() {
        let objects = [
            object("a", Some("first"), &[]),
            object("b", None, &["nobody"]),
            object("c", Some("-1"), &["d"]),
            object("d", None, &[]),
        ];
        let (_, refusals) = schedule(&objects);
        insta::assert_snapshot!(refusals.join("\n"), @r"
        ConfigMap team-a/a: the annotation bowline.dev/wave is no whole number, such as -1 or 5: `first`
        ConfigMap team-a/b: depends on ConfigMap team-a/nobody, which the application does not have
        ConfigMap team-a/c: is of wave -1 and depends on ConfigMap team-a/d of wave 0, which comes after it
        ");
    }

    #[test]
    fn the_wave_of_argo_cd_counts_where_there_is_no_other() {
        let argo = |own: Option<&str>| {
            let mut object = object("a", own, &[]).value.read().into_owned();
            object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = json!("5");
            manifest(object)
        };
        assert_eq!(wave(&argo(None)).unwrap(), 5);
        assert_eq!(wave(&argo(Some("1"))).unwrap(), 1);
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let name = |number: u32| format!("o{number:05}");
        let link = |number: u32| match number.checked_sub(1) {
            None => object(&name(number), None, &[]),
            Some(before) => object(&name(number), None, &[&name(before)]),
        };
        let objects: Vec<_> = (0..5_000).map(link).collect();
        let (schedule, _) = schedule(&objects);
        assert_eq!(schedule.level(&objects[4_999].id), 4_999);
    }

    proptest! {
        /// Whatever the waves and dependencies: either all of it can be obeyed,
        /// and is, or something is refused.
        #[test]
        fn what_an_object_waits_for_is_on_an_earlier_level(
            waves in prop::collection::vec(-2..3_i32, 1..9),
            edges in prop::collection::vec((0..9_usize, 0..9_usize), 0..12),
        ) {
            let count = waves.len();
            let name = |index: usize| format!("o{index}");
            let objects: Vec<_> = waves.iter().enumerate().map(|(index, wave)| {
                let on: Vec<String> =
                    edges.iter().filter(|(from, to)| *from == index && *to < count).map(|(_, to)| name(*to)).collect();
                let on: Vec<&str> = on.iter().map(String::as_str).collect();
                object(&name(index), Some(&wave.to_string()), &on)
            }).collect();
            let (schedule, refusals) = schedule(&objects);
            if refusals.is_empty() {
                for object in &objects {
                    for before in schedule.waits_for([&object.id].into_iter()) {
                        prop_assert!(schedule.level(&before) < schedule.level(&object.id), "{} waits for {before}", object.id);
                    }
                }
            }
        }
    }
}
