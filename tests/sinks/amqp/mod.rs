//! AMQP into a real `RabbitMQ`, read by `pika`.

mod access;
mod outages;
mod records;
mod smoke;
