//! Keys and tokens that end, of both generations: against the simulator, and a Central of our own
//! where both connections of a replacement must be seen.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use central_forwarder::central::subscription::Leave;
use central_forwarder::central::{Cause, Central, Error, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Access, Account, ClassicAccess, NewAccess, Proxy, Tls, Topic};
use central_forwarder::frame::Stream;
use central_forwarder::simulator::{EVENTS, Options, Simulator, sequence_of_frame};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{interval, timeout};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use support::inbox::Inbox;
use support::subscribe::{PATIENCE, Running, settings};
use support::tunnel::Tunnels;

fn classic(endpoint: &str, key: &str) -> Account {
    let key = Secret::literal(key);
    Account {
        endpoint: endpoint.parse().unwrap(),
        access: Access::Classic(ClassicAccess {
            key,
            username: None,
        }),
        topics: BTreeSet::from([Topic::classic("audit")]),
        tls: Tls::default(),
        proxy: Proxy::None,
        idle_timeout: None,
    }
}

fn new_central(simulator: &Simulator) -> Account {
    let streams = EVENTS.iter().map(|event| {
        let stream = Stream::parse(&format!("new/{event}")).unwrap();
        Topic::all_of(stream)
    });
    Account {
        endpoint: simulator.new_endpoint().parse().unwrap(),
        access: Access::New(Box::new(NewAccess {
            client_id: Secret::literal("simulated-id"),
            client_secret: Secret::literal("simulated-secret"),
            token_url: simulator.token_url().parse().unwrap(),
            tenant_token_url: None,
            subscriber_id: None,
        })),
        topics: streams.collect(),
        ..classic(&simulator.endpoint(), "unused")
    }
}

fn central(state_dir: Option<&Path>, settings: &Settings) -> Arc<Central> {
    Central::new(state_dir, None, *settings)
}

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
        running.leave(Leave::ForGood).await;
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

/// A Classic Central that sends the same frames to all its connections, and has a new key from the
/// first question on.
struct Broadcast {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

const NEW_KEY: &str = "the.new.key";

impl Broadcast {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("ws://{}/streaming/api", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (frames, _) = broadcast::channel(4096);
        let (questions, sender) = (Arc::clone(&asked), frames.clone());
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(2));
            for number in 0_u64.. {
                ticks.tick().await;
                // Nobody may be there yet.
                let _ = sender.send(number);
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, frames.subscribe(), Arc::clone(&questions)));
            }
        });
        Self { endpoint, asked }
    }
}

async fn serve(
    mut stream: TcpStream,
    mut frames: broadcast::Receiver<u64>,
    asked: Arc<AtomicUsize>,
) {
    let mut begin = [0; 24];
    while stream.peek(&mut begin).await.unwrap_or(24) < 24 {
        tokio::task::yield_now().await;
    }
    if begin.starts_with(b"GET /streaming/token") {
        let _ = stream.read(&mut [0; 4096]).await;
        asked.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"token\": \"{NEW_KEY}\"}}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    let Ok(socket) = accept_hdr_async(stream, admit).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    while let Ok(number) = frames.recv().await {
        let frame = Message::binary(number.to_be_bytes().to_vec());
        tokio::select! {
            biased;
            // Any message of the client is its goodbye.
            _ = source.next() => break,
            sent = sink.send(frame) => if sent.is_err() { return },
        }
    }
    // What is under way while the client leaves.
    let _ = sink.close().await;
}

#[expect(clippy::result_large_err, reason = "the library wants it so")]
fn admit(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let key = request.headers()["authorization"].as_bytes();
    if key == NEW_KEY.as_bytes() || key.starts_with(b"e30.") {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
    Err(refusal)
}

/// A key that was made so long ago.
fn key_of_age(age: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = format!(
        "{{\"creation_date\":{}}}",
        now.saturating_sub(age).as_secs()
    );
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn a_connection_is_replaced_without_a_gap_and_what_both_deliver_is_stored_once() {
    let server = Broadcast::start().await;
    let settings = Settings {
        key_lifetime: Duration::from_secs(7),
        overlap: Duration::from_millis(100),
        ..settings()
    };
    let key = key_of_age(Duration::from_secs(6));
    let mut inbox = Inbox::new();
    let central = central(None, &settings);
    let audit = Topic::classic("audit");
    let account = classic(&server.endpoint, &key);
    let running = Running::start(&central, &account, audit, &inbox);
    let number = |payload: &[u8]| u64::from_be_bytes(payload.try_into().unwrap());
    let first = number(&inbox.next().await.payload);
    let mut expected = first;
    while running.handle.counts().connections < 2 || expected < first + 1500 {
        expected += 1;
        assert_eq!(number(&inbox.next().await.payload), expected);
    }
    let counts = running.handle.counts();
    assert!(
        counts.duplicates > 0 && counts.failures.is_empty(),
        "{counts:?}"
    );
    assert_eq!((counts.connections, inbox.gaps()), (2, 0));
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    running.stop().await;
}

#[tokio::test]
async fn accounts_that_share_a_key_share_its_renewal() {
    let server = Broadcast::start().await;
    let account = classic(&server.endpoint, "an-old-key");
    let inbox = Inbox::new();
    let central = central(None, &settings());
    let start = |_| Running::start(&central, &account, Topic::classic("audit"), &inbox);
    let all: Vec<Running> = (0..20).map(start).collect();
    for running in &all {
        running.connected().await;
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    for running in all {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_renewed_key_is_written_into_the_input_json() {
    let server = Broadcast::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.json");
    let input = r#"{"customers": {"acme": {"wsskey": "an-old-key",  "topic": "audit"}}, "x": 1}"#;
    std::fs::write(&path, input).unwrap();
    let customers = central_forwarder::config::input_json::Customer::all(&path).unwrap();
    let account = Account {
        access: Access::Classic(ClassicAccess {
            key: customers[0].key.clone(),
            username: None,
        }),
        ..classic(&server.endpoint, "unused")
    };
    let inbox = Inbox::new();
    let central = central(None, &settings());
    let running = Running::start(&central, &account, Topic::classic("audit"), &inbox);
    running.connected().await;
    running.stop().await;
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, input.replace("an-old-key", NEW_KEY));
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
        running.handle.stop(Leave::ForNow);
    }
    simulator.stop().await;
}
