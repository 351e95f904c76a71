//! `bowline diff`: what an apply would change, as unified text.

use std::path::PathBuf;

use super::{
    CommandError, Connection, Output, any_two,
    follow::plan_of_sync,
    local,
    output::DataFormat,
    plan_text::{changes_anything, diff_text, refused, sum},
    point::Point,
    render::{KeyArgs, ProgramArgs},
    request::sync_spec,
    session::Session,
    words,
};
use crate::api::{PlanView, SyncRequestSpec};

/// Shows what an apply would change, as unified text.
///
/// The values of Secrets are masked. The controller makes the plan, so that no right to read the
/// objects is needed; with --local it is made here, with your own rights.
/// Exits with 0 if nothing differs, 1 if something does, 2 if it cannot be
/// told or would be refused.
///
/// With --from and --to two states are compared: of two releases, object by
/// object, with files that objects moved to and the commits in between. The
/// content of releases is read with your own rights.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The application.
    #[arg(value_name = "APP")]
    pub application: String,
    /// Branch, tag or commit instead of the head.
    #[arg(long, value_name = "REV", conflicts_with_all = ["release", "local"])]
    pub revision: Option<String>,
    /// The content of an earlier release.
    #[arg(long, value_name = "N", conflicts_with = "local")]
    pub release: Option<u64>,
    /// The files of a directory of this machine, in place of the application's
    /// path in the repository.
    #[arg(long, value_name = "DIR")]
    pub local: Option<PathBuf>,
    /// With --local, the programs that render.
    #[command(flatten)]
    pub programs: ProgramArgs,
    /// With --local, the keys of encrypted files.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Compare this state with the one of --to: a release (`12`), the commit of
    /// one, the release of the third commit before the newest (`HEAD~3`: of the
    /// commits that were released and are kept, whatever was rolled back), or
    /// `live`.
    #[arg(long, value_name = "STATE", conflicts_with_all = ["revision", "release", "local"])]
    pub from: Option<Point>,
    /// The other state, with --from; what is live if it is not given. A branch
    /// or commit that was never released can be compared with `live` only.
    #[arg(long, value_name = "STATE", requires = "from")]
    pub to: Option<Point>,
    /// Form of the output: the plan, for programs.
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
}

/// Runs the command.
pub async fn run(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    match difference(args, connection, program, output).await {
        Ok(code) => Ok(code),
        Err(error) if error.exit_code() == 1 => {
            // A difference exits with 1, so an error must not.
            output.error(&error);
            Ok(2)
        }
        Err(error) => Err(error),
    }
}

async fn difference(
    args: &Args,
    connection: &Connection,
    program: &'static str,
    output: &mut Output,
) -> Result<u8, CommandError> {
    let session = connection.open(program).await?;
    if let Some(from) = &args.from {
        let to = args.to.as_ref().unwrap_or(&Point::Live);
        return any_two::run(&session, &args.application, from, to, args.output, output).await;
    }
    let plan = match &args.local {
        Some(directory) => {
            let from = local::From { directory, programs: &args.programs, keys: &args.keys };
            local::plan(&session, &args.application, &from, output).await?
        }
        None => asked(&session, args, output).await?,
    };
    match args.output {
        Some(format) => output.write_data(format, &plan)?,
        None => {
            output.write(&diff_text(&plan))?;
            output.say(&sum(&plan))?;
        }
    }
    if args.output.is_none() {
        for note in &plan.notes {
            output.say(&format!("note: {}", words::line(note)))?;
        }
    }
    match refused(&plan) {
        Some(error) => Err(error),
        None => Ok(u8::from(changes_anything(&plan))),
    }
}

async fn asked(session: &Session, args: &Args, output: &mut Output) -> Result<PlanView, CommandError> {
    session.application(&args.application).await?;
    let (revision, from_release) = (args.revision.clone(), args.release);
    plan_of_sync(session, SyncRequestSpec { revision, from_release, ..sync_spec(&args.application) }, output).await
}
