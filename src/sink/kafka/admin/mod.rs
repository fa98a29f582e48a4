//! What is asked of a cluster besides writing: the client for it, the topics that are created, and
//! the probe of `check --connect`.

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

use super::Target;
use super::events::reports::Link;
use crate::sink::{Cause, ConnectionError, Failure};

/// What librdkafka may say of a token that it does not take, in bytes.
const MAX_WORDS: usize = 512;

/// For a few requests: it is given one token at most.
pub(crate) async fn admin(target: &Target) -> Result<AdminClient<Link>, ConnectionError> {
    let mut client = target.client_config()?;
    client.set("allow.auto.create.topics", "false");
    client.set("statistics.interval.ms", "0");
    let link = target.link();
    // Tokens are fetched where one may wait.
    let made = tokio::task::spawn_blocking(move || {
        let admin: AdminClient<Link> = client
            .create_with_context(link)
            .map_err(|error: KafkaError| ConnectionError(error.to_string().into()))?;
        if let Some(tokens) = &admin.inner().context().tokens {
            let token = tokens.fetch().map_err(|why| no_token(&why))?;
            set_token(&admin, &token).map_err(|why| no_token(&why))?;
        }
        Ok(admin)
    });
    made.await
        .unwrap_or_else(|panic| Err(ConnectionError(panic.to_string().into())))
}

fn no_token(why: &dyn Display) -> ConnectionError {
    ConnectionError(Failure::new(Cause::Unauthorized, format!("kafka: {why}")))
}

/// rdkafka brings tokens to the clients that it polls, and never polls an admin client for them.
#[expect(unsafe_code, reason = "rdkafka has no call for it")]
fn set_token(admin: &AdminClient<Link>, token: &OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut why = [0; MAX_WORDS];
    // SAFETY: the client lives, the texts end with a zero and are copied, there are no extensions, and
    // what is written to `why` is within its length and ends with a zero.
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
