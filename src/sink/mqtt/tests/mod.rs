//! Sessions at `QoS` 2 against a broker that a test controls.

mod broker;

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use self::broker::{Broker, Connection, FromClient};
use super::codec::handshake::SessionStart;
use super::codec::publish::tests::{mqtt, packet_that_panics, record};
use super::codec::reason::{ID_NOT_FOUND, QUOTA_EXCEEDED};
use super::connection;
use super::*;
use crate::config::MqttVersion;
use crate::net::silent;
use crate::sink::{Attributes, OutcomeReceiver};

/// Of a name with two addresses, the first of which does not answer.
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
    let opening = connection::Connection::open(&by_name, SessionStart::Clean);
    let (opened, _broker) = within(Box::pin(async {
        tokio::join!(opening, broker.accept_client(false))
    }))
    .await;
    assert!(opened.is_ok(), "{:?}", opened.err());
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
    /// A connection for records; no exchange is pending.
    async fn open(target: &Target, broker: &Broker) -> Self {
        Self::open_after(target, broker, async {}).await
    }

    /// A connection for records; the broker does this before it.
    async fn open_after(
        target: &Target,
        broker: &Broker,
        before: impl Future<Output = ()>,
    ) -> Self {
        let (sender, outcomes) = Outcomes::channel();
        let serving = async {
            before.await;
            fresh_session(broker).await
        };
        let opening = async { tokio::join!(MqttSink::connect(target, sender), serving) };
        let (sink, broker) = within(opening).await;
        Self {
            sink: sink.expect("the connection was accepted"),
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

    async fn expects(&mut self, expected: &[FromClient]) {
        within(self.broker.expects(expected)).await;
    }

    /// The broker receives these records for the first time, with packet identifiers from this one on.
    async fn expects_published(&mut self, first_id: u16, records: &str) {
        for (id, letter) in (first_id..).zip(records.chars()) {
            self.expects(&[published(id, &letter.to_string())]).await;
        }
    }

    async fn publishes(&mut self, first_id: u16, records: &str) {
        self.send(records).await;
        self.expects_published(first_id, records).await;
    }

    async fn are_confirmed(&mut self, records: &str) {
        for letter in records.chars() {
            let reported = within(self.outcomes.recv()).await;
            assert_eq!(reported, Some((delivery_id(letter), Outcome::Confirmed)));
        }
    }

    /// Closes the connection, waits until the sink has noticed, and drops the sink.
    async fn cut(mut self) {
        drop(self.broker);
        within(self.sink.session.ended()).await;
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, what).await.expect("it does not take long")
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

fn published(id: u16, payload: &str) -> FromClient {
    publish(id, false, payload)
}

fn repeated(id: u16, payload: &str) -> FromClient {
    publish(id, true, payload)
}

fn publish(id: u16, is_duplicate: bool, payload: &str) -> FromClient {
    let payload = payload.to_owned();
    FromClient::Publish {
        id,
        is_duplicate,
        payload,
    }
}

/// A connection that resumes the session of the last one.
const RESUMES: FromClient = FromClient::Connect {
    is_clean: false,
    is_kept: true,
};

/// A connection whose session ends with it.
const CLEAN: FromClient = FromClient::Connect {
    is_clean: true,
    is_kept: false,
};

/// Accepts a connection for records; with 3.1.1 the session is erased before.
async fn fresh_session(broker: &Broker) -> Connection {
    if broker.version == MqttVersion::V3 {
        let (mut erasing, connect) = broker.accept_client(false).await;
        assert_eq!(connect, CLEAN);
        erasing.expects(&[FromClient::Disconnect]).await;
    }
    let (connection, connect) = broker.accept_client(false).await;
    let is_clean = broker.version == MqttVersion::V5;
    let is_kept = true;
    assert_eq!(connect, FromClient::Connect { is_clean, is_kept });
    connection
}

/// A session in which the broker has received `a`; it may have received `b` and `c`.
async fn interrupted(version: MqttVersion, broker: &Broker) -> Target {
    let target = target(version, broker);
    let mut first = Pair::open(&target, broker).await;
    first.publishes(1, "abc").await;
    receive(&mut first.broker, 1).await;
    first.cut().await;
    target
}

/// The connection on which pending exchanges are finished.
async fn resumed(broker: &Broker) -> Connection {
    let (connection, connect) = broker.accept_client(true).await;
    assert_eq!(connect, RESUMES);
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
    within(broker.expects(&[FromClient::PubRel(id)])).await;
}

/// The broker receives these and passes them on.
async fn receive_and_complete(broker: &mut Connection, ids: &[u16]) {
    for id in ids {
        receive(broker, *id).await;
    }
    complete(broker, ids).await;
}

/// The same, once the sink has continued all exchanges that [`interrupted`] leaves.
async fn continued(broker: &Broker) -> Connection {
    let mut connection = resumed(broker).await;
    let all = [FromClient::PubRel(1), repeated(2, "b"), repeated(3, "c")];
    connection.expects(&all).await;
    connection
}

/// Finishes the exchanges that [`interrupted`] leaves.
async fn finish_all(broker: &Broker) {
    let mut second = continued(broker).await;
    complete(&mut second, &[1]).await;
    receive_and_complete(&mut second, &[2, 3]).await;
    second.expects(&[FromClient::Disconnect]).await;
}

/// Finishes a session whose only pending record has been received.
async fn finish_received(broker: &Broker, id: u16) {
    let mut second = resumed(broker).await;
    second.expects(&[FromClient::PubRel(id)]).await;
    complete(&mut second, &[id]).await;
    second.expects(&[FromClient::Disconnect]).await;
}

/// An attempt to connect that fails while the broker does this.
async fn fail(target: &Target, broker: impl Future<Output = ()>) {
    let (sender, _outcomes) = Outcomes::channel();
    let opening = async { tokio::join!(MqttSink::connect(target, sender), broker) };
    assert!(within(opening).await.0.is_err());
}

#[tokio::test]
async fn unfinished_exchanges_are_finished_before_new_records_are_sent() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    let mut third = Pair::open_after(&target, &broker, finish_all(&broker)).await;
    third.send("abcd").await;
    third.are_confirmed("abc").await;
    third.expects_published(4, "d").await;
    receive_and_complete(&mut third.broker, &[4]).await;
    third.are_confirmed("d").await;
}

#[tokio::test]
async fn with_3_1_1_only_received_records_are_finished() {
    let broker = Broker::start(MqttVersion::V3).await;
    let target = interrupted(MqttVersion::V3, &broker).await;
    let finish = finish_received(&broker, 1);
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.expects_published(4, "bc").await;
    third.cut().await;
    // The sink does not know whether the broker has received them.
    let mut fourth = Pair::open(&target, &broker).await;
    fourth.publishes(6, "bc").await;
}

#[tokio::test]
async fn a_record_confirmed_after_an_unconfirmed_one_is_not_sent_again() {
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
        third.expects_published(3, "c").await;
    }
}

#[tokio::test]
async fn a_broker_that_has_forgotten_the_session_is_sent_all_records_again() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = interrupted(version, &broker).await;
        let forget = async {
            let (mut second, connect) = broker.accept_client(false).await;
            assert_eq!(connect, RESUMES);
            second.expects(&[FromClient::Disconnect]).await;
        };
        let mut third = Pair::open_after(&target, &broker, forget).await;
        third.publishes(4, "abc").await;
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_the_broker_created_it_without_an_answer() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = interrupted(version, &broker).await;
        fail(&target, async {
            // The broker's answer does not arrive.
            let (_, connect) = broker.accept().await;
            assert_eq!(connect, RESUMES);
        })
        .await;
        let mut third = Pair::open(&target, &broker).await;
        third.publishes(4, "a").await;
    }
}

#[tokio::test]
async fn a_record_unknown_to_the_broker_and_all_after_it_are_sent_again() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    let finish = async {
        let mut second = continued(&broker).await;
        second.pubcomp(1, ID_NOT_FOUND).await;
        second.expects(&[FromClient::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.publishes(4, "abc").await;
}

#[tokio::test]
async fn a_rejected_record_and_all_after_it_are_sent_again() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    let finish = async {
        let mut second = continued(&broker).await;
        receive_and_complete(&mut second, &[3]).await;
        second.pubrec(2, QUOTA_EXCEEDED).await;
        complete(&mut second, &[1]).await;
        second.expects(&[FromClient::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.expects_published(4, "bc").await;
}

#[tokio::test]
async fn a_connection_lost_while_finishing_keeps_the_rest() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    fail(&target, async {
        let mut second = continued(&broker).await;
        second.pubcomp(1, 0).await;
        second.pubrec(2, 0).await;
        second.expects(&[FromClient::PubRel(2)]).await;
    })
    .await;
    let finish = async {
        let mut third = resumed(&broker).await;
        third
            .expects(&[FromClient::PubRel(2), repeated(3, "c")])
            .await;
        complete(&mut third, &[2]).await;
        receive_and_complete(&mut third, &[3]).await;
        third.expects(&[FromClient::Disconnect]).await;
    };
    let mut fourth = Pair::open_after(&target, &broker, finish).await;
    fourth.send("abcd").await;
    fourth.are_confirmed("abc").await;
    fourth.expects_published(4, "d").await;
}

#[tokio::test]
async fn a_broker_that_never_finishes_is_sent_all_records_again() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    for _ in 0..3 {
        fail(&target, async {
            resumed(&broker)
                .await
                .expects(&[FromClient::PubRel(1)])
                .await;
        })
        .await;
    }
    let mut last = Pair::open(&target, &broker).await;
    last.publishes(4, "a").await;
}

#[tokio::test]
async fn a_session_without_pending_exchanges_is_not_resumed() {
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
async fn a_record_that_does_not_come_again_confirms_no_later_one() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    let mut third = Pair::open_after(&target, &broker, finish_all(&broker)).await;
    third.send("axyzb").await;
    third.are_confirmed("a").await;
    third.expects_published(4, "xyz").await;
    third.expects_published(7, "b").await;
}

#[tokio::test]
async fn of_two_equal_records_each_is_confirmed_once() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "aa").await;
    first.cut().await;
    let finish = async {
        let mut second = resumed(&broker).await;
        second.expects(&[repeated(1, "a"), repeated(2, "a")]).await;
        receive_and_complete(&mut second, &[1, 2]).await;
        second.expects(&[FromClient::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("aaa").await;
    third.are_confirmed("aa").await;
    third.expects_published(3, "a").await;
}

#[tokio::test]
async fn a_dropped_sink_leaves_its_exchanges_pending() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "ab").await;
    receive(&mut first.broker, 1).await;
    // The delivery does not listen any more when the PUBCOMP comes.
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
async fn records_after_a_postponed_one_come_after_it() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker).await;
    first.publishes(1, "abc").await;
    receive(&mut first.broker, 3).await;
    first.broker.pubrec(2, QUOTA_EXCEEDED).await;
    first.expects(&[FromClient::End]).await;
    first.cut().await;
    let finish = async {
        let mut second = resumed(&broker).await;
        second.expects(&[repeated(1, "a")]).await;
        receive_and_complete(&mut second, &[1]).await;
        second.expects(&[FromClient::Disconnect]).await;
    };
    let mut third = Pair::open_after(&target, &broker, finish).await;
    third.send("abc").await;
    third.are_confirmed("a").await;
    third.expects_published(4, "bc").await;
}

#[tokio::test]
async fn no_more_are_repeated_at_a_time_than_the_broker_allows() {
    let mut broker = Broker::start(MqttVersion::V5).await;
    let target = interrupted(MqttVersion::V5, &broker).await;
    broker.receive_max = 1;
    let finish = async {
        let mut second = resumed(&broker).await;
        second.expects(&[FromClient::PubRel(1)]).await;
        complete(&mut second, &[1]).await;
        second.expects(&[repeated(2, "b")]).await;
        receive_and_complete(&mut second, &[2]).await;
        second.expects(&[repeated(3, "c")]).await;
        receive_and_complete(&mut second, &[3]).await;
        second.expects(&[FromClient::Disconnect]).await;
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
        record: None,
        packet: packet_that_panics(),
    };
    first.sink.session.send(fault).await.unwrap();
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
            let opening = async {
                tokio::join!(
                    MqttSink::connect(&target, sender),
                    broker.accept_client(false)
                )
            };
            let (sink, (mut connection, connect)) = within(opening).await;
            assert_eq!(connect, CLEAN);
            let mut sink = sink.expect("the connection was accepted");
            sink.send(delivery_id('a'), &of_letter("a")).await.unwrap();
            within(connection.expects(&[published(id, "a")])).await;
            drop(connection);
            within(sink.session.ended()).await;
        }
    }
}
