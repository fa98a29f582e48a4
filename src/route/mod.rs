//! Which records a frame becomes: matching, filters and templates, compiled against the schema.
//! Pure.

mod compile;
mod filter;
mod foreseen;
mod render;

use std::collections::HashMap;

pub use compile::unknown_elements;
pub use foreseen::foreseen;
pub use render::{Alphabet, Values, render};

use crate::config::{self, Pick, Selector};
use crate::frame::{Internal, Stream, SubscriptionId};
use crate::transcode::{DecodeError, MessageId, Path, Tables};

/// The routes that lead to one sink, in the order of the config.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Route>);

/// A route, and where the fields that it names are in each message.
#[derive(Clone, Debug)]
pub struct Route {
    pub config: config::Route,
    pub lens: Lens,
}

/// The fields of payloads, or of their elements, that templates and conditions name.
#[derive(Clone, Debug, Default)]
pub struct Lens {
    /// What `{data.PATH}` names.
    names: Vec<Vec<String>>,
    /// Messages that are not here have none of the fields.
    fields: HashMap<MessageId, Fields>,
}

/// The paths in one message, where it has them.
#[derive(Clone, Debug)]
struct Fields {
    /// In the order of [`Lens::names`].
    named: Vec<Option<Path>>,
    /// In the order of the conditions.
    tested: Vec<Option<Path>>,
}

impl Routes {
    /// The routes that take what this subscription receives.
    pub fn matching(&self, subscription: &SubscriptionId) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(|route| {
            let takes_topic = match subscription.stream() {
                Stream::Internal(topic) => route.config.internal.contains(topic),
                stream => takes(&route.config.topics, stream.topic()),
            };
            takes_topic && takes(&route.config.accounts, subscription.account())
        })
    }

    /// Whether one of them takes events of our own.
    #[must_use]
    pub fn want(&self, topic: Internal) -> bool {
        self.0
            .iter()
            .any(|route| route.config.internal.contains(&topic))
    }
}

impl Lens {
    /// Whether all conditions hold for the message `bytes`. `None`: it is text, which has no fields.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn admits(
        &self,
        pick: &Pick,
        tables: &Tables,
        message: Option<MessageId>,
        bytes: &[u8],
    ) -> Result<bool, DecodeError> {
        let fields = message.and_then(|id| self.fields.get(&id));
        for (index, condition) in pick.conditions.iter().enumerate() {
            let path = fields.and_then(|fields| fields.tested[index].as_ref());
            if !filter::holds(&condition.test, path, tables, bytes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends what stands at a template's path: of several values the first, of none nothing.
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
            .and_then(|(fields, index)| fields.named[index].as_ref());
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
