//! One try of an account, for somebody who wants to know whether it works.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::error::Error;
use super::settings::Settings;
use super::shared::Central;
use super::source::Source;
use crate::config::{Access, Account};

/// Connects to each topic of an account once, side by side, and leaves again. Frames that come
/// meanwhile are not kept: Central sends a copy of its own to each connection, so that a forwarder
/// that runs misses nothing. For the same reason another subscriber id than that of the config is
/// used.
///
/// # Errors
/// What stood in the way, for each topic that cannot be had.
pub async fn probe(
    name: &str,
    account: &Account,
    state_dir: Option<&Path>,
) -> Result<String, String> {
    let mut account = account.clone();
    // A renewed key is known from the state folder; a subscriber id must not be.
    let state_dir = match &mut account.access {
        Access::Classic(_) => state_dir,
        Access::New(access) => {
            access.subscriber_id = Some(super::state_files::new_subscriber_id());
            None
        }
    };
    let settings = Settings::default();
    let central = Central::new(state_dir, None, settings);
    let source = Source::new(&central, name, &account).map_err(|why| why.to_string())?;
    let source = std::sync::Arc::new(source);
    let tries = account.topics.iter().map(|topic| {
        let source = std::sync::Arc::clone(&source);
        let tried = async move {
            let mut connection = source.connect(topic).await?;
            let goodbye = CloseFrame {
                code: CloseCode::Normal,
                reason: "".into(),
            };
            // It has shown what was to be shown.
            let _ = timeout(
                settings.close_timeout,
                connection.socket.close(Some(goodbye)),
            )
            .await;
            Ok::<_, Error>(())
        };
        async move { (topic.name(), tried.await) }
    });
    let mut connected = Vec::new();
    // What stands in the way is mostly the same for all.
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
