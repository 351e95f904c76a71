//! What an image is made of, in the form of CycloneDX: the crates of the
//! program, the modules of Helm and Kustomize, the libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::hexadecimal;
use crate::{
    error::{At as _, Error, Result},
    process, tools,
};

/// The bill of the image: the same for the same sources.
pub(super) fn of(
    checkout: &Path,
    features: &[String],
    version: &str,
    programs: &[&str],
    libraries: &[PathBuf],
) -> Result<Value> {
    let mut components = crates(checkout, features)?;
    for program in programs {
        components.extend(modules(program)?);
    }
    for library in libraries {
        let content = fs::read(library).at("read", library)?;
        components.push(json!({
            "type": "file",
            "name": library.to_string_lossy(),
            "hashes": [{"alg": "SHA-256", "content": hexadecimal(&content)}],
        }));
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {
            "type": "application",
            "name": "bowline",
            "version": version,
            "licenses": [{"expression": "Apache-2.0"}],
        }},
        "components": components,
    }))
}

/// The crates that are compiled into the program, not those of its tests.
fn crates(checkout: &Path, features: &[String]) -> Result<Vec<Value>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &target])
        .args(["--features", &features.join(",")])
        .current_dir(checkout);
    let unexpected = |reason: &str| Error::Content {
        path: checkout.join("Cargo.toml"),
        reason: format!("cargo metadata: {reason}"),
    };
    let metadata: Value =
        serde_json::from_slice(&process::output(&mut cargo, None)?).map_err(|error| unexpected(&error.to_string()))?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let root = packages.iter().find(|(_, package)| package["name"] == "bowline");
    let (root, _) = root.ok_or_else(|| unexpected("no package is named bowline"))?;
    let mut reached = BTreeSet::from([*root]);
    let mut next = vec![*root];
    while let Some(id) = next.pop() {
        for dependency in nodes.get(id).into_iter().flat_map(|node| list(&node["deps"])) {
            // The kind of an ordinary dependency is null; others are for building and testing.
            let ordinary = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            if let Some(id) = dependency["pkg"].as_str().filter(|_| ordinary)
                && reached.insert(id)
            {
                next.push(id);
            }
        }
    }
    reached.remove(root);
    // What has no source is a package of the checkout.
    let others = reached.iter().filter_map(|id| packages.get(id)).filter(|package| package["source"].is_string());
    let described = others.map(|package| {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let mut component = json!({
            "type": "library",
            "name": name,
            "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
        });
        if let Some(license) = package["license"].as_str() {
            component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        component
    });
    Ok(described.collect())
}

/// A program of Go and its modules, as the program itself has them.
fn modules(program: &str) -> Result<Vec<Value>> {
    let path = tools::path(program)?;
    let said = process::output(Command::new("go").args(["version", "-m"]).arg(&path), None)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut components = vec![json!({
        "type": "application",
        "name": program,
        "version": tools::version(program)?,
    })];
    for line in said.lines() {
        // `	dep	example.com/module	v1.2.3	h1:…`
        if let ["dep", name, version, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            components.push(json!({
                "type": "library",
                "name": name,
                "version": version,
                "purl": format!("pkg:golang/{name}@{version}"),
            }));
        }
    }
    Ok(components)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
