//! What the image of the controller holds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Image, Layer, bill};
use crate::{
    error::{At as _, Error, Result},
    process, tools,
};

/// The most that the program may have in a release, in bytes.
pub const BINARY_LIMIT: u64 = 40 << 20;
/// The most that the image may have in a release, in bytes.
pub const IMAGE_LIMIT: u64 = 200 << 20;

/// Nobody's number on the machines that run the image.
const USER: u64 = 65_532;
/// Where Debian has the certificates of authorities, and where the image has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where the image says what it is made of.
const BILL: &str = "usr/share/sbom/bowline.cdx.json";
/// The programs that render charts and overlays.
const RENDERERS: [&str; 2] = ["helm", "kustomize"];

/// The parts of the image of the controller.
#[derive(Debug)]
pub struct Controller<'a> {
    /// The program, without symbols.
    pub binary: &'a Path,
    /// Name with tag.
    pub name: &'a str,
    /// Version of the program.
    pub version: &'a str,
    /// The checkout it was built from.
    pub checkout: &'a Path,
    /// The features it was built with, beside those by default.
    pub features: &'a [String],
}

impl Controller<'_> {
    /// Gathers the files. Helm and Kustomize must be built.
    pub fn image(&self) -> Result<Image> {
        let commit = self.commit();
        let created = commit.as_ref().map_or(0, |(_, date)| *date);
        let mut programs = Layer::default();
        for name in RENDERERS {
            programs.copy(&format!("usr/local/bin/{name}"), &tools::path(name)?, 0o755);
        }
        let libraries = libraries(self.binary)?;
        let bill = bill::of(self.checkout, self.features, self.version, &RENDERERS, &libraries)?;
        let mut own = Layer::default();
        own.copy("usr/local/bin/bowline", self.binary, 0o755);
        own.copy("usr/share/doc/bowline/LICENSE", &self.checkout.join("LICENSE"), 0o644);
        own.text(BILL, &format!("{bill:#}\n"));
        let mut labels = vec![
            ("title", "bowline".to_owned()),
            (
                "description",
                "A GitOps controller for Kubernetes that holds, explains itself, and takes a bad release back"
                    .to_owned(),
            ),
            ("version", self.version.to_owned()),
            ("licenses", "Apache-2.0".to_owned()),
        ];
        labels.extend(commit.map(|(commit, _)| ("revision", commit)));
        Ok(Image {
            name: self.name.to_owned(),
            layers: vec![base(&libraries)?, programs, own],
            entrypoint: vec!["/usr/local/bin/bowline".into()],
            command: vec!["controller".into()],
            environment: vec!["PATH=/usr/local/bin".into()],
            user: format!("{USER}:{USER}"),
            ports: vec![8080],
            labels: labels
                .into_iter()
                .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value))
                .collect(),
            created,
        })
    }

    /// The bill of materials of an image that was gathered.
    pub fn bill(image: &Image) -> &str {
        let found = image.layers.iter().find_map(|layer| layer.read(BILL));
        found.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The commit that is checked out and its date in seconds; none outside of
    /// a repository.
    fn commit(&self) -> Option<(String, u64)> {
        let mut git = Command::new("git");
        git.args(["log", "-1", "--format=%H %ct"]).current_dir(self.checkout);
        let said = String::from_utf8(process::output(&mut git, None).ok()?).ok()?;
        let (commit, date) = said.trim().split_once(' ')?;
        Some((commit.to_owned(), date.parse().ok()?))
    }
}

/// Copies a program without its symbols.
pub fn stripped(from: &Path, to: &Path) -> Result<()> {
    process::output(Command::new("strip").arg("--strip-all").arg("-o").arg(to).arg(from), None).map(drop)
}

/// What changes with the distribution only.
fn base(libraries: &[PathBuf]) -> Result<Layer> {
    let mut layer = Layer::default();
    let authorities = Path::new(AUTHORITIES);
    fs::metadata(authorities).at("find the certificates of Debian's package ca-certificates,", authorities)?;
    layer.copy(AUTHORITIES, authorities, 0o644);
    layer.text("etc/passwd", &format!("root:x:0:0::/:\nbowline:x:{USER}:{USER}::/:\n"));
    layer.text("etc/group", &format!("root:x:0:\nbowline:x:{USER}:\n"));
    layer.text("etc/nsswitch.conf", "hosts: files dns\n");
    layer.directory("tmp", 0o1777, 0);
    layer.directory("var/cache/bowline", 0o755, USER);
    for library in libraries {
        layer.copy(&library.to_string_lossy(), library, 0o755);
    }
    Ok(layer)
}

/// The shared libraries that a program needs, the loader among them; none where
/// it is linked statically.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = process::output(Command::new("ldd").arg(program), None)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut libraries = Vec::new();
    for line in said.lines().map(str::trim) {
        if line.contains("not found") {
            return Err(Error::Content { path: program.to_owned(), reason: format!("a library is missing: {line}") });
        }
        // `libm.so.6 => /lib/…/libm.so.6 (0x…)`, `/lib64/ld-linux-….so.2 (0x…)`, or a library of the kernel.
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        let place = place.split(" (").next().unwrap_or_default();
        if place.starts_with('/') {
            libraries.push(PathBuf::from(place));
        }
    }
    libraries.sort();
    Ok(libraries)
}
