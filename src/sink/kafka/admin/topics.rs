//! Creates missing topics where the config says `create`.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::admin;
use crate::config::Create;
use crate::sink::ConnectionError;
use crate::sink::kafka::events::client_callbacks::ClientCallbacks;
use crate::sink::kafka::shared_state::Creation;
use crate::sink::kafka::target::Target;
use crate::supervise::blocking;
use crate::sync::lock;

/// How long the cluster may take to create a topic.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A topic that could not be created is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Kafka's protocol for the broker's own default.
const BROKER_DEFAULT: i32 = -1;

/// The cluster refuses to create a topic; says why. Records for it are refused.
pub(crate) struct TopicRefused(pub(crate) String);

/// Makes sure that a topic exists. The cluster is asked once for each topic.
///
/// # Errors
/// The cluster cannot be asked now.
pub(crate) async fn ensure(
    target: &Target,
    create: Create,
    topic: &str,
) -> Result<Result<(), TopicRefused>, ConnectionError> {
    let known = lock(&target.shared.created).get(topic).cloned();
    match known {
        Some(Creation::Exists) => return Ok(Ok(())),
        Some(Creation::Failed { why, at }) if at.elapsed() < RETRY_AFTER => {
            return Ok(Err(TopicRefused(why)));
        }
        _ => {}
    }
    let outcome = create_if_missing(target, create, topic).await?;
    let creation = match &outcome {
        Ok(()) => Creation::Exists,
        Err(TopicRefused(why)) => {
            tracing::error!(sink = &*target.name, "kafka: {why}");
            Creation::Failed {
                why: why.clone(),
                at: Instant::now(),
            }
        }
    };
    lock(&target.shared.created).insert(topic.to_owned(), creation);
    Ok(outcome)
}

async fn create_if_missing(
    target: &Target,
    create: Create,
    topic: &str,
) -> Result<Result<(), TopicRefused>, ConnectionError> {
    let admin = admin(target).await?;
    let admin = match exists(admin, topic).await? {
        (_, true) => return Ok(Ok(())),
        (admin, false) => admin,
    };
    let partitions = create.partitions.unwrap_or(BROKER_DEFAULT);
    let replication = TopicReplication::Fixed(create.replication.unwrap_or(BROKER_DEFAULT));
    let new = NewTopic::new(topic, partitions, replication);
    let options = AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT));
    let results = admin.create_topics([&new], &options).await;
    let results = results.map_err(|error| failed(topic, &error.to_string()))?;
    match results.into_iter().next() {
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            let (partitions, replication) = (create.partitions, create.replication);
            tracing::info!(
                sink = &*target.name,
                topic,
                partitions,
                replication,
                "kafka: topic created"
            );
            Ok(Ok(()))
        }
        Some(Err((_, code))) if is_final(code) => Ok(Err(TopicRefused(format!(
            "there is no topic {topic}, and the cluster refuses to create it: {code}"
        )))),
        Some(Err((_, code))) => Err(failed(topic, &code.to_string())),
        None => Err(failed(topic, "no answer")),
    }
}

/// Whether the topic exists. Where the answer is unclear it counts as existing: the producer will find
/// out.
async fn exists(
    admin: AdminClient<ClientCallbacks>,
    topic: &str,
) -> Result<(AdminClient<ClientCallbacks>, bool), ConnectionError> {
    let name = topic.to_owned();
    let asked = blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&name), TIMEOUT)?;
        let error = metadata
            .topics()
            .first()
            .and_then(rdkafka::metadata::MetadataTopic::error);
        let code = error.map(RDKafkaErrorCode::from);
        let is_missing = code == Some(RDKafkaErrorCode::UnknownTopicOrPartition);
        Ok::<_, KafkaError>((admin, !is_missing))
    });
    match asked.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(failed(topic, &error.to_string())),
        Err(panic) => Err(ConnectionError(panic.to_string().into())),
    }
}

fn failed(topic: &str, why: &str) -> ConnectionError {
    ConnectionError(format!("kafka: cannot create the topic {topic}: {why}").into())
}

fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidTopic
    )
}
