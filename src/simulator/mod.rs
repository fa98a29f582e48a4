//! A stand-in for Central, on the real paths, faithful enough that a client cannot tell.
//!
//! One site with access points and clients is made up from a seed. The frames that it sends are
//! encoded once, at the start; while it runs, a frame is a copy with its number and its time put in.
//! So the same seed gives the same frames, but for the times, and sending costs little more than the
//! copy.
//!
//! Every frame carries its number, as the last twelve characters of a string of its payload:
//!
//! | topic | field |
//! |---|---|
//! | `apprf` | `ap_name` |
//! | `audit` | `target` |
//! | `location`, geofence notices too | `hashed_sta_eth_mac` |
//! | `monitoring` | `aps[0].name` |
//! | `presence` | `event` |
//! | `security` | `rogue[0].rogue_name` |
//!
//! Numbers begin with 1 and go up by one per topic, over all connections and reconnects; each number
//! is sent on one connection only. [`sequence_of`] reads them back from a record's `data`,
//! [`sequence_of_frame`] from the frame itself.

mod certificate;
mod feed;
mod frames;
mod ledger;
mod pace;
mod payload;
mod sequence;
mod server;
mod site;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::certificate::Certificate;
use self::ledger::Ledger;
use self::server::{Server, Streaming};
use crate::config::secret::Secret;

pub use self::ledger::Sent;
pub use self::sequence::{sequence_of, sequence_of_frame};
pub use crate::config::CLASSIC_TOPICS as TOPICS;

#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// With a certificate of its own: see [`Simulator::certificate`].
    pub tls: bool,
    /// The only key that is accepted.
    pub key: Secret,
    /// The topics that an operator has enabled.
    pub topics: Vec<String>,
    /// Frames a second on each connection; 0 is as fast as the client reads.
    pub rate: u32,
    /// Frames on each connection, after which it stays open and silent; `None`: no end.
    pub count: Option<u64>,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: false,
            key: Secret::literal("simulated-key"),
            topics: TOPICS.map(str::to_owned).to_vec(),
            rate: 50,
            count: None,
            seed: 1,
        }
    }
}

/// Why a simulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    #[error("there is no topic {0}")]
    UnknownTopic(String),
}

/// A simulator that runs. Dropping it does not stop it: see [`Simulator::stop`].
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    certificate: Option<String>,
    streaming: Arc<Streaming>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Simulator {
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if let Some(topic) = options
            .topics
            .iter()
            .find(|topic| !TOPICS.contains(&topic.as_str()))
        {
            return Err(StartError::UnknownTopic(topic.clone()));
        }
        let listen = |source| StartError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let certificate = options
            .tls
            .then(|| Certificate::new(addr.ip()))
            .transpose()?;
        let pem = certificate
            .as_ref()
            .map(|certificate| certificate.pem.clone());
        let streaming = Arc::new(Streaming::new(options));
        let stop = CancellationToken::new();
        let server = Server {
            listener,
            tls: certificate.map(|certificate| certificate.acceptor),
            streaming: Arc::clone(&streaming),
            stop: stop.clone(),
        };
        Ok(Self {
            addr,
            certificate: pem,
            streaming,
            stop,
            server: tokio::spawn(server.run()),
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a config has as `endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.certificate.is_some() {
            "wss"
        } else {
            "ws"
        };
        format!("{scheme}://{}{}", self.addr, server::STREAMING_PATH)
    }

    /// The certificate in PEM, for a client's own CA file; `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// What was sent on each topic so far, over all connections.
    #[must_use]
    pub fn sent(&self) -> BTreeMap<&'static str, Sent> {
        self.ledger().all()
    }

    /// Drops every connection as a network does: without a close frame.
    pub fn drop_connections(&self) {
        self.streaming.drop_connections();
    }

    /// Drops every connection and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the simulator ended badly");
        }
    }

    fn ledger(&self) -> &Ledger {
        self.streaming.ledger()
    }
}
