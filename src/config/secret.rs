//! Keys and passwords: never shown, and aware of where they came from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Far more than any key or certificate bundle; a secret file that is larger is a mistake.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where systemd puts what a unit is given by `LoadCredential=`.
const CREDENTIALS: &str = "/run/credentials";

/// A value that no log, error or `Debug` output shows.
#[derive(Clone)]
pub struct Secret {
    value: SecretString,
    origin: Origin,
}

/// Where a secret was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the config itself.
    Literal,
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// The `wsskey` of this customer in an `input.json` of HPE's sample client.
    InputJson {
        path: PathBuf,
        customer: String,
    },
    /// Central gave it to us.
    Central,
}

/// Why a secret cannot be had. The messages name the source, never the value.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("cannot read the file {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the file {} is empty", .0.display())]
    EmptyFile(PathBuf),
    #[error("the file {} is larger than {MAX_FILE_BYTES} bytes", .0.display())]
    LargeFile(PathBuf),
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    #[error("the environment variable {0} is empty")]
    EmptyVariable(String),
    #[error("{0}")]
    InputJson(String),
}

impl Unreadable {
    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::File { path, .. } if path.starts_with(CREDENTIALS) => {
                "systemd lays it there while the unit runs: check again then"
            }
            Self::File { .. } | Self::InputJson(_) => "correct the path or the permissions",
            Self::EmptyFile(_) | Self::LargeFile(_) => "write the secret alone into it",
            Self::NotSet(_) | Self::EmptyVariable(_) => "set it, or name another",
        }
    }
}

impl Secret {
    /// A secret that stands in the config itself.
    #[must_use]
    pub fn literal(value: impl Into<String>) -> Self {
        Self::new(value.into(), Origin::Literal)
    }

    /// Reads a file; the line end that editors leave at its end is not part of the secret.
    ///
    /// # Errors
    /// The file cannot be read, is empty, is not UTF-8 or is larger than 64 KiB.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, Unreadable> {
        let path = path.into();
        let mut value = match read_at_most(&path, MAX_FILE_BYTES + 1) {
            Ok(value) => value,
            Err(source) => return Err(Unreadable::File { path, source }),
        };
        if value.len() as u64 > MAX_FILE_BYTES {
            return Err(Unreadable::LargeFile(path));
        }
        value.truncate(value.trim_end_matches(['\n', '\r']).len());
        if value.is_empty() {
            return Err(Unreadable::EmptyFile(path));
        }
        Ok(Self::new(value, Origin::File(path)))
    }

    /// Takes the value that the environment variable `name` has, if it has one.
    ///
    /// # Errors
    /// The variable is not set or is empty.
    pub fn from_env(name: &str, value: Option<&str>) -> Result<Self, Unreadable> {
        match value {
            None => Err(Unreadable::NotSet(name.to_owned())),
            Some("") => Err(Unreadable::EmptyVariable(name.to_owned())),
            Some(value) => Ok(Self::new(value.to_owned(), Origin::Env(name.to_owned()))),
        }
    }

    /// One that Central gave us.
    #[must_use]
    pub(crate) fn given(value: impl Into<String>) -> Self {
        Self::new(value.into(), Origin::Central)
    }

    pub(crate) fn of_customer(value: String, path: &Path, customer: &str) -> Self {
        let origin = Origin::InputJson {
            path: path.to_owned(),
            customer: customer.to_owned(),
        };
        Self::new(value, origin)
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn new(value: String, origin: Origin) -> Self {
        Self {
            value: value.into(),
            origin,
        }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.origin)
    }
}

/// Names the source, not the value.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal => f.write_str("from the config"),
            Self::File(path) => write!(f, "from the file {}", path.display()),
            Self::Env(name) => write!(f, "from the environment variable {name}"),
            Self::InputJson { path, customer } => {
                write!(
                    f,
                    "of the customer {customer} from the file {}",
                    path.display()
                )
            }
            Self::Central => f.write_str("from Central"),
        }
    }
}

/// Whether an HTTP header can carry a value.
pub(crate) fn fits_a_header(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_the_line_end_that_an_editor_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "  hunter2 \r\n").unwrap();
        let secret = Secret::from_file(&path).unwrap();
        assert_eq!(secret.expose(), "  hunter2 ");
        assert_eq!(secret.origin(), &Origin::File(path));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let endless = Secret::from_file("/dev/zero").unwrap_err().to_string();
        let missing = Secret::from_file(folder.path().join("none")).unwrap_err();
        assert!(
            missing
                .to_string()
                .ends_with("No such file or directory (os error 2)")
        );
        assert!(
            Secret::from_file(&empty)
                .unwrap_err()
                .to_string()
                .ends_with("is empty")
        );
        assert_eq!(missing.advice(), "correct the path or the permissions");
        let credential = Secret::from_file("/run/credentials/no.service/key").unwrap_err();
        assert!(credential.advice().contains("while the unit runs"));
        assert_eq!(endless, "the file /dev/zero is larger than 65536 bytes");
        assert_eq!(
            Secret::from_env("A", None).unwrap_err().to_string(),
            "the environment variable A is not set"
        );
        assert_eq!(
            Secret::from_env("A", Some("")).unwrap_err().to_string(),
            "the environment variable A is empty"
        );
    }

    #[test]
    fn the_value_is_never_shown() {
        let secret = Secret::from_env("KEY", Some("hunter2")).unwrap();
        assert_eq!(
            format!("{secret:?}"),
            "Secret(from the environment variable KEY)"
        );
        assert_eq!(secret.to_string(), "from the environment variable KEY");
        assert_eq!(
            format!("{:?}", Secret::literal("hunter2")),
            "Secret(from the config)"
        );
    }

    #[test]
    fn secrets_are_equal_by_value_and_origin() {
        assert_eq!(Secret::literal("a"), Secret::literal("a"));
        assert_ne!(Secret::literal("a"), Secret::literal("b"));
        assert_ne!(
            Secret::literal("a"),
            Secret::from_env("A", Some("a")).unwrap()
        );
    }
}
