//! What each route must be, given the accounts and sinks that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::filters;
use super::topics::unknown_in_route;
use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::suggestion;
use crate::config::raw::{self, Names};
use crate::config::sinks::destination::RouteRules;
use crate::config::source::key_path::join;
use crate::config::template::Template;
use crate::config::{Format, Route, Selector};
use crate::frame::Internal;

/// Stands for all topics of Central, or all accounts.
const ANY: &str = "*";

/// What the forwarder's own topics begin with.
const INTERNAL: char = '@';

pub(crate) fn routes(
    raw: Vec<raw::Route>,
    sinks: &BTreeMap<String, (&'static str, RouteRules)>,
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
        let duplicate = route.as_ref().and_then(|route| {
            routes
                .iter()
                .position(|other| other.as_ref() == Some(route))
        });
        if let Some(duplicate) = duplicate {
            let other = report.element("routes", duplicate);
            report.error(&path, format!("is the same as {other} (leave one out)"));
        }
        routes.push(route);
    }
    routes.into_iter().collect()
}

fn route(
    path: &str,
    raw: raw::Route,
    sinks: &BTreeMap<String, (&'static str, RouteRules)>,
    events: &BTreeSet<String>,
    report: &mut Report,
) -> Option<Route> {
    let format = raw.format.unwrap_or_default();
    check_form(path, format, &raw, report);
    let topics = topics(path, raw.topics, events, report);
    let accounts = raw.accounts.map_or(Selector::Any, |names| {
        let named = named(&join(path, "accounts"), names, report, |account, report| {
            unknown_name("account", account, &report.accounts, report)
        });
        selector(named)
    });
    if let Some((internal, _)) = &topics {
        check_internal(path, internal, format, &raw.conditions, report);
    }
    let filter = filters::filter(path, raw.split, raw.elements, raw.conditions, report);
    let sink = report.require(path, "sink", raw.sink, "name one of the [sinks.NAME]")?;
    if let Some(why) = unknown_name("sink", &sink, &report.sinks, report) {
        report.error(&join(path, "sink"), why);
    }
    let destination = match sinks.get(&sink) {
        Some((kind, rules)) => {
            if rules.only_protobuf && format != Format::Protobuf {
                only_protobuf(path, raw.format, report);
            }
            if !rules.has_keys && raw.key.is_some() {
                no_meaning(path, "key", kind, report);
            }
            destination(path, raw.destination, kind, *rules, report)
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
        pick: filter?,
    })
}

/// Says which keys have no meaning for the form in which the route's records are written.
fn check_form(path: &str, format: Format, raw: &raw::Route, report: &mut Report) {
    let makes_json = matches!(format, Format::Json | Format::CloudEvents);
    if format == Format::Frame {
        let given = [
            ("split", raw.split == Some(true)),
            ("elements", raw.elements.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let text = "has no meaning with format = \"frame\", which is sent whole (leave it out)";
            report.error(&join(path, key), text);
        }
    } else if raw.elements.is_some() && !makes_json && raw.split != Some(true) {
        report.error(
            &join(path, "elements"),
            "has a meaning with JSON or with split = true only (leave it out)",
        );
    }
    if raw.json.is_some() && !makes_json {
        report.error(
            &join(path, "json"),
            "has a meaning with format = \"json\" or \"cloudevents\" only (leave it out)",
        );
    }
}

/// Checks a destination by the rules of the kind of sink to which the route leads.
fn destination(
    path: &str,
    destination: Option<Template>,
    kind: &str,
    rules: RouteRules,
    report: &mut Report,
) -> Option<Template> {
    let Some(check) = rules.check_destination else {
        if destination.is_some() {
            no_meaning(path, "destination", kind, report);
        }
        return Some(Template::default());
    };
    let advice = "write destination = \"central.{topic}\"";
    let template = report.require(path, "destination", destination, advice)?;
    let at = join(path, "destination");
    if let Err(why) = template.check_destination() {
        report.error(&at, why.to_string());
    }
    for why in check(&template) {
        report.error(&at, why);
    }
    Some(template)
}

fn no_meaning(path: &str, key: &str, kind: &str, report: &mut Report) {
    let text = format!("has no meaning for a sink of type {kind} (leave it out)");
    report.error(&join(path, key), text);
}

/// The forwarder's own topics, and those of Central.
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
    Some(internal_and_others(topics))
}

/// Says which keys have no meaning for the forwarder's own events.
fn check_internal(
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
        report.error(&join(path, key), text);
    }
}

/// Says that a schema registry takes the schemas of protobuf messages only.
fn only_protobuf(path: &str, given: Option<Format>, report: &mut Report) {
    let at = join(path, "format");
    let text = "is not protobuf, and the sink has a schema_registry (write format = \"protobuf\", or lead \
                the route to a sink without one)";
    match given {
        Some(_) => report.error(&at, text),
        None => report.missing(path, &at, text),
    }
}

/// Parts the forwarder's own topics from those of Central.
fn internal_and_others(named: BTreeSet<String>) -> (BTreeSet<Internal>, Selector) {
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
    let advice = suggestion::advice(topic, known(), || {
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

/// The names of a list. `wrong` says what is wrong with one of them.
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
            report.error(&at, why);
        }
        if set.contains(&name) {
            report.error(&at, format!("`{name}` stands here twice (leave one out)"));
        }
        set.insert(name);
    }
    set
}

/// `None` also where the tables could not be read, or there are none, which is reported elsewhere.
fn unknown_name(
    what: &str,
    name: &str,
    known: &BTreeSet<String>,
    report: &Report,
) -> Option<String> {
    if known.contains(name) || known.is_empty() || report.incomplete {
        return None;
    }
    let known = || known.iter().map(String::as_str);
    let advice = suggestion::advice(name, known(), || {
        format!("there are {}", known().collect::<Vec<_>>().join(", "))
    });
    Some(format!("there is no {what} `{name}` ({advice})"))
}
