//! `bowline sync`: asks for a sync.

use super::{
    CommandError, Connection, Output,
    follow::{Follow, follow, plan_of_sync},
    plan_text::{changes_anything, plan_text, refused},
    request::{create_sync, sync_spec},
    session::Session,
    style,
};
use crate::{
    api::{Application, SyncRequestSpec},
    manifest::{Digest, PlanDigest},
};

/// Asks for a sync to what Git says now.
///
/// The controller carries it out, and it is followed to its end. A revision given here is recorded with the head of that time, and stays until
/// the head changes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// Branch, tag or commit to go to, until the head changes.
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Let the rejected content that the head renders in again.
    #[arg(long)]
    pub accept: bool,
    /// Let the guards against deletion pass, for exactly the plan that is
    /// shown, or that has this digest.
    #[arg(long, value_name = "PLAN", num_args = 0..=1, require_equals = true)]
    pub allow_prune: Option<Option<Digest>>,
    /// Only show the plan.
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub follow: Follow,
}

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let application = session.application(&args.application).await?;
    let mut spec = SyncRequestSpec {
        revision: args.revision.clone(),
        reason: args.reason.clone(),
        ..sync_spec(&args.application)
    };
    if args.accept {
        spec.accept = Some(held_content(&application)?);
    }
    if args.dry_run {
        let plan = plan_of_sync(&session, spec, output).await?;
        output.write(&format!("{}\n\n{}", style::bold(&title(&args.application, &plan.commit)), plan_text(&plan)))?;
        if let Some(error) = refused(&plan) {
            return Err(error);
        }
        return Ok(0);
    }
    match &args.allow_prune {
        Some(Some(digest)) => spec.allow_prune = Some(PlanDigest(digest.clone())),
        Some(None) => match approved(&session, args, &spec, output).await? {
            Some(digest) => spec.allow_prune = Some(digest),
            None => return Ok(1),
        },
        None => {}
    }
    let request = create_sync(&session, spec).await?;
    let by = request.spec.requested_by.clone();
    follow(&session, &application, &request, &by, &args.follow, output).await
}

/// Shows the plan that deletes, and asks; its digest if the person agrees.
async fn approved(
    session: &Session,
    args: &Args,
    spec: &SyncRequestSpec,
    output: &mut Output,
) -> Result<Option<PlanDigest>, CommandError> {
    let plan = plan_of_sync(session, spec.clone(), output).await?;
    output.say(&format!("{}\n\n{}", style::bold(&title(&args.application, &plan.commit)), plan_text(&plan)))?;
    if !args.yes && changes_anything(&plan) && !output.confirm("Let the guards pass for this plan?")? {
        output.say("nothing was asked for")?;
        return Ok(None);
    }
    Ok(Some(plan.digest))
}

fn title(application: &str, commit: &str) -> String {
    let at = if commit.is_empty() { String::new() } else { format!(" to {}", super::words::line(commit)) };
    format!("Sync of {application}{at}")
}

/// The rejected content that the head renders.
fn held_content(application: &Application) -> Result<crate::manifest::BundleDigest, CommandError> {
    let status = application.status.as_ref();
    let hold = status.and_then(|status| status.hold.as_ref());
    hold.map(|hold| hold.bundle.clone()).ok_or_else(|| {
        CommandError::failed("there is nothing to accept: the head renders nothing that was rejected")
            .hint("without --accept it is an ordinary sync")
    })
}
