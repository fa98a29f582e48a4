//! Whether a broker would accept records, found out without putting a message into any queue.
//!
//! A broker checks the permission to write when a message is published, and routes the messages of a
//! transaction when that is committed. So a transaction that is rolled back shows whether this user may
//! write, and no consumer sees anything of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection};
use rustls::ClientConfig;

use super::connect::{BrokerConnection, address, kind, log_in, read_tls};
use super::explain::{explain, is_not_found, root_cause};
use crate::config::{self, AmqpServer};

/// Routing keys that are tried; of more, the first ones.
const MAX_KEYS: usize = 100;

/// Tries every server of the list: each may have to replace the others.
///
/// # Errors
/// What failed, with the broker's own message.
pub(in crate::sink) async fn probe(
    config: &config::Amqp,
    keys: &BTreeSet<String>,
) -> Result<String, String> {
    let tls = read_tls(config).await?;
    let tries = config.servers.iter().map(async |server| {
        let found = try_server(config, server, tls.clone(), keys).await;
        let name = address(server);
        match found {
            Ok(found) => Ok(format!("{name}: {found}")),
            Err(why) => Err(format!("{name}: {why}")),
        }
    });
    let answers = join_all(tries).await;
    let is_well = answers.iter().all(Result::is_ok);
    let lines: Vec<String> = answers
        .into_iter()
        .map(|answer| answer.unwrap_or_else(|why| why))
        .collect();
    if is_well {
        Ok(lines.join("; "))
    } else {
        Err(lines.join("; "))
    }
}

async fn try_server(
    config: &config::Amqp,
    server: &AmqpServer,
    tls: Option<Arc<ClientConfig>>,
    keys: &BTreeSet<String>,
) -> Result<String, String> {
    let mut connection = log_in(config, server, tls)
        .await
        .map_err(|failure| failure.why)?;
    let mut found = check(config, &mut connection, keys).await;
    if let Err(error) = found {
        found = Err(root_cause(error, &mut connection.events).await);
    }
    connection.close().await;
    let found = found.map_err(|error| explain(&error).why)?;
    Ok(found.join(", "))
}

async fn check(
    config: &config::Amqp,
    broker: &mut BrokerConnection,
    keys: &BTreeSet<String>,
) -> lapin::Result<Vec<String>> {
    let connection = &broker.connection;
    let mut found = Vec::new();
    let exchange = &config.exchange;
    let has_exchange = exchange.name.is_empty() || find_exchange(connection, exchange).await?;
    if !exchange.name.is_empty() {
        found.push(presence("exchange", &exchange.name, has_exchange));
    }
    if let Some(queue) = &config.queue {
        let has_queue = find_queue(connection, queue).await?;
        found.push(presence("queue", &queue.name, has_queue));
    }
    if has_exchange {
        // Errors about what is missing and will be created are not about the permission to write.
        while broker.events.next().now_or_never().flatten().is_some() {}
        try_to_write(&broker.connection, &exchange.name, keys).await?;
        found.push("may write".to_owned());
    }
    Ok(found)
}

fn presence(what: &str, name: &str, exists: bool) -> String {
    let state = if exists { "exists" } else { "will be created" };
    format!("{what} `{name}` {state}")
}

/// Whether the exchange exists; creates nothing.
///
/// # Errors
/// It exists with other properties than the config declares.
async fn find_exchange(
    connection: &Connection,
    exchange: &config::Exchange,
) -> lapin::Result<bool> {
    let declare = async |passive| {
        // A broker that refuses closes the channel.
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions {
            passive,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (exchange.name.as_str().into(), kind(exchange.kind));
        channel
            .exchange_declare(name, kind, options, FieldTable::default())
            .await
    };
    match declare(true).await {
        Ok(()) if exchange.declare => declare(false).await.map(|()| true),
        Ok(()) => Ok(true),
        Err(error) if exchange.declare && is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same for the queue.
async fn find_queue(connection: &Connection, queue: &config::Queue) -> lapin::Result<bool> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            passive,
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let name = queue.name.as_str().into();
        channel
            .queue_declare(name, options, FieldTable::default())
            .await
            .map(drop)
    };
    match declare(true).await {
        Ok(()) if queue.declare => declare(false).await.map(|()| true),
        Ok(()) => Ok(true),
        Err(error) if queue.declare && is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn try_to_write(
    connection: &Connection,
    exchange: &str,
    keys: &BTreeSet<String>,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.tx_select().await?;
    // The permission is for the exchange, and with topic permissions for the routing key too. Keys that
    // depend on the events are not tried.
    let keys = keys.iter().map(String::as_str).take(MAX_KEYS);
    let keys: Vec<&str> = keys.collect();
    let keys = if keys.is_empty() { vec![""] } else { keys };
    for key in keys {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let sent = channel.basic_publish(exchange.into(), key.into(), options, &[], properties);
        drop(sent.await?);
    }
    channel.tx_rollback().await
}
