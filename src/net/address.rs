//! The addresses of a host, in the order in which they are tried.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::net::lookup_host;
use url::Url;

/// Hosts whose good address is remembered. Whoever connects to more hosts than that finds the good
/// address of some of them anew, at 250 ms for each dead one before it.
const MAX_REMEMBERED: usize = 1024;

/// The address at which each host answered last. Like the system's cache of names, it is one for the
/// process: accounts and sinks that name the same host share what is known about it.
static GOOD: LazyLock<Mutex<HashMap<HostPort, IpAddr>>> = LazyLock::new(Mutex::default);

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    /// IPv6 addresses are without brackets.
    host: String,
    port: u16,
}

impl HostPort {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        }
    }

    /// `None`: the URL names no host, or no port where its scheme has no usual one.
    pub(crate) fn of_url(url: &Url) -> Option<Self> {
        let usual = match url.scheme() {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            "mqtt" => 1883,
            "mqtts" => 8883,
            _ => 0,
        };
        let port = url.port().unwrap_or(usual);
        url.host_str()
            .filter(|host| !host.is_empty() && port != 0)
            .map(|host| Self::new(host, port))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// As a URL has it: with brackets around an IPv6 address.
    pub(crate) fn bracketed_host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// All addresses, the most promising first.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub(super) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let found = look_up(&self.host, self.port).await?;
        Ok(in_order(found, good().get(self).copied()))
    }
}

async fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(test)]
    if let Some(found) = super::silent::addresses(name) {
        return Ok(found);
    }
    Ok(lookup_host((name, port)).await?.collect())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bracketed_host(), self.port)
    }
}

/// IPv6 and IPv4 in turns, beginning with the family that the resolver prefers (RFC 8305, section
/// 4), but before all others the address that was good last time.
fn in_order(found: Vec<SocketAddr>, good: Option<IpAddr>) -> Vec<SocketAddr> {
    let prefers_ipv6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == prefers_ipv6);
    let mut ordered = Vec::with_capacity(preferred.len() + others.len());
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    loop {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    if let Some(at) = ordered.iter().position(|one| Some(one.ip()) == good) {
        ordered[..=at].rotate_right(1);
    }
    ordered
}

/// An address to which a connection was made. Whoever made it says whether the right server answered
/// there; an address at which none did is not tried first next time.
#[derive(Debug)]
#[must_use]
pub(crate) struct Peer {
    host: HostPort,
    address: IpAddr,
    has_answered: bool,
}

impl Peer {
    pub(super) fn new(host: HostPort, address: IpAddr) -> Self {
        Self {
            host,
            address,
            has_answered: false,
        }
    }

    /// The server has answered: this address is tried first next time.
    pub(crate) fn answered(mut self) {
        self.has_answered = true;
        let mut good = good();
        if good.len() >= MAX_REMEMBERED && !good.contains_key(&self.host) {
            let any = good.keys().next().cloned();
            any.map(|host| good.remove(&host));
        }
        good.insert(self.host.clone(), self.address);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut good = good();
        if !self.has_answered && good.get(&self.host) == Some(&self.address) {
            good.remove(&self.host);
        }
    }
}

fn good() -> MutexGuard<'static, HashMap<HostPort, IpAddr>> {
    GOOD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parsed = texts.iter().map(|text| text.parse::<IpAddr>().unwrap());
        parsed.map(|ip| SocketAddr::new(ip, 443)).collect()
    }

    #[test]
    fn families_take_turns_and_the_last_good_address_comes_first() {
        let found = addresses(&["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"]);
        assert_eq!(
            in_order(found.clone(), None),
            addresses(&["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"])
        );
        let good = Some("127.0.0.2".parse().unwrap());
        assert_eq!(
            in_order(found, good),
            addresses(&["127.0.0.2", "::1", "127.0.0.1", "::2", "::3"])
        );
        let ipv4_first = addresses(&["127.0.0.1", "127.0.0.2", "::1"]);
        let gone = Some("127.0.0.9".parse().unwrap());
        assert_eq!(
            in_order(ipv4_first, gone),
            addresses(&["127.0.0.1", "::1", "127.0.0.2"])
        );
        assert!(in_order(Vec::new(), None).is_empty());
    }

    #[test]
    fn an_address_is_good_until_a_connection_to_it_comes_to_nothing() {
        let host = HostPort::new("good-until.test", 1);
        let peer = |text: &str| Peer::new(host.clone(), text.parse().unwrap());
        let known = || good().get(&host).copied();
        drop(peer("127.0.0.1"));
        assert_eq!(known(), None);
        peer("127.0.0.1").answered();
        assert_eq!(known(), Some("127.0.0.1".parse().unwrap()));
        drop(peer("127.0.0.2"));
        assert_eq!(known(), Some("127.0.0.1".parse().unwrap()));
        drop(peer("127.0.0.1"));
        assert_eq!(known(), None);
    }

    #[test]
    fn urls_have_the_usual_ports_of_their_schemes() {
        for (url, shown) in [
            ("wss://central.example/x", "central.example:443"),
            ("ws://127.0.0.1:8080", "127.0.0.1:8080"),
            ("mqtts://[::1]", "[::1]:8883"),
            ("mqtt://broker", "broker:1883"),
            ("http://[::1]:81/x", "[::1]:81"),
        ] {
            let host = HostPort::of_url(&url.parse().unwrap()).unwrap();
            assert_eq!(host.to_string(), shown);
        }
        assert_eq!(HostPort::of_url(&"file:///x".parse().unwrap()), None);
    }
}
