//! Whether a broker would accept records, found out without passing one on to subscribers.
//!
//! At `QoS` 2 a broker says whether it accepts a packet before it is told to pass the packet on, which the
//! probe never does. A broker that passes it on at once all the same gives its subscribers a packet
//! without a payload.

use std::collections::BTreeSet;

use super::codec::handshake::SessionStart;
use super::codec::packet::{DISCONNECT, Incoming};
use super::codec::publish::PublishPacket;
use super::codec::reason;
use super::connection::Connection;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::{Failure, probed_topics};

/// # Errors
/// What failed, with the broker's own message.
pub(in crate::sink) async fn probe(
    mqtt: &Mqtt,
    topics: &BTreeSet<String>,
) -> Result<String, String> {
    try_topics(mqtt, topics)
        .await
        .map_err(|failure| failure.why)
}

async fn try_topics(mqtt: &Mqtt, topics: &BTreeSet<String>) -> Result<String, Failure> {
    let mut connection = Connection::open(&probe_client(mqtt), SessionStart::Clean).await?;
    let version = match mqtt.version {
        MqttVersion::V3 => "3.1.1",
        MqttVersion::V5 => "5",
    };
    let broker = format!("{} accepts the connection with MQTT {version}", mqtt.url);
    if mqtt.version == MqttVersion::V3 {
        return Ok(format!(
            "{broker}; it cannot say which topics this client may publish to"
        ));
    }
    if connection.limits.max_qos < Qos::ExactlyOnce as u8 {
        return Ok(format!(
            "{broker}; without QoS 2 it does not say which topics this client may publish to"
        ));
    }
    let (mut writable, mut wrong) = (Vec::new(), Vec::new());
    let most = probed_topics::MAX_TOPICS.min(connection.limits.receive_max.into());
    for (topic, id) in topics.iter().take(most).zip(1..) {
        match try_to_write(&mut connection, topic, id).await? {
            None => writable.push(topic.as_str()),
            Some(why) => wrong.push(format!("{topic}: {why}")),
        }
    }
    // The broker drops the packets with the session, however that ends.
    let _ = connection.send(&DISCONNECT).await;
    if !wrong.is_empty() {
        return Err(format!("{broker}, but {}", wrong.join("; ")).into());
    }
    Ok(match writable.len() {
        0 => format!("{broker}; the topics depend on the events"),
        _ => format!(
            "{broker}; may write to {}",
            probed_topics::summary(&writable)
        ),
    })
}

/// A client that does not replace the connection or the last will of a forwarder that runs.
fn probe_client(mqtt: &Mqtt) -> Mqtt {
    Mqtt {
        client_id: format!("{}-check", mqtt.client_id),
        status_topic: None,
        ..mqtt.clone()
    }
}

/// Returns why this client may not; `None`: it may.
async fn try_to_write(
    connection: &mut Connection,
    topic: &str,
    id: u16,
) -> Result<Option<String>, Failure> {
    connection
        .send(PublishPacket::probe(topic).with_id(id))
        .await?;
    loop {
        match connection.next().await? {
            Incoming::PubRec { id: of, reason } if of == id => {
                return Ok(reason::is_failure(reason).then(|| reason::text(reason)));
            }
            Incoming::Disconnect { reason } => {
                return Err(reason::failure("the broker ended the connection", reason));
            }
            _ => {}
        }
    }
}
