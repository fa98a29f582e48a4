//! Simulates Central, both generations, on the real paths, so closely that a client sees no difference.
//!
//! One site with access points and clients is made up from a seed. The frames that it sends are encoded
//! once, at the start; while it runs, each frame is a copy with its number and time put in. So the same
//! seed gives the same frames except for the times, and sending costs little more than the copy.
//!
//! | path | what |
//! |---|---|
//! | `/streaming/api` | Classic: a topic, named in the header `Topic`, for a key |
//! | `/streaming/token/validate` | Classic: the current key, for one that is or was valid |
//! | `/SERVICE/VERSION/EVENT` | New Central: an event, for an access token |
//! | `/as/token.oauth2`, `/authorization/v2/oauth2/WORKSPACE/token` | access tokens |
//! | `/simulator/faults` | GET: the orders and how often each has happened; POST: orders [faults](Fault), one a line; DELETE: removes the orders |
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
//! | events of New Central | the envelope's `id`, and a field of the payload |
//!
//! Classic: numbers begin with 1 and go up by one per topic, over all connections and reconnects;
//! each number is sent on one connection only. New Central: each subscriber has numbers of its own (see
//! `supply::subscribers`), and those that may not have been sent are sent again. [`sequence_of`] reads
//! them back from a record's `data`, [`sequence_of_frame`] from the frame itself.
//!
//! | room | what |
//! |---|---|
//! | `server` | the listener, TLS, and what is answered on each path |
//! | `central` | what all connections share, and who is admitted to which stream |
//! | `auth` | keys and access tokens |
//! | `connection` | sends frames on one connection, and its faults |
//! | `supply` | which frames a connection sends, and when |
//! | `frames` | the frames themselves |
//! | `faults` | faults that were ordered |

mod auth;
mod central;
mod clock;
mod connection;
mod faults;
mod frames;
mod handshakes;
mod server;
mod supply;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::central::Central;
use self::server::certificate::Certificate;
use self::server::{Server, routes};
use crate::config::secret::Secret;

pub use self::faults::{Fault, FaultKind, FaultOrder, InvalidFault};
pub use self::frames::sequence::{sequence_of, sequence_of_frame};
pub use self::handshakes::Handshake;
pub use self::supply::ledger::SentFrames;
pub use crate::streams::{CLASSIC_TOPICS as TOPICS, NEW_PATHS as EVENTS};

/// How long Central keeps events for a subscriber that is away (documented by HPE).
const QUEUE_TIME: Duration = Duration::from_secs(15 * 60);

/// How long an access token lasts (seen in clients; it may be 15 minutes too).
const TOKEN_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// With a certificate of its own: see [`Simulator::certificate`].
    pub tls: bool,
    /// The Classic key that is accepted; with `key_lifetime`, the secret that keys are signed with.
    pub key: Secret,
    /// How long a Classic key is valid. Then the connections that it opened are closed, and it is
    /// refused. See [`Simulator::key`]. `None`: for ever.
    pub key_lifetime: Option<Duration>,
    /// The Classic topics that an operator has enabled.
    pub topics: Vec<String>,
    /// For access tokens of New Central.
    pub client_id: Secret,
    pub client_secret: Secret,
    /// How long an access token opens streams. Streams that are open stay open.
    pub token_lifetime: Duration,
    /// New Central: the paths that exist, of [`EVENTS`].
    pub events: Vec<String>,
    /// New Central: payloads are in `binary_data`, without their type, except for `ap-events`.
    pub bare_payloads: bool,
    /// New Central: how long events are kept for a subscriber that is away.
    pub queue_time: Duration,
    /// Frames a second on each connection, of New Central for each subscriber; 0 is as fast as the
    /// client reads.
    pub rate: u32,
    /// Frames on each connection, of New Central for each subscriber, after which the connection stays
    /// open and silent. `None`: no end.
    pub count: Option<u64>,
    pub seed: u64,
    /// The faults that are ordered from the start.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: false,
            key: Secret::literal("simulated-key"),
            key_lifetime: None,
            topics: TOPICS.map(str::to_owned).to_vec(),
            client_id: Secret::literal("simulated-id"),
            client_secret: Secret::literal("simulated-secret"),
            token_lifetime: TOKEN_LIFETIME,
            events: EVENTS.map(str::to_owned).to_vec(),
            bare_payloads: false,
            queue_time: QUEUE_TIME,
            rate: 50,
            count: None,
            seed: 1,
            faults: Vec::new(),
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

/// A running simulator. Dropping it does not stop it: see [`Simulator::stop`].
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    certificate: Option<String>,
    central: Arc<Central>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let unknown = |all: &[&str], given: &[String]| {
            let unknown = |name: &&String| !all.contains(&name.as_str());
            given.iter().find(unknown).cloned()
        };
        let unknown = unknown(&TOPICS, &options.topics).or(unknown(&EVENTS, &options.events));
        if let Some(unknown) = unknown {
            return Err(StartError::UnknownTopic(unknown));
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
        let central = Arc::new(Central::new(options));
        let stop = CancellationToken::new();
        let server = Server {
            listener,
            tls: certificate.map(|certificate| certificate.acceptor),
            central: Arc::clone(&central),
            stop: stop.clone(),
        };
        Ok(Self {
            addr,
            certificate: pem,
            central,
            stop,
            server: tokio::spawn(server.run()),
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `endpoint` of an account of Classic Central in a config.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}{}", self.new_endpoint(), routes::STREAMING_PATH)
    }

    /// The `endpoint` of an account of New Central in a config.
    #[must_use]
    pub fn new_endpoint(&self) -> String {
        format!("{}://{}", self.scheme("ws"), self.addr)
    }

    /// The URL at which faults are ordered.
    #[must_use]
    pub fn faults_url(&self) -> String {
        self.http(routes::FAULTS_PATH)
    }

    /// The URL that gives access tokens.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.http(routes::TOKEN_PATH)
    }

    /// The URL at which a provider's access token is exchanged for that of a tenant. The tenant's workspace
    /// replaces `{tenant}`.
    #[must_use]
    pub fn tenant_token_url(&self) -> String {
        self.http(&routes::WORKSPACE_TOKEN_PATH.replace("workspace", "tenant"))
    }

    fn http(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme("http"), self.addr)
    }

    fn scheme(&self, plain: &str) -> String {
        let secure = if self.certificate.is_some() { "s" } else { "" };
        format!("{plain}{secure}")
    }

    /// The certificate in PEM, for a client's own CA file; `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// The Classic key that is valid now.
    #[must_use]
    pub fn key(&self) -> Secret {
        self.central.keys.current(Instant::now())
    }

    /// What was sent on each topic and path so far, over all connections.
    #[must_use]
    pub fn sent(&self) -> BTreeMap<&'static str, SentFrames> {
        self.central.ledger.all()
    }

    /// Drops every connection without a close frame, as a network failure does.
    pub fn drop_connections(&self) {
        self.central.drop_connections();
    }

    /// Makes every Classic key and every access token expire. The connections that keys opened are closed.
    pub fn expire_credentials(&self) {
        self.central.expire_credentials();
    }

    /// Orders a fault.
    pub fn order(&self, fault: Fault) {
        self.central.faults.order(fault);
    }

    /// The faults that were ordered, and how often each has happened.
    #[must_use]
    pub fn orders(&self) -> Vec<FaultOrder> {
        self.central.faults.orders()
    }

    /// The handshakes that were answered, the last 100,000 at most.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.central.handshakes.all()
    }

    /// How many access tokens were given.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        self.central.tokens.issued()
    }

    /// Sends nothing more, except what is just being written. Connections stay open.
    pub fn be_quiet(&self) {
        self.central.be_quiet();
    }

    /// Drops every connection and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the simulator failed");
        }
    }
}
