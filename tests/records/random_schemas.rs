//! Random messages of random schemas: what we write from the bytes is what prost-reflect prints of
//! the message.
//!
//! Both follow the specification where it says what to do, and messages here come as a serializer
//! writes them; `scripts/differential` has the other encodings.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, ReflectMessage as _, SerializeOptions, Value,
};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};

use central_forwarder::transcode::{JsonStyle, Tables, write_json};

const TYPES: [Type; 17] = [
    Type::Double,
    Type::Float,
    Type::Int64,
    Type::Uint64,
    Type::Int32,
    Type::Fixed64,
    Type::Fixed32,
    Type::Bool,
    Type::String,
    Type::Message,
    Type::Bytes,
    Type::Uint32,
    Type::Enum,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Sint32,
    Type::Sint64,
];

/// Levels of messages that have values.
const DEPTH: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Shape {
    Single,
    Optional,
    List { packed: bool },
    Member,
    Map,
}

#[derive(Clone, Debug)]
struct Field {
    kind: Type,
    /// Of the message that it holds, if it does.
    target: usize,
    shape: Shape,
    /// How many numbers are left out before it.
    gap: i32,
}

fn field() -> impl Strategy<Value = Field> {
    let shape = prop_oneof![
        Just(Shape::Single),
        Just(Shape::Optional),
        any::<bool>().prop_map(|packed| Shape::List { packed }),
        Just(Shape::Member),
        Just(Shape::Map),
    ];
    let kind = (0..TYPES.len()).prop_map(|index| TYPES[index]);
    (kind, any::<usize>(), shape, prop_oneof![Just(0), 0..3000]).prop_map(
        |(kind, target, shape, gap)| Field {
            kind,
            target,
            shape,
            gap,
        },
    )
}

fn file(syntax: &str, messages: &[Vec<Field>]) -> FileDescriptorProto {
    let colours = [("NONE", 0), ("RED", 1), ("FAR", 500), ("LOW", -3)];
    FileDescriptorProto {
        name: Some("random.proto".to_owned()),
        package: Some("random".to_owned()),
        syntax: Some(syntax.to_owned()),
        enum_type: vec![EnumDescriptorProto {
            name: Some("Colour".to_owned()),
            value: colours
                .map(|(name, number)| EnumValueDescriptorProto {
                    name: Some(name.to_owned()),
                    number: Some(number),
                    options: None,
                })
                .into(),
            ..EnumDescriptorProto::default()
        }],
        message_type: (0..)
            .zip(messages)
            .map(|(index, fields)| message(index, fields, messages.len(), syntax))
            .collect(),
        ..FileDescriptorProto::default()
    }
}

fn message(index: usize, fields: &[Field], messages: usize, syntax: &str) -> DescriptorProto {
    let mut descriptor = DescriptorProto {
        name: Some(format!("M{index}")),
        ..DescriptorProto::default()
    };
    let mut number = 0;
    let mut synthetic = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        number += 1 + field.gap;
        if RESERVED.contains(&number) {
            number = RESERVED.end;
        }
        let mut declared = declaration(&format!("field_{place}"), number, field, messages);
        match field.shape {
            Shape::Optional if syntax == "proto3" => {
                declared.proto3_optional = Some(true);
                synthetic.push(declared.name().to_owned());
            }
            Shape::Single | Shape::Optional => {}
            Shape::List { packed } => {
                declared.label = Some(Label::Repeated.into());
                let is_packable = !matches!(field.kind, Type::String | Type::Bytes | Type::Message);
                declared.options = is_packable.then(|| FieldOptions {
                    packed: Some(packed),
                    ..FieldOptions::default()
                });
            }
            Shape::Member => declared.oneof_index = Some(0),
            Shape::Map => {
                let entry = format!("Field{place}Entry");
                let mut value = declaration("value", 2, field, messages);
                value.json_name = Some("value".to_owned());
                declared.r#type = Some(Type::Message.into());
                declared.type_name = Some(format!(".random.M{index}.{entry}"));
                declared.label = Some(Label::Repeated.into());
                descriptor.nested_type.push(map_entry(entry, value));
            }
        }
        descriptor.field.push(declared);
    }
    if fields
        .iter()
        .any(|field| matches!(field.shape, Shape::Member))
    {
        descriptor.oneof_decl.push(oneof("choice"));
    }
    for name in synthetic {
        let index = i32::try_from(descriptor.oneof_decl.len()).unwrap();
        descriptor.oneof_decl.push(oneof(&format!("_{name}")));
        let field = descriptor
            .field
            .iter_mut()
            .find(|field| field.name() == name);
        field.unwrap().oneof_index = Some(index);
    }
    descriptor
}

fn declaration(name: &str, number: i32, field: &Field, messages: usize) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(field.kind.into()),
        type_name: match field.kind {
            Type::Message => Some(format!(".random.M{}", field.target % messages)),
            Type::Enum => Some(".random.Colour".to_owned()),
            _ => None,
        },
        ..FieldDescriptorProto::default()
    }
}

fn map_entry(name: String, value: FieldDescriptorProto) -> DescriptorProto {
    let key = Field {
        kind: TYPES[usize::from(name.len().is_multiple_of(2)) * 6 + 2],
        target: 0,
        shape: Shape::Single,
        gap: 0,
    };
    DescriptorProto {
        name: Some(name),
        field: vec![declaration("key", 1, &key, 1), value],
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..MessageOptions::default()
        }),
        ..DescriptorProto::default()
    }
}

fn oneof(name: &str) -> OneofDescriptorProto {
    OneofDescriptorProto {
        name: Some(name.to_owned()),
        options: None,
    }
}

/// Makes values from bytes that were drawn; zeros when they have run out.
struct Drawn<'a>(std::slice::Iter<'a, u8>);

impl Drawn<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u64 {
        let length = self.byte() % 9;
        (0..length).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    fn fill(&mut self, message: &mut DynamicMessage, depth: u32) {
        for field in message.descriptor().fields() {
            let count = match self.byte() {
                0..80 => continue,
                80..180 => 1,
                more => usize::from(more % 4),
            };
            if field.is_map() {
                let (key, value) = match field.kind() {
                    Kind::Message(entry) => (
                        entry.map_entry_key_field().kind(),
                        entry.map_entry_value_field().kind(),
                    ),
                    _ => unreachable!("a map is a list of messages"),
                };
                let entries = (0..count).map(|_| (self.key(&key), self.value(&value, depth)));
                let entries = Value::Map(entries.collect());
                message.set_field(&field, entries);
            } else if field.is_list() {
                let elements = (0..count).map(|_| self.value(&field.kind(), depth));
                let elements = Value::List(elements.collect());
                message.set_field(&field, elements);
            } else {
                let value = self.value(&field.kind(), depth);
                message.set_field(&field, value);
            }
        }
    }

    fn key(&mut self, kind: &Kind) -> MapKey {
        match kind {
            Kind::String => MapKey::String(self.text()),
            _ => MapKey::I64(self.word().cast_signed()),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any value will do")]
    fn value(&mut self, kind: &Kind, depth: u32) -> Value {
        match kind {
            Kind::Double => Value::F64(f64::from_bits(self.word())),
            // Powers of two apart, of which Google's runtime prints more digits than it needs.
            Kind::Float => Value::F32(f32::from(self.word() as i16) * 0.3),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.word() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.word().cast_signed()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.word() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.word()),
            Kind::Bool => Value::Bool(self.byte() > 127),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Enum(_) => Value::EnumNumber([0, 1, 500, -3][usize::from(self.byte() % 4)]),
            Kind::Message(descriptor) => {
                let mut inner = DynamicMessage::new(descriptor.clone());
                if depth > 0 {
                    self.fill(&mut inner, depth - 1);
                }
                Value::Message(inner)
            }
        }
    }

    fn text(&mut self) -> String {
        const CHARACTERS: [char; 8] = ['a', 'Z', '"', '\\', '\n', '\u{1}', 'é', '😀'];
        (0..self.byte() % 20)
            .map(|_| CHARACTERS[usize::from(self.byte() % 8)])
            .collect()
    }
}

/// Field numbers that no schema may use.
const RESERVED: std::ops::Range<i32> = 19_000..20_000;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_written_as_prost_reflect_prints_it(
        syntax in prop_oneof![Just("proto2"), Just("proto3")],
        messages in vec(vec(field(), 1..12), 1..4),
        drawn in vec(any::<u8>(), 0..600),
    ) {
        let file = file(syntax, &messages);
        let pool = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file] });
        let pool = pool.expect("a schema as protoc would accept it");
        let mut message = DynamicMessage::new(pool.get_message_by_name("random.M0").unwrap());
        Drawn(drawn.iter()).fill(&mut message, DEPTH);

        let options = SerializeOptions::new().use_proto_field_name(true);
        let mut theirs = Vec::new();
        message
            .serialize_with_options(&mut serde_json::Serializer::new(&mut theirs), &options)
            .unwrap();
        let theirs: serde_json::Value = serde_json::from_slice(&theirs).unwrap();

        let tables = Tables::compile(&pool);
        let mut ours = Vec::new();
        let id = tables.message("random.M0").unwrap();
        write_json(&tables, id, &message.encode_to_vec(), JsonStyle::Canonical, &mut ours).unwrap();
        let text = String::from_utf8(ours).unwrap();
        let ours: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}
