//! The plan: how frames become records. The schema and the routes, compiled; a reload replaces it as a
//! whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Config, ConfigErrors};
use crate::frame::Internal;
use crate::route::Routes;
use crate::schema::Descriptors;
use crate::transcode::Tables;

/// The plan in effect. Each batch of frames is prepared by one plan.
pub type Plans = watch::Receiver<Arc<Plan>>;

/// How frames are decoded, and which records each sink wants of them.
#[derive(Debug)]
pub struct Plan {
    pub(super) schema: Descriptors,
    pub(super) tables: Tables,
    routes: BTreeMap<String, Routes>,
    /// Counts reloads: in another generation, a frame may become other records.
    pub(super) generation: u64,
}

impl Plan {
    /// Reads the operator's schemas and compiles the routes against them.
    ///
    /// # Errors
    /// Every mistake that shows only where config and schema meet.
    pub fn new(config: &Config) -> Result<Self, ConfigErrors> {
        let schema = Descriptors::load(&config.schemas)?;
        let tables = Tables::compile(schema.pool());
        let routes = Routes::compile(config, &schema, &tables)?;
        Ok(Self {
            schema,
            tables,
            routes,
            generation: 0,
        })
    }

    /// Puts this plan into effect.
    pub fn replace(mut self, plans: &watch::Sender<Arc<Self>>) {
        self.generation = plans.borrow().generation + 1;
        plans.send_replace(Arc::new(self));
    }

    /// Whether any route takes the forwarder's own events of this topic.
    pub(super) fn wants(&self, topic: Internal) -> bool {
        self.routes.values().any(|routes| routes.want(topic))
    }

    /// The routes to a sink; `None`: there are none.
    pub(super) fn routes(&self, sink: &str) -> Option<&Routes> {
        self.routes.get(sink)
    }
}
