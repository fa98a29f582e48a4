//! What can be wrong with the bytes of a message.

use super::DEPTH_LIMIT;

/// What is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    pub problem: Problem,
    pub at: usize,
}

/// Why bytes are not a message, or a message has no JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("truncated varint")]
    TruncatedVarint,
    #[error("varint longer than 10 bytes")]
    LongVarint,
    #[error("length {0} reaches past the end")]
    LengthPastEnd(u64),
    #[error("truncated fixed-width value")]
    TruncatedFixed,
    #[error("field number 0")]
    FieldZero,
    #[error("field number out of range")]
    FieldOutOfRange,
    #[error("wire type {0} does not exist")]
    WireType(u8),
    #[error("group without an end")]
    OpenGroup,
    #[error("end of a group that was not begun")]
    StrayEndGroup,
    #[error("nested deeper than {DEPTH_LIMIT} levels")]
    TooDeep,
    #[error("invalid UTF-8 in a string")]
    Utf8,
    #[error("time outside the years 1 to 9999")]
    Timestamp,
    #[error("duration out of range or of mixed sign")]
    Duration,
    #[error("a Value that is not a finite number")]
    NotFinite,
    #[error("an Any of a type that is not known")]
    UnknownAny,
    #[error("a field mask path that is not lower_snake_case")]
    FieldMask,
}

impl Problem {
    #[cold]
    #[inline(never)]
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "a result with one pointer stays in a register"
    )]
    pub(crate) fn at(self, at: usize) -> Box<WireError> {
        Box::new(WireError { problem: self, at })
    }

    /// Whether the bytes are well formed, and only their value has no JSON form.
    pub(crate) fn is_about_content(self) -> bool {
        matches!(
            self,
            Self::Timestamp | Self::Duration | Self::NotFinite | Self::UnknownAny | Self::FieldMask
        )
    }
}
