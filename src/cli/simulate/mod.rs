//! `simulate`: a stand-in for Central.

mod config;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::config::secret::Secret;
use crate::simulator::{EVENTS, Fault, Options, Simulator, StartError, TOPICS};

const FAULTS_HELP: &str = "\
Faults: NAME[=VALUE][,topic=T][,after=N][,times=N|always]
  refuse=STATUS          the handshake is answered with this status
  unsubscribed-topic     the handshake is answered as for a topic that is not enabled
  refuse-renewal=STATUS  the call for a token, or for the current key, is answered so
  expired-key            every key and token ends, and what a key opened is closed
  drop                   the connection ends without a close frame
  close=CODE             it ends with a close frame
  half-open              it stays open, and nothing is sent or answered any more
  slow=MILLISECONDS      256 bytes at a time, with this time between them
  truncated-frame        a frame ends in its midst, as the connection does
  text-frame             a text frame
  garbage-frame          a binary frame that is not a message of Central's
  oversized-frame=BYTES  a binary frame of so many zeros
  unknown-frame          a frame of a kind that WebSocket does not know
  duplicate=TIMES        the next frame comes so many times more
  burst=FRAMES           so many frames more come at once
A fault happens once, on the next connection or handshake, unless options say otherwise: only on a
topic (of New Central, also a path), only on a connection that has sent N frames, N times or always.

While it runs, faults can be changed at /simulator/faults on the same address. GET lists them with how
often each has happened, POST adds one fault a line, DELETE removes all:
  curl -d 'close=1012,topic=audit,times=3' http://127.0.0.1:9700/simulator/faults";

/// Stands in for Central, both generations: streams made-up events of one site until SIGINT or
/// SIGTERM. Prints what to put into a config for it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = FAULTS_HELP, after_help = "--help lists the faults.")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9700")]
    listen: SocketAddr,
    /// Serve TLS, with a certificate that signs itself
    #[arg(long)]
    tls: bool,
    /// Write the certificate to FILE (PEM), for `tls.ca_file` of an account
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_cert_out: Option<PathBuf>,
    /// Frames a second on each connection, of New Central for each subscriber; 0 is as fast as the
    /// client reads
    #[arg(long, value_name = "N", default_value_t = 50)]
    rate: u32,
    /// Frames on each connection, of New Central for each subscriber, which then stays open and
    /// silent [default: no end]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A fault to inject; may be given more than once, see below
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    #[command(flatten)]
    classic: Classic,
    #[command(flatten)]
    new: New,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Classic Central")]
struct Classic {
    /// The key that clients must send; with --key-lifetime, what keys are signed with
    #[arg(long, default_value = "simulated-key", value_parser = secret)]
    key: Secret,
    /// A key is good for S seconds: then what it opened is closed and it is refused, and the call to
    /// validate it answers with the next one [default: no end]
    #[arg(long, value_name = "S", value_parser = seconds())]
    key_lifetime: Option<u64>,
    /// A topic that is enabled; may be given more than once [default: all six]
    #[arg(long = "topic", value_name = "TOPIC", value_parser = TOPICS)]
    topics: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "New Central")]
struct New {
    /// The client id that gets access tokens
    #[arg(long, value_name = "ID", default_value = "simulated-id", value_parser = secret)]
    client_id: Secret,
    /// The secret of that client
    #[arg(long, value_name = "SECRET", default_value = "simulated-secret", value_parser = secret)]
    client_secret: Secret,
    /// An access token is good for S seconds
    #[arg(long, value_name = "S", default_value = "7200", value_parser = seconds())]
    token_lifetime: u64,
    /// An event that there is, by its path; may be given more than once [default: all eight]
    #[arg(long = "event", value_name = "SERVICE/VERSION/EVENT", value_parser = EVENTS)]
    events: Vec<String>,
    /// Send payloads without their type, in `binary_data`, as some have been seen
    #[arg(long)]
    bare_payloads: bool,
}

fn seconds() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=365 * 24 * 60 * 60)
}

/// Why the simulator did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot write the certificate to {}: {source}", path.display())]
    Certificate { path: PathBuf, source: io::Error },
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs until SIGINT or SIGTERM, then says what was sent.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
    let certificate_out = args.tls_cert_out.clone();
    let options = Options::from(args);
    let simulator = Simulator::start(options.clone()).await?;
    if let (Some(path), Some(pem)) = (certificate_out, simulator.certificate()) {
        std::fs::write(&path, pem).map_err(|source| Error::Certificate { path, source })?;
    }
    let mut out = io::stdout();
    writeln!(out, "simulating Central at {}", simulator.endpoint())?;
    writeln!(out, "\n{}", config::example(&simulator, &options))?;
    signals.next().await;
    for (topic, sent) in simulator.sent() {
        if sent.frames > 0 {
            writeln!(out, "{topic}: {} frames sent", sent.frames)?;
        }
    }
    simulator.stop().await;
    Ok(())
}

impl From<Args> for Options {
    fn from(args: Args) -> Self {
        let Args { classic, new, .. } = args;
        Self {
            listen: args.listen,
            tls: args.tls,
            key: classic.key,
            key_lifetime: classic.key_lifetime.map(Duration::from_secs),
            topics: or_all(classic.topics, &TOPICS),
            client_id: new.client_id,
            client_secret: new.client_secret,
            token_lifetime: Duration::from_secs(new.token_lifetime),
            events: or_all(new.events, &EVENTS),
            bare_payloads: new.bare_payloads,
            rate: args.rate,
            count: args.count,
            seed: args.seed,
            faults: args.faults,
            ..Self::default()
        }
    }
}

fn or_all(given: Vec<String>, all: &[&str]) -> Vec<String> {
    if given.is_empty() {
        return all.iter().map(ToString::to_string).collect();
    }
    given
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "clap wants a parser that may fail"
)]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::literal(text))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn options(line: &str) -> Result<Options, clap::Error> {
        let command = Args::augment_args(Command::new("simulate"));
        let matches = command.try_get_matches_from(line.split_whitespace())?;
        Ok(Args::from_arg_matches(&matches)?.into())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let options = options("simulate").unwrap();
        assert_eq!(options.topics, TOPICS);
        assert_eq!(options.events, EVENTS);
        assert_eq!(options.token_lifetime, Duration::from_secs(7200));
        assert_eq!(options.key_lifetime, None);
        assert_eq!((options.rate, options.count, options.seed), (50, None, 1));
        assert!(!options.tls);
    }

    #[test]
    fn what_is_given_is_taken() {
        let line = "simulate --listen [::1]:0 --tls --tls-cert-out ca.pem --key k --topic audit --rate 0 --count 9 --seed 3 \
                    --fault drop,after=7 --fault close=1012 --key-lifetime 7 --event network-monitoring/v1alpha1/ap-events --token-lifetime 60";
        let options = options(line).unwrap();
        assert_eq!(options.listen, "[::1]:0".parse().unwrap());
        assert_eq!(options.topics, ["audit"]);
        assert_eq!((options.rate, options.count, options.seed), (0, Some(9), 3));
        assert_eq!(options.key.expose(), "k");
        let faults: Vec<_> = options.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["drop,after=7", "close=1012"]);
        assert_eq!(options.key_lifetime, Some(Duration::from_secs(7)));
        assert_eq!(options.token_lifetime, Duration::from_secs(60));
        assert_eq!(options.events, [EVENTS[4]]);
        assert!(options.tls);
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "simulate --topic weather",
            "simulate --tls-cert-out ca.pem",
            "simulate --listen nowhere",
            "simulate --rate -1",
            "simulate --key-lifetime 0",
            "simulate --event network-monitoring/v1/weather",
            "simulate --fault fire",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
