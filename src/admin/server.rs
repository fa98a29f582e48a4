//! The HTTP side: bounded connections, requests and times; what each path answers.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::guard::{Guard, Peer, guard};
use super::last_day::LastDay;
use super::live::{self, Live};
use super::{App, actions, metrics};
use crate::config;
use crate::daemon;
use crate::supervise::Panic;

/// Connections at a time; the next is closed at once and logged. Watchers keep theirs, and are
/// bounded below this.
const MAX_CONNECTIONS: usize = 64;

/// A client that has not sent its request's head by then is closed; one that is idle too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time from a request to its answer. A reload reads files and may compile schemas.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time that a client may leave unread what it was sent.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Bytes of a request's body: the longest is a sink's name and a time.
const MAX_BODY_BYTES: usize = 4 << 10;

/// Between two tries to accept, when the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const HEADERS: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The endpoint, which listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    guard: Guard,
}

/// The daemon does not start without its endpoint: nobody could see what it does.
#[derive(Debug, thiserror::Error)]
#[error("the admin endpoint cannot listen on {address}: {source} (set admin.listen)")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl Bound {
    /// # Errors
    /// The address cannot be used.
    pub async fn new(admin: &config::Admin) -> Result<Self, BindError> {
        let address = admin.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| BindError { address, source })?;
        let guard = Guard {
            token: admin.token.clone(),
        };
        Ok(Self { listener, guard })
    }

    /// Serves for ever. Dropping the future drops every connection.
    pub async fn serve(self, daemon: daemon::Handle) -> Infallible {
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!("admin endpoint: http://{address}/");
        }
        let app = App {
            daemon,
            live: Arc::new(Live::new()),
            last_day: Arc::new(Mutex::new(LastDay::default())),
        };
        let router = router(app.clone(), self.guard);
        tokio::select! {
            never = accept(&self.listener, &router) => never,
            never = app.live.run(|| app.status()) => never,
        }
    }
}

async fn accept(listener: &TcpListener, router: &Router) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    let panic = Panic::from(error);
                    tracing::error!("a connection to the admin endpoint has ended: {panic}");
                }
                continue;
            }
        };
        match accepted {
            Ok((_, peer)) if connections.len() >= MAX_CONNECTIONS => {
                tracing::warn!(%peer, "refused: the admin endpoint has {MAX_CONNECTIONS} connections");
            }
            Ok((stream, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer.ip())));
                connections.spawn(connection(stream, router));
            }
            Err(error) => {
                tracing::warn!("the admin endpoint cannot accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    // Where it cannot be set, the peer is waited for as long as the kernel does.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the admin endpoint: {error}");
    }
}

fn router(app: App, guarded: Guard) -> Router {
    let page = |content_type, text| get(move || ready(asset(content_type, text)));
    Router::new()
        .route(
            "/",
            page("text/html; charset=utf-8", include_str!("page/page.html")),
        )
        .route(
            "/page.css",
            page("text/css; charset=utf-8", include_str!("page/page.css")),
        )
        .route(
            "/page.js",
            page(
                "text/javascript; charset=utf-8",
                include_str!("page/page.js"),
            ),
        )
        .route(
            "/icon.svg",
            page("image/svg+xml", include_str!("page/icon.svg")),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(scrape))
        .route("/api/status", get(status))
        .route("/api/events", get(live::events))
        .route("/api/reload", post(actions::reload))
        .route("/api/rewind", post(actions::rewind))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                Json(json!({ "error": "there is no such page" })),
            )
        })
        .with_state(app)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(guarded, guard))
        .layer(middleware::from_fn(with_headers))
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

async fn readiness(State(app): State<App>) -> Response {
    let not_ready = app.status().not_ready();
    let code = if not_ready.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": not_ready.is_empty(), "not_ready": not_ready });
    (code, Json(body)).into_response()
}

async fn scrape(State(app): State<App>) -> Response {
    let headers = [(CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (headers, metrics::text(app.status())).into_response()
}

async fn status(State(app): State<App>) -> Response {
    Json(live::whole(&app.status())).into_response()
}

async fn in_time(request: Request, next: Next) -> Response {
    let Ok(response) = timeout(ANSWER_TIMEOUT, next.run(request)).await else {
        let why =
            json!({ "error": "there was no answer in time; the log says how the request ended" });
        return (StatusCode::GATEWAY_TIMEOUT, Json(why)).into_response();
    };
    response
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
