//! What changes something. Who may is [`super::guard`]'s business.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::App;
use crate::daemon::ReloadError;

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
                ReloadError::Mistakes(_) | ReloadError::Unusable(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                ReloadError::Ending => StatusCode::SERVICE_UNAVAILABLE,
                ReloadError::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let mistakes: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
            let why = json!({ "error": "nothing has changed", "mistakes": mistakes });
            (code, Json(why)).into_response()
        }
    }
}
