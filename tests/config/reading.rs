//! The config as an operator meets it: files and variables in, a config or lines about it out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use central_forwarder::config::{
    self, Access, Account, Backlog, ClassicAccess, Config, Format, Loaded, LogFormat, Mistakes,
    MqttVersion, OnFull, Qos, Selector, Sink,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// A config without a mistake: a line each, so that a test can put another in a line's place.
const GOOD: &str = r#"state_dir = "/tmp/state"

[accounts.acme]
generation = "classic"
endpoint = "wss://central.example/streaming/api"
key = { env = "ACME_KEY" }
topics = ["monitoring", "security"]

[sinks.lake]
type = "kafka"
brokers = ["kafka-1:9092"]

[[routes]]
topics = ["monitoring", "security"]
sink = "lake"
destination = "central.{topic}"
"#;

/// A folder with files, and the variables of a process.
struct Operator {
    folder: TempDir,
    files: Vec<PathBuf>,
    env: Vec<(String, String)>,
}

impl Operator {
    fn new() -> Self {
        let key = ("ACME_KEY".to_owned(), "hunter2".to_owned());
        Self {
            folder: tempfile::tempdir().unwrap(),
            files: Vec::new(),
            env: vec![key],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self.files.push(self.path(name));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load_paths(&self, paths: &[PathBuf]) -> Result<Loaded, Mistakes> {
        config::load(paths, self.env.iter().cloned(), |name, _| match name {
            "no.such" => Err("no such property (see librdkafka)".to_owned()),
            _ => Ok(()),
        })
    }

    fn load(&self) -> Result<Loaded, Mistakes> {
        self.load_paths(&self.files)
    }

    fn config(&self) -> Config {
        self.load()
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config
    }

    /// The mistakes, a line each, without the folder's name.
    fn mistakes(&self) -> Vec<String> {
        self.lines(&self.load().unwrap_err().to_string())
    }

    fn warnings(&self) -> Vec<String> {
        let loaded = self.load().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let warnings = loaded.warnings.iter();
        warnings
            .flat_map(|warning| self.lines(&warning.to_string()))
            .collect()
    }

    fn lines(&self, text: &str) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        text.lines().map(|line| line.replace(&folder, "")).collect()
    }
}

fn classic(account: &Account) -> &ClassicAccess {
    match &account.access {
        Access::Classic(access) => access,
        Access::New(_) => panic!("{account:?}"),
    }
}

fn topics(account: &Account) -> Vec<&str> {
    account.topics.iter().map(config::Topic::name).collect()
}

/// The good config with another text in place of one of its parts.
fn with(part: &str, other: &str) -> Operator {
    assert!(GOOD.contains(part), "{part}");
    Operator::new().file("c.toml", &GOOD.replace(part, other))
}

#[track_caller]
fn assert_mistakes<S: AsRef<str>, const N: usize>(operator: &Operator, expected: &[S; N]) {
    let expected = expected.each_ref().map(S::as_ref);
    assert_eq!(operator.mistakes(), expected);
}

#[test]
fn a_file_with_five_mistakes_names_all_five_with_their_places() {
    let text = include_str!("../fixtures/config/five-mistakes.toml");
    assert_mistakes(
        &Operator::new().file("c.toml", text),
        &[
            "c.toml:2:1: shutdown_timeout: `30 parsecs` is not a duration (write a whole number \
             and ms, s, m, h or d, such as \"30s\")",
            "c.toml:6:1: accounts.acme.endpoint: is a URL of scheme `https` (write \
             wss://HOST/streaming/api)",
            "c.toml:8:25: accounts.acme.topics[1]: unknown topic `securty` (did you mean \
             `security`?)",
            "c.toml:12:1: sinks.lake.brokes: unknown key (did you mean `brokers`?)",
            "c.toml:21:1: routes[1].sink: there is no sink `lkae` (did you mean `lake`?)",
        ],
    );
}

#[test]
fn a_good_config_has_the_documented_defaults() {
    let config = with("", "").config();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/tmp/state")));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.journal.sync_interval, Duration::from_millis(100));
    assert_eq!(config.journal.segment_bytes, 64 << 20);
    assert_eq!(config.journal.memory_bytes, 256 << 20);
    assert_eq!(config.journal.max_bytes, None);
    assert_eq!(config.journal.retain, Duration::ZERO);
    assert_eq!(config.backlogs["lake"], Backlog::default());
    let acme = &config.accounts["acme"];
    assert_eq!(classic(acme).key.expose(), "hunter2");
    assert_eq!(acme.topics.len(), 2);
    assert!(!acme.tls.insecure);
    let [route] = &config.routes[..] else {
        panic!("one route");
    };
    assert_eq!(route.accounts, Selector::Any);
    assert_eq!(route.format, Format::Json);
    assert_eq!(route.destination.to_string(), "central.{topic}");
    assert_eq!(with("", "").warnings(), Vec::<String>::new());
}

#[test]
fn each_mistake_has_its_place_and_its_advice() {
    let cases = include_str!("../fixtures/config/mistakes.txt");
    for case in cases.split("\n\n").skip(1) {
        let lines = |mark: &str| -> Vec<&str> {
            case.lines()
                .filter_map(|line| line.strip_prefix(mark))
                .map(str::trim_start)
                .collect()
        };
        let operator = with(&lines("-").join("\n"), &lines("+").join("\n"));
        let expected: Vec<_> = lines("=")
            .iter()
            .map(|line| format!("c.toml:{line}"))
            .collect();
        assert!(!expected.is_empty(), "{case}");
        assert_eq!(operator.mistakes(), expected, "{case}");
    }
}

/// The good config with an account of New Central in place of the Classic one.
fn with_new(lines: &str) -> Operator {
    let classic = GOOD.split("generation").nth(1).unwrap();
    let classic = format!("generation{}", classic.split("[sinks").next().unwrap());
    let new = format!("generation = \"new\"\n{lines}\n\n");
    Operator::new().file("c.toml", &GOOD.replace(&classic, &new))
}

#[test]
fn an_account_of_new_central_has_the_documented_defaults() {
    let config = with_new(
        r#"endpoint = "wss://us4.api.central.example"
client_id = "id"
client_secret = { env = "ACME_KEY" }
proxy = "http://ops:pw@proxy.example:3128"
topics = [
    "ap-events",
    { event = "geofence", event_types = ["entry"] },
    { service = "network-services", version = "v1", event = "wids", type = "own.Wids" },
]"#,
    )
    .config();
    let acme = &config.accounts["acme"];
    let Access::New(access) = &acme.access else {
        panic!("{acme:?}")
    };
    assert_eq!(access.token_url.as_str(), config::TOKEN_URL);
    assert_eq!(access.client_secret.expose(), "hunter2");
    assert_eq!(
        (&access.tenant_token_url, &access.subscriber_id),
        (&None, &None)
    );
    let streams: Vec<String> = acme
        .topics
        .iter()
        .map(|topic| topic.stream.to_string())
        .collect();
    assert_eq!(
        streams,
        [
            "new/network-monitoring/v1alpha1/ap-events",
            "new/network-services/v1/wids",
            "new/network-services/v1alpha1/geofence",
        ]
    );
    assert!(acme.topics.last().unwrap().event_types.contains("entry"));
    assert_eq!(
        config.schemas.messages["network-services/v1/wids"],
        "own.Wids"
    );
    assert!(!format!("{config:?}").contains("ops:pw"));
}

#[test]
fn a_tenant_has_its_own_token_endpoint() {
    let lines = r#"endpoint = "wss://us4.api.central.example"
client_id = "id"
client_secret = "s"
tenant = "0a1b-2c"
topics = "alert-events""#;
    let config = with_new(lines).config();
    let Access::New(access) = &config.accounts["acme"].access else {
        panic!("{config:?}")
    };
    let url = access.tenant_token_url.as_ref().unwrap();
    assert_eq!(url.path(), "/authorization/v2/oauth2/0a1b-2c/token");
}

#[test]
fn mistakes_of_an_account_of_new_central_are_named() {
    let lines = r#"endpoint = "wss://us4.api.central.example/streaming/api"
client_id = "id"
key = "hunter2"
token_url = "ftp://hunter2@sso"
tenant = "a/b"
subscriber_id = "me"
proxy = "socks5://hunter2@proxy"
topics = ["ap-event", "wids", { version = "v1" }, { event = "w/x", service = "s" }, "location", "location"]"#;
    assert_mistakes(
        &with_new(lines),
        &[
            "c.toml:3:11: accounts.acme.client_secret: is missing (write client_secret = { file = \"PATH\" })",
            "c.toml:5:1: accounts.acme.endpoint: has a path (write wss://HOST alone: the topics name the rest)",
            "c.toml:7:1: accounts.acme.key: is for accounts of generation classic, and this one is new (leave it out)",
            "c.toml:8:1: accounts.acme.token_url: is not the URL of a token endpoint (write https://HOST/PATH)",
            "c.toml:9:1: accounts.acme.tenant: is not the id of a workspace (use letters, digits and -)",
            "c.toml:10:1: accounts.acme.subscriber_id: is not a UUID (write one, or leave it out to have one made)",
            "c.toml:11:1: accounts.acme.proxy: is not the URL of an HTTP proxy (write http://HOST:PORT, or none)",
            "c.toml:12:11: accounts.acme.topics[0]: unknown topic `ap-event` (did you mean `ap-events`?)",
            "c.toml:12:23: accounts.acme.topics[1]: unknown topic `wids` (New Central has audit-trail-events, location, rssi-events, geofence, ap-events, clients-events, switch-events, alert-events; write others as { service = \"...\", version = \"...\", event = \"wids\" })",
            "c.toml:12:31: accounts.acme.topics[2].event: is missing (write event = \"ap-events\")",
            "c.toml:12:51: accounts.acme.topics[3].version: is missing (write version = \"v1\")",
            "c.toml:12:97: accounts.acme.topics[5]: `location` stands here twice (leave one out)",
        ],
    );
}

#[test]
fn a_route_may_name_topics_of_both_generations_and_events_that_an_account_subscribes_to() {
    let routed = |topics: &str| {
        let lines = r#"endpoint = "wss://us4.api.central.example"
client_id = "id"
client_secret = { env = "ACME_KEY" }
topics = ["ap-events", { service = "network-services", version = "v1", event = "wids" }]"#;
        let classic = GOOD.split("generation").nth(1).unwrap();
        let classic = format!("generation{}", classic.split("[sinks").next().unwrap());
        let text = GOOD.replace(&classic, &format!("generation = \"new\"\n{lines}\n\n"));
        let own = "[[routes]]\ntopics = [\"monitoring\", \"security\"]";
        assert!(text.contains(own));
        Operator::new().file(
            "c.toml",
            &text.replace(own, &format!("[[routes]]\ntopics = {topics}")),
        )
    };
    let config = routed(r#"["monitoring", "switch-events", "wids"]"#).config();
    let named = ["monitoring", "switch-events", "wids"].map(str::to_owned);
    assert_eq!(config.routes[0].topics, Selector::Named(named.into()));
    assert_mistakes(
        &routed(r#"["ap-event", "wid", "monitring", "x"]"#),
        &[
            "c.toml:15:11: routes[0].topics[0]: unknown topic `ap-event` (did you mean `ap-events`?)",
            "c.toml:15:23: routes[0].topics[1]: unknown topic `wid` (did you mean `wids`?)",
            "c.toml:15:30: routes[0].topics[2]: unknown topic `monitring` (did you mean `monitoring`?)",
            "c.toml:15:43: routes[0].topics[3]: unknown topic `x` (Classic Central has apprf, audit, \
             location, monitoring, presence, security; New Central audit-trail-events, location, \
             rssi-events, geofence, ap-events, clients-events, switch-events, alert-events; others \
             must be topics of an account)",
        ],
    );
}

#[test]
fn an_account_is_read_from_the_input_json_of_hpes_client() {
    let input = r#"{"customers": {
        "acme": {"username": "a@acme", "wsskey": "key-a", "topic": "audit"},
        "Globex Ltd": {"wsskey": "key-g"}}}"#;
    let operator = |lines: &str| {
        let own = "key = { env = \"ACME_KEY\" }\ntopics = [\"monitoring\", \"security\"]";
        let operator = Operator::new();
        let path = operator.path("input.json");
        fs::write(&path, input).unwrap();
        let lines = format!("input_json = {path:?}\n{lines}");
        operator.file("c.toml", &GOOD.replace(own, &lines))
    };
    let config = operator("").config();
    let acme = &config.accounts["acme"];
    assert_eq!(topics(acme), ["audit"]);
    assert_eq!(classic(acme).username.as_deref(), Some("a@acme"));
    assert_eq!(classic(acme).key.expose(), "key-a");
    assert!(!format!("{config:?}").contains("key-a"));

    let lines = "customer = \"Globex Ltd\"\ntopics = [\"security\"]";
    let config = operator(lines).config();
    let acme = &config.accounts["acme"];
    assert_eq!(topics(acme), ["security"]);
    assert_eq!(classic(acme).key.expose(), "key-g");

    let no_topic = operator("customer = \"Globex Ltd\"").mistakes();
    assert!(
        no_topic[0].contains("accounts.acme.topics: is missing"),
        "{no_topic:?}"
    );
    let stranger = operator("customer = \"X\"\nkey = \"k\"")
        .mistakes()
        .join("\n");
    assert!(stranger.contains("no customer X"), "{stranger}");
    assert!(
        stranger.contains("accounts.acme.key: stands in input_json already"),
        "{stranger}"
    );
}

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
            "c.toml:13:1: sinks.lake.message_expiry: is a thing of MQTT 5, and this sink has \
           version = 3 (leave it out)",
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
fn an_empty_file_lacks_everything() {
    assert_mistakes(
        &Operator::new().file("c.toml", ""),
        &[
            "c.toml:1:1: accounts: there is none (add [accounts.NAME])",
            "c.toml:1:1: routes: there is none (add [[routes]])",
            "c.toml:1:1: sinks: there is none (add [sinks.NAME])",
        ],
    );
}

#[test]
fn a_broken_file_hides_neither_its_other_mistakes_nor_those_of_other_files() {
    let broken = "state_dir = \"unclosed\nshutdown_timeout = 5\n[accounts.x\n\n[accounts.acme]\nkey = 1\nkey = 2\n";
    let other = "[sinks.a]\ntype = \"stdou\"\n";
    assert_mistakes(
        &Operator::new().file("a.toml", broken).file("b.toml", other),
        &[
            "a.toml:1:22: not TOML: invalid basic string, expected `\"`",
            "a.toml:2:1: shutdown_timeout: is an integer (write a duration, such as \"30s\")",
            "a.toml:3:12: not TOML: unclosed table, expected `]`",
            "a.toml:6:1: accounts.acme.key: is an integer (write a string, { file = \"PATH\" } \
             or { env = \"NAME\" })",
            "a.toml:7:1: not TOML: duplicate key",
            "b.toml:2:1: sinks.a.type: unknown value `stdou` (did you mean `stdout`?)",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_a_mistake() {
    let mut operator = Operator::new().file("latin1.toml", "");
    fs::write(operator.path("latin1.toml"), b"a = \"\xe4\"").unwrap();
    fs::create_dir(operator.path("empty")).unwrap();
    operator.files.push(operator.path("empty"));
    operator.files.push(operator.path("missing.toml"));
    assert_mistakes(
        &operator,
        &[
            "empty: the folder has no *.toml (give a TOML file or a folder of them)",
            "latin1.toml: cannot be read: stream did not contain valid UTF-8 (give a TOML file or \
             a folder of them)",
            "missing.toml: cannot be read: No such file or directory (os error 2) (give a TOML \
             file or a folder of them)",
        ],
    );
}

#[test]
fn a_later_file_wins_key_by_key() {
    let over = "[accounts.acme]\ntopics = [\"audit\"]\nusername = \"ops@acme.example\"\n";
    let config = with("", "").file("over.toml", over).config();
    let acme = &config.accounts["acme"];
    assert_eq!(topics(acme), ["audit"]);
    assert_eq!(classic(acme).username.as_deref(), Some("ops@acme.example"));
    assert_eq!(classic(acme).key.expose(), "hunter2");
}

#[test]
fn a_mistake_has_the_place_of_the_layer_that_won() {
    let over = "\n[sinks.lake]\nbrokers = [\"kafka-1:9092\", \"nowhere\"]\n";
    assert_mistakes(
        &with("", "").file("over.toml", over),
        &[
            "over.toml:3:28: sinks.lake.brokers[1]: `nowhere` is not HOST:PORT (write \"kafka-1:9092\")",
        ],
    );
}

#[test]
fn a_folder_stands_for_its_toml_files_and_their_routes_add_up() {
    let customer = |name: &str| {
        format!(
            "[accounts.{name}]\ngeneration = \"classic\"\nendpoint = \"wss://central.example/\"\n\
             key = {{ env = \"ACME_KEY\" }}\ntopics = [\"audit\"]\n\n[[routes]]\ntopics = \"*\"\n\
             accounts = \"{name}\"\nsink = \"lake\"\ndestination = \"{name}.{{topic}}\"\n"
        )
    };
    let mut operator = with("", "")
        .file("20-globex.toml", &customer("globex"))
        .file("10-initech.toml", &customer("initech"))
        .file("30-ignored.toml.bak", "not TOML");
    operator.files = vec![operator.folder.path().to_owned()];
    let config = operator.config();
    assert_eq!(
        config.accounts.keys().collect::<Vec<_>>(),
        ["acme", "globex", "initech"]
    );
    let destinations = config
        .routes
        .iter()
        .map(|route| route.destination.to_string());
    assert_eq!(
        destinations.collect::<Vec<_>>(),
        ["initech.{topic}", "globex.{topic}", "central.{topic}"]
    );

    let wrong = customer("hooli").replace("lake", "pond");
    let operator = operator.file("40-hooli.toml", &wrong);
    let folder = [operator.folder.path().to_owned()];
    let mistakes = operator.load_paths(&folder).unwrap_err().to_string();
    assert_eq!(
        operator.lines(&mistakes),
        ["40-hooli.toml:10:1: routes[2].sink: there is no sink `pond` (there are lake)"]
    );
}

#[test]
fn variables_override_the_files() {
    let config = with("[accounts.acme]", "[accounts.Acme-Corp]")
        .variable("CENTRAL_FORWARDER__STATE_DIR", "/elsewhere")
        .variable("CENTRAL_FORWARDER__SHUTDOWN_TIMEOUT", "5s")
        .variable("CENTRAL_FORWARDER__LOG__FORMAT", "json")
        .variable("CENTRAL_FORWARDER__JOURNAL__SEGMENT_BYTES", "1048576")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__KEY", "{12345}")
        .variable(
            "CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__TOPICS",
            "[\"audit\", \"apprf\"]",
        )
        .variable(
            "CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__TLS__VERIFY",
            "false",
        )
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__BROKERS", "a:1, b:2")
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__OPTIONS__LINGER_MS", "5")
        .variable("CENTRAL_FORWARDER__ROUTES__0__DESTINATION", "other")
        .variable("CENTRAL_FORWARDER_LOG", "not ours")
        .config();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/elsewhere")));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.journal.segment_bytes, 1 << 20);
    let acme = &config.accounts["Acme-Corp"];
    assert_eq!(classic(acme).key.expose(), "{12345}");
    assert_eq!(topics(acme), ["apprf", "audit"]);
    assert!(acme.tls.insecure);
    let Sink::Kafka(lake) = &config.sinks["lake"] else {
        panic!("lake is a Kafka");
    };
    assert_eq!(lake.brokers, ["a:1", "b:2"]);
    assert_eq!(lake.options["linger.ms"].expose(), "5");
    assert_eq!(config.routes[0].destination.to_string(), "other");
}

#[test]
fn a_mistake_in_a_variable_has_its_name_for_a_place() {
    let operator = with("", "")
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__TYP", "kafka")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME__TOPICS", "audit,securty")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME__TLS__VERIFY", "perhaps")
        .variable("CENTRAL_FORWARDER__ROUTES__1__SINK", "lake")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__NEW__USERNAME", "me")
        .variable("CENTRAL_FORWARDER__LOG__", "x");
    let mistakes = [
        "ACCOUNTS__ACME__TLS__VERIFY: accounts.acme.tls.verify: is a string (write true or false)",
        "ACCOUNTS__ACME__TOPICS: accounts.acme.topics: unknown topic `securty` (did you mean \
         `security`?)",
        "ACCOUNTS__NEW__USERNAME: accounts.new.endpoint: is missing (write endpoint = \
         \"wss://HOST/streaming/api\")",
        "ACCOUNTS__NEW__USERNAME: accounts.new.generation: is missing (write generation = \
         \"classic\" or \"new\")",
        "ACCOUNTS__NEW__USERNAME: accounts.new.key: is missing (write key = { file = \"PATH\" })",
        "ACCOUNTS__NEW__USERNAME: accounts.new.topics: is missing (write topics = \
         [\"monitoring\"])",
        "LOG__: names no key (write CENTRAL_FORWARDER__KEY or CENTRAL_FORWARDER__KEY__KEY)",
        "ROUTES__1__SINK: `routes` has no entry `1` (they are counted from 0 to 0)",
        "SINKS__LAKE__TYP: sinks.lake.typ: unknown key (did you mean `type`?)",
    ];
    assert_mistakes(
        &operator,
        &mistakes.map(|line| format!("CENTRAL_FORWARDER__{line}")),
    );
}

#[test]
fn what_works_and_is_hardly_meant_is_warned_about() {
    let text = r#"
[accounts.acme]
generation = "classic"
endpoint = "ws://central.example/streaming/api"
key = "hunter2"
topics = ["audit", "apprf"]
tls = { verify = false }

[sinks.lake]
type = "kafka"
brokers = ["kafka-1:9092"]
options = { "sasl.password" = "hunter2", "linger.ms" = 5 }

[sinks.screen]
type = "stdout"

[[routes]]
topics = ["audit"]
sink = "lake"
destination = "central.audit"

[[routes]]
topics = ["presence"]
sink = "lake"
destination = "central.presence"
"#;
    let operator = Operator::new().file("c.toml", text);
    let set_mode = |mode| {
        fs::set_permissions(operator.path("c.toml"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let secrets = |line: &&String| line.contains("every user can read");
    let warnings = operator.warnings();
    assert_eq!(
        warnings,
        [
            "c.toml:4:1: accounts.acme.endpoint: the key travels unencrypted (use wss)",
            "c.toml:5:1: accounts.acme.key: stands in a file that every user can read (write { \
             file = \"PATH\" }, or chmod o-r)",
            "c.toml:6:1: accounts.acme.topics: no route takes `apprf` (add a route, or leave it \
             out)",
            "c.toml:7:9: accounts.acme.tls.verify: anybody on the way can pose as Central and \
             learn the key (set ca_file instead)",
            "c.toml:12:13: sinks.lake.options.\"sasl.password\": stands in a file that every user \
             can read (write { file = \"PATH\" }, or chmod o-r)",
            "c.toml:14:8: sinks.screen: no route leads here (add a route, or leave it out)",
            "c.toml:22:1: routes[1]: nothing can match it (its accounts have none of its topics)",
        ]
    );
    set_mode(0o640);
    let private: Vec<_> = warnings
        .iter()
        .filter(|line| !secrets(line))
        .cloned()
        .collect();
    assert_eq!(private.len(), 5);
    assert_eq!(operator.warnings(), private);
}

#[test]
fn no_secret_is_ever_shown() {
    let text = GOOD
        .replace("{ env = \"ACME_KEY\" }", "\"hunter2\"")
        .replace(
            "brokers = ",
            "options = { \"sasl.password\" = { env = \"ACME_KEY\" }, x = \"hunter2\" }\nbrokers = ",
        );
    let loaded = Operator::new().file("c.toml", &text).load().unwrap();
    assert_eq!(
        classic(&loaded.config.accounts["acme"]).key.expose(),
        "hunter2"
    );
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(shown.contains("Secret(from the config)"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let wrong = text
        .replace("\"hunter2\"\n", "\"hunter2\\u00e9\"\n")
        .replace("x = \"hunter2\"", "x = [\"hunter2\"]");
    let mistakes = Operator::new().file("c.toml", &wrong).load().unwrap_err();
    assert_eq!(mistakes.remarks().len(), 2, "{mistakes}");
    assert!(
        !format!("{mistakes} {mistakes:?}").contains("hunter2"),
        "{mistakes}"
    );
}

#[test]
fn depth_costs_no_stack() {
    let dotted = format!("{}a = 1\n", "a.".repeat(20_000));
    let nested = format!("a = {}", "[".repeat(20_000));
    let tables = format!("[{}a]\n", "a.".repeat(20_000));
    for text in [dotted, nested, tables] {
        assert!(Operator::new().file("c.toml", &text).load().is_err());
    }
    let name = format!("CENTRAL_FORWARDER{}", "__A".repeat(20_000));
    assert!(with("", "").variable(&name, "x").load().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// It either loads or says where it does not.
    #[test]
    fn no_damage_to_a_file_makes_it_panic(
        cut in 0..GOOD.len(),
        length in 0..20_usize,
        put in "[\\[\\]{}\"'=.,\n a-z0-9é_-]{0,8}",
    ) {
        let (from, to) = (cut, (cut + length).min(GOOD.len()));
        let text = format!("{}{put}{}", &GOOD[..from], &GOOD[to..]);
        if let Err(mistakes) = Operator::new().file("c.toml", &text).load() {
            prop_assert!(!mistakes.remarks().is_empty(), "{text}");
        }
    }
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

#[test]
fn the_admin_endpoint_is_for_this_machine_alone_unless_told_otherwise() {
    assert_eq!(with("", "").config().admin, None);
    let admin = |table: &str| {
        let text = GOOD.replace("\n[accounts.acme]", &format!("{table}\n[accounts.acme]"));
        Operator::new().file("c.toml", &text)
    };
    let config = admin("[admin]\n").config();
    let listen = config.admin.expect("there is a table").listen;
    assert_eq!(listen.to_string(), "127.0.0.1:9600");

    let open = admin("[admin]\nlisten = \"0.0.0.0:9600\"\n");
    let guarded = admin("[admin]\nlisten = \"[::]:9600\"\ntoken = { env = \"TOKEN\" }\n")
        .variable("TOKEN", "0123456789abcdef");
    assert_eq!(
        open.warnings(),
        [
            "c.toml:3:1: admin.listen: whoever can reach this address can read what runs here (set \
             admin.token, or listen on 127.0.0.1)"
        ]
    );
    assert_eq!(
        guarded.warnings(),
        [
            "c.toml:3:1: admin.listen: is beyond this machine, and the token travels unencrypted \
             (let a proxy with TLS stand before it)"
        ]
    );
}
