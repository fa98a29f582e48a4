//! `rewind`: moves the cursor of a sink.

use std::io::{self, Write as _};

use super::Failure;
use super::state_dir::{StateArgs, printed};
use crate::journal::{self, Inspector, RewindTo};

/// Move a sink back or forward in the journal; the daemon must be down, and sends from there when it is
/// started (while it runs, use POST /api/rewind)
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    state: StateArgs,
    /// The sink's name in the config
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// The offset of a record, or a time such as 2026-01-31T12:00:00Z: then at the first frame that
    /// was received at that time or later
    #[arg(long, value_name = "TIME|OFFSET")]
    to: RewindTo,
}

/// # Errors
/// The daemon runs, there is no such sink, or the journal does not hold that offset.
pub fn run(args: &Args) -> Result<(), Failure> {
    let folder = args.state.folder()?.join("journal");
    let offset = match args.to {
        RewindTo::Offset(offset) => offset,
        RewindTo::Time(time) => Inspector::open(&folder)
            .and_then(|mut journal| journal.offset_at(time))
            .map_err(Failure::at_run_time)?,
    };
    journal::rewind(&folder, &args.sink, offset).map_err(Failure::at_run_time)?;
    printed(writeln!(io::stdout(), "{} goes on at {offset}", args.sink))
}
