//! `tail`: one topic on the terminal, decoded.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use url::Url;

use super::decode::{Decoder, Generation, Style, stream};
use super::{ConfigArgs, Failure};
use crate::central::subscription::{self, State, StopMode};
use crate::central::{AccountClient, Central, Settings};
use crate::config::secret::Secret;
use crate::config::{
    Access, Account, ClassicAccess, Config, NewAccess, PemFile, Proxy, Schemas, TOKEN_URL, Tls,
    Topic,
};
use crate::frame::Stream;
use crate::journal::{Batch, Cursor, Journal, Location, Options, Start};
use crate::schema::Descriptors;
use crate::supervise::Panic;

/// Frames that wait for the terminal.
const MEMORY_BYTES: u64 = 64 << 20;
const READ_BYTES: usize = 1 << 20;

/// Subscribe to one topic and print its records, until it is interrupted
///
/// A running forwarder misses nothing: Central sends each subscriber a copy of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// `wss://HOST/streaming/api`; for New Central `wss://HOST`
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "account",
        conflicts_with = "account"
    )]
    endpoint: Option<Url>,
    /// Classic Central's key; better with --key-file, since others see the command line
    #[arg(long, value_parser = secret, requires = "endpoint")]
    key: Option<Secret>,
    /// A file with Classic Central's key
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "key",
        requires = "endpoint"
    )]
    key_file: Option<PathBuf>,
    /// New Central's client id
    #[arg(long, value_name = "ID", conflicts_with_all = ["key", "key_file"], requires = "endpoint")]
    client_id: Option<String>,
    /// New Central's client secret; better with --client-secret-file
    #[arg(long, value_name = "SECRET", value_parser = secret, requires = "client_id")]
    client_secret: Option<Secret>,
    /// A file with New Central's client secret
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "client_secret",
        requires = "client_id"
    )]
    client_secret_file: Option<PathBuf>,
    /// Where New Central's access tokens come from
    #[arg(long, value_name = "URL", default_value = TOKEN_URL)]
    token_url: Url,
    /// The topic; for New Central the event, or SERVICE/VERSION/EVENT; may be left out where the
    /// account has one only
    #[arg(long, required_unless_present = "account")]
    topic: Option<String>,
    /// A PEM file of certificate authorities that are trusted beside the system's
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca_file: Option<PathBuf>,
    /// Do not verify Central's certificate: any server that answers gets the key
    #[arg(long, requires = "endpoint")]
    no_verify: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Take all of this from this account of the config
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// How payloads are written as JSON
    #[arg(long, value_enum, default_value = "readable")]
    json: Style,
    /// End after N frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Prints until it is interrupted, Central refuses, or enough has come.
///
/// # Errors
/// Bad usage, or Central's refusal.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (name, account, schemas) = select(&args)?;
    let topic = account.topics.first().cloned();
    let topic = topic.ok_or_else(|| Failure::usage("there is no topic"))?;
    let schema = Descriptors::load(&schemas).map_err(Failure::usage)?;
    let decoder = Decoder::of(schema, topic.stream.clone(), args.json.into());
    let central = Central::new(None, None, Settings::default());
    let client = AccountClient::new(&central, &name, &account).map_err(Failure::usage)?;
    let (journal, cursor) = memory().map_err(Failure::at_run_time)?;
    let (handle, task) = subscription::new(&name, topic, Arc::new(client), journal.appender());
    let mut task = tokio::spawn(task.run());
    let ended = tokio::select! {
        ended = &mut task => {
            let why = ended.map_or_else(|error| Panic::from(error).to_string(), |_| "by itself".to_owned());
            return Err(Failure::at_run_time(format!("the subscription has ended: {why}")));
        }
        refused = report_state(handle.state()) => Err(Failure::at_run_time(refused)),
        printed = print(&decoder, cursor, args.count) => printed.map_err(Failure::at_run_time),
    };
    handle.stop(StopMode::Unsubscribe);
    task.await
        .map_err(|error| Failure::at_run_time(Panic::from(error)))?;
    ended
}

/// The account with the one topic, its name, and the schemas to decode with.
fn select(args: &Args) -> Result<(String, Account, Schemas), Failure> {
    let Some(name) = &args.account else {
        return Ok(("tail".to_owned(), of_arguments(args)?, Schemas::default()));
    };
    let Config {
        mut accounts,
        schemas,
        ..
    } = args.config.load().map_err(Failure::usage)?.config;
    let Some(mut account) = accounts.remove(name) else {
        let known: Vec<&String> = accounts.keys().collect();
        let text = format!("there is no account {name} (there are {known:?})");
        return Err(Failure::usage(text));
    };
    match &args.topic {
        Some(topic) => account.topics.retain(|known| {
            known.name() == topic || known.stream.to_string().ends_with(&format!("/{topic}"))
        }),
        None if account.topics.len() > 1 => {
            let known: Vec<&str> = account.topics.iter().map(Topic::name).collect();
            let text = format!(
                "the account {name} has several topics (write --topic, one of {})",
                known.join(", ")
            );
            return Err(Failure::usage(text));
        }
        None => {}
    }
    if account.topics.is_empty() {
        return Err(Failure::usage(format!(
            "the account {name} has no such topic"
        )));
    }
    if let Access::New(access) = &mut account.access {
        // With the forwarder's own id it would take part of the forwarder's events.
        access.subscriber_id = Some(uuid::Uuid::new_v4().to_string());
    }
    Ok((name.clone(), account, schemas))
}

fn of_arguments(args: &Args) -> Result<Account, Failure> {
    let read = |value: &Option<Secret>, file: &Option<PathBuf>, what: &str| match (value, file) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(file)) => Secret::from_file(file).map_err(Failure::usage),
        (None, None) => Err(Failure::usage(format!(
            "there is no {what} (write --{what}-file FILE)"
        ))),
    };
    let (generation, access) = if let Some(id) = &args.client_id {
        let access = NewAccess {
            client_id: Secret::literal(id.clone()),
            client_secret: read(
                &args.client_secret,
                &args.client_secret_file,
                "client-secret",
            )?,
            token_url: args.token_url.clone(),
            tenant_token_url: None,
            subscriber_id: Some(uuid::Uuid::new_v4().to_string()),
        };
        (Generation::New, Access::New(Box::new(access)))
    } else {
        let access = ClassicAccess {
            key: read(&args.key, &args.key_file, "key")?,
            username: None,
        };
        (Generation::Classic, Access::Classic(access))
    };
    let topic = args.topic.as_deref().unwrap_or_default();
    let known: Option<Stream> = stream(generation, topic);
    let known = known.ok_or_else(|| Failure::usage(format!("no stream is named {topic:?}")))?;
    let endpoint = args.endpoint.clone();
    let endpoint = endpoint.filter(|url| matches!(url.scheme(), "ws" | "wss") && url.has_host());
    let advice = "the endpoint is not a WebSocket's URL (write wss://HOST/streaming/api)";
    Ok(Account {
        endpoint: endpoint.ok_or_else(|| Failure::usage(advice))?,
        access,
        topics: [Topic::all_of(known)].into(),
        tls: Tls {
            ca_file: args.ca_file.as_ref().map(PemFile::new),
            insecure: args.no_verify,
        },
        proxy: Proxy::Environment,
        idle_timeout: None,
    })
}

fn memory() -> Result<(Journal, Cursor), String> {
    let options = Options {
        location: Location::Memory {
            bytes: MEMORY_BYTES,
        },
        segment_bytes: MEMORY_BYTES,
        sync_interval: Duration::from_millis(20),
        max_bytes: None,
        retain: Duration::ZERO,
    };
    let opened = Journal::open(&options, &[("terminal", Start::Oldest)]);
    let (journal, mut cursors) = opened.map_err(|error| error.to_string())?;
    let cursor = cursors.pop().ok_or("there is no cursor")?;
    Ok((journal, cursor))
}

/// Reports the connection's state on standard error; returns when Central refuses.
async fn report_state(mut state: watch::Receiver<State>) -> String {
    loop {
        let now = state.borrow_and_update().clone();
        match &now {
            State::BackingOff { why, .. } if now.refusal().is_some() => return why.to_string(),
            State::BackingOff { why, .. } => eprintln!("{why}: trying again"),
            State::Connected { .. } => eprintln!("connected"),
            State::Connecting | State::Stopped => {}
        }
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn print(decoder: &Decoder, mut cursor: Cursor, count: Option<u64>) -> io::Result<()> {
    let committer = cursor.committer();
    let mut left = count.unwrap_or(u64::MAX);
    let mut lines = Vec::new();
    while left > 0 {
        let batch: Batch = cursor.read(READ_BYTES).await.map_err(io::Error::other)?;
        lines.clear();
        for entry in &batch.entries {
            if matches!(entry.frame.subscription.stream(), Stream::Internal(_)) || left == 0 {
                continue;
            }
            left -= 1;
            if let Err(why) = decoder.records(&entry.frame.payload, &mut lines) {
                eprintln!("a frame cannot be decoded: {why}");
            }
        }
        let mut out = io::stdout().lock();
        match out.write_all(&lines).and_then(|()| out.flush()) {
            // A reader that has closed standard output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        committer.commit(batch.end);
    }
    Ok(())
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(Secret::literal(text))
}
