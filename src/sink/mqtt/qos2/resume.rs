//! What an earlier connection has left half way is brought to its end, on a connection that carries
//! nothing else.
//!
//! A broker that was killed may come back with a session from an old state of its own, in which
//! identifiers stand for records of long ago. So no new record is sent over a session that is taken
//! up: see `begin`.

use tokio::time::timeout;

use super::pending::Leftovers;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::mqtt::codec::handshake::Start;
use crate::sink::mqtt::codec::packet::{Incoming, pubrel};
use crate::sink::mqtt::codec::reason;
use crate::sink::mqtt::connection::{Line, PATIENCE, late};
use crate::sink::mqtt::dial::dial;
use crate::sink::{Cause, Failure};

/// Connects for records. At `QoS` 2 what was left half way is finished first; records go over a
/// session of which the broker can know nothing from before.
pub(crate) async fn begin(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<Line, Failure> {
    if mqtt.qos != Qos::ExactlyOnce {
        return Line::open(mqtt, Start::Clean).await;
    }
    if mqtt.version == MqttVersion::V3 {
        // A broker of 3.1.1 cannot say that it has no place: Mosquitto with identifiers from an
        // old state was seen to confirm and drop what is published over that session.
        leftovers.forget_published();
    }
    if !leftovers.are_finished() {
        finish(mqtt, leftovers).await?;
    }
    begin_anew(mqtt).await
}

async fn begin_anew(mqtt: &Mqtt) -> Result<Line, Failure> {
    if mqtt.version == MqttVersion::V3 {
        wipe(mqtt).await?;
    }
    let line = Line::open(mqtt, Start::Anew).await?;
    if line.is_resumed {
        return Err("the broker keeps a session that it was told to forget".into());
    }
    Ok(line)
}

/// A broker of 3.1.1 forgets a session only for one that it is not to keep.
async fn wipe(mqtt: &Mqtt) -> Result<(), Failure> {
    let stand_in = Mqtt {
        status_topic: None,
        ..mqtt.clone()
    };
    Line::open(&stand_in, Start::Clean).await?.end().await;
    Ok(())
}

/// # Errors
/// The connection broke, or the broker does not answer: what has not come to its end is left for the
/// next try.
async fn finish(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<(), Failure> {
    let Some(mut line) = resume(mqtt, leftovers).await? else {
        return Ok(());
    };
    let unfinished = leftovers.unfinished();
    let finished = timeout(PATIENCE, go_on(&mut line, leftovers))
        .await
        .unwrap_or_else(|_| Err(late("no end of what was under way")));
    if finished.is_err() {
        leftovers.count_try(leftovers.unfinished() < unfinished);
        return finished;
    }
    line.end().await;
    Ok(())
}

/// Takes the session up; `None`: the broker has forgotten it, and what was left of it is sent anew.
async fn resume(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<Option<Line>, Failure> {
    let stream = dial(mqtt).await?;
    // A broker that has no session makes one when it is asked. Should its word of that be lost, the new
    // session would pass for the old one the next time: without an answer, nothing is finished.
    let unfinished = leftovers.take_unfinished();
    match Line::shake_hands(mqtt, stream, Start::Resumed).await {
        Ok(line) if line.is_resumed => {
            leftovers.put_back(unfinished);
            Ok(Some(line))
        }
        Ok(line) => {
            line.end().await;
            Ok(None)
        }
        Err(failure) => {
            if !matches!(failure.cause, Cause::ConnectionLost | Cause::Timeout) {
                leftovers.put_back(unfinished);
            }
            Err(failure)
        }
    }
}

async fn go_on(line: &mut Line, leftovers: &mut Leftovers) -> Result<(), Failure> {
    let mut reminded = 0;
    loop {
        while leftovers.unfinished_among(reminded) < line.limits.receive_max.into()
            && let Some(leftover) = leftovers.get(reminded)
        {
            reminded += 1;
            if !leftover.is_complete() {
                line.send(&leftover.reminder()).await?;
            }
        }
        if leftovers.are_finished() {
            return Ok(());
        }
        hear(line, leftovers).await?;
    }
}

async fn hear(line: &mut Line, leftovers: &mut Leftovers) -> Result<(), Failure> {
    match line.next().await? {
        Incoming::PubRec { id, reason } | Incoming::PubComp { id, reason }
            if reason::is_failure(reason) =>
        {
            leftovers.forget_from(id);
        }
        Incoming::PubRec { id, .. } => {
            if leftovers.receive(id) {
                line.send(&pubrel(id)).await?;
            }
        }
        Incoming::PubComp { id, .. } => leftovers.complete(id),
        Incoming::Goodbye { reason } => {
            return Err(reason::failure("the broker ended the connection", reason));
        }
        Incoming::PubAck { .. } | Incoming::Pong => {}
    }
    Ok(())
}
