//! The .proto files against the tables of messages, fields and enum values that were written down
//! from what Central sends.

use std::collections::BTreeSet;

use central_forwarder::schema;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax,
};

#[test]
fn classic_protos_say_exactly_what_the_table_says() {
    compare(
        "classic",
        include_str!("../fixtures/schema/classic.tsv"),
        629 + 328,
    );
}

#[test]
fn new_central_protos_say_exactly_what_the_table_says() {
    compare(
        "new",
        include_str!("../fixtures/schema/new-central.tsv"),
        563 + 416,
    );
}

fn compare(generation: &str, table: &str, rows: usize) {
    let expected: BTreeSet<String> = table.lines().skip(1).map(str::to_owned).collect();
    assert_eq!(expected.len(), rows, "the table itself");
    let found = describe(&schema::built_in(), generation);

    let missing: Vec<_> = expected.difference(&found).collect();
    let unexpected: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "not in the .proto files: {missing:#?}\nnot in the table: {unexpected:#?}"
    );
}

/// One row a field or enum value, in the columns of the table.
fn describe(pool: &DescriptorPool, generation: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for message in pool.all_messages().filter(|message| {
        !message.is_map_entry() && message.parent_file().name().starts_with(generation)
    }) {
        for field in message.fields() {
            rows.insert(field_row(&message, &field));
        }
    }
    for declared in pool
        .all_enums()
        .filter(|declared| declared.parent_file().name().starts_with(generation))
    {
        for value in declared.values() {
            rows.insert(format!(
                "{}\tenum\t{}\t{}\t{}\t\t\t",
                file_columns(&declared.parent_file()),
                declared.full_name(),
                value.number(),
                value.name()
            ));
        }
    }
    rows
}

fn file_columns(file: &prost_reflect::FileDescriptor) -> String {
    let name = file.name().rsplit('/').next().unwrap_or_default();
    let syntax = match file.syntax() {
        Syntax::Proto2 => "proto2",
        Syntax::Proto3 => "proto3",
    };
    format!("{name}\t{}\t{syntax}", file.package_name())
}

fn field_row(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    format!(
        "{}\tmessage\t{}\t{}\t{}\t{}\t{}\t{}",
        file_columns(&message.parent_file()),
        message.full_name(),
        field.number(),
        field.name(),
        label(field),
        type_name(field),
        field.field_descriptor_proto().default_value()
    )
}

fn label(field: &FieldDescriptor) -> String {
    let proto3 = field.parent_file().syntax() == Syntax::Proto3;
    let oneof = field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic());
    match (field.cardinality(), oneof) {
        (_, Some(oneof)) => format!("oneof:{}", oneof.name()),
        _ if field.is_map() => "map".to_owned(),
        (Cardinality::Repeated, None) => "repeated".to_owned(),
        (Cardinality::Required, None) => "required".to_owned(),
        (Cardinality::Optional, None)
            if proto3 && !field.field_descriptor_proto().proto3_optional() =>
        {
            "singular".to_owned()
        }
        (Cardinality::Optional, None) => "optional".to_owned(),
    }
}

fn type_name(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => format!(
            "{},{}",
            type_name(&entry.map_entry_key_field()),
            type_name(&entry.map_entry_value_field())
        ),
        Kind::Message(message) => MessageDescriptor::full_name(&message).to_owned(),
        Kind::Enum(declared) => EnumDescriptor::full_name(&declared).to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
