//! HTTP by hand: a request with exactly these headers, and what came back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Asks, with the address as `Host` unless the headers have one.
pub fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    read_answer(send(at, method, path, headers))
}

/// The whole answer to a GET, if there is one in a moment.
pub fn glance(at: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, MOMENT).ok()?;
    stream.set_read_timeout(Some(MOMENT)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The same, with a body of JSON.
pub fn post_json(at: SocketAddr, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let length = body.len().to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    let mut stream = send(at, "POST", path, &headers);
    stream
        .write_all(body.as_bytes())
        .expect("the body can be sent");
    read_answer(stream)
}

fn read_answer(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let code = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer {
        code: code.expect("a code").parse().expect("a number"),
        headers,
        body: body.to_owned(),
    }
}

/// Sends a request, and leaves the answer to be read; it ends with the connection.
pub fn send(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("somebody listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out can be set");
    let mut head = vec![
        format!("{method} {path} HTTP/1.1"),
        "Connection: close".to_owned(),
    ];
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push(format!("Host: {at}"));
    }
    head.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    stream
        .write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes())
        .expect("the request can be sent");
    stream
}
