//! Destinations that are known before any event has come.

use std::collections::BTreeSet;

use super::{TemplateValues, render, takes};
use crate::config::template::{Placeholder, Segment, Template};
use crate::config::{self, Config, DestinationCharset, Sink};

/// The destinations of a sink's routes whose templates depend only on account and topic.
#[must_use]
pub fn static_destinations(config: &Config, sink: &str) -> BTreeSet<String> {
    let charset = config
        .sinks
        .get(sink)
        .map_or(DestinationCharset::ANY, Sink::charset);
    let routes = config.routes.iter().filter(|route| route.sink == sink);
    routes
        .filter(|route| is_static(&route.destination))
        .flat_map(|route| {
            subscriptions_of(config, route).map(|(account, topic)| {
                let mut destination = String::new();
                let values = values(account, topic);
                render(&route.destination, &values, charset, &mut destination);
                destination
            })
        })
        .collect()
}

/// Each account and topic that the config subscribes to and the route takes.
fn subscriptions_of<'a>(
    config: &'a Config,
    route: &'a config::Route,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    config
        .accounts
        .iter()
        .filter(|(name, _)| takes(&route.accounts, name))
        .flat_map(|(name, account)| account.topics.iter().map(move |topic| (name, topic)))
        .filter(|(_, topic)| takes(&route.topics, topic.name()))
        .map(|(name, topic)| (name.as_str(), topic.name()))
}

fn is_static(template: &Template) -> bool {
    template.segments().iter().all(|segment| {
        matches!(
            segment,
            Segment::Literal(_) | Segment::Placeholder(Placeholder::Account | Placeholder::Topic)
        )
    })
}

fn values<'a>(account: &'a str, topic: &'a str) -> TemplateValues<'a> {
    TemplateValues {
        account,
        topic,
        subject: "",
        customer_id: "",
        msp_id: "",
        message_type: "",
        element: "",
        id: "",
        data: &|_, _| {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn only_templates_of_account_and_topic_have_static_destinations() {
        let text = r#"
            [accounts.acme]
            generation = "classic"
            endpoint = "ws://127.0.0.1:9/streaming/api"
            key = "k"
            topics = ["audit", "security"]
            [sinks.lake]
            type = "kafka"
            brokers = ["k:1"]
            [sinks.other]
            type = "stdout"
            [[routes]]
            topics = "*"
            sink = "lake"
            destination = "central.{account}.{topic}"
            [[routes]]
            topics = "audit"
            sink = "lake"
            destination = "audit"
            [[routes]]
            topics = "audit"
            sink = "lake"
            destination = "of.{customer_id}"
            [[routes]]
            topics = "audit"
            sink = "other"
        "#;
        let config = config::of_text(text);
        let found: Vec<String> = static_destinations(&config, "lake").into_iter().collect();
        assert_eq!(
            found,
            ["audit", "central.acme.audit", "central.acme.security"]
        );
    }
}
