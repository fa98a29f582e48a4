//! The MQTT sink against a real Mosquitto, read back by Mosquitto's own subscriber.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use central_forwarder::simulator::{TOPICS, sequence_of};
use serde_json::Value;

use support::authority::Authority;
use support::config::Sink;
use support::mosquitto::{Message, Mosquitto, Subscriber, free_port, numbers};
use support::stand::{Stand, drain};

use crate::formats::{self, Arrived, FORMATS};

const A_WHILE: Duration = Duration::from_secs(60);
const COUNT: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn all_six_topics_arrive_with_user_properties_and_content_type() {
    const FRAMES: u64 = 40;
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let stand = Stand::new(&TOPICS, 0, FRAMES).await;
    stand.to_mqtt(&broker.url(), "");
    let forwarder = stand.start();
    let all = TOPICS.len() * 40;
    let messages = subscriber.wait_for(A_WHILE, "all records", |messages| messages.len() >= all);
    drain(forwarder);
    for topic in TOPICS {
        let of_topic = messages
            .iter()
            .filter(|message| message.topic == format!("central/{topic}"));
        let mut next = 1;
        for message in of_topic {
            check(message, topic, next);
            next += 1;
        }
        assert_eq!(next, FRAMES + 1, "records of {topic}");
    }
    let (is_well, said) = stand.check();
    assert!(is_well && said.contains("may write to 6 topics"), "{said}");
    assert_eq!(subscriber.messages().len(), all, "check wrote");
}

fn check(message: &Message, topic: &str, number: u64) {
    let record: Value = serde_json::from_str(&message.payload).expect("the payload is JSON");
    assert_eq!(
        sequence_of(topic, &record["data"]),
        Some(number),
        "{record}"
    );
    assert_eq!(record["topic"], topic);
    assert_eq!(message.qos, 1);
    assert!(!message.retained);
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    check_properties(message, topic, &record);
}

fn check_properties(message: &Message, topic: &str, record: &Value) {
    let property = |name| message.user_property(name);
    assert_eq!(property("specversion"), Some("1.0"));
    assert_eq!(property("id"), record["id"].as_str());
    assert_eq!(property("source"), Some("/central/acme"));
    assert_eq!(property("time"), record["time"].as_str());
    assert_eq!(property("messagetype"), record["type"].as_str());
    assert_eq!(property("account"), Some("acme"));
    assert_eq!(property("topic"), Some(topic));
    let event_type = format!("central.classic.{topic}");
    assert_eq!(property("type"), Some(event_type.as_str()));
}

/// One route a format, each with its own topic: the same frames four times.
#[tokio::test(flavor = "multi_thread")]
async fn each_format_has_its_payload_its_content_type_and_the_same_metadata() {
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    let with_bytes = ["-F", "%j %x"];
    let subscriber = Subscriber::start_with(&broker.address(), "central/#", &with_bytes);
    let stand = formats::stand().await;
    let routes = formats::routes(|format| format!("central/{format}"));
    let forwarder = stand.configure(&Sink::mqtt(&broker.url()), &routes).start();
    let all = (formats::FRAMES * FORMATS.len()) as u64;
    let messages = subscriber.wait_for_count(A_WHILE, "all records", all);
    drain(forwarder);
    let arrived: Vec<Arrived> = messages.iter().map(arrived).collect();
    formats::check(&arrived);
}

fn arrived(message: &Message) -> Arrived {
    let format = message.topic.strip_prefix("central/");
    let known = FORMATS.iter().find(|(known, _)| Some(*known) == format);
    Arrived {
        format: known.expect("a format").0,
        content_type: message.content_type.clone().expect("a content type"),
        attributes: message.user_properties(),
        payload: message.bytes.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_deliver_at_each_qos() {
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    for (version, qos) in [(3, 0), (3, 1), (3, 2), (5, 0), (5, 1), (5, 2)] {
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let lines = format!("version = {version}\nqos = {qos}");
        let stand = Stand::new(&["monitoring"], 0, COUNT).await;
        stand.to_mqtt(&broker.url(), &lines);
        let forwarder = stand.start();
        let what = format!("all records by version {version} at QoS {qos}");
        let messages =
            subscriber.wait_for(A_WHILE, &what, |messages| messages.len() as u64 >= COUNT);
        let said = drain(forwarder);
        assert!(said.contains(&format!("confirmed={COUNT}")), "{said}");
        // The subscriber asks for 1 at most.
        assert!(messages.iter().all(|message| message.qos == qos.min(1)));
        assert_eq!(
            numbers(&messages),
            (1..=COUNT).collect::<Vec<_>>(),
            "{what}"
        );
        assert_eq!(messages[0].content_type.is_some(), version == 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_never_shown() {
    let passwords = tempfile::tempdir().unwrap();
    let file = passwords.path().join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&file)
        .args(["ops", "the-right-one"])
        .status();
    if Mosquitto::open().is_none() {
        return;
    }
    assert!(made.unwrap().success());
    let settings = format!("allow_anonymous false\npassword_file {}", file.display());
    let broker = Mosquitto::start(&settings).expect("there is one");
    let login = ["-u", "ops", "-P", "the-right-one"];
    let subscriber = Subscriber::start_with(&broker.address(), "central/#", &login);
    for (version, password) in [(5, "hunter2"), (3, "hunter2"), (5, "the-right-one")] {
        let lines = format!("version = {version}\nusername = \"ops\"\npassword = \"{password}\"");
        let stand = Stand::new(&["audit"], 0, COUNT).await;
        stand.to_mqtt(&broker.url(), &lines);
        let mut forwarder = stand.start();
        if password == "hunter2" {
            let said = "the broker refused the connection: ";
            forwarder.wait_for_stderr(A_WHILE, said);
            forwarder.kill();
            let (is_well, checked) = stand.check();
            assert!(!is_well && checked.contains(said), "{checked}");
            assert!(!checked.contains(password), "{checked}");
        } else {
            subscriber.wait_for(A_WHILE, "all records", |messages| {
                messages.len() as u64 == COUNT
            });
        }
        assert!(
            !forwarder.stderr().contains(password),
            "{}",
            forwarder.stderr()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_brokers_limit_is_refused_and_holds_up_no_other() {
    // The first is told at the connection, the second when the record has come.
    for (setting, said) in [
        ("max_packet_size 7350", "over the limit of 7350"),
        ("message_size_limit 7030", "packet too large"),
    ] {
        let settings = format!("allow_anonymous true\n{setting}");
        let Some(broker) = Mosquitto::start(&settings) else {
            return;
        };
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&["monitoring", "presence"], 0, COUNT).await;
        stand.to_mqtt(&broker.url(), "");
        let forwarder = stand.start();
        stand.wait_until_sent(2 * COUNT);
        drain(forwarder);
        let letters = stand.dead_letters();
        let refused: BTreeSet<u64> = letters.iter().map(|letter| letter.number).collect();
        assert!(!refused.is_empty());
        for letter in &letters {
            assert_eq!(letter.topic, "monitoring");
            assert!(letter.reason.contains(said), "{letter:?}");
        }
        let others = 2 * COUNT - letters.len() as u64;
        let messages = subscriber.wait_for_count(A_WHILE, "the others", others);
        for topic in ["monitoring", "presence"] {
            let of_topic = messages
                .iter()
                .filter(|message| message.topic == format!("central/{topic}"));
            let of_topic: Vec<u64> = of_topic.map(Message::number).collect();
            let expected =
                (1..=COUNT).filter(|number| topic == "presence" || !refused.contains(number));
            assert_eq!(of_topic, expected.collect::<Vec<_>>(), "{setting}: {topic}");
        }
        println!("{setting}: {} of {COUNT} refused", refused.len());
    }
}

/// What operators of a 3.1.1 broker have to know: it says yes, and drops.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_3_1_1_drops_in_silence_what_is_too_large_unless_we_know_its_limit() {
    let Some(broker) = Mosquitto::start("allow_anonymous true\nmessage_size_limit 7030") else {
        return;
    };
    for (known, has_letters) in [("", false), ("max_packet_size = 7055", true)] {
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&["monitoring"], 0, COUNT).await;
        let lines = format!("version = 3\n{known}");
        let forwarder = stand.to_mqtt(&broker.url(), &lines).start();
        stand.wait_until_sent(COUNT);
        let said = drain(forwarder);
        assert!(said.contains("the broker cannot refuse a record"), "{said}");
        let letters = stand.dead_letters().len() as u64;
        assert_eq!(letters > 0, has_letters, "{known}");
        let at_most = COUNT - letters;
        if has_letters {
            subscriber.wait_for_count(A_WHILE, "the others", at_most);
        } else {
            assert!(said.contains(&format!("confirmed={COUNT}")), "{said}");
            assert!((subscriber.messages().len() as u64) < at_most);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_access_rules_forbid_waits_until_they_allow_it() {
    let rules = tempfile::tempdir().unwrap();
    let file = rules.path().join("rules");
    fs::write(&file, "topic read #\n").unwrap();
    let settings = format!("allow_anonymous true\nacl_file {}", file.display());
    let Some(broker) = Mosquitto::start(&settings) else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let stand = Stand::new(&["monitoring"], 0, COUNT).await;
    stand.to_mqtt(&broker.url(), "");
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "allow it in the broker's access rules");
    assert!(forwarder.stderr().contains("ERROR"));
    assert!(forwarder.stderr().contains("cause=\"unauthorized\""));
    let (is_well, said) = stand.check();
    assert!(
        !is_well && said.contains("central/monitoring: not authorized"),
        "{said}"
    );
    assert!(subscriber.messages().is_empty());
    fs::write(&file, "topic readwrite #\n").unwrap();
    broker.signal("HUP");
    subscriber.wait_for_all(A_WHILE, COUNT);
    let said = drain(forwarder);
    assert!(said.contains("refused=0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_client_certificate_and_websockets_deliver_and_a_stranger_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = Authority::new();
    let ca = file("ca.pem", &authority.pem);
    let [(certificate, key), (our_certificate, our_key)] = ["localhost", "forwarder"].map(|name| {
        let identity = authority.issue(name);
        (
            file(&format!("{name}.pem"), &identity.certificate),
            file(&format!("{name}.key"), &identity.key),
        )
    });
    let (tls, websockets) = (free_port(), free_port());
    let settings = format!(
        "allow_anonymous true\n\
         listener {tls} 127.0.0.1\n\
         cafile {ca}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\n\
         listener {websockets} 127.0.0.1\nprotocol websockets"
    );
    let Some(broker) = Mosquitto::start(&settings) else {
        return;
    };
    let proof = Some((Path::new(&our_certificate), Path::new(&our_key)));
    let stranger = file("stranger.pem", &Authority::new().pem);
    let [trusted, strange] = [&ca, &stranger].map(|ca| support::stand::tls(Path::new(ca), proof));
    for (url, lines) in [
        (format!("mqtts://localhost:{tls}"), trusted.as_str()),
        (format!("ws://127.0.0.1:{websockets}/mqtt"), ""),
    ] {
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&["monitoring"], 0, COUNT).await;
        stand.to_mqtt(&url, lines);
        let forwarder = stand.start();
        let messages =
            subscriber.wait_for(A_WHILE, &url, |messages| messages.len() as u64 >= COUNT);
        drain(forwarder);
        assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    }
    let stand = Stand::new(&["monitoring"], 0, COUNT).await;
    stand.to_mqtt(&format!("mqtts://localhost:{tls}"), &strange);
    let mut forwarder = stand.start();
    let untrusted = format!("the certificate of localhost:{tls} is not trusted");
    forwarder.wait_for_stderr(A_WHILE, &untrusted);
    let (is_well, said) = stand.check();
    assert!(!is_well && said.contains(&untrusted), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_topic_says_online_and_after_the_end_offline() {
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    for version in [3, 5] {
        for kill in [false, true] {
            let topic = format!("status/{version}/{kill}");
            let subscriber = Subscriber::start(&broker.address(), &topic);
            let lines = format!("version = {version}\nstatus_topic = \"{topic}\"");
            let stand = Stand::new(&["audit"], 0, COUNT).await;
            stand.to_mqtt(&broker.url(), &lines);
            let mut forwarder = stand.start();
            let said = |messages: &[Message]| -> Vec<String> {
                messages
                    .iter()
                    .map(|message| message.payload.clone())
                    .collect()
            };
            subscriber.wait_for(A_WHILE, "online", |messages| said(messages) == ["online"]);
            if kill {
                forwarder.kill();
            } else {
                forwarder.terminate();
                forwarder.wait(A_WHILE);
            }
            subscriber.wait_for(A_WHILE, "offline", |messages| {
                said(messages) == ["online", "offline"]
            });
            let late = Subscriber::start(&broker.address(), &topic);
            late.wait_for(A_WHILE, "offline, retained", |messages| {
                said(messages) == ["offline"] && messages[0].retained
            });
        }
    }
}
