//! Finds the values of one field in wire bytes, by the path of names that leads to it.
//!
//! The values are those of the readable style: addresses and times as their text, bytes as text or
//! base64. As everywhere in protobuf, the last value of a scalar counts, the pieces of a message are
//! merged, and the last member of a oneof counts. A list on the path stands for all its elements, in
//! order.

mod value;
mod walk;

pub use self::value::{FieldValue, Value};
use self::walk::{Pieces, Walk};
use crate::transcode::JsonStyle;
use crate::transcode::error::DecodeError;
use crate::transcode::tables::{Field, FieldShape, MessageId, MessageShape, Tables, ValueKind};

/// A path to a field, for the tables that it was compiled against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// The message's index in the tables, and the field's in the message.
    steps: Box<[(u32, u32)]>,
}

/// Why a path leads to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPath<'t> {
    /// The message has no such field.
    UnknownField {
        message: &'t str,
        field: String,
        known: Vec<&'t str>,
    },
    /// The path goes on after this field, which has no fields.
    NotAMessage(String),
}

/// What kind of values a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathKind<'t> {
    Bool,
    Integer,
    Float,
    Text,
    /// The names of its values.
    Enum(Vec<&'t str>),
    /// A message or map: it can be present or not, and has no text.
    Message,
    /// A value whose kind is known only when it is read, such as that of a wrapper.
    Any,
}

impl FieldPath {
    /// Finds the fields of these names, the first one in the message `id`.
    ///
    /// # Errors
    /// There is no such field.
    pub fn compile<'t>(
        tables: &'t Tables,
        id: MessageId,
        names: &[String],
    ) -> Result<Self, InvalidPath<'t>> {
        let messages = tables.messages(JsonStyle::Readable);
        let mut steps = Vec::with_capacity(names.len());
        let mut at = Some(id.0);
        for name in names {
            let Some(index) = at else {
                let (message, field) = steps[steps.len() - 1];
                return Err(InvalidPath::NotAMessage(
                    field_at(tables, (message, field)).name().to_owned(),
                ));
            };
            let message = &messages[index as usize];
            let mut fields = message.fields.iter().zip(0..);
            let Some((field, place)) = fields.find(|(field, _)| field.name() == name) else {
                return Err(InvalidPath::UnknownField {
                    message: tables.name(MessageId(index)),
                    field: name.clone(),
                    known: message.fields.iter().map(Field::name).collect(),
                });
            };
            steps.push((index, place));
            let goes_on = field.is_message()
                && field.shape != FieldShape::Map
                && messages[field.target as usize].shape == MessageShape::Object;
            at = goes_on.then_some(field.target);
        }
        Ok(Self {
            steps: steps.into(),
        })
    }

    /// The kind of its values.
    #[must_use]
    pub fn kind<'t>(&self, tables: &'t Tables) -> PathKind<'t> {
        let Some(&last) = self.steps.last() else {
            return PathKind::Message;
        };
        let field = field_at(tables, last);
        match field.kind {
            _ if field.shape == FieldShape::Map => PathKind::Message,
            ValueKind::Bool => PathKind::Bool,
            ValueKind::Float | ValueKind::Double => PathKind::Float,
            ValueKind::String | ValueKind::Bytes | ValueKind::Text => PathKind::Text,
            ValueKind::Enum | ValueKind::ClosedEnum => {
                PathKind::Enum(tables.enum_names(field.target))
            }
            ValueKind::Null => PathKind::Any,
            ValueKind::Message | ValueKind::Group => match shape_of(tables, field) {
                MessageShape::Object
                | MessageShape::Struct
                | MessageShape::ListValue
                | MessageShape::Any => PathKind::Message,
                MessageShape::Value | MessageShape::Wrapper => PathKind::Any,
                _ => PathKind::Text,
            },
            _ => PathKind::Integer,
        }
    }

    /// Calls `see` for each value of the field in `bytes`, until it returns `false`.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn visit<'a>(
        &self,
        tables: &'a Tables,
        bytes: &'a [u8],
        mut see: impl FnMut(FieldValue<'a>) -> bool,
    ) -> Result<(), DecodeError> {
        let mut walk = Walk {
            tables,
            bytes,
            see: &mut see,
        };
        let whole = 0..bytes.len();
        let result = walk.step(&self.steps, &Pieces::one(whole));
        result.map(drop).map_err(|fault| {
            let root = self.steps.first().map_or(0, |(message, _)| *message);
            DecodeError::new(tables, MessageId(root), bytes, &fault)
        })
    }

    /// Appends the first value as text; nothing where there is none.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn append_first(
        &self,
        tables: &Tables,
        bytes: &[u8],
        to: &mut String,
    ) -> Result<(), DecodeError> {
        self.visit(tables, bytes, |found| {
            found.value.append(to);
            false
        })
    }
}

fn field_at(tables: &Tables, (message, field): (u32, u32)) -> &Field {
    &tables.messages(JsonStyle::Readable)[message as usize].fields[field as usize]
}

fn shape_of(tables: &Tables, field: &Field) -> MessageShape {
    tables.messages(JsonStyle::Readable)[field.target as usize].shape
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::monitoring;
    use crate::schema;

    fn tables() -> Tables {
        Tables::compile(&schema::built_in())
    }

    fn names(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn values(message: &str, path: &str, bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
        let tables = tables();
        let id = tables.message(message).unwrap();
        let path = FieldPath::compile(&tables, id, &names(path)).unwrap();
        let mut all = Vec::new();
        path.visit(&tables, bytes, |found| {
            let mut text = String::new();
            found.value.append(&mut text);
            all.push(if found.is_shown {
                text
            } else {
                format!("({text})")
            });
            true
        })?;
        Ok(all)
    }

    const MONITORING: &str = "Monitoring.MonitoringInformation";

    fn information() -> monitoring::MonitoringInformation {
        let ap = |serial: &str, status| monitoring::Ap {
            serial: Some(serial.to_owned()),
            status,
            ip_address: Some(monitoring::IpAddress {
                addr: b"\x0a\x01\x0a\x67".as_slice().into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        monitoring::MonitoringInformation {
            customer_id: "c1".to_owned(),
            timestamp: Some(1_700_000_000),
            aps: vec![ap("S1", Some(2)), ap("S2", None)],
            ..Default::default()
        }
    }

    #[test]
    fn scalars_enums_and_addresses_are_found_as_json_shows_them() {
        let bytes = information().encode_to_vec();
        let found = |path| values(MONITORING, path, &bytes).unwrap();
        assert_eq!(found("customer_id"), ["c1"]);
        assert_eq!(found("timestamp"), ["1700000000"]);
        assert_eq!(found("aps.serial"), ["S1", "S2"]);
        assert_eq!(found("aps.status"), ["DOWN"]);
        assert_eq!(found("aps.ip_address"), ["10.1.10.103", "10.1.10.103"]);
        assert_eq!(found("aps"), ["", ""], "messages are there, without a text");
        assert_eq!(found("switches.serial"), Vec::<String>::new());
    }

    #[test]
    fn of_a_scalar_the_last_value_counts_and_an_unknown_enum_value_is_its_number() {
        let bytes = [information().encode_to_vec(), b"\x0a\x02c2".to_vec()].concat();
        assert_eq!(values(MONITORING, "customer_id", &bytes).unwrap(), ["c2"]);
        let ap = monitoring::Ap {
            status: Some(77),
            ..Default::default()
        };
        let bytes = ap.encode_to_vec();
        assert_eq!(values("Monitoring.Ap", "status", &bytes).unwrap(), ["77"]);
    }

    #[test]
    fn the_default_of_a_field_without_presence_is_its_value_and_does_not_show() {
        let message = "audittrail.AuditTrail";
        assert_eq!(values(message, "tenant_id", b"").unwrap(), ["()"]);
        assert_eq!(values(MONITORING, "customer_id", b"").unwrap(), [""; 0]);
    }

    #[test]
    fn malformed_bytes_are_an_error_with_field_and_place() {
        // Field 4, aps, whose field 2, serial, is longer than it.
        let error = values(MONITORING, "aps.serial", b"\x22\x02\x12\x09").unwrap_err();
        assert_eq!(
            error.to_string(),
            "length 9 reaches past the end at byte 3 of the payload \
             (Monitoring.MonitoringInformation.aps.serial)"
        );
    }

    #[test]
    fn an_invalid_path_says_where_it_stops() {
        let tables = tables();
        let id = tables.message(MONITORING).unwrap();
        let compile = |path| FieldPath::compile(&tables, id, &names(path));
        match compile("aps.serail") {
            Err(InvalidPath::UnknownField {
                message,
                field,
                known,
            }) => {
                assert_eq!((message, &*field), ("Monitoring.Ap", "serail"));
                assert!(known.contains(&"serial"));
            }
            other => panic!("{other:?}"),
        }
        for path in ["customer_id.x", "aps.ip_address.addr"] {
            let stop = path.rsplit('.').nth(1).unwrap().to_owned();
            assert_eq!(compile(path), Err(InvalidPath::NotAMessage(stop)));
        }
        let kind = |path| compile(path).unwrap().kind(&tables);
        assert_eq!(kind("aps"), PathKind::Message);
        assert_eq!(kind("aps.ip_address"), PathKind::Text);
        assert_eq!(kind("timestamp"), PathKind::Integer);
        assert!(matches!(kind("aps.status"), PathKind::Enum(names) if names.contains(&"DOWN")));
    }
}
