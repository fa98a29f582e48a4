//! A TCP proxy whose connections a test can cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on to one address, for as long as the test's runtime lives.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<()>,
}

impl Proxy {
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(());
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target.clone(), cuts.clone()));
            }
        });
        Self { address, cut }
    }

    /// Ends all connections in the middle of whatever they carry; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }
}

async fn pass_on(mut client: TcpStream, target: String, mut cuts: watch::Receiver<()>) {
    cuts.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cuts.changed() => {}
    }
}
