//! A real Prometheus on loopback, and something that it scrapes.
//!
//! The program is the one on the `PATH`, else that of Debian's package, which
//! is unpacked into the cache and not installed: that needs no rights.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    debian::{Package, program},
    directory::RunDirectory,
    error::{At, Result},
    http::{Handler, Server, respond},
    ports::Port,
    process::{Launch, Process},
};

/// Debian's package; it has promtool too. Both need no libraries.
const PACKAGE: Package = Package { name: "prometheus", with_dependencies: false };

/// The path of promtool, which checks rules.
pub fn promtool() -> Result<PathBuf> {
    program(PACKAGE, "promtool")
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
        let program = program(PACKAGE, "prometheus")?;
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

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
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
