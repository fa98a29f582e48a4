//! JSON lines to standard output or a file, for looking, piping and tests.
//!
//! A record counts as confirmed once its line was written, for a file also synced.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};

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
    File(File),
}

impl Sink for StreamSink {
    type Config = Target;

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, Broken> {
        let output = match target {
            Target::Stdout => Output::Stdout(tokio::io::stdout()),
            Target::File(path) => open(path)
                .await
                .map(Output::File)
                .map_err(|error| Broken(format!("{}: {error}", path.display()).into()))?,
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
            .map_err(|error| Broken(error.to_string().into()))?;
        self.lines.clear();
        for ticket in self.tickets.drain(..) {
            // The receiver is gone only when this sink is being given up.
            let _ = self.outcomes.send((ticket, Outcome::Confirmed));
        }
        Ok(())
    }
}

/// Opens a file to append to. A line that an earlier try did not finish is ended, so that the next
/// one stands by itself.
async fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .await?;
    if file.seek(SeekFrom::End(0)).await? > 0 {
        file.seek(SeekFrom::End(-1)).await?;
        if file.read_u8().await? != b'\n' {
            file.write_all(b"\n").await?;
        }
    }
    Ok(file)
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::sink::Attributes;

    fn record(payload: &str) -> Record<'_> {
        Record {
            destination: "",
            key: None,
            payload: payload.as_bytes(),
            attributes: Attributes::new("", &[]),
            content_type: "application/json",
            timestamp: 0,
        }
    }

    #[tokio::test]
    async fn a_record_is_confirmed_once_its_line_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "{\"torn\":").unwrap();
        let (outcomes, mut said) = mpsc::unbounded_channel();
        let target = Target::File(path.clone());
        let mut sink = StreamSink::connect(&target, outcomes).await.unwrap();

        sink.send(Ticket(0), &record("{\"a\":1}")).await.unwrap();
        sink.send(Ticket(1), &record("{\"a\":2}")).await.unwrap();
        assert!(said.try_recv().is_err(), "nothing was written yet");
        sink.flush().await.unwrap();

        assert_eq!(said.recv().await, Some((Ticket(0), Outcome::Confirmed)));
        assert_eq!(said.recv().await, Some((Ticket(1), Outcome::Confirmed)));
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, "{\"torn\":\n{\"a\":1}\n{\"a\":2}\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named() {
        let (outcomes, _said) = mpsc::unbounded_channel();
        let target = Target::File("/no/such/folder/events".into());
        let broken = StreamSink::connect(&target, outcomes).await.unwrap_err();
        assert!(broken.to_string().starts_with("/no/such/folder/events: "));
    }
}
