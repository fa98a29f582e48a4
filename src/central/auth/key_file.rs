//! Where a renewed key of Classic Central is kept between runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::central::state_files::{OWNER_ONLY, read, replace};
use crate::config::input_json;
use crate::config::secret::{Origin, Secret};

/// The place for the renewed key that began with one key of the config, its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyFile {
    /// It lasts as long as the process.
    None,
    StateDir(PathBuf),
    /// The `input.json` that the seed is from: the renewed key takes its place there.
    InputJson {
        path: PathBuf,
        customer: String,
    },
}

impl KeyFile {
    /// The file in `state_dir` is named after the seed's hash, so that another key in the config has
    /// another file.
    pub(crate) fn of(seed: &Secret, state_dir: Option<&Path>) -> Self {
        match (seed.origin(), state_dir) {
            (Origin::InputJson { path, customer }, _) => Self::InputJson {
                path: path.clone(),
                customer: customer.clone(),
            },
            (_, Some(folder)) => {
                let name = format!("{:032x}", xxh3_128(seed.expose().trim().as_bytes()));
                Self::StateDir(folder.join("keys").join(name))
            }
            (_, None) => Self::None,
        }
    }

    pub(crate) fn read(&self) -> io::Result<Option<Secret>> {
        match self {
            Self::None | Self::InputJson { .. } => Ok(None),
            Self::StateDir(path) => Ok(read(path)?.map(Secret::given)),
        }
    }

    pub(crate) fn write(&self, key: &Secret) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::StateDir(path) => replace(path, key.expose().as_bytes(), OWNER_ONLY),
            Self::InputJson { path, customer } => {
                // The new file must be written beside the real one, not beside a link to it.
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
    use crate::central::state_files::OWNER_ONLY_FOLDER;

    #[test]
    fn a_renewed_key_is_found_by_its_seed_and_only_we_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let (seed, other) = (Secret::literal("seed"), Secret::literal("other"));
        let store = KeyFile::of(&seed, Some(folder.path()));
        assert!(store.read().unwrap().is_none());
        store.write(&Secret::given("renewed")).unwrap();
        store.write(&Secret::given("again")).unwrap();
        assert_eq!(store.read().unwrap().unwrap().expose(), "again");
        let KeyFile::StateDir(path) = &store else {
            panic!("{store:?}")
        };
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path), OWNER_ONLY);
        assert_eq!(mode(path.parent().unwrap()), OWNER_ONLY_FOLDER);
        let another = KeyFile::of(&other, Some(folder.path()));
        assert!(another.read().unwrap().is_none());
    }
}
