//! MQTT 3.1.1 and 5.
//!
//! A record is confirmed by the broker's PUBACK (`QoS` 1) or PUBCOMP (`QoS` 2), found by its packet
//! identifier; at `QoS` 0 there is no such word, and it counts as confirmed once it is written to
//! the socket. The client id is the same each time, so that the broker ends what is left of the old
//! connection before it takes anything from the new one.
//!
//! At `QoS` 2 what was begun is finished, then all begins anew. After a connection that broke, the
//! broker's session is taken up for what was under way, and for nothing else; new records go over a
//! new session, so that none meets what a broker remembers. The delivery hands everything unconfirmed
//! over again: what has come to its end is confirmed at once, the rest is sent. At `QoS` 0 and 1
//! sessions are clean: a broker passes on twice what it gets twice.
//!
//! The handshake is rumqttc's, but not the event loop, which resends by itself, cannot tell a record
//! that is refused from a connection that is broken, and loses the place of each refused record at
//! `QoS` 2.
//!
//! A broker that speaks 3.1.1 has no way to refuse a record: it drops it in silence, or closes the
//! connection.

mod codec;
mod connection;
mod dial;
mod probe;
mod qos2;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use self::codec::publish::Encoder;
use self::connection::{PATIENCE, late};
use self::qos2::pending::{Key, Leftovers};
use self::session::{Request, Session, named};
use super::{ConnectionError, ConnectionTask, DeliveryId, Outcome, Outcomes, Record, Sink};
use crate::config::{self, Qos};

/// Records that wait for a place under the broker's receive maximum; beyond, `send` waits.
const QUEUE_RECORDS: usize = 1024;

/// A broker, and what connections to it have left.
#[derive(Clone, Debug)]
pub struct Target {
    config: Arc<config::Mqtt>,
    /// Lent to the connection that there is.
    leftovers: Arc<Mutex<Leftovers>>,
}

impl From<config::Mqtt> for Target {
    fn from(config: config::Mqtt) -> Self {
        Self {
            config: Arc::new(config),
            leftovers: Arc::default(),
        }
    }
}

/// One connection to a broker.
pub struct MqttSink {
    encoder: Encoder,
    /// Whether the broker is to remember what is under way.
    is_remembered: bool,
    requests: mpsc::Sender<Request>,
    session: ConnectionTask,
    outcomes: Outcomes,
}

impl std::fmt::Debug for MqttSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttSink").finish_non_exhaustive()
    }
}

impl Sink for MqttSink {
    type Config = Target;

    async fn probe(target: &Target, topics: &BTreeSet<String>) -> Result<String, String> {
        probe::probe(&target.config, topics).await
    }

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let config = &*target.config;
        let leftovers = timeout(PATIENCE, Arc::clone(&target.leftovers).lock_owned())
            .await
            .map_err(|_| ConnectionError(named(late("no end of the last connection"))))?;
        let (requests, queue) = mpsc::channel(QUEUE_RECORDS);
        let session = Session::open(config, queue, outcomes.clone(), leftovers)
            .await
            .map_err(|failure| ConnectionError(named(failure)))?;
        Ok(Self {
            encoder: Encoder::new(config, session.limits()),
            is_remembered: config.qos == Qos::ExactlyOnce,
            requests,
            session: ConnectionTask::spawn("mqtt", outcomes.clone(), |stop| session.run(stop)),
            outcomes,
        })
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        let packet = match self.encoder.packet(record) {
            Ok(packet) => packet,
            Err(why) => {
                self.outcomes.report(delivery_id, Outcome::Refused(why));
                return Ok(());
            }
        };
        let request = Request {
            delivery_id: Some(delivery_id),
            key: self.is_remembered.then(|| Key::of(record)),
            packet,
        };
        match self.requests.send(request).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.session.error().await),
        }
    }

    /// The session sends whatever it may at once.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}
