//! What a broker's errors mean for the operator.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use lapin::protocol::AMQPError;
use lapin::{Error, ErrorKind, Event};
use tokio::time::timeout;

use crate::sink::{Cause, Failure};

/// Reply codes of AMQP 0-9-1 that an operator can do something about.
const CONTENT_TOO_LARGE: u16 = 311;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const RESOURCE_ERROR: u16 = 506;
const NOT_ALLOWED: u16 = 530;

/// The broker's own message, and what to do about it; never a password.
pub(super) fn explain(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => {
            let text = refusal.get_message();
            let why = match advice(refusal) {
                Some(advice) => format!("{text} ({advice})"),
                None => text.to_string(),
            };
            Failure::new(cause(refusal), why)
        }
        ErrorKind::IOError(error) => error.to_string().into(),
        ErrorKind::MissingHeartbeatError => {
            Failure::new(Cause::Timeout, "the broker has stopped sending heartbeats")
        }
        _ => error.to_string().into(),
    }
}

fn cause(refusal: &AMQPError) -> Cause {
    match refusal.get_id() {
        ACCESS_REFUSED | NOT_ALLOWED => Cause::Unauthorized,
        NOT_FOUND => Cause::NoDestination,
        CONTENT_TOO_LARGE => Cause::TooLarge,
        PRECONDITION_FAILED if is_about_size(refusal) => Cause::TooLarge,
        PRECONDITION_FAILED | RESOURCE_LOCKED => Cause::Invalid,
        RESOURCE_ERROR => Cause::Overloaded,
        _ => Cause::Other,
    }
}

fn is_about_size(refusal: &AMQPError) -> bool {
    refusal.get_message().as_str().contains("message size ")
}

pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_FOUND)
}

/// How many bytes a payload may have, where the broker closed the channel over a larger one: only that error
/// reveals it.
pub(super) fn size_limit(error: &Error) -> Option<usize> {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return None;
    };
    let text = refusal.get_message().as_str();
    let (_, limit) = text.rsplit_once(" max size ")?;
    let is_over_it = refusal.get_id() == PRECONDITION_FAILED && is_about_size(refusal);
    limit.trim().parse().ok().filter(|_| is_over_it)
}

/// How long the broker's own error may take to arrive after an error that follows from it.
const BROKER_ERROR_TIMEOUT: Duration = Duration::from_millis(500);

/// The broker's own error, where this one only follows from it: that a channel is closed may be seen before
/// the reason for which the broker closed it.
pub(super) async fn root_cause(
    error: Error,
    events: &mut Pin<Box<dyn Stream<Item = Event> + Send>>,
) -> Error {
    if is_root_cause(&error) {
        return error;
    }
    let reported = async {
        while let Some(event) = events.next().await {
            if let Event::Error(error) = event
                && is_root_cause(&error)
            {
                return Some(error);
            }
        }
        None
    };
    let reported = timeout(BROKER_ERROR_TIMEOUT, reported).await.ok().flatten();
    reported.unwrap_or(error)
}

/// Whether it is the broker's own error, rather than one that follows from it.
fn is_root_cause(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidChannel(_)
            | ErrorKind::InvalidConnectionState(_)
    )
}

fn advice(refusal: &AMQPError) -> Option<&'static str> {
    Some(match refusal.get_id() {
        ACCESS_REFUSED if refusal.get_message().as_str().contains("Login") => {
            "check the user and the password"
        }
        ACCESS_REFUSED => "grant the user the right: rabbitmqctl set_permissions",
        NOT_FOUND => "create it on the broker, or set declare = true",
        RESOURCE_LOCKED => "another connection owns it: name another queue",
        PRECONDITION_FAILED if is_about_size(refusal) => {
            "larger records will be refused: raise max_message_size in rabbitmq.conf"
        }
        PRECONDITION_FAILED => {
            "it differs from what the broker has: change kind, or set declare = false"
        }
        NOT_ALLOWED => "check the virtual host in the URL and the user's access to it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, text: &str) -> Error {
        let error = AMQPError::from_id(code, text.into()).expect("a code of AMQP");
        ErrorKind::ProtocolError(error).into()
    }

    #[test]
    fn the_brokers_message_comes_with_advice() {
        let text = "NOT_FOUND - no exchange 'central' in vhost '/'";
        assert_eq!(
            explain(&refusal(NOT_FOUND, text)),
            Failure::new(
                Cause::NoDestination,
                format!("{text} (create it on the broker, or set declare = true)")
            ),
        );
    }

    #[test]
    fn the_brokers_limit_is_read_from_its_error() {
        let limit = |code, text| size_limit(&refusal(code, text));
        let said =
            "PRECONDITION_FAILED - message size 3000 is larger than configured max size 2000";
        assert_eq!(limit(PRECONDITION_FAILED, said), Some(2000));
        let hard = "PRECONDITION_FAILED - message size 536870913 is larger than max size 536870912";
        assert_eq!(limit(PRECONDITION_FAILED, hard), Some(512 << 20));
        let other = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x'";
        assert_eq!(limit(PRECONDITION_FAILED, other), None);
    }

    #[test]
    fn a_refused_login_is_not_a_missing_right() {
        let login = explain(&refusal(
            ACCESS_REFUSED,
            "ACCESS_REFUSED - Login was refused",
        ))
        .why;
        assert!(
            login.ends_with("(check the user and the password)"),
            "{login}"
        );
        let right = explain(&refusal(
            ACCESS_REFUSED,
            "ACCESS_REFUSED - access to exchange",
        ))
        .why;
        assert!(right.contains("set_permissions"), "{right}");
    }
}
