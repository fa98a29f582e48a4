//! What works, and is probably not what was meant.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use url::{Host, Url};

use crate::config::diagnostics::Place;
use crate::config::diagnostics::report::Report;
use crate::config::secret::{Origin, Secret};
use crate::config::source::layers::join;
use crate::config::{
    Access, Account, Admin, Config, Kafka, Mqtt, MqttVersion, PasswordMechanism, Proxy, Qos, Route,
    Sasl, Selector, Sink, Topic,
};

/// Any user of the machine may read the file.
const WORLD_READABLE: u32 = 0o004;

pub(crate) fn warn(config: &Config, report: &mut Report) {
    if let Some(admin) = &config.admin {
        warn_admin(admin, report);
    }
    for (name, account) in &config.accounts {
        warn_account(config, name, account, report);
    }
    for (name, sink) in &config.sinks {
        warn_sink(config, name, sink, report);
    }
    report.warnings.extend(config.schemas.find().warnings);
    for (index, route) in config.routes.iter().enumerate() {
        let mut accounts = config.accounts.iter();
        if route.internal.is_empty()
            && !accounts.any(|(name, account)| {
                let mut topics = account.topics.iter();
                topics.any(|topic| takes(route, name, topic.name()))
            })
        {
            let path = report.element("routes", index);
            report.warn(
                &path,
                "nothing can match it (its accounts have none of its topics)",
            );
        }
    }
}

fn warn_admin(admin: &Admin, report: &mut Report) {
    if let Some(token) = &admin.token {
        warn_literal("admin.token", token, report);
    }
    if !admin.listen.ip().is_loopback() {
        let text = if admin.token.is_some() {
            "is beyond this machine, and the token travels unencrypted (let a proxy with TLS stand \
             before it)"
        } else {
            "whoever can reach this address can read what runs here (set admin.token, or listen on \
             127.0.0.1)"
        };
        report.warn("admin.listen", text);
    }
}

fn warn_account(config: &Config, name: &str, account: &Account, report: &mut Report) {
    let path = join("accounts", name);
    for topic in account.topics.iter().map(Topic::name) {
        if !config.routes.iter().any(|route| takes(route, name, topic)) {
            let text = format!("no route takes `{topic}` (add a route, or leave it out)");
            report.warn(&join(&path, "topics"), text);
        }
    }
    if account.tls.insecure {
        let path = join(&join(&path, "tls"), "verify");
        report.warn(
            &path,
            "anybody on the way can pose as Central and learn the key (set ca_file instead)",
        );
    }
    if is_local(&account.endpoint) {
        return;
    }
    let (secret, travels) = match &account.access {
        Access::Classic(classic) => {
            warn_literal(&join(&path, "key"), &classic.key, report);
            ("the key", account.endpoint.scheme() == "ws")
        }
        Access::New(new) => {
            warn_literal(&join(&path, "client_secret"), &new.client_secret, report);
            if new.token_url.scheme() == "http" && !is_local(&new.token_url) {
                let text = "the client secret travels unencrypted (use https)";
                report.warn(&join(&path, "token_url"), text);
            }
            ("the token", account.endpoint.scheme() == "ws")
        }
    };
    if travels {
        let text = format!("{secret} travels unencrypted (use wss)");
        report.warn(&join(&path, "endpoint"), text);
    }
    if let Proxy::Url(url) = &account.proxy
        && url::Url::parse(url.expose()).is_ok_and(|url| url.password().is_some())
    {
        warn_literal(&join(&path, "proxy"), url, report);
    }
}

fn warn_sink(config: &Config, name: &str, sink: &Sink, report: &mut Report) {
    let path = join("sinks", name);
    if !config.routes.iter().any(|route| route.sink == name) {
        report.warn(&path, "no route leads here (add a route, or leave it out)");
    }
    match sink {
        Sink::Kafka(kafka) => warn_kafka(&path, kafka, report),
        Sink::Amqp(amqp) => {
            let own_key = join(&path, "password");
            let key = match report.tree.find(&own_key) {
                Some(_) => own_key,
                None => join(&path, "url"),
            };
            // The password that every RabbitMQ begins with is no secret.
            let mut secrets = amqp.servers.iter().map(|server| &server.login.password);
            if let Some(secret) = secrets.find(|secret| secret.expose() != "guest") {
                warn_literal(&key, secret, report);
            }
        }
        Sink::Mqtt(mqtt) => warn_mqtt(&path, mqtt, report),
        Sink::Stdout | Sink::File(_) => {}
    }
}

fn warn_kafka(path: &str, kafka: &Kafka, report: &mut Report) {
    let options = join(path, "options");
    for (option, value) in &kafka.options {
        if option.contains("password") || option.contains("secret") || option == "ssl.key.pem" {
            warn_literal(&join(&options, option), value, report);
        }
        let weaker = match option.as_str() {
            "acks" | "request.required.acks" => !matches!(value.expose(), "all" | "-1"),
            "enable.idempotence" => value.expose() == "false",
            _ => false,
        };
        if weaker {
            report.warn(
                &join(&options, option),
                "weakens what is promised: records may be lost, or change their order (leave it out)",
            );
        }
    }
    let sasl = join(path, "sasl");
    let secret = match &kafka.sasl {
        Some(Sasl::Password { password, .. }) => Some(("password", password)),
        Some(Sasl::Token { client_secret, .. }) => Some(("client_secret", client_secret)),
        None => None,
    };
    if let Some((key, secret)) = secret {
        warn_literal(&join(&sasl, key), secret, report);
    }
    if let Some(registry) = &kafka.schema_registry
        && let Some(login) = &registry.login
        && !is_local(&registry.url)
    {
        let registry_path = join(path, "schema_registry");
        warn_literal(&join(&registry_path, "password"), &login.password, report);
        if registry.url.scheme() == "http" {
            let text = "the password travels unencrypted (use https)";
            report.warn(&join(&registry_path, "url"), text);
        }
    }
    let is_plain = matches!(
        &kafka.sasl,
        Some(
            Sasl::Password {
                mechanism: PasswordMechanism::Plain,
                ..
            } | Sasl::Token { .. }
        )
    );
    let is_encrypted = kafka.tls.is_some() || kafka.options.contains_key("security.protocol");
    if is_plain && !is_encrypted {
        report.warn(
            &join(&sasl, "mechanism"),
            "the password or token travels unencrypted (write tls = {})",
        );
    }
}

fn warn_mqtt(path: &str, mqtt: &Mqtt, report: &mut Report) {
    if mqtt.qos == Qos::AtMostOnce {
        let text = "the broker confirms nothing: what is on its way when a connection breaks is lost (use qos = 1)";
        report.warn(&join(path, "qos"), text);
    } else if mqtt.version == MqttVersion::V3 {
        let text = "the broker cannot refuse a record: it may confirm one that its access rules forbid or that is too large, and drop it (use version = 5)";
        report.warn(&join(path, "version"), text);
    }
    if is_local(&mqtt.url) {
        return;
    }
    if let Some(password) = &mqtt.password {
        warn_literal(&join(path, "password"), password, report);
        if !mqtt.is_encrypted() {
            let text = "the password travels unencrypted (use mqtts)";
            report.warn(&join(path, "url"), text);
        }
    }
}

fn warn_literal(path: &str, secret: &Secret, report: &mut Report) {
    let Place::Spot { file, .. } = report.place(path) else {
        return;
    };
    if *secret.origin() == Origin::Literal && is_world_readable(file) {
        let text =
            "stands in a file that every user can read (write { file = \"PATH\" }, or chmod o-r)";
        report.warn(path, text);
    }
}

fn takes(route: &Route, account: &str, topic: &str) -> bool {
    let selects = |selector: &Selector, name: &str| match selector {
        Selector::Any => true,
        Selector::Named(names) => names.contains(name),
    };
    selects(&route.accounts, account) && selects(&route.topics, topic)
}

fn is_world_readable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.permissions().mode() & WORLD_READABLE != 0)
}

/// A simulator on this machine has no secrets to keep.
fn is_local(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // A scheme that the URL standard does not know has no addresses, only names.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        }
        None => false,
    }
}
