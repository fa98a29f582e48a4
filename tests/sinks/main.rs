//! Each kind of sink against a real broker, read by a client that shares no code with the forwarder.

mod amqp;
mod dead_letters;
mod formats;
mod kafka;
mod mqtt;
mod stream;
