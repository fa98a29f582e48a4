//! Records as AMQP messages.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::config;
use crate::sink::{Cause, DeliveryId, Failure, Record};

/// The delivery mode with which a broker writes a message to disk.
const PERSISTENT: u8 = 2;

/// The prefix of `CloudEvents` attributes in AMQP's headers.
const HEADER_PREFIX: &str = "cloudEvents:";

/// The most that a message's properties take besides the attributes.
const OTHER_PROPERTIES_BYTES: usize = 2048;

/// What an attribute takes besides its value: its name with the prefix, a type and two lengths.
const ATTRIBUTE_BYTES: usize = 64;

/// A record as AMQP sends it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) delivery_id: DeliveryId,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) payload: Vec<u8>,
}

/// Makes the messages of one connection.
#[derive(Debug)]
pub(super) struct Encoder {
    /// What all messages have in common.
    properties: BasicProperties,
    /// Bytes that a payload may have, as far as is known.
    max_payload: usize,
    /// Bytes of the broker's largest frame.
    max_frame: usize,
}

impl Encoder {
    pub(super) fn new(config: &config::Amqp, max_payload: usize, max_frame: usize) -> Self {
        Self {
            properties: common_properties(config),
            max_payload,
            max_frame,
        }
    }

    /// # Errors
    /// Why this record cannot be sent to the broker.
    pub(super) fn message(
        &self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<Message, Failure> {
        let routing_key = ShortString::try_new(record.destination).map_err(|_| {
            let why = format!("its routing key is too long: {}", record.destination);
            Failure::new(Cause::Invalid, why)
        })?;
        self.check_size(record)
            .map_err(|why| Failure::new(Cause::TooLarge, why))?;
        Ok(Message {
            delivery_id,
            routing_key,
            properties: self.properties(record),
            payload: record.payload.to_vec(),
        })
    }

    fn check_size(&self, record: &Record<'_>) -> Result<(), String> {
        let (bytes, limit) = (record.payload.len(), self.max_payload);
        if bytes > limit {
            return Err(format!(
                "its payload of {bytes} bytes is over the broker's limit of {limit} (max_message_size in rabbitmq.conf)"
            ));
        }
        // A payload is sent in several frames, but all properties are in one.
        let attributes = record.attributes.iter();
        let bytes: usize = attributes
            .map(|(_, value)| ATTRIBUTE_BYTES + value.len())
            .sum();
        let limit = self.max_frame.saturating_sub(OTHER_PROPERTIES_BYTES);
        if bytes > limit {
            return Err(format!(
                "its attributes of {bytes} bytes do not fit into one frame of the broker (frame_max in rabbitmq.conf)"
            ));
        }
        Ok(())
    }

    fn properties(&self, record: &Record<'_>) -> BasicProperties {
        let mut properties = self
            .properties
            .clone()
            .with_content_type(record.content_type.into())
            .with_timestamp(u64::try_from(record.timestamp / 1000).unwrap_or(0));
        let mut headers = FieldTable::default();
        for (name, value) in record.attributes.iter() {
            // A value that is too long for a property is still in the header.
            if let ("id" | "type", Ok(value)) = (name, ShortString::try_new(value)) {
                properties = match name {
                    "id" => properties.with_message_id(value),
                    _ => properties.with_type(value),
                };
            }
            let name = ShortString::from(format!("{HEADER_PREFIX}{name}"));
            headers.insert(name, AMQPValue::LongString(LongString::from(value)));
        }
        properties.with_headers(headers)
    }
}

fn common_properties(config: &config::Amqp) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_app_id(config.app_id.as_str().into());
    if let Some(expiration) = config.expiration {
        // AMQP has it as text, in milliseconds.
        let millis = expiration.as_millis().to_string();
        properties = properties.with_expiration(millis.into());
    }
    if let Some(priority) = config.priority {
        properties = properties.with_priority(priority);
    }
    properties
}
