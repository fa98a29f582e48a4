//! Where the readable style differs from the canonical one by a message's shape or a field's name.
//! (That 64-bit integers are numbers and unknown enum values are kept needs no rule: it holds
//! everywhere.)

use prost_reflect::{Kind, MessageDescriptor};

use super::tables::Shape;

/// Messages that are one address, by their name without case and underscores: the four spellings
/// `ip_address`, `IpAddress`, `mac_address` and `MacAddress` are all on the wire. Each holds its
/// address in a field `addr`; an IP address has its family beside it, which is not looked at, since
/// the families' numbers differ between files.
const ADDRESSES: [(&str, fn(u32) -> Shape); 2] =
    [("macaddress", Shape::Mac), ("ipaddress", Shape::Ip)];

/// Bytes fields that are text in practice, not always UTF-8 [seen in clients].
const TEXT: [&str; 2] = ["essid", "network"];

/// The shape of a message in the readable style.
pub(super) fn shape(message: &MessageDescriptor) -> Shape {
    let plain = message.name().replace('_', "").to_lowercase();
    let address = message
        .get_field_by_name("addr")
        .filter(|field| field.kind() == Kind::Bytes && !field.is_list());
    match (address, ADDRESSES.iter().find(|(name, _)| *name == plain)) {
        (Some(field), Some((_, shape))) => shape(field.number()),
        _ => Shape::Object,
    }
}

/// Whether a bytes field of this name is text.
pub(super) fn is_text(field: &str) -> bool {
    TEXT.contains(&field)
}
