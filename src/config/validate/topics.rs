//! The topics of an account: Classic Central's six, or streams of New Central.

use std::collections::BTreeSet;

use crate::config::Topic;
use crate::config::diagnostics::suggestion;
use crate::config::input_json::Customer;
use crate::config::raw::{self, Generation, Names, Parts};
use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;
use crate::frame::Stream;
use crate::streams::{CLASSIC_TOPICS, known_event, new_events};

impl Validator<'_> {
    pub(crate) fn topics(
        &mut self,
        path: &str,
        generation: Generation,
        topics: Option<raw::Topics>,
        customer: Option<&Customer>,
    ) -> Option<BTreeSet<Topic>> {
        let in_file = || {
            Some(raw::Topics(vec![raw::Topic::Name(
                customer?.topic.clone()?,
            )]))
        };
        let advice = match generation {
            Generation::Classic => "write topics = [\"monitoring\"]",
            Generation::New => "write topics = [\"ap-events\"]",
        };
        let topics = topics.or_else(in_file);
        let raw::Topics(topics) = self.report.require(path, "topics", topics, advice)?;
        let path = join(path, "topics");
        if topics.is_empty() {
            self.report
                .missing(&path, &path, "is empty (name at least one topic)");
        }
        let mut found: BTreeSet<Topic> = BTreeSet::new();
        for (index, topic) in topics.into_iter().enumerate() {
            let at = self.report.element(&path, index);
            let Some(topic) = self.topic(&at, generation, topic) else {
                continue;
            };
            if found.iter().any(|other| other.stream == topic.stream) {
                let text = format!("`{}` stands here twice (leave one out)", topic.name());
                self.report.error(&at, text);
            }
            found.insert(topic);
        }
        Some(found)
    }

    fn topic(&mut self, at: &str, generation: Generation, topic: raw::Topic) -> Option<Topic> {
        match (generation, topic) {
            (Generation::Classic, raw::Topic::Name(name)) => {
                if !CLASSIC_TOPICS.contains(&name.as_str()) {
                    self.report.error(at, unknown_topic(&name));
                }
                Some(Topic::classic(name))
            }
            (Generation::Classic, raw::Topic::Parts(_)) => {
                let text = "is a table, which only accounts of generation new have (write a name)";
                self.report.error(at, text);
                None
            }
            (Generation::New, raw::Topic::Name(name)) => {
                let stream = known_event(&name);
                if stream.is_none() {
                    self.report.error(at, unknown_event(&name));
                }
                stream.map(Topic::all_of)
            }
            (Generation::New, raw::Topic::Parts(parts)) => self.parts(at, parts),
        }
    }

    /// An event that is known may come without service and version.
    fn parts(&mut self, at: &str, parts: Parts) -> Option<Topic> {
        let advice = "write event = \"ap-events\"";
        let event = self.report.require(at, "event", parts.event, advice)?;
        self.events.insert(event.clone());
        let stream = match (parts.service, parts.version, known_event(&event)) {
            (None, None, Some(stream)) => stream,
            (service, version, _) => {
                let advice = "write service = \"network-services\"";
                let service = self.report.require(at, "service", service, advice);
                let advice = "write version = \"v1\"";
                let version = self.report.require(at, "version", version, advice);
                Stream::New {
                    service: service?,
                    version: version?,
                    event,
                }
            }
        };
        self.check_parts(at, &stream);
        if let Some(message) = parts.message {
            self.message(at, &stream, &message);
        }
        let Names(types) = parts.event_types.unwrap_or_default();
        Some(Topic {
            stream,
            event_types: types.into_iter().collect(),
        })
    }

    fn check_parts(&mut self, at: &str, stream: &Stream) {
        let Stream::New {
            service,
            version,
            event,
        } = stream
        else {
            return;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        for (key, part) in [("service", service), ("version", version), ("event", event)] {
            if part.is_empty() || !part.chars().all(plain) {
                let text = "is not a part of a path (use letters, digits, -, _ and .)";
                self.report.error(&join(at, key), text);
            }
        }
    }

    /// Notes which message the payload is.
    fn message(&mut self, at: &str, stream: &Stream, message: &str) {
        let name = stream.to_string();
        let name = name.trim_start_matches("new/").to_owned();
        let (known, _) = self
            .messages
            .entry(name)
            .or_insert_with(|| (message.to_owned(), join(at, "type")));
        if known != message {
            let text = format!("is `{known}` elsewhere (a stream has one type for all accounts)");
            self.report.error(&join(at, "type"), text);
        }
    }
}

pub(crate) fn unknown_topic(topic: &str) -> String {
    let advice = suggestion::advice(topic, CLASSIC_TOPICS, || {
        format!("Classic Central has {}", CLASSIC_TOPICS.join(", "))
    });
    format!("unknown topic `{topic}` ({advice})")
}

/// Why a route cannot name this topic: neither generation has it, and no account subscribes to it.
pub(crate) fn unknown_in_route(topic: &str, events: &BTreeSet<String>) -> Option<String> {
    let known = || {
        let new = new_events();
        let free = events.iter().map(String::as_str);
        CLASSIC_TOPICS.into_iter().chain(new).chain(free)
    };
    if known().any(|known| known == topic) {
        return None;
    }
    let advice = suggestion::advice(topic, known(), || {
        let new = new_events().join(", ");
        let classic = CLASSIC_TOPICS.join(", ");
        format!(
            "Classic Central has {classic}; New Central {new}; others must be topics of an account"
        )
    });
    Some(format!("unknown topic `{topic}` ({advice})"))
}

fn unknown_event(event: &str) -> String {
    let known = new_events();
    let advice = suggestion::advice(event, known, || {
        format!(
            "New Central has {}; write others as {{ service = \"...\", version = \"...\", event = \"{event}\" }}",
            known.join(", ")
        )
    });
    format!("unknown topic `{event}` ({advice})")
}
