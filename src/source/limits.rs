//! Bounds on what a repository may cost.

use std::time::Duration;

/// Bounds of one conversation with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a fetch may take, waiting for another fetch of the same
    /// repository included.
    pub deadline: Duration,
    /// How many bytes a fetch may receive.
    pub bytes: u64,
    /// How many objects a fetch may receive.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), bytes: 1 << 30, objects: 2_000_000 }
    }
}

/// Bounds of the part of a tree that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLimits {
    /// How many entries there may be, directories included.
    pub entries: usize,
    /// How deep directories may be nested below the path.
    pub depth: usize,
    /// How large a single file may be when it is read, in bytes. A larger file
    /// is listed, and only reading it is refused.
    pub file_bytes: u64,
    /// How large all files may be together, in bytes.
    pub total_bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 50_000, depth: 64, file_bytes: 16 << 20, total_bytes: 256 << 20 }
    }
}

/// Bounds of the Git library that hold for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLimits {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub silence_timeout: Duration,
    /// Size of one mapped window of a pack file, in bytes.
    pub window_bytes: usize,
    /// Size of all mapped windows together, in bytes.
    pub mapped_bytes: usize,
    /// How many pack files may be open at a time.
    pub open_packs: usize,
    /// Size of the cache of objects, in bytes.
    pub cache_bytes: usize,
    /// How large an object of a received pack may be, in bytes.
    pub object_bytes: usize,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(30),
            window_bytes: 4 << 20,
            mapped_bytes: 64 << 20,
            open_packs: 128,
            cache_bytes: 16 << 20,
            object_bytes: 512 << 20,
        }
    }
}
