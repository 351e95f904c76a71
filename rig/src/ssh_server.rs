//! A real `sshd` on loopback, for Git over SSH.
//!
//! It runs as this user, with a host key and a list of keys of its own. Started
//! by root it wants a user `sshd` and a directory in `/run`, which a machine
//! without the package does not have: it gets them in a mount namespace of its
//! own, so that nothing of the machine changes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    debian::{Package, libraries, program},
    directory::RunDirectory,
    error::{At, Error, Result},
    git_server::{GitRepo, Root, bare_path},
    ports::Port,
    process::{Launch, Process},
};

const SERVER: Package = Package { name: "openssh-server", with_dependencies: true };
pub(crate) const CLIENT: Package = Package { name: "openssh-client", with_dependencies: true };
/// How long it may take until it answers.
const READY: Duration = Duration::from_secs(60);

/// An SSH server with repositories; it ends with the value.
#[derive(Debug)]
pub struct SshServer {
    process: Process,
    port: Port,
    directory: RunDirectory,
    root: Arc<Root>,
}

/// A key pair.
#[derive(Debug, Clone)]
pub struct SshKey {
    /// The private key, in OpenSSH's form.
    pub private: String,
    /// The public key, as a line of `authorized_keys`.
    pub public: String,
}

impl SshKey {
    /// Makes one by `ssh-keygen`: of a type (`ed25519`, `ecdsa`, `rsa`), with a
    /// passphrase or an empty one.
    pub fn generate(kind: &str, passphrase: &str) -> Result<Self> {
        let directory = RunDirectory::new("key-")?;
        let file = directory.path().join("key");
        make_key(kind, None, passphrase, &file)?;
        let read = |path: &Path| fs::read_to_string(path).at("read", path);
        Ok(Self { private: read(&file)?, public: read(&file.with_extension("pub"))? })
    }
}

/// Makes a key, of some bits where its type has a choice.
pub(crate) fn make_key(kind: &str, bits: Option<u32>, passphrase: &str, file: &Path) -> Result<()> {
    let keygen = program(CLIENT, "ssh-keygen")?;
    let mut command = Command::new(&keygen);
    command.args(["-q", "-t", kind, "-C", "rig", "-N", passphrase, "-f"]).arg(file);
    if let Some(bits) = bits {
        command.args(["-b", &bits.to_string()]);
    }
    command.env("LD_LIBRARY_PATH", libraries(&keygen));
    let output = command.output().map_err(|source| Error::Program { program: "ssh-keygen".into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Command { command: "ssh-keygen".into(), status: output.status, output: output_text })
}

impl SshServer {
    /// Starts one that lets these keys in.
    pub fn start(keys: &[&SshKey]) -> Result<Self> {
        let sshd = program(SERVER, "sshd")?;
        let directory = RunDirectory::new("ssh-")?;
        let port = Port::claim()?;
        let at = |name: &str| directory.path().join(name);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            make_key(kind, None, "", &at(&format!("host-{kind}")))?;
        }
        let authorized = at("authorized");
        let lines: String = keys.iter().map(|key| key.public.as_str()).collect();
        fs::write(&authorized, lines).at("write", &authorized)?;
        let settings = settings(&sshd, directory.path(), port.number());
        let file = at("sshd_config");
        fs::write(&file, settings).at("write", &file)?;
        let script = at("start");
        fs::write(&script, script_text(&sshd, directory.path(), &file)).at("write", &script)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).at("change", &script)?;
        if is_root() {
            let users = at("passwd");
            let text = "root:x:0:0:root:/root:/bin/sh\nsshd:x:65533:65534::/nonexistent:/usr/sbin/nologin\n";
            fs::write(&users, text).at("write", &users)?;
        }
        let (shell, arguments) = if is_root() {
            ("unshare", vec!["--mount".into(), "--propagation".into(), "private".into(), script.display().to_string()])
        } else {
            ("sh", vec![script.display().to_string()])
        };
        let launch = Launch {
            name: "sshd".into(),
            program: shell.into(),
            arguments,
            environment: vec![("LD_LIBRARY_PATH".into(), libraries(&sshd))],
            log: at("log"),
        };
        let mut server = Self { process: Process::start(&launch)?, port, directory, root: Arc::new(Root::new()?) };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            self.process.check()?;
            if std::net::TcpStream::connect(("127.0.0.1", self.port.number())).is_ok() {
                return Ok(());
            }
            if Instant::now() >= until {
                let log = self.process.log_end();
                return Err(Error::NotReady { what: "sshd".into(), component: "sshd".into(), limit: READY, log });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes an empty repository with the default branch `main`.
    pub fn create_repo(&self, name: &str) -> Result<GitRepo> {
        GitRepo::create(self.root.clone(), name)
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        let path = bare_path(self.root.path(), name);
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port.number(), path.display())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The keys of the host, as lines of `known_hosts`.
    pub fn known_hosts(&self) -> Result<String> {
        let mut lines = String::new();
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let path = self.directory.path().join(format!("host-{kind}.pub"));
            let text = fs::read_to_string(&path).at("read", &path)?;
            lines.push_str(&format!("[127.0.0.1]:{} {text}", self.port.number()));
        }
        Ok(lines)
    }
}

fn settings(sshd: &Path, directory: &Path, port: u16) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let mut text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
         PermitRootLogin prohibit-password\nMaxStartups 200\n",
        at("host-ed25519"),
        at("host-ecdsa"),
        at("host-rsa"),
        at("authorized"),
    );
    // Newer versions have parts, which an unpacked package has elsewhere.
    let parts = sshd.ancestors().nth(2).map(|root| root.join("lib/openssh")).unwrap_or_default();
    for (part, setting) in [("sshd-session", "SshdSessionPath"), ("sshd-auth", "SshdAuthPath")] {
        let path: PathBuf = parts.join(part);
        if path.is_file() {
            text.push_str(&format!("{setting} {}\n", path.display()));
        }
    }
    text
}

fn script_text(sshd: &Path, directory: &Path, settings: &Path) -> String {
    let mount = format!(
        "mount --bind {}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd || exit 1\n",
        directory.display()
    );
    let mount = if is_root() { mount.as_str() } else { "" };
    format!("#!/bin/sh\n{mount}exec {} -D -e -f {}\n", sshd.display(), settings.display())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who logs in: root by the list of users above, else whoever runs this.
fn user() -> String {
    if is_root() {
        return "root".to_owned();
    }
    std::env::var("USER").unwrap_or_else(|_| "nobody".to_owned())
}
