//! Accounts of both generations whose keys and tokens end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use central_forwarder::central::{Central, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Access, Account, ClassicAccess, NewAccess, Proxy, Tls, Topic};
use central_forwarder::frame::Stream;
use central_forwarder::simulator::{EVENTS, Simulator};

pub(crate) fn classic(endpoint: &str, key: &str) -> Account {
    let key = Secret::literal(key);
    Account {
        endpoint: endpoint.parse().unwrap(),
        access: Access::Classic(ClassicAccess {
            key,
            username: None,
        }),
        topics: BTreeSet::from([Topic::classic("audit")]),
        tls: Tls::default(),
        proxy: Proxy::None,
        idle_timeout: None,
    }
}

pub(crate) fn new_central(simulator: &Simulator) -> Account {
    let streams = EVENTS.iter().map(|event| {
        let stream = Stream::parse(&format!("new/{event}")).unwrap();
        Topic::all_of(stream)
    });
    Account {
        endpoint: simulator.new_endpoint().parse().unwrap(),
        access: Access::New(Box::new(NewAccess {
            client_id: Secret::literal("simulated-id"),
            client_secret: Secret::literal("simulated-secret"),
            token_url: simulator.token_url().parse().unwrap(),
            tenant_token_url: None,
            subscriber_id: None,
        })),
        topics: streams.collect(),
        ..classic(&simulator.endpoint(), "unused")
    }
}

pub(crate) fn central(state_dir: Option<&Path>, settings: &Settings) -> Arc<Central> {
    Central::new(state_dir, None, *settings)
}
