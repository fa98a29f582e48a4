//! An HTTP proxy as companies have it: tunnels by CONNECT, for those who know user and password.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// `ops:s3cret-pw`, as HTTP Basic has it.
const BASIC: &str = "\r\nproxy-authorization: basic b3bzonmzy3jldc1wdw==\r\n";

/// Serves for as long as the test's runtime lives.
pub struct Tunnels {
    address: String,
    /// The targets of the tunnels that were opened.
    opened: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has one").to_string();
        let opened = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&record)));
            }
        });
        Self { address, opened }
    }

    /// With the credentials that it wants.
    pub fn url(&self) -> String {
        self.url_for("ops:s3cret-pw")
    }

    pub fn url_for(&self, user_and_password: &str) -> String {
        format!("http://{user_and_password}@{}", self.address)
    }

    pub fn opened(&self) -> Vec<String> {
        self.opened.lock().expect("nothing panics with it").clone()
    }
}

async fn serve(mut client: TcpStream, opened: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read_exact(&mut byte).await.is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).expect("text");
    let target = request
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next())
        .expect("nothing but tunnels is asked for")
        .to_owned();
    if !request.to_ascii_lowercase().contains(BASIC) {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        let _ = client.write_all(refusal.as_bytes()).await;
        return;
    }
    let mut server = TcpStream::connect(&target).await.expect("it is there");
    opened.lock().expect("nothing panics with it").push(target);
    let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
    if client.write_all(answer).await.is_ok() {
        // Both sides see the end, whatever it was.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
