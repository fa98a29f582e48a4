//! The handle of a credential that subscriptions share. Its task, which does the renewing, is in
//! `refresh`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::credential::{Credential, CredentialStatus};
use crate::central::error::{Cause, Error};
use crate::frame::Timestamp;

/// What is known of a credential.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// `None`: the first access token has not been requested yet, or could not be had.
    pub(super) credential: Option<Credential>,
    /// When it is renewed, or its renewal is tried again.
    pub(super) due: Option<SystemTime>,
    /// Why the last renewal failed.
    pub(super) failure: Option<Error>,
}

impl Snapshot {
    pub(super) fn is_due(&self) -> bool {
        is_past(self.due)
    }

    /// 0: there is no credential.
    fn serial(&self) -> u64 {
        self.credential.as_ref().map_or(0, |known| known.serial)
    }
}

/// What a subscription asks of the refresh task.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) reason: Reason,
    pub(super) reply: oneshot::Sender<Result<Credential, Error>>,
}

/// Why a renewal is requested.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    Due,
    /// Central refused the credential with this serial, or it has expired; 0: there is none yet.
    Replace(u64),
}

/// When the refresh task is to ask for a token: at the latest when somebody connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BeforeUse {
    /// A key is used as it is: Central gives the next one only once this one has expired.
    Nothing,
    /// A token that is due is renewed first.
    RenewIfDue,
}

/// A key or access token that all subscriptions with the same secret share. Dropping the last handle
/// ends the refresh task.
#[derive(Debug)]
pub(crate) struct CredentialStore {
    before_use: BeforeUse,
    snapshot: watch::Receiver<Snapshot>,
    requests: mpsc::Sender<Request>,
    /// How many connections were opened with it and are still up.
    connections: watch::Sender<usize>,
}

impl CredentialStore {
    pub(super) fn new(
        before_use: BeforeUse,
        snapshot: watch::Receiver<Snapshot>,
        requests: mpsc::Sender<Request>,
        connections: watch::Sender<usize>,
    ) -> Self {
        Self {
            before_use,
            snapshot,
            requests,
            connections,
        }
    }

    pub(crate) fn status(&self) -> CredentialStatus {
        let snapshot = self.snapshot.borrow();
        let credential = snapshot.credential.as_ref();
        CredentialStatus {
            issued: credential.and_then(|known| known.issued).map(timestamp),
            expires: credential.and_then(|known| known.expires).map(timestamp),
            due: snapshot.due.map(timestamp),
            failure: snapshot.failure.clone(),
        }
    }

    /// Whether `secret` is the current credential.
    pub(crate) fn holds(&self, secret: &str) -> bool {
        let snapshot = self.snapshot.borrow();
        let credential = snapshot.credential.as_ref();
        credential.is_some_and(|known| known.expose() == secret)
    }

    /// The current credential; a token that is due is renewed first.
    ///
    /// # Errors
    /// There is none, and none can be had.
    pub(crate) async fn get(&self) -> Result<Credential, Error> {
        let snapshot = self.snapshot.borrow().clone();
        let Some(credential) = snapshot.credential else {
            return self.request(Reason::Replace(0)).await;
        };
        let is_fresh = snapshot.due.is_some_and(|due| due > SystemTime::now());
        if self.before_use == BeforeUse::Nothing || is_fresh {
            return Ok(credential);
        }
        if is_past(credential.expires) {
            return self.request(Reason::Replace(credential.serial)).await;
        }
        // Where the renewal fails, the old token still works for a while.
        Ok(self.request(Reason::Due).await.unwrap_or(credential))
    }

    /// The credential that takes the place of one that Central refused. It is the same one if Central
    /// says that it is valid.
    ///
    /// # Errors
    /// None can be had.
    pub(crate) async fn replace(&self, refused: &Credential) -> Result<Credential, Error> {
        self.request(Reason::Replace(refused.serial)).await
    }

    async fn request(&self, reason: Reason) -> Result<Credential, Error> {
        let ended = || {
            Error::broken(
                Cause::Panicked,
                "the task that renews credentials has ended",
            )
        };
        let (reply, answer) = oneshot::channel();
        let request = Request { reason, reply };
        self.requests.send(request).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Held by each connection that is up: while there is one, the credential is renewed when it is due.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<CredentialStore>,
    /// Of the credential that the connection was opened with.
    serial: u64,
}

impl Lease {
    pub(crate) fn new(store: Arc<CredentialStore>, credential: &Credential) -> Self {
        store.connections.send_if_modified(|connections| {
            *connections += 1;
            *connections == 1
        });
        Self {
            store,
            serial: credential.serial,
        }
    }

    /// Ready when there is another credential than the one that the connection was opened with.
    pub(crate) async fn replaced(&self) {
        let mut snapshot = self.store.snapshot.clone();
        let replaced =
            snapshot.wait_for(|now| now.credential.is_some() && now.serial() != self.serial);
        if replaced.await.is_err() {
            // The refresh task has ended: there will be no other credential.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.connections.send_if_modified(|connections| {
            *connections -= 1;
            *connections == 0
        });
    }
}

fn is_past(time: Option<SystemTime>) -> bool {
    time.is_some_and(|time| time <= SystemTime::now())
}

fn timestamp(time: SystemTime) -> Timestamp {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    Timestamp(micros)
}
