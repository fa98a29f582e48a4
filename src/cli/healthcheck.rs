//! `healthcheck`: whether the daemon on this machine answers.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Failure;
use crate::config;

/// The environment variable that overrides `admin.listen`, in containers above all.
const LISTEN_VARIABLE: &str = "CENTRAL_FORWARDER__ADMIN__LISTEN";

/// Exit 0 if the daemon's admin endpoint answers, and 1 if not; the config is not read, so that a
/// daemon that runs does not look unhealthy because of a mistake in the file
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The value of `admin.listen` [default: from the environment, or else 127.0.0.1:9600]
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// How long an answer may take, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// # Errors
/// There is no answer in time, or it is not 200.
pub async fn run(args: Args) -> Result<(), Failure> {
    let address = reachable(args.address()?);
    let unhealthy = |why: &dyn std::fmt::Display| {
        Failure::at_run_time(format!("http://{address}/healthz: {why}"))
    };
    let limit = Duration::from_secs(args.timeout);
    match timeout(limit, ask(address)).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(code)) => Err(unhealthy(&code)),
        Ok(Err(error)) => Err(unhealthy(&error)),
        Err(_) => Err(unhealthy(&format_args!("no answer within {limit:?}"))),
    }
}

impl Args {
    fn address(&self) -> Result<SocketAddr, Failure> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        match env::var(LISTEN_VARIABLE) {
            Ok(text) => text
                .parse()
                .map_err(|_| Failure::usage(format!("{LISTEN_VARIABLE} is not IP:PORT"))),
            Err(_) => Ok(config::Admin::default().listen),
        }
    }
}

/// The loopback address, if `listen` means every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/healthz")
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let asked = async { sender.send_request(request).await };
    tokio::select! {
        answer = asked => Ok(answer?.status()),
        ended = connection => Err(ended.map_or_else(Into::into, |()| "closed without an answer".into())),
    }
}
