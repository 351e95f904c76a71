//! One conversation with a repository: connect, list its references, and
//! receive objects into a bare repository.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, FetchOptions, ProxyOptions,
    Remote, RemoteCallbacks, RemoteRedirect, Repository,
};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::{Credentials, Proof},
    error::SourceError,
    limits::Limits,
    references::References,
    url::{RepositoryUrl, visible},
};

/// Whom to talk to, as whom, and within which bounds.
pub(super) struct Request<'a> {
    pub(super) url: &'a RepositoryUrl,
    pub(super) credentials: &'a Credentials,
    pub(super) limits: &'a Limits,
    pub(super) deadline: Instant,
    pub(super) cancel: &'a CancellationToken,
}

/// What to receive after the references are known.
pub(super) enum Want {
    /// Nothing: all that is needed is there.
    Nothing,
    /// The objects behind these refspecs.
    Objects {
        /// Refspecs, or names of commits.
        refspecs: Vec<String>,
        /// How many commits deep; 0 for all.
        depth: u16,
    },
}

/// A refspec that no repository has: the library lists the references only as
/// a part of a download, if the request has headers of its own.
const NO_REFERENCE: &str = "+refs/bowline/none:refs/bowline/none";

/// Connects, lists the references, asks `decide` what to receive, receives it.
/// Returns the number of bytes received. No reference of `repository` changes.
pub(super) fn converse(
    repository: &Repository,
    request: &Request<'_>,
    decide: impl FnOnce(&References) -> Result<Want, SourceError>,
) -> Result<u64, SourceError> {
    request.check()?;
    if !request.credentials.is_anonymous() && !request.url.carries_credentials() {
        return Err(SourceError::CredentialsOverPlainHttp { url: request.url.to_string() });
    }
    request.check_proof()?;
    let watch = Watch::default();
    // The options must outlive the remote, which keeps pointers to them.
    let mut options = fetch_options(request, &watch);
    let mut remote = repository
        .remote_anonymous(request.url.as_str())
        .map_err(|error| classify(&error, request, &watch, Step::Listing))?;
    remote
        .download(&[NO_REFERENCE], Some(&mut options))
        .map_err(|error| classify(&error, request, &watch, Step::Listing))?;
    let references = list(&remote).map_err(|error| classify(&error, request, &watch, Step::Listing))?;
    request.check()?;
    if let Want::Objects { refspecs, depth } = decide(&references)? {
        options.depth(i32::from(depth));
        remote
            .download(&refspecs, Some(&mut options))
            .map_err(|error| classify(&error, request, &watch, Step::Receiving))?;
    }
    Ok(watch.bytes.get())
}

/// What happened inside the callbacks of a conversation.
#[derive(Default)]
struct Watch {
    bytes: Cell<u64>,
    asked: Cell<u32>,
    stopped: RefCell<Option<SourceError>>,
}

impl Request<'_> {
    /// Whether there is time left, and nobody gave up.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::Cancelled { url: self.url.to_string() });
        }
        if Instant::now() >= self.deadline {
            let message = format!("the fetch took longer than {} s", self.limits.deadline.as_secs());
            return Err(SourceError::Timeout { url: self.url.to_string(), message });
        }
        Ok(())
    }

    /// Whether the credentials are of the kind that the transport needs.
    fn check_proof(&self) -> Result<(), SourceError> {
        let advice = match (self.url.ssh(), self.credentials.proof()) {
            (Some(_), Proof::Key { .. }) => return Ok(()),
            (Some(_), _) => {
                "a repository over SSH needs a Secret with `identity`, the private key, and `known_hosts`, named in \
                 source.secretRef"
            }
            (None, Proof::Key { .. }) => {
                "the Secret holds an SSH key, and the URL is not one of SSH: write it as ssh://git@host/path"
            }
            (None, _) => return Ok(()),
        };
        Err(SourceError::AuthenticationFailed { url: self.url.to_string(), advice: advice.to_owned() })
    }

    fn too_large(&self, message: String) -> SourceError {
        SourceError::TooLarge { subject: self.url.to_string(), message }
    }
}

fn fetch_options<'a>(request: &'a Request<'a>, watch: &'a Watch) -> FetchOptions<'a> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.credentials(move |_, _, allowed| {
        let user = request.url.ssh().map(|(user, ..)| user.unwrap_or("git"));
        if let Some(user) = user.filter(|_| allowed.contains(CredentialType::USERNAME)) {
            return Cred::username(user);
        }
        watch.asked.set(watch.asked.get() + 1);
        match request.credentials.proof() {
            Proof::Key { private, passphrase, .. }
                if watch.asked.get() == 1 && allowed.contains(CredentialType::SSH_MEMORY) =>
            {
                Cred::ssh_key_from_memory(user.unwrap_or("git"), None, private, passphrase.as_deref())
            }
            Proof::Basic { username, password }
                if watch.asked.get() == 1 && allowed.contains(CredentialType::USER_PASS_PLAINTEXT) =>
            {
                Cred::userpass_plaintext(username, password)
            }
            // An answer that was refused once is not given again: the library
            // would ask forever.
            _ => Err(git2::Error::new(ErrorCode::Auth, ErrorClass::Http, "the server asks for other credentials")),
        }
    });
    callbacks.transfer_progress(move |progress| {
        watch.bytes.set(progress.received_bytes() as u64);
        let stop = request.check().err().or_else(|| {
            if progress.total_objects() > request.limits.objects {
                Some(request.too_large(format!(
                    "it sends {} objects, more than the limit of {}",
                    progress.total_objects(),
                    request.limits.objects
                )))
            } else if watch.bytes.get() > request.limits.bytes {
                Some(request.too_large(format!("it sends more than the limit of {} bytes", request.limits.bytes)))
            } else {
                None
            }
        });
        let go_on = stop.is_none();
        if !go_on {
            watch.stopped.replace(stop);
        }
        go_on
    });
    callbacks.sideband_progress(move |_| {
        let stop = request.check().err();
        let go_on = stop.is_none();
        if !go_on {
            watch.stopped.replace(stop);
        }
        go_on
    });
    if let (Proof::Key { hosts, .. }, Some((_, host, port))) = (request.credentials.proof(), request.url.ssh()) {
        callbacks.certificate_check(move |certificate, _| {
            let shown = certificate.as_hostkey();
            let key = shown.and_then(|shown| Some((shown.hostkey_type()?.name(), shown.hostkey()?)));
            let checked = match key {
                Some((kind, key)) => hosts.check(host, port, kind, key),
                None => Err("the host shows no key that can be compared".to_owned()),
            };
            match checked {
                Ok(()) => Ok(CertificateCheckStatus::CertificateOk),
                Err(message) => {
                    watch.stopped.replace(Some(SourceError::HostKeyRefused { url: request.url.to_string(), message }));
                    Err(git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssh, "the key of the host is not trusted"))
                }
            }
        });
    }
    if let Some(ca) = request.credentials.ca() {
        callbacks.certificate_check(move |certificate, host| {
            let Some(server) = certificate.as_x509() else {
                return Err(git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssl, "not an X.509 certificate"));
            };
            match ca.verify(server.data(), host) {
                Ok(()) => Ok(CertificateCheckStatus::CertificateOk),
                Err(reason) => {
                    let message = format!(
                        "{reason}; the certificates of the Secret's ca.crt were used, and intermediate \
                                           authorities must be in it"
                    );
                    watch.stopped.replace(Some(SourceError::TlsFailed { url: request.url.to_string(), message }));
                    Err(git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssl, "the certificate is not trusted"))
                }
            }
        });
    }
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .proxy_options(proxy)
        .update_fetchhead(false)
        .download_tags(AutotagOption::None)
        // A redirect to another host would carry the credentials there.
        .follow_redirects(RemoteRedirect::None);
    if let Proof::Bearer { token } = request.credentials.proof() {
        options.custom_headers(&[&format!("Authorization: Bearer {token}")]);
    }
    options
}

fn list(remote: &Remote<'_>) -> Result<References, git2::Error> {
    let mut references = References::default();
    for head in remote.list()? {
        // The library's accessors panic on a name that is not UTF-8. Such a
        // reference cannot be asked for, so it is left out.
        let read = catch_unwind(AssertUnwindSafe(|| (head.name().to_owned(), head.symref_target().map(str::to_owned))));
        if let Ok((name, target)) = read {
            references.add(&name, head.oid().into(), target.as_deref());
        }
    }
    Ok(references)
}

/// Where in a conversation an error came up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Listing,
    Receiving,
}

fn classify(error: &git2::Error, request: &Request<'_>, watch: &Watch, step: Step) -> SourceError {
    if let Some(stopped) = watch.stopped.take() {
        return stopped;
    }
    let url = request.url.to_string();
    let message = visible(&request.credentials.scrub(error.message()));
    let status = http_status(error.message());
    if error.class() == ErrorClass::Ssh && step == Step::Listing {
        return over_ssh(request, message);
    }
    if error.code() == ErrorCode::Auth || watch.asked.get() > 1 || matches!(status, Some(401 | 403)) {
        let refused = if status == Some(403) { "the server forbids access" } else { "the server refuses" };
        let advice = match request.credentials.proof() {
            Proof::None => "the repository wants credentials, or does not exist; name a Secret with username and \
                            password or bearerToken in source.secretRef"
                .to_owned(),
            Proof::Basic { .. } => {
                format!("{refused} username and password of the Secret; check that they are right and not expired")
            }
            Proof::Key { .. } => format!("{refused} the SSH key of the Secret: add its public half to the repository"),
            Proof::Bearer { .. } => {
                format!("{refused} the bearerToken of the Secret; check that it is right and not expired")
            }
        };
        return SourceError::AuthenticationFailed { url, advice };
    }
    if disk_full(error.message()) {
        return SourceError::DiskFull { url, message };
    }
    if message.contains("cannot redirect") || message.contains("redirect") && error.class() == ErrorClass::Http {
        return SourceError::Redirected { url, message };
    }
    // The server answers, and refuses this way of asking.
    if step == Step::Receiving && (message.starts_with("remote error") || message.contains("doesn't support")) {
        return SourceError::GitFailed { url, message };
    }
    if message.contains("object format") || message.contains("objectformat") {
        return SourceError::Unsupported { url, message };
    }
    if message.contains("content-type") {
        let message = format!("the server answers with something else than Git ({message}); check the path of the URL");
        return SourceError::NotFound { url, message };
    }
    match (error.code(), error.class(), status) {
        (ErrorCode::Timeout, ..) => SourceError::Timeout { url, message },
        (ErrorCode::Certificate, ..) | (_, ErrorClass::Ssl, _) => SourceError::TlsFailed {
            url,
            message: format!("{message}; for a private authority, put its certificate as ca.crt into the Secret"),
        },
        (_, _, Some(404 | 410)) => SourceError::NotFound { url, message },
        (_, _, Some(408 | 425 | 429 | 500..)) => SourceError::Unreachable { url, message },
        _ if step == Step::Listing && request.url.is_local() => SourceError::NotFound { url, message },
        (_, ErrorClass::Net | ErrorClass::Os, _) if step == Step::Listing => SourceError::Unreachable { url, message },
        (_, ErrorClass::Net, _) => SourceError::Unreachable { url, message },
        (
            _,
            ErrorClass::Indexer | ErrorClass::Zlib | ErrorClass::Odb | ErrorClass::Object | ErrorClass::Reference,
            _,
        )
        | (ErrorCode::NotFound, ..) => SourceError::RepositoryDamaged { url, message },
        _ => SourceError::GitFailed { url, message },
    }
}

/// What went wrong over SSH. The library has one class for all of it, so its
/// words tell.
fn over_ssh(request: &Request<'_>, message: String) -> SourceError {
    let url = request.url.to_string();
    let lower = message.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if any(&[
        "unable to extract public key",
        "unable to initialize private key",
        "wrong passphrase",
        "invalid key data",
    ]) {
        let advice =
            "the SSH key of the Secret cannot be read: check that it is whole, and that its passphrase is right";
        return SourceError::AuthenticationFailed { url, advice: format!("{advice} ({message})") };
    }
    if any(&["authenticat", "username/publickey", "publickey", "credential"]) {
        let advice = format!(
            "the server refuses the SSH key of the Secret: add its public half to the repository, and check the user of \
             the URL ({message})"
        );
        return SourceError::AuthenticationFailed { url, advice };
    }
    if any(&["timed out", "timeout"]) {
        return SourceError::Timeout { url, message };
    }
    SourceError::Unreachable { url, message }
}

fn http_status(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("status code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The library gives the system's error only as text.
pub(super) fn disk_full(message: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "File too large"].iter().any(|text| message.contains(text))
}
