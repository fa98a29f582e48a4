//! The admin endpoint as an operator, a monitoring system and an attacker meet it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use central_forwarder::admin::families::FAMILIES;
use central_forwarder::admin::metrics;
use central_forwarder::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::http::{Answer, ask, post_json, send};

const A_WHILE: Duration = Duration::from_secs(30);
const KEY: &str = "simulated-key";
const TOKEN: &str = "s3cret-token-0123456789";

/// A forwarder with an account of two topics and a file for a sink.
struct Stand {
    folder: TempDir,
    forwarder: Forwarder,
    at: SocketAddr,
}

impl Stand {
    fn start(central: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Self::config(folder.path(), central).write(folder.path());
        let mut forwarder = Forwarder::run(&config);
        Self {
            at: forwarder.admin(A_WHILE),
            folder,
            forwarder,
        }
    }

    fn config(folder: &Path, central: SocketAddr) -> Config {
        let endpoint = format!("ws://{central}/streaming/api");
        Config::in_folder(folder)
            .admin(&format!("token = \"{TOKEN}\""))
            .account("acme", &Account::classic(&endpoint, &["audit", "security"]))
            .sink("out", &Sink::file(&folder.join("out.ndjson")))
            .route(&Route::all("out"))
    }

    fn get(&self, path: &str) -> Answer {
        ask(self.at, "GET", path, &[])
    }

    fn status(&self) -> Value {
        self.get("/api/status").json()
    }

    fn until_ready(&self) {
        eventually(A_WHILE, "it is ready", || self.get("/readyz").code == 200);
    }
}

async fn simulator(listen: SocketAddr) -> Simulator {
    let options = Options {
        listen,
        rate: 20,
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

/// A port that nobody listens on.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn address(simulator: &Simulator) -> SocketAddr {
    let endpoint = simulator.endpoint();
    let rest = endpoint.strip_prefix("ws://").unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_at_once_and_ready_when_everything_is_connected() {
    let central = closed_port();
    let stand = Stand::start(central);
    let alive = stand.get("/healthz");
    assert_eq!((alive.code, alive.body.as_str()), (200, "ok\n"));

    eventually(A_WHILE, "it says why it is not ready", || {
        stand.get("/readyz").body.contains("waiting to retry")
    });
    let waiting = stand.get("/readyz");
    assert_eq!(waiting.code, 503, "{}", waiting.body);
    let said = waiting.json();
    assert_eq!(said["ready"], false);
    let named: Vec<_> = said["not_ready"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["what"].as_str().unwrap(), it["name"].as_str().unwrap()))
        .filter(|(what, _)| *what == "subscription")
        .collect();
    assert_eq!(
        named,
        [
            ("subscription", "acme/audit"),
            ("subscription", "acme/security")
        ]
    );

    let simulator = simulator(central).await;
    stand.until_ready();
    assert_eq!(
        stand.get("/readyz").json(),
        json!({ "ready": true, "not_ready": [] })
    );
    simulator.stop().await;
    eventually(A_WHILE, "it is not ready any more", || {
        stand.get("/readyz").code == 503
    });
    assert_eq!(stand.get("/healthz").code, 200);

    let again = self::simulator(central).await;
    stand.until_ready();
    let series = "central_forwarder_subscription_gaps_total{account=\"acme\",topic=\"audit\"}";
    eventually(A_WHILE, "the gap is counted", || {
        sample(&stand.get("/metrics").body, series) >= 1.0
    });
    let status = stand.status();
    let told = status["gaps"].as_array().unwrap();
    assert!(
        told.iter().any(|gap| gap["what"] == "acme/audit"),
        "{told:?}"
    );
    assert!(
        status["last_day"]["gaps"].as_u64().unwrap() >= 1,
        "{status}"
    );
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_the_table_and_hold_no_secret() {
    let simulator = simulator(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let stand = Stand::start(address(&simulator));
    stand.until_ready();
    let frames = "central_forwarder_subscription_frames_total{account=\"acme\",topic=\"audit\"}";
    eventually(A_WHILE, "frames are counted", || {
        sample(&stand.get("/metrics").body, frames) >= 20.0
    });
    let answer = stand.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for family in FAMILIES {
        let name = family.full_name();
        assert!(answer.body.contains(&format!("# HELP {name} ")), "{name}");
        assert!(answer.body.contains(&format!("# TYPE {name} ")), "{name}");
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
    }
    for line in answer.body.lines() {
        let name = line
            .trim_start_matches("# HELP ")
            .trim_start_matches("# TYPE ");
        assert!(name.starts_with("central_forwarder_"), "{line}");
    }
    let connected = "central_forwarder_subscription_connected{account=\"acme\",topic=\"audit\"}";
    assert!((sample(&answer.body, connected) - 1.0).abs() < f64::EPSILON);
    promtool_is_content(&answer.body);

    for path in ["/metrics", "/api/status", "/readyz", "/"] {
        let body = stand.get(path).body;
        assert!(!body.contains(KEY) && !body.contains(TOKEN), "{path}");
    }
    assert!(!stand.forwarder.stderr().contains(TOKEN));
    simulator.stop().await;
}

/// The value of the one sample of this name and these labels.
fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series));
    let value = line.and_then(|line| line.rsplit_once(' '));
    value.map_or(0.0, |(_, value)| value.parse().unwrap())
}

/// Prometheus' own check of names, helps and units; `scripts/test` installs it.
fn promtool_is_content(metrics: &str) {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else {
        support::brokers::note("ran without promtool (Debian's package prometheus)");
        return;
    };
    let mut input = check.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let done = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, metrics::document()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert_eq!(
        written,
        metrics::document(),
        "run: UPDATE_DOCS=1 cargo test --test daemon the_page_is"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_asked_for_and_answered() {
    let simulator = simulator(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let stand = Stand::start(address(&simulator));
    let file = stand.folder.path().join("config.toml");
    let good = fs::read_to_string(&file).unwrap();

    let reloaded = ask(stand.at, "POST", "/api/reload", &[]);
    assert_eq!(reloaded.code, 200, "{}", reloaded.body);
    assert_eq!(stand.status()["config"]["generation"], 2);

    fs::write(
        &file,
        good.replace("[sinks.out]", "[sinks.out]\ncolour = 1"),
    )
    .unwrap();
    let refused = ask(stand.at, "POST", "/api/reload", &[]);
    assert_eq!(refused.code, 422, "{}", refused.body);
    let mistake = refused.json()["mistakes"][0].as_str().unwrap().to_owned();
    assert!(
        mistake.contains("sinks.out.colour: unknown key"),
        "{mistake}"
    );
    let config = stand.status()["config"].clone();
    assert_eq!(config["generation"], 2);
    assert_eq!(config["last_reload"]["succeeded"], false);
    assert_eq!(config["last_reload"]["remarks"], json!([mistake]));
    let metrics = stand.get("/metrics").body;
    let success = sample(&metrics, "central_forwarder_config_last_reload_success");
    assert!(success.abs() < f64::EPSILON);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_sent_again_what_is_in_the_journal() {
    let simulator = simulator(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let stand = Stand::start(address(&simulator));
    let file = stand.folder.path().join("out.ndjson");
    let lines = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    eventually(A_WHILE, "records arrive", || lines().len() > 3);
    let first = lines()[0].clone();

    for (body, why) in [
        (json!({ "sink": "lake", "to": 0 }), "there is no sink lake"),
        (
            json!({ "sink": "out", "to": "tomorrow" }),
            "to: neither an offset nor a time",
        ),
        (
            json!({ "sink": "out", "to": 1_000_000 }),
            "the journal holds the offsets 0 to",
        ),
        (json!({ "sink": "out" }), "missing field `to`"),
    ] {
        let refused = post_json(stand.at, "/api/rewind", &body);
        assert_eq!(refused.code, 422, "{body}");
        assert!(refused.body.contains(why), "{body}: {}", refused.body);
    }
    assert_eq!(lines().iter().filter(|line| **line == first).count(), 1);

    let rewound = post_json(stand.at, "/api/rewind", &json!({ "sink": "out", "to": 0 }));
    assert_eq!(
        (rewound.code, rewound.json()),
        (200, json!({ "offset": 0 }))
    );
    eventually(A_WHILE, "the first record arrives again", || {
        lines().iter().filter(|line| **line == first).count() == 2
    });
    let long_ago = json!({ "sink": "out", "to": "2020-01-01T00:00:00Z" });
    let rewound = post_json(stand.at, "/api/rewind", &long_ago);
    assert_eq!(rewound.json(), json!({ "offset": 0 }), "{}", rewound.body);
    eventually(A_WHILE, "and once more", || {
        lines().iter().filter(|line| **line == first).count() == 3
    });
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_somebody_elses_gets_nothing_done() {
    let stand = Stand::start(closed_port());
    for headers in [
        &[("Origin", "http://evil.example")][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Host", "evil.example")],
        &[("Host", "evil.example"), ("Origin", "http://evil.example")],
        &[("X-Forwarded-For", "192.0.2.1")],
        &[
            ("X-Forwarded-For", "192.0.2.1"),
            ("Authorization", "Bearer no"),
        ],
    ] {
        let answer = ask(stand.at, "POST", "/api/reload", headers);
        assert!(
            matches!(answer.code, 401 | 403),
            "{headers:?}: {}",
            answer.code
        );
    }
    let rebound = ask(stand.at, "GET", "/api/status", &[("Host", "evil.example")]);
    assert_eq!(rebound.code, 403);
    assert_eq!(stand.status()["config"]["generation"], 1);

    let bearer = format!("Bearer {TOKEN}");
    let behind_a_proxy = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("Host", "status.example"),
        ("Authorization", bearer.as_str()),
    ];
    assert_eq!(
        ask(stand.at, "POST", "/api/reload", &behind_a_proxy).code,
        200
    );
    assert_eq!(ask(stand.at, "GET", "/api/reload", &[]).code, 405);
    assert_eq!(ask(stand.at, "POST", "/metrics", &[]).code, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_be_careful() {
    let stand = Stand::start(closed_port());
    for (path, code) in [
        ("/", 200),
        ("/page.js", 200),
        ("/page.css", 200),
        ("/icon.svg", 200),
        ("/metrics", 200),
        ("/api/status", 200),
        ("/no/such/path", 404),
        ("/../etc/passwd", 404),
    ] {
        let answer = stand.get(path);
        assert_eq!(answer.code, code, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let page = stand.get("/").body;
    let foreign = page.matches("//").count() - page.matches("http-equiv").count();
    assert_eq!(foreign, 0, "the page asks nobody else: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_connections_are_bounded() {
    let stand = Stand::start(closed_port());
    let long = "x".repeat(32 << 10);
    let answer = ask(stand.at, "GET", "/healthz", &[("X-Long", &long)]);
    assert_eq!(answer.code, 431);

    // Open, and silent.
    let silent: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(stand.at).unwrap())
        .collect();
    eventually(A_WHILE, "one connection more is closed", || {
        let mut more = TcpStream::connect(stand.at).unwrap();
        more.set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        matches!(more.read(&mut [0]), Ok(0))
            || more
                .read(&mut [0])
                .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    });
    drop(silent);
    eventually(A_WHILE, "there is room again", || {
        let mut stream = TcpStream::connect(stand.at).unwrap();
        let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        let mut answer = String::new();
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_told_what_changes_and_there_are_not_too_many() {
    let simulator = simulator(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let stand = Stand::start(address(&simulator));
    stand.until_ready();
    let mut watchers: Vec<_> = (0..16)
        .map(|_| BufReader::new(send(stand.at, "GET", "/api/events", &[])))
        .collect();
    for watcher in &mut watchers {
        let (event, status) = next_event(watcher);
        assert_eq!(event, "status");
        assert_eq!(status["subscriptions"].as_array().unwrap().len(), 2);
    }
    let first = &mut watchers[0];
    let mut frames = Vec::new();
    while frames.len() < 2 {
        let (event, status) = next_event(first);
        assert_eq!(event, "changes");
        let subscriptions = status["subscriptions"].as_array().unwrap();
        let audit = subscriptions.iter().find(|it| it["topic"] == "audit");
        frames.extend(audit.map(|it| it["frames"].as_u64().unwrap()));
    }
    assert!(frames[0] < frames[1], "{frames:?}");

    let one_more = ask(stand.at, "GET", "/api/events", &[]);
    assert_eq!(one_more.code, 503);
    assert_eq!(one_more.header("retry-after"), Some("10"));
    drop(watchers);
    eventually(A_WHILE, "a seat is free again", || {
        let mut watcher = BufReader::new(send(stand.at, "GET", "/api/events", &[]));
        let mut line = String::new();
        watcher.read_line(&mut line).unwrap();
        line.contains("200 OK")
    });
    simulator.stop().await;
}

/// The next event's name and data; comments and heads are passed over.
fn next_event(stream: &mut BufReader<TcpStream>) -> (String, Value) {
    let mut name = String::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "it has ended");
        if let Some(event) = line.strip_prefix("event: ") {
            event.trim().clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(data.trim()).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_healthcheck_says_by_its_exit_whether_the_daemon_answers() {
    let stand = Stand::start(closed_port());
    let address = stand.at.to_string();
    let check = |address: &str, variable: Option<&str>| {
        let mut command = Command::new(support::program());
        command.arg("healthcheck");
        match variable {
            Some(name) => command.env(name, address),
            None => command.args(["--address", address]),
        };
        command.output().unwrap().status.code()
    };
    assert_eq!(check(&address, None), Some(0));
    let variable = Some("CENTRAL_FORWARDER__ADMIN__LISTEN");
    assert_eq!(
        check(&format!("0.0.0.0:{}", stand.at.port()), variable),
        Some(0)
    );
    assert_eq!(check("somewhere", variable), Some(2));
    assert_eq!(check(&closed_port().to_string(), None), Some(1));
}

#[test]
fn an_address_that_is_taken_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Stand::config(folder.path(), closed_port()).text();
    let config = config.replace("127.0.0.1:0", &address);
    let path = folder.path().join("config.toml");
    fs::write(&path, config).unwrap();
    let mut forwarder = Forwarder::run(&path);
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(2));
    let said = forwarder.stderr();
    let expected = format!("the admin endpoint cannot listen on {address}: ");
    assert!(said.contains(&expected), "{said}");
}
