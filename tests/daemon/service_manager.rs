//! What the service manager is told, and when: against a stand-in for systemd's socket.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use tempfile::TempDir;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;

const A_WHILE: Duration = Duration::from_secs(60);

/// Longer than the test: a drain that ends before was cut short.
const LONG: &str = "10m";

/// The socket that systemd listens on, and what was said on it.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
    said: RefCell<Vec<String>>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            folder,
            socket,
            said: RefCell::default(),
        }
    }

    /// Starts the forwarder as systemd would.
    fn start(&self, config: &Config) -> Forwarder {
        let file = config.write(self.folder.path());
        let socket = self.folder.path().join("notify");
        Forwarder::run_with(
            &file,
            &[
                ("NOTIFY_SOCKET", socket.to_str().unwrap()),
                ("WATCHDOG_USEC", "300000"),
            ],
        )
    }

    /// All that was said so far, a message each.
    fn said(&self) -> Vec<String> {
        let mut said = self.said.borrow_mut();
        let mut message = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut message) {
            said.push(String::from_utf8(message[..len].to_vec()).unwrap());
        }
        said.clone()
    }

    /// How many messages have a line that begins so.
    fn count(&self, line: &str) -> usize {
        let has = |message: &&String| message.lines().any(|said| said.starts_with(line));
        self.said().iter().filter(has).count()
    }

    fn wait_for(&self, line: &str, times: usize, forwarder: &mut Forwarder) {
        eventually(A_WHILE, line, || {
            assert!(forwarder.is_running(), "{}", forwarder.stderr());
            self.count(line) >= times
        });
    }
}

fn config(folder: &Path, endpoint: &str) -> Config {
    Config::in_folder(folder)
        .account("acme", &Account::classic(endpoint, &["monitoring"]))
        .sink("iot", &Sink::mqtt("mqtt://127.0.0.1:1"))
        .route(&Route::all("iot").destination("central/{topic}"))
}

#[test]
fn it_is_ready_although_nobody_is_there_and_says_what_it_does() {
    let manager = Manager::new();
    let nobody = "ws://127.0.0.1:1/streaming/api";
    let config = config(manager.folder.path(), nobody);
    let mut forwarder = manager.start(&config);
    manager.wait_for("READY=1", 1, &mut forwarder);
    let status = "STATUS=0 of 1 subscriptions connected; all is delivered";
    assert!(manager.count(status) > 0, "{:?}", manager.said());
    manager.wait_for("WATCHDOG=1", 3, &mut forwarder);

    forwarder.signal("HUP");
    manager.wait_for("READY=1", 2, &mut forwarder);
    let said = manager.said();
    let reloading = said.iter().position(|said| said.contains("RELOADING=1"));
    let reloading = reloading.expect("it says that it reloads");
    let ready = said.iter().rposition(|said| said.contains("READY=1"));
    assert!(Some(reloading) < ready, "{said:?}");
    let since = said[reloading]
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)));

    fs::write(manager.folder.path().join("config.toml"), "nonsense").unwrap();
    forwarder.signal("HUP");
    manager.wait_for("READY=1", 3, &mut forwarder);
    let failed = "the last reload failed, the config before it is in effect";
    assert!(manager.said().last().unwrap().contains(failed));

    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));
    assert_eq!(manager.count("STOPPING=1"), 1);
    assert!(!manager.said().concat().contains("simulated-key"));
}

#[cfg(target_os = "linux")]
#[test]
fn its_threads_do_not_interrupt_each_other() {
    // The kernel's number for it, and where `stat` has it, counted from behind the name.
    const SCHED_BATCH: &str = "3";
    const POLICY: usize = 38;
    let manager = Manager::new();
    let config = config(manager.folder.path(), "ws://127.0.0.1:1/streaming/api");
    let mut forwarder = manager.start(&config);
    manager.wait_for("READY=1", 1, &mut forwarder);
    let threads = fs::read_dir(format!("/proc/{}/task", forwarder.pid())).unwrap();
    let policies: Vec<String> = threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok())
        .map(|stat| {
            let (_, behind) = stat.rsplit_once(") ").unwrap();
            behind.split(' ').nth(POLICY).unwrap().to_owned()
        })
        .collect();
    assert!(policies.len() > 1, "{policies:?}");
    assert!(
        policies.iter().all(|policy| policy == SCHED_BATCH),
        "{policies:?}"
    );
}

#[test]
fn it_is_not_ready_before_the_first_try_is_over() {
    let manager = Manager::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("ws://{}/streaming/api", listener.local_addr().unwrap());
    let mut forwarder = manager.start(&config(manager.folder.path(), &endpoint));
    // The handshake has come, and is not answered.
    let (mut connection, _) = listener.accept().unwrap();
    connection.read_exact(&mut [0; 16]).unwrap();
    forwarder.wait_for_stderr(A_WHILE, "mqtt");
    manager.wait_for("WATCHDOG=1", 3, &mut forwarder);
    assert_eq!(manager.count("READY=1"), 0, "{:?}", manager.said());
    drop((connection, listener));
    manager.wait_for("READY=1", 1, &mut forwarder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once_and_what_is_unsent_stays_in_the_journal() {
    let simulator = Simulator::start(Options {
        count: Some(500),
        rate: 0,
        ..Options::default()
    })
    .await
    .unwrap();
    let manager = Manager::new();
    let config = config(manager.folder.path(), &simulator.endpoint())
        .line(format!("shutdown_timeout = \"{LONG}\""));
    let mut forwarder = manager.start(&config);
    let status = "STATUS=1 of 1 subscriptions connected; sink iot is 500 frames behind";
    manager.wait_for(status, 1, &mut forwarder);
    forwarder.terminate();
    manager.wait_for("STOPPING=1", 1, &mut forwarder);
    assert!(forwarder.is_running());

    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));
    let said = forwarder.stderr();
    assert!(said.contains("left_in_journal=500"), "{said}");
    simulator.stop().await;
}

#[test]
fn a_state_dir_that_cannot_be_used_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state"), "a file in its place").unwrap();
    let nobody = "ws://127.0.0.1:1/streaming/api";
    let config = config(folder.path(), nobody).write(folder.path());
    let mut forwarder = Forwarder::run(&config);
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(2));
    let said = forwarder.stderr();
    let state = folder.path().join("state");
    assert!(
        said.contains(&format!("state_dir {}: ", state.display())),
        "{said}"
    );
}

#[test]
fn check_run_and_reload_give_the_same_verdict_on_what_only_shows_when_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let arguments = |command| [command, "-c", file.to_str().unwrap()];
    let nobody = "wss://127.0.0.1:1/streaming/api";
    let good = config(folder.path(), nobody).text();
    fs::write(&file, &good).unwrap();
    let mut running = Forwarder::start(&arguments("run"));
    running.wait_for_stderr(A_WHILE, "ready: ");

    let authority = folder.path().join("ca.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n";
    fs::write(&authority, pem).unwrap();
    let tls = format!("tls = {{ ca_file = \"{}\" }}", authority.display());
    let topics = "topics = [\"monitoring\"]";
    fs::write(&file, good.replacen(topics, &format!("{topics}\n{tls}"), 1)).unwrap();

    for command in ["check", "run"] {
        let other = folder.path().join("other-state");
        let state = [("CENTRAL_FORWARDER__STATE_DIR", other.to_str().unwrap())];
        let mut process = Forwarder::start_with(&arguments(command), &state);
        assert_eq!(process.wait(A_WHILE).code(), Some(2), "{command}");
        assert!(
            process.stderr().contains("account acme: "),
            "{}",
            process.stderr()
        );
    }
    running.signal("HUP");
    running.wait_for_stderr(
        A_WHILE,
        "not reloaded, and nothing has changed: account acme: ",
    );
    assert!(running.is_running());
}
