//! Accounts of both generations, tenants, and the `input.json` of HPE's client.

use std::fs;

use central_forwarder::config::{self, Access, Selector};

use crate::operator::{GOOD, Operator, assert_mistakes, classic, topics};

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
