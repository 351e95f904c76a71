//! `cargo xtask cluster up | down | status`.

use rig::cluster::detached::{Detached, Status};

use crate::Outcome;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Start a cluster in the background and print the line that selects it
    Up(Up),
    /// End it and remove its data
    Down(Name),
    /// Say whether it runs
    Status(Name),
    /// Run a cluster in this process (what `up` starts)
    #[command(hide = true)]
    Supervise(Up),
}

#[derive(clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    name: Name,
    /// With one real node, whose pods run containers; needs root
    #[arg(long)]
    node: bool,
    /// Import this OCI archive into the node; may be given several times
    #[arg(long, value_name = "FILE", requires = "node")]
    image: Vec<std::path::PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Name {
    /// Which cluster, where several run side by side
    #[arg(long, default_value = "default", value_parser = name)]
    name: String,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '-';
    match text.chars().all(plain) && !text.is_empty() && text.len() <= 40 {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 40 letters, digits and hyphens".into()),
    }
}

pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Up(arguments) => up(&arguments),
        Command::Down(Name { name }) => {
            match Detached::named(&name).down()? {
                true => eprintln!("Cluster {name} is down and its data removed."),
                false => eprintln!("Cluster {name} was not running."),
            }
            Ok(())
        }
        Command::Status(Name { name }) => {
            match Detached::named(&name).status() {
                Status::Down => eprintln!("Cluster {name} is not running: cargo xtask cluster up"),
                Status::Starting => eprintln!("Cluster {name} is starting."),
                Status::Up { supervisor, components } => {
                    eprintln!("Cluster {name} runs (supervisor: process {supervisor}).");
                    for (component, process) in components {
                        eprintln!("  {component:<24} process {process}");
                    }
                    select(&Detached::named(&name))?;
                }
            }
            Ok(())
        }
        Command::Supervise(Up { name, node, image }) => {
            let options = if node { rig::Options::with_node() } else { rig::Options::default() };
            match Detached::named(&name.name).supervise(options, &image)? {}
        }
    }
}

fn up(arguments: &Up) -> Outcome {
    let name = arguments.name.name.as_str();
    crate::tools::build()?;
    if arguments.node {
        rig::node::is_possible()?;
        crate::tools::build_node()?;
    }
    let cluster = Detached::named(name);
    let start = std::time::Instant::now();
    let mut supervisor = std::process::Command::new(std::env::current_exe()?);
    supervisor.args(["cluster", "supervise", "--name", name]);
    if arguments.node {
        supervisor.arg("--node");
    }
    for image in &arguments.image {
        supervisor.arg("--image").arg(std::path::absolute(image)?);
    }
    cluster.up(supervisor)?;
    eprintln!(
        "Cluster {name} is ready ({:.1}s). To end it: cargo xtask cluster down{}",
        start.elapsed().as_secs_f64(),
        match name {
            "default" => String::new(),
            name => format!(" --name {name}"),
        }
    );
    eprintln!("kubectl: {}", rig::tools::path("kubectl")?.display());
    select(&cluster)
}

/// What a shell evaluates: the kubeconfig for people, the rest for `cargo test`.
fn select(cluster: &Detached) -> Outcome {
    let access = cluster.access()?;
    println!("export KUBECONFIG={}", quoted(access.kubeconfig_path()));
    for (name, path) in access.test_environment() {
        println!("export {name}={}", quoted(path));
    }
    Ok(())
}

fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
