//! The topics of a probe: how many are tried, and how its result names them.

/// Topics that are tried; of more, the first ones.
pub(super) const MAX_TOPICS: usize = 100;

/// Topics that are named one by one.
const MAX_NAMED: usize = 5;

/// The topics by name, or how many there are.
pub(super) fn summary(topics: &[&str]) -> String {
    match topics.len() {
        many if many > MAX_NAMED => format!("{many} topics"),
        _ => topics.join(", "),
    }
}
