//! `bowline rollback`: shows what going back would do, asks, and follows it.

use super::{
    CommandError, Connection, Output,
    follow::{Follow, follow, planned},
    plan_text::{plan_text, refused},
    request::create_rollback,
    style, words,
};
use crate::{
    api::{ApplicationRef, Include, PlanView, RollbackRequestSpec},
    history::History,
};

/// Takes an application back to an earlier release.
///
/// Shows the plan, asks, and follows. The content comes from the cluster: no
/// Git is needed. What is left stays out until Git renders
/// something different, or somebody accepts it.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// The release whose content is wanted; the last healthy one with other
    /// content if it is not given.
    #[arg(value_name = "RELEASE")]
    pub release: Option<u64>,
    /// Take back more than the ordinary: run finished Jobs and hooks again,
    /// change claims for storage, namespaces and CustomResourceDefinitions.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub include: Vec<What>,
    /// Whether objects that the target does not have are deleted; the
    /// application's sync.prune if it is not given.
    #[arg(long, value_name = "WHETHER")]
    pub prune: Option<bool>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Only show the plan.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub follow: Follow,
}

/// What a rollback leaves alone unless it is told to include it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Run finished Jobs again.
    Jobs,
    /// Change claims for storage.
    Claims,
    /// Change namespaces.
    Namespaces,
    /// Change CustomResourceDefinitions.
    Crds,
    /// Run hooks.
    Hooks,
}

impl From<What> for Include {
    fn from(what: What) -> Self {
        match what {
            What::Jobs => Self::Jobs,
            What::Claims => Self::Claims,
            What::Namespaces => Self::Namespaces,
            What::Crds => Self::CRDs,
            What::Hooks => Self::Hooks,
        }
    }
}

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    // Asked before anything is created.
    let asks = !args.yes && !args.dry_run;
    if asks && !output.can_ask() {
        return Err(CommandError::usage("nobody can be asked whether to roll back: this is not a terminal")
            .hint("--yes rolls back without asking; --dry-run only shows the plan"));
    }
    let application = session.application(&args.application).await?;
    let history = session.history(&args.application).await?;
    let Some(current) = history.current() else {
        return Err(CommandError::failed(format!("{} has had no release yet", args.application)));
    };
    if let Some(release) = args.release.filter(|release| history.get(*release).is_none()) {
        let kept: Vec<String> = history.iter().map(|release| release.spec.number.to_string()).collect();
        return Err(CommandError::failed(format!("release {release} is not kept; kept are {}", kept.join(", ")))
            .hint(format!("`{program} history {}` lists them", args.application)));
    }
    let from = current.spec.number;
    let spec = RollbackRequestSpec {
        application_ref: ApplicationRef { name: args.application.clone() },
        from_release: from,
        to_release: args.release,
        plan_digest: None,
        dry_run: true,
        include: args.include.iter().copied().map(Include::from).collect(),
        prune: args.prune,
        reason: args.reason.clone(),
        requested_by: String::new(),
    };
    let request = create_rollback(&session, spec.clone()).await?;
    let plan = planned(&session, &request, output).await?;
    let text = format!(
        "{}\n\n{}",
        style::bold(&title(&args.application, from, args.release, &plan, &history)),
        plan_text(&plan)
    );
    if args.dry_run {
        output.write(&text)?;
    } else {
        output.say(&text)?;
    }
    if let Some(error) = refused(&plan) {
        return Err(error);
    }
    if args.dry_run {
        return Ok(0);
    }
    if !args.yes && !output.confirm("Roll back?")? {
        output.say("nothing was changed")?;
        return Ok(1);
    }
    // What was seen is what is done: the target and the plan are named.
    let to_release = plan.to_release.or(args.release);
    let spec = RollbackRequestSpec { dry_run: false, to_release, plan_digest: Some(plan.digest), ..spec };
    let request = create_rollback(&session, spec).await?;
    let by = request.spec.requested_by.clone();
    follow(&session, &application, &request, &by, &args.follow, output).await
}

/// `Rollback of billing: release 31 → content of release 30 (commit 51e0c3a, the last healthy one)`.
fn title(application: &str, from: u64, asked: Option<u64>, plan: &PlanView, history: &History) -> String {
    let target = plan.to_release.or(asked);
    let number = target.map(|target| format!("release {target}")).unwrap_or_else(|| "an earlier release".to_owned());
    let subject = target.and_then(|target| history.get(target)).map(|release| release.spec.commit.subject.clone());
    let mut parts = Vec::new();
    if !plan.commit.is_empty() {
        let subject = subject.filter(|subject| !subject.is_empty());
        let subject = subject.map(|subject| format!(" \"{}\"", words::short_line(&subject, 60))).unwrap_or_default();
        parts.push(format!("commit {}{subject}", words::line(&plan.commit)));
    }
    if asked.is_none() {
        parts.push("the last healthy one".to_owned());
    }
    let what = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("Rollback of {application}: release {from} → content of {number}{what}")
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Releases, plan},
        *,
    };

    #[test]
    fn the_title_says_from_where_to_where() {
        let history = History::new(Releases::of("billing").release(100, |_| {}).from(1));
        assert_eq!(
            title("billing", 31, None, &plan(vec![], 1), &history),
            "Rollback of billing: release 31 → content of release 30 (commit 51e0c3a, the last healthy one)"
        );
        let mut plan = plan(vec![], 1);
        plan.to_release = Some(1);
        assert_eq!(
            title("billing", 31, Some(1), &plan, &history),
            "Rollback of billing: release 31 → content of release 1 (commit 51e0c3a \"Change 1\")"
        );
    }
}
