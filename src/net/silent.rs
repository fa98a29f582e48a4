//! For tests: a name with two addresses, of which the first never answers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::address::HostPort;

const SILENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

static NAMES: LazyLock<Mutex<HashMap<String, Vec<SocketAddr>>>> = LazyLock::new(Mutex::default);

/// What a name of a test resolves to.
pub(super) fn addresses(name: &str) -> Option<Vec<SocketAddr>> {
    NAMES.lock().unwrap().get(name).cloned()
}

/// Resolves for as long as it lives.
pub(crate) struct TwoAddresses {
    name: String,
    silent: SocketAddr,
    answering: SocketAddr,
    /// Accepts no connection, and its queue is full.
    _full: Socket,
    _in_queue: TcpStream,
    /// Somebody who listens at the second address, if that is not the test itself.
    _listener: Option<TcpListener>,
}

impl TwoAddresses {
    /// At the second address connections are taken, and nothing is said.
    pub(crate) fn new(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self::make(name, address, Some(listener))
    }

    /// The second address is that of a server.
    pub(crate) fn before(name: &str, answering: SocketAddr) -> Self {
        Self::make(name, answering, None)
    }

    fn make(name: &str, answering: SocketAddr, listener: Option<TcpListener>) -> Self {
        let silent = SocketAddr::new(SILENT, answering.port());
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&silent.into()).unwrap();
        // A queue of one: Linux drops what comes while it is full.
        full.listen(0).unwrap();
        let in_queue = TcpStream::connect(silent).unwrap();
        let more = TcpStream::connect_timeout(&silent, Duration::from_millis(50));
        assert!(more.is_err(), "the queue is full");
        let addresses = vec![silent, answering];
        NAMES.lock().unwrap().insert(name.to_owned(), addresses);
        Self {
            name: name.to_owned(),
            silent,
            answering,
            _full: full,
            _in_queue: in_queue,
            _listener: listener,
        }
    }

    pub(crate) fn host(&self) -> HostPort {
        HostPort::new(&self.name, self.answering.port())
    }

    pub(crate) fn silent(&self) -> SocketAddr {
        self.silent
    }

    pub(crate) fn answering(&self) -> SocketAddr {
        self.answering
    }
}

impl Drop for TwoAddresses {
    fn drop(&mut self) {
        NAMES.lock().unwrap().remove(&self.name);
    }
}
