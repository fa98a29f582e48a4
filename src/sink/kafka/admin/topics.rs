//! Makes topics that are not there, where the operator wants that.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::admin;
use crate::config::Create;
use crate::sink::ConnectionError;
use crate::sink::kafka::Target;
use crate::sink::kafka::events::reports::Link;
use crate::sink::kafka::shared_state::Creation;
use crate::sync::lock;

/// How long the cluster may take to make a topic.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a topic that could not be made is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// As the brokers choose, in Kafka's protocol.
const BROKERS_CHOICE: i32 = -1;

/// A topic cannot be had, and its records are of no use.
pub(crate) struct NoTopic(pub(crate) String);

/// Sees to it that a topic is there, once a topic.
///
/// # Errors
/// `ConnectionError`: the cluster cannot be asked now. `NoTopic`: it does not want such a topic.
pub(crate) async fn ensure(
    target: &Target,
    create: Create,
    topic: &str,
) -> Result<Result<(), NoTopic>, ConnectionError> {
    let known = lock(&target.memory.created).get(topic).cloned();
    match known {
        Some(Creation::Exists) => return Ok(Ok(())),
        Some(Creation::Failed { why, at }) if at.elapsed() < AGAIN_AFTER => {
            return Ok(Err(NoTopic(why)));
        }
        _ => {}
    }
    let outcome = make(target, create, topic).await?;
    let creation = match &outcome {
        Ok(()) => Creation::Exists,
        Err(NoTopic(why)) => {
            tracing::error!(sink = &*target.name, "kafka: {why}");
            Creation::Failed {
                why: why.clone(),
                at: Instant::now(),
            }
        }
    };
    lock(&target.memory.created).insert(topic.to_owned(), creation);
    Ok(outcome)
}

async fn make(
    target: &Target,
    create: Create,
    topic: &str,
) -> Result<Result<(), NoTopic>, ConnectionError> {
    let admin = admin(target).await?;
    let admin = match exists(admin, topic).await? {
        (_, true) => return Ok(Ok(())),
        (admin, false) => admin,
    };
    let partitions = create.partitions.unwrap_or(BROKERS_CHOICE);
    let replication = TopicReplication::Fixed(create.replication.unwrap_or(BROKERS_CHOICE));
    let new = NewTopic::new(topic, partitions, replication);
    let options = AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE));
    let results = admin.create_topics([&new], &options).await;
    let results = results.map_err(|error| broken(topic, &error.to_string()))?;
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
        Some(Err((_, code))) if is_final(code) => Ok(Err(NoTopic(format!(
            "there is no topic {topic}, and the cluster does not let us make it: {code}"
        )))),
        Some(Err((_, code))) => Err(broken(topic, &code.to_string())),
        None => Err(broken(topic, "no answer")),
    }
}

/// Whether the cluster has the topic. What is not clear counts as being there: the producer will
/// tell.
async fn exists(
    admin: AdminClient<Link>,
    topic: &str,
) -> Result<(AdminClient<Link>, bool), ConnectionError> {
    let name = topic.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&name), PATIENCE)?;
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
        Ok(Err(error)) => Err(broken(topic, &error.to_string())),
        Err(panic) => Err(ConnectionError(panic.to_string().into())),
    }
}

fn broken(topic: &str, why: &str) -> ConnectionError {
    ConnectionError(format!("kafka: cannot make sure of the topic {topic}: {why}").into())
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
