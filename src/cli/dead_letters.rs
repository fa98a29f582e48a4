//! `dead-letters`: records that brokers refused for good, and frames that could not be decoded.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::state_dir::{StateArgs, printed};
use crate::event::{describe, time};
use crate::journal::{
    self, Appender, Entry, Inspector, Journal, Location, OpenError, Options, RewindError, Start,
};

/// Look into the dead letters: records that brokers refused for good, and frames that could not be decoded
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// A line for each dead letter: when, sink, account and topic, bytes, how often, why
    List(Args),
    /// A JSON object for each dead letter, its frame in base64
    Dump(Args),
    /// Send the dead letters again, each only to the sink that refused it; the daemon must be down, and
    /// sends them when it is started. A sink with several routes gets the records of all of them
    Retry(Args),
}

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    state: StateArgs,
    /// Only the dead letters of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// The size of new segments of the main journal, to which dead letters are appended again.
const SEGMENT_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}: the daemon must be down")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Append(#[from] journal::AppendError),
    #[error(transparent)]
    Close(#[from] journal::CloseError),
    #[error(transparent)]
    Done(#[from] RewindError),
    #[error("the sink {0:?} has no cursor in the journal")]
    NoSuchSink(String),
}

/// # Errors
/// The state folder cannot be read; for `retry` also that the daemon runs.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => print(&args, |out, letter| writeln!(out, "{}", line(letter))),
        Command::Dump(args) => print(&args, |out, letter| writeln!(out, "{}", describe(letter))),
        Command::Retry(args) => {
            let folder = args.state.folder()?;
            let tried = retry(&folder, args.sink.as_deref()).await;
            let count = tried.map_err(Failure::at_run_time)?;
            let plural = if count == 1 { "" } else { "s" };
            printed(writeln!(
                io::stdout(),
                "{count} dead letter{plural} to be sent again"
            ))
        }
    }
}

fn print(
    args: &Args,
    mut write: impl FnMut(&mut dyn Write, &Entry) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut letters = DeadLetterReader::open(&args.state.folder()?, args.sink.clone())
        .map_err(Failure::at_run_time)?;
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(batch) = letters.read().map_err(Failure::at_run_time)? {
        for letter in &batch {
            printed(write(&mut out, letter))?;
        }
    }
    printed(out.flush())
}

fn line(letter: &Entry) -> String {
    let Some(refusal) = &letter.refusal else {
        return String::new();
    };
    format!(
        "{} {} {} {} bytes, {} times: {}",
        time(refusal.refused_at),
        refusal.sink,
        letter.frame.subscription,
        letter.frame.payload.len(),
        refusal.times,
        refusal.reason.escape_debug(),
    )
}

/// Reads the dead letters that were not sent again yet.
struct DeadLetterReader {
    inspector: Inspector,
    /// Where each sink's dead letters begin.
    from: BTreeMap<String, u64>,
    only: Option<String>,
}

impl DeadLetterReader {
    fn open(state: &Path, only: Option<String>) -> io::Result<Self> {
        let inspector = Inspector::open(&folder(state))?;
        let cursors = inspector.cursors()?.into_iter();
        let from = cursors.filter_map(|cursor| Some((cursor.name, cursor.offset?)));
        Ok(Self {
            from: from.collect(),
            inspector,
            only,
        })
    }

    /// The next batch; `None` at the end.
    fn read(&mut self) -> io::Result<Option<Vec<Entry>>> {
        let Some(batch) = self.inspector.read()? else {
            return Ok(None);
        };
        let wanted = |letter: &Entry| {
            letter.refusal.as_ref().is_some_and(|refusal| {
                let from = self.from.get(&refusal.sink).copied().unwrap_or(0);
                let only = self.only.as_ref();
                letter.offset >= from && only.is_none_or(|only| *only == refusal.sink)
            })
        };
        Ok(Some(batch.entries.into_iter().filter(wanted).collect()))
    }
}

fn folder(state: &Path) -> std::path::PathBuf {
    state.join("dead-letters")
}

/// Appends the dead letters to the main journal, and moves the cursors of their sinks over them once
/// they are safe there. After a crash in between, some are sent twice. Returns how many there were.
async fn retry(state: &Path, only: Option<&str>) -> Result<u64, Error> {
    let main = state.join("journal");
    let cursors = Inspector::open(&main)?.cursors()?;
    let names: Vec<_> = cursors.iter().map(|cursor| cursor.name.as_str()).collect();
    if let Some(only) = only.filter(|only| !names.contains(only)) {
        return Err(Error::NoSuchSink(only.to_owned()));
    }
    let options = Options {
        location: Location::Directory(main.clone()),
        segment_bytes: SEGMENT_BYTES,
        sync_interval: Duration::from_millis(100),
        max_bytes: None,
        retain: Duration::ZERO,
    };
    let starts: Vec<_> = names.iter().map(|name| (*name, Start::Oldest)).collect();
    // Open cursors keep the journal from dropping segments when it is closed.
    let (journal, _cursors) = Journal::open(&options, &starts)?;
    let mut letters = DeadLetterReader::open(state, only.map(str::to_owned))?;
    let end = letters.inspector.end();
    let count = append(&mut letters, &names, &journal.appender()).await?;
    journal.close().await?;
    let sinks = letters.from.keys().filter(|sink| {
        names.contains(&sink.as_str()) && only.is_none_or(|only| only == sink.as_str())
    });
    for sink in sinks {
        journal::rewind(&folder(state), sink, end)?;
    }
    Ok(count)
}

async fn append(
    letters: &mut DeadLetterReader,
    sinks: &[&str],
    journal: &Appender,
) -> Result<u64, Error> {
    let mut count = 0;
    while let Some(batch) = letters.read()? {
        for letter in batch {
            if let Some(refusal) = &letter.refusal
                && sinks.contains(&refusal.sink.as_str())
            {
                journal.append_refused(&letter.frame, refusal).await?;
                count += 1;
            }
        }
    }
    Ok(count)
}
