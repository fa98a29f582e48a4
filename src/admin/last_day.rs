//! What went wrong in the last 24 hours, from counters that count since the start, and begin at 0 again
//! when a reload replaces what they belong to.

use std::collections::{BTreeMap, VecDeque};

use super::status::{Status, Time, Totals};

/// Seconds between two marks, to which the length of the day is exact.
const MARK_INTERVAL: f64 = 600.0;
pub(super) const DAY: f64 = 24.0 * 3600.0;

#[derive(Debug, Default)]
pub(super) struct LastDay {
    gaps: Tally,
    dead_letters: Tally,
    skipped_frames: Tally,
    /// Earlier sums, the oldest of a day ago.
    marks: VecDeque<(Time, Totals)>,
}

impl LastDay {
    /// Adds the counters of `status`, and returns what came in the last day.
    pub(super) fn update(&mut self, status: &Status) -> Totals {
        for it in &status.sinks {
            self.dead_letters.add(&it.name, it.dead_letters());
            self.skipped_frames.add(&it.name, it.skipped);
        }
        for it in &status.subscriptions {
            self.gaps
                .add(&format!("{}/{}", it.account, it.topic), it.gaps);
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
            .is_some_and(|(at, _)| at.age(now) >= MARK_INTERVAL)
        {
            self.marks.push_back((now, sums));
        }
        while self.marks.len() > 1 && self.marks[0].0.age(now) > DAY {
            self.marks.pop_front();
        }
        sums.since(self.marks[0].1)
    }
}

/// The sum of named counters, each of which may begin at 0 again.
#[derive(Debug, Default)]
struct Tally {
    last: BTreeMap<String, u64>,
    sum: u64,
}

impl Tally {
    fn add(&mut self, name: &str, count: u64) {
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
