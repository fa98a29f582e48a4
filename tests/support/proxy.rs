//! A TCP proxy whose connections a test can cut.

use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Passes bytes on between clients and one server; ends with this value.
pub struct Proxy {
    /// `host:port`
    pub address: String,
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before a server at `host:port`.
    pub async fn before(server: &str) -> Self {
        Self::start("127.0.0.1:0", server, None).await
    }

    /// The same, at an address of the test's choice.
    pub async fn at(address: &str, server: &str) -> Self {
        Self::start(address, server, None).await
    }

    /// The same, which speaks TLS with its clients.
    pub async fn with_tls_before(server: &str, tls: TlsAcceptor) -> Self {
        Self::start("127.0.0.1:0", server, Some(tls)).await
    }

    async fn start(address: &str, server: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a listener has one")
            .to_string();
        let (cuts, cut) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, server.to_owned(), tls, cut));
        Self {
            address,
            cuts,
            accepting,
        }
    }

    /// Cuts all connections that there are; new ones are let through. Says how many were cut.
    pub fn cut(&self) -> usize {
        // One receiver is the acceptor's.
        let connections = self.cuts.receiver_count().saturating_sub(1);
        self.cuts.send_modify(|cuts| *cuts += 1);
        connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    tls: Option<TlsAcceptor>,
    cut: watch::Receiver<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cut.clone();
        cut.mark_unchanged();
        let (server, tls) = (server.clone(), tls.clone());
        tokio::spawn(async move {
            // What ends a connection does not matter: both sides see it end.
            tokio::select! {
                _ = serve(client, &server, tls) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn serve(mut client: TcpStream, server: &str, tls: Option<TlsAcceptor>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    match tls {
        Some(tls) => {
            let mut client = tls.accept(client).await?;
            copy_bidirectional(&mut client, &mut server).await?;
        }
        None => {
            copy_bidirectional(&mut client, &mut server).await?;
        }
    }
    Ok(())
}
