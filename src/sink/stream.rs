//! JSON lines to standard output or a file, for looking, piping and tests.
//!
//! A record counts as confirmed once its line was written, for a file also synced.

use std::io;
use std::path::PathBuf;

use tokio::fs::OpenOptions;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Broken, Outcome, Outcomes, Record, Sink, Ticket};

/// Lines are gathered up to this many bytes before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the lines go.
#[derive(Clone, Debug)]
pub enum Target {
    Stdout,
    /// Appended to; made if it is not there.
    File(PathBuf),
}

/// One open file, or standard output.
#[derive(Debug)]
pub struct StreamSink {
    output: Output,
    outcomes: Outcomes,
    lines: Vec<u8>,
    tickets: Vec<Ticket>,
}

#[derive(Debug)]
enum Output {
    Stdout(tokio::io::Stdout),
    File(tokio::fs::File),
}

impl Sink for StreamSink {
    type Config = Target;

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, Broken> {
        let output = match target {
            Target::Stdout => Output::Stdout(tokio::io::stdout()),
            Target::File(path) => OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .await
                .map(Output::File)
                .map_err(|error| Broken(format!("{}: {error}", path.display())))?,
        };
        Ok(Self {
            output,
            outcomes,
            lines: Vec::with_capacity(BUFFER_BYTES),
            tickets: Vec::new(),
        })
    }

    async fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), Broken> {
        self.lines.extend_from_slice(record.payload);
        self.lines.push(b'\n');
        self.tickets.push(ticket);
        if self.lines.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        if self.tickets.is_empty() {
            return Ok(());
        }
        self.output
            .write(&self.lines)
            .await
            .map_err(|error| Broken(error.to_string()))?;
        self.lines.clear();
        for ticket in self.tickets.drain(..) {
            // The receiver is gone only when this sink is being given up.
            let _ = self.outcomes.send((ticket, Outcome::Confirmed));
        }
        Ok(())
    }
}

impl Output {
    async fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => write_all(stdout, lines).await,
            Self::File(file) => {
                write_all(file, lines).await?;
                file.sync_data().await
            }
        }
    }
}

async fn write_all(output: &mut (impl AsyncWrite + Unpin), lines: &[u8]) -> io::Result<()> {
    output.write_all(lines).await?;
    output.flush().await
}
