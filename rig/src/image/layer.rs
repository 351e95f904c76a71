//! The files of an image, as a tar that is always the same.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use crate::error::{At as _, Error, Result};

/// Files by their paths, without the leading slash; parents are made.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    mode: u32,
    /// User and group.
    owner: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Directory,
    Bytes(Vec<u8>),
    Copy(PathBuf),
}

impl Layer {
    /// A directory of an owner.
    pub fn directory(&mut self, path: &str, mode: u32, owner: u64) {
        self.put(path, Entry { mode, owner, content: Content::Directory });
    }

    /// A file that all may read.
    pub fn text(&mut self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes().to_vec());
    }

    /// The same of bytes.
    pub fn bytes(&mut self, path: &str, content: Vec<u8>) {
        self.put(path, Entry { mode: 0o644, owner: 0, content: Content::Bytes(content) });
    }

    /// A copy of a file of this machine, which all may read or, where `mode`
    /// says so, run.
    pub fn copy(&mut self, path: &str, from: &Path, mode: u32) {
        self.put(path, Entry { mode, owner: 0, content: Content::Copy(from.to_owned()) });
    }

    /// The content of a file that was not copied from this machine.
    pub(super) fn read(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path)?.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn put(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry {
                mode: 0o755,
                owner: 0,
                content: Content::Directory,
            });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// The tar, with every entry of one date.
    pub(super) fn archive(&self, date: u64) -> Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner);
            header.set_gid(entry.owner);
            header.set_mtime(date);
            let (kind, name, content) = match &entry.content {
                Content::Directory => (EntryType::Directory, format!("{path}/"), Vec::new()),
                Content::Bytes(bytes) => (EntryType::Regular, path.clone(), bytes.clone()),
                Content::Copy(from) => (EntryType::Regular, path.clone(), fs::read(from).at("read", from)?),
            };
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, &name, content.as_slice()).map_err(|source| Error::File {
                action: "put into an image",
                path: path.into(),
                source,
            })?;
        }
        builder.into_inner().map_err(|source| Error::File {
            action: "finish an image of",
            path: PathBuf::new(),
            source,
        })
    }

    /// Writes the files below a directory; owners are those of this process.
    pub(super) fn unpack(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let path = root.join(path);
            match &entry.content {
                Content::Directory => fs::create_dir_all(&path).at("create", &path)?,
                Content::Bytes(bytes) => fs::write(&path, bytes).at("write", &path)?,
                Content::Copy(from) => drop(fs::copy(from, &path).at("write", &path)?),
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).at("set the mode of", &path)?;
        }
        Ok(())
    }
}
