//! Central's paths, and what is answered on each.
//!
//! The upgrade is done by hand, not by a framework, so that a connection can fail in every way in which
//! real ones do.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::simulator::central::{Admitted, Central, Refusal};
use crate::simulator::connection;
use crate::simulator::faults::Fault;

/// Where Classic Central streams (documented by HPE).
pub(crate) const STREAMING_PATH: &str = "/streaming/api";

/// Where Classic Central gives the current key for an older one (documented by HPE).
const VALIDATE_PATH: &str = "/streaming/token/validate";

/// Where HPE's single sign-on gives access tokens (seen in clients).
pub(crate) const TOKEN_PATH: &str = "/as/token.oauth2";

/// The same of the platform that has workspaces, those of tenants too (seen in clients).
pub(crate) const WORKSPACE_TOKEN_PATH: &str = "/authorization/v2/oauth2/{workspace}/token";

/// Where New Central streams (seen in clients).
const EVENTS_PATH: &str = "/{service}/{version}/{event}";

/// Where faults are ordered while the simulator runs.
pub(crate) const FAULTS_PATH: &str = "/simulator/faults";

pub(crate) fn router(central: Arc<Central>) -> Router {
    Router::new()
        .route(STREAMING_PATH, get(classic))
        .route(VALIDATE_PATH, get(validate))
        .route(TOKEN_PATH, post(token))
        .route(WORKSPACE_TOKEN_PATH, post(workspace_token))
        .route(EVENTS_PATH, get(events))
        .route(FAULTS_PATH, get(orders).post(order).delete(clear_orders))
        .with_state(central)
}

async fn classic(State(central): State<Arc<Central>>, request: Request<Body>) -> Response<Body> {
    let headers = request.headers();
    let admitted = central.admit_classic(headers);
    let topic = headers.get("topic").and_then(|topic| topic.to_str().ok());
    let topic = topic.unwrap_or_default().to_owned();
    answer_handshake(&central, &topic, request, admitted)
}

async fn events(State(central): State<Arc<Central>>, request: Request<Body>) -> Response<Body> {
    let uri = request.uri();
    let path = uri.path().trim_start_matches('/').to_owned();
    let query = uri.query().unwrap_or_default();
    let admitted = central.admit_new(request.headers(), &path, query);
    answer_handshake(&central, &path, request, admitted)
}

fn answer_handshake(
    central: &Arc<Central>,
    stream: &str,
    request: Request<Body>,
    admitted: Result<Admitted, Refusal>,
) -> Response<Body> {
    let tenant = admitted
        .as_ref()
        .ok()
        .and_then(|admitted| admitted.tenant.clone());
    let answer = match admitted {
        Ok(admitted) => upgrade(central, request, admitted),
        Err(refusal) => refusal.into_response(),
    };
    let status = answer.status().as_u16();
    central.handshakes.add(stream, status, tenant);
    answer
}

fn upgrade(
    central: &Arc<Central>,
    mut request: Request<Body>,
    admitted: Admitted,
) -> Response<Body> {
    let Some(nonce) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return (StatusCode::UPGRADE_REQUIRED, "a WebSocket is streamed here").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    // Taken here and not in the task: a stop between the two must drop the connection as well.
    let cut = central.connected();
    let connection = connection::serve(Arc::clone(central), admitted, upgrade, cut);
    central.connections.spawn(connection);
    let headers = [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, derive_accept_key(nonce.as_bytes())),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn validate(State(central): State<Arc<Central>>, headers: HeaderMap) -> Response<Body> {
    if let Some(status) = central.faults.at_renewal() {
        return status.into_response();
    }
    let known = headers
        .get(AUTHORIZATION)
        .is_some_and(|key| central.keys.knows(key.as_bytes()));
    if !known {
        return (StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    }
    let current = central.keys.current(Instant::now());
    Json(json!({ "token": current.expose() })).into_response()
}

async fn token(
    State(central): State<Arc<Central>>,
    headers: HeaderMap,
    form: Bytes,
) -> Response<Body> {
    answer(&central, &headers, &form, None)
}

async fn workspace_token(
    State(central): State<Arc<Central>>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    form: Bytes,
) -> Response<Body> {
    answer(&central, &headers, &form, Some(&workspace))
}

fn answer(
    central: &Central,
    headers: &HeaderMap,
    form: &[u8],
    workspace: Option<&str>,
) -> Response<Body> {
    if let Some(status) = central.faults.at_renewal() {
        return status.into_response();
    }
    let authorization = headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok());
    let (status, body) = central.tokens.answer(authorization, form, workspace);
    (status, Json(body)).into_response()
}

async fn orders(State(central): State<Arc<Central>>) -> Response<Body> {
    Json(central.faults.orders()).into_response()
}

/// One fault a line; on any mistake none is ordered.
async fn order(State(central): State<Arc<Central>>, text: String) -> Response<Body> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let faults: Result<Vec<Fault>, _> = lines.map(str::parse).collect();
    match faults {
        Ok(faults) => {
            for fault in faults {
                central.faults.order(fault);
            }
            Json(central.faults.orders()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn clear_orders(State(central): State<Arc<Central>>) -> StatusCode {
    central.faults.clear();
    StatusCode::NO_CONTENT
}
