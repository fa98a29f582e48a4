//! Durations such as `30s` and sizes such as `10 GiB`.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
];

const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A whole number and one of ms, s, m, h, d.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    amount(text, &DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("`{text}` is not a duration (write a whole number and ms, s, m, h or d, such as \"30s\")")
        })
}

/// Bytes: a whole number, alone or with a unit of thousands (MB) or of 1024 (MiB).
pub(super) fn size(text: &str) -> Result<u64, String> {
    amount(text, &SIZES).ok_or_else(|| {
        format!("`{text}` is not a size (write a whole number and a unit, such as \"512 MiB\")")
    })
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim().trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.trim()[digits.len()..].trim();
    let (_, scale) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration(" 24 h "), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "30 parsecs",
            "99999999999999999999s",
            "1s 5ms",
        ] {
            assert!(
                duration(text)
                    .unwrap_err()
                    .starts_with(&format!("`{text}` is not a duration ("))
            );
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(size("10 GiB"), Ok(10 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1 kb"), Ok(1000));
        assert_eq!(size("4096"), Ok(4096));
        for text in ["", "GiB", "1 Gib it", "1.5 GiB", "99999999 TiB", "-1"] {
            assert!(
                size(text)
                    .unwrap_err()
                    .starts_with(&format!("`{text}` is not a size ("))
            );
        }
    }
}
