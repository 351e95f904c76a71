//! Git over HTTP by Git's own `http-backend`, and repositories to serve.
//!
//! The server speaks the smart protocol only, on a free port of 127.0.0.1 (or of an address of choice),
//! plainly or by TLS with an authority made at run time. It can ask for
//! credentials, be stopped and come back on the same port, and answer with an
//! error of choice: what a Git host does on a bad day.

mod cgi;
mod repo;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};

pub use repo::GitRepo;

use crate::error::{Error, Result};
use crate::http::{self, Request, Response, Server, plain};
use crate::pki::Authority;
use crate::ports::Port;
pub(crate) use repo::{Root, bare_path};

/// What the server asks of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: String,
    },
}

/// A Git server; it ends with the value, and its repositories with it.
#[derive(Debug)]
pub struct GitServer {
    server: Option<Server>,
    behaviour: Arc<Behaviour>,
    address: Ipv4Addr,
    port: Port,
    tls: Option<Tls>,
    root: Arc<Root>,
}

#[derive(Debug)]
struct Tls {
    authority: Authority,
    config: Arc<rustls::ServerConfig>,
}

/// What tests change while the server runs.
#[derive(Debug, Default)]
struct Behaviour {
    requests: AtomicU64,
    settings: Mutex<Settings>,
}

#[derive(Debug, Default, Clone)]
struct Settings {
    auth: Auth,
    failure: Option<u16>,
    delay: Duration,
}

impl GitServer {
    /// Starts a server over plain HTTP.
    pub fn start() -> Result<Self> {
        Self::new(Ipv4Addr::LOCALHOST, None)
    }

    /// The same at an address of this machine that others reach: pods of a real node.
    pub fn start_at(address: Ipv4Addr) -> Result<Self> {
        Self::new(address, None)
    }

    /// Starts a server over TLS; clients need [`GitServer::authority_pem`].
    pub fn start_tls() -> Result<Self> {
        let authority = Authority::new("bowline-rig-git")?;
        let identity = authority.server(&["127.0.0.1", "localhost"])?;
        let config = http::server_tls(&identity, None)?;
        Self::new(Ipv4Addr::LOCALHOST, Some(Tls { authority, config }))
    }

    fn new(address: Ipv4Addr, tls: Option<Tls>) -> Result<Self> {
        let mut server = GitServer {
            server: None,
            behaviour: Arc::default(),
            address,
            port: Port::claim()?,
            tls,
            root: Arc::new(Root::new()?),
        };
        server.start_again()?;
        Ok(server)
    }

    /// Makes an empty repository with the default branch `main`.
    pub fn create_repo(&self, name: &str) -> Result<GitRepo> {
        GitRepo::create(self.root.clone(), name)
    }

    /// The URL of a repository, without credentials.
    pub fn url(&self, name: &str) -> String {
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}:{}/{name}.git", self.address, self.port.number())
    }

    /// The port, which stays the same over a stop and a start.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The certificate that clients of a TLS server must trust.
    pub fn authority_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.authority.certificate_pem())
    }

    /// Asks for these credentials from now on.
    pub fn require(&self, auth: Auth) {
        self.behaviour.settings().auth = auth;
    }

    /// Answers every request with this HTTP status from now on, or works again.
    pub fn fail_with(&self, status: Option<u16>) {
        self.behaviour.settings().failure = status;
    }

    /// Waits before every answer from now on.
    pub fn delay(&self, delay: Duration) {
        self.behaviour.settings().delay = delay;
    }

    /// How many requests came so far, refused ones too. A fetch is two or three.
    pub fn requests(&self) -> u64 {
        self.behaviour.requests.load(Ordering::SeqCst)
    }

    /// Stops listening and cuts all connections. Pushes by [`GitRepo`] still work.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again on the same port.
    pub fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let behaviour = self.behaviour.clone();
        let root = self.root.clone();
        self.server = Some(Server::start_at(
            (self.address, self.port.number()).into(),
            self.tls.as_ref().map(|tls| tls.config.clone()),
            Arc::new(move |request| behaviour.answer(&root, &request)),
        )?);
        Ok(())
    }

    /// The directory of the bare repository, for `file://` URLs.
    pub fn bare_path(&self, name: &str) -> PathBuf {
        bare_path(self.root.path(), name)
    }
}

impl Behaviour {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, root: &Root, request: &Request) -> Response {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let settings = self.settings().clone();
        std::thread::sleep(settings.delay);
        if let Some(status) = settings.failure {
            return plain(status, "the server was told to fail\n");
        }
        let user = match authenticate(&settings.auth, request) {
            Ok(user) => user,
            Err(refused) => return *refused,
        };
        cgi::run(root.path(), request, &user).unwrap_or_else(|error| plain(500, &format!("{error}\n")))
    }
}

/// The user, or the answer that asks for credentials.
fn authenticate(auth: &Auth, request: &Request) -> std::result::Result<String, Box<Response>> {
    let (expected, user, challenge) = match auth {
        Auth::None => return Ok("anonymous".into()),
        Auth::Basic { user, password } => (
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))),
            user.clone(),
            "Basic realm=\"rig\"",
        ),
        Auth::Bearer { token } => (format!("Bearer {token}"), "token".into(), "Bearer"),
    };
    let given = request.headers().get(AUTHORIZATION);
    if given.is_some_and(|given| given.as_bytes() == expected.as_bytes()) {
        return Ok(user);
    }
    let mut response = plain(401, "credentials are needed\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    Err(Box::new(response))
}

/// Names of repositories become paths and URLs, so they are plain.
fn checked(name: &str) -> Result<&str> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
    };
    match name.split('/').all(plain) {
        true => Ok(name),
        false => Err(Error::Content {
            path: Path::new(name).to_owned(),
            reason: "a repository's name has letters, digits, `.`, `_`, `-` and `/`".into(),
        }),
    }
}
