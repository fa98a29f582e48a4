//! Holds a credential and renews it: once for all who wait, and no sooner again than a backoff
//! allows.
//!
//! No task of its own does this. Each subscription that uses the credential attends to it, and
//! whoever comes first when it is due does the work for all.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::credential::{Credential, CredentialStatus, Renewed};
use super::key::KeyRenewer;
use super::token::TokenRenewer;
use crate::central::backoff_policy::BackoffPolicy;
use crate::central::error::Error;
use crate::central::settings::Settings;
use crate::frame::Timestamp;

/// A clock that is set, or a machine that slept, is noticed at the latest after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Between two renewals that were asked for because Central refused a credential that the renewal
/// then calls valid: those who wait for one must not each ask anew.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) enum Renewer {
    Key(Box<KeyRenewer>),
    Token(Box<TokenRenewer>),
}

#[derive(Clone, Debug, Default)]
struct Held {
    credential: Option<Credential>,
    due: Option<SystemTime>,
    failure: Option<Error>,
}

#[derive(Debug)]
pub(crate) struct CredentialStore {
    renewer: Renewer,
    settings: Settings,
    held: watch::Sender<Held>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    backoff: BackoffPolicy,
    not_before: Option<Instant>,
}

/// Why a renewal is wanted.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Due,
    /// Central refused the credential of this serial; 0: there is none.
    InPlaceOf(u64),
}

impl CredentialStore {
    pub(crate) fn new(renewer: Renewer, first: Option<Renewed>, settings: &Settings) -> Arc<Self> {
        let held = match first {
            None => Held::default(),
            Some(first) => Held {
                due: Some(first.due),
                credential: Some(credential(&first, 1)),
                failure: None,
            },
        };
        Arc::new(Self {
            renewer,
            settings: *settings,
            held: watch::Sender::new(held),
            pace: Mutex::new(Pace {
                backoff: BackoffPolicy::new(settings),
                not_before: None,
            }),
        })
    }

    pub(crate) fn status(&self) -> CredentialStatus {
        let held = self.held.borrow();
        let credential = held.credential.as_ref();
        CredentialStatus {
            issued: credential.and_then(|known| known.issued).map(timestamp),
            expires: credential.and_then(|known| known.expires).map(timestamp),
            due: held.due.map(timestamp),
            failure: held.failure.clone(),
        }
    }

    /// Of the credential that is held; 0: there is none.
    pub(crate) fn serial(&self) -> u64 {
        let held = self.held.borrow();
        held.credential.as_ref().map_or(0, |known| known.serial)
    }

    pub(crate) fn holds(&self, secret: &str) -> bool {
        let held = self.held.borrow();
        held.credential
            .as_ref()
            .is_some_and(|known| known.expose() == secret)
    }

    /// The current credential; a token that is due is renewed first.
    ///
    /// # Errors
    /// There is none, and none can be had.
    pub(crate) async fn take(&self) -> Result<Credential, Error> {
        let held = self.held.borrow().clone();
        match held.credential {
            Some(credential) if matches!(self.renewer, Renewer::Key(_)) => Ok(credential),
            Some(credential) if held.due.is_some_and(|due| due > SystemTime::now()) => {
                Ok(credential)
            }
            Some(credential) if !is_past(credential.expires) => {
                // The old one holds a little longer.
                Ok(self.renew(Wanted::Due).await.unwrap_or(credential))
            }
            Some(credential) => self.renew(Wanted::InPlaceOf(credential.serial)).await,
            None => self.renew(Wanted::InPlaceOf(0)).await,
        }
    }

    /// Another credential than one that Central refused; the same one if it is called valid.
    ///
    /// # Errors
    /// None can be had.
    pub(crate) async fn in_place_of(&self, refused: &Credential) -> Result<Credential, Error> {
        self.renew(Wanted::InPlaceOf(refused.serial)).await
    }

    /// Renews whenever it is due, until another credential than this is held.
    pub(crate) async fn attend(&self, serial: u64) {
        let mut held = self.held.subscribe();
        loop {
            let due = {
                let held = held.borrow_and_update();
                if held
                    .credential
                    .as_ref()
                    .is_some_and(|known| known.serial != serial)
                {
                    return;
                }
                held.due
            };
            let wait = due.map_or(LONGEST_SLEEP, |due| {
                due.duration_since(SystemTime::now())
                    .unwrap_or_default()
                    .min(LONGEST_SLEEP)
            });
            tokio::select! {
                () = sleep(wait) => {}
                // The sender is our own.
                _ = held.changed() => continue,
            }
            if is_past(due) {
                // What went wrong is told, and when it is tried again stands in `held`.
                // Large, and seldom: every connection waits here.
                let _ = Box::pin(self.renew(Wanted::Due)).await;
            }
        }
    }

    async fn renew(&self, wanted: Wanted) -> Result<Credential, Error> {
        let mut pace = self.pace.lock().await;
        let held = self.held.borrow().clone();
        if let Some(outcome) = settled(&held, wanted, pace.not_before) {
            return outcome;
        }
        let renewed = match &self.renewer {
            Renewer::Key(key) => key.renew(held.credential.as_ref(), &self.settings).await,
            // A tenant's token is made from that of its provider, which is kept the same way.
            Renewer::Token(token) => Box::pin(token.renew(&self.settings)).await,
        };
        match renewed {
            Ok(renewed) => {
                pace.backoff.got_on();
                pace.not_before = Some(Instant::now() + SHORTEST_PAUSE);
                Ok(self.hold(&renewed, held.credential))
            }
            Err(why) => {
                let pause = pace.backoff.after(&why);
                pace.not_before = Some(Instant::now() + pause);
                self.failed(&why, pause);
                Err(why)
            }
        }
    }

    fn hold(&self, renewed: &Renewed, before: Option<Credential>) -> Credential {
        let serial = before.as_ref().map_or(0, |before| before.serial);
        let credential = match before {
            Some(before) if before.expose() == renewed.secret.expose().trim() => before,
            _ => credential(renewed, serial + 1),
        };
        self.held.send_replace(Held {
            credential: Some(credential.clone()),
            due: Some(renewed.due),
            failure: None,
        });
        credential
    }

    fn failed(&self, why: &Error, pause: Duration) {
        let what = match self.renewer {
            Renewer::Key(_) => "the key",
            Renewer::Token(_) => "the access token",
        };
        if matches!(why, Error::Refused { .. }) {
            tracing::error!(?pause, "{what} cannot be renewed: {why}");
        } else {
            tracing::warn!(?pause, "{what} is not renewed yet: {why}");
        }
        self.held.send_modify(|held| {
            held.due = Some(SystemTime::now() + pause);
            held.failure = Some(why.clone());
        });
    }
}

/// What another who waited has brought about meanwhile, or a backoff forbids to ask for.
fn settled(
    held: &Held,
    wanted: Wanted,
    not_before: Option<Instant>,
) -> Option<Result<Credential, Error>> {
    let credential = held.credential.clone();
    match wanted {
        Wanted::Due if !is_past(held.due) => credential.map(Ok),
        Wanted::Due => None,
        Wanted::InPlaceOf(serial) => match credential {
            Some(other) if other.serial != serial => Some(Ok(other)),
            credential => {
                not_before.filter(|not_before| *not_before > Instant::now())?;
                match (&held.failure, credential) {
                    (Some(why), _) => Some(Err(why.clone())),
                    (None, credential) => credential.map(Ok),
                }
            }
        },
    }
}

fn credential(renewed: &Renewed, serial: u64) -> Credential {
    Credential {
        secret: renewed.secret.clone(),
        serial,
        issued: renewed.issued,
        expires: renewed.expires,
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
