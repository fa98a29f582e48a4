//! Python's `pika`: a reader of AMQP that shares no code with the forwarder.

use std::sync::OnceLock;

use serde_json::Value;

use crate::brokers::RabbitMq;
use crate::order::different_in_order;
use crate::python::{Python, lines};
use crate::stand::number_of;

const PACKAGE: &str = "pika==1.4.4";

/// Reads the first `count` messages of a queue, and takes them from it.
///
/// # Panics
/// There were fewer, and no further one came for a minute; or Python cannot get the package.
pub fn read_queue(rabbitmq: &RabbitMq, queue: &str, count: usize) -> Vec<Value> {
    read(rabbitmq, queue, &count.to_string())
}

/// Takes all messages from a queue to which nothing is sent any more.
pub fn empty_queue(rabbitmq: &RabbitMq, queue: &str) -> Vec<Value> {
    read(rabbitmq, queue, "all")
}

/// The record of format `json` that a message holds.
pub fn record(message: &Value) -> Value {
    let body = message["body"].as_str().expect("a body");
    serde_json::from_str(body).expect("the body is JSON")
}

/// The simulator's numbers, in the broker's order.
pub fn numbers(messages: &[Value]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| number_of(&record(message)))
        .collect()
}

/// All numbers up to `count` are in a queue, in order. Gives the number of repeats.
pub fn assert_all_arrived(rabbitmq: &RabbitMq, queue: &str, count: u64) -> usize {
    let arrived = numbers(&empty_queue(rabbitmq, queue));
    let different = different_in_order(&arrived);
    let lost: Vec<_> = (1..=count)
        .filter(|number| !different.contains(number))
        .collect();
    assert!(lost.is_empty(), "lost {}: {lost:?}", lost.len());
    arrived.len() - different.len()
}

/// The lines of a sink's table that have an exchange and a queue declared, both of this name; the
/// queue takes all that comes to the exchange.
pub fn declared(name: &str) -> String {
    format!(
        "exchange = {{ name = \"{name}\", kind = \"topic\", declare = true }}\n\
         queue = {{ name = \"{name}\", declare = true, binding = \"central.*\" }}"
    )
}

fn read(rabbitmq: &RabbitMq, queue: &str, count: &str) -> Vec<Value> {
    let mut reader = python().script("pika_reader.py");
    reader.args([&rabbitmq.url(), queue, count]);
    lines(&mut reader)
        .iter()
        .map(|line| serde_json::from_str(line).expect("the reader prints JSON"))
        .collect()
}

/// A Python that has the package.
fn python() -> &'static Python {
    static PYTHON: OnceLock<Python> = OnceLock::new();
    PYTHON.get_or_init(|| Python::with("pika", &[PACKAGE]).expect("pip can install pika"))
}
