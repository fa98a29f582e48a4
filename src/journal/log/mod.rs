//! The log itself: segments of records, how they are appended, synced, removed, repaired and read.
//!
//! | file | what |
//! |---|---|
//! | `record` | the bytes of one record |
//! | `segment` | names of segment files; reading checked records from one |
//! | `index` | which segments there are, and how much of each may be read |
//! | `position` | where a record is found |
//! | `appender`, `queue` | frames are encoded and wait for the writer thread |
//! | `thread` | the writer thread: when to write, sync, store cursors and pause |
//! | `writer`, `limits` | what the thread does: everything that changes the files |
//! | `syncing` | a sync that runs on a thread of its own |
//! | `recovery`, `scan` | repairs what a crash left when the journal is opened |
//! | `reader` | reads across segments, past damaged and removed records |
//! | `quarantine` | copies damaged bytes, for a person to look into |

pub(super) mod appender;
pub(super) mod index;
mod limits;
pub(super) mod position;
mod quarantine;
pub(super) mod queue;
pub(super) mod reader;
pub(super) mod record;
pub(super) mod recovery;
pub(super) mod scan;
pub(super) mod segment;
pub(super) mod syncing;
pub(super) mod thread;
pub(super) mod writer;
