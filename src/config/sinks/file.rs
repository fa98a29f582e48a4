//! Sinks of type `file`: JSON lines in a file.

use std::path::{Path, PathBuf};

use super::destination::{DestinationCharset, RouteRules};
use super::{Kind, RawKind, Sink};
use crate::config::raw::Size;
use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;

/// Larger than any batch of lines.
const MIN_FILE_BYTES: u64 = 1 << 20;
const DEFAULT_FILE_BYTES: u64 = 100 << 20;
const DEFAULT_FILES: u32 = 7;
/// Each of them is renamed at each rotation.
const MAX_FILES: i64 = 1000;

/// JSON lines in a file.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawFile {
    /// The file, to which lines are appended. It is created if it does not exist. Required.
    path: Option<PathBuf>,
    /// When the file is closed, renamed and followed by a new one. Default: it grows without limit, or
    /// another program rotates it.
    rotate: Option<RawRotate>,
}

/// When a file is closed, renamed and followed by a new one.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawRotate {
    /// Size at which a file is followed by a new one, at least `1 MiB`.
    #[schemars(extend("default" = "100 MiB"))]
    max_bytes: Option<Size>,
    /// Number of old files that are kept, 1 to 1000.
    #[schemars(extend("default" = 7))]
    keep: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    /// `None`: the file grows without limit, or another program rotates it.
    pub rotate: Option<Rotate>,
}

/// When a file is followed by the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Of one file.
    pub max_bytes: u64,
    /// Files beside the one that is written.
    pub keep: u32,
}

impl RawKind for RawFile {
    const TYPE: &'static str = "file";

    fn route_rules(&self) -> RouteRules {
        RouteRules::ONE_DESTINATION
    }

    fn validate(self, path: &str, _: &str, validator: &mut Validator<'_>) -> Option<Sink> {
        let rotate = self.rotate.as_ref();
        let rotate = rotate.map(|raw| rotation(&join(path, "rotate"), raw, validator));
        let advice = "write path = \"/var/log/central.ndjson\"";
        let path = validator.report.require(path, "path", self.path, advice)?;
        Some(Sink::File(File { path, rotate }))
    }
}

impl Kind for File {
    fn charset(&self) -> DestinationCharset {
        DestinationCharset::ANY
    }

    fn output_file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

fn rotation(path: &str, raw: &RawRotate, validator: &mut Validator<'_>) -> Rotate {
    let max_bytes = raw.max_bytes.as_ref().map(|size| size.0);
    if max_bytes.is_some_and(|bytes| bytes < MIN_FILE_BYTES) {
        let text = "is too small (write at least 1 MiB)";
        validator.report.error(&join(path, "max_bytes"), text);
    }
    let keep = validator.number(path, "keep", raw.keep, 1, MAX_FILES);
    Rotate {
        max_bytes: max_bytes.unwrap_or(DEFAULT_FILE_BYTES),
        keep: keep
            .and_then(|keep| u32::try_from(keep).ok())
            .unwrap_or(DEFAULT_FILES),
    }
}
