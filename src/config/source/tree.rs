//! The merged config as a tree in which each value knows its key path and its position, and from
//! which serde reads, so that what does not fit is said with its position.

use std::collections::{BTreeMap, HashMap};

use ::config::{Value, ValueKind};
use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value as Toml;

use crate::config::diagnostics::Position;
use crate::config::diagnostics::deserialize_error::DeserializeError;
use crate::config::source::key_path::{element, join};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) path: String,
    pub(crate) position: Position,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(String),
    /// An environment variable: becomes what its reader wants.
    Variable(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// Joins values and positions; `origin` is the position of what nobody wrote.
    pub(crate) fn root(
        value: Value,
        positions: &HashMap<String, Position>,
        origin: &Position,
    ) -> Self {
        Self::new(String::new(), value, positions, origin)
    }

    fn new(
        path: String,
        value: Value,
        positions: &HashMap<String, Position>,
        parent: &Position,
    ) -> Self {
        let position = positions.get(&path).unwrap_or(parent).clone();
        let kind = match value.kind {
            ValueKind::Table(table) => {
                let entry = |(key, value): (String, Value)| {
                    let node = Self::new(join(&path, &key), value, positions, &position);
                    (key, node)
                };
                Kind::Table(table.into_iter().map(entry).collect())
            }
            ValueKind::Array(items) => {
                let item =
                    |(index, value)| Self::new(element(&path, index), value, positions, &position);
                Kind::List(items.into_iter().enumerate().map(item).collect())
            }
            ValueKind::String(text) if matches!(position, Position::Variable(_)) => {
                Kind::Variable(text)
            }
            ValueKind::Boolean(value) => Kind::Bool(value),
            ValueKind::I64(value) => Kind::Integer(value),
            ValueKind::Float(value) => Kind::Float(value),
            other => Kind::Text(other.to_string()),
        };
        Self {
            path,
            position,
            kind,
        }
    }

    /// The node at a key path.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        if self.path == path {
            return Some(self);
        }
        self.children()
            .filter(|child| path.starts_with(&child.path))
            .find_map(|child| child.find(path))
    }

    /// The entries of a table or a list.
    pub(crate) fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.kind {
            Kind::Table(table) => Box::new(table.values()),
            Kind::List(items) => Box::new(items.iter()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The keys of a table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let table = match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        };
        table
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
    }

    /// Takes the node at a key path away; `false` if there is none, or it is this one.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let keep = |node: &mut Node| node.path != path;
        match &mut self.kind {
            Kind::Table(table) => {
                let before = table.len();
                table.retain(|_, node| keep(node));
                table.len() < before || table.values_mut().any(|node| node.remove(path))
            }
            Kind::List(items) => {
                let before = items.len();
                items.retain_mut(keep);
                items.len() < before || items.iter_mut().any(|node| node.remove(path))
            }
            _ => false,
        }
    }

    /// The same table with those keys alone that are wanted.
    pub(crate) fn with_keys(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut table = self.clone();
        if let Kind::Table(entries) = &mut table.kind {
            entries.retain(|key, _| wanted(key));
        }
        table
    }

    /// Turns the variable at a key path that holds a table into that table, so that its keys can be
    /// read one by one.
    pub(crate) fn expand(&mut self, path: &str) {
        if self.path == path {
            if let Kind::Variable(text) = &self.kind
                && let Some(table) = self.parse_variable(text)
                && matches!(table.kind, Kind::Table(_))
            {
                *self = table;
            }
            return;
        }
        if let Kind::Table(entries) = &mut self.kind {
            let mut entries = entries.values_mut();
            if let Some(child) = entries.find(|child| is_on_the_way(&child.path, path)) {
                child.expand(path);
            }
        }
    }

    /// Reads all that fits; what does not is taken out of the tree and given back.
    pub(crate) fn read<T: DeserializeOwned + Default>(&mut self) -> (T, Vec<DeserializeError>) {
        let mut errors = Vec::new();
        loop {
            match T::deserialize(&*self) {
                Ok(value) => return (value, errors),
                Err(error) => {
                    let removed = self.remove(error.culprit());
                    errors.push(error);
                    if !removed {
                        return (T::default(), errors);
                    }
                }
            }
        }
    }

    /// A variable's text as the TOML value that its reader wants.
    fn parse_variable(&self, text: &str) -> Option<Self> {
        let value = text.parse().ok()?;
        Some(self.toml(self.path.clone(), value))
    }

    fn toml(&self, path: String, value: Toml) -> Self {
        let kind = match value {
            Toml::String(text) => Kind::Text(text),
            Toml::Integer(value) => Kind::Integer(value),
            Toml::Float(value) => Kind::Float(value),
            Toml::Boolean(value) => Kind::Bool(value),
            Toml::Datetime(value) => Kind::Text(value.to_string()),
            Toml::Array(items) => {
                let items = items.into_iter().enumerate();
                let item = |(index, value)| self.toml(element(&path, index), value);
                Kind::List(items.map(item).collect())
            }
            Toml::Table(table) => {
                let entry = |(key, value): (String, Toml)| {
                    let node = self.toml(join(&path, &key), value);
                    (key, node)
                };
                Kind::Table(table.into_iter().map(entry).collect())
            }
        };
        let position = self.position.clone();
        Self {
            path,
            position,
            kind,
        }
    }

    /// Notes that an error was found at this node.
    fn at(&self, error: DeserializeError) -> DeserializeError {
        error.at(&self.path, &self.position, |key| match &self.kind {
            Kind::Table(table) => table.get(key).map(|node| node.position.clone()),
            _ => None,
        })
    }

    /// For readers that want something other than text.
    fn deserialize_typed<'de, V: Visitor<'de>>(
        &self,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        if let Kind::Variable(text) = &self.kind
            && let Some(node) = self.parse_variable(text)
        {
            let value = node.deserialize_any(visitor);
            return value.map_err(|error| self.at(error).because_of(&self.path));
        }
        self.deserialize_any(visitor)
    }

    /// A variable that is not a TOML list is one whose entries have commas between them.
    fn parse_list(&self, text: &str) -> Self {
        if let Some(list) = self.parse_variable(text) {
            return list;
        }
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let item = |(index, text): (usize, &str)| Self {
            path: element(&self.path, index),
            position: self.position.clone(),
            kind: Kind::Text(text.to_owned()),
        };
        Self {
            path: self.path.clone(),
            position: self.position.clone(),
            kind: Kind::List(items.enumerate().map(item).collect()),
        }
    }
}

/// Whether the value at a key path is the one at another, or holds it.
fn is_on_the_way(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl<'de> Deserializer<'de> for &Node {
    type Error = DeserializeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        let result = match &self.kind {
            Kind::Text(text) | Kind::Variable(text) => visitor.visit_str(text),
            Kind::Integer(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Kind::Table(table) => {
                let entries = table.iter().map(|(key, node)| (key.as_str(), node));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        };
        result.map_err(|error: DeserializeError| self.at(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        self.deserialize_typed(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        self.deserialize_typed(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        self.deserialize_typed(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        if let Kind::Variable(text) = &self.kind {
            let list = self.parse_list(text).deserialize_any(visitor);
            return list.map_err(|error| self.at(error).because_of(&self.path));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        let result = match &self.kind {
            Kind::Text(text) | Kind::Variable(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            other => Err(de::Error::invalid_type(other.unexpected(), &"a string")),
        };
        result.map_err(|error: DeserializeError| self.at(error))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, DeserializeError> for &Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Kind {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Text(text) | Self::Variable(text) => Unexpected::Str(text),
            Self::Integer(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::List(_) => Unexpected::Seq,
            Self::Table(_) => Unexpected::Map,
        }
    }
}
