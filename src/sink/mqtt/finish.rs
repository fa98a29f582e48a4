//! What an earlier connection has left half way is brought to its end, on a connection that carries
//! nothing else.
//!
//! A broker that was killed may come back with a session from an old state of its own, in which
//! identifiers stand for records of long ago. So no new record is sent over a session that is taken
//! up: see `Line::begin`.

use tokio::time::timeout;

use super::dial::dial;
use super::handshake::Start;
use super::leftovers::Leftovers;
use super::line::{Line, PATIENCE, late};
use super::packet::{Incoming, pubrel};
use super::reason;
use crate::config::Mqtt;
use crate::sink::{Cause, Failure};

/// # Errors
/// The connection broke, or the broker does not answer: what has not come to its end is left for the
/// next try.
pub(super) async fn finish(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<(), Failure> {
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
