//! "Did you mean": the known word that is nearest to an unknown one.

/// How alike two words must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.7;

pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (likeness(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Swapped letters count as one slip; a missing ending (`dest`) is forgiven.
fn likeness(a: &str, b: &str) -> f64 {
    let one_slip = a.len() > 2 && strsim::damerau_levenshtein(a, b) == 1;
    let likeness =
        strsim::normalized_damerau_levenshtein(a, b).max(strsim::jaro_winkler(a, b) - 0.15);
    if one_slip {
        likeness.max(ALIKE)
    } else {
        likeness
    }
}

/// `did you mean X?`, or what to do when nothing is near.
pub(crate) fn advice<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise(),
    }
}

/// What to say about a key that a table cannot have, and the key that was probably meant.
pub(crate) fn unknown_key<'a>(key: &str, known: &[&'a str]) -> (String, Option<&'a str>) {
    let advice = advice(key, known.iter().copied(), || {
        format!("known here: {}", known.join(", "))
    });
    let meant = nearest(key, known.iter().copied());
    (format!("unknown key ({advice})"), meant)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_stranger_is_not() {
        let known = ["topics", "accounts", "destination", "sink", "key"];
        assert_eq!(nearest("topcis", known), Some("topics"));
        assert_eq!(nearest("topic", known), Some("topics"));
        assert_eq!(nearest("Sinks", known), Some("sink"));
        assert_eq!(nearest("destinaton", known), Some("destination"));
        assert_eq!(nearest("kye", known), Some("key"));
        assert_eq!(nearest("dest", known), Some("destination"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
