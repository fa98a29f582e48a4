//! The task that publishes, and takes the broker's answers.

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

use super::connect::Link;
use super::explain::{cause_of, explain, size_limit};
use super::unconfirmed::{Answer, Identity, Unsettled};
use super::{Cause, DeliveryId, Failure, Message, Outcomes, Peer, SizeLimit};

/// How often it is asked whether a confirm is overdue.
const LOOK: Duration = Duration::from_millis(500);

type Waiting = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// What comes out of the queue of confirmations.
enum Seen {
    Answer(DeliveryId, lapin::Result<Verdict>),
    /// See [`Unsettled`].
    Marker,
}

/// The broker's word, and the message that came with it, which need not be the same one.
struct Verdict {
    answer: Answer,
    returned: Option<(Identity, String)>,
}

pub(super) struct Publisher {
    link: Link,
    messages: mpsc::Receiver<Message>,
    outcomes: Outcomes,
    /// Cancelled when the sink is dropped.
    stop: CancellationToken,
    limit: SizeLimit,
    exchange: ShortString,
    max_in_flight: usize,
    confirm_timeout: Duration,
    waiting: FuturesUnordered<Waiting>,
    unsettled: Unsettled,
    look: Interval,
    /// The broker does not read from publishers at the moment.
    blocked: bool,
    /// No confirm was to be expected before.
    patient_since: Instant,
}

impl Publisher {
    pub(super) fn new(
        peer: &Peer,
        link: Link,
        messages: mpsc::Receiver<Message>,
        outcomes: Outcomes,
        stop: CancellationToken,
    ) -> Self {
        let config = &peer.config;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            link,
            messages,
            outcomes,
            stop,
            limit: peer.limit.clone(),
            exchange: config.exchange.name.as_str().into(),
            max_in_flight: config.max_in_flight,
            confirm_timeout: config.confirm_timeout,
            waiting: FuturesUnordered::new(),
            unsettled: Unsettled::default(),
            look,
            blocked: false,
            patient_since: Instant::now(),
        }
    }

    /// Publishes until the sink is dropped.
    ///
    /// # Errors
    /// Why the connection can no longer be used.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        // What the broker said of its limit before, it may have changed by the next connection:
        // only the word with which this one ends is kept.
        self.limit.forget();
        let ended = self.publish_all().await.map_err(|failure| Failure {
            why: format!("{}: {failure}", self.link.server),
            ..failure.or(Cause::ConnectionLost)
        });
        self.link.close().await;
        ended
    }

    async fn publish_all(&mut self) -> Result<(), Failure> {
        loop {
            let has_room = !self.blocked && self.unsettled.len() < self.max_in_flight;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                Some(event) = self.link.events.next() => self.heard(event)?,
                Some(seen) = self.waiting.next() => self.saw(seen).await?,
                _ = self.look.tick() => self.look_for_overdue()?,
                message = self.messages.recv(), if has_room => match message {
                    Some(message) => self.publish(message),
                    None => return Ok(()),
                },
            }
        }
    }

    /// lapin takes a message when its future is first polled, and those that were pushed are polled
    /// in their order.
    fn publish(&mut self, message: Message) {
        let identity = Identity::of(message.routing_key.as_str(), &message.payload);
        self.unsettled
            .sent(message.delivery_id, identity, Instant::now());
        let (channel, exchange) = (self.link.channel.clone(), self.exchange.clone());
        self.waiting.push(Box::pin(async move {
            let delivery_id = message.delivery_id;
            Seen::Answer(delivery_id, confirmed(channel, exchange, message).await)
        }));
    }

    async fn saw(&mut self, seen: Seen) -> Result<(), Failure> {
        match seen {
            Seen::Marker => {
                for (delivery_id, outcome) in self.unsettled.marker_came_out() {
                    self.outcomes.report(delivery_id, outcome);
                }
            }
            Seen::Answer(delivery_id, Ok(verdict)) => self.answered(delivery_id, verdict)?,
            Seen::Answer(_, Err(error)) => return Err(self.cause(error).await),
        }
        if self.unsettled.wants_marker() {
            self.waiting.push(Box::pin(async { Seen::Marker }));
        }
        Ok(())
    }

    fn answered(&mut self, delivery_id: DeliveryId, verdict: Verdict) -> Result<(), Failure> {
        if let Some((identity, why)) = verdict.returned {
            self.unsettled
                .came_back(identity, why)
                .map_err(|_| Failure::from("a record came back that was not sent"))?;
        }
        self.unsettled.answered(delivery_id, verdict.answer);
        Ok(())
    }

    fn heard(&mut self, event: Event) -> Result<(), Failure> {
        let server = &self.link.server;
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(server, "the broker blocks publishers: {reason}");
                self.blocked = true;
            }
            Event::ConnectionUnblocked => {
                tracing::info!(server, "the broker takes records again");
                self.blocked = false;
                self.patient_since = Instant::now();
            }
            Event::Error(error) => return Err(self.reason(&error)),
            _ => {}
        }
        Ok(())
    }

    fn reason(&self, error: &lapin::Error) -> Failure {
        if let Some(bytes) = size_limit(error) {
            self.limit.learn(bytes);
        }
        explain(error)
    }

    fn look_for_overdue(&self) -> Result<(), Failure> {
        let Some(since) = self.unsettled.oldest() else {
            return Ok(());
        };
        let waited = since.max(self.patient_since).elapsed();
        if self.blocked || waited < self.confirm_timeout {
            return Ok(());
        }
        let why = format!("no confirm within {:?}", self.confirm_timeout);
        Err(Failure::new(Cause::Timeout, why))
    }

    async fn cause(&mut self, error: lapin::Error) -> Failure {
        let error = cause_of(error, &mut self.link.events).await;
        self.reason(&error)
    }
}

async fn confirmed(
    channel: Channel,
    exchange: ShortString,
    message: Message,
) -> lapin::Result<Verdict> {
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
    let answer = if confirmation.is_ack() {
        Answer::Ack
    } else {
        Answer::Nack
    };
    let returned = confirmation.take_message().map(|returned| {
        let identity = Identity::of(returned.routing_key.as_str(), &returned.data);
        (identity, unroutable(&returned))
    });
    Ok(Verdict { answer, returned })
}

fn unroutable(returned: &BasicReturnMessage) -> String {
    let (code, text) = (returned.reply_code, &returned.reply_text);
    let (key, exchange) = (&returned.routing_key, &returned.exchange);
    format!("{code} {text}: nothing is bound to exchange `{exchange}` for routing key `{key}`")
}
