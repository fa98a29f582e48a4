//! Sessions at `QoS` 2 against a broker that does as it is told.

mod broker;

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use self::broker::{Broker, Connection, Heard};
use super::codec::handshake::Start;
use super::codec::publish::tests::{mqtt, packet_that_panics, record};
use super::codec::reason::{ID_NOT_FOUND, QUOTA_EXCEEDED};
use super::connection::Line;
use super::*;
use crate::config::MqttVersion;
use crate::net::silent;
use crate::sink::{Attributes, OutcomeReceiver};

/// Of a name with two addresses, the first of which says nothing.
#[tokio::test]
async fn the_second_address_of_a_name_is_reached_within_a_second() {
    let broker = Broker::start(MqttVersion::V5).await;
    let port = broker.url().port().unwrap();
    let name = silent::TwoAddresses::before("mqtt.test", ([127, 0, 0, 1], port).into());
    let by_name = config::Mqtt {
        url: format!("mqtt://{}", name.host()).parse().unwrap(),
        ..mqtt(MqttVersion::V5)
    };
    let start = Instant::now();
    let opening = Line::open(&by_name, Start::Clean);
    let (line, _broker) = within(Box::pin(async {
        tokio::join!(opening, broker.let_in(false))
    }))
    .await;
    assert!(line.is_ok(), "{:?}", line.err());
    assert!(start.elapsed() < Duration::from_secs(1));
}

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];

/// A sink on a connection of its own, and the broker's end of it.
struct Pair {
    sink: MqttSink,
    outcomes: OutcomeReceiver,
    broker: Connection,
}

impl Pair {
    /// A connection for records; nothing is left to be finished.
    async fn open(target: &Target, broker: &Broker) -> Self {
        Self::open_after(target, broker, async {}).await
    }

    /// A connection for records, before which the broker does this.
    async fn open_after(
        target: &Target,
        broker: &Broker,
        before: impl Future<Output = ()>,
    ) -> Self {
        let (sender, outcomes) = Outcomes::channel();
        let serving = async {
            before.await;
            begin_anew(broker).await
        };
        let opening = async { tokio::join!(MqttSink::connect(target, sender), serving) };
        let (sink, broker) = within(opening).await;
        Self {
            sink: sink.expect("it was let in"),
            outcomes,
            broker,
        }
    }

    /// Hands over records named by a letter each, whose delivery id is that letter.
    async fn send(&mut self, records: &str) {
        for letter in records.chars() {
            let name = letter.to_string();
            let sent = self.sink.send(delivery_id(letter), &of_letter(&name)).await;
            sent.expect("the queue takes it");
        }
    }

    async fn hears(&mut self, expected: &[Heard]) {
        within(self.broker.hears(expected)).await;
    }

    /// The broker hears of these records for the first time, under identifiers from this one on.
    async fn hears_published(&mut self, first_id: u16, records: &str) {
        for (id, letter) in (first_id..).zip(records.chars()) {
            self.hears(&[published(id, &letter.to_string())]).await;
        }
    }

    async fn publishes(&mut self, first_id: u16, records: &str) {
        self.send(records).await;
        self.hears_published(first_id, records).await;
    }

    async fn are_confirmed(&mut self, records: &str) {
        for letter in records.chars() {
            let told = within(self.outcomes.recv()).await;
            assert_eq!(told, Some((delivery_id(letter), Outcome::Confirmed)));
        }
    }

    /// Waits until the sink knows that the connection has ended, and gives it up.
    async fn cut(self) {
        drop(self.broker);
        within(self.sink.requests.closed()).await;
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what)
        .await
        .expect("it does not take long")
}

fn delivery_id(letter: char) -> DeliveryId {
    DeliveryId(u64::from(u32::from(letter)))
}

fn of_letter(letter: &str) -> Record<'_> {
    record("t", letter.as_bytes(), Attributes::new("", &[]))
}

fn target(version: MqttVersion, broker: &Broker) -> Target {
    let config = config::Mqtt {
        url: broker.url(),
        qos: Qos::ExactlyOnce,
        ..mqtt(version)
    };
    config.into()
}

fn published(id: u16, payload: &str) -> Heard {
    heard(id, false, payload)
}

fn repeated(id: u16, payload: &str) -> Heard {
    heard(id, true, payload)
}

fn heard(id: u16, is_repeated: bool, payload: &str) -> Heard {
    let payload = payload.to_owned();
    Heard::Publish {
        id,
        is_repeated,
        payload,
    }
}

/// A connection that takes up what one before has left.
const TAKES_UP: Heard = Heard::Connect {
    is_clean: false,
    is_kept: true,
};

/// A connection whose session ends with it.
const CLEAN: Heard = Heard::Connect {
    is_clean: true,
    is_kept: false,
};

/// Lets in a connection for records; one of 3.1.1 wipes the session before.
async fn begin_anew(broker: &Broker) -> Connection {
    if broker.version == MqttVersion::V3 {
        let (mut wiping, connect) = broker.let_in(false).await;
        assert_eq!(connect, CLEAN);
        wiping.hears(&[Heard::Disconnect]).await;
    }
    let (connection, connect) = broker.let_in(false).await;
    let is_clean = broker.version == MqttVersion::V5;
    let is_kept = true;
    assert_eq!(connect, Heard::Connect { is_clean, is_kept });
    connection
}

/// A session of which the broker has received `a`, and of `b` and `c` we do not know.
async fn broken(version: MqttVersion, broker: &Broker) -> Target {
    let target = target(version, broker);
    let mut first = Pair::open(&target, broker).await;
    first.publishes(1, "abc").await;
    receive(&mut first.broker, 1).await;
    first.cut().await;
    target
}

/// The connection on which what is left is finished.
async fn taken_up(broker: &Broker) -> Connection {
    let (connection, connect) = broker.let_in(true).await;
    assert_eq!(connect, TAKES_UP);
    connection
}

/// The broker passes these on, which it has received.
async fn complete(broker: &mut Connection, ids: &[u16]) {
    for id in ids {
        broker.pubcomp(*id, 0).await;
    }
}

/// The broker receives this one.
async fn receive(broker: &mut Connection, id: u16) {
    broker.pubrec(id, 0).await;
    within(broker.hears(&[Heard::PubRel(id)])).await;
}

/// The broker receives these and passes them on.
async fn receive_and_complete(broker: &mut Connection, ids: &[u16]) {
    for id in ids {
        receive(broker, *id).await;
    }
    complete(broker, ids).await;
}

/// The same, once the broker was reminded of all that [`broken`] leaves.
async fn reminded(broker: &Broker) -> Connection {
    let mut connection = taken_up(broker).await;
    let all = [Heard::PubRel(1), repeated(2, "b"), repeated(3, "c")];
    connection.hears(&all).await;
    connection
}

/// Finishes what [`broken`] leaves.
async fn finish_all(broker: &Broker) {
    let mut second = reminded(broker).await;
    complete(&mut second, &[1]).await;
    receive_and_complete(&mut second, &[2, 3]).await;
    second.hears(&[Heard::Disconnect]).await;
}

/// Finishes a session of which the one that is left has been received.
async fn finish_received(broker: &Broker, id: u16) {
    let mut second = taken_up(broker).await;
    second.hears(&[Heard::PubRel(id)]).await;
    complete(&mut second, &[id]).await;
    second.hears(&[Heard::Disconnect]).await;
}

/// A try to connect that fails while the broker does this.
async fn fail(target: &Target, broker: impl Future<Output = ()>) {
    let (sender, _outcomes) = Outcomes::channel();
    let opening = async { tokio::join!(MqttSink::connect(target, sender), broker) };
    assert!(within(opening).await.0.is_err());
}

#[tokio::test]
async fn what_was_begun_is_finished_and_then_all_begins_anew() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut third = Pair::open_after(&target, &broker, finish_all(&broker)).await;
    third.send("abcd").await;
    third.are_confirmed("abc").await;
    third.hears_published(4, "d").await;
    receive_and_complete(&mut third.broker, &[4]).await;
    third.are_confirmed("d").await;
}

#[tokio::test]
async fn by_3_1_1_only_what_was_received_is_finished() {
    let broker = Broker::start(MqttVersion::V3).await;
    let target = broken(MqttVersion::V3, &broker).await;
    let finish = finish_received(&broker, 1);
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.hears_published(4, "bc").await;
    third.cut().await;
    // Nothing is known to be there.
    let mut fourth = Pair::open(&target, &broker).await;
    fourth.publishes(6, "bc").await;
}

#[tokio::test]
async fn what_is_confirmed_behind_one_that_is_not_is_not_sent_again() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = target(version, &broker);
        let mut first = Pair::open(&target, &broker).await;
        first.publishes(1, "ab").await;
        receive(&mut first.broker, 1).await;
        receive_and_complete(&mut first.broker, &[2]).await;
        first.are_confirmed("b").await;
        first.cut().await;
        let finish = finish_received(&broker, 1);
        let mut third = Pair::open_after(&target, &broker, finish).await;
        third.send("abc").await;
        third.are_confirmed("ab").await;
        third.hears_published(3, "c").await;
    }
}

#[tokio::test]
async fn a_broker_that_has_forgotten_the_session_is_sent_all_as_new() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let forget = async {
            let (mut second, connect) = broker.let_in(false).await;
            assert_eq!(connect, TAKES_UP);
            second.hears(&[Heard::Disconnect]).await;
        };
        let mut third = Pair::open_after(&target, &broker, forget).await;
        third.publishes(4, "abc").await;
    }
}

#[tokio::test]
async fn one_whose_word_of_that_was_lost_is_not_believed_the_next_time() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        fail(&target, async {
            // What it answers does not arrive.
            let (_, connect) = broker.accept().await;
            assert_eq!(connect, TAKES_UP);
        })
        .await;
        let mut third = Pair::open(&target, &broker).await;
        third.publishes(4, "a").await;
    }
}

#[tokio::test]
async fn what_the_broker_does_not_know_is_sent_anew_and_all_behind_it() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let finish = async {
        let mut second = reminded(&broker).await;
        second.pubcomp(1, ID_NOT_FOUND).await;
        second.hears(&[Heard::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.publishes(4, "abc").await;
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_sent_anew_and_all_behind_it() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let finish = async {
        let mut second = reminded(&broker).await;
        receive_and_complete(&mut second, &[3]).await;
        second.pubrec(2, QUOTA_EXCEEDED).await;
        complete(&mut second, &[1]).await;
        second.hears(&[Heard::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.hears_published(4, "bc").await;
}

#[tokio::test]
async fn a_cut_while_it_is_finished_keeps_the_rest() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    fail(&target, async {
        let mut second = reminded(&broker).await;
        second.pubcomp(1, 0).await;
        second.pubrec(2, 0).await;
        second.hears(&[Heard::PubRel(2)]).await;
    })
    .await;
    let finish = async {
        let mut third = taken_up(&broker).await;
        third.hears(&[Heard::PubRel(2), repeated(3, "c")]).await;
        complete(&mut third, &[2]).await;
        receive_and_complete(&mut third, &[3]).await;
        third.hears(&[Heard::Disconnect]).await;
    };
    let mut fourth = Pair::open_after(&target, &broker, finish).await;
    fourth.send("abcd").await;
    fourth.are_confirmed("abc").await;
    fourth.hears_published(4, "d").await;
}

#[tokio::test]
async fn a_broker_that_never_finishes_it_is_sent_all_as_new() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    for _ in 0..3 {
        fail(&target, async {
            taken_up(&broker).await.hears(&[Heard::PubRel(1)]).await;
        })
        .await;
    }
    let mut last = Pair::open(&target, &broker).await;
    last.publishes(4, "a").await;
}

#[tokio::test]
async fn a_session_of_which_nothing_is_left_is_not_taken_up() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = target(version, &broker);
        let mut first = Pair::open(&target, &broker).await;
        first.publishes(1, "a").await;
        receive_and_complete(&mut first.broker, &[1]).await;
        first.are_confirmed("a").await;
        first.cut().await;
        let mut second = Pair::open(&target, &broker).await;
        second.publishes(2, "a").await;
    }
}

#[tokio::test]
async fn what_does_not_come_again_swallows_nothing_later() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut third = Pair::open_after(&target, &broker, finish_all(&broker)).await;
    third.send("axyzb").await;
    third.are_confirmed("a").await;
    third.hears_published(4, "xyz").await;
    third.hears_published(7, "b").await;
}

#[tokio::test]
async fn of_two_equal_records_each_is_confirmed_once() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "aa").await;
    first.cut().await;
    let finish = async {
        let mut second = taken_up(&broker).await;
        second.hears(&[repeated(1, "a"), repeated(2, "a")]).await;
        receive_and_complete(&mut second, &[1, 2]).await;
        second.hears(&[Heard::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("aaa").await;
    third.are_confirmed("aa").await;
    third.hears_published(3, "a").await;
}

#[tokio::test]
async fn a_sink_that_is_given_up_leaves_the_same_behind() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "ab").await;
    receive(&mut first.broker, 1).await;
    // Nobody listens any more when the last word on it comes.
    first.outcomes.close();
    first.broker.pubcomp(1, 0).await;
    receive(&mut first.broker, 2).await;
    drop(first);
    let finish = finish_received(&broker, 2);
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("ab").await;
    third.are_confirmed("ab").await;
}

#[tokio::test]
async fn what_is_behind_a_record_that_was_put_off_comes_after_it() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "abc").await;
    receive(&mut first.broker, 3).await;
    first.broker.pubrec(2, QUOTA_EXCEEDED).await;
    first.hears(&[Heard::End]).await;
    first.cut().await;
    let finish = async {
        let mut second = taken_up(&broker).await;
        second.hears(&[repeated(1, "a")]).await;
        receive_and_complete(&mut second, &[1]).await;
        second.hears(&[Heard::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.hears_published(4, "bc").await;
}

#[tokio::test]
async fn no_more_are_repeated_at_a_time_than_the_broker_allows() {
    let mut broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    broker.receive_max = 1;
    let finish = async {
        let mut second = taken_up(&broker).await;
        second.hears(&[Heard::PubRel(1)]).await;
        complete(&mut second, &[1]).await;
        second.hears(&[repeated(2, "b")]).await;
        receive_and_complete(&mut second, &[2]).await;
        second.hears(&[repeated(3, "c")]).await;
        receive_and_complete(&mut second, &[3]).await;
        second.hears(&[Heard::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("abc").await;
}

#[tokio::test]
async fn a_panic_in_a_session_is_reported_and_the_next_connection_works() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "a").await;
    let fault = Request {
        delivery_id: None,
        key: None,
        packet: packet_that_panics(),
    };
    first.sink.requests.send(fault).await.unwrap();
    let reported = within(first.outcomes.recv()).await;
    let Some((DeliveryId::CONNECTION, Outcome::Retry(failure))) = reported else {
        panic!("{reported:?}");
    };
    assert!(failure.why.starts_with("mqtt: a bug"), "{failure}");
    let sent = first.sink.send(delivery_id('b'), &of_letter("b")).await;
    assert_eq!(sent.unwrap_err().0, failure);
    drop(first);
    let mut second = Pair::open(&target, &broker).await;
    second.publishes(3, "ab").await;
}

#[tokio::test]
async fn sessions_at_qos_1_are_clean() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let mut config = (*target(version, &broker).config).clone();
        config.qos = Qos::AtLeastOnce;
        let target = config.into();
        for id in [1, 2] {
            let (sender, _outcomes) = Outcomes::channel();
            let opening =
                async { tokio::join!(MqttSink::connect(&target, sender), broker.let_in(false)) };
            let (sink, (mut connection, connect)) = within(opening).await;
            assert_eq!(connect, CLEAN);
            let mut sink = sink.expect("it was let in");
            sink.send(delivery_id('a'), &of_letter("a")).await.unwrap();
            within(connection.hears(&[published(id, "a")])).await;
            drop(connection);
            within(sink.requests.closed()).await;
        }
    }
}
