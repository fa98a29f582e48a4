//! Instants as text: `2023-11-14T22:13:20.000Z`.
//!
//! The calendar is that of the `time` crate. Its formatter takes 150 ns where the one here takes 50, and
//! each record needs two or three instants: so the digits are written here.

use std::fmt;

use time::OffsetDateTime;

/// An instant in RFC 3339, UTC; dereferences to its text.
#[derive(Clone, Copy)]
pub struct Rfc3339 {
    text: [u8; 30],
    length: usize,
}

impl Rfc3339 {
    /// With as many of 0, 3, 6 or 9 digits behind the seconds as it takes, but at least
    /// `min_digits`. `None` outside the years 1 to 9999.
    #[must_use]
    pub fn new(seconds: i64, nanos: u32, min_digits: usize) -> Option<Self> {
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let year = u16::try_from(at.year()).ok()?;
        if !(1..=9999).contains(&year) || nanos > 999_999_999 {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        write_digits(&mut text[0..4], year.into());
        for (start, value) in [
            (5, at.month().into()),
            (8, at.day()),
            (11, at.hour()),
            (14, at.minute()),
            (17, at.second()),
        ] {
            write_digits(&mut text[start..start + 2], value.into());
        }
        write_digits(&mut text[20..29], nanos);
        let digits = match nanos {
            0 => 0,
            _ if nanos.is_multiple_of(1_000_000) => 3,
            _ if nanos.is_multiple_of(1_000) => 6,
            _ => 9,
        }
        .max(min_digits);
        let end = if digits == 0 { 19 } else { 20 + digits };
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

/// Fills `to` with the decimal digits of `value`, with leading zeros.
fn write_digits(to: &mut [u8], mut value: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789"[(value % 10) as usize];
        value /= 10;
    }
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
