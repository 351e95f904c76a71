//! A name that outlives the process: whoever starts again over the same cache
//! on the same host is the same instance, and takes its Lease up at once.
//!
//! Why that is safe: the cache is locked by the process that uses it, and the
//! kernel holds the lock until that process is gone, also while it is stopped.
//! Who has the lock knows that the process before it is dead. A copy of the
//! cache is another one: the record tells on which host and as which file it
//! was written, and whoever finds another begins with a name of its own.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use serde::{Deserialize, Serialize};

/// The file in the cache.
const FILE: &str = "instance";
/// What the kernel made up when this host was started.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The host's name, in a pod that of the pod.
const HOST: &str = "/proc/sys/kernel/hostname";

/// What is kept of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    instance: String,
    place: Place,
}

/// What a copy of the cache does not share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    boot: String,
    host: String,
    device: u64,
    inode: u64,
}

/// The instance of a cache, which must be locked by this process. Where it
/// cannot be kept, it is one of this process alone.
pub(super) fn of_cache(cache: &Path) -> String {
    let fresh = format!("{:016x}", rand::random::<u64>());
    match kept_or(cache, &fresh) {
        Ok(instance) => instance,
        Err(error) => {
            tracing::warn!(%error, "who this replica is cannot be kept: after a crash its lease is waited for");
            fresh
        }
    }
}

fn kept_or(cache: &Path, fresh: &str) -> io::Result<String> {
    let file = cache.join(FILE);
    if let (Ok(text), Ok(place)) = (fs::read(&file), place(cache))
        && let Ok(record) = serde_json::from_slice::<Record>(&text)
        && record.place == place
    {
        return Ok(record.instance);
    }
    let record = Record { instance: fresh.to_owned(), place: place(cache)? };
    let unfinished = cache.join(format!("{FILE}.unfinished"));
    fs::write(&unfinished, serde_json::to_vec(&record)?)?;
    fs::rename(&unfinished, &file)?;
    Ok(record.instance)
}

fn place(cache: &Path) -> io::Result<Place> {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    // The directory's own inode: a copy has another.
    let directory = fs::metadata(cache)?;
    Ok(Place { boot: line(BOOT)?, host: line(HOST)?, device: directory.dev(), inode: directory.ino() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_same_cache_is_the_same_instance() {
        let cache = tempfile::tempdir().unwrap();
        let first = of_cache(cache.path());
        assert_eq!(of_cache(cache.path()), first);
        assert_ne!(of_cache(tempfile::tempdir().unwrap().path()), first);
    }

    #[test]
    fn a_copy_of_a_cache_is_another_instance() {
        let (cache, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = of_cache(cache.path());
        fs::copy(cache.path().join(FILE), copy.path().join(FILE)).unwrap();
        let second = of_cache(copy.path());
        assert_ne!(second, first);
        assert_eq!(of_cache(copy.path()), second, "from then on it is that one");
    }

    #[test]
    fn after_a_restart_of_the_host_it_is_another_instance() {
        let cache = tempfile::tempdir().unwrap();
        let first = of_cache(cache.path());
        let file = cache.path().join(FILE);
        let mut record: Record = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        record.place.boot = "another".into();
        fs::write(&file, serde_json::to_vec(&record).unwrap()).unwrap();
        assert_ne!(of_cache(cache.path()), first);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_written_anew() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join(FILE), "{").unwrap();
        let first = of_cache(cache.path());
        assert_eq!(of_cache(cache.path()), first);
    }
}
