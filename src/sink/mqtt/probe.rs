//! Whether a broker would take our records, found out without one that a subscriber should see.
//!
//! At `QoS` 2 a broker says whether it takes a packet before it is told to pass it on, and we never
//! tell it. A broker that passes it on at once all the same gives its subscribers a packet without a
//! payload.

use std::collections::BTreeSet;

use super::codec::handshake::Start;
use super::codec::packet::{DISCONNECT, Incoming};
use super::codec::publish::Packet;
use super::codec::reason;
use super::connection::Line;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::Failure;

/// Topics that are tried, where the broker lets so many be under way; of more, the first ones.
const MAX_TOPICS: usize = 100;

/// Topics that are named one by one in the answer.
const NAMED: usize = 5;

/// # Errors
/// What failed, in words of the broker.
pub(in crate::sink) async fn probe(
    mqtt: &Mqtt,
    topics: &BTreeSet<String>,
) -> Result<String, String> {
    try_topics(mqtt, topics)
        .await
        .map_err(|failure| failure.why)
}

async fn try_topics(mqtt: &Mqtt, topics: &BTreeSet<String>) -> Result<String, Failure> {
    let mut line = Line::open(&stand_in(mqtt), Start::Clean).await?;
    let version = match mqtt.version {
        MqttVersion::V3 => "3.1.1",
        MqttVersion::V5 => "5",
    };
    let broker = format!("{} lets us in by MQTT {version}", mqtt.url);
    if mqtt.version == MqttVersion::V3 {
        return Ok(format!("{broker}, which cannot say where we may write"));
    }
    if line.limits.max_qos < Qos::ExactlyOnce as u8 {
        return Ok(format!(
            "{broker}; where we may write, only events will tell"
        ));
    }
    let (mut writable, mut wrong) = (Vec::new(), Vec::new());
    let most = MAX_TOPICS.min(line.limits.receive_max.into());
    for (topic, id) in topics.iter().take(most).zip(1..) {
        match try_to_write(&mut line, topic, id).await? {
            None => writable.push(topic.as_str()),
            Some(why) => wrong.push(format!("{topic}: {why}")),
        }
    }
    // What has been sent goes with the session, however it ends.
    let _ = line.send(&DISCONNECT).await;
    if !wrong.is_empty() {
        return Err(format!("{broker}, but {}", wrong.join("; ")).into());
    }
    Ok(match writable.len() {
        0 => format!("{broker}; where we write, only events will tell"),
        many if many > NAMED => format!("{broker}; may write to {many} topics"),
        _ => format!("{broker}; may write to {}", writable.join(", ")),
    })
}

/// A client that takes nothing from a forwarder that runs: not its connection, not its last will.
fn stand_in(mqtt: &Mqtt) -> Mqtt {
    Mqtt {
        client_id: format!("{}-check", mqtt.client_id),
        status_topic: None,
        ..mqtt.clone()
    }
}

/// Says why not.
async fn try_to_write(line: &mut Line, topic: &str, id: u16) -> Result<Option<String>, Failure> {
    line.send(Packet::trial(topic).with_id(id)).await?;
    loop {
        match line.next().await? {
            Incoming::PubRec { id: of, reason } if of == id => {
                return Ok(reason::is_failure(reason).then(|| reason::text(reason)));
            }
            Incoming::Goodbye { reason } => {
                return Err(reason::failure("the broker ended the connection", reason));
            }
            _ => {}
        }
    }
}
