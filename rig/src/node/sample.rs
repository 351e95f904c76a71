//! A small program for images: it holds a pod, answers by HTTP, or fails.

use std::{fs, path::PathBuf, process::Command};

use sha2::{Digest as _, Sha256};

use crate::{
    directory::{cache_dir, create_private},
    error::{At as _, Result},
    image::{Image, Layer},
    process,
};

const SOURCE: &str = include_str!("../../fixtures/sample.rs");

/// What an image of the sample does.
#[derive(Debug, Clone, Copy)]
pub enum Sample<'a> {
    /// Answers every HTTP request on port 8080 with this text and a newline.
    Answers(&'a str),
    /// Ends at once with an error.
    Fails,
}

/// An image of the sample; `name` has a tag.
pub fn sample(name: &str, does: Sample<'_>) -> Result<Image> {
    let mut layer = Layer::default();
    layer.copy("sample", &program()?, 0o755);
    let arguments = match does {
        Sample::Answers(text) => vec!["answer", text],
        Sample::Fails => vec!["fail"],
    };
    let entrypoint = ["/sample"].into_iter().chain(arguments).map(str::to_owned).collect();
    Ok(Image {
        name: name.to_owned(),
        layers: vec![layer],
        entrypoint,
        user: "65532:65532".into(),
        ports: vec![8080],
        ..Image::default()
    })
}

/// The program, compiled once and kept: static, so that it is all that an image needs.
pub(super) fn program() -> Result<PathBuf> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = process::output(Command::new(&compiler).arg("--version"), None)?;
    let digest: String = Sha256::new().chain_update(SOURCE).chain_update(version).finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = cache_dir().join("tools").join(format!("sample-{digest}"));
    let program = directory.join("sample");
    if program.is_file() {
        return Ok(program);
    }
    create_private(&directory)?;
    let source = directory.join("sample.rs");
    fs::write(&source, SOURCE).at("write", &source)?;
    let unfinished = tempfile::Builder::new().tempdir_in(&directory).at("create a directory in", &directory)?;
    let output = unfinished.path().join("sample");
    let mut command = Command::new(compiler);
    command
        .args(["--edition=2024", "-Copt-level=s", "-Cstrip=symbols", "-Cpanic=abort", "-Ctarget-feature=+crt-static"])
        .arg("-o")
        .arg(&output)
        .arg(&source);
    process::output(&mut command, None)?;
    fs::rename(&output, &program).at("rename", &output)?;
    Ok(program)
}
