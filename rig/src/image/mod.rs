//! OCI images, made without a daemon, a registry or rights.
//!
//! An [`Image`] is written as an OCI archive: a tar of the image layout that
//! `ctr images import`, `docker load`, `podman load` and `skopeo copy
//! oci-archive:` read. The same files make the same digest: entries are sorted,
//! owned by numbers, and dated by the image's one date.
//!
//! ```text
//! files ──Layer──> layer.tar ─┐
//! user, command, labels ──> config ──> manifest ──> index ──> archive
//! ```

mod bill;
mod controller;
mod layer;

use std::{fs, io::Write as _, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use controller::{BINARY_LIMIT, Controller, IMAGE_LIMIT, stripped};
pub use layer::Layer;

use crate::error::{At as _, Result};

const PREFIX: &str = "application/vnd.oci.image";

/// What runs in an image, and how it is described.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Name with tag, by which runtimes know it: `registry.local/web:v1`.
    pub name: String,
    /// From the one that changes least to the one that changes most.
    pub layers: Vec<Layer>,
    /// The program with its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, unless others are given.
    pub command: Vec<String>,
    /// Environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// `uid:gid`; root if empty.
    pub user: String,
    /// TCP ports that it listens on.
    pub ports: Vec<u16>,
    /// Labels, as the OCI specification names them.
    pub labels: Vec<(String, String)>,
    /// Seconds since 1970: the date of the image and of every file.
    pub created: u64,
}

/// What an archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Digest of the manifest, `sha256:…`: the image's identity.
    pub digest: String,
    /// Bytes of all layers.
    pub size: u64,
}

/// A part of an image with its digest.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self { digest: format!("sha256:{}", hexadecimal(&content)), content }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn described(&self, kind: &str) -> Value {
        json!({"mediaType": format!("{PREFIX}.{kind}"), "digest": self.digest, "size": self.content.len()})
    }
}

/// The SHA-256 of some bytes, in hexadecimal digits.
fn hexadecimal(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Image {
    /// Writes the archive.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(Blob::new(layer.archive(self.created)?));
        }
        let config = Blob::json(&self.config(&layers));
        let described: Vec<Value> = layers.iter().map(|layer| layer.described("layer.v1.tar")).collect();
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": format!("{PREFIX}.manifest.v1+json"),
            "config": config.described("config.v1+json"),
            "layers": described,
        }));
        let mut entry = manifest.described("manifest.v1+json");
        entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": format!("{PREFIX}.index.v1+json"),
            "manifests": [entry],
        });
        let written = Written {
            digest: manifest.digest.clone(),
            size: layers.iter().map(|layer| layer.content.len() as u64).sum(),
        };
        let mut archive = Layer::default();
        archive.text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        archive.text("index.json", &index.to_string());
        for blob in layers.into_iter().chain([config, manifest]) {
            archive.bytes(&format!("blobs/{}", blob.digest.replace(':', "/")), blob.content);
        }
        let bytes = archive.archive(0)?;
        let mut file = fs::File::create(path).at("create", path)?;
        file.write_all(&bytes).at("write", path)?;
        Ok(written)
    }

    /// Writes the files as a directory, for a build that copies them.
    pub fn unpack(&self, root: &Path) -> Result<()> {
        self.layers.iter().try_for_each(|layer| layer.unpack(root))
    }

    fn config(&self, layers: &[Blob]) -> Value {
        let created = jiff::Timestamp::from_second(i64::try_from(self.created).unwrap_or_default())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_string();
        let ports: serde_json::Map<String, Value> =
            self.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        let labels: serde_json::Map<String, Value> =
            self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let identities: Vec<&String> = layers.iter().map(|layer| &layer.digest).collect();
        let mut config = json!({
            "Entrypoint": self.entrypoint,
            "Env": self.environment,
            "WorkingDir": "/",
            "ExposedPorts": ports,
            "Labels": labels,
            "User": self.user,
        });
        if !self.command.is_empty() {
            config["Cmd"] = json!(self.command);
        }
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": identities},
        })
    }
}

/// This machine's, by the name that OCI gives it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
