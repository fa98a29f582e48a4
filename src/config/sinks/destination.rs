//! What a destination may be made of: a Kafka topic, an AMQP routing key, an MQTT topic.

use crate::config::template::{Segment, Template};

/// The characters that a value may bring into a destination; a template's other text is the
/// operator's, and is checked when the config is read.
#[derive(Clone, Copy, Debug)]
pub struct DestinationCharset {
    // Of a whole text, so that the common case is one call a value.
    has_all: fn(&str) -> bool,
}

impl DestinationCharset {
    /// Every character.
    pub const ANY: Self = Self::new(|_| true);

    /// Of a test that holds for a text if it holds for each of its characters.
    pub(crate) const fn new(has_all: fn(&str) -> bool) -> Self {
        Self { has_all }
    }

    /// Puts `_` in the place of each other character from the byte `from` on.
    pub fn restrict(self, text: &mut String, from: usize) {
        if (self.has_all)(&text[from..]) {
            return;
        }
        let value = text.split_off(from);
        text.extend(value.chars().map(|character| {
            if (self.has_all)(character.encode_utf8(&mut [0; 4])) {
                character
            } else {
                '_'
            }
        }));
    }
}

/// What a route to a sink may say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteRules {
    /// What is wrong with the operator's own text in a destination. `None`: the sink has but one
    /// destination, and a route to it names none.
    pub(crate) check_destination: Option<fn(&Template) -> Vec<String>>,
    /// Whether records have a key there.
    pub(crate) has_keys: bool,
    /// Whether only `format = "protobuf"` can be written, since there is a schema registry.
    pub(crate) only_protobuf: bool,
}

impl RouteRules {
    /// Of a sink with one destination, where records have no key.
    pub(crate) const ONE_DESTINATION: Self = Self {
        check_destination: None,
        has_keys: false,
        only_protobuf: false,
    };
}

/// The operator's own text in a template.
pub(crate) fn literals(template: &Template) -> impl Iterator<Item = &str> {
    template
        .segments()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Placeholder(_) => None,
        })
}

/// What to say if that text is longer than a limit of the broker's.
pub(crate) fn too_long(template: &Template, limit: usize, unit: &str) -> Option<String> {
    let bytes: usize = literals(template).map(str::len).sum();
    (bytes > limit).then(|| format!("is longer than {limit} {unit} (shorten it)"))
}
