//! Content that a program renders: a chart or a kustomization.
//!
//! Nothing is started for a commit in which nothing changed that the last
//! render looked at, nor for inputs that are known: those of the content at
//! hand, or of a kept release, whose content is in the cluster. So a restart
//! renders nothing anew, and a chart with random values keeps those that run.

use std::{sync::Arc, time::Instant};

use tokio::{runtime::Handle, task::block_in_place};
use tracing::info;

use super::{
    Actor,
    content::Looked,
    known::{Content, ReadFrom, RenderedFrom},
};
use crate::{
    controller::{
        bases::{BASES_DEADLINE, BasePolicy},
        charts::{may_reach, repository_access},
        decide::Content as From,
        poller::Found,
        scopes::ClusterScopes,
        settings::{destination, helm_options, touches},
        shared::Shared,
        values::{cluster_capabilities, value_sources},
    },
    manifest::{Digest, InputDigest},
    render::{
        Base, BaseReference, Capabilities, ChartReference, DirectoryOptions, Elsewhere, NoBase, Prepared, Probes,
        Render, RenderFailure, RenderType, RepositoryAccess, Unprepared, prepare,
    },
    source::{Mirror, TreeLimits, files::Files},
};

impl Actor {
    /// Looks at a commit whose content a program renders.
    pub(super) async fn look_at_program(&self, found: &Found, kind: RenderType, last: Option<RenderedFrom>) -> Looked {
        let application = &self.known.application;
        let (path, namespace) = (&application.spec.source.path, destination(application));
        let helm = application.spec.render.helm.as_ref().filter(|_| kind == RenderType::Helm);
        let values_from = helm.is_some_and(|helm| !helm.values_from.is_empty());
        let (cluster, owner) = (&self.shared.cluster, &self.known.owner);
        let sources = match value_sources(cluster, &self.identity(), owner.namespace(), helm).await {
            Ok(sources) => sources,
            Err(message) => return Looked::Undiscovered { reason: "ValuesUnavailable", message },
        };
        let access = match repository_access(cluster, &self.identity(), owner.namespace(), helm).await {
            Ok(access) => access,
            Err(message) => return Looked::Undiscovered { reason: "ChartUnavailable", message },
        };
        let decryption = match self.decryption().await {
            Ok(decryption) => decryption,
            Err(message) => return Looked::Undiscovered { reason: "DecryptionUnavailable", message },
        };
        let mut settings =
            vec![kind.to_string(), path.clone(), namespace.clone(), format!("{:?}", application.spec.render)];
        settings.push(found.submodules.identity());
        settings.extend(sources.iter().map(|source| Digest::of(&source.content).to_string()));
        settings.extend(decryption.fingerprint().map(|keys| keys.to_string()));
        let settings = Digest::of_parts(&settings).to_string();
        let files = match found.mirror.files(&found.commit.id, &TreeLimits::default(), &found.submodules) {
            Ok(files) => files,
            Err(error) => return Looked::Unreadable(error),
        };
        let same = |last: &RenderedFrom| match &last.read {
            ReadFrom::Probes(probes) => last.settings == settings && block_in_place(|| is_unchanged(&files, probes)),
            ReadFrom::Tree(_) => false,
        };
        if last.as_ref().is_some_and(same) {
            return Looked::Same;
        }
        let server = match kind {
            RenderType::Helm => cluster_capabilities(cluster).await,
            _ => Ok(Capabilities::default()),
        };
        let server = match server {
            Ok(server) => server,
            Err(message) => return undiscovered(&message),
        };
        let helm = match helm_options(application, sources, server) {
            Ok(helm) => helm,
            Err(message) => return Looked::Undiscovered { reason: "ChartUnavailable", message },
        };
        let common = DirectoryOptions {
            path: path.clone(),
            default_namespace: Some(namespace),
            touches: touches(&application.spec.render),
            decryption,
            ..DirectoryOptions::default()
        };
        let mut elsewhere = FromElsewhere {
            actor: self,
            named_by: &found.mirror,
            access: &access,
            until: Instant::now() + BASES_DEADLINE,
            moves: false,
        };
        let prepared = block_in_place(|| prepare(&files, kind, &common, &helm, &mut elsewhere));
        let outside = (elsewhere.moves || values_from).then_some(kind);
        let from =
            |probes: Probes| RenderedFrom { read: ReadFrom::Probes(probes), settings: settings.clone(), outside };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Unprepared::Failed(RenderFailure { problems })) => {
                // Another key may come into the Secret without a commit.
                let may_change = common.decryption.fingerprint().is_some();
                return Looked::Failed(from(Probes::new()), problems, may_change);
            }
            Err(Unprepared::Unavailable(message)) => {
                let reason = if kind == RenderType::Helm { "ChartUnavailable" } else { "BaseUnavailable" };
                return Looked::Undiscovered { reason, message };
            }
        };
        if let Some(content) = self.rendered_before(prepared.inputs()).await {
            info!(inputs = %prepared.inputs(), "these inputs were rendered before");
            return Looked::Rendered(from(prepared.probes().clone()), Box::new(render_of(content)));
        }
        self.render_prepared(&prepared, &common, from(prepared.probes().clone())).await
    }

    /// A chart of a repository, from this disk or from where it is; blocks.
    fn fetch_chart(&self, chart: &ChartReference, access: &[RepositoryAccess]) -> Result<Arc<[u8]>, String> {
        let Shared { options, charts, programs, program_runs, .. } = &*self.shared;
        may_reach(&options.reach, chart)?;
        // The semaphore is never closed.
        let _turn = Handle::current().block_on(program_runs.acquire()).ok();
        charts.chart(programs, self.known.owner.namespace(), chart, access)
    }

    async fn render_prepared(&self, prepared: &Prepared, common: &DirectoryOptions, from: RenderedFrom) -> Looked {
        let discovery = self.shared.cluster.discovery();
        for attempt in 0..2 {
            let scopes = match discovery.scopes().await {
                Ok(scopes) => ClusterScopes::new(scopes),
                Err(error) => return undiscovered(&format!("the kinds of the cluster are not known: {error}")),
            };
            // The semaphore is never closed.
            let turn = self.shared.program_runs.acquire().await.ok();
            let rendered = block_in_place(|| prepared.render(&self.shared.programs, common, &scopes));
            drop(turn);
            let unknown = scopes.unknown();
            if let Some(doubt) = unknown.doubt {
                return undiscovered(&doubt);
            }
            match rendered {
                Ok(render) => return Looked::Rendered(from, Box::new(render)),
                // A kind may have been made since discovery was asked last.
                Err(_) if unknown.kinds && attempt == 0 => discovery.invalidate(),
                Err(RenderFailure { problems }) => return Looked::Failed(from, problems, unknown.kinds),
            }
        }
        undiscovered("the kinds of the cluster change")
    }

    /// Content that was rendered from the same inputs: what is at hand, or that
    /// of the newest kept release.
    async fn rendered_before(&self, inputs: &InputDigest) -> Option<Content> {
        let known = &self.known;
        let at_hand = known.content.iter().chain(&known.running_content).find(|content| content.id.inputs == *inputs);
        if let Some(content) = at_hand {
            return Some(content.clone());
        }
        let kept = known.history.iter().rev().find(|release| release.spec.inputs == *inputs)?;
        // Content that cannot be read is rendered anew.
        self.content_of(From::Release(kept.spec.number)).await.ok()
    }
}

/// What a render takes from elsewhere; blocks.
struct FromElsewhere<'a> {
    actor: &'a Actor,
    /// The repository that is rendered.
    named_by: &'a Mirror,
    access: &'a [RepositoryAccess],
    /// How long bases may be fetched.
    until: Instant,
    /// Whether something of it may be another tomorrow.
    moves: bool,
}

impl Elsewhere for FromElsewhere<'_> {
    fn chart(&mut self, chart: &ChartReference) -> Result<Arc<[u8]>, String> {
        self.moves |= !chart.is_pinned();
        self.actor.fetch_chart(chart, self.access)
    }

    fn base(&mut self, reference: &BaseReference) -> Result<Base, NoBase> {
        self.moves |= !reference.is_pinned();
        let Shared { options, bases, urls, stop, .. } = &*self.actor.shared;
        let policy = BasePolicy {
            urls: urls.clone(),
            allowed: options.allow_bases.clone(),
            only_commits: self.actor.known.application.spec.source.verify.is_some(),
        };
        bases.base(Some(self.named_by), reference, &policy, self.until, stop)
    }
}

fn undiscovered(message: &str) -> Looked {
    Looked::Undiscovered { reason: "DiscoveryFailed", message: message.to_owned() }
}

/// Whether all that was looked at is as it was.
fn is_unchanged(files: &dyn Files, probes: &Probes) -> bool {
    probes.iter().all(|(path, name)| files.content_id(path) == *name)
}

/// Known content as if it had been rendered just now.
fn render_of(content: Content) -> Render {
    Render {
        manifests: content.manifests.to_vec(),
        bundle: content.id.bundle,
        inputs: content.id.inputs,
        files: 0,
        renderer: content.renderer,
        warnings: Vec::new(),
        unsteady: Vec::new(),
        known: Default::default(),
    }
}
