//! The forwarder's own events: gaps in what was received or delivered, and dead letters.
//!
//! They are frames of an internal stream, and are appended to the journal like Central's frames. Routes
//! take them by their topic, `@gaps` or `@dead-letters`, and sinks get them like any other frame. The
//! payload is JSON, and becomes the `data` of a record.

use serde::Serialize;
use serde_json::{Map, Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::frame::{Frame, Internal, Stream, SubscriptionId, Timestamp};
use crate::journal::{Entry, Loss, LossCause};

/// A period in which a subscription received nothing, while Central may have sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub subscription: SubscriptionId,
    /// When the last frame was received, or the connection was lost.
    pub from: Timestamp,
    /// When frames could be received again; while the gap lasts, now.
    pub until: Timestamp,
    /// Why there was no connection, in words for an operator. Without secrets.
    pub why: String,
    /// Attempts to connect until it succeeded.
    pub attempts: u32,
}

impl Gap {
    /// The event, to be appended to the journal.
    #[must_use]
    pub fn frame(&self) -> Frame {
        #[derive(Serialize)]
        struct Data<'a> {
            kind: &'static str,
            account: &'a str,
            topic: &'a str,
            stream: String,
            from: String,
            until: String,
            seconds: f64,
            why: &'a str,
            attempts: u32,
        }
        let subscription = &self.subscription;
        let data = Data {
            kind: "subscription",
            account: subscription.account(),
            topic: subscription.topic(),
            stream: subscription.stream().to_string(),
            from: time(self.from),
            until: time(self.until),
            seconds: seconds(self.from, self.until),
            why: &self.why,
            attempts: self.attempts,
        };
        frame(Internal::Gaps, subscription.account(), &data)
    }
}

/// The event of records that a sink will not get, to be appended to the journal. It belongs to no account.
#[must_use]
pub fn sink_gap(sink: &str, loss: &Loss) -> Frame {
    #[derive(Serialize)]
    struct Data<'a> {
        kind: &'static str,
        sink: &'a str,
        cause: &'static str,
        records: u64,
        first_offset: u64,
        end_offset: u64,
        why: &'static str,
    }
    let (cause, why) = match loss.cause {
        LossCause::Skipped => (
            "skipped",
            "the sink was too far behind, or the journal was full: its oldest frames were skipped",
        ),
        LossCause::Damaged => (
            "damaged",
            "the frames are damaged in the journal and were passed over",
        ),
    };
    let data = Data {
        kind: "sink",
        sink,
        cause,
        records: loss.records,
        first_offset: loss.first,
        end_offset: loss.end,
        why,
    };
    frame(Internal::Gaps, "", &data)
}

/// The event of a dead letter, as [`describe`] prints it, to be appended to the journal. `None` if the dead
/// letter is one of our own events: it must not cause another one without end.
#[must_use]
pub fn dead_letter(letter: &Entry) -> Option<Frame> {
    let subscription = &letter.frame.subscription;
    let is_own = matches!(subscription.stream(), Stream::Internal(_));
    (!is_own).then(|| {
        frame(
            Internal::DeadLetters,
            subscription.account(),
            &describe(letter),
        )
    })
}

/// A record of the journal as JSON, with its frame in base64.
#[must_use]
pub fn describe(entry: &Entry) -> Value {
    let frame = &entry.frame;
    let mut members = Map::new();
    let mut member = |name: &str, value: Value| members.insert(name.to_owned(), value);
    member("offset", json!(entry.offset));
    member("received_at", json!(time(frame.received_at)));
    member("account", json!(frame.subscription.account()));
    member("stream", json!(frame.subscription.stream().to_string()));
    if let Some(refusal) = &entry.refusal {
        member("sink", json!(refusal.sink));
        member("reason", json!(refusal.reason));
        member("refused_at", json!(time(refusal.refused_at)));
        member("times", json!(refusal.times));
    }
    member("frame", json!(STANDARD.encode(&frame.payload)));
    Value::Object(members)
}

fn frame(topic: Internal, account: &str, data: &impl Serialize) -> Frame {
    let json = serde_json::to_vec(data).expect("its keys are texts");
    Frame {
        subscription: SubscriptionId::new(account, Stream::Internal(topic)),
        received_at: Timestamp::now(),
        payload: Bytes::from(json),
    }
}

/// A time in RFC 3339, or as microseconds if it has no such form.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.rfc3339()
        .map_or_else(|| at.0.to_string(), |text| text.to_string())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(from: Timestamp, until: Timestamp) -> f64 {
    until.0.saturating_sub(from.0) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_has_the_members_that_operators_need() {
        let gap = Gap {
            subscription: SubscriptionId::new(
                "acme",
                Stream::parse("classic/monitoring").expect("it is one"),
            ),
            from: Timestamp(1_700_000_000_000_000),
            until: Timestamp(1_700_000_001_500_000),
            why: "the connection broke".to_owned(),
            attempts: 2,
        };
        let frame = gap.frame();
        assert_eq!(frame.subscription.to_string(), "acme/@gaps");
        let expected = r#"{"kind":"subscription","account":"acme","topic":"monitoring","stream":"classic/monitoring","from":"2023-11-14T22:13:20.000000Z","until":"2023-11-14T22:13:21.500000Z","seconds":1.5,"why":"the connection broke","attempts":2}"#;
        assert_eq!(frame.payload, expected.as_bytes());
    }

    #[test]
    fn a_refused_event_of_our_own_makes_no_other_event() {
        let loss = Loss {
            cause: LossCause::Damaged,
            records: 1,
            first: 3,
            end: 4,
        };
        let entry = |frame| Entry {
            offset: 0,
            frame,
            refusal: None,
        };
        let own = entry(sink_gap("lake", &loss));
        assert_eq!(dead_letter(&own), None);
        let mut central = own;
        central.frame.subscription =
            SubscriptionId::new("acme", Stream::parse("classic/audit").expect("it is one"));
        let event = dead_letter(&central).expect("it is Central's");
        assert_eq!(event.subscription.to_string(), "acme/@dead-letters");
    }
}
