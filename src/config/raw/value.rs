//! Values that have a form of their own: durations, sizes, URLs, lists that may be one alone.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use url::Url;

use crate::config::template::Template;
use crate::config::{Literal, units};

/// A duration such as `30s`.
#[derive(Debug)]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes, such as `64 MiB`.
#[derive(Debug)]
pub(crate) struct Size(pub(crate) u64);

/// A `ws` or `wss` URL.
#[derive(Debug)]
pub(crate) struct Endpoint(pub(crate) Url);

/// `IP:PORT`.
#[derive(Debug)]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// A list of strings; one alone may stand without brackets.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a duration, such as \"30s\"";
        parsed(deserializer, wanted, units::duration).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as \"64 MiB\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
                self.visit_str(&bytes.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                units::size(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a template, such as \"central.{topic}\"";
        parsed(deserializer, wanted, Self::parse)
    }
}

/// A number that a check takes. The check is part of the visitor, so that what it says has the value's place.
pub(crate) fn number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    check: fn(i64) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Number<T>(fn(i64) -> Result<T, String>);
    impl<T> Visitor<'_> for Number<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            (self.0)(number).map_err(E::custom)
        }
    }
    deserializer.deserialize_i64(Number(check))
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a URL, such as \"wss://HOST/streaming/api\"";
        parsed(deserializer, wanted, endpoint).map(Self)
    }
}

/// The messages never show the URL: it may hold a password.
fn endpoint(text: &str) -> Result<Url, String> {
    let advice = "(write wss://HOST/streaming/api)";
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error} {advice}"))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(format!("is a URL of scheme `{}` {advice}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password (use `username` and `key`)".to_owned());
    }
    Ok(url)
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "an address, such as \"127.0.0.1:9600\"";
        parsed(deserializer, wanted, listen).map(Self)
    }
}

/// A name would have to be looked up, and could mean another interface tomorrow.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let advice = "(write an IP address and a port, such as \"127.0.0.1:9600\")";
    text.parse()
        .map_err(|_| format!("`{text}` is not IP:PORT {advice}"))
}

fn parsed<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    wanted: &'static str,
    parse: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Parsed<T, E>(&'static str, fn(&str) -> Result<T, E>);
    impl<T, E: fmt::Display> Visitor<'_> for Parsed<T, E> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<F: de::Error>(self, text: &str) -> Result<T, F> {
            (self.1)(text).map_err(F::custom)
        }
    }
    deserializer.deserialize_str(Parsed(wanted, parse))
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<String>, E> {
                Ok(vec![name.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<String>, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(NamesVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LiteralVisitor;
        impl Visitor<'_> for LiteralVisitor {
            type Value = Literal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Literal, E> {
                Ok(Literal::Text(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Literal, E> {
                Ok(Literal::Integer(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Literal, E> {
                Ok(Literal::Float(value))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Literal, E> {
                Ok(Literal::Bool(value))
            }
        }
        deserializer.deserialize_any(LiteralVisitor)
    }
}
