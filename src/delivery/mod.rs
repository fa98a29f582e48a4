//! One task for each sink: it reads the journal with a cursor of its own, turns frames into records,
//! sends them in order, and moves the cursor over the unbroken run of resolved records.
//!
//! This is the only place that retries towards a broker. When a try fails, or the connection breaks,
//! the sink is dropped. After a backoff a new connection is made, and everything from the first
//! unresolved record on is sent to it, in order.
//!
//! A record that a broker refuses for good, or a frame that cannot be decoded, becomes a dead letter.
//! The cursor moves over it once the dead letter is synced to disk.
//!
//! ```text
//! journal ──▶ Prefetch ──▶ Preparer ──▶ Delivery ──▶ Sink ──▶ broker
//!  ▲ cursor   (reads ahead) (prepare/)   │ ▲ └─▶ DeadLetterWriter, GapReporter ──▶ journals
//!  └──────────── SendWindow ◀────────────┘ └───────── outcomes
//! ```
//!
//! [`spawn`] starts the task and keeps it going, a [`Handle`] is what others may ask of it.

mod context;
mod dead_letter_writer;
mod gap_reporter;
mod handle;
mod plan;
mod prefetch;
mod prepare;
mod status;
mod supervise;
mod task;
#[cfg(test)]
mod tests;
mod window;

pub use self::context::SinkContext;
pub use self::handle::{Handle, Summary};
pub use self::plan::{Plan, Plans};
pub use self::prepare::Preparer;
pub use self::status::{Connection, Lag, LastError, Status};
pub use self::supervise::spawn;
