//! The dashboard against a real Prometheus that reads a real forwarder: each panel shows something.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use serde_json::Value;
use tempfile::TempDir;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::http::ask;

const A_WHILE: Duration = Duration::from_secs(60);

/// What is empty while all is well.
const EMPTY_WHILE_WELL: [&str; 7] = [
    "== 1",
    "_failures_total",
    "_max_bytes",
    "_refused_records_total",
    "_retries_total",
    "_last_reload_success",
    "credential_",
];

/// Debian's, which reads the forwarder each second.
struct Prometheus {
    process: Child,
    at: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// `None` where it cannot be had.
    fn start(forwarder: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: central-forwarder\n    \
             static_configs: [{{ targets: [\"{forwarder}\"] }}]\n"
        );
        fs::write(&config, text).unwrap();
        let at = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={at}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = process.ok()?;
        Some(Self {
            process,
            at,
            folder,
        })
    }

    /// The result of an instant query, or what is wrong with it.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = ask(self.at, "GET", &format!("/api/v1/query?query={query}"), &[]);
        let answer: Value = serde_json::from_str(&answer.body).map_err(|_| answer.body.clone())?;
        match answer["data"]["result"].as_array() {
            Some(result) => Ok(result.clone()),
            None => Err(answer["error"].to_string()),
        }
    }

    fn is_up(&self) -> bool {
        let listens = std::net::TcpStream::connect(self.at).is_ok();
        listens && self.query("up == 1").is_ok_and(|result| !result.is_empty())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = &self.folder;
    }
}

/// Each panel's title and query, with Grafana's variables replaced as Grafana does.
fn queries() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/central-forwarder.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = ["$instance", "$account", "$sink"]
                .iter()
                .fold(expression.to_owned(), |text, variable| {
                    text.replace(variable, ".*")
                })
                .replace("$__rate_interval", "10s");
            assert!(!expression.contains('$'), "{expression}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_something() {
    let options = Options {
        rate: 20,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let account = Account::classic(&simulator.endpoint(), &["audit", "security"]);
    let config = Config::in_folder(folder.path())
        .admin("")
        .account("acme", &account)
        .sink("out", &Sink::file(&folder.path().join("out")))
        .route(&Route::all("out"))
        .write(folder.path());
    let mut forwarder = Forwarder::run(&config);
    let Some(prometheus) = Prometheus::start(forwarder.admin(A_WHILE)) else {
        support::brokers::note("skipped: there is no prometheus (Debian's package)");
        return;
    };
    eventually(A_WHILE, "Prometheus reads the forwarder", || {
        prometheus.is_up()
    });

    let queries = queries();
    assert!(queries.len() > 25, "{}", queries.len());
    for (panel, query) in queries {
        let may_be_empty = EMPTY_WHILE_WELL.iter().any(|part| query.contains(part));
        eventually(
            A_WHILE,
            &format!("{panel} shows something: {query}"),
            || {
                let result = prometheus.query(&query);
                let result = result.unwrap_or_else(|error| panic!("{panel}: {query}: {error}"));
                may_be_empty || !result.is_empty()
            },
        );
    }
    simulator.stop().await;
}
