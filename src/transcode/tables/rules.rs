//! Which messages and bytes fields the readable style writes differently. (That 64-bit integers are
//! numbers and unknown enum values are kept needs no rule: it applies everywhere.)

use prost_reflect::{Kind, MessageDescriptor};

use super::MessageShape;

/// Messages that stand for one value. The .proto files spell them `ip_address`, `IpAddress`, `mac_address`
/// and `MacAddress`, so that names are compared without case and underscores. The family field of an IP
/// address is ignored: the numbers of the families differ between files.
const SHAPES: [Rule; 2] = [
    Rule {
        message: "macaddress",
        bytes: "addr",
        shape: MessageShape::Mac,
    },
    Rule {
        message: "ipaddress",
        bytes: "addr",
        shape: MessageShape::Ip,
    },
];

struct Rule {
    message: &'static str,
    /// The bytes field that holds the value.
    bytes: &'static str,
    shape: fn(u32) -> MessageShape,
}

/// Bytes fields that hold text, not always UTF-8 [seen in clients].
const TEXT: [&str; 2] = ["essid", "network"];

/// The shape of a message in the readable style.
pub(crate) fn shape(message: &MessageDescriptor) -> MessageShape {
    let name = message.name().replace('_', "").to_lowercase();
    SHAPES
        .iter()
        .filter(|rule| rule.message == name)
        .find_map(|rule| {
            let field = message.get_field_by_name(rule.bytes)?;
            (field.kind() == Kind::Bytes && !field.is_list()).then(|| (rule.shape)(field.number()))
        })
        .unwrap_or(MessageShape::Object)
}

/// Whether a bytes field of this name is text.
pub(crate) fn is_text(field: &str) -> bool {
    TEXT.contains(&field)
}
