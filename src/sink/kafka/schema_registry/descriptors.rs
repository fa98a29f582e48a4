//! Descriptors in the forms that a registry and its consumers expect.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::{FileDescriptor, MessageDescriptor};
use prost_types::{DescriptorProto, FieldDescriptorProto};

/// Files that every registry knows: they are not references.
const KNOWN: &str = "google/protobuf/";

/// The first byte of the wire format.
const MAGIC: u8 = 0;

/// All files that a file imports, directly or not, each after its own imports; without Google's.
pub(super) fn imports(file: &FileDescriptor) -> Vec<FileDescriptor> {
    fn add(file: &FileDescriptor, seen: &mut HashSet<String>, to: &mut Vec<FileDescriptor>) {
        for import in file.dependencies() {
            if !import.name().starts_with(KNOWN) && seen.insert(import.name().to_owned()) {
                add(&import, seen, to);
                to.push(import);
            }
        }
    }
    let mut all = Vec::new();
    add(file, &mut HashSet::new(), &mut all);
    all
}

/// The schema's text: a serialized `FileDescriptorProto` in base64, which registries accept in place of
/// a `.proto` file. What protoc leaves out is left out here too, so that the same file from elsewhere is
/// the same schema.
pub(super) fn text(file: &FileDescriptor) -> String {
    let mut proto = file.file_descriptor_proto().clone();
    proto.source_code_info = None;
    proto.extension.iter_mut().for_each(tidy_field);
    proto.message_type.iter_mut().for_each(tidy_message);
    STANDARD.encode(proto.encode_to_vec())
}

fn tidy_message(message: &mut DescriptorProto) {
    message.field.iter_mut().for_each(tidy_field);
    message.extension.iter_mut().for_each(tidy_field);
    message.nested_type.iter_mut().for_each(tidy_message);
}

/// Removes a JSON name that follows from the field's name: a `.proto` file does not have it.
fn tidy_field(field: &mut FieldDescriptorProto) {
    if field.json_name.as_deref() == Some(&json_name(field.name())) {
        field.json_name = None;
    }
}

/// The JSON name that protoc derives: without underscores, and with each letter after one in upper case.
fn json_name(name: &str) -> String {
    let mut derived = String::with_capacity(name.len());
    let mut raise = false;
    for character in name.chars() {
        if character == '_' {
            raise = true;
        } else {
            derived.push(if raise {
                character.to_ascii_uppercase()
            } else {
                character
            });
            raise = false;
        }
    }
    derived
}

/// Appends a message's prefix: the magic byte, the schema's id, and the message's place in the schema.
pub(super) fn put_prefix(id: u32, message: &MessageDescriptor, to: &mut Vec<u8>) {
    to.push(MAGIC);
    to.extend_from_slice(&id.to_be_bytes());
    let indexes = indexes(message);
    // The first message of a file, the most frequent case, has a shorter form.
    if indexes == [0] {
        to.push(0);
        return;
    }
    put_zigzag(indexes.len(), to);
    for index in indexes {
        put_zigzag(index, to);
    }
}

/// The index of a message in its file, or those of its outer messages and its own. A descriptor's path
/// has a field number before each of them.
fn indexes(message: &MessageDescriptor) -> Vec<usize> {
    let indexes = message.path().iter().skip(1).step_by(2);
    let indexes = indexes.map(|index| usize::try_from(*index).expect("an index is not negative"));
    indexes.collect()
}

fn put_zigzag(number: usize, to: &mut Vec<u8>) {
    prost::encoding::encode_varint((number as u64) << 1, to);
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::schema;

    fn prefix(pool: &DescriptorPool, message: &str) -> Vec<u8> {
        let mut prefix = Vec::new();
        put_prefix(
            258,
            &pool.get_message_by_name(message).unwrap(),
            &mut prefix,
        );
        prefix
    }

    /// Compiled as an operator's files are.
    fn compiled(files: &[(&str, &str)]) -> DescriptorPool {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let set = protox::compile(names, [folder.path()]).unwrap();
        DescriptorPool::from_file_descriptor_set(set).unwrap()
    }

    #[test]
    fn a_prefix_names_the_schema_and_the_place_of_the_message_in_it() {
        let second = "message B { message C {} message D { message E {} } }";
        let pool = compiled(&[(
            "x.proto",
            &format!("syntax = \"proto3\"; message A {{}} {second}"),
        )]);
        assert_eq!(prefix(&pool, "A"), [0, 0, 0, 1, 2, 0]);
        assert_eq!(prefix(&pool, "B"), [0, 0, 0, 1, 2, 2, 2]);
        assert_eq!(prefix(&pool, "B.C"), [0, 0, 0, 1, 2, 4, 2, 0]);
        assert_eq!(prefix(&pool, "B.D.E"), [0, 0, 0, 1, 2, 6, 2, 2, 0]);
        let many: Vec<_> = (0..70).map(|n| format!("message M{n} {{}}")).collect();
        let pool = compiled(&[(
            "x.proto",
            &format!("syntax = \"proto3\"; {}", many.concat()),
        )]);
        assert_eq!(prefix(&pool, "M64"), [0, 0, 0, 1, 2, 2, 0x80, 1]);
    }

    #[test]
    fn imports_come_before_what_needs_them_and_googles_are_left_out() {
        let pool = compiled(&[
            (
                "a.proto",
                "syntax = \"proto3\"; import \"b.proto\"; import \"c.proto\"; message A {}",
            ),
            (
                "b.proto",
                "syntax = \"proto3\"; import \"c.proto\"; message B {}",
            ),
            (
                "c.proto",
                "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; message C {}",
            ),
        ]);
        let file = pool.get_file_by_name("a.proto").unwrap();
        let imports = imports(&file);
        let names: Vec<_> = imports.iter().map(FileDescriptor::name).collect();
        assert_eq!(names, ["c.proto", "b.proto"]);
    }

    #[test]
    fn the_text_is_the_file_without_what_follows_from_it() {
        let pool = compiled(&[(
            "a.proto",
            "syntax = \"proto3\"; message A { int32 an_id = 1; int32 b = 2 [json_name = \"x\"]; }",
        )]);
        let file = pool.get_file_by_name("a.proto").unwrap();
        let bytes = STANDARD.decode(text(&file)).unwrap();
        let proto = prost_types::FileDescriptorProto::decode(&bytes[..]).unwrap();
        let fields = &proto.message_type[0].field;
        let names: Vec<_> = fields
            .iter()
            .map(|field| field.json_name.as_deref())
            .collect();
        assert_eq!(names, [None, Some("x")]);
        assert_eq!(proto.name(), "a.proto");
        assert!(proto.source_code_info.is_none());
    }

    #[test]
    fn every_message_of_central_has_a_prefix_and_a_text() {
        let pool = schema::built_in();
        for message in pool.all_messages() {
            let prefix = prefix(&pool, message.full_name());
            assert!(prefix.len() > 5, "{}", message.full_name());
        }
        for file in pool.files() {
            assert!(!text(&file).is_empty(), "{}", file.name());
        }
    }
}
