//! Sinks of type `amqp`: `RabbitMQ`, or another broker of AMQP 0-9-1.

mod server;

use std::time::Duration;

use url::Url;

pub use self::server::{AmqpServer, Login};
use super::destination::{DestinationCharset, RouteRules, literals, too_long};
use super::{Kind, RawKind, Sink};
use crate::config::ClientTls;
use crate::config::diagnostics::report::Report;
use crate::config::raw::{Names, RawClientTls, SecretSource, Span};
use crate::config::source::key_path::join;
use crate::config::template::Template;
use crate::config::validate::exposure::warn_literal;
use crate::config::validate::validator::Validator;

/// A limit of the protocol's: names and routing keys are "short strings".
const MAX_SHORT_STRING: usize = 255;

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);
const DEFAULT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_IN_FLIGHT: usize = 2000;
const DEFAULT_APP_ID: &str = "central-forwarder";
/// `RabbitMQ` counts its milliseconds with 32 bits, and closes the channel over more.
const MAX_EXPIRATION: Duration = Duration::from_secs(49 * 24 * 3600);
/// More would only be held by the broker.
const MAX_MAX_IN_FLIGHT: i64 = 20_000;

impl DestinationCharset {
    /// One word of a routing key: without the dot between words and the wildcards of bindings.
    pub const AMQP_ROUTING_KEY: Self = Self::new(|text| !text.contains(['.', '*', '#']));
}

/// `RabbitMQ`, or another broker of AMQP 0-9-1.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawAmqp {
    /// URLs of the brokers, `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps` for TLS. Of several, the
    /// first that answers is used. Required.
    url: Option<Names>,
    /// Password of the user that the URLs name. Default: the URLs hold it.
    password: Option<SecretSource>,
    /// Trusted certificate authorities, and the client certificate and key that the forwarder presents to
    /// the broker. Default: the system's authorities, no client certificate.
    tls: Option<RawClientTls>,
    /// SASL mechanism: `plain`, user and password; `external`, the client certificate names the user.
    #[schemars(extend("default" = "plain"))]
    auth_mechanism: Option<AmqpAuth>,
    /// Value of the property `app_id` of every message.
    #[schemars(extend("default" = "central-forwarder"))]
    app_id: Option<String>,
    /// Exchange to which messages are published. Default: the broker's default exchange, where a routing
    /// key is the name of a queue.
    exchange: Option<RawExchange>,
    /// Queue that keeps messages until their first consumer comes. Default: none is declared or checked.
    queue: Option<RawQueue>,
    /// Interval of AMQP heartbeats, by which each side notices that the other is gone; `1s` to `1h`.
    #[schemars(extend("default" = "30s"))]
    heartbeat: Option<Span>,
    /// Longest wait for a publisher confirm, `1s` to `1h`. After it the connection is closed, and what is
    /// unconfirmed is sent again.
    #[schemars(extend("default" = "30s"))]
    confirm_timeout: Option<Span>,
    /// Number of messages that may be unconfirmed at a time, 1 to 20000.
    #[schemars(extend("default" = 2000))]
    max_in_flight: Option<i64>,
    /// How long a queue keeps a message, `49d` at most. Default: without limit.
    expiration: Option<Span>,
    /// Priority of messages, for queues that have priorities, 0 to 255. Default: none.
    priority: Option<i64>,
}

/// Exchange to which messages are published.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawExchange {
    /// Name of the exchange. Required.
    name: Option<String>,
    /// Type of the exchange, by which it chooses queues.
    #[schemars(extend("default" = "topic"))]
    kind: Option<ExchangeKind>,
    /// `true`: the forwarder declares the exchange, durable, if it does not exist; `false`: it must exist.
    #[schemars(extend("default" = false))]
    declare: Option<bool>,
}

/// Queue that keeps messages until their first consumer comes.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawQueue {
    /// Name of the queue. Required.
    name: Option<String>,
    /// `true`: the forwarder declares the queue, durable, if it does not exist; `false`: it must exist.
    #[schemars(extend("default" = false))]
    declare: Option<bool>,
    /// Binding key by which the forwarder binds the queue to the exchange. Default: `#`, which takes every
    /// message, if the queue is declared and there is an exchange; otherwise the forwarder does not bind it.
    binding: Option<String>,
}

/// `RabbitMQ`, or another broker of AMQP 0-9-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amqp {
    /// Tried in this order, until one answers; never empty.
    pub servers: Vec<AmqpServer>,
    pub auth: AmqpAuth,
    /// With a certificate wherever `auth` needs one.
    pub tls: ClientTls,
    pub exchange: Exchange,
    pub queue: Option<Queue>,
    pub heartbeat: Duration,
    /// The longest time that a record may be unconfirmed before the connection is given up.
    pub confirm_timeout: Duration,
    /// Records that may be unconfirmed at a time.
    pub max_in_flight: usize,
    /// How long the broker may keep a record in a queue; `None`: without limit.
    pub expiration: Option<Duration>,
    pub priority: Option<u8>,
    /// The property `app_id` of every message.
    pub app_id: String,
}

/// The SASL mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AmqpAuth {
    /// User and password.
    #[default]
    Plain,
    /// The client certificate names the user.
    External,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Empty: the broker's default exchange, where a routing key is the name of a queue.
    pub name: String,
    pub kind: ExchangeKind,
    /// Declared where it does not exist; `false`: it must exist.
    pub declare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    #[default]
    Topic,
    Direct,
    Fanout,
    Headers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    /// Declared, durable, where it does not exist; `false`: it must exist.
    pub declare: bool,
    /// The key by which it is bound to the exchange; `None`: the forwarder does not bind it.
    pub binding: Option<String>,
}

impl RawKind for RawAmqp {
    const TYPE: &'static str = "amqp";

    fn route_rules(&self) -> RouteRules {
        RouteRules {
            check_destination: Some(check_routing_key),
            has_keys: false,
            only_protobuf: false,
        }
    }

    fn validate(self, path: &str, _: &str, validator: &mut Validator<'_>) -> Option<Sink> {
        let advice = "write url = \"amqp://USER:PASSWORD@HOST:5672/VHOST\"";
        let urls = validator.report.require(path, "url", self.url, advice);
        let password = match self.password {
            Some(source) => Some(validator.secret(&join(path, "password"), source)?),
            None => None,
        };
        let auth = self.auth_mechanism.unwrap_or_default();
        let urls = urls?.0;
        let servers = match auth {
            AmqpAuth::Plain => servers(path, &urls, validator, |url| {
                server::login(url, password.as_ref())
            }),
            AmqpAuth::External => servers(path, &urls, validator, server::no_login),
        };
        let tls = validator.client_tls(&join(path, "tls"), self.tls.unwrap_or_default());
        if auth == AmqpAuth::External {
            check_external(path, &servers, &tls, password.is_some(), validator);
        }
        let exchange = exchange(&join(path, "exchange"), self.exchange, validator);
        let queue = queue(&join(path, "queue"), self.queue, &exchange, validator);
        let in_flight = self.max_in_flight;
        let in_flight = validator.number(path, "max_in_flight", in_flight, 1, MAX_MAX_IN_FLIGHT);
        let priority = validator.number(path, "priority", self.priority, 0, i64::from(u8::MAX));
        Some(Sink::Amqp(Box::new(Amqp {
            servers,
            auth,
            tls,
            exchange,
            queue,
            heartbeat: span(
                path,
                "heartbeat",
                self.heartbeat,
                DEFAULT_HEARTBEAT,
                validator,
            ),
            confirm_timeout: span(
                path,
                "confirm_timeout",
                self.confirm_timeout,
                DEFAULT_CONFIRM_TIMEOUT,
                validator,
            ),
            max_in_flight: in_flight
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(DEFAULT_MAX_IN_FLIGHT),
            expiration: expiration(&join(path, "expiration"), self.expiration, validator),
            priority: priority.and_then(|number| u8::try_from(number).ok()),
            app_id: app_id(&join(path, "app_id"), self.app_id, validator),
        })))
    }
}

impl Kind for Amqp {
    fn charset(&self) -> DestinationCharset {
        DestinationCharset::AMQP_ROUTING_KEY
    }

    fn warn(&self, path: &str, report: &mut Report) {
        let own_key = join(path, "password");
        let key = match report.tree.find(&own_key) {
            Some(_) => own_key,
            None => join(path, "url"),
        };
        // The password that every RabbitMQ begins with is no secret.
        let mut secrets = self.servers.iter().map(|server| &server.login.password);
        if let Some(secret) = secrets.find(|secret| secret.expose() != "guest") {
            warn_literal(&key, secret, report);
        }
    }
}

fn check_routing_key(destination: &Template) -> Vec<String> {
    let wildcard = literals(destination)
        .flat_map(str::chars)
        .find(|c| matches!(c, '*' | '#'));
    let wildcard = wildcard.map(|wildcard| {
        format!("`{wildcard}` belongs into a binding, not into a routing key (remove it)")
    });
    let too_long = too_long(destination, MAX_SHORT_STRING, "bytes");
    wildcard.into_iter().chain(too_long).collect()
}

fn servers(
    path: &str,
    urls: &[String],
    validator: &mut Validator<'_>,
    login: impl Fn(&Url) -> Result<Login, String>,
) -> Vec<AmqpServer> {
    let path = join(path, "url");
    let report = &mut *validator.report;
    if urls.is_empty() {
        report.missing(&path, &path, "is empty (name at least one broker)");
    }
    let mut servers = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        match server::server(url, &login) {
            Ok(server) => servers.push(server),
            Err(why) => report.error(&report.element(&path, index), why),
        }
    }
    servers
}

/// The SASL mechanism EXTERNAL needs a certificate, and nothing beside it.
fn check_external(
    path: &str,
    servers: &[AmqpServer],
    tls: &ClientTls,
    has_password: bool,
    validator: &mut Validator<'_>,
) {
    let report = &mut *validator.report;
    if has_password {
        let text = "has no meaning with auth_mechanism = \"external\" (leave it out)";
        report.error(&join(path, "password"), text);
    }
    let key = join(path, "auth_mechanism");
    if servers.iter().any(|server| !server.tls) {
        let text = "`external` is for TLS only (write amqps:// in each url)";
        report.error(&key, text);
    }
    if tls.identity.is_none() {
        let text = "`external` needs a client certificate (write tls = { certificate_file = \"PATH\", \
                    key_file = \"PATH\" })";
        report.error(&key, text);
    }
}

fn exchange(path: &str, raw: Option<RawExchange>, validator: &mut Validator<'_>) -> Exchange {
    let Some(raw) = raw else {
        return Exchange::default();
    };
    let advice = "write name = \"central\"";
    let name = validator.report.require(path, "name", raw.name, advice);
    if let Some(name) = &name {
        check_short_name(&join(path, "name"), name, validator);
        if name.starts_with("amq.") && raw.declare == Some(true) {
            let text = "is the broker's own and cannot be declared (write declare = false)";
            validator.report.error(&join(path, "name"), text);
        }
    }
    Exchange {
        name: name.unwrap_or_default(),
        kind: raw.kind.unwrap_or_default(),
        declare: raw.declare.unwrap_or(false),
    }
}

fn queue(
    path: &str,
    raw: Option<RawQueue>,
    exchange: &Exchange,
    validator: &mut Validator<'_>,
) -> Option<Queue> {
    let raw = raw?;
    let advice = "write name = \"central\"";
    let name = validator.report.require(path, "name", raw.name, advice)?;
    check_short_name(&join(path, "name"), &name, validator);
    if let Some(binding) = &raw.binding {
        let path = join(path, "binding");
        if binding.len() > MAX_SHORT_STRING {
            let text = format!("is longer than {MAX_SHORT_STRING} bytes (shorten it)");
            validator.report.error(&path, text);
        }
        if exchange.name.is_empty() {
            let text = "has no meaning without an exchange (leave it out, or name an exchange)";
            validator.report.error(&path, text);
        }
    }
    let declare = raw.declare.unwrap_or(false);
    let everything = (declare && !exchange.name.is_empty()).then(|| "#".to_owned());
    Some(Queue {
        name,
        declare,
        binding: raw.binding.or(everything),
    })
}

fn app_id(path: &str, raw: Option<String>, validator: &mut Validator<'_>) -> String {
    let Some(id) = raw else {
        return DEFAULT_APP_ID.to_owned();
    };
    check_short_name(path, &id, validator);
    id
}

fn check_short_name(path: &str, name: &str, validator: &mut Validator<'_>) {
    if name.is_empty() || name.len() > MAX_SHORT_STRING {
        let text = format!("is not a name (use 1 to {MAX_SHORT_STRING} bytes)");
        validator.report.error(path, text);
    }
}

/// A duration from a second to an hour.
fn span(
    path: &str,
    key: &str,
    raw: Option<Span>,
    default: Duration,
    validator: &mut Validator<'_>,
) -> Duration {
    let span = raw.map_or(default, |Span(span)| span);
    if span < Duration::from_secs(1) || span > Duration::from_secs(3600) {
        let text = "is out of range (write 1s to 1h)";
        validator.report.error(&join(path, key), text);
    }
    span
}

fn expiration(path: &str, raw: Option<Span>, validator: &mut Validator<'_>) -> Option<Duration> {
    let Span(span) = raw?;
    if span.is_zero() || span > MAX_EXPIRATION {
        let text = "is out of range (write 1ms to 49d)";
        validator.report.error(path, text);
    }
    Some(span)
}
