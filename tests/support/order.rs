//! What arrived at a sink: in order, apart from repeats.

use std::collections::BTreeSet;

/// The different ones of the numbers that arrived.
///
/// # Panics
/// A number that came for the first time is lower than one before it.
pub fn different_in_order(numbers: &[u64]) -> BTreeSet<u64> {
    let mut different = BTreeSet::new();
    for number in numbers {
        let highest = different.last().copied().unwrap_or(0);
        if different.insert(*number) {
            assert!(*number > highest, "{number} came after {highest}");
        }
    }
    different
}
