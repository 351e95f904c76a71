//! From an Application to what planning and deciding take: pure.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;

use super::decide::Settings;
use crate::{
    api::{self, Application, ImageSpec, Include, PatchSpec, PatchTarget, Preflight, RenderKind, RenderSpec},
    manifest::{Digest, PlanDigest},
    plan::{ConflictPolicy, HookRuns, IgnoreRule, Membership, Policy, RollbackPolicy},
    render::{
        Capabilities, ChartReference, HelmOptions, ImageOverride, Patch, RenderType, Target, Touches, ValueSource,
    },
};

/// A field manager's name has at most this many characters.
const MANAGER_MAX: usize = 128;
/// Hex digits of the set label: 64 bits tell any number of applications apart.
const SET_DIGITS: usize = 16;

/// How the objects of an application are marked.
pub fn membership(installation: &str, namespace: &str, name: &str) -> Membership {
    let application = format!("{namespace}/{name}");
    let set = Digest::of_parts([installation, namespace, name]).short(SET_DIGITS);
    let manager = format!("bowline/{application}");
    let manager = if manager.len() > MANAGER_MAX { format!("bowline/{set}") } else { manager };
    Membership { set, application, manager }
}

/// What `decide` needs to know of an Application.
pub fn settings(application: &Application, observe_only: bool, request_expiry: SignedDuration) -> Settings {
    let spec = &application.spec;
    Settings {
        mode: spec.sync.mode,
        drift: spec.sync.drift,
        automatic_rollback: spec.rollback.automatic,
        timeout: spec.sync.timeout.signed(),
        watch: spec.rollback.watch.signed(),
        request_expiry,
        observe_only,
        generation: application.metadata.generation.unwrap_or_default(),
    }
}

/// What is special about one plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The plan for which a person let the guards pass.
    pub allow_prune: Option<PlanDigest>,
    /// For a rollback, what to take back beyond the ordinary.
    pub rollback: Option<Vec<Include>>,
    /// For a rollback, whether to prune, if the person said so.
    pub prune: Option<bool>,
    /// The hooks that are run.
    pub hooks: Option<HookRuns>,
    /// Whether the server tries everything first, whatever the Application
    /// says.
    pub preflight: bool,
}

/// What planning needs to know of an Application.
pub fn policy(application: &Application, membership: &Membership, occasion: &Occasion) -> Policy {
    let spec = &application.spec;
    let namespace = destination(application);
    Policy {
        membership: Arc::new(membership.clone()),
        prune: occasion.prune.unwrap_or(spec.sync.prune),
        preflight: occasion.preflight || spec.sync.preflight == Preflight::Always,
        ignore: spec.sync.ignore.iter().map(ignore_rule).collect(),
        conflicts: match spec.sync.conflicts {
            api::ConflictPolicy::Take => ConflictPolicy::Take,
            api::ConflictPolicy::Refuse => ConflictPolicy::Refuse,
        },
        hand_managers: hand_managers(application),
        max_prune_percent: spec.sync.guards.max_prune_percent,
        allow_prune: occasion.allow_prune.clone(),
        rollback: occasion.rollback.as_ref().map(|include| RollbackPolicy {
            jobs: include.contains(&Include::Jobs),
            claims: include.contains(&Include::Claims),
            namespaces: include.contains(&Include::Namespaces),
            crds: include.contains(&Include::CRDs),
        }),
        create_namespace: spec.destination.create_namespace.then_some(namespace),
        hooks: occasion.hooks.clone(),
        elsewhere: Default::default(),
        given_up: Default::default(),
    }
}

/// The field managers that people act under.
fn hand_managers(application: &Application) -> BTreeSet<String> {
    match &application.spec.sync.hand_managers {
        Some(names) => names.iter().cloned().collect(),
        None => Policy::HAND_MANAGERS.iter().map(ToString::to_string).collect(),
    }
}

/// How the chart of an application is rendered, with values that were read
/// from elsewhere and what the cluster is.
///
/// # Errors
/// In words: the chart that is named cannot be one.
pub fn helm_options(
    application: &Application,
    value_sources: Vec<ValueSource>,
    capabilities: Capabilities,
) -> Result<HelmOptions, String> {
    let spec = application.spec.render.helm.clone().unwrap_or_default();
    let chart = spec.chart.map(|chart| ChartReference::new(&chart.repository, &chart.name, &chart.version));
    Ok(HelmOptions {
        release_name: spec.release_name.unwrap_or_else(|| application.metadata.name.clone().unwrap_or_default()),
        value_files: spec.value_files,
        value_sources,
        values: spec.values.map(serde_json::Value::Object),
        skip_crds: spec.skip_crds,
        capabilities,
        repositories: spec.repositories.iter().map(|repository| repository.url.clone()).collect(),
        chart: chart.transpose().map_err(|message| format!("render.helm.chart: {message}"))?,
    })
}

/// What an Application changes of what its files say.
pub fn touches(spec: &RenderSpec) -> Touches {
    let target = |target: PatchTarget| {
        let PatchTarget { group, version, kind, name, namespace, label_selector, annotation_selector } = target;
        Target { group, version, kind, name, namespace, label_selector, annotation_selector }
    };
    let RenderSpec { patches, labels, annotations, images, .. } = spec.clone();
    let patch = |PatchSpec { patch, target: of }: PatchSpec| Patch { patch, target: of.map(target) };
    let image =
        |ImageSpec { name, new_name, new_tag, digest }: ImageSpec| ImageOverride { name, new_name, new_tag, digest };
    Touches {
        patches: patches.into_iter().map(patch).collect(),
        labels,
        annotations,
        images: images.into_iter().map(image).collect(),
    }
}

/// The way to render that an Application asks for, if it asks for one: by its
/// type, or by a chart of elsewhere.
pub fn asked_type(spec: &RenderSpec) -> Option<RenderType> {
    let by_chart = spec.helm.as_ref().and_then(|helm| helm.chart.as_ref()).map(|_| RenderType::Helm);
    spec.kind.map(render_type).or(by_chart)
}

/// A way to render.
pub fn render_type(kind: RenderKind) -> RenderType {
    match kind {
        RenderKind::Directory => RenderType::Directory,
        RenderKind::Kustomize => RenderType::Kustomize,
        RenderKind::Helm => RenderType::Helm,
    }
}

/// The namespace of objects that name none.
pub fn destination(application: &Application) -> String {
    let own = application.metadata.namespace.clone().unwrap_or_default();
    application.spec.destination.namespace.clone().unwrap_or(own)
}

fn ignore_rule(rule: &crate::api::IgnoreRule) -> IgnoreRule {
    IgnoreRule {
        group: rule.group.clone(),
        kind: rule.kind.clone(),
        namespace: rule.namespace.clone(),
        name: rule.name.clone(),
        pointers: rule.pointers.clone(),
        managers: rule.managers.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_installations_and_two_applications_never_share_a_set() {
        let one = membership("uid-1", "team", "shop");
        assert_ne!(one.set, membership("uid-2", "team", "shop").set);
        assert_ne!(one.set, membership("uid-1", "team-s", "hop").set);
        assert_eq!(one.manager, "bowline/team/shop");
    }

    #[test]
    fn a_long_name_still_makes_a_manager_that_the_server_takes() {
        let long = membership("uid", &"n".repeat(63), &"a".repeat(63));
        assert!(long.manager.len() <= MANAGER_MAX, "{}", long.manager);
    }
}
