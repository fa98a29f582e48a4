//! The task that publishes, and handles the broker's answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Event};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connect::BrokerConnection;
use super::explain::{explain, root_cause, size_limit};
use super::message::Message;
use super::target::{SizeLimit, Target};
use super::unconfirmed::{Acknowledgement, Identity, Unconfirmed};
use crate::sink::{Cause, DeliveryId, Failure, Outcomes};

/// How often it is checked whether a confirm is overdue.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

type Pending = Pin<Box<dyn Future<Output = Completed> + Send>>;

/// What comes out of the queue of confirmations.
enum Completed {
    Confirmation(DeliveryId, lapin::Result<Confirmation>),
    /// See [`Unconfirmed`].
    Marker,
}

/// The broker's answer to a message, and a returned message, which need not be the same one.
struct Confirmation {
    acknowledgement: Acknowledgement,
    returned: Option<(Identity, String)>,
}

pub(super) struct Publisher {
    connection: BrokerConnection,
    messages: mpsc::Receiver<Message>,
    outcomes: Outcomes,
    /// Cancelled when the sink is dropped.
    stop: CancellationToken,
    size_limit: SizeLimit,
    exchange: ShortString,
    max_in_flight: usize,
    confirm_timeout: Duration,
    pending: FuturesUnordered<Pending>,
    unconfirmed: Unconfirmed,
    check: Interval,
    /// The broker does not read from publishers at the moment.
    is_blocked: bool,
    /// Since when the broker has read from publishers.
    unblocked_at: Instant,
}

impl Publisher {
    pub(super) fn new(
        target: &Target,
        connection: BrokerConnection,
        messages: mpsc::Receiver<Message>,
        outcomes: Outcomes,
        stop: CancellationToken,
    ) -> Self {
        let config = &target.config;
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            connection,
            messages,
            outcomes,
            stop,
            size_limit: target.size_limit.clone(),
            exchange: config.exchange.name.as_str().into(),
            max_in_flight: config.max_in_flight,
            confirm_timeout: config.confirm_timeout,
            pending: FuturesUnordered::new(),
            unconfirmed: Unconfirmed::default(),
            check,
            is_blocked: false,
            unblocked_at: Instant::now(),
        }
    }

    /// Publishes until the sink is dropped.
    ///
    /// # Errors
    /// Why the connection can no longer be used.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        // The broker's limit may be another one by the next connection: only the error with which this
        // connection ends is kept.
        self.size_limit.clear();
        let ended = self.publish_all().await.map_err(|failure| Failure {
            why: format!("{}: {failure}", self.connection.server),
            ..failure.or(Cause::ConnectionLost)
        });
        self.connection.close().await;
        ended
    }

    async fn publish_all(&mut self) -> Result<(), Failure> {
        loop {
            let has_room = !self.is_blocked && self.unconfirmed.len() < self.max_in_flight;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                Some(event) = self.connection.events.next() => self.handle_event(event)?,
                Some(completed) = self.pending.next() => self.handle_completed(completed).await?,
                _ = self.check.tick() => self.check_overdue()?,
                message = self.messages.recv(), if has_room => match message {
                    Some(message) => self.publish(message),
                    None => return Ok(()),
                },
            }
        }
    }

    /// lapin sends a message when its future is first polled, and futures are polled in the order in which
    /// they were pushed.
    fn publish(&mut self, message: Message) {
        let identity = Identity::of(message.routing_key.as_str(), &message.payload);
        let id = message.delivery_id;
        self.unconfirmed.sent(id, identity, Instant::now());
        let channel = self.connection.channel.clone();
        let exchange = self.exchange.clone();
        self.pending.push(Box::pin(async move {
            Completed::Confirmation(id, publish(channel, exchange, message).await)
        }));
    }

    async fn handle_completed(&mut self, completed: Completed) -> Result<(), Failure> {
        match completed {
            Completed::Marker => {
                for (id, outcome) in self.unconfirmed.take_certain() {
                    self.outcomes.report(id, outcome);
                }
            }
            Completed::Confirmation(id, Ok(confirmation)) => self.confirmed(id, confirmation)?,
            Completed::Confirmation(_, Err(error)) => {
                let error = root_cause(error, &mut self.connection.events).await;
                return Err(self.failure(&error));
            }
        }
        if self.unconfirmed.needs_marker() {
            self.pending.push(Box::pin(async { Completed::Marker }));
        }
        Ok(())
    }

    fn confirmed(&mut self, id: DeliveryId, confirmation: Confirmation) -> Result<(), Failure> {
        if let Some((identity, why)) = confirmation.returned {
            self.unconfirmed
                .returned(identity, why)
                .map_err(|_| Failure::from("the broker returned a record that was not sent"))?;
        }
        self.unconfirmed
            .acknowledged(id, confirmation.acknowledgement);
        Ok(())
    }

    fn handle_event(&mut self, event: Event) -> Result<(), Failure> {
        let server = &self.connection.server;
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(server, "the broker blocks publishers: {reason}");
                self.is_blocked = true;
            }
            Event::ConnectionUnblocked => {
                tracing::info!(server, "the broker accepts records again");
                self.is_blocked = false;
                self.unblocked_at = Instant::now();
            }
            Event::Error(error) => return Err(self.failure(&error)),
            _ => {}
        }
        Ok(())
    }

    fn failure(&self, error: &lapin::Error) -> Failure {
        if let Some(bytes) = size_limit(error) {
            self.size_limit.set(bytes);
        }
        explain(error)
    }

    fn check_overdue(&self) -> Result<(), Failure> {
        let Some(sent_at) = self.unconfirmed.oldest() else {
            return Ok(());
        };
        let waited = sent_at.max(self.unblocked_at).elapsed();
        if self.is_blocked || waited < self.confirm_timeout {
            return Ok(());
        }
        let why = format!("no confirm within {:?}", self.confirm_timeout);
        Err(Failure::new(Cause::Timeout, why))
    }
}

/// Sends a message and waits for its confirmation.
async fn publish(
    channel: Channel,
    exchange: ShortString,
    message: Message,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let Message {
        routing_key,
        properties,
        payload,
        ..
    } = message;
    let sent = channel.basic_publish(exchange, routing_key, options, &payload, properties);
    let confirm = sent.await?;
    drop(payload);
    let confirmation = confirm.await?;
    let acknowledgement = if confirmation.is_ack() {
        Acknowledgement::Ack
    } else {
        Acknowledgement::Nack
    };
    let returned = confirmation.take_message().map(|returned| {
        let identity = Identity::of(returned.routing_key.as_str(), &returned.data);
        (identity, unroutable(&returned))
    });
    Ok(Confirmation {
        acknowledgement,
        returned,
    })
}

fn unroutable(returned: &BasicReturnMessage) -> String {
    let (code, text) = (returned.reply_code, &returned.reply_text);
    let (key, exchange) = (&returned.routing_key, &returned.exchange);
    format!("{code} {text}: nothing is bound to exchange `{exchange}` for routing key `{key}`")
}
