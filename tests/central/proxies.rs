//! The way out through a company's proxy, which the environment names: streams, tokens and keys.

use std::fs;
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use tempfile::TempDir;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::stand::records;
use support::tunnel::Tunnels;

const PATIENCE: Duration = Duration::from_secs(90);

/// A simulator that speaks TLS, and a forwarder with an account of each generation.
struct Stand {
    simulator: Simulator,
    folder: TempDir,
    forwarder: Forwarder,
}

impl Stand {
    async fn new(environment: &[(&str, &str)]) -> Self {
        let simulator = Simulator::start(Options {
            tls: true,
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = config(&simulator, folder.path()).write(folder.path());
        let forwarder = Forwarder::run_with(&config, environment);
        Self {
            simulator,
            folder,
            forwarder,
        }
    }

    fn records(&self, account: &str) -> usize {
        let records = records(&self.folder.path().join("out"));
        let its = records.iter().filter(|record| record["account"] == account);
        its.count()
    }

    fn both_arrive(&self) {
        let before = [self.records("acme"), self.records("globex")];
        eventually(PATIENCE, "records of both accounts arrive", || {
            self.records("acme") > before[0] && self.records("globex") > before[1]
        });
    }

    async fn end(mut self) -> String {
        self.forwarder.terminate();
        assert!(self.forwarder.wait(PATIENCE).success());
        self.simulator.stop().await;
        self.forwarder.stdout() + &self.forwarder.stderr()
    }
}

fn config(simulator: &Simulator, folder: &Path) -> Config {
    let authority = folder.join("ca.pem");
    fs::write(&authority, simulator.certificate().unwrap()).unwrap();
    let tls = format!("tls = {{ ca_file = \"{}\" }}", authority.display());
    let classic = Account::classic(&simulator.endpoint(), &["audit"]);
    let new = Account::new_central(simulator, &["ap-events"]);
    Config::in_memory()
        .account("acme", &classic.line(&tls))
        .account("globex", &new.line(&tls))
        .sink("file", &Sink::file(&folder.join("out")))
        .route(&Route::all("file"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_goes_to_central_goes_through_the_proxy_of_the_environment() {
    let tunnels = Tunnels::start().await;
    let proxy = tunnels.url();
    let stand = Stand::new(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", "elsewhere.example")]).await;
    stand.both_arrive();
    // Central asks for another key: it is had through the proxy too.
    stand.simulator.expire_credentials();
    let handshakes = || {
        let all = stand.simulator.handshakes();
        let statuses = all.iter().map(|handshake| handshake.status);
        statuses.collect::<Vec<_>>()
    };
    eventually(PATIENCE, "the renewed key opens", || {
        handshakes().iter().filter(|status| **status == 101).count() == 3
    });
    stand.both_arrive();
    assert!(handshakes().contains(&401));
    let calls = handshakes().len() as u64 + stand.simulator.tokens_issued();
    let opened = tunnels.opened();
    assert_eq!(opened.len() as u64, calls + 1, "and one for the key");
    let simulator = stand.simulator.addr().to_string();
    assert!(opened.iter().all(|target| *target == simulator));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_proxy_names_is_reached_directly() {
    let tunnels = Tunnels::start().await;
    let proxy = tunnels.url();
    for no_proxy in ["127.0.0.1", "other.example, 127.0.0.0/8"] {
        let stand = Stand::new(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", no_proxy)]).await;
        stand.both_arrive();
        assert!(tunnels.opened().is_empty(), "{no_proxy}");
        stand.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named_with_what_to_write() {
    let tunnels = Tunnels::start().await;
    let proxy = tunnels.url_for("ops:s3cret-wrong");
    let mut stand = Stand::new(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", "")]).await;
    for subscription in ["acme/audit", "globex/ap-events"] {
        eventually(PATIENCE, "the refusal is in the log", || {
            let log = stand.forwarder.stderr();
            let mut lines = log.lines();
            lines.any(|line| {
                line.contains(subscription)
                    && line.contains("407")
                    && line.contains("write proxy = ")
            })
        });
    }
    assert!(stand.forwarder.is_running());
    let said = stand.end().await;
    assert!(!said.contains("s3cret-wrong"));
}
