//! The whole way on a real server: propose, observe, conclude, apply.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bowline::{
    cluster::{
        Identity,
        apply::{Outcome, prove},
    },
    manifest::{BundleDigest, Digest, Manifest, ObjectId},
    plan::{Action, DryRun, Owned, OwnedObjects, Plan, RefusalReason, Verb, conclude, ownership::fingerprint, propose},
};
use serde_json::json;

use crate::world::{World, manifest};

/// An application, as far as plan and apply know it.
pub struct Application {
    pub world: World,
    pub owned: OwnedObjects,
    pub drifted: BTreeSet<ObjectId>,
}

impl Application {
    pub fn new(world: World) -> Self {
        Self { world, owned: OwnedObjects::new(), drifted: BTreeSet::new() }
    }

    /// Plans, and carries the plan out if nothing speaks against it.
    pub async fn bring(&mut self, manifests: &[&Arc<Manifest>]) -> Plan {
        let desired: Vec<Arc<Manifest>> = manifests.iter().map(|it| Arc::clone(it)).collect();
        let policy = self.world.policy.clone();
        let bundle = BundleDigest(Digest::of_parts(desired.iter().map(|it| it.digest.to_string())));
        let proposal = propose(&desired, &bundle, &self.owned, &self.drifted, &BTreeSet::new(), &policy);
        let observations =
            bowline::cluster::observe::observe(&self.world.cluster, &self.world.identity, &proposal, &policy).await;
        let plan = conclude(&proposal, &observations, &policy);
        if !plan.refusals.is_empty() {
            return plan;
        }
        for stage in 0..plan.stages() {
            let actions: Vec<Action> = plan.actions.iter().filter(|it| it.stage == stage).cloned().collect();
            self.open(stage, &actions).await;
            for result in self.world.apply_planned_on(&actions, &observations, &|| true).await {
                let action = actions.iter().find(|it| it.id == result.id).unwrap();
                match result.outcome {
                    Outcome::Applied(applied) => {
                        let ignore = policy.ignore_for(&action.id);
                        let print =
                            fingerprint(&applied.object, &policy.membership.manager, &ignore, &policy.hand_managers);
                        let owned = Owned {
                            gvk: action.gvk.clone(),
                            uid: Some(applied.uid),
                            manifest: action.manifest.clone(),
                            fingerprint: print,
                            done: false,
                            hook: false,
                        };
                        self.owned.insert(action.id.clone(), owned);
                    }
                    Outcome::Deleted | Outcome::Deleting { .. } => {
                        self.owned.remove(&action.id);
                    }
                    other => panic!("{}: {other:?}", action.id),
                }
            }
        }
        // What the server has already as it should be is the application's from now on.
        self.owned.extend(plan.confirmed.iter().cloned());
        self.drifted.clear();
        plan
    }

    /// What an event does in the controller: the stage opens when the server
    /// takes what could not be tried before.
    async fn open(&self, stage: u32, actions: &[Action]) {
        let unproven: Vec<&Action> = actions.iter().filter(|it| it.unproven && stage > 0).collect();
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let manager = &self.world.policy.membership.manager;
            let proofs = prove(&self.world.cluster, &self.world.identity, manager, &unproven).await;
            if proofs.values().all(|it| matches!(it, DryRun::Would(_))) {
                return;
            }
            assert!(Instant::now() < until, "{proofs:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.world.cluster.discovery().invalidate();
        }
    }
}

pub fn verbs(plan: &Plan) -> Vec<(Verb, &str)> {
    plan.actions.iter().map(|it| (it.verb, it.id.name.as_str())).collect()
}

#[tokio::test]
async fn objects_are_made_changed_and_taken_away_and_then_there_is_nothing_to_do() {
    let mut app = Application::new(World::new().await);
    let (a, b, web) =
        (app.world.config_map("a", "1"), app.world.config_map("b", "1"), app.world.deployment("web", "x"));
    let plan = app.bring(&[&web, &b, &a]).await;
    assert_eq!(verbs(&plan), [(Verb::Create, "a"), (Verb::Create, "b"), (Verb::Create, "web")]);

    let again = app.bring(&[&a, &b, &web]).await;
    assert_eq!((again.actions.len(), again.unchanged), (0, 3), "{again:?}");

    let changed = app.world.config_map("a", "2");
    let plan = app.bring(&[&changed, &web]).await;
    assert_eq!(verbs(&plan), [(Verb::Update, "a"), (Verb::Delete, "b")]);
    assert_eq!(app.world.live(&a).await.unwrap()["data"]["key"], "2");
    assert_eq!(app.world.live(&b).await, None);
    assert_eq!(app.owned.len(), 2);
}

#[tokio::test]
async fn what_was_changed_and_what_was_added_by_hand_goes_back_and_then_rests() {
    let mut app = Application::new(World::new().await);
    let web = app.world.deployment("web", "nginx:1");
    app.bring(&[&web]).await;
    let before = app.owned[&web.id].fingerprint.clone().unwrap();
    let namespace = app.world.namespace.clone();
    app.world.kubectl(&["set", "image", "deployment/web", "main=nginx:hand", "-n", &namespace]);
    app.world.kubectl(&["set", "env", "deployment/web", "HAND=1", "-n", &namespace]);
    app.drifted.insert(web.id.clone());
    let plan = app.bring(&[&web]).await;
    assert_eq!(verbs(&plan), [(Verb::Update, "web")], "{:?}", plan.refusals);
    let live = app.world.live(&web).await.unwrap();
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], container.get("env")), (&json!("nginx:1"), None), "{plan:?}");
    assert_eq!(app.owned[&web.id].fingerprint.as_ref(), Some(&before), "as it was before");
    app.drifted.insert(web.id.clone());
    let rest = app.bring(&[&web]).await;
    assert_eq!(verbs(&rest), [], "{rest:?}");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_refused_and_stays() {
    let mut app = Application::new(World::new().await);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "namespace": app.world.namespace,
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "theirs", "meta.helm.sh/release-namespace": app.world.namespace}},
        "data": {"key": "theirs"}});
    app.world.create(&theirs);
    let (a, b) = (app.world.config_map("a", "ours"), app.world.config_map("b", "1"));
    let plan = app.bring(&[&a, &b]).await;
    let reasons: Vec<RefusalReason> = plan.refusals.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [RefusalReason::OwnedByOther]);
    assert_eq!(app.world.live(&a).await.unwrap()["data"]["key"], "theirs");
    assert_eq!(app.world.live(&b).await, None, "nothing of the plan is carried out");
}

#[tokio::test]
async fn two_applications_with_one_object_are_told_apart() {
    let mut first = Application::new(World::new().await);
    let a = first.world.config_map("a", "first");
    first.bring(&[&a]).await;
    let mut second = Application::new(World::new().await);
    second.world.identity = Identity::Own;
    Arc::make_mut(&mut second.world.policy.membership).set = "set-2".into();
    let plan = second.bring(&[&first.world.config_map("a", "second")]).await;
    assert_eq!(plan.refusals.len(), 1, "{plan:?}");
    assert_eq!(plan.refusals[0].reason, RefusalReason::OwnedByOther);
    assert_eq!(first.world.live(&a).await.unwrap()["data"]["key"], "first");
}

#[tokio::test]
async fn want_of_rights_is_a_refusal_with_the_commands_that_help() {
    let mut app = Application::new(World::without_rights().await);
    let a = app.world.config_map("a", "1");
    let plan = app.bring(&[&a]).await;
    assert_eq!(plan.refusals[0].reason, RefusalReason::Forbidden);
    let hint = plan.refusals[0].hint.as_deref().unwrap();
    assert!(hint.contains("kubectl create role") && hint.contains(&app.world.namespace), "{hint}");
}

#[tokio::test]
async fn a_definition_and_its_objects_in_a_new_namespace_come_in_stages() {
    let mut app = Application::new(World::as_admin().await);
    let name = app.world.namespace.clone();
    let group = format!("{name}.example.com");
    let namespace =
        manifest(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{name}-new")}}));
    let definition = manifest(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer"}}}}}}}]}}));
    let widget = manifest(json!({"apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": "w", "namespace": format!("{name}-new")}, "spec": {"size": 3}}));
    let plan = app.bring(&[&widget, &definition, &namespace]).await;
    let live = app.world.live(&widget).await;
    app.world.kubectl(&["delete", "crd", &format!("widgets.{group}"), "--wait=false"]);
    app.world.kubectl(&["delete", "namespace", &format!("{name}-new"), "--wait=false"]);
    assert_eq!(plan.refusals, []);
    assert_eq!(plan.stages(), 2);
    assert_eq!(live.unwrap()["spec"]["size"], 3);
}

#[tokio::test]
async fn a_killed_apply_is_finished_by_the_same_content() {
    let mut app = Application::new(World::new().await);
    let (a, b) = (app.world.config_map("a", "1"), app.world.config_map("b", "1"));
    // Written by an apply whose result was never recorded: the inventory only
    // has the intention.
    app.world.applied(&a).await;
    for manifest in [&a, &b] {
        let intended =
            Owned { gvk: manifest.gvk.clone(), uid: None, manifest: None, fingerprint: None, done: false, hook: false };
        app.owned.insert(manifest.id.clone(), intended);
    }
    let plan = app.bring(&[&a, &b]).await;
    assert_eq!(plan.refusals, []);
    assert_eq!(verbs(&plan), [(Verb::Create, "b")], "{plan:?}");
    assert_eq!(plan.confirmed.len(), 1);
}
