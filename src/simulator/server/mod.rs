//! The listener, TLS and HTTP.

pub(super) mod certificate;
pub(super) mod routes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::simulator::central::Central;

/// How long a client may take for its TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed accept, for example while there are no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) central: Arc<Central>,
    pub(crate) stop: CancellationToken,
}

impl Server {
    /// Serves until it is stopped, and then drops every connection.
    pub(crate) async fn run(self) {
        let router = routes::router(Arc::clone(&self.central));
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
        self.central.drop_connections();
        self.central.connections.close();
        self.central.connections.wait().await;
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client has already closed the connection");
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
