//! Instants as text: `2023-11-14T22:13:20.000Z`.

use std::fmt;

const SECONDS_PER_DAY: i64 = 86_400;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits of a year can hold.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// An instant in RFC 3339, UTC; dereferences to its text.
#[derive(Clone, Copy)]
pub struct Rfc3339 {
    text: [u8; 30],
    length: usize,
}

impl Rfc3339 {
    /// With as many of 0, 3, 6 or 9 digits behind the seconds as it takes, but at least
    /// `at_least`. `None` outside the years 1 to 9999.
    #[must_use]
    pub fn new(seconds: i64, nanos: u32, at_least: usize) -> Option<Self> {
        if !SECONDS.contains(&seconds) || nanos > 999_999_999 {
            return None;
        }
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let time = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        for (at, value) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, time / 3600),
            (14, time / 60 % 60),
            (17, time % 60),
        ] {
            text[at..at + 2].copy_from_slice(&pair(value));
        }
        if nanos != 0 {
            digits(&mut text[20..29], nanos);
        }
        let shown = match nanos {
            0 => 0,
            _ if nanos.is_multiple_of(1_000_000) => 3,
            _ if nanos.is_multiple_of(1_000) => 6,
            _ => 9,
        }
        .max(at_least);
        let end = if shown == 0 { 19 } else { 20 + shown };
        text[end] = b'Z';
        Some(Self {
            text,
            length: end + 1,
        })
    }
}

impl std::ops::Deref for Rfc3339 {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).expect("ASCII only")
    }
}

impl fmt::Debug for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The digits of a number below 100.
fn pair(value: i64) -> [u8; 2] {
    let value = u8::try_from(value).unwrap_or_default();
    [b'0' + value / 10, b'0' + value % 10]
}

/// Writes `value` with leading zeros.
fn digits(to: &mut [u8], mut value: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789"[(value % 10) as usize];
        value /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the
/// leap day is the last of its year; 719 468 days lie between that calendar's year 0 and 1970.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carried) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + carried, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_as_many_digits_as_they_need() {
        for (seconds, nanos, at_least, text) in [
            (1_700_000_000, 0, 3, "2023-11-14T22:13:20.000Z"),
            (1_700_000_000, 0, 0, "2023-11-14T22:13:20Z"),
            (1_700_000_000, 123_456_000, 3, "2023-11-14T22:13:20.123456Z"),
            (-1, 1, 0, "1969-12-31T23:59:59.000000001Z"),
            (951_782_400, 0, 0, "2000-02-29T00:00:00Z"),
            (-62_135_596_800, 0, 0, "0001-01-01T00:00:00Z"),
            (253_402_300_799, 0, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(&*Rfc3339::new(seconds, nanos, at_least).unwrap(), text);
        }
        assert!(Rfc3339::new(253_402_300_800, 0, 0).is_none());
        assert!(Rfc3339::new(-62_135_596_801, 0, 0).is_none());
    }
}
