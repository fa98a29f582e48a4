//! lapin and a real `RabbitMQ`: declare, publish with confirm, read back.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use support::brokers::RabbitMq;
use support::fresh_name;

const PATIENCE: Duration = Duration::from_secs(30);
const PERSISTENT: u8 = 2;

async fn channel(rabbitmq: &RabbitMq) -> (Connection, Channel) {
    let url = rabbitmq.url();
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.expect("RabbitMQ lets us in");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("publisher confirms");
    (connection, channel)
}

async fn publish(channel: &Channel, queue: &str, payload: &[u8]) -> Confirmation {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id("the id".into());
    channel
        .basic_publish("".into(), queue.into(), options, payload, properties)
        .await
        .expect("it is sent")
        .await
        .expect("RabbitMQ answers")
}

#[tokio::test]
async fn a_message_is_confirmed_and_read_back() {
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let (_connection, channel) = channel(&rabbitmq).await;
    let queue = fresh_name("smoke");
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.as_str().into(), options, FieldTable::default())
        .await
        .expect("a queue");

    let confirmation = publish(&channel, &queue, b"hello").await;
    assert!(
        matches!(confirmation, Confirmation::Ack(None)),
        "{confirmation:?}"
    );

    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(
            queue.as_str().into(),
            "reader".into(),
            options,
            FieldTable::default(),
        )
        .await
        .expect("a consumer");
    let delivery = tokio::time::timeout(PATIENCE, deliveries.next()).await;
    let delivery = delivery
        .expect("a message in time")
        .expect("a message")
        .expect("no error");
    assert_eq!(delivery.data, b"hello");
    assert_eq!(
        delivery
            .properties
            .message_id()
            .as_ref()
            .map(ShortString::as_str),
        Some("the id")
    );
    delivery
        .ack(BasicAckOptions::default())
        .await
        .expect("acknowledged");
}

#[tokio::test]
async fn a_mandatory_message_without_a_queue_comes_back() {
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let (_connection, channel) = channel(&rabbitmq).await;

    let confirmation = publish(&channel, &fresh_name("nowhere"), b"hello").await;
    let returned = confirmation
        .take_message()
        .expect("the message is returned");
    assert_eq!(returned.delivery.data, b"hello");
}
