//! The image of the controller: always the same, small, and whole.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rig::image::{Controller, Image, stripped};
use serde_json::{Value, json};

const NAME: &str = "registry.local/bowline:test";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn gathered(directory: &Path) -> Image {
    let binary = directory.join("bowline");
    stripped(Path::new(env!("CARGO_BIN_EXE_bowline")), &binary).unwrap();
    Controller { binary: &binary, name: NAME, version: "1.2.3", checkout: checkout(), features: &[] }.image().unwrap()
}

/// The files of an archive by their names.
fn unpacked(archive: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let directory = archive.with_extension("unpacked");
    tar::Archive::new(fs::File::open(archive).unwrap()).unpack(&directory).unwrap();
    let blobs = fs::read_dir(directory.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs
        .map(|path| (PathBuf::from(path.file_name().unwrap()), path.clone()))
        .chain(["index.json", "oci-layout"].map(|name| (name.into(), directory.join(name))))
        .collect()
}

fn json_of(files: &BTreeMap<PathBuf, PathBuf>, name: &str) -> Value {
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    serde_json::from_slice(&fs::read(&files[Path::new(name)]).unwrap()).unwrap()
}

#[test]
fn the_same_files_make_the_same_image_and_it_runs_without_rights() {
    let directory = tempfile::tempdir().unwrap();
    let image = gathered(directory.path());
    let (first, second) = (directory.path().join("first.tar"), directory.path().join("second.tar"));
    let written = image.write(&first).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(gathered(elsewhere.path()).write(&second).unwrap(), written, "the same digest twice");
    let (first, second) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    assert!(first == second, "and every byte");

    let files = unpacked(&directory.path().join("first.tar"));
    let index = json_of(&files, "index.json");
    assert_eq!(index["manifests"][0]["digest"], written.digest.as_str());
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], NAME);
    let manifest = json_of(&files, &written.digest);
    let config = json_of(&files, manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/local/bin/bowline"]));
    assert_eq!(config["config"]["Cmd"], json!(["controller"]));
    let labels = config["config"]["Labels"].as_object().unwrap();
    for label in ["title", "description", "version", "licenses"] {
        assert!(labels.contains_key(&format!("org.opencontainers.image.{label}")), "{labels:?}");
    }

    // What a layer is: sorted, of one date, owned by root but for the cache, and nothing runs as another.
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let mut archive = tar::Archive::new(fs::File::open(&files[Path::new(digest)]).unwrap());
        let mut paths = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let (header, path) = (entry.header(), entry.path().unwrap().into_owned());
            let owner = if path == Path::new("var/cache/bowline/") { 65_532 } else { 0 };
            assert_eq!(header.uid().unwrap(), owner, "{}", path.display());
            assert_eq!(
                header.mode().unwrap() & 0o6022,
                if path == Path::new("tmp/") { 0o022 } else { 0 },
                "{}",
                path.display()
            );
            paths.push(path.to_string_lossy().trim_end_matches('/').to_owned());
        }
        assert!(paths.is_sorted(), "{paths:?}");
    }
}

#[test]
fn the_image_says_what_it_is_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let image = gathered(directory.path());
    let bill: Value = serde_json::from_str(Controller::bill(&image)).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    let components = bill["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    assert_eq!(named("git2").unwrap()["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert!(named("insta").is_none() && named("proptest").is_none(), "what only tests need is not in the image");
    for program in ["helm", "kustomize"] {
        assert_eq!(named(program).unwrap()["version"], rig::tools::version(program).unwrap().as_str());
    }
    let module = named("sigs.k8s.io/kustomize/kyaml").unwrap();
    assert!(module["purl"].as_str().unwrap().starts_with("pkg:golang/sigs.k8s.io/kustomize/kyaml@v"), "{module}");
    assert!(components.iter().any(|component| component["name"].as_str().unwrap().contains("libc.so")));
}

/// The program in the image runs with the libraries of the image.
#[test]
fn every_program_of_the_image_finds_what_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    gathered(directory.path()).unpack(&root).unwrap();
    assert!(root.join("etc/ssl/certs/ca-certificates.crt").is_file());
    assert!(root.join("tmp").is_dir() && root.join("var/cache/bowline").is_dir());
    // A namespace of users lets anybody change the root directory.
    let said = |arguments: &[&str]| {
        let output =
            Command::new("unshare").args(["--map-root-user", "chroot"]).arg(&root).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
        String::from_utf8(said).unwrap()
    };
    assert!(said(&["/usr/local/bin/bowline", "--version"]).contains(env!("CARGO_PKG_VERSION")));
    assert!(said(&["/usr/local/bin/helm", "version", "--short"]).contains(&rig::tools::version("helm").unwrap()));
    assert!(said(&["/usr/local/bin/kustomize", "version"]).contains(&rig::tools::version("kustomize").unwrap()));
}

/// What the Dockerfile says of the image is what `cargo xtask image` says.
#[test]
fn the_dockerfile_makes_the_same_image() {
    let dockerfile = fs::read_to_string(checkout().join("Dockerfile")).unwrap();
    let last = dockerfile.rsplit("\nFROM scratch\n").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let image = gathered(directory.path());
    let quoted = |words: &[String]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    for line in [
        format!("ENTRYPOINT [{}]", quoted(&image.entrypoint)),
        format!("CMD [{}]", quoted(&image.command)),
        format!("USER {}", image.user),
        format!("EXPOSE {}", image.ports[0]),
        format!("ENV {}", image.environment.join(" ")),
        "COPY --from=build /rootfs /".to_owned(),
    ] {
        assert!(last.lines().any(|there| there == line), "{line:?} is missing in the Dockerfile");
    }
    for (name, value) in &image.labels {
        let value = if name.ends_with(".version") { env!("CARGO_PKG_VERSION") } else { value };
        let there = last.contains(&format!("{name}=\"{value}\""));
        assert!(there || name.ends_with(".revision"), "{name}={value} is missing in the Dockerfile");
    }
}
