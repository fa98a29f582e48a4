//! What went wrong in the last 24 hours, from counters that only know their sum since the start, and
//! begin anew when a reload changes what they belong to.

use std::collections::{BTreeMap, VecDeque};

use super::status::{Status, Time, Totals};

/// Seconds between two marks; the day is exact to one of these.
const APART: f64 = 600.0;
pub(super) const DAY: f64 = 24.0 * 3600.0;

#[derive(Debug, Default)]
pub(super) struct LastDay {
    gaps: Tally,
    dead_letters: Tally,
    skipped_frames: Tally,
    /// What the sums were, the oldest a day ago.
    marks: VecDeque<(Time, Totals)>,
}

impl LastDay {
    /// Takes in how things are now, and gives back what came in the last day.
    pub(super) fn until(&mut self, status: &Status) -> Totals {
        for it in &status.sinks {
            self.dead_letters.take(&it.name, it.dead_letters());
            self.skipped_frames.take(&it.name, it.skipped);
        }
        for it in &status.subscriptions {
            self.gaps
                .take(&format!("{}/{}", it.account, it.topic), it.gaps);
        }
        let sums = Totals {
            gaps: self.gaps.sum,
            dead_letters: self.dead_letters.sum,
            skipped_frames: self.skipped_frames.sum,
        };
        let now = status.now;
        if self.marks.is_empty() {
            self.marks.push_back((now, Totals::default()));
        }
        if self
            .marks
            .back()
            .is_some_and(|(at, _)| at.age(now) >= APART)
        {
            self.marks.push_back((now, sums));
        }
        while self.marks.len() > 1 && self.marks[0].0.age(now) > DAY {
            self.marks.pop_front();
        }
        sums.since(self.marks[0].1)
    }
}

/// The sum of counters by name, of which each may begin anew.
#[derive(Debug, Default)]
struct Tally {
    last: BTreeMap<String, u64>,
    sum: u64,
}

impl Tally {
    fn take(&mut self, name: &str, count: u64) {
        let last = self.last.get_mut(name);
        let before = last.as_ref().map_or(0, |last| **last);
        self.sum += count.checked_sub(before).unwrap_or(count);
        match last {
            Some(last) => *last = count,
            None => {
                self.last.insert(name.to_owned(), count);
            }
        }
    }
}
