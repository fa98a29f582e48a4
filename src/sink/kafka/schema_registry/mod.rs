//! The wire format of Confluent's schema registry: a message's bytes follow a prefix, which has the id
//! of the schema that describes the message and the message's place in that schema.
//!
//! Schemas are registered as Confluent's serializers do it: the file that declares the message under
//! the record's subject, and each file that it imports under its own name, as a reference. Google's
//! own files are left out: every registry knows them.

mod client;
mod descriptors;

use std::collections::HashMap;
use std::sync::Mutex;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

use self::client::{Client, Reference, Request};
use crate::config::{SchemaRegistry, SubjectNameStrategy};
use crate::sink::{Cause, ConnectionError, Failure, Record};
use crate::sync::lock;

/// Puts records into the wire format, and registers their schemas.
#[derive(Debug)]
pub(super) struct Framer {
    client: Client,
    subjects: SubjectNameStrategy,
    /// The last record, framed; a buffer that is used again.
    framed: Vec<u8>,
}

/// Why a record is not in the wire format.
#[derive(Debug)]
pub(super) enum NotFramed {
    /// The registry did not give the schema's id: nothing can be sent now.
    Failed(ConnectionError),
    /// It has no schema, and never will.
    Refused(Failure),
}

/// The prefixes of messages that are known; shared by all producers of a sink.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// The descriptors that they belong to: when others are loaded, all prefixes are forgotten.
    pool: Option<DescriptorPool>,
    /// By topic, and then by the message's full name.
    known: HashMap<String, HashMap<String, Vec<u8>>>,
}

impl Framer {
    /// # Errors
    /// The login or the CA file cannot be read.
    pub(super) fn new(config: &SchemaRegistry) -> Result<Self, ConnectionError> {
        Ok(Self {
            client: Client::new(config).map_err(ConnectionError)?,
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
            let why = "the record is text, not a message that a schema could describe";
            return Err(NotFramed::Refused(Failure::new(Cause::Invalid, why)));
        };
        let topic = record.destination;
        self.framed.clear();
        if !lock(prefixes).append(topic, message, &mut self.framed) {
            let id = self.id(topic, message).await;
            let id = id.map_err(|why| NotFramed::Failed(ConnectionError(why)))?;
            descriptors::put_prefix(id, message, &mut self.framed);
            lock(prefixes).insert(topic, message, self.framed.clone());
        }
        self.framed.extend_from_slice(record.payload);
        Ok(&self.framed)
    }

    /// The id of the schema that describes a message, which is registered where it is not there.
    async fn id(&self, topic: &str, message: &MessageDescriptor) -> Result<u32, Failure> {
        let file = message.parent_file();
        let mut versions = HashMap::new();
        for import in descriptors::imports(&file) {
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
            "kafka: the schema is registered"
        );
        Ok(id)
    }
}

/// Checks that a registry answers and supports protobuf.
///
/// # Errors
/// What failed, with the registry's own message.
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

/// A file as a registry expects it; `versions` has those of its imports.
fn request(file: &FileDescriptor, versions: &HashMap<String, u32>) -> Request {
    let imports = file.dependencies();
    let references = imports.filter_map(|import| {
        Some(Reference {
            name: import.name().to_owned(),
            subject: import.name().to_owned(),
            version: *versions.get(import.name())?,
        })
    });
    Request::new(descriptors::text(file), references.collect())
}

impl Prefixes {
    /// Appends a message's prefix; `false`: it is not known.
    fn append(&self, topic: &str, message: &MessageDescriptor, to: &mut Vec<u8>) -> bool {
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

    fn insert(&mut self, topic: &str, message: &MessageDescriptor, prefix: Vec<u8>) {
        if self.pool.as_ref() != Some(message.parent_pool()) {
            self.known.clear();
            self.pool = Some(message.parent_pool().clone());
        }
        let of_topic = self.known.entry(topic.to_owned()).or_default();
        of_topic.insert(message.full_name().to_owned(), prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;
    use crate::sink::Attributes;

    fn record(message: Option<&MessageDescriptor>) -> Record<'_> {
        Record {
            destination: "t",
            key: None,
            payload: b"payload",
            attributes: Attributes::new("", &[]),
            content_type: "application/protobuf",
            message,
            timestamp: 0,
        }
    }

    fn framer() -> Framer {
        let config = SchemaRegistry {
            url: "http://127.0.0.1:1".parse().expect("a URL"),
            login: None,
            ca_file: None,
            subjects: SubjectNameStrategy::default(),
        };
        Framer::new(&config).expect("nothing has to be read")
    }

    #[tokio::test]
    async fn a_record_without_a_schema_is_refused_and_one_with_a_schema_waits_for_the_registry() {
        let prefixes = Mutex::default();
        let mut registry = framer();
        let text = registry.frame(&record(None), &prefixes).await;
        assert!(matches!(text, Err(NotFramed::Refused(_))), "{text:?}");
        let pool = schema::built_in();
        let audit = pool.get_message_by_name("Audit.audit_message");
        let message = registry.frame(&record(audit.as_ref()), &prefixes).await;
        let Err(NotFramed::Failed(ConnectionError(failure))) = message else {
            panic!("{message:?}");
        };
        assert_eq!(failure.cause, Cause::Unreachable);
    }

    #[tokio::test]
    async fn a_known_prefix_is_not_asked_for_again_until_schemas_are_reloaded() {
        let prefixes = Mutex::new(Prefixes::default());
        let mut registry = framer();
        for is_known in [true, false] {
            let pool = schema::built_in();
            let audit = pool.get_message_by_name("Audit.audit_message");
            let audit = audit.as_ref().expect("it is built in");
            if is_known {
                lock(&prefixes).insert("t", audit, vec![0, 1]);
                let framed = registry.frame(&record(Some(audit)), &prefixes).await;
                assert_eq!(framed.expect("it is known"), b"\x00\x01payload");
            } else {
                let framed = registry.frame(&record(Some(audit)), &prefixes).await;
                assert!(matches!(framed, Err(NotFramed::Failed(_))), "{framed:?}");
            }
        }
    }

    #[test]
    fn subjects_are_named_as_confluent_names_them() {
        let named = |strategy| subject(strategy, "central.audit", "Audit.audit_message");
        assert_eq!(named(SubjectNameStrategy::Topic), "central.audit-value");
        assert_eq!(named(SubjectNameStrategy::Record), "Audit.audit_message");
        assert_eq!(
            named(SubjectNameStrategy::TopicRecord),
            "central.audit-Audit.audit_message"
        );
    }
}
