//! What fails, in an order that follows from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// How long frames flow, or something is away, in milliseconds.
const PACE: std::ops::Range<u64> = 300..2500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Kafka,
    RabbitMq,
    Mosquitto,
}

/// A broker is still away when the next one comes, and back after that; the others are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    Terminate,
    Reload,
    CentralDrops,
    CutConnections,
    FullDisk,
    Stop(Sink),
    KillBroker(Sink),
    Pause(Sink),
}

impl Kind {
    /// Whether it is something that happens to this broker.
    pub(crate) fn is_of(self, sink: Sink) -> bool {
        [Self::Stop, Self::KillBroker, Self::Pause]
            .iter()
            .any(|kind| self == kind(sink))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Before it happens.
    pub(crate) after: Duration,
    /// How long the disk is full.
    pub(crate) lasts: Duration,
}

/// Mosquitto is not killed: it acknowledges before it syncs, and what it forgets is not ours.
const KINDS: [Kind; 14] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Terminate,
    Kind::Reload,
    Kind::CentralDrops,
    Kind::CutConnections,
    Kind::FullDisk,
    Kind::Stop(Sink::Kafka),
    Kind::Stop(Sink::RabbitMq),
    Kind::Stop(Sink::Mosquitto),
    Kind::KillBroker(Sink::Kafka),
    Kind::KillBroker(Sink::RabbitMq),
    Kind::Pause(Sink::Kafka),
    Kind::Pause(Sink::Mosquitto),
];

pub(crate) struct Schedule {
    chance: StdRng,
    left: usize,
}

impl Schedule {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        Self {
            chance: StdRng::seed_from_u64(seed),
            left: steps,
        }
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        self.left = self.left.checked_sub(1)?;
        let kind = *KINDS.choose(&mut self.chance)?;
        let mut span = || Duration::from_millis(self.chance.random_range(PACE));
        Some(Fault {
            kind,
            after: span(),
            lasts: span(),
        })
    }
}
