//! Mosquitto, and bare rumqttc.
//!
//! A broker of MQTT keeps nothing that could be counted, so a subscriber counts what arrives: in the
//! forwarder's runs and in those of the bare client alike.

use std::collections::HashMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{QoS, v5};
use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
use tokio::runtime::Runtime;

use crate::broker::{Broker, Ceiling};
use crate::usage::Meter;
use support::{eventually, fresh_name};

/// Different records that the bare client sends again and again.
const RING: usize = 1000;

/// Records that wait in rumqttc's own queue: its owner's choice, and here enough.
const QUEUE: usize = 1000;

/// How long the subscriber may need for the last records.
const LAST: Duration = Duration::from_secs(60);

const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The length of what the client sends has to be within it.
const PACKET_BYTES: u32 = 1 << 20;

pub(crate) struct Mqtt {
    address: String,
    runtime: Runtime,
    /// The first records that came to each destination.
    rings: Arc<Mutex<HashMap<String, Vec<v5::Publish>>>>,
}

impl Mqtt {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            runtime: Runtime::new().expect("a runtime"),
            rings: Arc::default(),
        }
    }

    fn client(&self) -> (AsyncClient, EventLoop) {
        let (host, port) = self.address.split_once(':').expect("host:port");
        let port = port.parse().expect("a port");
        let mut options = MqttOptions::new(fresh_name("bench"), host, port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_max_packet_size(Some(PACKET_BYTES));
        options.set_outgoing_inflight_upper_limit(u16::MAX);
        AsyncClient::new(options, QUEUE)
    }
}

impl Broker for Mqtt {
    fn description(&self) -> String {
        format!(
            "Mosquitto at {}, MQTT 5, QoS 1, one subscriber",
            self.address
        )
    }

    fn sink(&self) -> String {
        format!("type = \"mqtt\"\nurl = \"mqtt://{}\"\n", self.address)
    }

    fn fresh_destination(&self) -> String {
        fresh_name("bench")
    }

    fn arrivals(&self, topic: &str) -> Box<dyn FnMut() -> u64 + '_> {
        let count = Arc::new(AtomicU64::new(0));
        let subscriber = Subscriber::start(&self.address, topic);
        let (counted, rings) = (Arc::clone(&count), Arc::clone(&self.rings));
        let topic = topic.to_owned();
        thread::spawn(move || {
            subscriber.read(|packet| {
                if counted.fetch_add(1, Ordering::Relaxed) < RING as u64 {
                    let mut rings = rings.lock().expect("nobody panicked");
                    rings
                        .entry(topic.clone())
                        .or_default()
                        .push(publish(packet));
                }
            });
        });
        Box::new(move || count.load(Ordering::Relaxed))
    }

    /// It keeps nothing.
    fn discard(&self, _topic: &str) {}

    fn ceiling(&self, from: &str, count: u64) -> Ceiling {
        let ring = self.rings.lock().expect("nobody panicked")[from].clone();
        let topic = self.fresh_destination();
        let mut arrived = self.arrivals(&topic);
        let (client, mut events) = self.client();
        let bytes: usize = ring.iter().map(|record| record.payload.len()).sum();
        let payload_bytes = (bytes / ring.len()) as u64;
        // It is connected then, and its clock does not run for that.
        self.runtime.block_on(connected(&mut events));
        let meter = Meter::start(process::id());
        let sending = self.runtime.spawn(send(client, topic, ring, count));
        self.runtime.block_on(acknowledged(&mut events, count));
        let used = meter.used();
        self.runtime.block_on(sending).expect("all are sent");
        eventually(LAST, "the records arrive", || arrived() == count);
        Ceiling {
            records: count,
            payload_bytes,
            used,
        }
    }
}

async fn connected(events: &mut EventLoop) {
    loop {
        let event = events.poll().await.expect("the broker lets us in");
        if matches!(event, Event::Incoming(Incoming::ConnAck(_))) {
            return;
        }
    }
}

async fn send(client: AsyncClient, topic: String, ring: Vec<v5::Publish>, count: u64) {
    let count = usize::try_from(count).expect("a count fits");
    for record in ring.iter().cycle().take(count) {
        let properties = record.properties.clone().expect("a record has properties");
        let payload = record.payload.clone();
        client
            .publish_bytes_with_properties(&*topic, QoS::AtLeastOnce, false, payload, properties)
            .await
            .expect("the event loop runs");
    }
}

async fn acknowledged(events: &mut EventLoop, count: u64) {
    let mut confirmed = 0;
    while confirmed < count {
        let event = events.poll().await.expect("the connection holds");
        if let Event::Incoming(Incoming::PubAck(ack)) = event {
            assert_eq!(ack.reason, v5::PubAckReason::Success);
            confirmed += 1;
        }
    }
}

fn publish(packet: &[u8]) -> v5::Publish {
    match v5::Packet::read(&mut BytesMut::from(packet), None).expect("a packet") {
        v5::Packet::Publish(mut publish) => {
            // Numbers for topics are given anew on each connection.
            if let Some(properties) = &mut publish.properties {
                properties.topic_alias = None;
            }
            publish
        }
        other => panic!("no PUBLISH: {other:?}"),
    }
}

/// At `QoS` 0, with as little work as can be: it shares the machine with what is measured.
struct Subscriber(BufReader<TcpStream>);

impl Subscriber {
    fn start(address: &str, topic: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the broker listens");
        let mut packets = BytesMut::new();
        let connect = v5::Connect {
            keep_alive: 0,
            client_id: fresh_name("bench"),
            clean_start: true,
            properties: None,
        };
        connect
            .write(&None, &None, &mut packets)
            .expect("a packet can be written");
        let filter = v5::Filter::new(topic, QoS::AtMostOnce);
        let mut subscribe = v5::Subscribe::new(filter, None);
        subscribe.pkid = 1;
        subscribe
            .write(&mut packets)
            .expect("a packet can be written");
        stream.write_all(&packets).expect("the broker reads");
        let mut subscriber = Self(BufReader::with_capacity(1 << 20, stream));
        for answer in [0x20, 0x90] {
            let packet = subscriber.packet().expect("the broker answers");
            assert_eq!(packet.first(), Some(&answer));
        }
        subscriber
    }

    /// Until the broker ends the connection.
    fn read(mut self, mut each: impl FnMut(&[u8])) {
        while let Some(packet) = self.packet() {
            each(&packet);
        }
    }

    fn packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).ok()?;
        while packet.last().is_some_and(|byte| *byte >= 0x80) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).ok()?;
            packet.push(byte[0]);
        }
        let length = packet[1..]
            .iter()
            .rev()
            .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        let head = packet.len();
        packet.resize(head + length, 0);
        self.0.read_exact(&mut packet[head..]).ok()?;
        Some(packet)
    }
}
