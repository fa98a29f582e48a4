//! `simulate`: a stand-in for Central.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::config::secret::Secret;
use crate::simulator::{Options, Simulator, StartError, TOPICS};

/// Stands in for Central: streams made-up events of one site until SIGINT or SIGTERM
#[derive(Clone, Debug, clap::Args)]
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
    /// The key that clients must send
    #[arg(long, default_value = "simulated-key", value_parser = secret)]
    key: Secret,
    /// A topic that is enabled; may be given more than once [default: all six]
    #[arg(long = "topic", value_name = "TOPIC", value_parser = TOPICS)]
    topics: Vec<String>,
    /// Frames a second on each connection; 0 is as fast as the client reads
    #[arg(long, value_name = "N", default_value_t = 50)]
    rate: u32,
    /// Frames on each connection, which then stays open and silent [default: no end]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
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
    let simulator = Simulator::start(args.into()).await?;
    if let (Some(path), Some(pem)) = (certificate_out, simulator.certificate()) {
        std::fs::write(&path, pem).map_err(|source| Error::Certificate { path, source })?;
    }
    let mut out = io::stdout();
    writeln!(out, "simulating Central at {}", simulator.endpoint())?;
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
        let topics = if args.topics.is_empty() {
            TOPICS.map(str::to_owned).to_vec()
        } else {
            args.topics
        };
        Self {
            listen: args.listen,
            tls: args.tls,
            key: args.key,
            topics,
            rate: args.rate,
            count: args.count,
            seed: args.seed,
        }
    }
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
        let matches = command.try_get_matches_from(line.split(' '))?;
        Ok(Args::from_arg_matches(&matches)?.into())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let options = options("simulate").unwrap();
        assert_eq!(options.topics, TOPICS);
        assert_eq!((options.rate, options.count, options.seed), (50, None, 1));
        assert!(!options.tls);
    }

    #[test]
    fn what_is_given_is_taken() {
        let line = "simulate --listen [::1]:0 --tls --tls-cert-out ca.pem --key k --topic audit --rate 0 --count 9 --seed 3";
        let options = options(line).unwrap();
        assert_eq!(options.listen, "[::1]:0".parse().unwrap());
        assert_eq!(options.topics, ["audit"]);
        assert_eq!((options.rate, options.count, options.seed), (0, Some(9), 3));
        assert_eq!(options.key.expose(), "k");
        assert!(options.tls);
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "simulate --topic weather",
            "simulate --tls-cert-out ca.pem",
            "simulate --listen nowhere",
            "simulate --rate -1",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
