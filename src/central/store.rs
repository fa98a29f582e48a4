//! What is kept between runs: renewed keys and subscriber ids. Files are replaced as a whole, and
//! only we may read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::config::input_json;
use crate::config::secret::{Origin, Secret};

const ONLY_US: u32 = 0o600;
const ONLY_US_FOLDER: u32 = 0o700;

/// Where the renewed key of one seed is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyStore {
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
    pub(super) fn of(seed: &Secret, state_dir: Option<&Path>) -> Self {
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

    pub(super) fn read(&self) -> io::Result<Option<Secret>> {
        match self {
            Self::Memory | Self::InputJson { .. } => Ok(None),
            Self::File(path) => Ok(read(path)?.map(Secret::given)),
        }
    }

    pub(super) fn write(&self, key: &Secret) -> io::Result<()> {
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

/// The id that was kept for an account, or a new one that is kept from now on.
pub(super) fn subscriber_id(state_dir: Option<&Path>, account: &str) -> io::Result<String> {
    let Some(folder) = state_dir else {
        return Ok(new_subscriber_id());
    };
    let path = folder.join("subscriber-ids").join(account);
    if let Some(kept) = read(&path)?
        && uuid::Uuid::parse_str(kept.trim()).is_ok()
    {
        return Ok(kept.trim().to_owned());
    }
    let id = new_subscriber_id();
    replace(&path, id.as_bytes(), ONLY_US)?;
    Ok(id)
}

pub(super) fn new_subscriber_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `None`: there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same without waiting for the disk, for what a loss of power may undo.
pub(super) fn replace_soon(path: &Path, contents: &[u8]) -> io::Result<()> {
    write_beside(path, contents, ONLY_US).and_then(|(_, new)| fs::rename(new, path))
}

/// A reader sees the old contents or the new ones, also after a loss of power.
fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let (file, new) = write_beside(path, contents, mode)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn write_beside(path: &Path, contents: &[u8], mode: u32) -> io::Result<(File, PathBuf)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(ONLY_US_FOLDER)
        .create(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(ONLY_US)
        .open(&new)?;
    file.write_all(contents)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok((file, new))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_subscriber_id_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = subscriber_id(Some(folder.path()), "acme").unwrap();
        assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
        assert_eq!(subscriber_id(Some(folder.path()), "acme").unwrap(), first);
        assert_ne!(subscriber_id(Some(folder.path()), "globex").unwrap(), first);
        fs::write(folder.path().join("subscriber-ids/acme"), "torn").unwrap();
        assert_ne!(subscriber_id(Some(folder.path()), "acme").unwrap(), "torn");
    }
}
