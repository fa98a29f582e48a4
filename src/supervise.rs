//! One way to survive a panic, and to report it.
//!
//! A panic is a bug, and costs no more than the work in which it happened. A task that must go on runs
//! its work in [`catch`], and tries again after a pause. The owner of a task turns the [`JoinError`] of
//! its end into a [`Panic`].

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::{JoinError, spawn_blocking};

/// Work gave no result: it panicked, or its task was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bug in central-forwarder: {message}")]
pub struct Panic {
    message: String,
}

/// Runs `work`; if it panics, it is dropped, and its panic is returned. The work is boxed, since its
/// callers' own futures would be as large as all that it holds.
pub(crate) fn catch<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, Panic>> {
    let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
    async { work.await.map_err(|payload| Panic::of(&*payload)) }
}

/// Runs work that waits for the disk, or takes long, on a thread for blocking work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panic> {
    Ok(spawn_blocking(work).await?)
}

impl Panic {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("a panic without a message").to_owned(),
        }
    }
}

impl From<JoinError> for Panic {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => Self::of(&*payload),
            Err(cancelled) => Self {
                message: cancelled.to_string(),
            },
        }
    }
}

impl From<Panic> for io::Error {
    fn from(panic: Panic) -> Self {
        Self::other(panic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_message() {
        assert_eq!(catch(async { 7 }).await, Ok(7));
        let number = 7;
        let formatted = catch(async { panic!("number {number}") }).await;
        let formatted: Result<(), _> = formatted;
        assert_eq!(
            formatted.unwrap_err().to_string(),
            "a bug in central-forwarder: number 7"
        );
        let task = tokio::spawn(async { panic!("in a task") });
        let task: Result<(), _> = task.await.map_err(Panic::from);
        assert_eq!(
            task.unwrap_err().to_string(),
            "a bug in central-forwarder: in a task"
        );
        let blocked = blocking(|| panic!("on a thread")).await;
        let blocked: Result<(), _> = blocked;
        assert!(blocked.unwrap_err().to_string().ends_with("on a thread"));
    }
}
