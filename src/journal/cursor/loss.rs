//! Records that a cursor passed over for good, until someone reports them.

use tokio::sync::watch;

/// Records that a cursor will not give any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub cause: LossCause,
    pub records: u64,
    /// The lost records lie at or after this offset,
    pub first: u64,
    /// and before this one.
    pub end: u64,
}

/// Why records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// Dropped unread, because the cursor was too far behind or the journal was full.
    Skipped,
    /// In the journal, but damaged beyond reading.
    Damaged,
}

/// At most one loss of each cause, which grows until it is taken.
pub(crate) type PendingLosses = [Option<Loss>; 2];

/// The losses of a cursor that nobody has reported yet.
#[derive(Debug)]
pub(crate) struct UnreportedLosses(watch::Sender<PendingLosses>);

impl Default for UnreportedLosses {
    fn default() -> Self {
        Self(watch::Sender::new([None; 2]))
    }
}

impl UnreportedLosses {
    pub(crate) fn add(&self, loss: Loss) {
        self.0.send_modify(|pending| {
            let same_cause = match loss.cause {
                LossCause::Skipped => &mut pending[0],
                LossCause::Damaged => &mut pending[1],
            };
            *same_cause = Some(same_cause.map_or(loss, |before| Loss {
                cause: loss.cause,
                records: before.records + loss.records,
                first: before.first.min(loss.first),
                end: before.end.max(loss.end),
            }));
        });
    }

    /// Takes one loss, so that it is reported once.
    pub(crate) fn take(&self) -> Option<Loss> {
        let mut taken = None;
        self.0.send_if_modified(|pending| {
            taken = pending.iter_mut().find_map(Option::take);
            false
        });
        taken
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<PendingLosses> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_one_cause_are_added_up_and_taken_once() {
        let unreported = UnreportedLosses::default();
        let loss = |cause, first, end| Loss {
            cause,
            records: end - first,
            first,
            end,
        };
        unreported.add(loss(LossCause::Damaged, 40, 41));
        unreported.add(loss(LossCause::Skipped, 10, 20));
        unreported.add(loss(LossCause::Skipped, 30, 35));
        let skipped = Loss {
            records: 15,
            ..loss(LossCause::Skipped, 10, 35)
        };
        assert_eq!(unreported.take(), Some(skipped));
        assert_eq!(unreported.take(), Some(loss(LossCause::Damaged, 40, 41)));
        assert_eq!(unreported.take(), None);
    }
}
