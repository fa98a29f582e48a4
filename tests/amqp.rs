//! AMQP into a real `RabbitMQ`, read by a client that is not ours; and a `RabbitMQ` that is stopped,
//! killed, cut off, or says no.

mod support;

use std::fs;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, TOPICS, sequence_of};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

use support::authority::Authority;
use support::brokers::RabbitMq;
use support::forwarder::Forwarder;
use support::order::different_in_order;
use support::pika::{empty_queue, read_queue};
use support::proxy::Proxy;
use support::{eventually, fresh_name};

const A_WHILE: Duration = Duration::from_secs(120);

/// A simulator, and a forwarder's config and state.
struct Stand {
    simulator: Simulator,
    folder: TempDir,
    /// Of the exchange and of the queue that is bound to it.
    name: String,
    topics: Vec<&'static str>,
}

impl Stand {
    async fn new(topics: &[&'static str], rate: u32, count: u64) -> Self {
        let options = Options {
            rate,
            count: Some(count),
            ..Options::default()
        };
        Self {
            simulator: Simulator::start(options).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            name: fresh_name("amqp"),
            topics: topics.to_vec(),
        }
    }

    /// An exchange and a queue that takes all that comes to it.
    fn declared(&self) -> String {
        format!(
            "exchange = {{ name = \"{0}\", kind = \"topic\", declare = true }}\n\
             queue = {{ name = \"{0}\", declare = true, binding = \"central.*\" }}",
            self.name
        )
    }

    fn start(&self, url: &str, sink: &str) -> Forwarder {
        self.start_with(url, sink, &[])
    }

    fn start_with(&self, url: &str, sink: &str, environment: &[(&str, &str)]) -> Forwarder {
        let config = format!(
            r#"
            state_dir = "{}"
            [accounts.acme]
            generation = "classic"
            endpoint = "{}"
            key = "simulated-key"
            topics = {:?}
            [sinks.work]
            type = "amqp"
            url = "{url}"
            {sink}
            [[routes]]
            topics = "*"
            sink = "work"
            destination = "central.{{topic}}"
            "#,
            self.folder.path().join("state").display(),
            self.simulator.endpoint(),
            self.topics,
        );
        let path = self.folder.path().join("config.toml");
        fs::write(&path, config).unwrap();
        Forwarder::start_with(&["run", "-c", path.to_str().unwrap()], environment)
    }

    fn sent(&self) -> u64 {
        let sent = self.simulator.sent();
        let frames = self.topics.iter().filter_map(|topic| sent.get(*topic));
        frames.map(|sent| sent.frames).sum()
    }

    fn wait_until_sent(&self, frames: u64) {
        eventually(A_WHILE, "the frames are read", || self.sent() >= frames);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_six_topics_reach_a_queue_with_properties_and_headers() {
    const FRAMES: usize = 40;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&TOPICS, 50, FRAMES as u64).await;
    let options = "expiration = \"1h\"\npriority = 3";
    let forwarder = stand.start(&rabbitmq.url(), &format!("{}\n{options}", stand.declared()));

    let messages = read_queue(&rabbitmq, &stand.name, FRAMES * TOPICS.len());
    let said = drain(forwarder);
    assert!(!said.contains("guest:guest"), "{said}");
    for topic in TOPICS {
        let key = format!("central.{topic}");
        let of_topic = messages
            .iter()
            .filter(|message| message["routing_key"] == *key);
        let of_topic: Vec<_> = of_topic.collect();
        assert_eq!(of_topic.len(), FRAMES, "messages of {topic}");
        for (message, number) in of_topic.iter().zip(1..) {
            check(message, topic, number);
        }
    }
}

fn check(message: &Value, topic: &str, number: u64) {
    let record = record(message);
    assert_eq!(
        sequence_of(topic, &record["data"]),
        Some(number),
        "{record}"
    );
    assert_eq!(record["account"], "acme");
    let nanoseconds = record["timestamp"].as_i64().expect("an integer");
    let properties = &message["properties"];
    assert_eq!(properties["delivery_mode"], 2);
    assert_eq!(properties["message_id"], record["id"]);
    assert_eq!(properties["timestamp"], nanoseconds / 1_000_000_000);
    assert_eq!(properties["content_type"], "application/json");
    assert_eq!(properties["type"], format!("central.classic.{topic}"));
    assert_eq!(properties["app_id"], "central-forwarder");
    assert_eq!(properties["expiration"], "3600000");
    assert_eq!(properties["priority"], 3);
    let headers = &properties["headers"];
    assert_eq!(headers["cloudEvents:specversion"], "1.0");
    assert_eq!(headers["cloudEvents:id"], record["id"]);
    assert_eq!(headers["cloudEvents:time"], record["time"]);
    assert_eq!(headers["cloudEvents:source"], "/central/acme");
    assert_eq!(headers["cloudEvents:account"], "acme");
    assert_eq!(headers["cloudEvents:topic"], topic);
    assert_eq!(headers["cloudEvents:customerid"], record["customer_id"]);
    assert_eq!(headers["cloudEvents:messagetype"], record["type"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_is_restarted_and_then_killed_costs_no_record() {
    const COUNT: u64 = 10_000;
    let Some(rabbitmq) = RabbitMq::own("amqp-outages") else {
        return;
    };
    let stand = Stand::new(&["monitoring"], 500, COUNT).await;
    let forwarder = stand.start(&rabbitmq.url(), &stand.declared());
    stand.wait_until_sent(1000);
    rabbitmq.stop();
    stand.wait_until_sent(2000);
    rabbitmq.start();
    stand.wait_until_sent(5000);
    rabbitmq.kill();
    stand.wait_until_sent(6000);
    rabbitmq.start();
    stand.wait_until_sent(COUNT);
    drain(forwarder);
    let repeats = assert_all_arrived(&rabbitmq, &stand.name, COUNT);
    println!("{COUNT} records, one restart, one SIGKILL: {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_every_second_under_load_costs_no_record() {
    const COUNT: u64 = 20_000;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let proxy = Proxy::before(&rabbitmq.address).await;
    let stand = Stand::new(&["monitoring"], 2000, COUNT).await;
    let url = format!("amqp://guest:guest@{}/%2f", proxy.address);
    let forwarder = stand.start(&url, &stand.declared());
    let (mut cuts, mut next) = (0, Instant::now());
    while stand.sent() < COUNT {
        // What is asked for is a cut a second.
        next += Duration::from_secs(1);
        sleep_until(next).await;
        cuts += proxy.cut();
    }
    drain(forwarder);
    assert!(cuts >= 3, "only {cuts} connections were cut");
    let repeats = assert_all_arrived(&rabbitmq, &stand.name, COUNT);
    println!("{COUNT} records, {cuts} connections cut: {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit"], 50, 5).await;
    let url = format!("amqp://guest:hunter2@{}/%2f", rabbitmq.address);
    let mut forwarder = stand.start(&url, &stand.declared());
    forwarder.wait_for_stderr(A_WHILE, "(check the user and the password)");
    let said = forwarder.stderr();
    assert!(said.contains(&rabbitmq.address), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_is_told_and_what_waits_arrives_once_it_is_there() {
    const COUNT: u64 = 20;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit"], 50, COUNT).await;
    let mut forwarder = stand.start(
        &rabbitmq.url(),
        &format!("exchange = {{ name = \"{}\" }}", stand.name),
    );
    forwarder.wait_for_stderr(A_WHILE, "(make it on the broker, or set declare = true)");
    forwarder.wait_for_stderr(A_WHILE, "NOT_FOUND - no exchange");
    stand.wait_until_sent(COUNT);
    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));

    let forwarder = stand.start(&rabbitmq.url(), &stand.declared());
    let messages = read_queue(&rabbitmq, &stand.name, usize::try_from(COUNT).unwrap());
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    drain(forwarder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_refused_and_nothing_else() {
    const COUNT: u64 = 2000;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit", "monitoring"], 1000, COUNT).await;
    let sink = stand.declared().replace("central.*", "central.monitoring");
    let forwarder = stand.start(&rabbitmq.url(), &sink);
    let messages = read_queue(&rabbitmq, &stand.name, usize::try_from(COUNT).unwrap());
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    stand.wait_until_sent(2 * COUNT);
    let said = drain(forwarder);
    assert!(said.contains("312 NO_ROUTE"), "{said}");
    assert!(said.contains("for routing key `central.audit`"), "{said}");
    assert!(
        !said.contains("for routing key `central.monitoring`"),
        "{said}"
    );
    assert!(
        said.contains(&format!("confirmed={COUNT} refused={COUNT}")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_blocks_publishers_is_not_taken_for_a_dead_one() {
    const MORE_THAN_CAN_BE_SENT: u64 = 1_000_000;
    let Some(rabbitmq) = RabbitMq::own("amqp-blocked") else {
        return;
    };
    let stand = Stand::new(&["monitoring"], 500, MORE_THAN_CAN_BE_SENT).await;
    let sink = format!("{}\nconfirm_timeout = \"5s\"", stand.declared());
    let patience = [("CENTRAL_FORWARDER__SHUTDOWN_TIMEOUT", "2s")];
    let mut forwarder = stand.start_with(&rabbitmq.url(), &sink, &patience);
    stand.wait_until_sent(500);
    rabbitmq.block_publishers();
    forwarder.wait_for_stderr(A_WHILE, "the broker blocks publishers: low on memory");
    // The bound for a confirm and more, in frames.
    stand.wait_until_sent(stand.sent() + 3500);
    assert!(
        !forwarder.stderr().contains("no confirm"),
        "{}",
        forwarder.stderr()
    );
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("left_in_journal=0"), "{said}");

    let mut forwarder = stand.start(&rabbitmq.url(), &sink);
    forwarder.wait_for_stderr(A_WHILE, "the broker blocks publishers: low on memory");
    rabbitmq.unblock_publishers();
    forwarder.wait_for_stderr(A_WHILE, "the broker takes records again");
    stand.wait_until_sent(stand.sent() + 500);
    drain(forwarder);
    different_in_order(&numbers(&empty_queue(&rabbitmq, &stand.name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_both_sides_must_show_a_certificate_that_the_other_believes() {
    const COUNT: u64 = 20;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let authority = Authority::new();
    let proxy = Proxy::with_tls_before(&rabbitmq.address, authority.acceptor()).await;
    let stand = Stand::new(&["audit"], 50, COUNT).await;
    let file = |name: &str, pem: &str| {
        let path = stand.folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let url = format!("amqps://guest:guest@{}/%2f", proxy.address);
    let ca = format!("ca_file = \"{}\"", file("ca.pem", &authority.pem));
    let client = authority.issue("client");
    let identity = format!(
        "certificate_file = \"{}\", key_file = \"{}\"",
        file("client.pem", &client.certificate),
        file("client-key.pem", &client.key),
    );

    let other = file("other.pem", &Authority::new().pem);
    for (tls, complaint) in [
        (
            format!("ca_file = \"{other}\", {identity}"),
            "invalid peer certificate",
        ),
        (ca.clone(), "CertificateRequired"),
    ] {
        let sink = format!("{}\ntls = {{ {tls} }}", stand.declared());
        let mut forwarder = stand.start(&url, &sink);
        forwarder.wait_for_stderr(A_WHILE, complaint);
    }
    let sink = format!("{}\ntls = {{ {ca}, {identity} }}", stand.declared());
    let forwarder = stand.start(&url, &sink);
    stand.wait_until_sent(COUNT);
    drain(forwarder);
    assert!(!empty_queue(&rabbitmq, &stand.name).is_empty());
}

fn record(message: &Value) -> Value {
    let body = message["body"].as_str().expect("a body");
    serde_json::from_str(body).expect("the body is JSON")
}

/// The simulator's numbers, in the broker's order.
fn numbers(messages: &[Value]) -> Vec<u64> {
    let number = |message| {
        let record = record(message);
        let topic = record["topic"].as_str().expect("a topic");
        sequence_of(topic, &record["data"]).expect("a number of the simulator's")
    };
    messages.iter().map(number).collect()
}

/// All numbers are there, in order. Gives the number of repeats.
fn assert_all_arrived(rabbitmq: &RabbitMq, queue: &str, count: u64) -> usize {
    let arrived = numbers(&empty_queue(rabbitmq, queue));
    let different = different_in_order(&arrived);
    let lost: Vec<_> = (1..=count)
        .filter(|number| !different.contains(number))
        .collect();
    assert!(lost.is_empty(), "lost {}: {lost:?}", lost.len());
    arrived.len() - different.len()
}

/// SIGTERM: what is in the journal is delivered, and the exit code is 0. Gives the log.
fn drain(mut forwarder: Forwarder) -> String {
    forwarder.wait_for_stderr(A_WHILE, "connected");
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("left_in_journal=0"), "{said}");
    said
}
