//! `bowline suspend` and `bowline resume`: stop and start applying.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{CommandError, Connection, Output, moment::parse_ahead, request::metadata, words};
use crate::api::{ApplicationRef, Suspension, SuspensionSpec};

/// Stops new releases and repairs of an application.
///
/// Until it is resumed, or the time has come. A release in progress is finished, and a rollback can be
/// asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct SuspendArgs {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// Why: `status` shows it to everybody.
    #[arg(long, value_name = "TEXT", required = true)]
    pub reason: String,
    /// When it ends by itself: `2h` from now, or a time as in
    /// 2027-01-31T18:00:00Z or 2027-01-31.
    #[arg(long, value_name = "TIME", value_parser = parse_ahead)]
    pub until: Option<Timestamp>,
}

/// Starts applying again.
///
/// Every suspension of the application is deleted.
#[derive(Debug, Clone, clap::Args)]
pub struct ResumeArgs {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
}

/// Runs `suspend`.
pub async fn suspend(
    args: &SuspendArgs,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    if args.reason.trim().is_empty() {
        return Err(CommandError::usage("--reason is empty").hint("say why, for those who find it suspended"));
    }
    let session = connection.open(program).await?;
    let application = session.application(&args.application).await?;
    let now = Timestamp::now();
    let others = session.suspensions(&args.application, now).await.unwrap_or_default();
    let spec = SuspensionSpec {
        application_ref: ApplicationRef { name: application.name_any() },
        reason: args.reason.clone(),
        until: args.until,
        requested_by: session.username().await,
    };
    let created = session.create(&Suspension { metadata: metadata(&session, &args.application), spec }).await?;
    let until = args.until.map(|until| format!(" for {}", words::left(now, until))).unwrap_or_default();
    output
        .say(&format!("{} is suspended{until}; to go on: {program} resume {}", args.application, args.application))?;
    if !others.is_empty() {
        output.say(&format!("it was suspended before: {}", others.iter().map(told).collect::<Vec<_>>().join("; ")))?;
    }
    output.write(&format!("suspension.bowline.dev/{} created\n", created.name_any()))?;
    Ok(0)
}

/// Runs `resume`.
pub async fn resume(
    args: &ResumeArgs,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    let application = session.application(&args.application).await?;
    // Those that ended by themselves are cleared away too.
    let suspensions = session.suspensions(&args.application, Timestamp::MIN).await?;
    let mut ended = Vec::new();
    for suspension in &suspensions {
        if session.delete(suspension).await? {
            ended.push(format!("suspension.bowline.dev/{} deleted\n", suspension.name_any()));
            output.say(&format!("ended: {}", told(suspension)))?;
        }
    }
    output.write(&ended.concat())?;
    if application.spec.suspend {
        return Err(CommandError::failed(format!(
            "{} stays suspended: spec.suspend of the Application is true",
            args.application
        ))
        .hint("set it to false where the Application comes from, which may be Git"));
    }
    if ended.is_empty() {
        output.say(&format!("{} was not suspended", args.application))?;
    }
    Ok(0)
}

/// `by ada: "maintenance"`.
fn told(suspension: &Suspension) -> String {
    let by = &suspension.spec.requested_by;
    let by = if by.is_empty() { "by a person".to_owned() } else { format!("by {}", words::line(by)) };
    format!("{by}: \"{}\"", words::short_line(&suspension.spec.reason, 120))
}
