//! What the `tls` table of a sink must be.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;
use crate::config::{ClientTls, PemFile, raw};

impl Validator<'_> {
    /// `ca_file` of the table at `path`.
    pub(crate) fn ca_file(&mut self, path: &str, file: Option<PathBuf>) -> Option<PemFile> {
        let file = file?;
        if let Err(why) = check_certificates(&file) {
            self.report.error(&join(path, "ca_file"), why);
        }
        Some(PemFile::new(file))
    }

    pub(crate) fn client_tls(&mut self, path: &str, raw: raw::RawClientTls) -> ClientTls {
        let ca_file = self.ca_file(path, raw.ca_file);
        if let Some(file) = &raw.certificate_file
            && let Err(why) = check_certificates(file)
        {
            self.report.error(&join(path, "certificate_file"), why);
        }
        if let Some(file) = &raw.key_file
            && let Err(why) = check_readable(file)
        {
            self.report.error(&join(path, "key_file"), why);
        }
        let identity = match (raw.certificate_file, raw.key_file) {
            (Some(certificate), Some(key)) => Some((PemFile::new(certificate), PemFile::new(key))),
            (None, None) => None,
            (Some(_), None) => {
                let text = "comes without its key (write key_file = \"PATH\")";
                self.report.error(&join(path, "certificate_file"), text);
                None
            }
            (None, Some(_)) => {
                let text = "comes without its certificate (write certificate_file = \"PATH\")";
                self.report.error(&join(path, "key_file"), text);
                None
            }
        };
        ClientTls { ca_file, identity }
    }
}

fn check_readable(file: &Path) -> Result<(), String> {
    fs::File::open(file).map(drop).map_err(|error| {
        format!(
            "cannot read the file {}: {error} (correct the path or the permissions)",
            file.display()
        )
    })
}

fn check_certificates(file: &Path) -> Result<(), String> {
    let text = fs::read(file).map_err(|error| {
        format!(
            "cannot read the file {}: {error} (correct the path or the permissions)",
            file.display()
        )
    })?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if text.windows(begin.len()).any(|window| window == begin) {
        Ok(())
    } else {
        Err(format!(
            "the file {} holds no certificate (convert it to PEM)",
            file.display()
        ))
    }
}
