//! Messages in the wire format of Confluent's schema registry: before the bytes of each stands the id
//! of the schema that describes it, and which of the schema's messages it is.
//!
//! Schemas are registered as Confluent's serializers do it: the file that declares the message under
//! the record's subject, and each file that it imports under its own name, as a reference. Google's
//! own files are left out: every registry knows them.

mod client;
mod schema;

use std::collections::HashMap;
use std::sync::Mutex;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

use self::client::{Client, Reference, Request};
use super::memory::lock;
use crate::config::{SchemaRegistry, SubjectNameStrategy};
use crate::sink::{Broken, Cause, Failure, Record};

/// Puts records into the wire format.
#[derive(Debug)]
pub(super) struct Registry {
    client: Client,
    subjects: SubjectNameStrategy,
    framed: Vec<u8>,
}

/// Why a record is not in the wire format.
#[derive(Debug)]
pub(super) enum NotFramed {
    /// The registry did not say the schema's id: nothing can be sent now.
    Broken(Broken),
    /// It never will be.
    Refused(Failure),
}

/// What stands before messages, as far as it was found out; kept over all producers of a sink.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// They are of these schemas: when others are loaded, all is asked for anew.
    pool: Option<DescriptorPool>,
    /// By topic, and then by the message's full name.
    known: HashMap<String, HashMap<String, Vec<u8>>>,
}

impl Registry {
    /// # Errors
    /// The login or the CA file cannot be read.
    pub(super) fn new(config: &SchemaRegistry) -> Result<Self, Broken> {
        Ok(Self {
            client: Client::new(config).map_err(Broken)?,
            subjects: config.subjects,
            framed: Vec::new(),
        })
    }

    /// The payload of a record in the wire format.
    ///
    /// # Errors
    /// The registry cannot be reached or does not take the schema, or the record has none.
    pub(super) async fn frame(
        &mut self,
        record: &Record<'_>,
        prefixes: &Mutex<Prefixes>,
    ) -> Result<&[u8], NotFramed> {
        let Some(message) = record.message else {
            let why = "it is a text, and no message that a schema could describe";
            return Err(NotFramed::Refused(Failure::new(Cause::Invalid, why)));
        };
        let topic = record.destination;
        self.framed.clear();
        if !lock(prefixes).put(topic, message, &mut self.framed) {
            let id = self.id(topic, message).await;
            let id = id.map_err(|why| NotFramed::Broken(Broken(why)))?;
            schema::put_prefix(id, message, &mut self.framed);
            lock(prefixes).learn(topic, message, self.framed.clone());
        }
        self.framed.extend_from_slice(record.payload);
        Ok(&self.framed)
    }

    /// The id of the schema that describes a message, which is registered where it is not there.
    async fn id(&self, topic: &str, message: &MessageDescriptor) -> Result<u32, Failure> {
        let file = message.parent_file();
        let mut versions = HashMap::new();
        for import in schema::imports(&file) {
            let request = request(&import, &versions);
            let version = self.client.version(import.name(), &request).await?;
            versions.insert(import.name().to_owned(), version);
        }
        let subject = subject(self.subjects, topic, message.full_name());
        let id = self.client.id(&subject, &request(&file, &versions)).await?;
        tracing::info!(
            topic,
            subject,
            id,
            message = message.full_name(),
            "kafka: the schema registry knows the schema"
        );
        Ok(id)
    }
}

/// Whether a registry answers that knows protobuf.
///
/// # Errors
/// What failed, in its words.
pub(super) async fn probe(config: &SchemaRegistry) -> Result<String, Failure> {
    Client::new(config)?.probe().await
}

fn subject(strategy: SubjectNameStrategy, topic: &str, message: &str) -> String {
    match strategy {
        SubjectNameStrategy::Topic => format!("{topic}-value"),
        SubjectNameStrategy::Record => message.to_owned(),
        SubjectNameStrategy::TopicRecord => format!("{topic}-{message}"),
    }
}

/// A file as a registry wants it; `versions` has those of its imports.
fn request(file: &FileDescriptor, versions: &HashMap<String, u32>) -> Request {
    let imports = file.dependencies();
    let references = imports.filter_map(|import| {
        Some(Reference {
            name: import.name().to_owned(),
            subject: import.name().to_owned(),
            version: *versions.get(import.name())?,
        })
    });
    Request::new(schema::text(file), references.collect())
}

impl Prefixes {
    /// Appends what stands before a message; `false`: it is not known yet.
    fn put(&self, topic: &str, message: &MessageDescriptor, to: &mut Vec<u8>) -> bool {
        if self.pool.as_ref() != Some(message.parent_pool()) {
            return false;
        }
        let of_topic = self.known.get(topic);
        let prefix = of_topic.and_then(|known| known.get(message.full_name()));
        if let Some(prefix) = prefix {
            to.extend_from_slice(prefix);
        }
        prefix.is_some()
    }

    fn learn(&mut self, topic: &str, message: &MessageDescriptor, prefix: Vec<u8>) {
        if self.pool.as_ref() != Some(message.parent_pool()) {
            self.known.clear();
            self.pool = Some(message.parent_pool().clone());
        }
        let of_topic = self.known.entry(topic.to_owned()).or_default();
        of_topic.insert(message.full_name().to_owned(), prefix);
    }
}
