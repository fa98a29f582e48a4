//! What a sink of type `kafka` must be.

pub(crate) mod registry;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use url::Url;

use crate::config::diagnostics::spans::Written;
use crate::config::raw::{self, Names, Setting};
use crate::config::secret::Secret;
use crate::config::source::layers::join;
use crate::config::validate::{Tables, collect};
use crate::config::{ClientTls, PemFile, SchemaRegistry};

/// librdkafka's own limit.
const MAX_LINGER: Duration = Duration::from_secs(900);
/// No cluster has more partitions of a topic, or brokers.
const MAX_PARTITIONS: i64 = 100_000;
const MAX_REPLICATION: i64 = 1000;

/// A Kafka cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, never empty.
    pub brokers: Vec<String>,
    /// `None`: nothing is encrypted, unless `options` say so.
    pub tls: Option<ClientTls>,
    pub sasl: Option<Sasl>,
    pub compression: Option<Compression>,
    /// How long a record may wait for others to be sent with.
    pub linger: Option<Duration>,
    /// How topics are made that are not there; `None`: they are not.
    pub create: Option<Create>,
    /// Where the schemas of messages are registered, whose ids then stand before their bytes.
    pub schema_registry: Option<SchemaRegistry>,
    /// librdkafka properties, which win over our own choices.
    pub options: BTreeMap<String, Secret>,
    pub written: Written,
}

/// Who we are, by SASL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sasl {
    Password {
        mechanism: PasswordMechanism,
        username: Secret,
        password: Secret,
    },
    /// OAUTHBEARER: a token by the grant `client_credentials`.
    Token {
        endpoint: Url,
        client_id: Secret,
        client_secret: Secret,
        scope: Option<String>,
        /// PEM; trusted beside the system's authorities.
        ca_file: Option<PemFile>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Left out: as the brokers choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Create {
    pub partitions: Option<i32>,
    pub replication: Option<i32>,
}

impl fmt::Display for PasswordMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Tables<'_> {
    pub(crate) fn kafka(&mut self, path: &str, raw: raw::Sink) -> Option<Kafka> {
        let advice = "write brokers = [\"kafka-1:9092\"]";
        let brokers = self.report.require(path, "brokers", raw.brokers, advice);
        let brokers = brokers.map(|brokers| self.brokers(&join(path, "brokers"), brokers));
        let tls = raw.tls.map(|tls| self.client_tls(&join(path, "tls"), tls));
        let sasl = match raw.sasl {
            Some(sasl) => self.sasl(&join(path, "sasl"), sasl).map(Some),
            None => Some(None),
        };
        let linger = raw.linger.map(|span| span.0);
        if linger.is_some_and(|linger| linger > MAX_LINGER) {
            let text = "is out of range (write 15m at most)";
            self.report.mistake(&join(path, "linger"), text);
        }
        let create = raw.create.map(|raw| {
            let path = join(path, "create");
            Create {
                partitions: self.small(&path, "partitions", raw.partitions, MAX_PARTITIONS),
                replication: self.small(&path, "replication", raw.replication, MAX_REPLICATION),
            }
        });
        let schema_registry = match raw.schema_registry {
            Some(registry) => self
                .schema_registry(&join(path, "schema_registry"), registry)
                .map(Some),
            None => Some(None),
        };
        let options = self.options(&join(path, "options"), raw.options.unwrap_or_default());
        Some(Kafka {
            brokers: brokers?,
            tls,
            sasl: sasl?,
            compression: raw.compression,
            linger,
            create,
            schema_registry: schema_registry?,
            options: options?,
            written: Written::of(self.report, path),
        })
    }

    fn small(&mut self, path: &str, key: &str, raw: Option<i64>, max: i64) -> Option<i32> {
        let number = self.number(path, key, raw, 1, max)?;
        i32::try_from(number).ok()
    }

    fn sasl(&mut self, path: &str, raw: raw::Sasl) -> Option<Sasl> {
        let advice = "write mechanism = \"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"PLAIN\" or \
                      \"OAUTHBEARER\"";
        let mechanism = self
            .report
            .require(path, "mechanism", raw.mechanism, advice)?;
        let password_keys = [
            ("username", raw.username.is_some()),
            ("password", raw.password.is_some()),
        ];
        let token_keys = [
            ("token_endpoint", raw.token_endpoint.is_some()),
            ("client_id", raw.client_id.is_some()),
            ("client_secret", raw.client_secret.is_some()),
            ("scope", raw.scope.is_some()),
            ("ca_file", raw.ca_file.is_some()),
        ];
        let mechanism = match mechanism {
            raw::SaslMechanism::Plain => PasswordMechanism::Plain,
            raw::SaslMechanism::ScramSha256 => PasswordMechanism::ScramSha256,
            raw::SaslMechanism::ScramSha512 => PasswordMechanism::ScramSha512,
            raw::SaslMechanism::OAuthBearer => {
                self.out_of_place(path, &password_keys, "PLAIN and SCRAM");
                let advice = "write token_endpoint = \"https://HOST/token\"";
                let endpoint =
                    self.report
                        .require(path, "token_endpoint", raw.token_endpoint, advice);
                let endpoint =
                    endpoint.and_then(|url| self.http_url(&join(path, "token_endpoint"), &url));
                let client_id = self.needed_secret(path, "client_id", raw.client_id);
                let client_secret = self.needed_secret(path, "client_secret", raw.client_secret);
                let ca_file = self.ca_file(path, raw.ca_file);
                return Some(Sasl::Token {
                    endpoint: endpoint?,
                    client_id: client_id?,
                    client_secret: client_secret?,
                    scope: raw.scope,
                    ca_file,
                });
            }
        };
        self.out_of_place(path, &token_keys, "OAUTHBEARER");
        let username = self.needed_secret(path, "username", raw.username);
        let password = self.needed_secret(path, "password", raw.password);
        Some(Sasl::Password {
            mechanism,
            username: username?,
            password: password?,
        })
    }

    fn out_of_place(&mut self, path: &str, keys: &[(&str, bool)], owner: &str) {
        for (key, given) in keys {
            if *given {
                let text = format!("is for {owner} (leave it out)");
                self.report.mistake(&join(path, key), text);
            }
        }
    }

    pub(crate) fn needed_secret(
        &mut self,
        path: &str,
        key: &str,
        source: Option<raw::SecretSource>,
    ) -> Option<Secret> {
        let advice = format!("write {key} = {{ file = \"PATH\" }}");
        let source = self.report.require(path, key, source, &advice)?;
        self.secret(&join(path, key), source)
    }

    /// What is said never shows the URL: it may hold a password.
    pub(crate) fn http_url(&mut self, path: &str, text: &str) -> Option<Url> {
        let advice = "(write https://HOST/PATH)";
        let why = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("is a URL of scheme `{}` {advice}", url.scheme())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "holds a user or password (write them as keys of their own)".to_owned()
            }
            Ok(url) => return Some(url),
            Err(error) => format!("is not a URL: {error} {advice}"),
        };
        self.report.mistake(path, why);
        None
    }

    fn brokers(&mut self, path: &str, names: Names) -> Vec<String> {
        if names.0.is_empty() {
            self.report
                .missing(path, path, "is empty (name at least one broker)");
        }
        for (index, broker) in names.0.iter().enumerate() {
            if !is_address(broker) {
                let at = self.report.element(path, index);
                self.report.mistake(
                    &at,
                    format!("`{broker}` is not HOST:PORT (write \"kafka-1:9092\")"),
                );
            }
        }
        names.0
    }

    fn options(
        &mut self,
        path: &str,
        raw: BTreeMap<String, Setting>,
    ) -> Option<BTreeMap<String, Secret>> {
        let mut options = Some(BTreeMap::new());
        for (name, Setting(source)) in raw {
            let at = join(path, &name);
            let value = self.secret(&at, source);
            if let Some(value) = &value
                && let Err(why) = (self.kafka_option)(&name, value.expose())
            {
                self.report.mistake(&at, why);
            }
            collect(&mut options, name, value);
        }
        options
    }
}

/// `HOST:PORT` or `[IPv6]:PORT`; librdkafka allows a protocol before it.
fn is_address(broker: &str) -> bool {
    let address = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', ',', '/', ' ', '[', ']']),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}
