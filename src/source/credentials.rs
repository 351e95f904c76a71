//! What proves to a repository who asks, and which certificates are trusted.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use sha2::{Digest as _, Sha256};

use super::{certificate::CaBundle, known_hosts::KnownHosts};

/// Why a Secret cannot be used for Git.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Secret cannot be used for Git: {reason}")]
pub struct CredentialsRefused {
    /// Why, and what to do. It names keys, never values.
    pub reason: String,
}

/// Credentials for a repository. `Debug` tells their kind, never their values.
#[derive(Clone, Default)]
pub struct Credentials {
    proof: Proof,
    ca: Option<CaBundle>,
}

/// How the caller proves who it is.
#[derive(Clone, Default)]
pub(super) enum Proof {
    /// Anonymous.
    #[default]
    None,
    /// User name and password, or a token as password.
    Basic { username: String, password: String },
    /// A token in the `Authorization` header.
    Bearer { token: String },
    /// A private key, for SSH, and the keys of hosts that are trusted.
    Key { private: String, passphrase: Option<String>, hosts: KnownHosts },
}

impl Credentials {
    /// Anonymous access.
    pub fn none() -> Self {
        Self::default()
    }

    /// User name and password, or a token as password.
    ///
    /// # Errors
    /// The user name contains a colon, or either contains control characters.
    pub fn basic(username: &str, password: &str) -> Result<Self, CredentialsRefused> {
        let username = clean("username", username)?;
        if username.contains(':') {
            return Err(refused("`username` contains a colon"));
        }
        Ok(Self { proof: Proof::Basic { username, password: clean("password", password)? }, ca: None })
    }

    /// A token that is sent as `Authorization: Bearer`.
    ///
    /// # Errors
    /// It is empty or contains control characters.
    pub fn bearer(token: &str) -> Result<Self, CredentialsRefused> {
        let token = clean("bearerToken", token)?;
        if token.is_empty() || token.contains(' ') {
            return Err(refused("`bearerToken` is empty or contains spaces"));
        }
        Ok(Self { proof: Proof::Bearer { token }, ca: None })
    }

    /// A private key, for repositories over SSH, in OpenSSH's or in PEM form,
    /// and the keys of the hosts that are trusted.
    ///
    /// # Errors
    /// It is not a private key, or `known_hosts` cannot be used.
    pub fn key(private: &str, passphrase: Option<&str>, known_hosts: &str) -> Result<Self, CredentialsRefused> {
        let private = private.trim();
        if !(private.starts_with("-----BEGIN ") && private.contains("PRIVATE KEY-----")) {
            return Err(refused("the SSH key is not a private key: it begins with `-----BEGIN … PRIVATE KEY-----`"));
        }
        if private.contains('\0') {
            return Err(refused("the SSH key contains control characters"));
        }
        let passphrase = passphrase.map(|text| clean("passphrase", text)).transpose()?;
        let hosts = KnownHosts::parse(known_hosts).map_err(|reason| refused(format!("`known_hosts` {reason}")))?;
        // The library wants the line break at the end.
        Ok(Self { proof: Proof::Key { private: format!("{private}\n"), passphrase, hosts }, ca: None })
    }

    /// The same, trusting exactly the certificates of a PEM bundle instead of
    /// those of the machine.
    ///
    /// # Errors
    /// The bundle holds no certificate, or one that cannot be read.
    pub fn with_ca(self, pem: &[u8]) -> Result<Self, CredentialsRefused> {
        let ca = CaBundle::parse(pem).map_err(|reason| refused(format!("`ca.crt` {reason}")))?;
        Ok(Self { ca: Some(ca), ..self })
    }

    /// Reads the data of a Secret: `username` and `password`, or
    /// `bearerToken`, and `ca.crt`; for SSH `identity` (or `ssh-privatekey`, as
    /// Kubernetes' own type of Secret has it), its `passphrase` (or
    /// `password`), and `known_hosts`.
    ///
    /// # Errors
    /// None of these keys is there, they contradict each other, or one cannot
    /// be used.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsRefused> {
        let text = |key: &str| -> Result<Option<&str>, CredentialsRefused> {
            data.get(key)
                .map(|value| std::str::from_utf8(value).map_err(|_| refused(format!("`{key}` is not UTF-8"))))
                .transpose()
        };
        if let Some(private) = text("identity")?.or(text("ssh-privatekey")?) {
            if data.contains_key("bearerToken") || data.contains_key("username") {
                return Err(refused(
                    "it has an SSH key and `username` or `bearerToken`; keep what the repository's URL needs",
                ));
            }
            let passphrase = text("passphrase")?.or(text("password")?);
            let Some(known_hosts) = text("known_hosts")? else {
                return Err(refused(
                    "it has an SSH key and no `known_hosts`, without which nobody knows whom the key is shown to; \
                     `ssh-keyscan HOST` writes it",
                ));
            };
            return Self::key(private, passphrase, known_hosts);
        }
        let credentials = match (text("username")?, text("password")?, text("bearerToken")?) {
            (None, None, Some(token)) => Self::bearer(token)?,
            (Some(username), Some(password), None) => Self::basic(username, password)?,
            (None, None, None) => {
                if !data.contains_key("ca.crt") {
                    let keys: Vec<_> = data.keys().map(String::as_str).collect();
                    return Err(refused(format!(
                        "it has none of the keys `username` and `password`, `bearerToken`, `ca.crt`, `identity`; it has: {}",
                        if keys.is_empty() { "no keys".to_owned() } else { keys.join(", ") }
                    )));
                }
                Self::none()
            }
            (_, _, Some(_)) => {
                return Err(refused("it has both `bearerToken` and `username` or `password`; keep one of them"));
            }
            (Some(_), None, None) => return Err(refused("it has `username` without `password`")),
            (None, Some(_), None) => {
                return Err(refused(
                    "it has `password` without `username`; for a token, many servers take any user name, such as `git`",
                ));
            }
        };
        match data.get("ca.crt") {
            Some(pem) => credentials.with_ca(pem),
            None => Ok(credentials),
        }
    }

    /// How the caller proves who it is.
    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whether there is anything secret in them.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.proof, Proof::None)
    }

    /// The certificates that are trusted instead of those of the machine.
    pub(super) fn ca(&self) -> Option<&CaBundle> {
        self.ca.as_ref()
    }

    /// A digest that tells credentials apart without revealing them: it names
    /// the directory of the mirror, so that nobody reads with another's rights.
    pub(super) fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        match &self.proof {
            Proof::None => part(b"none"),
            Proof::Basic { username, password } => {
                part(b"basic");
                part(username.as_bytes());
                part(password.as_bytes());
            }
            Proof::Bearer { token } => {
                part(b"bearer");
                part(token.as_bytes());
            }
            Proof::Key { private, passphrase, hosts } => {
                part(b"key");
                part(private.as_bytes());
                part(passphrase.as_deref().unwrap_or_default().as_bytes());
                part(hosts.text().as_bytes());
            }
        }
        if let Some(ca) = &self.ca {
            part(ca.pem());
        }
        hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Takes the credentials out of a text that came from outside, such as a
    /// server's answer.
    pub(super) fn scrub(&self, text: &str) -> String {
        let secrets = match &self.proof {
            Proof::None => return text.to_owned(),
            Proof::Basic { username, password } => {
                let mut secrets = vec![BASE64.encode(format!("{username}:{password}")), password.clone()];
                // Some servers take a token as the user name; no name of a
                // person is that long.
                if username.len() >= 16 {
                    secrets.push(username.clone());
                }
                secrets
            }
            Proof::Bearer { token } => vec![token.clone()],
            Proof::Key { passphrase, .. } => passphrase.iter().cloned().collect(),
        };
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.proof {
            Proof::None => "none",
            Proof::Basic { .. } => "basic",
            Proof::Bearer { .. } => "bearer",
            Proof::Key { .. } => "key",
        };
        write!(f, "Credentials({kind}{})", if self.ca.is_some() { ", ca" } else { "" })
    }
}

fn refused(reason: impl Into<String>) -> CredentialsRefused {
    CredentialsRefused { reason: reason.into() }
}

/// A value of a Secret without the line break that an editor or `echo` leaves
/// at its end. Other control characters could add a header to the request.
fn clean(key: &str, value: &str) -> Result<String, CredentialsRefused> {
    let value = value.trim_end_matches(['\r', '\n']);
    if value.chars().any(char::is_control) {
        return Err(refused(format!("`{key}` contains control characters")));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n-----END OPENSSH PRIVATE KEY-----\n";

    fn secret(keys: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        keys.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[rstest]
    #[case::basic(&[("username", "ann"), ("password", "s3cret")], "Credentials(basic)")]
    #[case::bearer(&[("bearerToken", "s3cret")], "Credentials(bearer)")]
    #[case::a_line_break_at_the_end_is_dropped(&[("bearerToken", "s3cret\n")], "Credentials(bearer)")]
    #[case::key(&[("identity", KEY), ("known_hosts", "h ssh-rsa AAAA"), ("password", "s3cret")], "Credentials(key)")]
    #[case::other_keys_do_not_matter(&[("username", "ann"), ("password", "s3cret"), ("url", "x")], "Credentials(basic)")]
    fn a_secret_is_read_and_never_shown(#[case] keys: &[(&str, &str)], #[case] shown: &str) {
        assert_eq!(format!("{:?}", Credentials::from_secret(&secret(keys)).unwrap()), shown);
    }

    #[rstest]
    #[case::empty(&[], "no keys")]
    #[case::other_keys(&[("token", "s3cret")], "it has: token")]
    #[case::half(&[("username", "s3cret")], "without `password`")]
    #[case::the_other_half(&[("password", "s3cret")], "without `username`")]
    #[case::both(&[("password", "s3cret"), ("username", "a"), ("bearerToken", "s3cret")], "keep one")]
    #[case::a_key_without_hosts(&[("identity", "s3cret")], "no `known_hosts`")]
    #[case::a_key_that_is_none(&[("identity", "s3cret"), ("known_hosts", "h ssh-rsa AAAA")], "not a private key")]
    #[case::hosts_that_are_none(&[("ssh-privatekey", KEY), ("known_hosts", "s3cret")], "`known_hosts` line 1 is not")]
    #[case::a_key_and_a_token(&[("identity", KEY), ("bearerToken", "s3cret")], "keep what")]
    #[case::a_header_in_the_token(&[("bearerToken", "s3cret\r\nX-Evil: 1")], "control characters")]
    #[case::a_colon_in_the_user(&[("username", "s3cret:x"), ("password", "y")], "colon")]
    #[case::an_empty_token(&[("bearerToken", "")], "empty")]
    #[case::no_certificate(&[("ca.crt", "s3cret")], "ca.crt")]
    fn a_secret_is_refused_by_its_keys(#[case] keys: &[(&str, &str)], #[case] because: &str) {
        let message = Credentials::from_secret(&secret(keys)).unwrap_err().to_string();
        assert!(message.contains(because), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[test]
    fn different_credentials_have_different_identities() {
        let identities = [
            Credentials::none().identity(),
            Credentials::basic("a", "bc").unwrap().identity(),
            Credentials::basic("ab", "c").unwrap().identity(),
            Credentials::bearer("abc").unwrap().identity(),
            Credentials::key(KEY, None, "h ssh-rsa AAAA").unwrap().identity(),
            Credentials::key(KEY, None, "g ssh-rsa AAAA").unwrap().identity(),
            Credentials::key(KEY, Some("x"), "g ssh-rsa AAAA").unwrap().identity(),
        ];
        let distinct: std::collections::BTreeSet<_> = identities.iter().collect();
        assert_eq!(distinct.len(), identities.len());
        assert_eq!(Credentials::basic("a", "bc").unwrap().identity(), identities[1]);
    }
}
