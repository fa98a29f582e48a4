//! `journal`: what is stored, and whether it is undamaged.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use super::Failure;
use super::state_dir::{StateArgs, printed};
use crate::event::{describe, time};
use crate::journal::{self, CursorInfo, Inspector, SegmentSummary};

/// Look into the journal or a copy of it, also while the daemon runs
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// The segments, and how far each sink has come
    List(Args),
    /// A JSON object for each record, its frame in base64
    Dump(DumpArgs),
    /// Read every record; exit code 1 if one is damaged
    Verify(Args),
    /// Remove the cursor of a sink that is no longer in the config
    Forget(ForgetArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ForgetArgs {
    #[command(flatten)]
    state: StateArgs,
    /// The sink's name
    #[arg(long, value_name = "NAME")]
    sink: String,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct DumpArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Begin at this record [default: the oldest]
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// Print at most N records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
}

/// Prints something of a journal; `false` if the journal is damaged.
type Show<'a> = dyn Fn(&mut Inspector, &mut dyn Write) -> io::Result<bool> + 'a;

/// # Errors
/// The state folder cannot be read.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let (state, show): (_, &Show<'_>) = match command {
        Command::List(args) => (&args.state, &list),
        Command::Dump(args) => (&args.state, &|journal, out| dump(journal, args, out)),
        Command::Verify(args) => (&args.state, &verify),
        Command::Forget(args) => return forget(args),
    };
    let folder = state.folder()?.join("journal");
    let mut journal = open(&folder)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = show(&mut journal, &mut out).and_then(|undamaged| out.flush().map(|()| undamaged));
    let undamaged = matches!(shown, Ok(true));
    let broken_pipe = matches!(&shown, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
    printed(shown.map(drop))?;
    Ok(if undamaged || broken_pipe {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn forget(args: &ForgetArgs) -> Result<ExitCode, Failure> {
    let folder = args.state.folder()?.join("journal");
    journal::forget(&folder, &args.sink).map_err(Failure::at_run_time)?;
    printed(writeln!(io::stdout(), "{} is forgotten", args.sink))?;
    Ok(ExitCode::SUCCESS)
}

fn open(folder: &Path) -> Result<Inspector, Failure> {
    Inspector::open(folder)
        .map_err(|error| Failure::at_run_time(format!("{}: {error}", folder.display())))
}

fn list(journal: &mut Inspector, out: &mut dyn Write) -> io::Result<bool> {
    let end = journal.end();
    for segment in journal.segments() {
        let SegmentSummary {
            base,
            bytes,
            received_at,
        } = segment;
        let from = received_at.map_or_else(String::new, |at| format!(" from {}", time(at)));
        writeln!(out, "segment {base}: {bytes} bytes{from}")?;
    }
    writeln!(out, "end {end}")?;
    for CursorInfo { name, offset } in journal.cursors()? {
        match offset {
            Some(offset) => {
                let lag = end.saturating_sub(offset);
                writeln!(out, "cursor {name}: {offset}, {lag} behind")?;
            }
            None => writeln!(out, "cursor {name}: damaged")?,
        }
    }
    Ok(true)
}

fn dump(journal: &mut Inspector, args: &DumpArgs, out: &mut dyn Write) -> io::Result<bool> {
    if let Some(from) = args.from {
        journal.seek(from);
    }
    let mut left = args.count;
    while left > 0
        && let Some(batch) = journal.read()?
    {
        for entry in &batch.entries {
            if left == 0 {
                break;
            }
            writeln!(out, "{}", describe(entry))?;
            left -= 1;
        }
    }
    Ok(true)
}

fn verify(journal: &mut Inspector, out: &mut dyn Write) -> io::Result<bool> {
    let (mut records, mut damaged) = (0, 0);
    while let Some(batch) = journal.read()? {
        if batch.damaged > 0 {
            let next = batch.entries.first().map(|entry| entry.offset);
            let next = next.unwrap_or_else(|| journal.end());
            let first = next.saturating_sub(batch.damaged);
            writeln!(
                out,
                "damaged: {} records before {next}, from {first} on",
                batch.damaged
            )?;
        }
        damaged += batch.damaged;
        records += batch.entries.len();
    }
    let incomplete = journal.incomplete_bytes();
    if incomplete > 0 {
        writeln!(
            out,
            "{incomplete} bytes after the last record are incomplete: they are cut off at the next start"
        )?;
    }
    writeln!(out, "{records} records are valid, {damaged} are damaged")?;
    Ok(damaged == 0)
}
