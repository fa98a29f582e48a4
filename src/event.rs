//! Events of the forwarder's own: what Central or a sink will not give or have again.
//!
//! They are frames of an internal stream, appended to the journal like what Central sends: routes take
//! them by their topic, `@gaps` or `@dead-letters`, and they reach sinks as everything else does. The
//! payload is JSON, and becomes the `data` of a record.

use serde::Serialize;
use serde_json::{Map, Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::frame::{Frame, Internal, Stream, SubscriptionId, Timestamp};
use crate::journal::{Entry, Loss, LossCause};

/// A time in which a subscription received nothing, while Central may have sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub subscription: SubscriptionId,
    /// When the last frame was received, or the connection was lost.
    pub from: Timestamp,
    /// When Central's next frame can have been received; while the gap lasts, now.
    pub until: Timestamp,
    /// What cut the connection, in words for an operator. Without secrets.
    pub why: String,
    /// Tries to connect until it was back.
    pub attempts: u32,
}

impl Gap {
    /// To be appended to the journal.
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

/// To be appended to the journal: records that a sink will not have. It belongs to no account.
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

/// To be appended to the journal: a dead letter, as [`describe`] has it. `None` for one of an event of
/// our own, which makes no other: there would be no end of them.
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

/// What is in a journal's record, its frame in base64.
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

/// An instant; one that has no RFC 3339 form as its number.
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
    fn a_gap_says_what_an_operator_asks_for() {
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
    fn an_event_of_our_own_that_is_refused_makes_no_other() {
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
