//! Which records a frame becomes. Pure.
//!
//! | file | what |
//! |---|---|
//! | here | which routes take a frame, and whether their conditions hold |
//! | `compile` | looks the fields of routes up in the descriptors, and reports those that do not exist |
//! | `filter` | whether a field's value is what a condition asks for |
//! | `render` | templates of destinations and keys |
//! | `static_destinations` | destinations that are known before any event has come |

mod compile;
mod filter;
mod static_destinations;
mod render;

use std::collections::HashMap;

pub use compile::unknown_elements;
pub use render::{TemplateValues, render};
pub use static_destinations::static_destinations;

use crate::config::{self, Pick, Selector};
use crate::frame::{Internal, Stream, SubscriptionId};
use crate::transcode::{DecodeError, FieldPath, MessageId, Tables};

/// The routes to one sink, in the order of the config.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<CompiledRoute>);

/// A route of the config, and where the fields that it names are in each message.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    pub config: config::Route,
    pub field_paths: FieldPaths,
}

/// Where the fields that templates and conditions name are, in payloads or in their elements.
#[derive(Clone, Debug, Default)]
pub struct FieldPaths {
    /// The paths of `{data.PATH}` in templates.
    names: Vec<Vec<String>>,
    /// Messages that are missing here have none of the fields.
    fields: HashMap<MessageId, Fields>,
}

/// The paths in one message, where it has them.
#[derive(Clone, Debug)]
struct Fields {
    /// In the order of [`FieldPaths::names`].
    in_templates: Vec<Option<FieldPath>>,
    /// In the order of the conditions.
    in_conditions: Vec<Option<FieldPath>>,
}

impl Routes {
    /// The routes that take what this subscription receives.
    pub fn matching(&self, subscription: &SubscriptionId) -> impl Iterator<Item = &CompiledRoute> {
        self.0.iter().filter(|route| {
            let takes_topic = match subscription.stream() {
                Stream::Internal(topic) => route.config.internal.contains(topic),
                stream => takes(&route.config.topics, stream.topic()),
            };
            takes_topic && takes(&route.config.accounts, subscription.account())
        })
    }

    /// Whether any of them takes this topic of our own events.
    #[must_use]
    pub fn want(&self, topic: Internal) -> bool {
        self.0
            .iter()
            .any(|route| route.config.internal.contains(&topic))
    }
}

impl FieldPaths {
    /// Whether all conditions of `pick` hold for the message in `bytes`. `message` is `None` for text,
    /// which has no fields.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn matches(
        &self,
        pick: &Pick,
        tables: &Tables,
        message: Option<MessageId>,
        bytes: &[u8],
    ) -> Result<bool, DecodeError> {
        let fields = message.and_then(|id| self.fields.get(&id));
        for (index, condition) in pick.conditions.iter().enumerate() {
            let path = fields.and_then(|fields| fields.in_conditions[index].as_ref());
            if !filter::holds(&condition.test, path, tables, bytes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends the value of a template's path: the first of several, and nothing if there is none.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn append(
        &self,
        names: &[String],
        tables: &Tables,
        message: Option<MessageId>,
        bytes: &[u8],
        to: &mut String,
    ) -> Result<(), DecodeError> {
        let fields = message.and_then(|id| self.fields.get(&id));
        let index = self.names.iter().position(|known| known == names);
        let path = fields
            .zip(index)
            .and_then(|(fields, index)| fields.in_templates[index].as_ref());
        match path {
            Some(path) => path.append_first(tables, bytes, to),
            None => Ok(()),
        }
    }
}

fn takes(selector: &Selector, name: &str) -> bool {
    match selector {
        Selector::Any => true,
        Selector::Named(names) => names.contains(name),
    }
}
