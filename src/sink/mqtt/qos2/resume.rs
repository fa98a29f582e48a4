//! Finishes the pending exchanges, on a connection that carries nothing else, before new records are
//! sent.
//!
//! A broker that was killed may come back with an old state of its session, in which packet identifiers
//! stand for other records. So no new record is sent over a session that is resumed.

use tokio::time::timeout;

use super::pending::PendingExchanges;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::mqtt::codec::handshake::SessionStart;
use crate::sink::mqtt::codec::packet::{Incoming, pubrel};
use crate::sink::mqtt::codec::reason;
use crate::sink::mqtt::connection::{Connection, TIMEOUT, timed_out};
use crate::sink::mqtt::dial::dial;
use crate::sink::{Cause, Failure};

/// Connects for records. At `QoS` 2, the pending exchanges are finished first, and records go over a
/// session of which the broker remembers nothing.
pub(crate) async fn connect_for_records(
    mqtt: &Mqtt,
    pending: &mut PendingExchanges,
) -> Result<Connection, Failure> {
    if mqtt.qos != Qos::ExactlyOnce {
        return Connection::open(mqtt, SessionStart::Clean).await;
    }
    if mqtt.version == MqttVersion::V3 {
        // A broker of 3.1.1 cannot say that it has no room: Mosquitto with identifiers from an old state
        // was seen to confirm and drop what is published over that session.
        pending.drop_published();
    }
    if !pending.are_finished() {
        finish(mqtt, pending).await?;
    }
    open_fresh(mqtt).await
}

async fn open_fresh(mqtt: &Mqtt) -> Result<Connection, Failure> {
    if mqtt.version == MqttVersion::V3 {
        erase_session(mqtt).await?;
    }
    let connection = Connection::open(mqtt, SessionStart::Fresh).await?;
    if connection.is_resumed {
        return Err("the broker keeps a session that it was told to erase".into());
    }
    Ok(connection)
}

/// A broker of 3.1.1 erases a session only when a client connects with a clean one.
async fn erase_session(mqtt: &Mqtt) -> Result<(), Failure> {
    let without_status = Mqtt {
        status_topic: None,
        ..mqtt.clone()
    };
    let connection = Connection::open(&without_status, SessionStart::Clean).await?;
    connection.close().await;
    Ok(())
}

/// # Errors
/// The connection broke, or the broker does not answer: what is unfinished is left for the next attempt.
async fn finish(mqtt: &Mqtt, pending: &mut PendingExchanges) -> Result<(), Failure> {
    let Some(mut connection) = resume(mqtt, pending).await? else {
        return Ok(());
    };
    let unfinished = pending.unfinished();
    let finished = timeout(TIMEOUT, finish_all(&mut connection, pending))
        .await
        .unwrap_or_else(|_| Err(timed_out("pending QoS 2 exchanges were not finished")));
    if finished.is_err() {
        pending.note_attempt(pending.unfinished() < unfinished);
        return finished;
    }
    connection.close().await;
    Ok(())
}

/// Resumes the session; `None`: the broker has forgotten it, and the unfinished records are sent again.
async fn resume(
    mqtt: &Mqtt,
    pending: &mut PendingExchanges,
) -> Result<Option<Connection>, Failure> {
    let stream = dial(mqtt).await?;
    // A broker without the session creates one. If its answer is lost, that new session looks like the old
    // one the next time. So without an answer the unfinished exchanges are dropped.
    let unfinished = pending.take_unfinished();
    match Connection::handshake(mqtt, stream, SessionStart::Resumed).await {
        Ok(connection) if connection.is_resumed => {
            pending.put_back(unfinished);
            Ok(Some(connection))
        }
        Ok(connection) => {
            connection.close().await;
            Ok(None)
        }
        Err(failure) => {
            if !matches!(failure.cause, Cause::ConnectionLost | Cause::Timeout) {
                pending.put_back(unfinished);
            }
            Err(failure)
        }
    }
}

async fn finish_all(
    connection: &mut Connection,
    pending: &mut PendingExchanges,
) -> Result<(), Failure> {
    let mut sent = 0;
    loop {
        while pending.unfinished_among(sent) < connection.limits.receive_max.into()
            && let Some(exchange) = pending.get(sent)
        {
            sent += 1;
            if !exchange.is_complete() {
                connection.send(&exchange.next_packet()).await?;
            }
        }
        if pending.are_finished() {
            return Ok(());
        }
        handle_next(connection, pending).await?;
    }
}

async fn handle_next(
    connection: &mut Connection,
    pending: &mut PendingExchanges,
) -> Result<(), Failure> {
    match connection.next().await? {
        Incoming::PubRec { id, reason } | Incoming::PubComp { id, reason }
            if reason::is_failure(reason) =>
        {
            pending.drop_from(id);
        }
        Incoming::PubRec { id, .. } => {
            if pending.received(id) {
                connection.send(&pubrel(id)).await?;
            }
        }
        Incoming::PubComp { id, .. } => pending.complete(id),
        Incoming::Disconnect { reason } => {
            return Err(reason::failure("the broker ended the connection", reason));
        }
        Incoming::PubAck { .. } | Incoming::PingResponse => {}
    }
    Ok(())
}
