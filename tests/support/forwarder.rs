//! The binary as a user runs it: started, signalled, ended, and read.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::http::glance;
use crate::{eventually, kept, program};

/// What it says before the address of its admin endpoint.
const ADMIN: &str = "admin endpoint: http://";

/// A process of our binary, killed when this value goes.
pub struct Forwarder {
    child: Child,
    output: TempDir,
    is_simulator: bool,
}

impl Forwarder {
    /// Starts the binary with these arguments; standard input is closed, its output is kept.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same, with environment variables.
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let output = tempfile::tempdir().expect("a folder for the output");
        let create = |name| File::create(output.path().join(name)).expect("a file for the output");
        let child = Command::new(program())
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .expect("the binary can be run");
        Self {
            child,
            output,
            is_simulator: arguments.first() == Some(&"simulate"),
        }
    }

    /// `run` with this config.
    pub fn run(config: &Path) -> Self {
        Self::run_with(config, &[])
    }

    pub fn run_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let config = config.to_str().expect("a path of text");
        Self::start_with(&["run", "-c", config], environment)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        self.keep_pages();
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for")
    }

    /// SIGTERM, which asks it to drain; see [`Self::wait`].
    pub fn terminate(&self) {
        self.keep_pages();
        self.signal("TERM");
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid().to_string()])
            .status()
            .expect("sh can be run");
        assert!(done.success(), "SIG{name} could not be sent");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It did not end within the time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        eventually(within, "the forwarder ends", || {
            status = self
                .child
                .try_wait()
                .expect("the process can be waited for");
            status.is_some()
        });
        status.expect("eventually returns only when there is one")
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the process can be waited for")
            .is_none()
    }

    /// What it has printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has printed on standard error so far; its log among it.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Waits until standard error has a text.
    ///
    /// # Panics
    /// It was not there within the time, or the process ended before.
    pub fn wait_for_stderr(&mut self, within: Duration, text: &str) {
        eventually(within, &format!("{text:?} on standard error"), || {
            let running = self.is_running();
            let found = self.stderr().contains(text);
            assert!(
                running || found,
                "it ended without {text:?}:\n{}",
                self.stderr()
            );
            found
        });
    }

    /// Where its admin endpoint listens, once it says so.
    pub fn admin(&mut self, within: Duration) -> SocketAddr {
        self.wait_for_stderr(within, ADMIN);
        self.admin_address().expect("IP:PORT")
    }

    fn admin_address(&self) -> Option<SocketAddr> {
        let log = self.stderr();
        let (_, rest) = log.split_once(ADMIN)?;
        rest.split_once('/')?.0.parse().ok()
    }

    /// Keeps what the admin endpoint says, where there is one that answers.
    fn keep_pages(&self) {
        let Some(address) = self.admin_address().filter(|_| kept::is_wanted()) else {
            return;
        };
        for path in ["/metrics", "/api/status", "/readyz"] {
            // It may be stuck, which is what some tests are about.
            if let Some(answer) = glance(address, path) {
                kept::keep(&path.replace('/', "-"), &answer);
            }
        }
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.output.path().join(name);
        String::from_utf8_lossy(&fs::read(path).expect("the output is readable")).into_owned()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A simulator prints its keys, for people to put into a config.
        if !self.is_simulator {
            kept::keep("stdout", &self.stdout());
        }
        kept::keep("stderr", &self.stderr());
    }
}
