//! Which secrets others can read.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use url::{Host, Url};

use crate::config::diagnostics::Position;
use crate::config::diagnostics::report::Report;
use crate::config::secret::{Origin, Secret};

/// Any user of the machine may read the file.
const WORLD_READABLE: u32 = 0o004;

/// Warns about a secret that stands in a file which others may read.
pub(crate) fn warn_literal(path: &str, secret: &Secret, report: &mut Report) {
    let Position::InFile { file, .. } = report.position(path) else {
        return;
    };
    if *secret.origin() == Origin::Literal && is_world_readable(file) {
        let text =
            "stands in a file that every user can read (write { file = \"PATH\" }, or chmod o-r)";
        report.warn(path, text);
    }
}

fn is_world_readable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.permissions().mode() & WORLD_READABLE != 0)
}

/// A simulator on this machine has no secrets to keep.
pub(crate) fn is_local(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // A scheme that the URL standard does not know has no addresses, only names.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        }
        None => false,
    }
}
