//! Tags: the field number and wire type before each value.

/// The six wire types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Len = 2,
    Group = 3,
    EndGroup = 4,
    Fixed32 = 5,
}

/// A field number and a wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) number: u32,
    pub(crate) wire: Wire,
}

/// A tag of one or two bytes, in its shortest form, as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortTag {
    /// The first one lowest.
    pub(super) bytes: u16,
    /// The bits that count.
    pub(super) mask: u16,
    pub(super) length: u8,
}

impl ShortTag {
    /// Nothing is equal to it.
    pub(crate) const NONE: Self = Self {
        bytes: 1,
        mask: 0,
        length: 0,
    };

    /// [`Self::NONE`] for one that is longer.
    #[expect(clippy::cast_possible_truncation, reason = "of 14 bits and two marks")]
    pub(crate) fn new(tag: u32) -> Self {
        match tag {
            0..0x80 => Self {
                bytes: tag as u16,
                mask: 0xff,
                length: 1,
            },
            0x80..0x4000 => Self {
                bytes: (tag & 0x7f | 0x80 | tag >> 7 << 8) as u16,
                mask: 0xffff,
                length: 2,
            },
            _ => Self::NONE,
        }
    }
}
