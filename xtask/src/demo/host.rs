//! The process that holds the demo's Git server and controller.
//!
//! It says in one line of JSON on its standard output where things are, and
//! obeys lines on its standard input. When the input ends, it ends, unless it
//! was told to stay; then it ends when the cluster does.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::cluster::detached::{Detached, Status};
use rig::{GitServer, Launch, Process};
use serde::{Deserialize, Serialize};

use crate::{Outcome, workspace};

/// The repository that the demo pushes to.
const REPOSITORY: &str = "shop";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The cluster that the controller works on
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Where the controller's log goes
    #[arg(long)]
    log: PathBuf,
    /// The detached cluster to live as long as, when the input has ended
    #[arg(long)]
    stay_with: Option<String>,
}

/// Where things are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// The repository's URL.
    pub(super) url: String,
    /// A working clone of it.
    pub(super) work: PathBuf,
    /// The controller's process.
    pub(super) controller: u32,
}

/// What the host can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    StopGit,
    StartGit,
}

impl Order {
    const ALL: [Order; 2] = [Order::StopGit, Order::StartGit];

    pub(super) fn word(self) -> &'static str {
        match self {
            Order::StopGit => "stop-git",
            Order::StartGit => "start-git",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    // Ctrl-C in the terminal is for the story; we end with our input.
    rig::detach();
    let mut server = GitServer::start()?;
    let repo = server.create_repo(REPOSITORY)?;
    repo.copy_from(&workspace().join("examples/shop"), "shop")?;
    repo.commit_and_push("Open the shop")?;
    let controller = Process::start(&controller(&arguments.kubeconfig, &arguments.log))?;
    let place = Place { url: server.url(REPOSITORY), work: repo.work_path().to_owned(), controller: controller.id() };
    println!("{}", serde_json::to_string(&place)?);
    watch(controller);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match Order::ALL.into_iter().find(|order| order.word() == line) {
            Some(Order::StopGit) => server.stop(),
            Some(Order::StartGit) => server.start_again()?,
            None => return Err(format!("unknown order {line:?}").into()),
        }
        println!("{line}");
        std::io::stdout().flush()?;
    }
    if let Some(name) = &arguments.stay_with {
        let cluster = Detached::named(name);
        while !matches!(cluster.status(), Status::Down) {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}

fn controller(kubeconfig: &Path, log: &Path) -> Launch {
    Launch {
        name: "bowline controller".into(),
        program: super::stage::bowline(),
        arguments: vec!["controller".into()],
        environment: vec![("KUBECONFIG".into(), kubeconfig.display().to_string())],
        log: log.to_owned(),
    }
}

/// Without its controller the host is of no use: it ends, and says why.
fn watch(mut controller: Process) {
    std::thread::spawn(move || {
        loop {
            if let Err(error) = controller.check() {
                eprintln!("error: {error}");
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}
