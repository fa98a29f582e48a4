//! What a sink of type `amqp` must be.

use std::time::Duration;

use url::Url;

use crate::config::raw::{self, Span};
use crate::config::secret::Secret;
use crate::config::source::layers::join;
use crate::config::validate::Tables;
use crate::config::{Amqp, AmqpAuth, AmqpServer, ClientTls, Exchange, ExchangeKind, Login, Queue};

/// A limit of the protocol's: names and routing keys are "short strings".
pub(crate) const MAX_SHORT_STRING: usize = 255;

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);
const DEFAULT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_IN_FLIGHT: usize = 2000;
const DEFAULT_APP_ID: &str = "central-forwarder";
/// `RabbitMQ` counts its milliseconds with 32 bits, and closes the channel over more.
const MAX_EXPIRATION: Duration = Duration::from_secs(49 * 24 * 3600);
/// More would only be held by the broker.
const MAX_MAX_IN_FLIGHT: i64 = 20_000;

const ADVICE: &str = "(write amqp://USER:PASSWORD@HOST:5672/VHOST)";

impl Tables<'_> {
    pub(crate) fn amqp(&mut self, path: &str, raw: raw::Sink) -> Option<Amqp> {
        let advice = "write url = \"amqp://USER:PASSWORD@HOST:5672/VHOST\"";
        let urls = self.report.require(path, "url", raw.url, advice);
        let password = match raw.password {
            Some(source) => Some(self.secret(&join(path, "password"), source)?),
            None => None,
        };
        let auth = raw.auth_mechanism.unwrap_or_default();
        let servers = match auth {
            AmqpAuth::Plain => self.servers(path, &urls?.0, |url| login(url, password.as_ref())),
            AmqpAuth::External => self.servers(path, &urls?.0, no_login),
        };
        let tls = self.client_tls(&join(path, "tls"), raw.tls.unwrap_or_default());
        if auth == AmqpAuth::External {
            self.external(path, &servers, &tls, password.is_some());
        }
        let exchange = self.exchange(&join(path, "exchange"), raw.exchange);
        let queue = self.queue(&join(path, "queue"), raw.queue, &exchange);
        if queue.as_ref().is_some_and(|queue| queue.binding.is_some()) && exchange.name.is_empty() {
            self.report.mistake(
                &join(&join(path, "queue"), "binding"),
                "has no meaning without an exchange (leave it out, or name an exchange)",
            );
        }
        Some(Amqp {
            servers,
            auth,
            tls,
            exchange,
            queue,
            heartbeat: self.span(path, "heartbeat", raw.heartbeat, DEFAULT_HEARTBEAT),
            confirm_timeout: self.span(
                path,
                "confirm_timeout",
                raw.confirm_timeout,
                DEFAULT_CONFIRM_TIMEOUT,
            ),
            max_in_flight: self
                .number(
                    path,
                    "max_in_flight",
                    raw.max_in_flight,
                    1,
                    MAX_MAX_IN_FLIGHT,
                )
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(DEFAULT_MAX_IN_FLIGHT),
            expiration: self.expiration(&join(path, "expiration"), raw.expiration),
            priority: self
                .number(path, "priority", raw.priority, 0, i64::from(u8::MAX))
                .and_then(|number| u8::try_from(number).ok()),
            app_id: self.app_id(&join(path, "app_id"), raw.app_id),
        })
    }

    /// What the SASL mechanism EXTERNAL needs: a certificate, and nothing beside it.
    fn external(
        &mut self,
        path: &str,
        servers: &[AmqpServer],
        tls: &ClientTls,
        has_password: bool,
    ) {
        if has_password {
            let text = "has no meaning with auth_mechanism = \"external\" (leave it out)";
            self.report.mistake(&join(path, "password"), text);
        }
        let key = join(path, "auth_mechanism");
        if servers.iter().any(|server| !server.tls) {
            let text = "`external` is for TLS only (write amqps:// in each url)";
            self.report.mistake(&key, text);
        }
        if tls.identity.is_none() {
            let text = "`external` proves who we are by a certificate (write tls = \
                        { certificate_file = \"PATH\", key_file = \"PATH\" })";
            self.report.mistake(&key, text);
        }
    }

    fn app_id(&mut self, path: &str, raw: Option<String>) -> String {
        let Some(id) = raw else {
            return DEFAULT_APP_ID.to_owned();
        };
        self.short_name(path, &id);
        id
    }

    fn servers(
        &mut self,
        path: &str,
        urls: &[String],
        login: impl Fn(&Url) -> Result<Login, String>,
    ) -> Vec<AmqpServer> {
        let path = join(path, "url");
        if urls.is_empty() {
            self.report
                .missing(&path, &path, "is empty (name at least one broker)");
        }
        let mut servers = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            match server(url, &login) {
                Ok(server) => servers.push(server),
                Err(why) => {
                    let at = self.report.element(&path, index);
                    self.report.mistake(&at, why);
                }
            }
        }
        servers
    }

    fn exchange(&mut self, path: &str, raw: Option<raw::Exchange>) -> Exchange {
        let Some(raw) = raw else {
            return Exchange::default();
        };
        let name = self
            .report
            .require(path, "name", raw.name, "write name = \"central\"");
        if let Some(name) = &name {
            self.short_name(&join(path, "name"), name);
            if name.starts_with("amq.") && raw.declare == Some(true) {
                let text = "is the broker's own and cannot be declared (write declare = false)";
                self.report.mistake(&join(path, "name"), text);
            }
        }
        Exchange {
            name: name.unwrap_or_default(),
            kind: raw.kind.unwrap_or(ExchangeKind::Topic),
            declare: raw.declare.unwrap_or(false),
        }
    }

    fn queue(&mut self, path: &str, raw: Option<raw::Queue>, exchange: &Exchange) -> Option<Queue> {
        let raw = raw?;
        let name = self
            .report
            .require(path, "name", raw.name, "write name = \"central\"")?;
        self.short_name(&join(path, "name"), &name);
        if let Some(binding) = &raw.binding
            && binding.len() > MAX_SHORT_STRING
        {
            let text = format!("is longer than {MAX_SHORT_STRING} bytes (shorten it)");
            self.report.mistake(&join(path, "binding"), text);
        }
        let declare = raw.declare.unwrap_or(false);
        let everything = (declare && !exchange.name.is_empty()).then(|| "#".to_owned());
        Some(Queue {
            name,
            declare,
            binding: raw.binding.or(everything),
        })
    }

    fn short_name(&mut self, path: &str, name: &str) {
        if name.is_empty() || name.len() > MAX_SHORT_STRING {
            let text = format!("is not a name (use 1 to {MAX_SHORT_STRING} bytes)");
            self.report.mistake(path, text);
        }
    }

    /// A duration from a second to an hour.
    fn span(&mut self, path: &str, key: &str, raw: Option<Span>, default: Duration) -> Duration {
        let span = raw.map_or(default, |Span(span)| span);
        if span < Duration::from_secs(1) || span > Duration::from_secs(3600) {
            self.report
                .mistake(&join(path, key), "is out of range (write 1s to 1h)");
        }
        span
    }

    fn expiration(&mut self, path: &str, raw: Option<Span>) -> Option<Duration> {
        let Span(span) = raw?;
        if span.is_zero() || span > MAX_EXPIRATION {
            self.report
                .mistake(path, "is out of range (write 1ms to 49d)");
        }
        Some(span)
    }

    pub(crate) fn number(
        &mut self,
        path: &str,
        key: &str,
        raw: Option<i64>,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        let number = raw?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let text = format!("is out of range (write {least} to {most})");
        self.report.mistake(&join(path, key), text);
        None
    }
}

/// The messages never show the URL: it may hold a password.
fn server(text: &str, login: impl Fn(&Url) -> Result<Login, String>) -> Result<AmqpServer, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error} {ADVICE}"))?;
    let tls = match url.scheme() {
        "amqp" => false,
        "amqps" => true,
        other => return Err(format!("is a URL of scheme `{other}` {ADVICE}")),
    };
    let host = url
        .host_str()
        .map(|host| host.trim_start_matches('[').trim_end_matches(']'))
        .filter(|host| !host.is_empty())
        .ok_or_else(|| format!("names no host {ADVICE}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "has a part after `?` or `#` (leave it out; heartbeat and others are keys of the sink)"
                .to_owned(),
        );
    }
    let path = url.path().strip_prefix('/');
    if path.is_some_and(|path| path.contains('/')) {
        return Err("has a virtual host with a `/` in it (write it as %2f)".to_owned());
    }
    let vhost = path.filter(|path| !path.is_empty()).map_or_else(
        || Ok("/".to_owned()),
        |path| percent_decoded("virtual host", path),
    )?;
    Ok(AmqpServer {
        tls,
        host: host.to_owned(),
        port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
        vhost,
        login: login(&url)?,
    })
}

fn login(url: &Url, password: Option<&Secret>) -> Result<Login, String> {
    let user = match url.username() {
        "" => "guest".to_owned(),
        user => percent_decoded("user", user)?,
    };
    let password = match (url.password(), password) {
        (Some(_), Some(_)) => {
            return Err("holds a password, and there is `password` (leave one out)".to_owned());
        }
        (None, Some(password)) => password.clone(),
        (Some(password), None) => Secret::literal(percent_decoded("password", password)?),
        (None, None) if url.username().is_empty() => Secret::literal("guest"),
        (None, None) => return Err("names a user without a password (add `password`)".to_owned()),
    };
    Ok(Login { user, password })
}

fn no_login(url: &Url) -> Result<Login, String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user, and the certificate says who we are (leave it out)".to_owned());
    }
    Ok(Login {
        user: String::new(),
        password: Secret::literal(""),
    })
}

fn percent_decoded(what: &str, text: &str) -> Result<String, String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| format!("has a {what} that is not UTF-8 (write other bytes than these)"))
}
