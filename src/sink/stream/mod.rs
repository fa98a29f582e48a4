//! JSON lines to standard output or a file.
//!
//! A record that is not JSON, in format `protobuf` or `frame`, is written as a `CloudEvent` in JSON format,
//! with its bytes in `data_base64`: its attributes, which other sinks put into headers, are kept.
//!
//! A record counts as confirmed once its line is written, and for a file synced.
//!
//! - `appender`: the file, which may be rotated

mod appender;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;

use self::appender::Appender;
use super::{ConnectionError, DeliveryId, Outcome, Outcomes, Record, Sink};
use crate::config;
use crate::supervise::blocking;

/// Lines are gathered up to this many bytes before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the lines go.
#[derive(Clone, Debug)]
pub enum Target {
    Stdout,
    /// Appended to; created if it does not exist.
    File(config::File),
}

/// One open file, or standard output.
#[derive(Debug)]
pub struct StreamSink {
    target: Target,
    output: Output,
    outcomes: Outcomes,
    lines: Vec<u8>,
    delivery_ids: Vec<DeliveryId>,
}

#[derive(Debug)]
enum Output {
    Stdout(tokio::io::Stdout),
    /// `None` during a write, and after one that was cancelled.
    File(Option<Appender>),
}

impl Sink for StreamSink {
    type Config = Target;

    async fn probe(target: &Target, _: &BTreeSet<String>) -> Result<String, String> {
        match target {
            Target::Stdout => Ok("standard output".to_owned()),
            Target::File(file) => file_can_be_written(&file.path),
        }
    }

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let output = match target {
            Target::Stdout => Output::Stdout(tokio::io::stdout()),
            Target::File(file) => {
                let file = file.clone();
                let opened = blocking(move || Appender::open(file)).await;
                let opened = opened.map_err(io::Error::from).flatten();
                Output::File(Some(opened.map_err(|error| failed(target, &error))?))
            }
        };
        Ok(Self {
            target: target.clone(),
            output,
            outcomes,
            lines: Vec::with_capacity(BUFFER_BYTES),
            delivery_ids: Vec::new(),
        })
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        if record.content_type.ends_with("json") {
            self.lines.extend_from_slice(record.payload);
        } else {
            self.lines.extend_from_slice(cloud_event(record).as_bytes());
        }
        self.lines.push(b'\n');
        self.delivery_ids.push(delivery_id);
        if self.lines.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.delivery_ids.is_empty() {
            return Ok(());
        }
        self.output
            .write(&mut self.lines)
            .await
            .map_err(|error| failed(&self.target, &error))?;
        self.lines.clear();
        for delivery_id in self.delivery_ids.drain(..) {
            self.outcomes.report(delivery_id, Outcome::Confirmed);
        }
        Ok(())
    }
}

impl Output {
    async fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => {
                stdout.write_all(lines).await?;
                stdout.flush().await
            }
            Self::File(file) => {
                let mut appender = file.take().ok_or(io::ErrorKind::BrokenPipe)?;
                let text = std::mem::take(lines);
                let (appender, text) = blocking(move || {
                    appender.append(&text)?;
                    Ok::<_, io::Error>((appender, text))
                })
                .await??;
                (*file, *lines) = (Some(appender), text);
                Ok(())
            }
        }
    }
}

/// A record as a `CloudEvent` in JSON format.
fn cloud_event(record: &Record<'_>) -> String {
    let attributes = record.attributes.iter();
    let mut event: Map<String, Value> = attributes
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    event.insert("datacontenttype".to_owned(), record.content_type.into());
    let data = STANDARD.encode(record.payload);
    event.insert("data_base64".to_owned(), data.into());
    Value::Object(event).to_string()
}

fn failed(target: &Target, error: &io::Error) -> ConnectionError {
    let why = match target {
        Target::Stdout => format!("standard output: {error}"),
        Target::File(file) => format!("{}: {error}", file.path.display()),
    };
    ConnectionError(why.into())
}

/// Creates nothing: where the file is missing, its folder must exist.
fn file_can_be_written(path: &Path) -> Result<String, String> {
    let name = path.display();
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(format!("{name} may be written")),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                Err(format!("{name}: there is no folder {}", folder.display()))
            }
            _ => Ok(format!("{name} will be created")),
        },
        Err(error) => Err(format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::Rotate;
    use crate::sink::Attributes;

    fn file(path: &Path, rotate: Option<Rotate>) -> Target {
        Target::File(config::File {
            path: path.to_owned(),
            rotate,
        })
    }

    fn record(payload: &str) -> Record<'_> {
        Record {
            destination: "",
            key: None,
            payload: payload.as_bytes(),
            attributes: Attributes::new("", &[]),
            content_type: "application/json",
            message: None,
            timestamp: 0,
        }
    }

    #[tokio::test]
    async fn a_record_is_confirmed_once_its_line_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "{\"cut\":").unwrap();
        let (outcomes, mut reported) = Outcomes::channel();
        let target = file(&path, None);
        let mut sink = StreamSink::connect(&target, outcomes).await.unwrap();

        sink.send(DeliveryId(0), &record("{\"a\":1}"))
            .await
            .unwrap();
        sink.send(DeliveryId(1), &record("{\"a\":2}"))
            .await
            .unwrap();
        assert!(reported.try_recv().is_err(), "nothing was written yet");
        sink.flush().await.unwrap();

        assert_eq!(
            reported.recv().await,
            Some((DeliveryId(0), Outcome::Confirmed))
        );
        assert_eq!(
            reported.recv().await,
            Some((DeliveryId(1), Outcome::Confirmed))
        );
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, "{\"cut\":\n{\"a\":1}\n{\"a\":2}\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named() {
        let (outcomes, _reported) = Outcomes::channel();
        let target = file(Path::new("/no/such/folder/events"), None);
        let error = StreamSink::connect(&target, outcomes).await.unwrap_err();
        assert!(error.to_string().starts_with("/no/such/folder/events: "));
    }

    async fn write(sink: &mut StreamSink, number: u64) -> Result<(), ConnectionError> {
        let line = format!("{{\"number\":{number}}}");
        sink.send(DeliveryId(number), &record(&line)).await?;
        sink.flush().await
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_created_again_and_the_old_one_stays_complete() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["events", "events.old"].map(|name| folder.path().join(name));
        let (outcomes, _reported) = Outcomes::channel();
        let target = file(&path, None);
        let mut sink = StreamSink::connect(&target, outcomes).await.unwrap();
        write(&mut sink, 1).await.unwrap();
        fs::rename(&path, &moved).unwrap();
        write(&mut sink, 2).await.unwrap();
        fs::remove_file(&path).unwrap();
        write(&mut sink, 3).await.unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "{\"number\":1}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"number\":3}\n");
    }

    #[tokio::test]
    async fn a_file_is_rotated_before_it_is_too_large_and_a_limited_number_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let (outcomes, _reported) = Outcomes::channel();
        // Two lines fit, a third does not.
        let rotate = Rotate {
            max_bytes: 30,
            keep: 2,
        };
        let target = file(&path, Some(rotate));
        let mut sink = StreamSink::connect(&target, outcomes).await.unwrap();
        for number in 1..=7 {
            write(&mut sink, number).await.unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("events"), "{\"number\":7}\n");
        assert_eq!(read("events.1"), "{\"number\":5}\n{\"number\":6}\n");
        assert_eq!(read("events.2"), "{\"number\":3}\n{\"number\":4}\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[tokio::test]
    async fn a_full_disk_is_tried_again() {
        let (outcomes, mut reported) = Outcomes::channel();
        let target = file(Path::new("/dev/full"), None);
        let mut sink = StreamSink::connect(&target, outcomes).await.unwrap();
        let error = write(&mut sink, 1).await.unwrap_err();
        assert!(
            error.to_string().starts_with("/dev/full: No space left"),
            "{error}"
        );
        assert!(reported.try_recv().is_err(), "nothing was written");
    }
}
