//! Programs of Debian's packages: those that are installed, else unpacked into
//! the cache without being installed, which needs no rights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    directory::{cache_dir, create_private},
    error::{At, Error, Result},
};

/// A package whose programs are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// Whether what it depends on is wanted too, as far as it is not installed.
    pub(crate) with_dependencies: bool,
}

/// Where programs are looked for before a package is unpacked, beside the `PATH`.
const SYSTEM: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The path of a program that a package has.
pub(crate) fn program(package: Package, name: &str) -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&on_path).chain(SYSTEM.iter().map(PathBuf::from));
    if let Some(found) = directories.map(|directory| directory.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let unpacked = unpacked(package)?;
    let places = SYSTEM.iter().map(|directory| unpacked.join(directory.trim_start_matches('/')).join(name));
    let missing = || Error::Content { path: unpacked.clone(), reason: format!("the package has no program {name}") };
    places.into_iter().find(|path| path.is_file()).ok_or_else(missing)
}

/// Where the libraries of an unpacked package are, for `LD_LIBRARY_PATH`; empty
/// for one that is installed.
pub(crate) fn libraries(program: &Path) -> String {
    let Some(root) = program.ancestors().find(|path| path.join(MARK).is_file()) else { return String::new() };
    let directories = ["usr/lib", "lib"].map(|lib| root.join(lib));
    let architectures = directories.iter().filter_map(|directory| fs::read_dir(directory).ok());
    let found = architectures.flatten().flatten().map(|entry| entry.path());
    let names = found.filter(|path| path.is_dir() && path.to_string_lossy().ends_with("-linux-gnu"));
    names.map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

/// A file that only a directory of unpacked packages has.
const MARK: &str = ".unpacked";

fn unpacked(package: Package) -> Result<PathBuf> {
    let tools = cache_dir().join("tools");
    let place = tools.join(format!("{}-debian", package.name));
    if place.join(MARK).is_file() {
        return Ok(place);
    }
    create_private(&tools)?;
    let prefix = format!("{}-", package.name);
    let work = tempfile::Builder::new().prefix(&prefix).tempdir_in(&tools).at("create a directory in", &tools)?;
    let archives = download(work.path(), package)?;
    let inside = work.path().join("x");
    for archive in archives {
        run(work.path(), package, "dpkg", &["-x", &archive.display().to_string(), &inside.display().to_string()])?;
    }
    let mark = inside.join(MARK);
    fs::write(&mark, "").at("write", &mark)?;
    // One that an older version left has no mark.
    let _ = fs::remove_dir_all(&place);
    // Whoever else did the same meanwhile has the same programs there.
    if let Err(source) = fs::rename(&inside, &place)
        && !place.join(MARK).is_file()
    {
        return Err(Error::File { action: "move into place", path: place, source });
    }
    Ok(place)
}

/// Downloads the package. A new machine may have no lists of packages, or old
/// ones: then they are read into the same directory, which needs no rights.
fn download(work: &Path, package: Package) -> Result<Vec<PathBuf>> {
    let (lists, cache) = (work.join("lists"), work.join("cache"));
    let archives = cache.join("archives");
    create_private(&lists.join("partial"))?;
    create_private(&archives.join("partial"))?;
    let own_cache =
        [format!("Dir::Cache={}", cache.display()), "Debug::NoLocking=1".into(), "APT::Sandbox::User=root".into()];
    let own_lists = [format!("Dir::State::Lists={}", lists.display())];
    let fetch: &[&str] = match package.with_dependencies {
        true => &["--yes", "--download-only", "--no-install-recommends", "install", package.name],
        false => &["download", package.name],
    };
    let options = |settings: &[String]| -> Vec<String> {
        settings.iter().flat_map(|setting| ["-o".to_owned(), setting.clone()]).collect()
    };
    let directory = if package.with_dependencies { work } else { archives.as_path() };
    let apt = |settings: &[String], what: &[&str]| {
        let options = options(settings);
        let arguments: Vec<&str> = options.iter().map(String::as_str).chain(what.iter().copied()).collect();
        run(directory, package, "apt-get", &arguments)
    };
    if apt(&own_cache, fetch).is_err() {
        let settings = [own_cache.as_slice(), own_lists.as_slice()].concat();
        apt(&settings, &["update"])?;
        apt(&settings, fetch)?;
    }
    let entries = fs::read_dir(&archives).at("read", &archives)?.filter_map(std::io::Result::ok);
    let found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_package(path)).collect();
    if found.is_empty() {
        return Err(Error::Content { path: archives, reason: "apt-get left no package".into() });
    }
    Ok(found)
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

/// Runs a program of the system.
fn run(directory: &Path, package: Package, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.map_err(|source| Error::Program { program: program.into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Command {
        command: format!(
            "{program} {} ({name} is wanted on the PATH, or from Debian's package {name})",
            arguments.join(" "),
            name = package.name
        ),
        status: output.status,
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}
