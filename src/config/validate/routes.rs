//! What each route must be, given the accounts and sinks that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::filter as pick;
use crate::config::diagnostics::report::Report;
use crate::config::raw::{self, Names, SinkType};
use crate::config::sinks::amqp::MAX_SHORT_STRING;
use crate::config::source::layers::join;
use crate::config::template::{Segment, Template};
use crate::config::validate::topics::unknown_in_route;
use crate::config::{Format, Route, Selector, hint, mqtt};
use crate::frame::Internal;

/// Stands for all topics of Central, or all accounts.
const ANY: &str = "*";

/// What the topics of our own begin with.
const INTERNAL: char = '@';

/// A limit of Kafka's.
const MAX_KAFKA_TOPIC: usize = 249;

/// What routes must know of the sink that they lead to.
#[derive(Clone, Copy)]
pub(crate) struct SinkKind {
    pub(crate) kind: SinkType,
    pub(crate) has_registry: bool,
}

pub(crate) fn routes(
    raw: Vec<raw::Route>,
    sinks: &BTreeMap<String, SinkKind>,
    events: &BTreeSet<String>,
    report: &mut Report,
) -> Option<Vec<Route>> {
    if raw.is_empty() {
        report.missing("", "routes", "there is none (add [[routes]])");
    }
    let mut routes: Vec<Option<Route>> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = report.element("routes", index);
        let route = route(&path, raw, sinks, events, report);
        let twin = route.as_ref().and_then(|route| {
            routes
                .iter()
                .position(|other| other.as_ref() == Some(route))
        });
        if let Some(twin) = twin {
            let twin = report.element("routes", twin);
            report.mistake(&path, format!("is the same as {twin} (leave one out)"));
        }
        routes.push(route);
    }
    routes.into_iter().collect()
}

fn route(
    path: &str,
    raw: raw::Route,
    sinks: &BTreeMap<String, SinkKind>,
    events: &BTreeSet<String>,
    report: &mut Report,
) -> Option<Route> {
    let topics = topics(path, raw.topics, events, report);
    let accounts = raw.accounts.map_or(Selector::Any, |names| {
        let named = named(&join(path, "accounts"), names, report, |account, report| {
            unknown_name("account", account, &report.accounts, report)
        });
        selector(named)
    });
    let format = raw.format.unwrap_or_default();
    if let Some((internal, _)) = &topics {
        internal_alone(path, internal, format, &raw.conditions, report);
    }
    let makes_json = matches!(format, Format::Json | Format::CloudEvents);
    if format == Format::Frame {
        let given = [
            ("split", raw.split == Some(true)),
            ("elements", raw.elements.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let text = "has no meaning with format = \"frame\", which is sent whole (leave it out)";
            report.mistake(&join(path, key), text);
        }
    } else if raw.elements.is_some() && !makes_json && raw.split != Some(true) {
        report.mistake(
            &join(path, "elements"),
            "has a meaning with JSON or with split = true only (leave it out)",
        );
    }
    let pick = pick::pick(path, raw.split, raw.elements, raw.conditions, report);
    if raw.json.is_some() && !makes_json {
        report.mistake(
            &join(path, "json"),
            "has a meaning with format = \"json\" or \"cloudevents\" only (leave it out)",
        );
    }
    let sink = report.require(path, "sink", raw.sink, "name one of the [sinks.NAME]")?;
    if let Some(why) = unknown_name("sink", &sink, &report.sinks, report) {
        report.mistake(&join(path, "sink"), why);
    }
    let to = sinks.get(&sink);
    if to.is_some_and(|to| to.has_registry) && format != Format::Protobuf {
        protobuf_alone(path, raw.format, report);
    }
    let destination = match to.map(|to| to.kind) {
        Some(SinkType::Kafka) => kafka_destination(path, raw.destination, report),
        Some(SinkType::Amqp) => {
            if raw.key.is_some() {
                let text = "has no meaning for a sink of type amqp (leave it out)";
                report.mistake(&join(path, "key"), text);
            }
            routing_key(path, raw.destination, report)
        }
        Some(SinkType::Mqtt) => {
            if raw.key.is_some() {
                let text = "has no meaning for a sink of type mqtt (leave it out)";
                report.mistake(&join(path, "key"), text);
            }
            mqtt_destination(path, raw.destination, report)
        }
        Some(kind @ (SinkType::Stdout | SinkType::File)) => {
            let given = [
                ("destination", raw.destination.is_some()),
                ("key", raw.key.is_some()),
            ];
            for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                let text = format!("has no meaning for a sink of type {kind} (leave it out)");
                report.mistake(&join(path, key), text);
            }
            Some(Template::default())
        }
        None => None,
    };
    let (internal, topics) = topics?;
    Some(Route {
        topics,
        internal,
        accounts,
        sink,
        destination: destination?,
        key: raw.key,
        format,
        json: raw.json.unwrap_or_default(),
        pick: pick?,
    })
}

/// Those of our own, and those of Central.
fn topics(
    path: &str,
    names: Option<Names>,
    events: &BTreeSet<String>,
    report: &mut Report,
) -> Option<(BTreeSet<Internal>, Selector)> {
    let names = report.require(path, "topics", names, "write topics = [\"*\"] for all")?;
    let topics = named(&join(path, "topics"), names, report, |topic, _| {
        if topic.starts_with(INTERNAL) {
            unknown_internal(topic)
        } else {
            unknown_in_route(topic, events)
        }
    });
    Some(own_and_others(topics))
}

/// Says what events of our own cannot be asked for.
fn internal_alone(
    path: &str,
    internal: &BTreeSet<Internal>,
    format: Format,
    conditions: &[raw::Condition],
    report: &mut Report,
) {
    let Some(topic) = internal.first() else {
        return;
    };
    let binary = matches!(format, Format::Protobuf | Format::Frame);
    let has_where = !conditions.is_empty();
    let given = [
        ("format", binary, "are JSON"),
        ("where", has_where, "have no fields of Central's"),
    ];
    for (key, _, why) in given.into_iter().filter(|(_, given, _)| *given) {
        let topic = topic.topic();
        let text = format!("events of `{topic}` {why} (give them a route of their own)");
        report.mistake(&join(path, key), text);
    }
}

/// Says that a schema registry is of use for messages alone.
fn protobuf_alone(path: &str, given: Option<Format>, report: &mut Report) {
    let at = join(path, "format");
    let text = "is not protobuf, and the sink has a schema_registry (write format = \"protobuf\", or lead \
                the route to a sink without one)";
    match given {
        Some(_) => report.mistake(&at, text),
        None => report.missing(path, &at, text),
    }
}

/// Parts the topics of our own from those of Central.
fn own_and_others(named: BTreeSet<String>) -> (BTreeSet<Internal>, Selector) {
    let (own, others): (BTreeSet<_>, BTreeSet<_>) = named
        .into_iter()
        .partition(|name| name.starts_with(INTERNAL));
    let own = own.iter().filter_map(|name| Internal::parse(name));
    (own.collect(), selector(others))
}

fn unknown_internal(topic: &str) -> Option<String> {
    if Internal::parse(topic).is_some() {
        return None;
    }
    let known = || Internal::ALL.into_iter().map(Internal::topic);
    let advice = hint::advice(topic, known(), || {
        format!("there are {}", known().collect::<Vec<_>>().join(", "))
    });
    Some(format!("there is no topic `{topic}` ({advice})"))
}

fn selector(named: BTreeSet<String>) -> Selector {
    if named.contains(ANY) {
        Selector::Any
    } else {
        Selector::Named(named)
    }
}

/// What stands in a list of names, but for what must not.
fn named(
    path: &str,
    names: Names,
    report: &mut Report,
    wrong: impl Fn(&str, &Report) -> Option<String>,
) -> BTreeSet<String> {
    if names.0.is_empty() {
        report.missing(
            path,
            path,
            "is empty, so that nothing matches (write [\"*\"] for all)",
        );
    }
    let mut set = BTreeSet::new();
    for (index, name) in names.0.into_iter().enumerate() {
        let at = report.element(path, index);
        if name != ANY
            && let Some(why) = wrong(&name, report)
        {
            report.mistake(&at, why);
        }
        if set.contains(&name) {
            report.mistake(&at, format!("`{name}` stands here twice (leave one out)"));
        }
        set.insert(name);
    }
    set
}

/// Says nothing where the tables could not be read, or there are none, which is said elsewhere.
fn unknown_name(
    what: &str,
    name: &str,
    known: &BTreeSet<String>,
    report: &Report,
) -> Option<String> {
    if known.contains(name) || known.is_empty() || report.torn {
        return None;
    }
    let known = || known.iter().map(String::as_str);
    let advice = hint::advice(name, known(), || {
        format!("there are {}", known().collect::<Vec<_>>().join(", "))
    });
    Some(format!("there is no {what} `{name}` ({advice})"))
}

fn kafka_destination(
    path: &str,
    destination: Option<Template>,
    report: &mut Report,
) -> Option<Template> {
    let template = required_destination(path, destination, report)?;
    let at = join(path, "destination");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let odd = literals(&template)
        .flat_map(str::chars)
        .find(|c| !allowed(*c));
    if let Some(odd) = odd {
        let text = format!("a Kafka topic cannot hold `{odd}` (use letters, digits, ., _ and -)");
        report.mistake(&at, text);
    }
    if literals(&template).map(str::len).sum::<usize>() > MAX_KAFKA_TOPIC {
        report.mistake(
            &at,
            format!("is longer than {MAX_KAFKA_TOPIC} characters (shorten it)"),
        );
    }
    Some(template)
}

fn mqtt_destination(
    path: &str,
    destination: Option<Template>,
    report: &mut Report,
) -> Option<Template> {
    let template = required_destination(path, destination, report)?;
    if let Some(why) = mqtt::mistake_in_topic(literals(&template)) {
        report.mistake(&join(path, "destination"), why);
    }
    Some(template)
}

fn routing_key(path: &str, destination: Option<Template>, report: &mut Report) -> Option<Template> {
    let template = required_destination(path, destination, report)?;
    let at = join(path, "destination");
    let wildcard = literals(&template)
        .flat_map(str::chars)
        .find(|c| matches!(c, '*' | '#'));
    if let Some(wildcard) = wildcard {
        let text =
            format!("`{wildcard}` belongs into a binding, not into a routing key (remove it)");
        report.mistake(&at, text);
    }
    if literals(&template).map(str::len).sum::<usize>() > MAX_SHORT_STRING {
        report.mistake(
            &at,
            format!("is longer than {MAX_SHORT_STRING} bytes (shorten it)"),
        );
    }
    Some(template)
}

fn required_destination(
    path: &str,
    destination: Option<Template>,
    report: &mut Report,
) -> Option<Template> {
    let advice = "write destination = \"central.{topic}\"";
    let template = report.require(path, "destination", destination, advice)?;
    if let Err(why) = template.check_destination() {
        report.mistake(&join(path, "destination"), why.to_string());
    }
    Some(template)
}

/// The operator's own text in a template.
fn literals(template: &Template) -> impl Iterator<Item = &str> {
    template
        .segments()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Placeholder(_) => None,
        })
}
