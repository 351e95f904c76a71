//! A real Prometheus on loopback, and something that it scrapes.
//!
//! The program is the one on the `PATH`, else that of Debian's package, which
//! is unpacked into the cache and not installed: that needs no rights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    directory::{RunDirectory, cache_dir, create_private},
    error::{At, Error, Result},
    http::{Handler, Server, respond},
    ports::Port,
    process::{Launch, Process},
};

/// Debian's package; it has promtool too.
const PACKAGE: &str = "prometheus";

/// The path of promtool, which checks rules.
pub fn promtool() -> Result<PathBuf> {
    program("promtool")
}

/// A Prometheus that scrapes the given exporters every second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: Port,
    _directory: RunDirectory,
}

impl Prometheus {
    /// Starts it.
    pub fn start(exporters: &[&Exporter]) -> Result<Self> {
        let program = program("prometheus")?;
        let directory = RunDirectory::new("prometheus-")?;
        let port = Port::claim()?;
        let targets: Vec<String> =
            exporters.iter().map(|exporter| format!("'127.0.0.1:{}'", exporter.server.port())).collect();
        let settings = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: rig\n  \
             static_configs:\n  - targets: [{}]\n",
            targets.join(", ")
        );
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, settings).at("write", &file)?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{}", port.number()),
        ];
        let launch = Launch {
            name: "prometheus".into(),
            program,
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            log: directory.path().join("log"),
        };
        Ok(Self { process: Process::start(&launch)?, port, _directory: directory })
    }

    /// Its URL. It answers a moment after it was started.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.process.kill();
    }
}

/// A server of metrics, as a program would have one.
#[derive(Debug)]
pub struct Exporter {
    server: Server,
    text: Arc<Mutex<String>>,
}

impl Exporter {
    /// Starts one that has nothing to tell yet.
    pub fn start() -> Result<Self> {
        let text = Arc::<Mutex<String>>::default();
        let shared = text.clone();
        let handler: Handler = Arc::new(move |_| {
            let text = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            respond(200, "text/plain; version=0.0.4", text.into())
        });
        Ok(Self { server: Server::start(0, None, handler)?, text })
    }

    /// From now on it tells this, in Prometheus' text format.
    pub fn tell(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The path of a program of the package.
fn program(name: &str) -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&on_path).map(|dir| dir.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let tools = cache_dir().join("tools");
    let unpacked = tools.join("prometheus-debian");
    let program = unpacked.join("usr/bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    create_private(&tools)?;
    let work = tempfile::Builder::new().prefix("prometheus-").tempdir_in(&tools).at("create a directory in", &tools)?;
    download(work.path())?;
    let packages = fs::read_dir(work.path()).at("read", work.path())?.filter_map(std::io::Result::ok);
    let package = packages.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "deb"));
    let missing = || Error::Content { path: work.path().to_owned(), reason: "apt-get left no package".into() };
    let package = package.ok_or_else(missing)?;
    let inside = work.path().join("x");
    run(work.path(), "dpkg", &["-x", &package.display().to_string(), &inside.display().to_string()])?;
    // Whoever else did the same meanwhile has the same program there.
    if let Err(source) = fs::rename(&inside, &unpacked)
        && !program.is_file()
    {
        return Err(Error::File { action: "move into place", path: unpacked, source });
    }
    Ok(program)
}

/// Downloads the package. A new machine may have no lists of packages, or old
/// ones: then they are read into the same directory, which needs no rights.
fn download(work: &Path) -> Result<()> {
    if run(work, "apt-get", &["download", PACKAGE]).is_ok() {
        return Ok(());
    }
    let (lists, cache) = (work.join("lists"), work.join("cache"));
    create_private(&lists.join("partial"))?;
    create_private(&cache.join("archives/partial"))?;
    let (lists, cache) = (format!("Dir::State::Lists={}", lists.display()), format!("Dir::Cache={}", cache.display()));
    let options = ["-o", &lists, "-o", &cache, "-o", "APT::Sandbox::User=root"];
    run(work, "apt-get", &[options.as_slice(), &["update"]].concat())?;
    run(work, "apt-get", &[options.as_slice(), &["download", PACKAGE]].concat())
}

/// Runs a program of the system.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.map_err(|source| Error::Program { program: program.into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Command {
        command: format!(
            "{program} {} (prometheus is wanted on the PATH, or from Debian's packages)",
            arguments.join(" ")
        ),
        status: output.status,
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}
