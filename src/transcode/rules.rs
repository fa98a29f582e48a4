//! Where the readable style differs from the canonical one by a message's shape or a field's name.
//! (That 64-bit integers are numbers and unknown enum values are kept needs no rule: it holds
//! everywhere.)

use prost_reflect::{Kind, MessageDescriptor};

use super::tables::Shape;

/// Messages that are one value. The spellings `ip_address`, `IpAddress`, `mac_address` and
/// `MacAddress` are all on the wire, so that names are compared without case and underscores. An IP
/// address has its family beside it, which is not looked at: the families' numbers differ between
/// files.
const SHAPES: [Rule; 2] = [
    Rule {
        message: "macaddress",
        bytes: "addr",
        shape: Shape::Mac,
    },
    Rule {
        message: "ipaddress",
        bytes: "addr",
        shape: Shape::Ip,
    },
];

struct Rule {
    message: &'static str,
    /// The bytes field that holds the value.
    bytes: &'static str,
    shape: fn(u32) -> Shape,
}

/// Bytes fields that are text in practice, not always UTF-8 [seen in clients].
const TEXT: [&str; 2] = ["essid", "network"];

/// The shape of a message in the readable style.
pub(super) fn shape(message: &MessageDescriptor) -> Shape {
    let name = message.name().replace('_', "").to_lowercase();
    SHAPES
        .iter()
        .filter(|rule| rule.message == name)
        .find_map(|rule| {
            let field = message.get_field_by_name(rule.bytes)?;
            (field.kind() == Kind::Bytes && !field.is_list()).then(|| (rule.shape)(field.number()))
        })
        .unwrap_or(Shape::Object)
}

/// Whether a bytes field of this name is text.
pub(super) fn is_text(field: &str) -> bool {
    TEXT.contains(&field)
}
