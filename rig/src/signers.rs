//! Those who sign commits and tags: keys of the real `ssh-keygen` and `gpg`,
//! and how Git is told to use them.
//!
//! A signer is a program in a directory of its own, which sets what the real
//! one needs, so that nothing of the user's own keys is read or changed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    debian::{Package, libraries, program},
    directory::RunDirectory,
    error::{At, Error, Result},
    process::{Launch, Process, output},
    ssh_server::{CLIENT, make_key},
};

const GPG: Package = Package { name: "gpg", with_dependencies: true };
const AGENT: Package = Package { name: "gpg-agent", with_dependencies: true };
/// How long it may take until the agent answers.
const READY: Duration = Duration::from_secs(60);

/// An SSH key that signs.
#[derive(Debug)]
pub struct SshSigner {
    directory: RunDirectory,
}

impl SshSigner {
    /// Makes a key of a type (`ed25519`, `ecdsa`, `rsa`), of some bits where
    /// the type has a choice.
    pub fn generate(kind: &str, bits: Option<u32>) -> Result<Self> {
        let directory = RunDirectory::new("signer-")?;
        make_key(kind, bits, "", &directory.path().join("key"))?;
        let keygen = program(CLIENT, "ssh-keygen")?;
        script(&directory.path().join("ssh-keygen"), &keygen, &[("LD_LIBRARY_PATH", &libraries(&keygen))], "")?;
        Ok(Self { directory })
    }

    /// The public key, as `kind key`, without a comment.
    pub fn public(&self) -> Result<String> {
        let file = self.directory.path().join("key.pub");
        let text = fs::read_to_string(&file).at("read", &file)?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Settings by which Git signs with it.
    pub fn settings(&self) -> Vec<String> {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        vec![
            "gpg.format=ssh".to_owned(),
            format!("gpg.ssh.program={}", at("ssh-keygen")),
            format!("user.signingKey={}", at("key")),
        ]
    }

    /// Signs some content for a namespace, as `ssh-keygen -Y sign` does.
    pub fn sign(&self, namespace: &str, content: &[u8]) -> Result<String> {
        let key = self.directory.path().join("key");
        let mut command = Command::new(self.directory.path().join("ssh-keygen"));
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&key);
        Ok(String::from_utf8_lossy(&output(&mut command, Some(content))?).into_owned())
    }
}

/// A keyring of `gpg`, with an agent that ends with the value.
#[derive(Debug)]
pub struct Gpg {
    // As long as this runs, which is all that it does, the agent runs beside
    // it: alone it would go into the background, whatever becomes of us.
    _agent: Process,
    directory: RunDirectory,
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Gpg {
    /// An empty keyring.
    pub fn new() -> Result<Self> {
        let gpg = program(GPG, "gpg")?;
        let agent = program(AGENT, "gpg-agent")?;
        let directory = RunDirectory::new("gpg-")?;
        let home = directory.path().display().to_string();
        let found: Vec<String> = [libraries(&gpg), libraries(&agent)].into_iter().filter(|it| !it.is_empty()).collect();
        let environment = vec![("GNUPGHOME", home.clone()), ("LD_LIBRARY_PATH", found.join(":"))];
        let settings = directory.path().join("gpg.conf");
        fs::write(&settings, "batch\nyes\nno-tty\nno-autostart\nallow-weak-digest-algos\n").at("write", &settings)?;
        let launch = Launch {
            name: "gpg-agent".into(),
            program: agent,
            arguments: ["--homedir", &home, "--daemon", "--", "sleep", "infinity"].map(str::to_owned).to_vec(),
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            log: directory.path().join("log"),
        };
        let agent = Process::start(&launch)?;
        let mut keyring = Self { _agent: agent, directory, program: gpg, environment };
        keyring.wait()?;
        Ok(keyring)
    }

    /// Waits until the agent is there: it alone knows where its socket is.
    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        while self.run(&["--passphrase", "", "--quick-gen-key", "the first", "ed25519", "sign", "never"]).is_err() {
            self._agent.check()?;
            if Instant::now() >= until {
                let log = self._agent.log_end();
                return Err(Error::NotReady {
                    what: "gpg-agent".into(),
                    component: "gpg-agent".into(),
                    limit: READY,
                    log,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Makes a key that signs, of a type (`ed25519`, `rsa2048`), that expires
    /// after a time (`1d`, `never`); its fingerprint.
    pub fn generate(&self, user: &str, kind: &str, expires: &str) -> Result<String> {
        self.run(&["--passphrase", "", "--quick-gen-key", user, kind, "cert,sign", expires])?;
        let listed = self.run(&["--with-colons", "--list-keys", &format!("={user}")])?;
        fingerprints(&listed).pop().ok_or_else(|| self.unexpected("it lists no key that it just made"))
    }

    /// Adds a subkey that signs; its fingerprint.
    pub fn add_subkey(&self, key: &str, kind: &str, expires: &str) -> Result<String> {
        self.run(&["--passphrase", "", "--quick-add-key", key, kind, "sign", expires])?;
        let listed = self.run(&["--with-colons", "--list-keys", key])?;
        fingerprints(&listed).pop().ok_or_else(|| self.unexpected("it lists no subkey that it just made"))
    }

    /// Revokes a key by the certificate that was made with it.
    pub fn revoke(&self, key: &str) -> Result<()> {
        let certificate = self.directory.path().join(format!("openpgp-revocs.d/{key}.rev"));
        let text = fs::read_to_string(&certificate).at("read", &certificate)?;
        // A colon keeps people from using it by mistake.
        let text = text.replace(":-----BEGIN", "-----BEGIN");
        self.run_with(&["--import"], text.as_bytes()).map(drop)
    }

    /// Revokes the only subkey of a key.
    pub fn revoke_subkey(&self, key: &str) -> Result<()> {
        let answers = b"key 1\nrevkey\ny\n0\n\ny\nsave\n";
        self.run_with(&["--command-fd", "0", "--edit-key", key], answers).map(drop)
    }

    /// The public half of a key, armored.
    pub fn export(&self, key: &str) -> Result<String> {
        self.run(&["--armor", "--export", key])
    }

    /// Settings by which Git signs with a key or subkey, with further options
    /// for `gpg`, such as `--digest-algo SHA1`.
    pub fn settings(&self, key: &str, options: &str) -> Result<Vec<String>> {
        let file = self.directory.path().join(format!("sign-{}", options.replace([' ', '-'], "")));
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        script(&file, &self.program, &environment, options)?;
        Ok(vec![
            "gpg.format=openpgp".to_owned(),
            format!("gpg.program={}", file.display()),
            format!("user.signingKey={key}!"),
        ])
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(String::from_utf8_lossy(&output(&mut command, Some(input))?).into_owned())
    }

    fn unexpected(&self, reason: &str) -> Error {
        Error::Content { path: self.directory.path().to_owned(), reason: reason.to_owned() }
    }
}

/// The fingerprints of a list of keys, in its order.
fn fingerprints(listed: &str) -> Vec<String> {
    let lines = listed.lines().filter(|line| line.starts_with("fpr:"));
    lines.filter_map(|line| line.split(':').nth(9).map(str::to_owned)).collect()
}

/// A program that runs another in an environment.
fn script(file: &Path, program: &Path, environment: &[(&str, &str)], options: &str) -> Result<()> {
    let set: String = environment.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    fs::write(file, format!("#!/bin/sh\n{set}exec '{}' {options} \"$@\"\n", program.display())).at("write", file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o700)).at("change", file)
}
