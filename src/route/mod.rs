//! Which records a frame becomes: matching and templates. Pure.

mod render;

pub use render::{Alphabet, Values, render};

use crate::config::{Config, Route, Selector};
use crate::frame::SubscriptionId;

/// The routes that lead to one sink, in the order of the config.
#[derive(Clone, Debug)]
pub struct Routes {
    sink: String,
    routes: Vec<Route>,
}

impl Routes {
    #[must_use]
    pub fn to_sink(config: &Config, sink: &str) -> Self {
        let routes = config.routes.iter().filter(|route| route.sink == sink);
        Self {
            sink: sink.to_owned(),
            routes: routes.cloned().collect(),
        }
    }

    /// The sink's name in the config.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// The routes that take what this subscription receives.
    pub fn matching(&self, subscription: &SubscriptionId) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| {
            takes(&route.topics, subscription.topic())
                && takes(&route.accounts, subscription.account())
        })
    }
}

fn takes(selector: &Selector, name: &str) -> bool {
    match selector {
        Selector::Any => true,
        Selector::Named(names) => names.contains(name),
    }
}
