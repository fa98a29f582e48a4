//! Paths, handshake and upgrade.
//!
//! The upgrade is taken by hand rather than through a framework, so that a connection can be treated
//! as badly as a network does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::feed::{Feed, since_epoch};
use super::frames::Ring;
use super::ledger::Ledger;
use super::pace::Pace;
use super::site::Site;

/// Where Classic Central streams (documented by HPE).
pub(super) const STREAMING_PATH: &str = "/streaming/api";

/// A client that does not finish its TLS handshake is not waited for.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to accept, when the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Streaming {
    options: Options,
    rings: BTreeMap<String, Arc<Ring>>,
    ledger: Ledger,
    feeds: TaskTracker,
    /// Cancelled to drop the connections that are up; the next ones get a new one.
    connected: Mutex<CancellationToken>,
}

impl Streaming {
    pub(super) fn new(options: Options) -> Self {
        let now = u32::try_from(since_epoch().as_secs()).unwrap_or(u32::MAX);
        let site = Site::new(options.seed);
        let ring = |topic: &String| {
            let ring = Ring::new(topic, &site, options.seed, now);
            (topic.clone(), Arc::new(ring))
        };
        Self {
            rings: options.topics.iter().map(ring).collect(),
            options,
            ledger: Ledger::new(),
            feeds: TaskTracker::new(),
            connected: Mutex::new(CancellationToken::new()),
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn drop_connections(&self) {
        let mut connected = self.connected.lock().expect("no code panics with the lock");
        std::mem::take(&mut *connected).cancel();
    }

    /// Checks the handshake in Central's order: who is it, then what does it want.
    fn admit(
        &self,
        headers: &HeaderMap,
    ) -> Result<(String, Arc<Ring>), (StatusCode, &'static str)> {
        let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        if header(AUTHORIZATION.as_str()) != Some(self.options.key.expose().as_bytes()) {
            return Err((StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let topic = header("topic").and_then(|topic| str::from_utf8(topic).ok());
        let known = topic.and_then(|topic| self.rings.get_key_value(topic));
        match known {
            Some((topic, ring)) => Ok((topic.clone(), Arc::clone(ring))),
            None => Err((StatusCode::BAD_REQUEST, "Unsubscribed Topic")),
        }
    }

    async fn feed(self: Arc<Self>, topic: String, ring: Arc<Ring>, upgrade: OnUpgrade) {
        let cut = self
            .connected
            .lock()
            .expect("no code panics with the lock")
            .clone();
        let Ok(upgraded) = upgrade.await else { return };
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let Some(ledger) = self.ledger.topic(&topic) else {
            return;
        };
        let feed = Feed {
            socket,
            ring,
            ledger,
            pace: Pace::new(self.options.rate, self.options.count, Instant::now()),
        };
        tracing::debug!(%topic, "a client is connected");
        cut.run_until_cancelled(feed.run()).await;
        tracing::debug!(%topic, "a client is gone");
    }
}

pub(super) struct Server {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) streaming: Arc<Streaming>,
    pub(super) stop: CancellationToken,
}

impl Server {
    /// Serves until it is stopped; then drops every connection.
    pub(super) async fn run(self) {
        let router = Router::new()
            .route(STREAMING_PATH, get(subscribe))
            .with_state(Arc::clone(&self.streaming));
        let handshakes = TaskTracker::new();
        let accept = async {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let serve = serve(stream, self.tls.clone(), router.clone());
                        let stop = self.stop.clone();
                        handshakes.spawn(stop.run_until_cancelled_owned(serve));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let _: Option<()> = self.stop.run_until_cancelled(accept).await;
        handshakes.close();
        handshakes.wait().await;
        self.streaming.drop_connections();
        self.streaming.feeds.close();
        self.streaming.feeds.wait().await;
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client is gone already");
        return;
    }
    let Some(tls) = tls else {
        return serve_http(stream, router).await;
    };
    match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_http(stream, router).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "HTTP connection failed");
    }
}

async fn subscribe(
    State(streaming): State<Arc<Streaming>>,
    mut request: Request<Body>,
) -> Response<Body> {
    let (topic, ring) = match streaming.admit(request.headers()) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(nonce) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return (StatusCode::UPGRADE_REQUIRED, "a WebSocket is streamed here").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let feed = Arc::clone(&streaming).feed(topic, ring, upgrade);
    streaming.feeds.spawn(feed);
    let headers = [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, derive_accept_key(nonce.as_bytes())),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}
