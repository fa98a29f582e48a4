//! Sinks: their defaults, their URLs, and what they cannot be.

use std::time::Duration;

use central_forwarder::config::{self, Backlog, MqttVersion, OnFull, Qos, Sink};

use crate::operator::{GOOD, Operator, assert_mistakes, with};

/// The good config with an MQTT sink of these lines in place of the Kafka sink.
fn with_mqtt(sink: &str, destination: &str) -> Operator {
    let text = GOOD
        .replace("type = \"kafka\"\nbrokers = [\"kafka-1:9092\"]", sink)
        .replace("central.{topic}", destination);
    Operator::new().file("c.toml", &text)
}

#[test]
fn an_mqtt_sink_has_the_documented_defaults() {
    let sink = "type = \"mqtt\"\nurl = \"mqtts://broker\"";
    let config = with_mqtt(sink, "central/{topic}").config();
    let Sink::Mqtt(mqtt) = &config.sinks["lake"] else {
        panic!("{:?}", config.sinks);
    };
    assert_eq!(mqtt.url.as_str(), "mqtts://broker");
    assert_eq!(mqtt.version, MqttVersion::V5);
    assert_eq!(mqtt.qos, Qos::AtLeastOnce);
    assert_eq!(mqtt.client_id, "central-forwarder-lake");
    assert_eq!(mqtt.max_packet_size, 268_435_455);
    assert!(!mqtt.retain);
    assert_eq!((&mqtt.username, &mqtt.password), (&None, &None));
    assert_eq!((&mqtt.status_topic, mqtt.message_expiry), (&None, None));
}

#[test]
fn what_an_mqtt_sink_cannot_be_is_said() {
    let sink = r#"type = "mqtt"
url = "mqtt://ops:hunter2@broker"
version = 4
qos = "1"
password = "hunter2"
client_id = ""
max_packet_size = "1 KiB"
status_topic = "$SYS/x"
tls = { key_file = "/dev/null" }
path = "/tmp/x""#;
    assert_mistakes(
        &with_mqtt(sink, "central/#/{topic}"),
        &[
            "c.toml:11:1: sinks.lake.url: holds a user or password (use `username` and \
             `password`)",
            "c.toml:12:1: sinks.lake.version: there is no version 4 (write 5, or 3 for MQTT 3.1.1)",
            "c.toml:13:1: sinks.lake.qos: is a string (write a whole number)",
            "c.toml:14:1: sinks.lake.password: has a meaning with a username only (write username \
             = \"NAME\")",
            "c.toml:15:1: sinks.lake.client_id: is empty or holds what MQTT cannot carry (write \
             letters and digits, or leave it out)",
            "c.toml:16:1: sinks.lake.max_packet_size: is out of range (write 4 KiB to 255 MiB)",
            "c.toml:17:1: sinks.lake.status_topic: begins with `$`, which is the broker's own \
             (begin with something else)",
            "c.toml:18:9: sinks.lake.tls.key_file: comes without its certificate (write \
             certificate_file = \"PATH\")",
            "c.toml:19:1: sinks.lake.path: is for sinks of type file, and this one is mqtt (leave \
             it out)",
            "c.toml:24:1: routes[0].destination: an MQTT topic cannot hold `#` (`+` and `#` are \
             for subscribers; leave it out)",
        ],
    );
}

#[test]
fn an_mqtt_url_that_cannot_be_is_named_without_its_text() {
    for (url, why) in [
        ("https://broker", "is a URL of scheme `https`"),
        ("broker:1883", "is a URL of scheme `broker`"),
        (
            "mqtt://broker/topic",
            "holds a path, and topics stand in the routes",
        ),
        ("mqtt:broker", "names no host"),
    ] {
        let sink = format!("type = \"mqtt\"\nurl = \"{url}\"");
        let mistakes = with_mqtt(&sink, "central/{topic}").mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(why), "{mistakes:?}");
    }
    let sink = "type = \"mqtt\"\nurl = \"mqtt://broker\"\nversion = 3\nmessage_expiry = \"1h\"";
    assert_mistakes(
        &with_mqtt(sink, "central/{topic}"),
        &[
            "c.toml:13:1: sinks.lake.message_expiry: MQTT 3.1.1 has no expiry of messages (write \
             version = 5, or leave it out)",
        ],
    );
}

#[test]
fn an_amqp_url_is_taken_apart() {
    let amqp = |lines: &str| {
        let lines = format!("type = \"amqp\"\n{lines}");
        let config = with("type = \"kafka\"\nbrokers = [\"kafka-1:9092\"]", &lines).config();
        match &config.sinks["lake"] {
            Sink::Amqp(amqp) => (**amqp).clone(),
            other => panic!("{other:?}"),
        }
    };
    let parts = |amqp: &config::Amqp| -> Vec<_> {
        let parts = |server: &config::AmqpServer| {
            let password = server.login.password.expose();
            let login = format!("{}:{password}", server.login.user);
            (
                login,
                server.host.clone(),
                server.port,
                server.vhost.clone(),
            )
        };
        amqp.servers.iter().map(parts).collect()
    };
    let expected = |login: &str, host: &str, port: u16, vhost: &str| {
        (login.to_owned(), host.to_owned(), port, vhost.to_owned())
    };
    let both = amqp("url = [\"amqp://u%40x:p%2fw@rabbit-1\", \"amqps://[::1]/a%2fb\"]");
    assert_eq!(
        parts(&both),
        [
            expected("u@x:p/w", "rabbit-1", 5672, "/"),
            expected("guest:guest", "::1", 5671, "a/b"),
        ]
    );
    assert!(!format!("{both:?}").contains("p/w"));
    let secret = amqp("url = \"amqp://u@h:1/%2f\"\npassword = { env = \"ACME_KEY\" }");
    assert_eq!(parts(&secret), [expected("u:hunter2", "h", 1, "/")]);
    assert_eq!(secret.heartbeat, Duration::from_secs(30));
    assert_eq!(secret.confirm_timeout, Duration::from_secs(30));
    assert_eq!((secret.exchange.name.as_str(), secret.queue), ("", None));
}

#[test]
fn a_sink_may_say_how_far_it_lags_behind() {
    let lake = "type = \"kafka\"\n";
    let config = with(
        lake,
        &format!("{lake}max_backlog = \"1 GiB\"\non_full = \"block\"\n"),
    )
    .config();
    let backlog = Backlog {
        max_bytes: 1 << 30,
        on_full: OnFull::Block,
    };
    assert_eq!(config.backlogs["lake"], backlog);
    let small = with(lake, &format!("{lake}max_backlog = \"127 MiB\"\n"));
    assert_mistakes(
        &small,
        &[
            "c.toml:11:1: sinks.lake.max_backlog: is less than two segments of the journal (write at \
             least 131072 KiB, or a smaller journal.segment_bytes)",
        ],
    );
}
