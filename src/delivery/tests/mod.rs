//! Delivery to a sink that follows a script.

mod stand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use self::stand::{Log, Stand, TIMEOUT, frame, frame_with};
use super::*;
use crate::frame::Internal;
use crate::journal::{Location, OffsetOutOfRange};
use crate::sink::{Cause, Failure, Outcome};

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn all_records_are_sent_once_and_in_order_while_all_is_well() {
    let stand = Stand::new(1000, |_| Some(Outcome::Confirmed)).await;
    let delivery = stand.delivery.clone();
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, numbers(0..1000));
    assert_eq!((summary.confirmed, summary.resent), (1000, 0));
    assert_eq!(delivery.status().latency.count(), 1000);
    assert!(
        summary.latency_p50 >= Duration::from_micros(10),
        "since the frames were made"
    );
    assert_eq!(summary.resolved_to, 1000);
}

#[tokio::test]
async fn a_frame_larger_than_a_batch_is_sent_in_its_turn() {
    let stand = Stand::new(2, |_| Some(Outcome::Confirmed)).await;
    for (number, bytes) in [(2, 300 << 10), (3, 0), (4, 200 << 10)] {
        let frame = frame_with(number, vec![0; bytes]);
        stand.journal.appender().append(&frame).await.unwrap();
    }
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, numbers(0..5));
    assert_eq!(summary.confirmed, 5);
}

#[tokio::test]
async fn after_a_failure_it_begins_again_at_the_first_unconfirmed_record() {
    let script = |nth| match nth {
        3 => Some(Outcome::Retry("not now".into())),
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(10, script).await;
    let log = Arc::clone(&stand.log);
    let (summary, sent) = stand.drain().await;
    let again = sent.iter().rposition(|number| number == "3").unwrap();
    assert!(again > 3, "3 was sent again: {sent:?}");
    assert_eq!(sent[again..], numbers(3..10));
    assert_eq!(sent[..again], numbers(0..u64::try_from(again).unwrap()));
    assert_eq!(summary.resolved_to, 10);
    assert_eq!(log.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_was_said_before_a_connection_broke_is_not_asked_for_again() {
    let script = |nth| match nth {
        2 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let log = Log {
        breaks_at: Some(5),
        ..Log::new(script)
    };
    let stand = Stand::to(log, 10).await;
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, [numbers(0..6), numbers(5..10)].concat());
    assert_eq!((summary.confirmed, summary.refused), (9, 1));
}

#[tokio::test]
async fn its_status_says_how_it_is_doing() {
    let script = |nth| match nth {
        2 => Some(Outcome::Refused(Failure::new(Cause::TooLarge, "too large"))),
        3 => Some(Outcome::Retry(Failure::new(Cause::Overloaded, "not now"))),
        // The first try hands over all of them.
        28.. => None,
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(20, script).await;
    let looking = async {
        loop {
            let status = stand.delivery.status();
            if matches!(status.connection, Connection::Connected { .. })
                && status.in_flight_records > 0
                && status.confirmed > 3
                && status.in_flight_bytes > 0
            {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = timeout(TIMEOUT, looking).await.expect("it gets on");
    assert!(status.reached && !status.draining);
    assert_eq!(status.retried, [(Cause::Overloaded, 1)].into());
    assert_eq!(status.refused, [(Cause::TooLarge, 1)].into());
    assert_eq!(status.last_error.expect("it failed").why, "not now");
    assert_eq!(status.latency.count(), status.confirmed);
    assert!(status.sent >= status.confirmed + status.resent);
    assert!(status.last_confirmed.is_some());
    assert!(status.lag.records >= status.in_flight_records);
    assert!(status.lag.bytes > 0 && status.lag.time > Duration::ZERO);

    let handle = stand.delivery.clone();
    handle.stop();
    timeout(TIMEOUT, stand.task).await.unwrap().unwrap();
    assert_eq!(handle.status().connection, Connection::Stopped);
}

#[tokio::test]
async fn a_delivery_is_rewound_while_it_runs() {
    let stand = Stand::new(10, |_| Some(Outcome::Confirmed)).await;
    let handle = stand.delivery.clone();
    let confirmed = |count| {
        let handle = handle.clone();
        timeout(TIMEOUT, async move {
            while handle.status().confirmed < count {
                tokio::task::yield_now().await;
            }
        })
    };
    confirmed(10).await.expect("all are sent");
    handle.rewind(4).expect("it is in the journal");
    confirmed(16)
        .await
        .expect("those from there on are sent again");
    assert_eq!(
        handle.rewind(11),
        Err(OffsetOutOfRange { oldest: 0, end: 10 })
    );
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, [numbers(0..10), numbers(4..10)].concat());
    assert_eq!(summary.resolved_to, 10);
}

#[tokio::test]
async fn a_refused_record_holds_up_no_other() {
    let script = |nth| match nth {
        4 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let (summary, sent) = Stand::new(10, script).await.drain().await;
    assert_eq!(sent, numbers(0..10));
    assert_eq!((summary.confirmed, summary.refused), (9, 1));
    // The dead letter has become an event, perhaps in time to be passed too.
    assert!((10..=11).contains(&summary.resolved_to));
}

#[tokio::test]
async fn a_dead_letter_is_an_event_where_a_route_takes_such() {
    let script = |nth| match nth {
        4 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let mut stand = Stand::new(10, script).await;
    let (topic, data) = stand.own_event().await;
    assert_eq!(topic, Internal::DeadLetters);
    assert_eq!(data["sink"], "sink");
    assert_eq!(data["reason"], "too large");
    assert_eq!((&data["offset"], &data["times"]), (&4.into(), &1.into()));
    stand.drain().await;
}

#[tokio::test]
async fn what_a_sink_must_skip_becomes_a_gap_event_also_while_it_is_away() {
    let mut stand = Stand::new(10, |_| None).await;
    for number in 10..30_000 {
        stand
            .journal
            .appender()
            .append(&frame(number))
            .await
            .unwrap();
    }
    let (topic, data) = stand.own_event().await;
    assert_eq!(topic, Internal::Gaps);
    assert_eq!(
        (&data["kind"], &data["sink"]),
        (&"sink".into(), &"sink".into())
    );
    assert_eq!(
        (&data["cause"], &data["first_offset"]),
        (&"skipped".into(), &0.into())
    );
    assert_eq!(data["records"], data["end_offset"]);
    stand.delivery.stop();
    timeout(TIMEOUT, stand.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_although_the_last_record_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let damage = || {
        let path = path.join("00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let location = Location::Directory(path.clone());
    let script = |_| Some(Outcome::Confirmed);
    let stand = Stand::on(location, 10, Log::new(script), damage).await;
    stand.delivery.drain_to(10);
    let summary = timeout(TIMEOUT, stand.task).await.unwrap().unwrap();
    assert_eq!((summary.confirmed, summary.resolved_to), (9, 10));
}

#[tokio::test]
async fn the_cursor_does_not_pass_a_record_of_which_no_word_has_come() {
    let script = |nth| match nth {
        4 => None,
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(10, script).await;
    stand.delivery.drain_to(4);
    let summary = timeout(TIMEOUT, stand.task).await.unwrap().unwrap();
    assert_eq!(summary.resolved_to, 4);
    assert_eq!(stand.journal.stats().cursors[0].committed, 4);
}

#[tokio::test]
async fn it_stops_although_the_broker_never_answers() {
    let stand = Stand::new(10, |_| None).await;
    stand.delivery.drain_to(10);
    stand.delivery.stop();
    let ended = timeout(TIMEOUT, stand.task).await;
    assert_eq!(ended.unwrap().unwrap().resolved_to, 0);
}

#[tokio::test]
async fn a_delivery_that_panics_begins_again_at_its_cursor_and_is_counted() {
    let script = |nth| {
        assert!(nth != 5, "a bug, made for this test");
        Some(Outcome::Confirmed)
    };
    let stand = Stand::new(10, script).await;
    let delivery = stand.delivery.clone();
    let (summary, sent) = stand.drain().await;
    assert_eq!(delivery.panics(), 1);
    assert_eq!(summary.resolved_to, 10);
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 10, "{sent:?}");
}
