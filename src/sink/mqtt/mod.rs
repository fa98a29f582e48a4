//! MQTT 3.1.1 and 5.
//!
//! A record is confirmed by the broker's PUBACK (`QoS` 1) or PUBCOMP (`QoS` 2), found by its packet
//! identifier; at `QoS` 0 there is no such word, and it counts as confirmed once it is written to
//! the socket. Sessions are clean: a connection that broke is not taken up again, and the delivery
//! sends everything unconfirmed anew. The client id is the same each time, so that the broker ends
//! what is left of the old connection before it takes anything from the new one.
//!
//! The handshake is rumqttc's, but not the event loop, which resends by itself, cannot tell a record
//! that is refused from a connection that is broken, and loses the place of each refused record at
//! `QoS` 2.
//!
//! A broker that speaks 3.1.1 has no way to refuse a record: it drops it in silence, or closes the
//! connection.

mod dial;
mod handshake;
mod packet;
mod probe;
mod publish;
mod reason;
mod session;

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::probe::probe;

use self::publish::Encoder;
use self::session::{Request, Session, named};
use super::{Broken, Failure, Outcome, Outcomes, Record, Sink, Ticket};
use crate::config;

/// Records that wait for a place under the broker's receive maximum; beyond, `send` waits.
const QUEUE_RECORDS: usize = 1024;

/// One connection to a broker.
pub struct MqttSink {
    encoder: Encoder,
    requests: mpsc::Sender<Request>,
    outcomes: Outcomes,
    /// Why the session ended.
    end: Arc<OnceLock<Failure>>,
    /// Ends the session with this value: what it has not yet sent is not sent any more.
    _session: DropGuard,
}

impl std::fmt::Debug for MqttSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttSink").finish_non_exhaustive()
    }
}

impl Sink for MqttSink {
    type Config = config::Mqtt;

    async fn connect(config: &Self::Config, outcomes: Outcomes) -> Result<Self, Broken> {
        let (requests, queue) = mpsc::channel(QUEUE_RECORDS);
        let session = Session::open(config, queue, outcomes.clone())
            .await
            .map_err(|failure| Broken(named(failure)))?;
        let encoder = Encoder::new(config, session.limits());
        let end = Arc::new(OnceLock::new());
        let given_up = CancellationToken::new();
        tokio::spawn(session.run(given_up.clone(), Arc::clone(&end)));
        Ok(Self {
            encoder,
            requests,
            outcomes,
            end,
            _session: given_up.drop_guard(),
        })
    }

    async fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), Broken> {
        let packet = match self.encoder.packet(record) {
            Ok(packet) => packet,
            Err(why) => {
                let _ = self.outcomes.send((ticket, Outcome::Refused(why)));
                return Ok(());
            }
        };
        let request = Request { ticket, packet };
        self.requests.send(request).await.map_err(|_| {
            let end = self.end.get().cloned();
            Broken(end.unwrap_or_else(|| named("the connection ended".into())))
        })
    }

    /// The session sends whatever it may at once.
    async fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}
