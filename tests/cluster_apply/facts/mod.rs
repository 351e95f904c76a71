//! What the API server really does with ownership, and that the fingerprint
//! sees what it must and nothing else: one application that keeps one object,
//! changed by others in every way that there is, and put back.

mod admission;
mod answers;
mod changes;
mod requests;
mod versions;

use std::sync::Arc;

use bowline::{
    cluster::index::FingerprintPolicy,
    health::OwnChecks,
    manifest::{Manifest, Scope},
    plan::{Plan, Verb},
};
use serde_json::Value;

use crate::{whole::Application, world::World};

/// An object that an application keeps as its manifest says.
struct Kept {
    app: Application,
    manifest: Arc<Manifest>,
}

impl Kept {
    /// Brings an object in the world's namespace.
    async fn bring(world: World, object: Value) -> Self {
        let manifest = in_canonical_form(&world, object);
        let mut app = Application::new(world);
        let plan = app.bring(&[&manifest]).await;
        assert_eq!(plan.refusals, []);
        let kept = Self { app, manifest };
        kept.is_as_applied("right after it was applied").await;
        kept
    }

    /// Brings other content for the same object.
    async fn bring_anew(&mut self, object: Value) -> Plan {
        self.manifest = in_canonical_form(&self.app.world, object);
        self.app.bring(&[&self.manifest.clone()]).await
    }

    async fn live(&self) -> Value {
        self.app.world.live(&self.manifest).await.unwrap()
    }

    /// Whether the live object has another fingerprint than the last apply left.
    async fn has_drifted(&self) -> bool {
        let policy = FingerprintPolicy::new(&self.app.world.policy, OwnChecks::default());
        let recorded = self.app.owned[&self.manifest.id].fingerprint.clone();
        assert!(recorded.is_some(), "an apply leaves a fingerprint");
        policy.fingerprint(&self.live().await) != recorded
    }

    async fn is_as_applied(&self, when: &str) {
        assert!(!self.has_drifted().await, "false drift {when}: {:#}", self.live().await);
    }

    /// What the controller does about drift.
    async fn repair(&mut self) -> Plan {
        self.app.drifted.insert(self.manifest.id.clone());
        let plan = self.app.bring(&[&self.manifest.clone()]).await;
        assert_eq!(plan.refusals, []);
        plan
    }

    /// Repairs once, and shows that this is the end of it.
    async fn repaired(&mut self) -> Plan {
        let plan = self.repair().await;
        self.is_as_applied("after the repair").await;
        let again = self.repair().await;
        assert_eq!(writes(&again), 0, "a repair has an end: {again:#?}");
        self.is_as_applied("after a repair with nothing to do").await;
        plan
    }

    /// kubectl in the world's namespace.
    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", self.app.world.namespace.as_str()];
        all.extend_from_slice(arguments);
        self.app.world.kubectl(&all)
    }

    /// A merge patch as some field manager.
    fn patch(&self, object: &str, manager: &str, patch: &Value) {
        let manager = format!("--field-manager={manager}");
        self.kubectl(&["patch", object, "--type=merge", &manager, "-p", &patch.to_string()]);
    }
}

/// A manifest as a render would make it.
fn in_canonical_form(world: &World, object: Value) -> Arc<Manifest> {
    let scope = match object["kind"].as_str() {
        Some("ClusterRole" | "ValidatingWebhookConfiguration") => Scope::Cluster,
        _ => Scope::Namespaced,
    };
    Arc::new(Manifest::from_value(object, Some(&world.namespace), scope, None).unwrap())
}

fn writes(plan: &Plan) -> usize {
    plan.actions.iter().filter(|action| !matches!(action.verb, Verb::Leave | Verb::Refuse)).count()
}
