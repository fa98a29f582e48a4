//! MQTT 3.1.1 and 5.
//!
//! A record is confirmed by the broker's PUBACK (`QoS` 1) or PUBCOMP (`QoS` 2), found by its packet
//! identifier. At `QoS` 0 there is no acknowledgement: a record counts as confirmed once it is written to
//! the socket. The client id is the same for each connection, so that the broker ends the old connection
//! before it accepts anything from the new one.
//!
//! At `QoS` 2, a connection that broke is followed by one that resumes the broker's session and finishes the
//! pending exchanges, and nothing else; new records then go over a new session, so that none meets a packet
//! identifier that the broker remembers. The delivery hands over everything unconfirmed again: a record
//! whose exchange was finished is confirmed at once, the others are sent. At `QoS` 0 and 1 sessions are
//! clean, as a broker passes on twice what it receives twice.
//!
//! CONNECT and CONNACK are rumqttc's. Its event loop is not used: it resends by itself, cannot tell a
//! refused record from a broken connection, and leaks the place of each refused record at `QoS` 2.
//!
//! A broker of 3.1.1 cannot refuse a record: it drops the record silently, or closes the connection.
//!
//! - `codec`: bytes, without I/O
//! - `connection`: a socket until the broker has accepted the connection; `dial` opens it
//! - `session`: the task that sends records and receives acknowledgements
//! - `qos2`: what connections leave unfinished at `QoS` 2, and how it is finished

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
use self::connection::{TIMEOUT, timed_out};
use self::qos2::pending::{PendingExchanges, RecordHash};
use self::session::{Request, Session, with_protocol};
use super::{ConnectionError, ConnectionTask, DeliveryId, Outcome, Outcomes, Record, Sink};
use crate::config::{self, Qos};

/// Records that wait for a place under the broker's receive maximum; beyond, `send` waits.
const QUEUE_RECORDS: usize = 1024;

/// A broker, and what the connections to it share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    config: Arc<config::Mqtt>,
    /// Locked by the connection that is open.
    pending: Arc<Mutex<PendingExchanges>>,
}

impl From<config::Mqtt> for Target {
    fn from(config: config::Mqtt) -> Self {
        Self {
            config: Arc::new(config),
            pending: Arc::default(),
        }
    }
}

/// One connection to a broker.
pub struct MqttSink {
    encoder: Encoder,
    qos: Qos,
    session: ConnectionTask<Request>,
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
        let pending = timeout(TIMEOUT, Arc::clone(&target.pending).lock_owned())
            .await
            .map_err(|_| timed_out("the last connection was not closed"))
            .map_err(|failure| ConnectionError(with_protocol(failure)))?;
        let (requests, queue) = mpsc::channel(QUEUE_RECORDS);
        let session = Session::open(config, queue, outcomes.clone(), pending)
            .await
            .map_err(ConnectionError)?;
        Ok(Self {
            encoder: Encoder::new(config, session.limits()),
            qos: config.qos,
            session: ConnectionTask::spawn("mqtt", requests, outcomes.clone(), |stop| {
                session.run(stop)
            }),
            outcomes,
        })
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        match self.encoder.packet(record) {
            Ok(packet) => {
                let record = (self.qos == Qos::ExactlyOnce).then(|| RecordHash::of(record));
                let request = Request {
                    delivery_id: Some(delivery_id),
                    record,
                    packet,
                };
                self.session.send(request).await
            }
            Err(why) => {
                self.outcomes.report(delivery_id, Outcome::Refused(why));
                Ok(())
            }
        }
    }

    /// The session holds nothing back.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}
