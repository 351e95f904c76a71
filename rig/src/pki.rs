//! Certificates made at run time: nothing secret is stored in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::{At, Error, Result};

/// A certificate authority of its own for each instance.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    key: String,
    name: String,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The files that an [`Identity`] was written to.
#[derive(Debug, Clone)]
pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes a new authority with the given common name.
    pub fn new(name: &str) -> Result<Self> {
        let failed = failed(name);
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = authority_params(name).self_signed(&key).map_err(&failed)?;
        Ok(Authority { certificate: certificate.pem(), key: key.serialize_pem(), name: name.to_owned() })
    }

    /// Reads an authority that [`Authority::write`] wrote.
    pub(crate) fn read(name: &str, dir: &Path) -> Result<Self> {
        let read = |file: &str| {
            let path = dir.join(file);
            fs::read_to_string(&path).at("read", &path)
        };
        Ok(Authority { certificate: read("ca.crt")?, key: read("ca.key")?, name: name.to_owned() })
    }

    /// Writes `ca.crt` and `ca.key`, and returns the path of the certificate.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf> {
        Ok(self.identity().write(dir, "ca")?.certificate)
    }

    fn identity(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), key: self.key.clone() }
    }

    /// The certificate as PEM, to be trusted by clients.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server of the given host names and addresses.
    pub(crate) fn server(&self, hosts: &[&str]) -> Result<Identity> {
        let name = hosts.first().copied().unwrap_or("localhost");
        let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
            .map_err(failed(name))?;
        // etcd's members are servers and clients of one another by one certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, &[], params)
    }

    /// A certificate for a Kubernetes user: common name and organizations.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, groups, params)
    }

    fn sign(&self, name: &str, groups: &[&str], mut params: CertificateParams) -> Result<Identity> {
        let failed = failed(name);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        // rcgen keeps one value of a type; the organization's object identifier
        // under another type is a second value to everybody who reads it.
        let organization = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        if groups.len() > organization.len() {
            return Err(Error::Groups { user: name.to_owned(), limit: organization.len() });
        }
        for (kind, group) in organization.into_iter().zip(groups) {
            params.distinguished_name.push(kind, *group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let signer = Issuer::new(authority_params(&self.name), KeyPair::from_pem(&self.key).map_err(&failed)?);
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.signed_by(&key, &signer).map_err(&failed)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Identity {
    /// Writes `<name>.crt` and `<name>.key`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> Result<IdentityFiles> {
        let files =
            IdentityFiles { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        fs::write(&files.certificate, &self.certificate).at("write", &files.certificate)?;
        write_private(&files.key, self.key.as_bytes())?;
        Ok(files)
    }
}

/// A key pair that signs service account tokens: the private and the public half, as PEM.
pub(crate) fn signing_keys() -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(failed("service accounts"))?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).at("create", path)?;
    file.write_all(content).at("write", path)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn failed(subject: &str) -> impl Fn(rcgen::Error) -> Error {
    let subject = subject.to_owned();
    move |source| Error::Certificate { subject: subject.clone(), source }
}
