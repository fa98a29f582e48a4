//! A TCP connection to a host: its addresses are tried side by side (RFC 8305).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{HostPort, Peer};

/// From one attempt to the next while none has failed: what RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Failed attempts that an error names.
const MAX_SHOWN: usize = 4;

/// TCP asks an idle peer whether it is there, for peers that do not answer pings.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Connects to the first address of a host that answers. `limit` is for the name, and for each
/// attempt to reach an address; all together take no longer than twice that. `user_timeout` is how
/// long a sent byte may stay unacknowledged before the system gives the connection up.
///
/// # Errors
/// The name has no address, or none that answers; of the kind `TimedOut` where nothing answered.
pub(crate) async fn connect(
    host: &HostPort,
    limit: Duration,
    user_timeout: Option<Duration>,
) -> io::Result<(TcpStream, Peer)> {
    let connected = async {
        let found = timeout(limit, host.resolve()).await;
        let addresses = found.unwrap_or_else(|_| Err(late("no answer from the name server")))?;
        race(addresses, |address| attempt(address, limit)).await
    };
    let connected = timeout(limit * 2, connected).await;
    let (address, stream) =
        connected.unwrap_or_else(|_| Err(late("no address answers in time")))?;
    set_options(&stream, user_timeout)?;
    Ok((stream, Peer::new(host.clone(), address.ip())))
}

fn set_options(stream: &TcpStream, user_timeout: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(user_timeout)?;
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

async fn attempt(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    timeout(limit, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(late(&format!("no answer in {limit:?}"))))
}

/// Begins with the next address when the last one has not answered for 250 ms, or as soon as an
/// attempt fails. The first connection wins; the other attempts are given up.
async fn race<S, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<(SocketAddr, S)>
where
    F: Future<Output = io::Result<S>>,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let connected = connect(address);
            attempts.push(async move { (address, connected.await) });
        }
        let ended = if waiting.len() == 0 {
            attempts.next().await
        } else {
            match timeout(ATTEMPT_DELAY, attempts.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some((address, Ok(stream))) => return Ok((address, stream)),
            Some((address, Err(error))) => failures.push((address, error)),
            None => return Err(all_failed(failures)),
        }
    }
}

fn all_failed(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failures.len() <= 1 {
        let only = failures.pop().map(|(_, error)| error);
        return only.unwrap_or_else(|| io::Error::other("the name has no address"));
    }
    let is_late = |error: &io::Error| error.kind() == ErrorKind::TimedOut;
    let kind = if failures.iter().all(|(_, error)| is_late(error)) {
        ErrorKind::TimedOut
    } else {
        ErrorKind::Other
    };
    let shown = failures.iter().take(MAX_SHOWN);
    let mut texts: Vec<String> = shown
        .map(|(address, error)| format!("{}: {error}", address.ip()))
        .collect();
    if failures.len() > MAX_SHOWN {
        texts.push(format!("and {} more", failures.len() - MAX_SHOWN));
    }
    io::Error::new(kind, texts.join("; "))
}

fn late(text: &str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;
    use std::time::Instant;

    use futures_util::future::Either;

    use super::super::silent;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn addresses(many: u8) -> Vec<SocketAddr> {
        (1..=many)
            .map(|last| ([127, 0, 0, last], 1).into())
            .collect()
    }

    #[tokio::test]
    async fn the_next_address_is_tried_after_250_ms_and_at_once_after_a_failure() {
        let begun = Mutex::new(Vec::new());
        let start = Instant::now();
        let connect = |address: SocketAddr| {
            begun.lock().unwrap().push(start.elapsed());
            match address.ip().to_string().as_str() {
                "127.0.0.1" => Either::Left(pending()),
                "127.0.0.2" => Either::Right(ready(Err(io::Error::other("refused")))),
                _ => Either::Right(ready(Ok(()))),
            }
        };
        let (address, ()) = race(addresses(4), connect).await.unwrap();
        assert_eq!(address, addresses(3)[2]);
        let begun = begun.into_inner().unwrap();
        assert_eq!(begun.len(), 3, "the fourth is not needed");
        assert!(begun[1] >= ATTEMPT_DELAY, "{begun:?}");
        assert!(begun[2] < begun[1] + ATTEMPT_DELAY, "{begun:?}");
    }

    #[tokio::test]
    async fn an_address_that_answers_late_wins_over_later_ones_that_do_not() {
        let connect = |address: SocketAddr| async move {
            if address != addresses(1)[0] {
                return pending().await;
            }
            tokio::time::sleep(ATTEMPT_DELAY * 2).await;
            Ok(())
        };
        let (address, ()) = race(addresses(3), connect).await.unwrap();
        assert_eq!(address, addresses(1)[0]);
    }

    #[tokio::test]
    async fn when_all_fail_each_is_named() {
        let refused = |_| ready(Err::<(), _>(io::Error::other("refused")));
        let error = race(addresses(2), refused).await.unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1: refused; 127.0.0.2: refused");
        let error = race(addresses(1), refused).await.unwrap_err();
        assert_eq!(error.to_string(), "refused");
        let error = race(addresses(9), refused).await.unwrap_err();
        assert!(error.to_string().ends_with("; and 5 more"), "{error}");
        let error = race(addresses(0), refused).await.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address");
    }

    #[tokio::test]
    async fn a_silent_address_costs_less_than_a_second_and_is_last_next_time() {
        let name = silent::TwoAddresses::new("tcp.test");
        let start = Instant::now();
        let (stream, peer) = connect(&name.host(), LIMIT, None).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(stream.peer_addr().unwrap(), name.answering());
        assert!(stream.nodelay().unwrap());
        peer.answered();
        let next_time = name.host().resolve().await.unwrap();
        assert_eq!(next_time, [name.answering(), name.silent()]);
    }

    #[tokio::test]
    async fn when_no_address_answers_the_time_is_limited() {
        let name = silent::TwoAddresses::new("all-silent.test");
        let silent = HostPort::new(&name.silent().ip().to_string(), name.silent().port());
        let start = Instant::now();
        let error = connect(&silent, Duration::from_millis(300), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no answer in 300ms");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
