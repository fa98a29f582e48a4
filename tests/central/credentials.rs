//! Keys and tokens that end, of both generations, against the simulator.

use std::collections::BTreeSet;
use std::time::Duration;

use central_forwarder::central::subscription::StopMode;
use central_forwarder::central::{Cause, Error, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Access, Account, Proxy, Tls, Topic};
use central_forwarder::simulator::{Options, Simulator, sequence_of_frame};
use tokio::time::timeout;

use support::inbox::Inbox;
use support::subscribe::{PATIENCE, Running, settings};
use support::tunnel::Tunnels;

use crate::tokens::{central, classic, new_central};

#[tokio::test]
async fn an_expired_key_is_renewed_kept_and_used_at_the_next_start() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let account = classic(&simulator.endpoint(), "simulated-key");
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::new();
    let audit = || Topic::classic("audit");
    let first = central(Some(folder.path()), &settings());
    let running = Running::start(&first, &account, audit(), &inbox);
    running.connected().await;
    simulator.expire_credentials();
    running.failed_once().await;
    running.connected().await;
    running.stop().await;
    let refused = simulator
        .handshakes()
        .iter()
        .filter(|one| one.status == 401)
        .count();
    assert_eq!(refused, 1);

    let again = central(Some(folder.path()), &settings());
    let running = Running::start(&again, &account, audit(), &inbox);
    running.connected().await;
    running.stop().await;
    let refused = simulator
        .handshakes()
        .iter()
        .filter(|one| one.status == 401)
        .count();
    assert_eq!(refused, 1, "the kept key opens at once");
    simulator.stop().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_renewed_is_said() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let account = classic(&simulator.endpoint(), "wrong-s3cret");
    let inbox = Inbox::new();
    let central = central(None, &settings());
    let running = Running::start(&central, &account, Topic::classic("audit"), &inbox);
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(
        why.contains("401") && why.contains("does not renew this key"),
        "{why}"
    );
    let credential = running.handle.credential();
    assert!(
        matches!(credential.failure, Some(Error::Refused { .. })),
        "{credential:?}"
    );
    assert!(!format!("{credential:?} {:?}", running.handle).contains("wrong-s3cret"));
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn ten_lifetimes_of_a_key_pass_without_a_missing_frame() {
    const LIFETIME: Duration = Duration::from_secs(1);
    let simulator = Simulator::start(Options {
        key_lifetime: Some(LIFETIME),
        rate: 200,
        ..Options::default()
    })
    .await
    .unwrap();
    let settings = Settings {
        key_lifetime: LIFETIME,
        overlap: Duration::from_millis(50),
        ..settings()
    };
    let account = classic(&simulator.endpoint(), simulator.key().expose());
    let mut inbox = Inbox::new();
    let central = central(None, &settings);
    let running = Running::start(&central, &account, Topic::classic("audit"), &inbox);
    let mut keys = BTreeSet::new();
    let mut expected = 0;
    while keys.len() <= 10 {
        expected += 1;
        let number = sequence_of_frame(&inbox.next().await.payload).unwrap();
        assert_eq!(number, expected);
        if expected % 20 == 0 {
            keys.insert(simulator.key().expose().to_owned());
        }
    }
    assert!(running.handle.counts().connections > 10);
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn all_events_of_new_central_arrive_once_over_ends_of_tokens_and_connections() {
    const FRAMES: u64 = 300;
    let simulator = Simulator::start(Options {
        token_lifetime: Duration::from_secs(1),
        rate: 300,
        count: Some(FRAMES),
        ..Options::default()
    })
    .await
    .unwrap();
    let account = new_central(&simulator);
    let folder = tempfile::tempdir().unwrap();
    for topic in &account.topics {
        let mut inbox = Inbox::new();
        let central = central(Some(folder.path()), &settings());
        let mut running = Running::start(&central, &account, topic.clone(), &inbox);
        for expected in 1..=FRAMES {
            let frame = inbox.next().await;
            assert_eq!(frame.subscription.stream(), &topic.stream);
            assert_eq!(
                sequence_of_frame(&frame.payload),
                Some(expected),
                "{topic:?}"
            );
            match expected {
                50 => simulator.drop_connections(),
                100 => simulator.expire_credentials(),
                150 => {
                    // The next start is the same subscriber: Central has kept its events.
                    running.stop().await;
                    running = Running::start(&central, &account, topic.clone(), &inbox);
                }
                _ => {}
            }
        }
        running.leave(StopMode::Unsubscribe).await;
        assert_eq!(inbox.gaps(), 0);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_wrong_client_secret_is_said_and_not_shown() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut account = new_central(&simulator);
    let Access::New(access) = &mut account.access else {
        unreachable!("it was just made")
    };
    access.client_secret = Secret::literal("wrong-s3cret");
    let inbox = Inbox::new();
    let topic = account.topics.first().unwrap().clone();
    let central = central(None, &settings());
    let running = Running::start(&central, &account, topic, &inbox);
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(
        why.contains("client id and secret") && !why.contains("wrong-s3cret"),
        "{why}"
    );
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_token_is_not_asked_of_a_server_that_is_not_trusted() {
    let simulator = Simulator::start(Options {
        tls: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let account = new_central(&simulator);
    let inbox = Inbox::new();
    let topic = account.topics.first().unwrap().clone();
    let central = central(None, &settings());
    let running = Running::start(&central, &account, topic, &inbox);
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(
        why.contains("is not trusted") && why.contains("tls.ca_file"),
        "{why}"
    );
    assert_eq!(simulator.tokens_issued(), 0);
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn streams_and_tokens_go_through_a_proxy_with_credentials() {
    let simulator = Simulator::start(Options {
        tls: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let tunnels = Tunnels::start().await;
    let with = |user: &str| Account {
        tls: Tls {
            ca_file: None,
            insecure: true,
        },
        proxy: Proxy::Url(Secret::literal(tunnels.url_for(user))),
        ..new_central(&simulator)
    };
    let mut inbox = Inbox::new();
    let central = central(None, &settings());
    let account = with("ops:s3cret-pw");
    let topic = account.topics.first().unwrap();
    let running = Running::start(&central, &account, topic.clone(), &inbox);
    inbox.next().await;
    let target = simulator.addr().to_string();
    assert_eq!(
        tunnels.opened(),
        [target.clone(), target],
        "one for the token, one for the stream"
    );
    running.stop().await;

    let wrong = with("ops:wr0ng");
    let by_key = Account {
        tls: wrong.tls.clone(),
        proxy: wrong.proxy.clone(),
        ..classic(&simulator.endpoint(), "simulated-key")
    };
    for (account, topic) in [(wrong, topic.clone()), (by_key, Topic::classic("audit"))] {
        let running = Running::start(&central, &account, topic, &inbox);
        let why = running.failed(Cause::Refused).await.to_string();
        assert!(
            why.contains("407") && why.contains("write proxy = "),
            "{why}"
        );
        assert!(!format!("{why} {:?}", running.handle).contains("wr0ng"));
        running.stop().await;
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_thousand_subscriptions_come_back_spread_over_time() {
    const ALL: usize = 1000;
    let options = Options {
        rate: 1,
        ..Options::default()
    };
    let simulator = Simulator::start(options.clone()).await.unwrap();
    let addr = simulator.addr();
    let account = classic(&simulator.endpoint(), "simulated-key");
    let inbox = Inbox::new();
    let central = central(
        None,
        &Settings {
            backoff: Settings::default().backoff,
            spread: Duration::from_millis(2),
            ..settings()
        },
    );
    let start = |_| Running::start(&central, &account, Topic::classic("audit"), &inbox);
    let all: Vec<Running> = (0..ALL).map(start).collect();
    let connected = async {
        for running in &all {
            running.connected().await;
        }
    };
    timeout(PATIENCE, connected).await.unwrap();
    simulator.stop().await;
    let simulator = Simulator::start(Options {
        listen: addr,
        ..options
    })
    .await
    .unwrap();
    for running in &all {
        running.connections(2).await;
    }
    let mut times: Vec<_> = simulator.handshakes().iter().map(|one| one.at).collect();
    times.sort_unstable();
    let half = times[times.len() / 2] - times[0];
    let busiest = times.iter().map(|from| {
        let until = *from + Duration::from_millis(100);
        times
            .iter()
            .filter(|at| (*from..until).contains(*at))
            .count()
    });
    let busiest = busiest.max().unwrap();
    println!("{ALL} came back: half of them within {half:?}, {busiest} in the busiest 100 ms");
    assert!(busiest < ALL / 3, "{busiest} of {ALL} came within 100 ms");
    for running in &all {
        running.handle.stop(StopMode::Pause);
    }
    simulator.stop().await;
}
