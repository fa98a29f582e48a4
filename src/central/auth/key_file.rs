//! Where a renewed key of Classic Central is kept between runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::central::state_files::{ONLY_US, read, replace};
use crate::config::input_json;
use crate::config::secret::{Origin, Secret};

/// Where the renewed key of one seed is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyStore {
    /// Nowhere: it lives as long as the process.
    Memory,
    File(PathBuf),
    /// The file that the seed is from; it is the newer key's seed too.
    InputJson {
        path: PathBuf,
        customer: String,
    },
}

impl KeyStore {
    /// The file is named after the seed's hash, so that another key in the config begins anew.
    pub(crate) fn of(seed: &Secret, state_dir: Option<&Path>) -> Self {
        match (seed.origin(), state_dir) {
            (Origin::InputJson { path, customer }, _) => Self::InputJson {
                path: path.clone(),
                customer: customer.clone(),
            },
            (_, Some(folder)) => {
                let name = format!("{:032x}", xxh3_128(seed.expose().trim().as_bytes()));
                Self::File(folder.join("keys").join(name))
            }
            (_, None) => Self::Memory,
        }
    }

    pub(crate) fn read(&self) -> io::Result<Option<Secret>> {
        match self {
            Self::Memory | Self::InputJson { .. } => Ok(None),
            Self::File(path) => Ok(read(path)?.map(Secret::given)),
        }
    }

    pub(crate) fn write(&self, key: &Secret) -> io::Result<()> {
        match self {
            Self::Memory => Ok(()),
            Self::File(path) => replace(path, key.expose().as_bytes(), ONLY_US),
            Self::InputJson { path, customer } => {
                // The folder of a link may be another one.
                let path = fs::canonicalize(path)?;
                let text = fs::read_to_string(&path)?;
                let changed = input_json::with_key(&text, customer, key.expose())?;
                let mode = fs::metadata(&path)?.permissions().mode();
                replace(&path, changed.as_bytes(), mode)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::central::state_files::ONLY_US_FOLDER;

    #[test]
    fn a_renewed_key_is_found_by_its_seed_and_only_we_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let (seed, other) = (Secret::literal("seed"), Secret::literal("other"));
        let store = KeyStore::of(&seed, Some(folder.path()));
        assert!(store.read().unwrap().is_none());
        store.write(&Secret::given("renewed")).unwrap();
        store.write(&Secret::given("again")).unwrap();
        assert_eq!(store.read().unwrap().unwrap().expose(), "again");
        let KeyStore::File(path) = &store else {
            panic!("{store:?}")
        };
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path), ONLY_US);
        assert_eq!(mode(path.parent().unwrap()), ONLY_US_FOLDER);
        let another = KeyStore::of(&other, Some(folder.path()));
        assert!(another.read().unwrap().is_none());
    }
}
