//! When something happened, as envelopes say it.

use crate::rfc3339::Rfc3339;
use crate::wire::{DEPTH_LIMIT, Wire, WireError, WireReader};

/// Digits of a second that times of an envelope have at least.
const FRACTION_DIGITS: usize = 3;

/// An instant, as precise as it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanos: u32,
}

impl Instant {
    /// From an integer whose unit is not known: seconds, milliseconds, microseconds or nanoseconds
    /// by its magnitude, each of which would otherwise lie before 1973 or beyond the year 5000.
    /// The unit is not documented; nanoseconds were seen (inferred).
    #[must_use]
    pub fn of_any_unit(value: i64) -> Self {
        let per_second = match value.unsigned_abs() {
            0..100_000_000_000 => 1,
            100_000_000_000..100_000_000_000_000 => 1_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
            _ => 1_000_000_000,
        };
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Self {
            seconds: value.div_euclid(per_second),
            nanos: u32::try_from(nanos).unwrap_or_default(),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn millis(&self) -> i64 {
        self.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// RFC 3339 with 3, 6 or 9 digits; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn rfc3339(&self) -> Option<Rfc3339> {
        Rfc3339::new(self.seconds, self.nanos, FRACTION_DIGITS)
    }

    /// Reads a Timestamp over what came before.
    pub(super) fn read(reader: &mut WireReader, before: Self) -> Result<Self, Box<WireError>> {
        let mut instant = before;
        let range = reader.delimited()?;
        let mut reader = reader.part(range);
        while let Some(tag) = reader.tag()? {
            match (tag.number, tag.wire) {
                (1, Wire::Varint) => instant.seconds = reader.int64()?,
                (2, Wire::Varint) => {
                    let nanos = u32::try_from(reader.varint()?).unwrap_or_default();
                    instant.nanos = nanos.min(999_999_999);
                }
                _ => reader.skip(tag, DEPTH_LIMIT)?,
            }
        }
        Ok(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_timestamp_is_told_by_its_magnitude() {
        for value in [
            1_700_000_000,
            1_700_000_000_000,
            1_700_000_000_000_000,
            1_700_000_000_000_000_000,
        ] {
            let text = Instant::of_any_unit(value).rfc3339().unwrap();
            assert_eq!(&*text, "2023-11-14T22:13:20.000Z", "{value}");
        }
        assert_eq!(Instant::of_any_unit(-1).millis(), -1000);
        assert!(Instant::of_any_unit(i64::MIN).rfc3339().is_some());
    }
}
