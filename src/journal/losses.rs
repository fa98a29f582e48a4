//! What a cursor passed over for good, on its way to whoever tells of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::registered::Registered;

/// Records that a cursor will not give any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub cause: LossCause,
    pub records: u64,
    /// They lie at or behind this offset.
    pub first: u64,
    /// And before this one.
    pub end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// Let go of, because the cursor was too far behind or the journal was full.
    Skipped,
    /// There, and beyond reading.
    Damaged,
}

/// What has not been told yet; of each cause at most one, which grows until it is taken.
#[derive(Debug)]
pub(super) struct Untold(watch::Sender<[Option<Loss>; 2]>);

impl Default for Untold {
    fn default() -> Self {
        Self(watch::Sender::new([None; 2]))
    }
}

impl Untold {
    pub(super) fn add(&self, loss: Loss) {
        self.0.send_modify(|untold| {
            let same = match loss.cause {
                LossCause::Skipped => &mut untold[0],
                LossCause::Damaged => &mut untold[1],
            };
            *same = Some(same.map_or(loss, |before| Loss {
                cause: loss.cause,
                records: before.records + loss.records,
                first: before.first.min(loss.first),
                end: before.end.max(loss.end),
            }));
        });
    }

    fn take(&self) -> Option<Loss> {
        let mut taken = None;
        self.0.send_if_modified(|untold| {
            taken = untold.iter_mut().find_map(Option::take);
            false
        });
        taken
    }
}

/// What a cursor loses, each record told once.
#[derive(Debug)]
pub struct Losses {
    registered: Arc<Registered>,
    untold: watch::Receiver<[Option<Loss>; 2]>,
}

impl Losses {
    pub(super) fn of(registered: Arc<Registered>) -> Self {
        Self {
            untold: registered.untold.0.subscribe(),
            registered,
        }
    }

    /// Waits for the next one. Dropping the future before it is ready loses nothing.
    pub async fn next(&mut self) -> Loss {
        loop {
            let some = |untold: &[Option<Loss>; 2]| untold.iter().any(Option::is_some);
            // The sender is in `registered`: it is always there.
            let _ = self.untold.wait_for(some).await;
            if let Some(loss) = self.registered.untold.take() {
                return loss;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_one_cause_grow_together_and_are_told_once() {
        let untold = Untold::default();
        let loss = |cause, first, end| Loss {
            cause,
            records: end - first,
            first,
            end,
        };
        untold.add(loss(LossCause::Damaged, 40, 41));
        untold.add(loss(LossCause::Skipped, 10, 20));
        untold.add(loss(LossCause::Skipped, 30, 35));
        let skipped = Loss {
            records: 15,
            ..loss(LossCause::Skipped, 10, 35)
        };
        assert_eq!(untold.take(), Some(skipped));
        assert_eq!(untold.take(), Some(loss(LossCause::Damaged, 40, 41)));
        assert_eq!(untold.take(), None);
    }
}
