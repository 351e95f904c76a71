//! The plan for a directory of this machine, made here with the caller's own
//! rights: `diff --local`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kube::ResourceExt as _;

use super::{
    CommandError, Output,
    render::{KeyArgs, ProgramArgs, Ways, render_working},
    session::Session,
    words,
};
use crate::{
    api::{Application, PlanView},
    cluster::{
        Cluster, Identity,
        observe::observe,
        store::{Store, StoreError},
    },
    controller::{
        charts::repository_access,
        decryption::decryption,
        plan_view::plan_view,
        scopes::ClusterScopes,
        settings::{Occasion, asked_type, destination, helm_options, membership, policy, touches},
        values::{cluster_capabilities, value_sources},
    },
    manifest::ObjectId,
    plan::{OwnedObjects, Policy, conclude, propose},
    render::{BuiltIn, Chain, Decryption, DirectoryOptions, Render},
};

/// What stands in for the installation's identity where it may not be read.
const UNKNOWN_INSTALLATION: &str = "unknown";
/// How large a plan may be that is shown here.
const PLAN_BYTES: usize = 64 << 20;

/// What is rendered, and with what.
pub struct From<'a> {
    /// A directory of this machine.
    pub directory: &'a Path,
    /// The programs that render.
    pub programs: &'a ProgramArgs,
    /// The keys of encrypted files.
    pub keys: &'a KeyArgs,
}

/// Renders a directory in place of the application's path, asks the server
/// what it would make of it, and concludes.
pub async fn plan(
    session: &Session,
    application: &str,
    from: &From<'_>,
    output: &mut Output,
) -> Result<PlanView, CommandError> {
    let application = session.application(application).await?;
    let cluster = session.cluster();
    let scopes = cluster
        .discovery()
        .scopes()
        .await
        .map_err(|error| CommandError::failed(format!("what the cluster serves cannot be read: {error}")))?;
    let scopes = ClusterScopes::new(scopes);
    let scopes = Chain(vec![&scopes, &BuiltIn]);
    let render = render(session, &cluster, &application, from, &scopes).await?;

    let store = Store::new(session.client.clone());
    let (installation, known) = match store.installation_id().await {
        Ok(installation) => (installation, true),
        // The label is then not compared.
        Err(error) if error.is_forbidden() => (UNKNOWN_INSTALLATION.to_owned(), false),
        Err(error) => return Err(error.into()),
    };
    let owned = owned(&store, session, &application, output).await?;
    let membership = membership(&installation, &session.namespace, &application.name_any());
    // What is shown is what the server would do, so it is always asked.
    let policy = Policy { preflight: true, ..policy(&application, &membership, &Occasion::default()) };

    let manifests = render.manifests;
    // Nobody here knows what drifted: every object is looked at.
    let all: BTreeSet<ObjectId> = manifests.iter().map(|manifest| manifest.id.clone()).collect();
    let proposal = propose(&manifests, &render.bundle, &owned, &all, &BTreeSet::new(), &policy);
    output.progress(&format!("asking the server about {}", words::count(proposal.candidates.len(), "object")))?;
    let observations = observe(&cluster, &Identity::Own, &proposal, &policy).await;
    let plan = conclude(&proposal, &observations, &policy);
    let salt: [u8; 16] = rand::random();
    let mut view = plan_view(&plan, "", None, &salt, PLAN_BYTES);
    if !known {
        leave_out_membership(&mut view);
    }
    Ok(view)
}

async fn render(
    session: &Session,
    cluster: &Cluster,
    application: &Application,
    from: &From<'_>,
    scopes: &Chain<'_>,
) -> Result<Render, CommandError> {
    let spec = &application.spec.render;
    let common = DirectoryOptions {
        include: spec.include.clone(),
        exclude: spec.exclude.clone(),
        default_namespace: Some(destination(application)),
        touches: touches(spec),
        decryption: match from.keys.decryption() {
            Some(decryption) => decryption,
            None => application_keys(session, cluster, application).await,
        },
        ..DirectoryOptions::default()
    };
    let sources = value_sources(cluster, &Identity::Own, &session.namespace, spec.helm.as_ref()).await;
    let capabilities = cluster_capabilities(cluster).await;
    let access = repository_access(cluster, &Identity::Own, &session.namespace, spec.helm.as_ref()).await;
    let helm =
        helm_options(application, sources.map_err(CommandError::failed)?, capabilities.map_err(CommandError::failed)?);
    let ways = Ways {
        kind: asked_type(spec),
        helm: helm.map_err(CommandError::failed)?,
        repositories: access.map_err(CommandError::failed)?,
        programs: from.programs.find(),
        allow_bases: from.programs.allow_bases.clone(),
    };
    let rendered = render_working(from.directory, &common, &ways, scopes).map_err(CommandError::failed)?;
    rendered.map_err(|failure| {
        let problems: Vec<String> = failure
            .problems
            .iter()
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{problem}\n  hint: {hint}"),
                None => problem.to_string(),
            })
            .collect();
        CommandError::failed(format!("{} does not render:\n{}", from.directory.display(), problems.join("\n")))
    })
}

/// The keys that the application names, if the caller may read them; a file
/// that needs them says otherwise.
async fn application_keys(session: &Session, cluster: &Cluster, application: &Application) -> Decryption {
    let spec = application.spec.render.decryption.as_ref();
    let keys = decryption(cluster, &Identity::Own, &session.namespace, spec).await;
    keys.unwrap_or_else(|reason| Decryption::unavailable(format!("{reason}; --age-key-file names a file with it")))
}

/// What the application has in the cluster; without the right to read that,
/// deletions are not known, and it is said.
async fn owned(
    store: &Store,
    session: &Session,
    application: &Application,
    output: &mut Output,
) -> Result<OwnedObjects, CommandError> {
    match store.of(&session.namespace, &application.name_any()).load_inventory().await {
        Ok(inventory) => Ok(inventory.objects),
        Err(StoreError::Refused { code: 401 | 403, .. }) => {
            output.say("note: what would be deleted is not shown: you may not list Inventories")?;
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the label of membership out of a view, and the changes that consist
/// of nothing else.
fn leave_out_membership(view: &mut PlanView) {
    for action in &mut view.actions {
        let before = action.changes.len();
        action.changes.retain(|change| !change.path.contains(crate::api::SET_LABEL));
        if action.changes.is_empty() && before > 0 && action.verb == crate::plan::Verb::Update {
            action.verb = crate::plan::Verb::Leave;
            view.unchanged += 1;
        }
    }
    view.actions.retain(|action| !(action.verb == crate::plan::Verb::Leave && action.reason.is_empty()));
}
