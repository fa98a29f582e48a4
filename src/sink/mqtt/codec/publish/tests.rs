use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use url::Url;

use super::*;
use crate::config::ClientTls;
use crate::sink::Attributes;

pub(crate) fn mqtt(version: MqttVersion) -> Mqtt {
    Mqtt {
        url: Url::parse("mqtt://localhost").unwrap(),
        version,
        qos: Qos::AtLeastOnce,
        client_id: "x".to_owned(),
        username: None,
        password: None,
        tls: ClientTls::default(),
        retain: true,
        message_expiry: Some(60),
        max_packet_size: 1 << 20,
        status_topic: None,
    }
}

/// A packet that ends before its identifier: it cannot be given one.
pub(crate) fn packet_that_panics() -> PublishPacket {
    PublishPacket {
        bytes: Vec::new(),
        id_at: Some(0),
    }
}

fn encoder(version: MqttVersion, topic_aliases: u16) -> Encoder {
    Encoder::new(&mqtt(version), &limits(topic_aliases))
}

fn limits(topic_aliases: u16) -> Limits {
    Limits {
        receive_max: 1,
        packet_bytes: 1 << 20,
        topic_aliases,
        max_qos: 2,
        keep_alive: None,
    }
}

pub(crate) fn record<'a>(
    destination: &'a str,
    payload: &'a [u8],
    attributes: Attributes<'a>,
) -> Record<'a> {
    Record {
        destination,
        key: None,
        payload,
        attributes,
        content_type: "application/json",
        message: None,
        timestamp: 0,
    }
}

/// As rumqttc's codec, which is not ours, reads it.
fn read(mut packet: PublishPacket) -> v5::Publish {
    let mut bytes = BytesMut::from(packet.with_id(0xabcd));
    match v5::Packet::read(&mut bytes, None).expect("a packet") {
        v5::Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn another_codec_reads_what_was_written(
        topic in "[a-z/]{1,300}",
        payload in prop::collection::vec(any::<u8>(), 0..20_000),
        value in "\\PC{0,200}",
    ) {
        let spans = [("id", 0..value.len()), ("source", 0..0)];
        let record = record(&topic, &payload, Attributes::new(&value, &spans));
        let publish = read(encoder(MqttVersion::V5, 0).packet(&record).unwrap());
        prop_assert_eq!(&publish.topic[..], topic.as_bytes());
        prop_assert_eq!((publish.pkid, publish.retain), (0xabcd, true));
        prop_assert_eq!(&publish.payload[..], &payload[..]);
        let properties = publish.properties.unwrap();
        prop_assert_eq!(properties.message_expiry_interval, Some(60));
        prop_assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        let expected: String = value.chars().map(|c| if is_carried(c) { c } else { '?' }).collect();
        let user = [("id".to_owned(), expected), ("source".to_owned(), String::new())];
        prop_assert_eq!(properties.user_properties, user);

        let mut packet = encoder(MqttVersion::V3, 0).packet(&record).unwrap();
        let mut bytes = BytesMut::from(packet.with_id(7));
        let v4::Packet::Publish(publish) = v4::Packet::read(&mut bytes, 1 << 20).unwrap() else {
            panic!("not a PUBLISH");
        };
        prop_assert_eq!((publish.topic, publish.pkid), (topic, 7));
        prop_assert_eq!(publish.payload, Bytes::from(payload));
    }
}

#[test]
fn a_topic_is_named_once_and_has_an_alias_then_while_there_are_aliases() {
    let mut encoder = encoder(MqttVersion::V5, 2);
    let mut sent = |topic| {
        let record = record(topic, b"payload", Attributes::new("", &[]));
        let publish = read(encoder.packet(&record).unwrap());
        let alias = publish.properties.unwrap().topic_alias;
        (String::from_utf8(publish.topic.to_vec()).unwrap(), alias)
    };
    for (topic, said, number) in [
        ("a", "a", Some(1)),
        ("a", "", Some(1)),
        ("b", "b", Some(2)),
        ("c", "c", None),
        ("c", "c", None),
        ("b", "", Some(2)),
    ] {
        assert_eq!(sent(topic), (said.to_owned(), number), "{topic}");
    }
}

#[test]
fn at_qos_2_topics_have_no_aliases() {
    let config = Mqtt {
        qos: Qos::ExactlyOnce,
        ..mqtt(MqttVersion::V5)
    };
    let record = record("a", b"payload", Attributes::new("", &[]));
    let publish = read(Encoder::new(&config, &limits(2)).packet(&record).unwrap());
    assert_eq!(publish.properties.unwrap().topic_alias, None);
}

#[test]
fn a_packet_that_is_not_sent_sets_no_alias() {
    let mut encoder = encoder(MqttVersion::V5, 2);
    encoder.packet_bytes = 100;
    let none = Attributes::new("", &[]);
    let why = encoder
        .packet(&record("a", &[0; 100], none))
        .unwrap_err()
        .why;
    assert!(why.contains("is over the limit of 100"), "{why}");
    let publish = read(encoder.packet(&record("a", b"x", none)).unwrap());
    assert_eq!(&publish.topic[..], b"a");
}

#[test]
fn the_limit_is_met_to_the_byte() {
    let none = Attributes::new("", &[]);
    for payload in 0..300 {
        let payload = vec![0; payload];
        let record = record("central/x", &payload, none);
        let mut encoder = encoder(MqttVersion::V5, 0);
        let size = encoder.packet(&record).unwrap().bytes.len();
        encoder.packet_bytes = size;
        assert!(encoder.packet(&record).is_ok());
        encoder.packet_bytes = size - 1;
        assert!(encoder.packet(&record).is_err());
    }
}

#[test]
fn what_mqtt_cannot_express_is_refused() {
    let long = "x".repeat(65_536);
    let none = Attributes::new("", &[]);
    let mut v3 = encoder(MqttVersion::V3, 0);
    let why = v3.packet(&record(&long, b"", none)).unwrap_err().why;
    assert!(why.contains("its topic is longer"), "{why}");
    let spans = [("subject", 0..long.len())];
    let subject = Attributes::new(&long, &spans);
    let mut v5 = encoder(MqttVersion::V5, 0);
    let why = v5.packet(&record("x", b"", subject)).unwrap_err().why;
    assert!(why.contains("attribute `subject`"), "{why}");
}
