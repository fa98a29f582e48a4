//! Renders the templates of destinations and keys.

use crate::config::DestinationCharset;
use crate::config::template::{Placeholder, Segment, Template};

/// The values of a template's placeholders. One that an event does not have is empty.
pub struct TemplateValues<'a> {
    pub account: &'a str,
    pub topic: &'a str,
    pub subject: &'a str,
    pub customer_id: &'a str,
    pub msp_id: &'a str,
    /// The payload's message type.
    pub message_type: &'a str,
    pub element: &'a str,
    pub id: &'a str,
    /// Appends the payload's field at a path.
    pub data: &'a dyn Fn(&[String], &mut String),
}

impl std::fmt::Debug for TemplateValues<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateValues")
            .field("account", &self.account)
            .field("topic", &self.topic)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Appends the template's text with every placeholder replaced.
pub fn render(
    template: &Template,
    values: &TemplateValues<'_>,
    charset: DestinationCharset,
    out: &mut String,
) {
    for segment in template.segments() {
        match segment {
            Segment::Literal(text) => out.push_str(text),
            Segment::Placeholder(placeholder) => {
                let from = out.len();
                push_value(placeholder, values, out);
                charset.restrict(out, from);
            }
        }
    }
}

fn push_value(placeholder: &Placeholder, values: &TemplateValues<'_>, out: &mut String) {
    let value = match placeholder {
        Placeholder::Account => values.account,
        Placeholder::Topic => values.topic,
        Placeholder::Subject => values.subject,
        Placeholder::CustomerId => values.customer_id,
        Placeholder::MspId => values.msp_id,
        Placeholder::Type => values.message_type,
        Placeholder::Element => values.element,
        Placeholder::Id => values.id,
        Placeholder::Data(path) => return (values.data)(path, out),
    };
    out.push_str(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, charset: DestinationCharset) -> String {
        let values = TemplateValues {
            account: "acme",
            topic: "monitoring",
            subject: "monitoring",
            customer_id: "a/b c",
            msp_id: "",
            message_type: "Monitoring.MonitoringInformation",
            element: "",
            id: "0f",
            data: &|path, out| out.push_str(&path.join("+")),
        };
        let mut out = String::new();
        render(
            &Template::parse(template).unwrap(),
            &values,
            charset,
            &mut out,
        );
        out
    }

    #[test]
    fn every_placeholder_is_replaced() {
        assert_eq!(
            rendered(
                "central.{account}.{topic}.{type}.{id}.{msp_id}",
                DestinationCharset::ANY
            ),
            "central.acme.monitoring.Monitoring.MonitoringInformation.0f.",
        );
        assert_eq!(
            rendered("{data.ap.serial}", DestinationCharset::ANY),
            "ap+serial"
        );
    }

    #[test]
    fn what_a_broker_cannot_take_becomes_an_underscore_in_values_only() {
        assert_eq!(
            rendered("c/{customer_id}", DestinationCharset::KAFKA_TOPIC),
            "c/a_b_c"
        );
        assert_eq!(
            rendered("{data.x.y}", DestinationCharset::KAFKA_TOPIC),
            "x_y"
        );
    }

    #[test]
    fn a_value_is_one_word_of_a_routing_key() {
        assert_eq!(
            rendered(
                "central.{type}.{customer_id}",
                DestinationCharset::AMQP_ROUTING_KEY
            ),
            "central.Monitoring_MonitoringInformation.a/b c",
        );
        assert_eq!(
            rendered("{data.*.#}", DestinationCharset::AMQP_ROUTING_KEY),
            "_+_"
        );
    }

    #[test]
    fn a_value_stays_within_one_level_of_an_mqtt_topic() {
        let values = |customer_id| TemplateValues {
            account: "",
            topic: "",
            subject: "",
            customer_id,
            msp_id: "",
            message_type: "",
            element: "",
            id: "",
            data: &|_, _| {},
        };
        let template = Template::parse("central/{customer_id}/x").unwrap();
        for (value, topic) in [
            ("a b.é", "central/a b.é/x"),
            ("a/b/+/#", "central/a_b____/x"),
            ("\0\n\u{fffe}$", "central/___$/x"),
        ] {
            let mut out = String::new();
            render(
                &template,
                &values(value),
                DestinationCharset::MQTT_TOPIC_LEVEL,
                &mut out,
            );
            assert_eq!(out, topic);
        }
    }

    #[test]
    fn a_key_keeps_its_characters() {
        assert_eq!(rendered("{customer_id}", DestinationCharset::ANY), "a/b c");
    }
}
