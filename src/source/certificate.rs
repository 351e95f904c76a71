//! Trust in the server of one repository, by the certificates of its Secret.
//!
//! The Git library's own store of trusted certificates belongs to the whole
//! process: adding a tenant's authority there would make every other tenant
//! trust it. So the server's certificate is verified here, against the bundle
//! of this repository alone. The library hands over only the server's own
//! certificate, not the chain it sent: intermediate authorities must be in the
//! bundle.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

/// The certificates of a PEM bundle.
#[derive(Clone)]
pub(super) struct CaBundle {
    pem: Arc<[u8]>,
    certificates: Arc<[CertificateDer<'static>]>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl CaBundle {
    /// Reads a bundle. The error completes the sentence "`ca.crt` …".
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("is not a readable PEM file: {error}"))?;
        if certificates.is_empty() {
            return Err("holds no certificate (`-----BEGIN CERTIFICATE-----`)".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("holds a certificate that cannot be used (number {}): {error}", index + 1))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("cannot be used: {error}"))?;
        Ok(Self { pem: pem.into(), certificates: certificates.into(), verifier })
    }

    /// The bundle as it was given.
    pub(super) fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Verifies the certificate of a server: it must be signed by one of the
    /// bundle, be valid now, and name the host. The handshake has already
    /// proven that the server holds its key. A certificate that is itself in
    /// the bundle is trusted as it is, if it names the host.
    pub(super) fn verify(&self, server: &[u8], host: &str) -> Result<(), String> {
        let certificate = CertificateDer::from(server);
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']'))
            .map_err(|_| format!("`{}` is not a host name", super::url::visible(host)))?;
        if self.certificates.contains(&certificate) {
            let parsed = ParsedCertificate::try_from(&certificate).map_err(|error| error.to_string())?;
            return verify_server_name(&parsed, &name).map_err(|error| error.to_string());
        }
        self.verifier
            .verify_server_cert(&certificate, &self.certificates, &name, &[], UnixTime::now())
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({} certificates)", self.certificates.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    #[test]
    fn a_bundle_that_holds_no_certificate_is_refused() {
        assert!(CaBundle::parse(b"").unwrap_err().contains("holds no certificate"));
        let spoilt = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(CaBundle::parse(spoilt.as_bytes()).unwrap_err().contains("number 1"));
        let open = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(CaBundle::parse(open.as_bytes()).unwrap_err().contains("PEM"));
    }

    #[test]
    fn a_certificate_that_is_itself_in_the_bundle_must_still_name_the_host() {
        // The authority's own certificate names no host.
        let authority = rig::Authority::new("self-signed").unwrap();
        let bundle = CaBundle::parse(authority.certificate_pem().as_bytes()).unwrap();
        let error = bundle.verify(&der(authority.certificate_pem()), "git.example.com").unwrap_err();
        assert!(error.contains("not valid for"), "{error}");
    }

    #[test]
    fn what_is_not_a_certificate_or_not_a_host_is_refused() {
        let authority = rig::Authority::new("authority").unwrap();
        let bundle = CaBundle::parse(authority.certificate_pem().as_bytes()).unwrap();
        assert!(bundle.verify(b"nonsense", "git.example.com").is_err());
        assert!(
            bundle.verify(&der(authority.certificate_pem()), "not a host").unwrap_err().contains("not a host name")
        );
    }
}
