//! Tries an account once, for `check --connect`.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::account_client::AccountClient;
use super::error::Error;
use super::settings::Settings;
use super::shared::Central;
use crate::config::{Access, Account};

/// Connects to each topic of an account once, all at the same time, and disconnects again.
///
/// A forwarder that runs misses nothing: Classic Central sends its frames to each connection, and for
/// New Central the probe is a subscriber of its own. Frames that arrive meanwhile are dropped.
///
/// # Errors
/// The reason for each topic that cannot be connected.
pub async fn probe(
    name: &str,
    account: &Account,
    state_dir: Option<&Path>,
) -> Result<String, String> {
    let mut account = account.clone();
    // The probe needs the renewed key that is kept in `state_dir`, but its own subscriber id.
    let state_dir = match &mut account.access {
        Access::Classic(_) => state_dir,
        Access::New(access) => {
            access.subscriber_id = Some(super::state_files::new_subscriber_id());
            None
        }
    };
    let settings = Settings::default();
    let central = Central::new(state_dir, None, settings);
    let client = AccountClient::new(&central, name, &account).map_err(|why| why.to_string())?;
    let client = std::sync::Arc::new(client);
    let tries = account.topics.iter().map(|topic| {
        let client = std::sync::Arc::clone(&client);
        let tried = async move {
            let mut connection = client.connect(topic).await?;
            let close_frame = CloseFrame {
                code: CloseCode::Normal,
                reason: "".into(),
            };
            // The probe has succeeded, however the close ends.
            let _ = timeout(
                settings.close_timeout,
                connection.socket.close(Some(close_frame)),
            )
            .await;
            Ok::<_, Error>(())
        };
        async move { (topic.name(), tried.await) }
    });
    let mut connected = Vec::new();
    // Most topics fail for the same reason.
    let mut failed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (topic, outcome) in join_all(tries).await {
        match outcome {
            Ok(()) => connected.push(topic),
            Err(why) => failed.entry(why.to_string()).or_default().push(topic),
        }
    }
    if failed.is_empty() {
        return Ok(format!("Central streams {}", connected.join(", ")));
    }
    let failed = failed.iter();
    let failed = failed.map(|(why, topics)| format!("{}: {why}", topics.join(", ")));
    Err(failed.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::secret::Secret;
    use crate::config::{ClassicAccess, Proxy, Tls, Topic};
    use crate::net::silent;
    use crate::simulator::{Options, Simulator};

    #[tokio::test]
    async fn the_second_address_of_a_name_is_reached_within_a_second() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let name = silent::TwoAddresses::before("central.test", simulator.addr());
        let account = Account {
            endpoint: format!("ws://{}/streaming/api", name.host())
                .parse()
                .unwrap(),
            access: Access::Classic(ClassicAccess {
                key: Secret::literal("simulated-key"),
                username: None,
            }),
            topics: BTreeSet::from([Topic::classic("audit")]),
            tls: Tls::default(),
            proxy: Proxy::None,
            idle_timeout: None,
        };
        let start = Instant::now();
        let said = probe("acme", &account, None).await;
        assert_eq!(said.as_deref(), Ok("Central streams audit"));
        assert!(start.elapsed() < Duration::from_secs(1));
        simulator.stop().await;
    }
}
