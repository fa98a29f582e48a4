//! Kafka, and bare librdkafka.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::broker::{Broker, Ceiling};
use crate::usage::Meter;
use support::fresh_name;

/// How long the broker may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How long all records of the bare producer may take.
const CEILING: Duration = Duration::from_secs(300);

/// Different records that the bare producer sends again and again.
const RING: usize = 1000;

/// Records that the bare producer hands over before it looks at the delivery reports.
const BURST: usize = 256;

/// The largest that a broker takes. At the end of each segment it writes all of it to the disk, and a
/// run of a few seconds either has that or has it not.
const SEGMENT_BYTES: &str = "2147483647";

/// What the forwarder promises of every sink, and librdkafka must too when it runs alone. All else
/// is librdkafka's own choice.
const GUARANTEES: [(&str, &str); 2] = [("enable.idempotence", "true"), ("acks", "all")];

pub(crate) struct Kafka {
    address: String,
    partitions: i32,
    options: Vec<(String, String)>,
}

impl Kafka {
    pub(crate) fn new(address: &str, partitions: i32, options: Vec<(String, String)>) -> Self {
        Self {
            address: address.to_owned(),
            partitions,
            options,
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn consumer(&self) -> BaseConsumer {
        self.client()
            .set("group.id", fresh_name("bench"))
            .set("enable.auto.commit", "false")
            .create()
            .expect("the settings are valid")
    }

    fn producer(&self, topic: &str) -> BaseProducer<Reports> {
        let mut config = self.client();
        let guarantees = GUARANTEES.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.extend(guarantees);
        config.extend(self.options.clone());
        let producer: BaseProducer<Reports> = config
            .create_with_context(Reports::default())
            .expect("the settings are valid");
        // It is connected then, and its clock does not run for that.
        producer
            .client()
            .fetch_metadata(Some(topic), ANSWER)
            .expect("the broker answers");
        producer
    }

    fn administer<T>(
        &self,
        work: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, AdminOptions) -> KafkaResult<T>,
    ) -> T {
        let admin = self.client().create().expect("the settings are valid");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(work(&admin, options))
            .expect("the broker answers")
    }

    /// The first records of a topic.
    fn read_back(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer = self.consumer();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("the offset is valid");
        }
        consumer.assign(&assignment).expect("the topic is there");
        let read = || {
            let message = consumer.poll(ANSWER).expect("a record in time");
            message.expect("a record").detach()
        };
        std::iter::repeat_with(read).take(RING).collect()
    }
}

impl Broker for Kafka {
    fn description(&self) -> String {
        let partitions = match self.partitions {
            1 => "1 partition".to_owned(),
            many => format!("{many} partitions"),
        };
        let options = self
            .options
            .iter()
            .map(|(name, value)| format!(", {name} {value}"));
        let options: String = options.collect();
        format!("Kafka at {}, {partitions}{options}", self.address)
    }

    fn sink(&self) -> String {
        let options = self
            .options
            .iter()
            .map(|(name, value)| format!("{name:?} = {value:?}"));
        let options: Vec<String> = options.collect();
        format!(
            "type = \"kafka\"\nbrokers = [{:?}]\noptions = {{ {} }}\n",
            self.address,
            options.join(", "),
        )
    }

    fn route(&self) -> &'static str {
        "key = \"{id}\"\n"
    }

    fn fresh_destination(&self) -> String {
        let name = fresh_name("bench");
        let topic = NewTopic::new(&name, self.partitions, TopicReplication::Fixed(1))
            .set("segment.bytes", SEGMENT_BYTES);
        let created =
            self.administer(async |admin, options| admin.create_topics([&topic], &options).await);
        for result in created {
            result.expect("the topic is created");
        }
        name
    }

    fn arrivals(&self, topic: &str) -> Box<dyn FnMut() -> u64 + '_> {
        let consumer = self.consumer();
        let topic = topic.to_owned();
        let partitions = self.partitions;
        Box::new(move || {
            let high = |partition| {
                let marks = consumer.fetch_watermarks(&topic, partition, ANSWER);
                let (_, high) = marks.expect("the broker answers");
                u64::try_from(high).expect("offsets begin with 0")
            };
            (0..partitions).map(high).sum()
        })
    }

    fn discard(&self, topic: &str) {
        let deleted =
            self.administer(async |admin, options| admin.delete_topics(&[topic], &options).await);
        for result in deleted {
            result.expect("the topic is deleted");
        }
    }

    fn ceiling(&self, from: &str, count: u64) -> Ceiling {
        let records = self.read_back(from);
        let topic = self.fresh_destination();
        let producer = self.producer(&topic);
        let count_of = usize::try_from(count).expect("a count fits");
        let meter = Meter::start(process::id());
        for (index, record) in records.iter().cycle().take(count_of).enumerate() {
            send(&producer, &topic, record);
            if index % BURST == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(CEILING).expect("all are sent in time");
        let used = meter.used();
        let confirmed = producer.context().0.load(Ordering::Relaxed);
        assert_eq!(confirmed, count, "records that were confirmed");
        self.discard(&topic);
        let bytes: usize = records
            .iter()
            .filter_map(|record| record.payload())
            .map(<[u8]>::len)
            .sum();
        Ceiling {
            records: count,
            payload_bytes: (bytes / records.len()) as u64,
            used,
        }
    }
}

/// Hands a record over, and waits for room while librdkafka's queue is full.
fn send(producer: &BaseProducer<Reports>, topic: &str, record: &OwnedMessage) {
    let mut pending = BaseRecord::to(topic).payload(record.payload().unwrap_or_default());
    if let Some(key) = record.key() {
        pending = pending.key(key);
    }
    if let Some(millis) = record.timestamp().to_millis() {
        pending = pending.timestamp(millis);
    }
    if let Some(headers) = record.headers() {
        pending = pending.headers(headers.clone());
    }
    while let Err((error, rejected)) = producer.send(pending) {
        let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
        assert!(full, "librdkafka does not take a record: {error}");
        producer.poll(Duration::from_millis(1));
        pending = rejected;
    }
}

/// Counts what the broker has confirmed.
#[derive(Default)]
struct Reports(AtomicU64);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
