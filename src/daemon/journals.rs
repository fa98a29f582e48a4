//! The two journals: of frames, and of dead letters.

use std::time::Duration;

use super::error::Error;
use crate::config::{Config, SinkStart};
use crate::delivery::SinkContext;
use crate::frame::Timestamp;
use crate::journal::{
    self, Appender, CloseError, Cursor, Journal, Location, Observer, OpenError, Start,
};

/// The dead letters kept in memory without a `state_dir`. They end with the process; only the log and
/// the counts outlive a dead letter.
const DEAD_LETTERS_IN_MEMORY: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Journals {
    frames: Journal,
    dead_letters: Journal,
}

impl Journals {
    /// With a cursor of the frames for each sink, in the order of their names.
    pub(super) fn open(config: &Config) -> Result<(Self, Vec<Cursor>), Error> {
        let opened = || {
            let sinks = config.sinks.keys();
            let names: Vec<_> = sinks
                .map(|name| (name.as_str(), start_of(config, name)))
                .collect();
            let (frames, cursors) = Journal::open(&options(config), &names)?;
            let dead_letters = open_dead_letters(config)?;
            Ok((frames, dead_letters, cursors))
        };
        let (frames, dead_letters, cursors) =
            opened().map_err(|cause| match config.state_dir.clone() {
                Some(folder) => Error::StateDir { folder, cause },
                None => Error::Journal(cause),
            })?;
        let journals = Self {
            frames,
            dead_letters,
        };
        Ok((journals, cursors))
    }

    pub(super) fn appender(&self) -> Appender {
        self.frames.appender()
    }

    /// When the newest frame of the previous run was received.
    pub(super) fn last_received(&self) -> Option<Timestamp> {
        self.frames.recovery().last_received
    }

    pub(super) fn context(&self, cursor: Cursor) -> SinkContext {
        SinkContext::new(cursor, &self.frames, &self.dead_letters)
    }

    /// Makes cursors for one more sink, while the journals are in use.
    pub(super) fn register(&self, config: &Config, sink: &str) -> Result<SinkContext, OpenError> {
        self.dead_letters.register(sink, Start::Oldest)?;
        let cursor = self.frames.register(sink, start_of(config, sink))?;
        Ok(self.context(cursor))
    }

    /// Keeps no more frames and dead letters for a sink.
    pub(super) fn unregister(&self, sink: &str) {
        self.frames.unregister(sink);
        self.dead_letters.unregister(sink);
    }

    /// Waits until no more frames can be written.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.frames.ended()
    }

    /// The offset that the next frame gets.
    pub(super) fn end(&self) -> u64 {
        self.frames.end()
    }

    pub(super) fn frames(&self) -> Observer {
        self.frames.observer()
    }

    pub(super) fn dead_letters(&self) -> Observer {
        self.dead_letters.observer()
    }

    pub(super) async fn close(self) -> Result<(), CloseError> {
        let dead_letters = self.dead_letters.close().await;
        self.frames.close().await.and(dead_letters)
    }
}

fn start_of(config: &Config, sink: &str) -> Start {
    match config.starts.get(sink) {
        Some(SinkStart::Oldest) => Start::Oldest,
        Some(SinkStart::End) | None => Start::End,
    }
}

fn options(config: &Config) -> journal::Options {
    let location = match &config.state_dir {
        Some(folder) => Location::Directory(folder.join("journal")),
        None => Location::Memory {
            bytes: config.journal.memory_bytes,
        },
    };
    journal::Options {
        location,
        segment_bytes: config.journal.segment_bytes,
        sync_interval: config.journal.sync_interval,
        max_bytes: config.journal.max_bytes,
        retain: config.journal.retain,
    }
}

/// With a cursor for each sink, so that its dead letters are kept until they are sent again.
fn open_dead_letters(config: &Config) -> Result<Journal, OpenError> {
    let location = match &config.state_dir {
        Some(folder) => Location::Directory(folder.join("dead-letters")),
        None => Location::Memory {
            bytes: DEAD_LETTERS_IN_MEMORY,
        },
    };
    let options = journal::Options {
        location,
        max_bytes: Some(config.journal.dead_letter_bytes),
        retain: Duration::ZERO,
        ..options(config)
    };
    let sinks = config.sinks.keys();
    let names: Vec<_> = sinks.map(|name| (name.as_str(), Start::Oldest)).collect();
    Journal::open(&options, &names).map(|(journal, _)| journal)
}
