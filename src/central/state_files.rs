//! Files in `state_dir`: replaced as a whole, and readable by this user alone. Also the subscriber id
//! that is kept there.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::NamedTempFile;

pub(crate) const OWNER_ONLY: u32 = 0o600;
pub(crate) const OWNER_ONLY_FOLDER: u32 = 0o700;

/// The subscriber id that is kept for an account; if there is none, a new one is made and kept.
pub(crate) fn subscriber_id(state_dir: Option<&Path>, account: &str) -> io::Result<String> {
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
    replace(&path, id.as_bytes(), OWNER_ONLY)?;
    Ok(id)
}

pub(crate) fn new_subscriber_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `None`: the file does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file without waiting for the disk: a power failure may bring the old contents back.
pub(crate) fn replace_soon(path: &Path, contents: &[u8]) -> io::Result<()> {
    write_beside(path, contents, OWNER_ONLY)?.persist(path)?;
    Ok(())
}

/// Replaces a file. A reader sees the old contents or the new ones, also after a power failure.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let new = write_beside(path, contents, mode)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn write_beside(path: &Path, contents: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY_FOLDER)
        .create(folder)?;
    // Readable by its owner only until its mode is set.
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(contents)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

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
