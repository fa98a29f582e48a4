//! Accounts of Classic Central, and a subscription with one.

use central_forwarder::central::{Central, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Access, Account, ClassicAccess, Proxy, Tls, Topic};
use central_forwarder::frame::Frame;
use central_forwarder::simulator::{TOPICS, sequence_of_frame};

use support::inbox::Inbox;
use support::subscribe::Running;

pub(crate) const KEY: &str = "simulated-key";

pub(crate) fn account(endpoint: &str) -> Account {
    Account {
        endpoint: endpoint.parse().unwrap(),
        access: with_key(Secret::literal(KEY)),
        topics: TOPICS.map(Topic::classic).into(),
        tls: Tls::default(),
        proxy: Proxy::None,
        idle_timeout: None,
    }
}

pub(crate) fn with_key(key: Secret) -> Access {
    Access::Classic(ClassicAccess {
        key,
        username: Some("ops@acme.example".to_owned()),
    })
}

pub(crate) fn start(account: &Account, topic: &str, settings: &Settings, inbox: &Inbox) -> Running {
    let central = Central::new(None, None, *settings);
    Running::start(&central, account, Topic::classic(topic), inbox)
}

pub(crate) fn number(frame: &Frame) -> u64 {
    sequence_of_frame(&frame.payload).expect("a frame of the simulator")
}
