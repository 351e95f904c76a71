//! Stages, what they wait for, and hooks.

use super::*;
use crate::plan::{HookRuns, schedule::HookRun};

fn annotated(manifest: &Arc<Manifest>, annotations: &[(&str, &str)]) -> Arc<Manifest> {
    let mut value = manifest.value.read().into_owned();
    for (name, text) in annotations {
        value["metadata"]["annotations"][*name] = json!(text);
    }
    crate::plan::testing::manifest(value)
}

fn in_wave(name: &str, wave: &str) -> Arc<Manifest> {
    annotated(&config_map(name, "1"), &[("bowline.dev/wave", wave)])
}

fn job(name: &str, annotations: &[(&str, &str)]) -> Arc<Manifest> {
    annotated(&of_kind("batch/v1", "Job", name), annotations)
}

fn hook(name: &str, phase: &str) -> Arc<Manifest> {
    job(name, &[("bowline.dev/hook", phase)])
}

fn runs(release: u64) -> HookRuns {
    HookRuns { release, first: false, ended: BTreeSet::new(), failed: false }
}

impl Scene {
    /// All that the bundle wants is new.
    fn all_new(mut self, manifests: &[Arc<Manifest>]) -> Self {
        for manifest in manifests {
            self = self.wants(manifest).sees(&manifest.id, absent());
        }
        self
    }
}

/// What each stage waits for, and what it writes.
fn stages(plan: &Plan) -> Vec<String> {
    let names = |ids: &mut dyn Iterator<Item = &ObjectId>| ids.map(|id| id.name.clone()).collect::<Vec<_>>().join(" ");
    (0..plan.stages())
        .map(|stage| {
            let gate = plan.gate(stage);
            let mut waits = Vec::new();
            if !gate.hooks.is_empty() {
                waits.push(format!("hooks {}", names(&mut gate.hooks.iter().map(|run| &run.id))));
            }
            if gate.all_healthy {
                waits.push("all healthy".to_owned());
            }
            if !gate.healthy.is_empty() {
                waits.push(format!("healthy {}", names(&mut gate.healthy.iter())));
            }
            if !gate.gone.is_empty() {
                waits.push(format!("gone {}", names(&mut gate.gone.iter())));
            }
            let writes = plan.writes().filter(|action| action.stage == stage);
            let writes: Vec<String> = writes.map(|action| format!("{:?} {}", action.verb, action.id.name)).collect();
            let waits = if waits.is_empty() { "at once".to_owned() } else { waits.join(", ") };
            format!("{waits}: {}", writes.join(", "))
        })
        .collect()
}

#[test]
fn waves_are_stages_that_wait_for_the_health_of_earlier_ones() {
    let plan = Scene::new().all_new(&[in_wave("late", "5"), in_wave("early", "-1"), config_map("plain", "1")]).plan();
    assert_eq!(
        stages(&plan),
        ["at once: Create early", "healthy early: Create plain", "healthy early plain: Create late",]
    );
}

#[test]
fn a_wave_in_which_nothing_changes_is_still_waited_for() {
    let (early, late) = (in_wave("early", "1"), in_wave("late", "2"));
    let plan = Scene::new().wants(&early).has(&early).wants(&late).sees(&late.id, absent()).plan();
    assert_eq!(stages(&plan), ["healthy early: Create late"]);
}

#[test]
fn what_depends_on_another_object_waits_for_that_one_only() {
    let on_b = [("config.kubernetes.io/depends-on", "/namespaces/team-a/ConfigMap/b")];
    let a = annotated(&config_map("a", "1"), &on_b);
    let plan = Scene::new().all_new(&[a, config_map("b", "1"), config_map("c", "1")]).plan();
    assert_eq!(stages(&plan), ["at once: Create b, Create c", "healthy b: Create a"]);
}

#[test]
fn a_circle_refuses_the_plan() {
    let on = |name: &str, on: &str| {
        annotated(
            &config_map(name, "1"),
            &[("config.kubernetes.io/depends-on", &format!("/namespaces/team-a/ConfigMap/{on}"))],
        )
    };
    let plan = Scene::new().all_new(&[on("a", "b"), on("b", "a")]).plan();
    assert_eq!(plan.refusals.len(), 1);
    assert_eq!(plan.refusals[0].reason, RefusalReason::DependencyCycle);
    assert!(!plan.refusals[0].transient && !plan.refusals[0].reason.can_be_allowed());
}

#[test]
fn an_object_that_needs_a_kind_of_a_later_wave_comes_after_it() {
    let definition = annotated(&definition(), &[("bowline.dev/wave", "3")]);
    let widget = of_kind("example.com/v1", "Widget", "w");
    let plan = Scene::new()
        .all_new(&[definition, config_map("a", "1")])
        .wants(&widget)
        .sees(&widget.id, Observation::KindAbsent)
        .plan();
    let names: Vec<_> = plan.writes().map(|action| (action.id.kind.as_str(), action.stage)).collect();
    assert_eq!(names, [("ConfigMap", 0), ("CustomResourceDefinition", 1), ("Widget", 2)]);
}

#[test]
fn deletions_go_against_the_waves_and_come_last() {
    let removed: Vec<_> = [("one", "1"), ("two", "2"), ("three", "3")].map(|(name, wave)| in_wave(name, wave)).to_vec();
    let mut scene = Scene::new().all_new(&[in_wave("new", "1")]).wants(&config_map("kept", "1"));
    scene = scene.has(&config_map("kept", "1"));
    for manifest in &removed {
        scene = scene.has(manifest).sees(&manifest.id, met(live(manifest), manifest));
    }
    let plan = scene.with(|policy| policy.max_prune_percent = 100).plan();
    assert_eq!(stages(&plan), ["healthy kept: Create new, Delete three, Delete two, Delete one"]);
}

#[test]
fn hooks_come_before_the_sync_and_after_it_is_healthy_and_tests_last() {
    let plan = Scene::new()
        .all_new(&[
            hook("migrate", "PreSync"),
            hook("notify", "PostSync"),
            hook("smoke", "Test"),
            hook("clean", "SyncFailed"),
            config_map("a", "1"),
        ])
        .with(|policy| policy.hooks = Some(runs(7)))
        .plan();
    assert_eq!(
        stages(&plan),
        [
            "at once: Create migrate",
            "hooks migrate: Create a",
            "hooks migrate, all healthy: Create notify",
            "hooks migrate notify, all healthy: Create smoke",
        ]
    );
    let last: Vec<&str> = plan.last_gate.hooks.iter().map(|run| run.id.name.as_str()).collect();
    assert_eq!(last, ["migrate", "notify", "smoke"]);
    let migrate = plan.actions.iter().find(|action| action.id.name == "migrate").unwrap();
    assert_eq!(
        migrate.body.as_ref().unwrap().read()["metadata"]["annotations"]["bowline.dev/hook-run"],
        json!("7/PreSync")
    );
}

#[test]
fn hooks_of_one_phase_follow_each_other_by_wave() {
    let of = |name: &str, wave: &str| job(name, &[("bowline.dev/hook", "PreSync"), ("bowline.dev/wave", wave)]);
    let plan = Scene::new()
        .all_new(&[of("second", "2"), of("first", "-1"), of("also-first", "-1")])
        .with(|policy| policy.hooks = Some(runs(7)))
        .plan();
    assert_eq!(stages(&plan), ["at once: Create also-first, Create first", "hooks also-first first: Create second"]);
}

#[test]
fn a_repair_runs_no_hook_and_takes_none_for_a_member() {
    let migrate = hook("migrate", "PreSync");
    let known = Owned { hook: true, ..owned(&migrate) };
    let plan = Scene::new().wants(&migrate).knows(&migrate.id, known).plan();
    assert!(plan.actions.is_empty() && plan.forgotten.is_empty(), "{:?}", plan.actions);
}

#[test]
fn the_hook_of_a_failed_release_is_run_alone() {
    let plan = Scene::new()
        .all_new(&[hook("clean", "SyncFailed"), hook("migrate", "PreSync")])
        .with(|policy| policy.hooks = Some(HookRuns { failed: true, ..runs(7) }))
        .plan();
    assert_eq!(stages(&plan), ["at once: Create clean"]);
}

#[test]
fn a_hook_that_ran_in_an_earlier_release_is_replaced_and_one_of_this_release_waited_for() {
    let migrate = hook("migrate", "PreSync");
    let met = |run: &str| {
        let mut object = live(&migrate);
        object["metadata"]["annotations"]["bowline.dev/hook-run"] = json!(run);
        Observation::Live { object: Box::new(object), dry_run: DryRun::NotTried }
    };
    let scene = |seen| {
        Scene::new()
            .wants(&migrate)
            .sees(&migrate.id, seen)
            .all_new(&[config_map("a", "1")])
            .with(|policy| policy.hooks = Some(runs(7)))
    };
    let plan = scene(met("6/PreSync")).plan();
    assert_eq!(stages(&plan), ["at once: Replace migrate", "hooks migrate: Create a"]);
    assert_eq!(plan.actions[0].precondition.uid, Some(uid_of(&migrate.id)));
    let plan = scene(met("7/PreSync")).plan();
    assert_eq!(stages(&plan), ["hooks migrate: Create a"]);
    assert!(plan.hooks[0].begun && plan.confirmed[0].1.hook);
    let ended = BTreeSet::from([HookRun { phase: HookPhase::PreSync, id: migrate.id.clone() }]);
    let plan = scene(met("7/PreSync")).with(|policy| policy.hooks = Some(HookRuns { ended, ..runs(7) })).plan();
    assert_eq!(stages(&plan), ["at once: Create a"]);
}

#[test]
fn a_hook_whose_name_somebody_else_has_is_refused() {
    let migrate = hook("migrate", "PreSync");
    let mut object = live(&migrate);
    object["metadata"]["managedFields"] = json!([]);
    object["metadata"]["labels"] = json!({});
    object["metadata"]["annotations"] = json!({});
    let seen = Observation::Live { object: Box::new(object), dry_run: DryRun::NotTried };
    let plan = Scene::new().wants(&migrate).sees(&migrate.id, seen).with(|policy| policy.hooks = Some(runs(7))).plan();
    insta::assert_snapshot!(plan.refusals[0].to_string(), @"Job team-a/migrate: exists already and was not made by this application: to run the PreSync hook it would have to be deleted");
}

#[test]
fn a_hook_that_is_kept_for_good_is_run_once() {
    let once = job("once", &[("bowline.dev/hook", "PreSync"), ("bowline.dev/hook-delete", "Never")]);
    let seen = Observation::Live { object: Box::new(live(&once)), dry_run: DryRun::NotTried };
    let plan = Scene::new().wants(&once).sees(&once.id, seen).with(|policy| policy.hooks = Some(runs(7))).plan();
    assert_eq!(said(&plan), [(Verb::Leave, "once", 0)]);
    assert!(plan.last_gate.hooks.is_empty());
}

#[test]
fn a_hook_of_another_tool_without_a_meaning_is_left_out_and_said() {
    let hook = job("undo", &[("helm.sh/hook", "pre-rollback")]);
    let plan = Scene::new().wants(&hook).with(|policy| policy.hooks = Some(runs(7))).plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.notes, ["Job team-a/undo has no part in a release (helm.sh/hook: pre-rollback); it is left out"]);
}

#[test]
fn namespaces_come_before_the_hooks_that_live_in_them() {
    let namespace = cluster_scoped("v1", "Namespace", "team-a");
    let migrate = hook("migrate", "PreSync");
    let plan = Scene::new()
        .all_new(std::slice::from_ref(&namespace))
        .wants(&migrate)
        .sees(&migrate.id, Observation::NamespaceAbsent)
        .with(|policy| policy.hooks = Some(runs(1)))
        .plan();
    assert_eq!(stages(&plan), ["at once: Create team-a", "at once: Create migrate"]);
    assert!(plan.actions[1].unproven, "it is tried when its namespace is there");
}

#[test]
fn an_object_of_ours_that_is_being_deleted_is_made_anew_when_it_is_gone() {
    let a = config_map("a", "2");
    let mut object = live(&a);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let seen = Observation::Live { object: Box::new(object), dry_run: DryRun::NotTried };
    let known = Owned { manifest: None, ..owned(&a) };
    let plan = Scene::new().wants(&a).knows(&a.id, known).sees(&a.id, seen).all_new(&[config_map("b", "1")]).plan();
    assert_eq!(stages(&plan), ["at once: Create b", "gone a: Create a"]);
    let reason = &plan.actions[1].reason;
    assert_eq!(reason, "is being deleted and waits for its finalizer example.com/hold; made anew when it is gone");
}

#[test]
fn an_immutable_field_is_replaced_only_where_the_manifest_allows_it() {
    let message = r#"Service "web" is invalid: spec.clusterIP: Invalid value: "None": field is immutable"#;
    let plan = |kind: &str, allowed: &str| {
        let web = annotated(&of_kind("v1", kind, "web"), &[("bowline.dev/replace", allowed)]);
        let known = Owned { manifest: None, ..owned(&web) };
        Scene::new().wants(&web).knows(&web.id, known).sees(&web.id, refused(live(&web), 422, message)).plan()
    };
    let allowed = plan("Service", "true");
    assert_eq!(said(&allowed), [(Verb::Replace, "web", 0)]);
    assert!(allowed.actions[0].precondition.uid.is_some() && allowed.refusals.is_empty());
    assert_eq!(plan("Service", "false").refusals[0].reason, RefusalReason::Immutable);
    assert_eq!(plan("PersistentVolumeClaim", "true").refusals[0].reason, RefusalReason::Immutable);
}
