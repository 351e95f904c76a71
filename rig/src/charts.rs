//! Where charts come from: a real registry, Debian's docker-registry, and a
//! chart repository, which is files behind HTTP.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::Engine as _;

use crate::{
    debian::{Package, program},
    directory::RunDirectory,
    error::{At, Error, Result},
    http::{Handler, Request, Response, Server, respond},
    pki::Authority,
    ports::Port,
    process::{Launch, Process},
};

/// Debian's package; its program needs no libraries.
const PACKAGE: Package = Package { name: "docker-registry", with_dependencies: false };
/// How long it may take until it answers.
const READY: Duration = Duration::from_secs(60);

/// Name and password of the one account.
pub type Account<'a> = (&'a str, &'a str);

/// A registry on loopback; it ends with the value.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    port: Port,
    _directory: RunDirectory,
}

impl Registry {
    /// Starts one: for everybody or for one account, by plain HTTP or by TLS
    /// with a certificate of an authority.
    pub fn start(account: Option<Account<'_>>, authority: Option<&Authority>) -> Result<Self> {
        let program = program(PACKAGE, "docker-registry")?;
        let directory = RunDirectory::new("registry-")?;
        let port = Port::claim()?;
        let write = |name: &str, content: &str| -> Result<PathBuf> {
            let path = directory.path().join(name);
            fs::write(&path, content).at("write", &path)?;
            Ok(path)
        };
        let mut settings = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:{}\n",
            directory.path().join("data").display(),
            port.number()
        );
        if let Some(authority) = authority {
            let files = authority.server(&["127.0.0.1"])?.write(directory.path(), "server")?;
            let (certificate, key) = (files.certificate.display(), files.key.display());
            settings.push_str(&format!("  tls: {{certificate: {certificate}, key: {key}}}\n"));
        }
        if let Some((name, password)) = account {
            let file = write("accounts", &format!("{name}:{}\n", bcrypt(password)?))?;
            settings.push_str(&format!("auth: {{htpasswd: {{realm: registry, path: {}}}}}\n", file.display()));
        }
        let settings = write("config.yml", &settings)?;
        let launch = Launch {
            name: "docker-registry".into(),
            program,
            arguments: vec!["serve".into(), settings.display().to_string()],
            environment: Vec::new(),
            log: directory.path().join("log"),
        };
        let mut registry = Self { process: Process::start(&launch)?, port, _directory: directory };
        let deadline = Instant::now() + READY;
        while std::net::TcpStream::connect(("127.0.0.1", registry.port.number())).is_err() {
            registry.process.check()?;
            if Instant::now() > deadline {
                return Err(Error::Content { path: launch.log, reason: "the registry does not listen".into() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    /// `127.0.0.1` and its port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.process.kill();
    }
}

/// The hash of a password as a registry takes it, by the C library through Perl;
/// the salt is none, for a registry of a test.
fn bcrypt(password: &str) -> Result<String> {
    let mut command = Command::new("perl");
    command.args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, "$2y$05$abcdefghijklmnopqrstuu"]);
    let output = command.output().at("run", Path::new("perl"))?;
    let hash = String::from_utf8_lossy(&output.stdout).into_owned();
    if hash.starts_with("$2y$") {
        return Ok(hash);
    }
    Err(Error::Content { path: "perl".into(), reason: format!("crypt gives no bcrypt hash: {hash:?}") })
}

/// A chart repository: a directory behind HTTP, for everybody or for one
/// account; it ends with the value.
#[derive(Debug)]
pub struct ChartRepository {
    server: Server,
    directory: Arc<RunDirectory>,
    requests: Arc<AtomicU64>,
}

impl ChartRepository {
    /// Starts one that is empty.
    pub fn start(account: Option<Account<'_>>) -> Result<Self> {
        let directory = Arc::new(RunDirectory::new("charts-")?);
        let requests = Arc::new(AtomicU64::new(0));
        let wanted = account.map(|(name, password)| {
            let both = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
            format!("Basic {both}")
        });
        let (root, count) = (directory.clone(), requests.clone());
        let handler: Handler = Arc::new(move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            if wanted.is_some() && shown != wanted.as_deref() {
                return respond(401, "text/plain", "who are you?\n".into());
            }
            file(&root, request.uri().path())
        });
        Ok(Self { server: Server::start(0, None, handler)?, directory, requests })
    }

    /// Its directory: packed charts go there, and `index.yaml`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

fn file(root: &RunDirectory, path: &str) -> Response {
    let name = path.trim_start_matches('/');
    let content = if name.contains(['/', '\\']) { None } else { fs::read(root.path().join(name)).ok() };
    match content {
        Some(content) => respond(200, "application/octet-stream", content.into()),
        None => respond(404, "text/plain", "no such file\n".into()),
    }
}
