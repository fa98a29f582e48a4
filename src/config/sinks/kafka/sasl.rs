//! `sasl` of a Kafka sink.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::config::PemFile;
use crate::config::raw::SecretSource;
use crate::config::secret::Secret;
use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;

/// Mechanism and credentials with which the forwarder authenticates at the brokers.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawSasl {
    /// SASL mechanism. Required.
    mechanism: Option<SaslMechanism>,
    /// PLAIN and SCRAM: user name. Required there.
    username: Option<SecretSource>,
    /// PLAIN and SCRAM: password for `username`. Required there.
    password: Option<SecretSource>,
    /// OAUTHBEARER: URL of the token endpoint, which gives tokens by the grant `client_credentials`:
    /// `https://HOST/PATH`. Required there.
    token_endpoint: Option<String>,
    /// OAUTHBEARER: client ID. Required there.
    client_id: Option<SecretSource>,
    /// OAUTHBEARER: client secret. Required there.
    client_secret: Option<SecretSource>,
    /// OAUTHBEARER: scope that is asked for. Default: the endpoint's own default.
    scope: Option<String>,
    /// OAUTHBEARER: PEM file of certificate authorities that are trusted for the token endpoint, beside the
    /// system's. Those for the brokers stand in `tls`.
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

/// With what the forwarder authenticates at the brokers.
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

impl fmt::Display for PasswordMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        })
    }
}

impl RawSasl {
    pub(super) fn validate(self, path: &str, validator: &mut Validator<'_>) -> Option<Sasl> {
        let advice = "write mechanism = \"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"PLAIN\" or \
                      \"OAUTHBEARER\"";
        let report = &mut *validator.report;
        let mechanism = report.require(path, "mechanism", self.mechanism, advice)?;
        match mechanism {
            SaslMechanism::Plain => self.password(path, PasswordMechanism::Plain, validator),
            SaslMechanism::ScramSha256 => {
                self.password(path, PasswordMechanism::ScramSha256, validator)
            }
            SaslMechanism::ScramSha512 => {
                self.password(path, PasswordMechanism::ScramSha512, validator)
            }
            SaslMechanism::OAuthBearer => self.token(path, validator),
        }
    }

    fn password(
        self,
        path: &str,
        mechanism: PasswordMechanism,
        validator: &mut Validator<'_>,
    ) -> Option<Sasl> {
        let keys_of_others = [
            ("token_endpoint", self.token_endpoint.is_some()),
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("scope", self.scope.is_some()),
            ("ca_file", self.ca_file.is_some()),
        ];
        refuse(path, &keys_of_others, "OAUTHBEARER", validator);
        let username = validator.required_secret(path, "username", self.username);
        let password = validator.required_secret(path, "password", self.password);
        Some(Sasl::Password {
            mechanism,
            username: username?,
            password: password?,
        })
    }

    fn token(self, path: &str, validator: &mut Validator<'_>) -> Option<Sasl> {
        let keys_of_others = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
        ];
        refuse(path, &keys_of_others, "PLAIN and SCRAM", validator);
        let advice = "write token_endpoint = \"https://HOST/token\"";
        let report = &mut *validator.report;
        let endpoint = report.require(path, "token_endpoint", self.token_endpoint, advice);
        let endpoint =
            endpoint.and_then(|url| validator.http_url(&join(path, "token_endpoint"), &url));
        let client_id = validator.required_secret(path, "client_id", self.client_id);
        let client_secret = validator.required_secret(path, "client_secret", self.client_secret);
        let ca_file = validator.ca_file(path, self.ca_file);
        Some(Sasl::Token {
            endpoint: endpoint?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope: self.scope,
            ca_file,
        })
    }
}

fn refuse(path: &str, keys: &[(&str, bool)], owner: &str, validator: &mut Validator<'_>) {
    for (key, _) in keys.iter().filter(|(_, is_given)| *is_given) {
        let text = format!("is for {owner} (leave it out)");
        validator.report.error(&join(path, key), text);
    }
}
