//! What a server outside is shown, and by whose word it is trusted: a token or
//! a name and password, and the certificates of authorities.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::Key;

/// The entries of a Secret that are used, by their names.
const ENTRIES: &str = "`key`, `bearerToken`, `username` and `password`, `ca.crt`";

/// How a server is spoken to. `Debug` tells no values.
#[derive(Clone, Default)]
pub struct Access {
    authorization: Option<HeaderValue>,
    trust: Option<Arc<ClientConfig>>,
    key: Option<Key>,
}

/// Why something cannot be used to speak to a server. It names entries and
/// never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUsable(String);

impl Access {
    /// Shows a token.
    ///
    /// # Errors
    /// It is empty, or cannot be in a header.
    pub fn with_token(self, token: &[u8]) -> Result<Self, NotUsable> {
        let token = text("bearerToken", token)?;
        if token.is_empty() || token.contains(' ') {
            return Err(NotUsable("`bearerToken` is empty or has spaces".into()));
        }
        self.showing("bearerToken", format!("Bearer {token}"))
    }

    /// Shows a name and a password.
    ///
    /// # Errors
    /// The name has a colon, or one of them is no text.
    pub fn with_password(self, username: &[u8], password: &[u8]) -> Result<Self, NotUsable> {
        let (username, password) = (text("username", username)?, text("password", password)?);
        if username.contains(':') {
            return Err(NotUsable("`username` contains a colon".into()));
        }
        self.showing("password", format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }

    /// Trusts exactly these authorities, in place of those of the machine.
    ///
    /// # Errors
    /// There is no certificate among them, or one that cannot be read.
    pub fn with_authorities(self, pem: &[u8]) -> Result<Self, NotUsable> {
        let unusable = |why: String| NotUsable(format!("`ca.crt` {why}"));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(format!("is not a readable PEM file: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| unusable(format!("holds a certificate that cannot be used: {error}")))?;
        }
        if roots.is_empty() {
            return Err(unusable("holds no certificate (`-----BEGIN CERTIFICATE-----`)".into()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(format!("cannot be used: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { trust: Some(Arc::new(config)), ..self })
    }

    /// Signs what is sent.
    pub fn with_key(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Takes what a Secret holds: `bearerToken`, or `username` and `password`;
    /// `ca.crt`; and `key`, which signs.
    ///
    /// # Errors
    /// It holds nothing of these, or something that cannot be used.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, NotUsable> {
        let entry = |name: &str| data.get(name).map(Vec::as_slice);
        let mut access = Self::default();
        access = match (entry("bearerToken"), entry("username"), entry("password")) {
            (None, None, None) => access,
            (Some(token), None, None) => access.with_token(token)?,
            (None, Some(username), Some(password)) => access.with_password(username, password)?,
            (Some(_), _, _) => {
                return Err(NotUsable(
                    "it has both `bearerToken` and `username` or `password`: keep one of them".into(),
                ));
            }
            (None, _, _) => return Err(NotUsable("it has one of `username` and `password` without the other".into())),
        };
        if let Some(pem) = entry("ca.crt") {
            access = access.with_authorities(pem)?;
        }
        if let Some(key) = entry("key") {
            access = access.with_key(Key::read(key).map_err(|error| NotUsable(error.to_string()))?);
        }
        if access.is_empty() {
            let names: Vec<_> = data.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "no entries".to_owned() } else { names.join(", ") };
            return Err(NotUsable(format!("it has none of the entries {ENTRIES}; it has: {names}")));
        }
        Ok(access)
    }

    /// The header that is shown.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whose word is taken, if not that of the machine's authorities.
    pub(super) fn trust(&self) -> Option<&Arc<ClientConfig>> {
        self.trust.as_ref()
    }

    /// What signs.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    fn is_empty(&self) -> bool {
        self.authorization.is_none() && self.trust.is_none() && self.key.is_none()
    }

    fn showing(self, entry: &str, header: String) -> Result<Self, NotUsable> {
        let mut value = HeaderValue::try_from(header)
            .map_err(|_| NotUsable(format!("`{entry}` has characters that cannot be in a header")))?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }
}

/// An entry as text, without the line break that editors leave at its end.
fn text<'a>(entry: &str, value: &'a [u8]) -> Result<&'a str, NotUsable> {
    std::str::from_utf8(value.trim_ascii_end()).map_err(|_| NotUsable(format!("`{entry}` is not UTF-8")))
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("authorization", &self.authorization.is_some())
            .field("trust", &self.trust.is_some())
            .field("key", &self.key)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[rstest]
    #[case::token(&[("bearerToken", "abc\n")], "Bearer abc")]
    #[case::password(&[("username", "ada"), ("password", "se:cret")], "Basic YWRhOnNlOmNyZXQ=")]
    #[case::a_key_alone(&[("key", "0123456789abcdef")], "")]
    fn a_secret_says_what_is_shown(#[case] entries: &[(&str, &str)], #[case] header: &str) {
        let access = Access::from_secret(&secret(entries)).unwrap();
        let shown = access.authorization().map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(shown, header);
    }

    #[rstest]
    #[case::nothing(&[], "it has none of the entries `key`, `bearerToken`, `username` and `password`, `ca.crt`; it has: no entries")]
    #[case::misspelt(&[("Key", "hunter2"), ("token", "hunter2")], "it has none of the entries `key`, `bearerToken`, `username` and `password`, `ca.crt`; it has: Key, token")]
    #[case::both(&[("bearerToken", "hunter2"), ("password", "hunter2")], "it has both `bearerToken` and `username` or `password`: keep one of them")]
    #[case::half(&[("username", "hunter2")], "it has one of `username` and `password` without the other")]
    #[case::colon(&[("username", "a:hunter2"), ("password", "x")], "`username` contains a colon")]
    #[case::empty(&[("bearerToken", "\n")], "`bearerToken` is empty or has spaces")]
    #[case::line_break(&[("bearerToken", "hunter2\nx:y")], "`bearerToken` has characters that cannot be in a header")]
    #[case::no_certificate(&[("ca.crt", "hunter2")], "`ca.crt` holds no certificate (`-----BEGIN CERTIFICATE-----`)")]
    #[case::short_key(&[("key", "hunter2")], "the key has 7 bytes, and less than 16 can be guessed")]
    fn what_cannot_be_used_is_refused_without_its_value(#[case] entries: &[(&str, &str)], #[case] why: &str) {
        let error = Access::from_secret(&secret(entries)).unwrap_err();
        assert_eq!(error.to_string(), why);
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn nothing_of_it_is_shown_in_a_log() {
        let access = Access::from_secret(&secret(&[("bearerToken", "hunter2"), ("key", "0123456789abcdef")])).unwrap();
        assert_eq!(format!("{access:?}"), "Access { authorization: true, trust: false, key: Some(Key(…)) }");
    }
}
