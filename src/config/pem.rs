//! Certificates and keys in files.

use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// A PEM file. What was in it when the config was read is part of the config: a file whose content is
/// another makes another config, so that a reload takes it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile {
    path: PathBuf,
    /// `None` if it could not be read.
    hash: Option<u64>,
}

impl PemFile {
    /// One that cannot be read is found out about where it is used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let hash = fs::read(&path).ok().map(|content| xxh3_64(&content));
        Self { path, hash }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
