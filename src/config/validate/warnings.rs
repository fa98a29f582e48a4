//! What works, and is probably not what was meant.

use super::exposure::{is_local, warn_literal};
use crate::config::diagnostics::report::Report;
use crate::config::source::key_path::join;
use crate::config::{Access, Account, Admin, Config, Proxy, Route, Selector, Sink, Topic};

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
    sink.warn(&path, report);
}

fn takes(route: &Route, account: &str, topic: &str) -> bool {
    let selects = |selector: &Selector, name: &str| match selector {
        Selector::Any => true,
        Selector::Named(names) => names.contains(name),
    };
    selects(&route.accounts, account) && selects(&route.topics, topic)
}
