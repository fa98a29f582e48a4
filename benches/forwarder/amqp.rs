//! `RabbitMQ`, and bare lapin.

use std::collections::VecDeque;
use std::process;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use crate::broker::{Broker, Ceiling};
use crate::usage::Meter;
use support::fresh_name;

/// Different records that the bare client sends again and again.
const RING: usize = 1000;

/// Records without a confirm: what the forwarder allows by default.
const IN_FLIGHT: usize = 2000;

pub(crate) struct Amqp {
    address: String,
    runtime: Runtime,
}

struct Message {
    properties: BasicProperties,
    payload: Vec<u8>,
}

impl Amqp {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            runtime: Runtime::new().expect("a runtime"),
        }
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// The connection has to be kept.
    fn open(&self) -> (Connection, Channel) {
        self.runtime.block_on(async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&self.url(), properties)
                .await
                .expect("the broker lets us in");
            let channel = connection.create_channel().await.expect("a channel");
            (connection, channel)
        })
    }

    /// The first records of a queue.
    fn read_back(&self, queue: &str) -> Vec<Message> {
        let (_connection, channel) = self.open();
        let read = async {
            let mut messages = Vec::new();
            let options = BasicGetOptions { no_ack: true };
            while messages.len() < RING {
                let got = channel.basic_get(queue.into(), options).await;
                let delivery = got.expect("the broker answers").expect("a record").delivery;
                messages.push(Message {
                    properties: delivery.properties,
                    payload: delivery.data,
                });
            }
            messages
        };
        self.runtime.block_on(read)
    }
}

impl Broker for Amqp {
    fn description(&self) -> String {
        format!("RabbitMQ at {}, one durable queue", self.address)
    }

    fn sink(&self) -> String {
        format!("type = \"amqp\"\nurl = {:?}\n", self.url())
    }

    fn fresh_destination(&self) -> String {
        let queue = fresh_name("bench");
        let (_connection, channel) = self.open();
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        self.runtime.block_on(declared).expect("the queue is made");
        queue
    }

    fn arrivals(&self, queue: &str) -> Box<dyn FnMut() -> u64 + '_> {
        let (connection, channel) = self.open();
        let queue = queue.to_owned();
        Box::new(move || {
            let _kept = &connection;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let asked =
                channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
            let queue = self.runtime.block_on(asked).expect("the broker answers");
            u64::from(queue.message_count())
        })
    }

    fn discard(&self, queue: &str) {
        let (_connection, channel) = self.open();
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        self.runtime
            .block_on(deleted)
            .expect("the queue is deleted");
    }

    fn ceiling(&self, from: &str, count: u64) -> Ceiling {
        let ring = self.read_back(from);
        let queue = self.fresh_destination();
        let (_connection, channel) = self.open();
        let meter = Meter::start(process::id());
        self.runtime
            .block_on(publish(&channel, &queue, &ring, count));
        let used = meter.used();
        self.discard(&queue);
        let bytes: usize = ring.iter().map(|message| message.payload.len()).sum();
        Ceiling {
            records: count,
            payload_bytes: (bytes / ring.len()) as u64,
            used,
        }
    }
}

/// Persistent, `mandatory` and confirmed, as the forwarder does it.
async fn publish(channel: &Channel, queue: &str, ring: &[Message], count: u64) {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("the broker confirms");
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let count = usize::try_from(count).expect("a count fits");
    let mut unconfirmed = VecDeque::with_capacity(IN_FLIGHT);
    for message in ring.iter().cycle().take(count) {
        if unconfirmed.len() == IN_FLIGHT
            && let Some(oldest) = unconfirmed.pop_front()
        {
            confirmed(oldest).await;
        }
        let properties = message.properties.clone();
        let sent = channel.basic_publish(
            "".into(),
            queue.into(),
            options,
            &message.payload,
            properties,
        );
        unconfirmed.push_back(sent.await.expect("the broker takes it"));
    }
    for left in unconfirmed {
        confirmed(left).await;
    }
}

async fn confirmed(confirm: impl Future<Output = lapin::Result<Confirmation>>) {
    let confirmation = confirm.await.expect("the broker confirms");
    assert_eq!(confirmation, Confirmation::Ack(None));
}
