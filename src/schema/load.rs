//! The operator's files, which replace or add to the built-in descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::Compiler;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver,
};

use super::{Descriptors, built_in_files};
use crate::config::{ConfigErrors, Diagnostic, Position, SchemaFiles, Schemas, suggestion};
use crate::frame::Stream;
use crate::streams::{CLASSIC_TOPICS, known_event, of_path};
use crate::transcode::{DecodeError, JsonStyle, Tables, write_json};

impl Descriptors {
    /// The built-in descriptors and the operator's files. A message or enum in a file replaces the built-in
    /// one of the same name; a file with the name and package of a built-in file replaces it whole.
    ///
    /// # Errors
    /// Every file that cannot be read or compiled, with its place, and every message that the config names
    /// for a topic and that does not exist.
    pub fn load(schemas: &Schemas) -> Result<Self, ConfigErrors> {
        let SchemaFiles { files, errors, .. } = schemas.find();
        let mut loader = Loader {
            schemas,
            set: built_in_files(),
            errors,
        };
        loader.add_sets(&files);
        loader.add_sources(&files);
        let mut descriptors = match pool(loader.set.clone()) {
            Ok(pool) => Self::of(pool),
            Err(error) => {
                // If a file is missing because of an earlier mistake, this one only follows from it.
                if loader.errors.is_empty() {
                    let text = format!(
                        "the files do not fit together: {error} (check that all files are of the same version)"
                    );
                    loader.errors.push(schemas.spans.about("paths", text));
                }
                return Err(ConfigErrors::new(loader.errors));
            }
        };
        loader.assign_messages(&mut descriptors);
        if loader.errors.is_empty() {
            Ok(descriptors)
        } else {
            Err(ConfigErrors::new(loader.errors))
        }
    }
}

struct Loader<'a> {
    schemas: &'a Schemas,
    set: FileDescriptorSet,
    errors: Vec<Diagnostic>,
}

impl Loader<'_> {
    /// Adds the files that hold compiled descriptors.
    fn add_sets(&mut self, files: &BTreeSet<PathBuf>) {
        for path in files.iter().filter(|path| !is_source(path)) {
            let read = fs::read(path)
                .map_err(|error| format!("cannot be read: {error} (correct the permissions)"));
            let set = read.and_then(|bytes| {
                FileDescriptorSet::decode(&bytes[..]).map_err(|error| {
                    let why = error_in_set(&bytes).unwrap_or_else(|| error.to_string());
                    format!("is not a descriptor set: {why} (write one with protoc --include_imports --descriptor_set_out)")
                })
            });
            match set {
                Ok(set) => set.file.into_iter().for_each(|file| self.overlay(file)),
                Err(text) => self.mistake(Position::File(path.as_path().into()), text),
            }
        }
    }

    /// Compiles the .proto files. They may import each other, the descriptors that were added before, the
    /// built-in files and Google's.
    fn add_sources(&mut self, files: &BTreeSet<PathBuf>) {
        let sources: Vec<&PathBuf> = files.iter().filter(|path| is_source(path)).collect();
        let folders: BTreeSet<&Path> = sources.iter().filter_map(|path| path.parent()).collect();
        let mut resolver = ChainFileResolver::new();
        for folder in folders {
            resolver.add(IncludeFileResolver::new(folder.to_owned()));
        }
        resolver.add(DescriptorSetFileResolver::new(self.set.clone()));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        let before = self.errors.len();
        for source in &sources {
            if let Err(error) = compiler.open_file(source) {
                let (place, text) = place_of(&error, &sources, source);
                self.mistake(place, text);
            }
        }
        if self.errors.len() > before {
            return;
        }
        let own: BTreeSet<String> = compiler
            .files()
            .filter(|file| file.path().is_some())
            .map(|file| file.name().to_owned())
            .collect();
        let set = compiler.include_imports(true).file_descriptor_set();
        for file in set.file {
            if own.contains(file.name()) {
                self.overlay(file);
            }
        }
    }

    fn mistake(&mut self, place: Position, text: String) {
        let diagnostic = Diagnostic {
            position: place,
            key: String::new(),
            text,
        };
        // A broken file is reported once for each file that imports it.
        if !self.errors.contains(&diagnostic) {
            self.errors.push(diagnostic);
        }
    }

    /// Adds a file, which replaces what has the same names.
    fn overlay(&mut self, file: FileDescriptorProto) {
        let package = file.package().to_owned();
        if package == "google.protobuf" {
            return;
        }
        let replaced = |other: &FileDescriptorProto| {
            other.name() == file.name()
                || (other.package() == package && base_name(other.name()) == base_name(file.name()))
        };
        let replaced_names: Vec<String> = (self.set.file.iter())
            .filter(|other| replaced(other))
            .map(|other| other.name().to_owned())
            .collect();
        self.set.file.retain(|other| !replaced(other));
        for other in &mut self.set.file {
            for dependency in &mut other.dependency {
                if replaced_names.contains(dependency) {
                    file.name().clone_into(dependency);
                }
            }
            if other.package() == package {
                remove_duplicates(other, &file);
            }
        }
        self.set.file.push(file);
    }

    /// Assigns messages to topics as the config says.
    fn assign_messages(&mut self, descriptors: &mut Descriptors) {
        for (topic, message) in &self.schemas.messages {
            let stream = stream_of(topic);
            let known = descriptors.pool.get_message_by_name(message).is_some();
            let text = match (stream, known) {
                (Some(stream), true) => {
                    descriptors.streams.insert(stream, message.clone());
                    continue;
                }
                (None, _) => {
                    let advice = suggestion::advice(topic, CLASSIC_TOPICS, || {
                        "write a topic, or SERVICE/VERSION/EVENT".to_owned()
                    });
                    format!("unknown topic `{topic}` ({advice})")
                }
                (Some(_), false) => {
                    let messages: Vec<_> = descriptors.pool.all_messages().collect();
                    let known = messages.iter().map(MessageDescriptor::full_name);
                    let advice = suggestion::advice(message, known, || {
                        "write PACKAGE.MESSAGE, as in the .proto file".to_owned()
                    });
                    format!("there is no message `{message}` ({advice})")
                }
            };
            let diagnostic = self.schemas.spans.about_in("messages", topic, text);
            self.errors.push(diagnostic);
        }
    }
}

/// Removes from a file what `file`, of the same package, declares too; it then imports `file` instead.
fn remove_duplicates(other: &mut FileDescriptorProto, file: &FileDescriptorProto) {
    let before = other.message_type.len() + other.enum_type.len();
    other
        .message_type
        .retain(|message| !(file.message_type.iter()).any(|newer| newer.name() == message.name()));
    other
        .enum_type
        .retain(|declared| !(file.enum_type.iter()).any(|newer| newer.name() == declared.name()));
    let after = other.message_type.len() + other.enum_type.len();
    if after < before && !other.dependency.iter().any(|name| name == file.name()) {
        other.dependency.push(file.name().to_owned());
    }
}

/// prost-reflect panics on some sets that no compiler makes.
fn pool(set: FileDescriptorSet) -> Result<DescriptorPool, String> {
    match catch_unwind(|| DescriptorPool::from_file_descriptor_set(set)) {
        Ok(built) => built.map_err(|error| error.to_string()),
        Err(_) => Err("one of them is damaged".to_owned()),
    }
}

/// What is wrong with a descriptor set, and where: prost does not say where.
fn error_in_set(bytes: &[u8]) -> Option<String> {
    let tables = Tables::compile(&DescriptorPool::global());
    let set = tables.message("google.protobuf.FileDescriptorSet")?;
    let result = write_json(&tables, set, bytes, JsonStyle::Canonical, &mut Vec::new());
    let DecodeError {
        problem,
        offset,
        message,
        path,
    } = result.err()?;
    Some(format!(
        "{problem} at byte {offset} of the file ({message}{path})"
    ))
}

fn stream_of(topic: &str) -> Option<Stream> {
    if topic.contains('/') {
        of_path(topic)
    } else if CLASSIC_TOPICS.contains(&topic) {
        Stream::parse(&format!("classic/{topic}"))
    } else {
        known_event(topic)
    }
}

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "proto")
}

fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Where an error of the compiler is. The compiler says so only at the start of its debug text:
/// `FILE:LINE:COL: `.
fn place_of(error: &protox::Error, sources: &[&PathBuf], opened: &Path) -> (Position, String) {
    let text = format!("{error} (correct the file, or remove it)");
    let name = error.file().unwrap_or_default();
    let file = sources
        .iter()
        .find(|source| !name.is_empty() && source.ends_with(name))
        .map_or(opened, |source| source.as_path());
    let debug = format!("{error:?}");
    let place = debug.strip_prefix(name).and_then(|rest| {
        let mut numbers = rest.strip_prefix(':')?.splitn(3, ':');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    let place = match place {
        Some((line, column)) => Position::InFile {
            file: file.into(),
            line,
            column,
        },
        None if error.is_parse() => end_of(file),
        None => Position::File(file.into()),
    };
    (place, text)
}

/// The end of a file: the place of an error that something is missing.
fn end_of(file: &Path) -> Position {
    let Ok(text) = fs::read_to_string(file) else {
        return Position::File(file.into());
    };
    let last = text.lines().last().unwrap_or_default();
    Position::InFile {
        file: file.into(),
        line: text.lines().count().max(1),
        column: last.chars().count() + 1,
    }
}
