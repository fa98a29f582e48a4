//! Confluent's HTTP API, as far as a producer needs it.

use std::time::Duration;

use hyper::http::StatusCode;
use hyper::http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::secret::Secret;
use crate::config::{Proxy, SchemaRegistry, Tls};
use crate::net::dial::Timeouts;
use crate::net::http::{self, HttpError, MAX_SCHEMA_BYTES};
use crate::net::response::HttpResponse;
use crate::sink::{Cause, Failure};

/// How long the registry may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What it says of a schema that it does not take can be long.
const MAX_WORDS: usize = 500;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

#[derive(Debug)]
pub(super) struct Client {
    http: http::Client,
    url: Url,
    login: Option<(String, Secret)>,
}

/// A schema that is looked for or registered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    schema_type: &'static str,
    schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
}

/// A file that a schema imports, and under which subject and version it is registered.
#[derive(Debug, Serialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: u32,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: u32,
    /// Of a registration, older registries do not tell it.
    version: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Complaint {
    error_code: u32,
    message: String,
}

impl Request {
    pub(super) fn new(schema: String, references: Vec<Reference>) -> Self {
        Self {
            schema_type: "PROTOBUF",
            schema,
            references,
        }
    }
}

impl Client {
    /// A password in a file is read anew.
    ///
    /// # Errors
    /// It cannot be read, or the CA file cannot.
    pub(super) fn new(config: &SchemaRegistry) -> Result<Self, Failure> {
        let unusable =
            |why: String| Failure::new(Cause::Invalid, format!("schema registry: {why}"));
        let login = match &config.login {
            None => None,
            Some(login) => {
                let read = login.username.read_again().and_then(|username| {
                    Ok((username.expose().to_owned(), login.password.read_again()?))
                });
                Some(read.map_err(|error| unusable(error.to_string()))?)
            }
        };
        Ok(Self {
            http: http::Client {
                tls: Tls {
                    ca_file: config.ca_file.clone(),
                    insecure: false,
                },
                proxy: Proxy::Environment,
                ca_key: "schema_registry.ca_file",
                dial: Timeouts {
                    unacknowledged: Some(Timeouts::UNACKNOWLEDGED),
                    ..Timeouts::each(TIMEOUT)
                },
                timeout: TIMEOUT,
                max_body_bytes: MAX_SCHEMA_BYTES,
            },
            url: config.url.clone(),
            login,
        })
    }

    /// The id of a schema, which is registered where it is not there.
    pub(super) async fn id(&self, subject: &str, request: &Request) -> Result<u32, Failure> {
        Ok(self.find(subject, request).await?.id)
    }

    /// The version of a schema under a subject, for those that refer to it.
    pub(super) async fn version(&self, subject: &str, request: &Request) -> Result<u32, Failure> {
        let found = match self.find(subject, request).await?.version {
            None => self
                .look_up(subject, request)
                .await?
                .and_then(|found| found.version),
            known => known,
        };
        found.ok_or_else(|| {
            let why = format!("it does not tell the version of {subject}");
            self.failure(Cause::Invalid, &why)
        })
    }

    /// Whoever may only read can go on where somebody else has registered the schema.
    async fn find(&self, subject: &str, request: &Request) -> Result<Answer, Failure> {
        match self.look_up(subject, request).await? {
            Some(found) => Ok(found),
            None => self.register(subject, request).await,
        }
    }

    async fn look_up(&self, subject: &str, request: &Request) -> Result<Option<Answer>, Failure> {
        let response = self.post(&["subjects", subject], request).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.answer(&response, subject).map(Some)
    }

    async fn register(&self, subject: &str, request: &Request) -> Result<Answer, Failure> {
        let path = ["subjects", subject, "versions"];
        let response = self.post(&path, request).await?;
        self.answer(&response, subject)
    }

    /// What kinds of schemas it takes: nothing that one needs a permission for.
    pub(super) async fn probe(&self) -> Result<String, Failure> {
        let url = self.path(&["schemas", "types"]);
        let response = self.send(http::Request::get(&url)).await?;
        let types: Vec<String> = self.answer(&response, "the kinds of schemas")?;
        if !types.iter().any(|kind| kind == "PROTOBUF") {
            let why = format!("it takes no schemas of protobuf, only {}", types.join(", "));
            return Err(self.failure(Cause::Invalid, &why));
        }
        Ok(format!("the schema registry {} answers", self.host()))
    }

    async fn post(&self, path: &[&str], request: &Request) -> Result<HttpResponse, Failure> {
        let body = serde_json::to_vec(request).expect("its keys are texts");
        let url = self.path(path);
        let post = http::Request::post(&url).body(body);
        self.send(post.header(header::CONTENT_TYPE, CONTENT_TYPE))
            .await
    }

    async fn send(&self, request: http::Request<'_>) -> Result<HttpResponse, Failure> {
        let request = request.header(header::ACCEPT, CONTENT_TYPE);
        let request = match &self.login {
            Some((username, password)) => request.basic(username, password.expose()),
            None => request,
        };
        self.http.send(request).await.map_err(|error| {
            let cause = match error {
                HttpError::Config(_) => Cause::Invalid,
                HttpError::TimedOut { .. } => Cause::Timeout,
                HttpError::Dial(_) | HttpError::Broken { .. } => Cause::Unreachable,
            };
            Failure::new(cause, format!("schema registry: {error}"))
        })
    }

    fn answer<T: for<'de> Deserialize<'de>>(
        &self,
        response: &HttpResponse,
        about: &str,
    ) -> Result<T, Failure> {
        let status = response.status;
        if !status.is_success() {
            return Err(self.refusal(status, response.received(), about));
        }
        let body = response.body().map_err(|why| {
            let why = format!("its answer for {about} cannot be read: {why}");
            self.failure(Cause::Unreachable, &why)
        })?;
        serde_json::from_slice(body).map_err(|_| {
            let why = format!(
                "what it says of {about} is not what a schema registry says (correct the url)"
            );
            self.failure(Cause::Invalid, &why)
        })
    }

    fn refusal(&self, status: StatusCode, body: &[u8], about: &str) -> Failure {
        let cause = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Cause::Unauthorized,
            StatusCode::TOO_MANY_REQUESTS => Cause::Overloaded,
            status if status.is_server_error() => Cause::Unreachable,
            _ => Cause::Invalid,
        };
        let complaint: Complaint = serde_json::from_slice(body).unwrap_or_default();
        let words: String = complaint.message.chars().take(MAX_WORDS).collect();
        let words = match (complaint.error_code, words.as_str()) {
            (_, "") => String::new(),
            (0, words) => format!(": {words}"),
            (code, words) => format!(" ({code}): {words}"),
        };
        self.failure(cause, &format!("it answered {status} for {about}{words}"))
    }

    fn failure(&self, cause: Cause, why: &str) -> Failure {
        Failure::new(cause, format!("schema registry {}: {why}", self.host()))
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// A subject may hold any character.
    fn path(&self, parts: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }
}
