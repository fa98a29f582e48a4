//! Which records a frame becomes: matching and templates. Pure.

mod render;

pub use render::{Alphabet, Values, render};

use crate::config::{Config, Route, Selector};
use crate::frame::SubscriptionId;

/// The routes that lead to one sink, in the order of the config.
#[derive(Clone, Debug)]
pub struct Routes(Vec<Route>);

impl Routes {
    #[must_use]
    pub fn to_sink(config: &Config, sink: &str) -> Self {
        let routes = config.routes.iter().filter(|route| route.sink == sink);
        Self(routes.cloned().collect())
    }

    /// The routes that take what this subscription receives.
    pub fn matching(&self, subscription: &SubscriptionId) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(|route| {
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
