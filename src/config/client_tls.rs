//! What the `tls` table of a sink must be.

use std::fs;
use std::path::Path;

use super::accounts::check_certificates;
use super::layers::join;
use super::validate::Tables;
use super::{ClientTls, PemFile, raw};

impl Tables<'_> {
    pub(super) fn client_tls(&mut self, path: &str, raw: raw::ClientTls) -> ClientTls {
        for (key, file) in [
            ("ca_file", &raw.ca_file),
            ("certificate_file", &raw.certificate_file),
        ] {
            if let Some(file) = file
                && let Err(why) = check_certificates(file)
            {
                self.report.mistake(&join(path, key), why);
            }
        }
        if let Some(file) = &raw.key_file
            && let Err(why) = check_readable(file)
        {
            self.report.mistake(&join(path, "key_file"), why);
        }
        let identity = match (raw.certificate_file, raw.key_file) {
            (Some(certificate), Some(key)) => Some((PemFile::new(certificate), PemFile::new(key))),
            (None, None) => None,
            (Some(_), None) => {
                let text = "comes without its key (write key_file = \"PATH\")";
                self.report.mistake(&join(path, "certificate_file"), text);
                None
            }
            (None, Some(_)) => {
                let text = "comes without its certificate (write certificate_file = \"PATH\")";
                self.report.mistake(&join(path, "key_file"), text);
                None
            }
        };
        ClientTls {
            ca_file: raw.ca_file.map(PemFile::new),
            identity,
        }
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
