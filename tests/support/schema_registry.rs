//! A stand-in for Confluent's schema registry, which takes nothing that the real one would not take:
//! a schema must be a file that compiles with the files that it refers to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// So that an id has more than one byte that is not 0.
const FIRST_ID: u32 = 70_000;

pub struct SchemaRegistry {
    pub address: SocketAddr,
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// By id, the first of which is [`FIRST_ID`].
    schemas: Vec<Schema>,
    /// By subject, the ids of its versions, of which the first is 1.
    subjects: BTreeMap<String, Vec<u32>>,
    asked: Vec<String>,
    /// `Authorization`, where one is wanted.
    login: Option<String>,
    refusal: Option<(u16, Value)>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Schema {
    #[serde(rename = "schemaType")]
    kind: String,
    #[serde(rename = "schema")]
    text: String,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    name: String,
    subject: String,
    version: usize,
}

impl SchemaRegistry {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// Serves for as long as the test's runtime lives.
    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(Kept::default()));
        let router = Router::new()
            .route("/schemas/types", get(types))
            .route("/schemas/ids/{id}", get(by_id))
            .route("/subjects/{subject}", post(look_up))
            .route("/subjects/{subject}/versions", post(register))
            .route("/subjects/{subject}/versions/{version}", get(by_version))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on only this user is let in.
    pub fn wants(&self, user: &str, password: &str) {
        let login = STANDARD.encode(format!("{user}:{password}"));
        lock(&self.state).login = Some(format!("Basic {login}"));
    }

    /// From now on no schema is registered, for this reason.
    pub fn refuse(&self, status: u16, code: u32, message: &str) {
        let words = json!({ "error_code": code, "message": message });
        lock(&self.state).refusal = Some((status, words));
    }

    pub fn refuse_nothing(&self) {
        lock(&self.state).refusal = None;
    }

    /// The names of all subjects.
    pub fn subjects(&self) -> Vec<String> {
        lock(&self.state).subjects.keys().cloned().collect()
    }

    /// How many versions a subject has.
    pub fn versions(&self, subject: &str) -> usize {
        lock(&self.state).subjects.get(subject).map_or(0, Vec::len)
    }

    /// All requests, such as `POST /subjects/NAME`.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }
}

type Shared = State<Arc<Mutex<Kept>>>;
type Refusal = (StatusCode, Json<Value>);
type Answer = Result<Json<Value>, Refusal>;

async fn types(State(state): Shared, headers: HeaderMap) -> Answer {
    lock(&state).admit("GET /schemas/types", &headers)?;
    Ok(Json(json!(["JSON", "PROTOBUF", "AVRO"])))
}

async fn by_id(State(state): Shared, Path(id): Path<u32>, headers: HeaderMap) -> Answer {
    let mut kept = lock(&state);
    kept.admit(&format!("GET /schemas/ids/{id}"), &headers)?;
    match kept.schema(id) {
        Some(schema) => Ok(Json(json!(schema))),
        None => Err(complaint(404, 40403, "Schema not found")),
    }
}

async fn by_version(
    State(state): Shared,
    Path((subject, version)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Answer {
    let mut kept = lock(&state);
    kept.admit(
        &format!("GET /subjects/{subject}/versions/{version}"),
        &headers,
    )?;
    let id = kept.id(&subject, version);
    let found = id.and_then(|id| kept.answer(&subject, version, id));
    found.ok_or_else(|| complaint(404, 40402, "Version not found"))
}

async fn look_up(
    State(state): Shared,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut kept = lock(&state);
    let schema = kept.read(&format!("POST /subjects/{subject}"), &headers, &body)?;
    let Some(ids) = kept.subjects.get(&subject) else {
        let why = format!("Subject '{subject}' not found.");
        return Err(complaint(404, 40401, &why));
    };
    let versions = (1..).zip(ids);
    let found = versions
        .filter(|(_, id)| kept.schema(**id) == Some(&schema))
        .find_map(|(version, id)| kept.answer(&subject, version, *id));
    found.ok_or_else(|| complaint(404, 40403, "Schema not found"))
}

async fn register(
    State(state): Shared,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut kept = lock(&state);
    let what = format!("POST /subjects/{subject}/versions");
    let schema = kept.read(&what, &headers, &body)?;
    if let Some((status, words)) = &kept.refusal {
        return Err(refusal(*status, words.clone()));
    }
    let known = kept.schemas.iter().position(|known| *known == schema);
    let index = known.unwrap_or(kept.schemas.len());
    if known.is_none() {
        kept.schemas.push(schema);
    }
    let id = FIRST_ID + u32::try_from(index).expect("few schemas");
    let ids = kept.subjects.entry(subject).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
    // As older registries, without the version.
    Ok(Json(json!({ "id": id })))
}

impl Kept {
    fn admit(&mut self, what: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        self.asked.push(what.to_owned());
        let shown = headers.get("authorization");
        let shown = shown.and_then(|login| login.to_str().ok());
        match &self.login {
            Some(login) if shown != Some(login) => Err(complaint(401, 40101, "Unauthorized")),
            _ => Ok(()),
        }
    }

    fn read(&mut self, what: &str, headers: &HeaderMap, body: &[u8]) -> Result<Schema, Refusal> {
        self.admit(what, headers)?;
        let json = ["application/vnd.schemaregistry.v1+json", "application/json"];
        let kind = headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| json.contains(&kind)) {
            return Err(complaint(415, 415, "HTTP 415 Unsupported Media Type"));
        }
        let schema: Schema = serde_json::from_slice(body)
            .map_err(|error| complaint(422, 422, &error.to_string()))?;
        match self.compile(&schema) {
            Ok(_) => Ok(schema),
            Err(why) => Err(complaint(422, 42201, &format!("Invalid schema: {why}"))),
        }
    }

    /// The schema's file, over those that it refers to.
    fn compile(&self, schema: &Schema) -> Result<DescriptorPool, String> {
        let mut pool = DescriptorPool::global();
        self.add("", schema, &mut pool)?;
        Ok(pool)
    }

    fn add(&self, name: &str, schema: &Schema, pool: &mut DescriptorPool) -> Result<(), String> {
        if schema.kind != "PROTOBUF" {
            return Err(format!("{} is not a type", schema.kind));
        }
        let bytes = STANDARD.decode(&schema.text);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let file = FileDescriptorProto::decode(&bytes[..]).map_err(|error| error.to_string())?;
        if !name.is_empty() && file.name() != name {
            return Err(format!("{} was registered as {name}", file.name()));
        }
        for reference in &schema.references {
            if !file.dependency.contains(&reference.name) {
                return Err(format!(
                    "{} does not import {}",
                    file.name(),
                    reference.name
                ));
            }
            let id = self.id(&reference.subject, reference.version);
            let of = id.and_then(|id| self.schema(id));
            let of = of.ok_or_else(|| format!("No schema reference found for {reference:?}"))?;
            if pool.get_file_by_name(&reference.name).is_none() {
                self.add(&reference.name, of, pool)?;
            }
        }
        pool.add_file_descriptor_proto(file)
            .map_err(|error| error.to_string())
    }

    fn id(&self, subject: &str, version: usize) -> Option<u32> {
        let ids = self.subjects.get(subject)?;
        ids.get(version.checked_sub(1)?).copied()
    }

    fn answer(&self, subject: &str, version: usize, id: u32) -> Option<Json<Value>> {
        let mut answer = json!(self.schema(id)?);
        answer["subject"] = json!(subject);
        answer["version"] = json!(version);
        answer["id"] = json!(id);
        Some(Json(answer))
    }

    fn schema(&self, id: u32) -> Option<&Schema> {
        let index = usize::try_from(id.checked_sub(FIRST_ID)?).ok()?;
        self.schemas.get(index)
    }
}

fn complaint(status: u16, code: u32, message: &str) -> Refusal {
    refusal(status, json!({ "error_code": code, "message": message }))
}

fn refusal(status: u16, words: Value) -> Refusal {
    (StatusCode::from_u16(status).expect("a status"), Json(words))
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
