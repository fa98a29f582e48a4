//! What a real Mosquitto remembers of sessions at `QoS` 2, and what the sink makes of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use central_forwarder::config::{ClientTls, Mqtt, MqttVersion, Qos};
use central_forwarder::sink::mqtt::{MqttSink, Target};
use central_forwarder::sink::{
    Attributes, DeliveryId, Outcome, OutcomeReceiver, Outcomes, Record, Sink as _,
};
use tokio::time::timeout;
use url::Url;

use support::eventually;
use support::mosquitto::{Message, Mosquitto, Subscriber};

const A_WHILE: Duration = Duration::from_secs(60);
const CLIENT_ID: &str = "the-forwarder";
const TOPIC: &str = "central/t";
const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];

/// Identifiers that the broker holds of an earlier process: fewer than it allows at a time.
const STALE: RangeInclusive<u16> = 1..=15;

/// Records that are on their way when the broker is killed: as many as it allows at a time.
const UNDER_WAY: Range<u64> = 0..20;

/// Bytes of a record of one digit as a packet of 3.1.1.
const SHORTEST_PUBLISH: usize = 2 + 2 + TOPIC.len() + 2 + 1;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_process_left_is_wiped_and_nobody_sees_us_go() {
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    for version in VERSIONS {
        leave_unreleased(&broker);
        let subscriber = Subscriber::start(&broker.address(), "#");
        let config = Mqtt {
            status_topic: Some("status".to_owned()),
            ..config(&broker, version)
        };
        let (mut sink, mut outcomes) = connected(&config.into()).await;
        send(&mut sink, &mut outcomes, 0..10).await;
        let is_status = |message: &Message| message.topic == "status" && !message.retained;
        let messages = subscriber.wait_for(A_WHILE, "the records", |messages| {
            messages.iter().any(is_status) && records(messages).len() == 10
        });
        let status = messages.iter().filter(|message| is_status(message));
        let status: Vec<&str> = status.map(|message| message.payload.as_str()).collect();
        assert_eq!(status, ["online"]);
        drop(sink);

        // Had it kept any of the earlier ones, it would pass them on now.
        let mut client = Client::connect(&broker);
        for id in STALE {
            client.release(id);
        }
        client.publish(99, "the last");
        client.release(99);
        let messages = subscriber.wait_for(A_WHILE, "the last", |messages| {
            records(messages).contains(&"the last")
        });
        assert!(!records(&messages).contains(&"old"), "{version:?}");
        client.wipe(&broker);
    }
}

/// Identifiers that Mosquitto has from an old state of its own take up places in a session that is
/// taken up. What was under way is finished there; new records never meet them.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_with_old_identifiers_takes_new_records() {
    for version in VERSIONS {
        let Some(mut broker) = Mosquitto::start("allow_anonymous true\nautosave_interval 0") else {
            return;
        };
        let subscriber = Subscriber::start(&broker.address(), TOPIC);
        leave_unreleased(&broker);
        // It writes its state when it ends in good order, and only then.
        broker.stop();
        broker.start_again();
        let target = Target::from(config(&broker, version));
        let (mut sink, mut outcomes) = connected(&target).await;
        broker.signal("STOP");
        hand_over(&mut sink, UNDER_WAY).await;
        eventually(A_WHILE, "the records are at the broker's door", || {
            unread_bytes(&broker) >= UNDER_WAY.count() * SHORTEST_PUBLISH
        });
        broker.kill();
        broker.start_again();
        let (id, outcome) = next(&mut outcomes).await;
        assert_eq!(id, DeliveryId::CONNECTION);
        assert!(matches!(outcome, Outcome::Retry(_)), "{outcome:?}");
        drop(sink);

        let (mut sink, mut outcomes) = connected(&target).await;
        send(&mut sink, &mut outcomes, 0..100).await;
        let messages = subscriber.wait_for(A_WHILE, "all records", |messages| {
            messages.len() as u64 >= 100
        });
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(records(&messages), expected, "{version:?}");
    }
}

/// Hands records with these numbers over and waits until all are confirmed.
async fn send(sink: &mut MqttSink, outcomes: &mut OutcomeReceiver, numbers: Range<u64>) {
    hand_over(sink, numbers.clone()).await;
    for number in numbers {
        let told = next(outcomes).await;
        assert_eq!(told, (DeliveryId(number), Outcome::Confirmed));
    }
}

async fn hand_over(sink: &mut MqttSink, numbers: Range<u64>) {
    for number in numbers {
        let payload = number.to_string();
        let record = Record {
            destination: TOPIC,
            key: None,
            payload: payload.as_bytes(),
            attributes: Attributes::new("", &[]),
            content_type: "text/plain",
            message: None,
            timestamp: 0,
        };
        sink.send(DeliveryId(number), &record)
            .await
            .expect("connected");
    }
}

async fn next(outcomes: &mut OutcomeReceiver) -> (DeliveryId, Outcome) {
    let told = timeout(A_WHILE, outcomes.recv()).await;
    told.expect("in time").expect("an outcome")
}

async fn connected(target: &Target) -> (MqttSink, OutcomeReceiver) {
    let (sender, outcomes) = Outcomes::channel();
    let sink = MqttSink::connect(target, sender).await;
    (sink.expect("the broker is there"), outcomes)
}

fn config(broker: &Mosquitto, version: MqttVersion) -> Mqtt {
    Mqtt {
        url: Url::parse(&format!("mqtt://{}", broker.address())).unwrap(),
        version,
        qos: Qos::ExactlyOnce,
        client_id: CLIENT_ID.to_owned(),
        username: None,
        password: None,
        tls: ClientTls::default(),
        retain: false,
        message_expiry: None,
        max_packet_size: 1 << 20,
        status_topic: None,
    }
}

/// What the kernel holds for a broker that does not read.
fn unread_bytes(broker: &Mosquitto) -> usize {
    let address = broker.address();
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = sockets.lines().map(|line| line.split_whitespace());
    let ours = sockets.filter_map(|mut fields| {
        let local = fields.nth(1)?;
        let queues = fields.nth(2)?;
        local.ends_with(&format!(":{port:04X}")).then_some(queues)
    });
    let unread =
        ours.filter_map(|queues| usize::from_str_radix(queues.split_once(':')?.1, 16).ok());
    unread.sum()
}

fn records(messages: &[Message]) -> Vec<&str> {
    let records = messages.iter().filter(|message| message.topic == TOPIC);
    records.map(|message| message.payload.as_str()).collect()
}

/// As a process with the forwarder's client id that dies with its packets half way.
fn leave_unreleased(broker: &Mosquitto) {
    let mut client = Client::connect(broker);
    for id in STALE {
        client.publish(id, "old");
    }
}

/// A client of MQTT 3.1.1 with the forwarder's client id and a session that is kept.
struct Client(TcpStream);

impl Client {
    fn connect(broker: &Mosquitto) -> Self {
        Self::open(broker, 0)
    }

    fn open(broker: &Mosquitto, flags: u8) -> Self {
        let stream = TcpStream::connect(broker.address()).expect("the broker listens");
        stream.set_read_timeout(Some(A_WHILE)).unwrap();
        let mut client = Self(stream);
        let mut connect = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
        connect.extend(text(CLIENT_ID));
        client.say(0x10, &connect);
        let mut connack = [0; 4];
        client.0.read_exact(&mut connack).expect("a CONNACK");
        assert_eq!(connack[3], 0, "the broker lets it in");
        client
    }

    /// At `QoS` 2, and waits for the PUBREC.
    fn publish(&mut self, id: u16, payload: &str) {
        let mut packet = text(TOPIC);
        packet.extend(id.to_be_bytes());
        packet.extend(payload.bytes());
        self.say(0x34, &packet);
        self.hear(0x50, id);
    }

    fn release(&mut self, id: u16) {
        self.say(0x62, &id.to_be_bytes());
        self.hear(0x70, id);
    }

    /// Ends the session at the broker.
    fn wipe(self, broker: &Mosquitto) {
        drop(self);
        Self::open(broker, 2);
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).expect("a short packet");
        let mut packet = vec![kind, length];
        packet.extend(body);
        self.0.write_all(&packet).expect("the broker reads");
    }

    fn hear(&mut self, kind: u8, id: u16) {
        let mut packet = [0; 4];
        self.0.read_exact(&mut packet).expect("an acknowledgement");
        let [high, low] = id.to_be_bytes();
        assert_eq!(packet, [kind, 2, high, low]);
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
