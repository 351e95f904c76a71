//! What holds of every plan.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A scene of up to four objects in all sorts of states.
fn scenes() -> impl Strategy<Value = Scene> {
    let object = (0..4usize, any::<bool>(), any::<bool>(), 0..6usize, any::<bool>());
    prop::collection::vec(object, 0..8).prop_map(|objects| {
        let mut scene = Scene::new();
        for (name, wanted, had, state, changed) in objects {
            let kinds =
                [("v1", "ConfigMap"), ("v1", "PersistentVolumeClaim"), ("batch/v1", "Job"), ("apps/v1", "Deployment")];
            let (version, kind) = kinds[name];
            let before = of_kind(version, kind, "x");
            let mut after = (*before).clone();
            if changed {
                after.value["spec"]["a"] = json!(2);
                after.digest = ManifestDigest(Digest::of(b"after"));
            }
            let after = Arc::new(after);
            if scene.seen.contains_key(&after.id) {
                continue;
            }
            let mut object = live(&before);
            if state == 3 {
                object["metadata"]["uid"] = json!("another");
            }
            if state == 4 {
                object["metadata"]["managedFields"] = json!([]);
            }
            let seen = match state {
                0 => absent(),
                1 => Observation::Unreadable(error(500, "x")),
                2 => Observation::NamespaceAbsent,
                _ => met(object, &after),
            };
            if wanted {
                scene = scene.wants(&after);
            }
            if had {
                scene = scene.has(&before).drifted(&before.id);
            }
            scene = scene.sees(&before.id, seen);
        }
        scene
    })
}

proptest! {
    #[test]
    fn the_same_input_makes_the_same_plan(scene in scenes()) {
        prop_assert_eq!(scene.plan(), scene.plan());
    }

    #[test]
    fn the_digest_does_not_depend_on_resource_versions(mut scene in scenes(), version in 1000..9999u32) {
        let digest = scene.plan().digest;
        for observation in scene.seen.values_mut() {
            if let Observation::Live { object, .. } = observation {
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                object["status"] = json!({"seen": version});
            }
        }
        prop_assert_eq!(scene.plan().digest, digest);
    }

    #[test]
    fn nothing_is_deleted_that_is_not_ours_by_inventory_uid_and_entry(scene in scenes()) {
        for action in scene.plan().actions.iter().filter(|action| action.verb == Verb::Delete) {
            prop_assert_eq!(action.precondition.uid.clone(), Some(uid_of(&action.id)));
            prop_assert_eq!(scene.owned[&action.id].uid.clone(), action.precondition.uid.clone());
            let Some(Observation::Live { object, .. }) = scene.seen.get(&action.id) else {
                return Err(TestCaseError::fail("deleted what was not seen"));
            };
            prop_assert!(crate::plan::ownership::entry_of(object, MANAGER).is_some());
            prop_assert!(scene.desired.iter().all(|manifest| manifest.id != action.id));
        }
    }

    #[test]
    fn every_write_to_a_live_object_carries_what_it_was_planned_on(scene in scenes()) {
        for action in scene.plan().writes() {
            match action.verb {
                Verb::Create => prop_assert_eq!(&action.precondition, &Precondition::default()),
                Verb::Delete => prop_assert!(action.precondition.uid.is_some()),
                _ => prop_assert!(action.precondition.uid.is_some() && action.precondition.resource_version.is_some()),
            }
        }
    }

    #[test]
    fn every_refused_object_has_its_refusal(scene in scenes()) {
        let plan = scene.plan();
        for action in plan.actions.iter().filter(|action| action.verb == Verb::Refuse) {
            prop_assert!(plan.refusals.iter().any(|refusal| refusal.object.as_ref() == Some(&action.id)));
        }
    }
}
