//! Whether a broker would take our records, found out without a message in any queue.
//!
//! A broker looks at the permission to write when a message is published, and passes on what was
//! published in a transaction when that is committed. So a transaction that is rolled back tells
//! whether we may write, and nobody sees anything of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection};
use rustls::ClientConfig;

use super::connect::{Link, address, kind, log_in, read_tls};
use super::explain::{cause_of, explain, is_not_found};
use crate::config::{self, AmqpServer};

/// Routing keys that are tried; of more, the first ones.
const MAX_KEYS: usize = 100;

/// Tries every server of the list: each may have to stand in for the others.
///
/// # Errors
/// What failed, in words of the broker.
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
    let mut link = log_in(config, server, tls)
        .await
        .map_err(|failure| failure.why)?;
    let mut found = look_around(config, &mut link, keys).await;
    if let Err(error) = found {
        found = Err(cause_of(error, &mut link.events).await);
    }
    link.close().await;
    let found = found.map_err(|error| explain(&error).why)?;
    Ok(found.join(", "))
}

async fn look_around(
    config: &config::Amqp,
    link: &mut Link,
    keys: &BTreeSet<String>,
) -> lapin::Result<Vec<String>> {
    let connection = &link.connection;
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
        // What was not there, and will be made, is not why we may not write.
        while link.events.next().now_or_never().flatten().is_some() {}
        try_to_write(&link.connection, &exchange.name, keys).await?;
        found.push("may write".to_owned());
    }
    Ok(found)
}

fn presence(what: &str, name: &str, is_there: bool) -> String {
    let state = if is_there { "is there" } else { "will be made" };
    format!("{what} `{name}` {state}")
}

/// Makes nothing; where one is there that we would declare otherwise, this is an error.
async fn find_exchange(
    connection: &Connection,
    exchange: &config::Exchange,
) -> lapin::Result<bool> {
    let declare = async |passive| {
        // A broker closes the channel to say no.
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

/// The same for a queue.
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
    // The permission is the exchange's, and where there are topic permissions the key's too. Keys
    // that only events will tell are not tried.
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
