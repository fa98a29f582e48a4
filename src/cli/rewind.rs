//! `rewind`: a sink is sent again what is still in the journal.

use std::io::{self, Write as _};

use super::Failure;
use super::stored::{StateArgs, printed};
use crate::frame::Timestamp;
use crate::journal::{self, Inspector};

/// Move a sink back, or forward, to a place in the journal; the daemon must be down, and goes on from
/// there when it is started
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    state: StateArgs,
    /// The sink's name in the config
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// The offset of a record, or a time such as 2026-01-31T12:00:00Z: the first frame that was
    /// received then or later
    #[arg(long, value_name = "TIME|OFFSET", value_parser = parse)]
    to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Offset(u64),
    Time(Timestamp),
}

/// # Errors
/// The daemon runs, there is no such sink, or the journal does not hold the place.
pub fn run(args: &Args) -> Result<(), Failure> {
    let folder = args.state.folder()?.join("journal");
    let offset = match args.to {
        To::Offset(offset) => offset,
        To::Time(time) => Inspector::open(&folder)
            .and_then(|mut journal| journal.offset_at(time))
            .map_err(Failure::at_run_time)?,
    };
    journal::rewind(&folder, &args.sink, offset).map_err(Failure::at_run_time)?;
    printed(writeln!(io::stdout(), "{} goes on at {offset}", args.sink))
}

fn parse(text: &str) -> Result<To, String> {
    if let Ok(offset) = text.parse() {
        return Ok(To::Offset(offset));
    }
    let time: prost_types::Timestamp = text
        .parse()
        .map_err(|_| "neither an offset nor a time such as 2026-01-31T12:00:00Z".to_owned())?;
    let micros = time.seconds.saturating_mul(1_000_000);
    Ok(To::Time(Timestamp(
        micros.saturating_add(i64::from(time.nanos / 1000)),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_offset_or_a_time() {
        assert_eq!(parse("42"), Ok(To::Offset(42)));
        let time = To::Time(Timestamp(1_700_000_000_500_000));
        assert_eq!(parse("2023-11-14T22:13:20.5Z"), Ok(time));
        assert_eq!(parse("2023-11-14T23:13:20.5+01:00"), Ok(time));
        for text in ["", "-1", "yesterday", "2023-13-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
