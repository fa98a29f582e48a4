//! `[sinks.NAME]`: one file (or folder) for each kind of sink, with all that is particular to its
//! config: its keys and their descriptions, its valid form, its checks and warnings, what a
//! destination may be made of, and whether the broker confirms what it has received.
//!
//! A further kind has its own file beside these, which implements [`RawKind`] and [`Kind`], and four
//! lines here: `mod`, an entry of [`KINDS`], a variant of [`Sink`], and an arm of [`Sink::kind`]. The
//! keys that every kind has are in `config::raw::Sink`.

pub(crate) mod amqp;
pub(crate) mod destination;
pub(crate) mod file;
pub(crate) mod kafka;
pub(crate) mod mqtt;
pub(crate) mod stdout;

use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use self::amqp::{Amqp, RawAmqp};
use self::destination::{DestinationCharset, RouteRules};
use self::file::{File, RawFile};
use self::kafka::{Kafka, RawKafka};
use self::mqtt::{Mqtt, RawMqtt};
use self::stdout::{RawStdout, Stdout};
use crate::config::diagnostics::report::Report;
use crate::config::source::field_names::field_names;
use crate::config::validate::validator::Validator;

/// All kinds, in the order in which messages name them.
pub(crate) const KINDS: &[KindEntry] = &[
    KindEntry::of::<RawKafka>(),
    KindEntry::of::<RawAmqp>(),
    KindEntry::of::<RawMqtt>(),
    KindEntry::of::<RawStdout>(),
    KindEntry::of::<RawFile>(),
];

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Kafka(Box<Kafka>),
    Amqp(Box<Amqp>),
    Mqtt(Box<Mqtt>),
    Stdout(Stdout),
    File(File),
}

impl Sink {
    fn kind(&self) -> &dyn Kind {
        match self {
            Self::Kafka(kafka) => &**kafka,
            Self::Amqp(amqp) => &**amqp,
            Self::Mqtt(mqtt) => &**mqtt,
            Self::Stdout(stdout) => stdout,
            Self::File(file) => file,
        }
    }

    /// What a value may bring into a destination of this sink.
    #[must_use]
    pub fn charset(&self) -> DestinationCharset {
        self.kind().charset()
    }

    /// Whether a record that this sink has sent is known to have arrived.
    #[must_use]
    pub fn guarantee(&self) -> Guarantee {
        self.kind().guarantee()
    }

    /// The file that no other sink may write to.
    pub(crate) fn output_file(&self) -> Option<&Path> {
        self.kind().output_file()
    }

    /// Warns about what works and is probably not what was meant; `path` is the sink's key path.
    pub(crate) fn warn(&self, path: &str, report: &mut Report) {
        self.kind().warn(path, report);
    }
}

/// What a sink's confirmation is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// A record counts as delivered once the receiver has confirmed it.
    AtLeastOnce,
    /// Nothing is confirmed.
    AtMostOnce {
        /// The reason, as part of a sentence.
        why: &'static str,
    },
}

/// The valid config of one kind of sink.
trait Kind {
    fn charset(&self) -> DestinationCharset;

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn output_file(&self) -> Option<&Path> {
        None
    }

    fn warn(&self, _path: &str, _report: &mut Report) {}
}

/// The keys of one kind of sink as they are written, besides those that every kind has.
pub(crate) trait RawKind: DeserializeOwned + Default + JsonSchema {
    /// The value of `type`.
    const TYPE: &'static str;

    /// What routes to this sink must be, also where the sink itself has mistakes.
    fn route_rules(&self) -> RouteRules;

    /// Checks the keys of the sink `name` at the key path `path`. `None` only if something is wrong,
    /// and then it is reported.
    fn validate(self, path: &str, name: &str, validator: &mut Validator<'_>) -> Option<Sink>;
}

/// One kind of sink, for whoever knows only the value of `type`.
#[derive(Debug)]
pub(crate) struct KindEntry {
    pub(crate) name: &'static str,
    /// The keys that it has besides those of every kind.
    pub(crate) keys: fn() -> &'static [&'static str],
    /// Reads and checks the sink of this name at this key path.
    pub(crate) check: fn(&mut Validator<'_>, &str, &str) -> (RouteRules, Option<Sink>),
    pub(crate) json_schema: fn(&mut SchemaGenerator) -> Schema,
}

impl KindEntry {
    const fn of<T: RawKind>() -> Self {
        Self {
            name: T::TYPE,
            keys: field_names::<T>,
            check: check::<T>,
            json_schema: T::json_schema,
        }
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    pub(crate) fn has_key(&self, key: &str) -> bool {
        (self.keys)().contains(&key)
    }
}

fn check<T: RawKind>(
    validator: &mut Validator<'_>,
    path: &str,
    name: &str,
) -> (RouteRules, Option<Sink>) {
    let has_key = |key: &str| field_names::<T>().contains(&key);
    let raw: T = validator.report.read_keys(path, has_key);
    (raw.route_rules(), raw.validate(path, name, validator))
}
