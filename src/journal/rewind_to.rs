//! Where an operator wants a sink to go on.

use std::str::FromStr;

use crate::frame::Timestamp;

/// A place in the journal, as text: an offset or a time in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindTo {
    Offset(u64),
    /// The first frame that was received at that time or later.
    Time(Timestamp),
}

/// The text is not a [`RewindTo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an offset nor a time such as 2026-01-31T12:00:00Z")]
pub struct InvalidRewindTarget;

impl FromStr for RewindTo {
    type Err = InvalidRewindTarget;

    fn from_str(text: &str) -> Result<Self, InvalidRewindTarget> {
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        let time: prost_types::Timestamp = text.parse().map_err(|_| InvalidRewindTarget)?;
        let micros = time.seconds.saturating_mul(1_000_000);
        Ok(Self::Time(Timestamp(
            micros.saturating_add(i64::from(time.nanos / 1000)),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewind_target_is_an_offset_or_a_time() {
        assert_eq!("42".parse(), Ok(RewindTo::Offset(42)));
        let time = RewindTo::Time(Timestamp(1_700_000_000_500_000));
        assert_eq!("2023-11-14T22:13:20.5Z".parse(), Ok(time));
        assert_eq!("2023-11-14T23:13:20.5+01:00".parse(), Ok(time));
        for text in ["", "-1", "yesterday", "2023-13-01T00:00:00Z"] {
            assert_eq!(text.parse::<RewindTo>(), Err(InvalidRewindTarget), "{text}");
        }
    }
}
