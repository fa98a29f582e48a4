//! A provider and its tenants: the token of one client, exchanged for one of each tenant (RFC 8693).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::stand::{number_of, records};

const PATIENCE: Duration = Duration::from_secs(90);

/// More than arrive in the time in which a token is not renewed again.
const MANY: usize = 200;

/// Accounts, whose tenants they are of, and what they subscribe to.
const ACCOUNTS: [(&str, Option<&str>, &[&str]); 3] = [
    ("provider", None, &["ap-events"]),
    ("acme", Some("workspace-1"), &["ap-events", "alert-events"]),
    ("globex", Some("workspace-2"), &["ap-events"]),
];
const STREAMS: usize = 4;

fn config(simulator: &Simulator, folder: &Path) -> Config {
    let file = Sink::file(&folder.join("out"));
    let config = Config::in_folder(folder)
        .sink("file", &file)
        .route(&Route::all("file"));
    ACCOUNTS
        .iter()
        .fold(config, |config, (name, tenant, topics)| {
            let mut account = Account::new_central(simulator, topics);
            if let Some(tenant) = tenant {
                account = account.line(format!("tenant = {tenant:?}")).line(format!(
                    "tenant_token_url = {:?}",
                    simulator.tenant_token_url()
                ));
            }
            config.account(name, &account)
        })
}

/// By account and topic, in the order of the file.
fn numbers(folder: &Path) -> BTreeMap<(String, String), Vec<u64>> {
    let mut numbers: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for record in records(&folder.join("out")) {
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let of = numbers.entry((text("account"), text("topic"))).or_default();
        of.push(number_of(&record));
    }
    numbers
}

/// Which streams were entered, and as which tenant.
fn entered(simulator: &Simulator) -> Vec<(Option<String>, String)> {
    let all = simulator.handshakes().into_iter();
    let open = all.filter(|handshake| handshake.status == 101);
    open.map(|handshake| {
        let event = handshake.stream.rsplit('/').next().unwrap().to_owned();
        (handshake.tenant, event)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_is_entered_with_its_own_token_and_the_provider_asks_once() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&simulator, folder.path()).write(folder.path());
    let mut forwarder = Forwarder::run(&config);
    let all_have = |many: usize| {
        let numbers = numbers(folder.path());
        numbers.len() == STREAMS && numbers.values().all(|numbers| numbers.len() >= many)
    };
    eventually(PATIENCE, "all streams arrive", || all_have(MANY));
    let tenant = |name: Option<&str>, event: &str| (name.map(str::to_owned), event.to_owned());
    let expected = BTreeSet::from([
        tenant(None, "ap-events"),
        tenant(Some("workspace-1"), "alert-events"),
        tenant(Some("workspace-1"), "ap-events"),
        tenant(Some("workspace-2"), "ap-events"),
    ]);
    let streams = entered(&simulator);
    assert_eq!(streams.len(), STREAMS);
    assert_eq!(streams.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(simulator.tokens_issued(), 3, "the provider's, and two");

    // All tokens end, and then all connections: the provider's token is renewed once, and exchanged.
    simulator.expire_credentials();
    simulator.drop_connections();
    eventually(PATIENCE, "all are back", || {
        entered(&simulator).len() == 2 * STREAMS
    });
    let streams = entered(&simulator).split_off(STREAMS);
    assert_eq!(streams.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(simulator.tokens_issued(), 6);
    eventually(PATIENCE, "they go on", || all_have(2 * MANY));
    for (of, numbers) in numbers(folder.path()) {
        let all: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, all, "{of:?}");
    }
    forwarder.terminate();
    assert!(forwarder.wait(PATIENCE).success());
    simulator.stop().await;
}
