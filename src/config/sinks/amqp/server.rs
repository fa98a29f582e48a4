//! The URLs of AMQP brokers. No message shows one: it may hold a password.

use url::Url;

use crate::config::secret::Secret;

const ADVICE: &str = "(write amqp://USER:PASSWORD@HOST:5672/VHOST)";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpServer {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub vhost: String,
    pub login: Login,
}

/// User and password; both empty where a certificate stands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// Parses a URL, and takes user and password from it by `login`.
pub(super) fn server(
    text: &str,
    login: impl Fn(&Url) -> Result<Login, String>,
) -> Result<AmqpServer, String> {
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

pub(super) fn login(url: &Url, password: Option<&Secret>) -> Result<Login, String> {
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

pub(super) fn no_login(url: &Url) -> Result<Login, String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user, and with auth_mechanism = \"external\" the certificate names it (leave it out)".to_owned());
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
