//! What a run needs to know of a broker.

use crate::usage::Used;

pub(crate) trait Broker {
    /// For the head of the report.
    fn description(&self) -> String;

    /// The lines of the sink's table in the forwarder's config.
    fn sink(&self) -> String;

    /// Further lines of the route.
    fn route(&self) -> &'static str {
        ""
    }

    /// A place for records that is empty and that nobody else uses: a topic or a queue.
    fn fresh_destination(&self) -> String;

    /// Tells, each time it is called, how many records have arrived at a destination.
    fn arrivals(&self, destination: &str) -> Box<dyn FnMut() -> u64 + '_>;

    /// Gives back the memory and the disk that the records at a destination take.
    fn discard(&self, destination: &str);

    /// Sends `count` records to a fresh destination with the bare client library, again and again
    /// those that the forwarder has left at `from`, and waits until the broker has confirmed all.
    fn ceiling(&self, from: &str, count: u64) -> Ceiling;
}

/// What the bare client library reaches.
pub(crate) struct Ceiling {
    pub(crate) records: u64,
    /// Of one record's payload, on average.
    pub(crate) payload_bytes: u64,
    /// From the first record to the last confirmation.
    pub(crate) used: Used,
}

impl Ceiling {
    pub(crate) fn per_second(&self) -> f64 {
        self.used.per_second(self.records)
    }
}
