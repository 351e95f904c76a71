//! `cargo xtask image`: the controller as an OCI image, without a daemon.

use std::{fs, path::PathBuf};

use rig::image::{BINARY_LIMIT, Controller, IMAGE_LIMIT, stripped};

use crate::{Outcome, test::cargo, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the OCI archive goes
    #[arg(long, value_name = "FILE", default_value = "target/bowline-image.tar")]
    output: PathBuf,
    /// Name of the image with its tag; `bowline` with the version if it is not given
    #[arg(long, value_name = "NAME:TAG", value_parser = name)]
    name: Option<String>,
    /// From a build for debugging, which is compiled sooner and larger; not for use
    #[arg(long)]
    debug: bool,
    /// Write the files of the image into this directory instead, for a build that copies them
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    root: Option<PathBuf>,
    /// Features of the program that are off by default: otel
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
}

fn name(text: &str) -> Result<String, String> {
    match text.rsplit('/').next().and_then(|last| last.split_once(':')) {
        Some((name, tag)) if !name.is_empty() && !tag.is_empty() => Ok(text.to_owned()),
        _ => Err("an image is named with its tag, as in registry.example.com/bowline:0.1.0".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    crate::tools::build_some(&["helm", "kustomize"])?;
    let binary = program(arguments)?;
    let version = env!("CARGO_PKG_VERSION");
    let name = arguments.name.clone().unwrap_or_else(|| format!("bowline:{version}"));
    let checkout = workspace().canonicalize()?;
    let features = &arguments.features;
    let image = Controller { binary: &binary, name: &name, version, checkout: &checkout, features }.image()?;
    let size = fs::metadata(&binary)?.len();
    if !arguments.debug {
        within("the program", size, BINARY_LIMIT)?;
    }
    if let Some(root) = &arguments.root {
        fs::create_dir_all(root)?;
        image.unpack(root)?;
        eprintln!("The files of {name} are in {}.", root.display());
        return Ok(());
    }
    let output = &arguments.output;
    if let Some(directory) = output.parent() {
        fs::create_dir_all(directory)?;
    }
    let written = image.write(output)?;
    if !arguments.debug {
        within("the image", written.size, IMAGE_LIMIT)?;
    }
    let bill = output.with_extension("cdx.json");
    fs::write(&bill, Controller::bill(&image))?;
    eprintln!(
        "{name}: {} ({}; the program {})\nWhat it is made of: {}",
        output.display(),
        mebibytes(written.size),
        mebibytes(size),
        bill.display()
    );
    println!("{}", written.digest);
    Ok(())
}

/// The program, built and without symbols.
fn program(arguments: &Arguments) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let debug = arguments.debug;
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "bowline", "--bin", "bowline"]);
    build.args(["--features", &arguments.features.join(",")]);
    if !debug {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err("building the program failed; see above".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let built = target.join(if debug { "debug" } else { "release" }).join("bowline");
    let lean = target.join("bowline-for-image");
    stripped(&built, &lean)?;
    Ok(lean)
}

fn within(what: &str, size: u64, limit: u64) -> Outcome {
    match size <= limit {
        true => Ok(()),
        false => Err(format!("{what} has {}, and {} is the limit", mebibytes(size), mebibytes(limit)).into()),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_with_its_tag() {
        assert!(name("registry.example.com:5000/bowline:0.1.0").is_ok());
        assert!(name("bowline:0.1.0").is_ok());
        assert!(name("registry.example.com:5000/bowline").is_err());
        assert!(name("bowline:").is_err());
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_size() {
        let refused = within("the program", 41 << 20, BINARY_LIMIT).unwrap_err().to_string();
        assert_eq!(refused, "the program has 41.0 MiB, and 40.0 MiB is the limit");
        assert!(within("the image", IMAGE_LIMIT, IMAGE_LIMIT).is_ok());
    }
}
