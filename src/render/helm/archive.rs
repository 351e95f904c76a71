//! Packed charts (`.tgz`): read within limits, and written again.

use std::io::{self, Read as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// What the packed charts of one render may come to at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes, unpacked.
    pub(super) bytes: u64,
    /// Files.
    pub(super) files: usize,
}

/// A file of a packed chart: its path and content.
pub(super) type File = (String, Vec<u8>);

/// Reads a packed chart.
///
/// # Errors
/// In words: it is damaged, holds what a chart does not hold, or passes a limit.
pub(super) fn unpack(archive: &[u8], room: &mut Room) -> Result<Vec<File>, String> {
    let damaged = |error: io::Error| format!("is no packed chart: {error}");
    // More than there is room for, so that it is the files that pass the limit.
    let limited = GzDecoder::new(archive).take(room.bytes.saturating_add(1 << 20));
    let mut tar = tar::Archive::new(limited);
    let mut files = Vec::new();
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry.path().map_err(damaged)?.to_str().map(str::to_owned);
        let path = path.ok_or("holds a file whose name is not UTF-8")?;
        if !kind.is_file() {
            return Err(format!("holds {path:?}, which is no regular file"));
        }
        let leaves = path.starts_with('/') || path.split('/').any(|part| part == ".." || part.contains('\\'));
        if leaves {
            return Err(format!("holds {path:?}, which leaves the chart"));
        }
        let size = entry.size();
        if room.files == 0 || size > room.bytes {
            return Err("with it, packed charts hold more than the limit of files or bytes".to_owned());
        }
        room.files -= 1;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(damaged)?;
        room.bytes = room.bytes.saturating_sub(content.len() as u64);
        files.push((path, content));
    }
    Ok(files)
}

/// Packs files as a chart.
pub(super) fn pack(files: &[File]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room { bytes: 1 << 20, files: 10 }
    }

    #[test]
    fn a_packed_chart_reads_back() {
        let files = vec![("web/Chart.yaml".to_owned(), b"name: web".to_vec()), ("web/a".to_owned(), Vec::new())];
        assert_eq!(unpack(&pack(&files).unwrap(), &mut room()).unwrap(), files);
    }

    #[test]
    fn one_that_would_fill_the_memory_is_refused() {
        let bomb = pack(&[("web/big".to_owned(), vec![0; 8 << 20])]).unwrap();
        assert!(bomb.len() < 1 << 20);
        let error = unpack(&bomb, &mut room()).unwrap_err();
        assert!(error.starts_with("with it, packed charts hold more"), "{error}");
    }

    #[test]
    fn one_that_holds_a_link_or_nothing_is_refused() {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "web/values.yaml", "/etc/passwd").unwrap();
        let link = tar.into_inner().unwrap().finish().unwrap();
        assert_eq!(unpack(&link, &mut room()).unwrap_err(), "holds \"web/values.yaml\", which is no regular file");
        assert!(unpack(b"nothing", &mut room()).unwrap_err().starts_with("is no packed chart: "));
    }
}
