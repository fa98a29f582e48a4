//! Which destinations can be told before any event has come.

use std::collections::BTreeSet;

use super::{Alphabet, Values, render, takes};
use crate::config::template::{Placeholder, Segment, Template};
use crate::config::{self, Config};

/// Where a sink's routes lead, as far as it depends on accounts and topics alone.
#[must_use]
pub fn foreseen(config: &Config, sink: &str) -> BTreeSet<String> {
    let alphabet = config.sinks.get(sink).map_or(Alphabet::Any, Alphabet::of);
    let routes = config.routes.iter().filter(|route| route.sink == sink);
    routes
        .filter(|route| is_foreseen(&route.destination))
        .flat_map(|route| {
            subscribed(config, route).map(|(account, topic)| {
                let mut destination = String::new();
                let values = values(account, topic);
                render(&route.destination, &values, alphabet, &mut destination);
                destination
            })
        })
        .collect()
}

/// Each account with each of its topics that the route takes.
fn subscribed<'a>(
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

fn is_foreseen(template: &Template) -> bool {
    template.segments().iter().all(|segment| {
        matches!(
            segment,
            Segment::Literal(_) | Segment::Placeholder(Placeholder::Account | Placeholder::Topic)
        )
    })
}

fn values<'a>(account: &'a str, topic: &'a str) -> Values<'a> {
    Values {
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
    fn only_what_accounts_and_topics_decide_is_foreseen() {
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
        let found: Vec<String> = foreseen(&config, "lake").into_iter().collect();
        assert_eq!(
            found,
            ["audit", "central.acme.audit", "central.acme.security"]
        );
    }
}
