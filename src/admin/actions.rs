//! What changes something. Who may is [`super::guard`]'s business.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use crate::daemon::{ReloadError, View};
use crate::journal::{Inspector, RewindTo};
use crate::supervise::blocking;

/// `POST /api/reload`: the same as SIGHUP, with an answer.
pub(super) async fn reload(State(app): State<App>) -> Response {
    match app.daemon.reload().await {
        Ok(reloaded) => Json(json!({
            "changed": reloaded.changed,
            "after_restart": reloaded.after_restart,
            "warnings": reloaded.warnings,
        }))
        .into_response(),
        Err(error) => {
            let code = match &error {
                ReloadError::ConfigErrors(_) | ReloadError::Unusable(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                ReloadError::Ending => StatusCode::SERVICE_UNAVAILABLE,
                ReloadError::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let mistakes: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
            let why = json!({ "error": "nothing has changed", "mistakes": mistakes });
            (code, Json(why)).into_response()
        }
    }
}

/// The body of `POST /api/rewind`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rewind {
    sink: String,
    /// An offset or a time, as a string or a number.
    to: Value,
}

/// `POST /api/rewind`: a sink is sent again what is in the journal from a place on.
pub(super) async fn rewind(
    State(app): State<App>,
    asked: Result<Json<Rewind>, JsonRejection>,
) -> Response {
    let outcome = match asked {
        Ok(Json(asked)) => rewind_to(&app.daemon.view(), asked).await,
        Err(rejection) => Err(rejection.body_text()),
    };
    match outcome {
        Ok(offset) => Json(json!({ "offset": offset })).into_response(),
        Err(why) => {
            let why = json!({ "error": why });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(why)).into_response()
        }
    }
}

async fn rewind_to(view: &View, asked: Rewind) -> Result<u64, String> {
    let mut deliveries = view.deliveries.iter();
    let delivery = deliveries.find(|it| it.sink() == asked.sink);
    let delivery = delivery.ok_or_else(|| format!("there is no sink {}", asked.sink))?;
    let text = match asked.to {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let offset = match text.parse().map_err(|error| format!("to: {error}"))? {
        RewindTo::Offset(offset) => offset,
        RewindTo::Time(time) => {
            let folder = view.config.state_dir.as_ref();
            let folder = folder.ok_or("without a state_dir only an offset can be given")?;
            let folder = folder.join("journal");
            let found = blocking(move || Inspector::open(&folder)?.offset_at(time)).await;
            let found = found.map_err(|panic| panic.to_string())?;
            found.map_err(|error| error.to_string())?
        }
    };
    let rewound = delivery.rewind(offset);
    rewound.map_err(|outside| outside.to_string())?;
    Ok(offset)
}
