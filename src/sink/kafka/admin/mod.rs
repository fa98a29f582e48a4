//! Requests to a cluster besides writing: the client for them, the creation of topics, and the probe of
//! `check --connect`.

pub(crate) mod probe;
pub(crate) mod topics;

use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::ptr;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::OAuthToken;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::events::client_callbacks::ClientCallbacks;
use super::target::Target;
use crate::sink::{Cause, ConnectionError, Failure};
use crate::supervise::blocking;

/// The longest message of librdkafka about a token that it rejects, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// A client for a few requests: it gets only one token.
pub(crate) async fn admin(
    target: &Target,
) -> Result<AdminClient<ClientCallbacks>, ConnectionError> {
    let mut client = target.client_config()?;
    client.set("allow.auto.create.topics", "false");
    client.set("statistics.interval.ms", "0");
    let callbacks = target.callbacks();
    // Fetching a token blocks.
    let created = blocking(move || {
        let admin: AdminClient<ClientCallbacks> = client
            .create_with_context(callbacks)
            .map_err(|error: KafkaError| ConnectionError(error.to_string().into()))?;
        if let Some(tokens) = &admin.inner().context().tokens {
            let token = tokens.fetch().map_err(|why| no_token(&why))?;
            set_token(&admin, &token).map_err(|why| no_token(&why))?;
        }
        Ok(admin)
    });
    created
        .await
        .unwrap_or_else(|panic| Err(ConnectionError(panic.to_string().into())))
}

fn no_token(why: &dyn Display) -> ConnectionError {
    ConnectionError(Failure::new(Cause::Unauthorized, format!("kafka: {why}")))
}

/// rdkafka refreshes the tokens of clients that it polls, and does not poll an admin client for them.
#[expect(unsafe_code, reason = "rdkafka has no call for it")]
fn set_token(admin: &AdminClient<ClientCallbacks>, token: &OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut why = [0; MAX_MESSAGE_BYTES];
    // SAFETY: the client is alive, the texts are zero-terminated and copied, there are no extensions, and
    // librdkafka writes to `why` within its length, zero-terminated.
    let (answer, why) = unsafe {
        let answer = rd_kafka_oauthbearer_set_token(
            admin.inner().native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        );
        (answer, CStr::from_ptr(why.as_ptr()))
    };
    match answer {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        _ => Err(why.to_string_lossy().into_owned()),
    }
}
