//! Who may do what at a `RabbitMQ`, and what it takes: users, certificates, permissions, limits.

use std::time::Duration;

use support::brokers::RabbitMq;
use support::fresh_name;
use support::pika::{declared, empty_queue, numbers, read_queue};
use support::stand::{Stand, drain, tls};

const A_WHILE: Duration = Duration::from_secs(120);
const COUNT: u64 = 300;

/// One after the other: they change the broker for all.
#[tokio::test(flavor = "multi_thread")]
async fn users_certificates_permissions_and_limits_are_respected() {
    let Some(rabbitmq) = RabbitMq::own("amqp-access") else {
        return;
    };
    a_certificate_stands_for_a_user(&rabbitmq).await;
    what_may_not_be_written_waits_until_it_may(&rabbitmq).await;
    a_record_over_the_limit_is_refused_and_holds_up_no_other(&rabbitmq).await;
}

/// SASL EXTERNAL; and a broker whose certificate nobody believes.
async fn a_certificate_stands_for_a_user(rabbitmq: &RabbitMq) {
    let stand = Stand::new(&["audit"], 0, COUNT).await;
    let queue = fresh_name("amqp-external");
    let secrets = rabbitmq.secrets();
    let url = format!("amqps://{}", rabbitmq.tls_address());
    let (certificate, key) = (secrets.join("client.pem"), secrets.join("client.key"));
    let sink = |ca: &str| {
        let tls = tls(&secrets.join(ca), Some((&certificate, &key)));
        format!("auth_mechanism = \"external\"\n{tls}\n{}", declared(&queue))
    };
    stand.to_amqp(&url, &sink("stranger/ca.pem"));
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "is not trusted");
    stand.wait_until_journalled(COUNT);
    forwarder.kill();
    let (is_well, said) = stand.check();
    assert!(!is_well && said.contains("is not trusted"), "{said}");

    stand.to_amqp(&url, &sink("ca.pem"));
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "ACCESS_REFUSED");
    rabbitmq.control(&["add_user", "forwarder", "of-no-use-here"]);
    rabbitmq.control(&["clear_password", "forwarder"]);
    rabbitmq.control(&["set_permissions", "forwarder", ".*", ".*", ".*"]);
    let messages = read_queue(rabbitmq, &queue, usize::try_from(COUNT).unwrap());
    drain(forwarder);
    let (is_well, said) = stand.check();
    assert!(is_well && said.contains("may write"), "{said}");
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
}

async fn what_may_not_be_written_waits_until_it_may(rabbitmq: &RabbitMq) {
    let stand = Stand::new(&["audit"], 0, COUNT).await;
    let queue = fresh_name("amqp-permission");
    rabbitmq.control(&["add_user", "reader", "secret"]);
    rabbitmq.control(&["set_permissions", "reader", ".*", "^nothing$", ".*"]);
    // Made by somebody else: to bind needs the permission to write into the queue.
    let makes = Stand::new(&["audit"], 0, 1).await;
    drain(makes.to_amqp(&rabbitmq.url(), &declared(&queue)).start());
    empty_queue(rabbitmq, &queue);

    let url = format!("amqp://reader:secret@{}/%2f", rabbitmq.address);
    stand.to_amqp(&url, &format!("exchange = {{ name = \"{queue}\" }}"));
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(
        A_WHILE,
        "(grant the user the right: rabbitmqctl set_permissions)",
    );
    let (is_well, said) = stand.check();
    assert!(!is_well && said.contains("ACCESS_REFUSED"), "{said}");
    assert!(said.contains("rabbitmqctl set_permissions"), "{said}");
    rabbitmq.control(&["set_permissions", "reader", ".*", ".*", ".*"]);
    let messages = read_queue(rabbitmq, &queue, usize::try_from(COUNT).unwrap());
    let said = drain(forwarder);
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    assert!(said.contains("refused=0"), "{said}");
}

async fn a_record_over_the_limit_is_refused_and_holds_up_no_other(rabbitmq: &RabbitMq) {
    const LIMIT: u64 = 7030;
    // Channels that are opened from now on have it.
    let limit = format!("application:set_env(rabbit, max_message_size, {LIMIT}).");
    rabbitmq.control(&["eval", &limit]);
    let stand = Stand::new(&["monitoring", "audit"], 0, COUNT).await;
    let queue = fresh_name("amqp-limit");
    let mut forwarder = stand.to_amqp(&rabbitmq.url(), &declared(&queue)).start();
    forwarder.wait_for_stderr(A_WHILE, "larger than configured max size 7030");
    stand.wait_until_sent(2 * COUNT);
    let said = drain(forwarder);
    let closed = said.matches("larger than configured max size").count();
    assert_eq!(closed, 1, "the limit is learnt once: {said}");

    let letters = stand.dead_letters();
    assert!(!letters.is_empty() && letters.len() < usize::try_from(COUNT).unwrap());
    for letter in &letters {
        assert_eq!(letter.topic, "monitoring");
        assert!(
            letter.reason.contains("is over the broker's limit of 7030"),
            "{letter:?}"
        );
    }
    let messages = empty_queue(rabbitmq, &queue);
    for topic in ["monitoring", "audit"] {
        let key = format!("central.{topic}");
        let of_topic: Vec<_> = messages
            .iter()
            .filter(|message| message["routing_key"] == *key)
            .cloned()
            .collect();
        let refused = letters.iter().filter(|letter| letter.topic == topic);
        let refused: Vec<u64> = refused.map(|letter| letter.number).collect();
        let expected = (1..=COUNT).filter(|number| !refused.contains(number));
        let arrived = support::order::different_in_order(&numbers(&of_topic));
        assert_eq!(arrived, expected.collect(), "{topic}");
    }
    println!("{} of {COUNT} monitoring records refused", letters.len());
}
