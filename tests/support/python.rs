//! Python programs with packages from the package index.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use crate::brokers::{note, repository};

/// A virtual environment under `target/`, made once and kept.
pub struct Python(PathBuf);

impl Python {
    /// With these packages. `None`: they cannot be had here, and the test that wants them says that
    /// it is skipped.
    pub fn with(name: &str, packages: &[&str]) -> Option<Self> {
        // Two tests of one program may want the same.
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock();
        let folder = repository().join("target").join(name);
        let python = Self(folder.join("bin/python"));
        if python.has(packages) {
            return Some(python);
        }
        let made = run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))
            && run(Command::new(&python.0)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(packages))
            && std::fs::write(python.list(), packages.join("\n")).is_ok();
        if !made {
            note(&format!(
                "skipped: {} cannot be had",
                packages.join(" and ")
            ));
            return None;
        }
        Some(python)
    }

    /// Whether all of them were installed to the end.
    fn has(&self, packages: &[&str]) -> bool {
        std::fs::read_to_string(self.list()).is_ok_and(|list| list == packages.join("\n"))
    }

    fn list(&self) -> PathBuf {
        self.0.with_file_name("packages")
    }

    /// A script of `tests/support`, not started yet.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        command
            .arg(repository().join("tests/support").join(name))
            .stdin(Stdio::null());
        command
    }
}

/// The lines that a command has printed.
///
/// # Panics
/// It failed; what it said on standard error is shown.
pub fn lines(command: &mut Command) -> Vec<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command can be run");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {said}");
    let text = String::from_utf8(stdout).expect("the output is text");
    text.lines().map(str::to_owned).collect()
}

fn run(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a test may write a file for a script.
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder can be written to");
    path
}
