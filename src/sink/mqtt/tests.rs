//! Sessions at `QoS` 2 against a broker that does as it is told.

mod broker;

use std::future::Future;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use self::broker::{Broker, Connection, Heard};
use super::publish::tests::mqtt;
use super::reason::{ID_NOT_FOUND, QUOTA_EXCEEDED};
use super::*;
use crate::config::MqttVersion;
use crate::sink::Attributes;

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];

/// A sink on a connection of its own, and the broker's end of it.
struct Pair {
    sink: MqttSink,
    outcomes: UnboundedReceiver<(Ticket, Outcome)>,
    broker: Connection,
    connect: Heard,
}

impl Pair {
    /// The next connection; the broker says whether it remembers the session.
    async fn open(target: &Target, broker: &Broker, remembers: bool) -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let opening =
            async { tokio::join!(MqttSink::connect(target, sender), broker.let_in(remembers)) };
        let (sink, (broker, connect)) = within(opening).await;
        Self {
            sink: sink.expect("it was let in"),
            outcomes,
            broker,
            connect,
        }
    }

    /// Hands over records named by a letter each, whose ticket is that letter.
    async fn send(&mut self, records: &str) {
        for letter in records.chars() {
            let sent = self
                .sink
                .send(ticket(letter), &record(&letter.to_string()))
                .await;
            sent.expect("the queue takes it");
        }
    }

    async fn hears(&mut self, expected: &[Heard]) {
        for expected in expected {
            assert_eq!(within(self.broker.hear()).await, *expected);
        }
    }

    async fn is_told(&mut self, letter: char, outcome: &Outcome) {
        let told = within(self.outcomes.recv()).await;
        assert_eq!(told, Some((ticket(letter), outcome.clone())));
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

fn ticket(letter: char) -> Ticket {
    Ticket(u64::from(u32::from(letter)))
}

fn record(payload: &str) -> Record<'_> {
    Record {
        destination: "t",
        key: None,
        payload: payload.as_bytes(),
        attributes: Attributes::new("", &[]),
        content_type: "text/plain",
        message: None,
        timestamp: 0,
    }
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

/// A connection that knows of none before. 3.1.1 has no word for that.
fn begins_anew(version: MqttVersion) -> Heard {
    Heard::Connect {
        is_clean: version == MqttVersion::V5,
        is_kept: true,
    }
}

/// A session of which the broker has received `a`, and of `b` and `c` we do not know.
async fn broken(version: MqttVersion, broker: &Broker) -> Target {
    let target = target(version, broker);
    let mut first = Pair::open(&target, broker, false).await;
    assert_eq!(first.connect, begins_anew(version));
    first.send("abc").await;
    first
        .hears(&[published(1, "a"), published(2, "b"), published(3, "c")])
        .await;
    first.broker.pubrec(1, 0).await;
    first.hears(&[Heard::PubRel(1)]).await;
    first.cut().await;
    target
}

#[tokio::test]
async fn what_was_received_is_released_and_what_was_published_is_repeated() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let mut second = Pair::open(&target, &broker, true).await;
        assert_eq!(second.connect, TAKES_UP);
        second.hears(&[Heard::PubRel(1)]).await;
        second.send("abcd").await;
        second
            .hears(&[repeated(2, "b"), repeated(3, "c"), published(4, "d")])
            .await;
        for (id, letter) in [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')] {
            if id > 1 {
                second.broker.pubrec(id, 0).await;
                second.hears(&[Heard::PubRel(id)]).await;
            }
            second.broker.pubcomp(id, 0).await;
            second.is_told(letter, &Outcome::Confirmed).await;
        }
    }
}

#[tokio::test]
async fn a_record_whose_end_came_before_it_was_handed_over_is_confirmed_at_once() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let mut second = Pair::open(&target, &broker, true).await;
        second.hears(&[Heard::PubRel(1)]).await;
        // A broker of MQTT 5 says so of what has come to its end on the connection before.
        let reason = match version {
            MqttVersion::V3 => 0,
            MqttVersion::V5 => ID_NOT_FOUND,
        };
        second.broker.pubcomp(1, reason).await;
        second.broker.pubrec(2, 0).await;
        second.hears(&[Heard::PubRel(2)]).await;
        second.send("ab").await;
        second.is_told('a', &Outcome::Confirmed).await;
        second.broker.pubcomp(2, 0).await;
        second.is_told('b', &Outcome::Confirmed).await;
    }
}

#[tokio::test]
async fn a_broker_that_has_forgotten_the_session_is_sent_all_as_new() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let mut second = Pair::open(&target, &broker, false).await;
        assert_eq!(second.connect, TAKES_UP);
        second.send("abc").await;
        second
            .hears(&[published(4, "a"), published(5, "b"), published(6, "c")])
            .await;
    }
}

#[tokio::test]
async fn one_whose_word_of_that_was_lost_is_not_believed_the_next_time() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let (sender, _outcomes) = mpsc::unbounded_channel();
        let lost = async {
            // What it answers does not arrive.
            let (connection, connect) = broker.accept().await;
            drop(connection);
            connect
        };
        let opening = async { tokio::join!(MqttSink::connect(&target, sender), lost) };
        let (sink, connect) = within(opening).await;
        assert!(sink.is_err());
        assert_eq!(connect, TAKES_UP);
        let mut third = Pair::open(&target, &broker, false).await;
        assert_eq!(third.connect, begins_anew(version));
        third.send("a").await;
        third.hears(&[published(4, "a")]).await;
    }
}

#[tokio::test]
async fn a_session_of_which_nothing_is_left_is_not_taken_up() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = target(version, &broker);
        let mut first = Pair::open(&target, &broker, false).await;
        first.send("a").await;
        first.hears(&[published(1, "a")]).await;
        first.broker.pubrec(1, 0).await;
        first.hears(&[Heard::PubRel(1)]).await;
        first.broker.pubcomp(1, 0).await;
        first.is_told('a', &Outcome::Confirmed).await;
        first.cut().await;
        let mut second = Pair::open(&target, &broker, false).await;
        assert_eq!(second.connect, begins_anew(version));
        second.send("b").await;
        second.hears(&[published(2, "b")]).await;
    }
}

#[tokio::test]
async fn what_does_not_come_again_is_released() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        // One behind it comes.
        let target = broken(version, &broker).await;
        let mut second = Pair::open(&target, &broker, true).await;
        second.send("c").await;
        second
            .hears(&[Heard::PubRel(1), Heard::PubRel(2), repeated(3, "c")])
            .await;
        second.cut().await;
        // As many others come as are awaited.
        let mut third = Pair::open(&target, &broker, true).await;
        third.hears(&[Heard::PubRel(1), Heard::PubRel(2)]).await;
        third.send("xy").await;
        third
            .hears(&[Heard::PubRel(3), published(4, "x"), published(5, "y")])
            .await;
        for id in 1..=3 {
            third.broker.pubcomp(id, 0).await;
        }
        third.broker.pubrec(4, 0).await;
        third.hears(&[Heard::PubRel(4)]).await;
        third.broker.pubcomp(4, 0).await;
        third.is_told('x', &Outcome::Confirmed).await;
        // Nothing is left of what had come to its end.
        third.cut().await;
        let mut fourth = Pair::open(&target, &broker, true).await;
        fourth.send("yz").await;
        fourth.hears(&[repeated(5, "y"), published(6, "z")]).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_while_it_takes_up_another_loses_nothing_of_it() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let target = broken(version, &broker).await;
        let mut second = Pair::open(&target, &broker, true).await;
        second.hears(&[Heard::PubRel(1)]).await;
        second.send("ab").await;
        second.hears(&[repeated(2, "b")]).await;
        second.broker.pubrec(2, 0).await;
        second.hears(&[Heard::PubRel(2)]).await;
        second.cut().await;
        let mut third = Pair::open(&target, &broker, true).await;
        third.hears(&[Heard::PubRel(1), Heard::PubRel(2)]).await;
        third.send("abcd").await;
        third.hears(&[repeated(3, "c"), published(4, "d")]).await;
    }
}

#[tokio::test]
async fn a_sink_that_is_given_up_leaves_the_same_behind() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker, false).await;
    first.send("ab").await;
    first.hears(&[published(1, "a"), published(2, "b")]).await;
    first.broker.pubrec(1, 0).await;
    first.hears(&[Heard::PubRel(1)]).await;
    // Nobody listens any more when the last word on it comes.
    first.outcomes.close();
    first.broker.pubcomp(1, 0).await;
    first.broker.pubrec(2, 0).await;
    first.hears(&[Heard::PubRel(2)]).await;
    drop(first);
    let mut second = Pair::open(&target, &broker, true).await;
    second.hears(&[Heard::PubRel(2)]).await;
    second.send("ab").await;
    second.is_told('a', &Outcome::Confirmed).await;
}

#[tokio::test]
async fn what_is_behind_a_record_that_was_put_off_comes_after_it_and_once() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = target(MqttVersion::V5, &broker);
    let mut first = Pair::open(&target, &broker, false).await;
    first.send("abc").await;
    first
        .hears(&[published(1, "a"), published(2, "b"), published(3, "c")])
        .await;
    first.broker.pubrec(1, QUOTA_EXCEEDED).await;
    first.broker.pubrec(2, 0).await;
    first.hears(&[Heard::End]).await;
    first.cut().await;
    let mut second = Pair::open(&target, &broker, true).await;
    second.send("abc").await;
    second
        .hears(&[published(4, "a"), repeated(2, "b"), repeated(3, "c")])
        .await;
}

#[tokio::test]
async fn no_more_are_under_way_than_the_broker_allows_and_nothing_is_stuck() {
    let mut broker = Broker::start(MqttVersion::V5).await;
    broker.receive_max = 3;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut second = Pair::open(&target, &broker, true).await;
    second.hears(&[Heard::PubRel(1)]).await;
    second.send("xabc").await;
    // There is no place for `x` beside those that are awaited, and they may be behind it.
    second.hears(&[Heard::PubRel(2), Heard::PubRel(3)]).await;
    second.broker.pubcomp(2, ID_NOT_FOUND).await;
    second.hears(&[published(4, "x")]).await;
    second.broker.pubcomp(3, 0).await;
    second.hears(&[published(5, "a")]).await;
    second.broker.pubcomp(1, 0).await;
    second.hears(&[published(6, "b")]).await;
}

#[tokio::test]
async fn a_record_that_is_not_sent_tells_the_broker_no_alias() {
    let mut broker = Broker::start(MqttVersion::V5).await;
    broker.topic_aliases = 10;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut second = Pair::open(&target, &broker, true).await;
    second.hears(&[Heard::PubRel(1)]).await;
    second.send("abcdefgh").await;
    second.hears(&[repeated(2, "b"), repeated(3, "c")]).await;
    for (id, letter) in (4..).zip(["d", "e", "f", "g", "h"]) {
        second.hears(&[published(id, letter)]).await;
    }
    assert!(second.broker.knows_aliases());
}

#[tokio::test]
async fn a_broker_with_other_ideas_of_the_session_is_begun_with_anew() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut second = Pair::open(&target, &broker, true).await;
    second.send("abc").await;
    second
        .hears(&[Heard::PubRel(1), repeated(2, "b"), repeated(3, "c")])
        .await;
    second.broker.pubcomp(77, 0).await;
    second.hears(&[Heard::End]).await;
    second.cut().await;
    let mut third = Pair::open(&target, &broker, false).await;
    assert_eq!(third.connect, begins_anew(MqttVersion::V5));
    third.send("a").await;
    third.hears(&[published(1, "a")]).await;
}

#[tokio::test]
async fn a_broker_whose_places_are_taken_by_what_it_alone_remembers_is_begun_with_anew() {
    let broker = Broker::start(MqttVersion::V5).await;
    let target = broken(MqttVersion::V5, &broker).await;
    let mut second = Pair::open(&target, &broker, true).await;
    second.send("abcd").await;
    second
        .hears(&[Heard::PubRel(1), repeated(2, "b"), repeated(3, "c")])
        .await;
    second.hears(&[published(4, "d")]).await;
    second.broker.pubrec(4, QUOTA_EXCEEDED).await;
    second.hears(&[Heard::End]).await;
    second.cut().await;
    let third = Pair::open(&target, &broker, false).await;
    assert_eq!(third.connect, begins_anew(MqttVersion::V5));
}

#[tokio::test]
async fn what_an_earlier_process_left_at_a_broker_of_3_1_1_is_wiped() {
    let broker = Broker::start(MqttVersion::V3).await;
    let target = target(MqttVersion::V3, &broker);
    let (sender, _outcomes) = mpsc::unbounded_channel();
    let wiping = async {
        let clean = Heard::Connect {
            is_clean: true,
            is_kept: false,
        };
        for (expected, remembers) in [(TAKES_UP, true), (clean, false)] {
            let (mut connection, connect) = broker.let_in(remembers).await;
            assert_eq!(connect, expected);
            assert_eq!(connection.hear().await, Heard::Disconnect);
        }
        broker.let_in(false).await
    };
    let opening = async { tokio::join!(MqttSink::connect(&target, sender), wiping) };
    let (sink, (_connection, connect)) = within(opening).await;
    sink.expect("it was let in");
    assert_eq!(connect, TAKES_UP);
}

#[tokio::test]
async fn sessions_at_qos_1_are_clean() {
    for version in VERSIONS {
        let broker = Broker::start(version).await;
        let mut config = (*target(version, &broker).config).clone();
        config.qos = Qos::AtLeastOnce;
        let target = config.into();
        for id in [1, 2] {
            let mut pair = Pair::open(&target, &broker, false).await;
            let clean = Heard::Connect {
                is_clean: true,
                is_kept: false,
            };
            assert_eq!(pair.connect, clean);
            pair.send("a").await;
            pair.hears(&[published(id, "a")]).await;
            pair.cut().await;
        }
    }
}
