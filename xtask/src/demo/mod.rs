//! `cargo xtask demo`: from a commit to a cluster and back, told in a terminal.
//!
//! The cluster and the rest of the stage (Git server and controller) run in
//! processes of their own, so that they can stay after the story (`--keep`).
//! Without `--keep` they end with this process, however it ends.

mod host;
mod stage;
mod story;
mod terminal;

use std::path::PathBuf;
use std::time::Instant;

use crate::Outcome;
use stage::Stage;
use terminal::Terminal;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave the cluster, the Git server and the controller running at the end
    #[arg(long)]
    keep: bool,
    /// Use this cluster instead of one of its own. Its nodes must run any image, such as those
    /// of `cargo xtask cluster up`: the sample's images exist nowhere
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Never wait for Enter
    #[arg(long)]
    no_pause: bool,
}

#[derive(clap::Subcommand)]
pub(crate) enum Hidden {
    /// Run the demo's Git server and controller in this process (what `demo` starts)
    #[command(hide = true)]
    DemoHost(host::Arguments),
}

pub(crate) fn host(Hidden::DemoHost(arguments): Hidden) -> Outcome {
    host::run(&arguments)
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let terminal = Terminal::new(!arguments.no_pause);
    terminal.title("Bowline demo: from a commit to a cluster and back. Nothing leaves this machine.");

    terminal.part("1/3", "Tools: Kubernetes, etcd and kwok from their sources, and Bowline itself");
    crate::tools::build()?;
    stage::build_bowline()?;

    terminal.part("2/3", "A cluster, a Git server and the controller");
    let start = Instant::now();
    let mut stage = Stage::set_up(&terminal, arguments.kubeconfig.as_deref(), arguments.keep)
        .inspect_err(|_| stage::end_if_interrupted())?;
    terminal.note(&format!("ready after {:.1}s", start.elapsed().as_secs_f64()));

    terminal.part("3/3", "The story");
    if let Err(error) = story::tell(&terminal, &mut stage) {
        stage::end_if_interrupted();
        // The controller's own words are what explains most failures.
        eprintln!("\n{}", stage.controller_log_end());
        if !arguments.keep {
            stage.take_down()?;
        }
        return Err(error);
    }
    if arguments.keep { stage.leave(&terminal) } else { stage.take_down() }
}
