//! JSON Schema of the config, for editors: they complete keys and underline what is wrong while it
//! is typed. `check` knows more, since much depends on more than one key.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::config::Literal;
use crate::config::raw::{
    Endpoint, Listen, Names, Parts, Raw, SecretSource, Setting, Size, Span, Topic, Topics,
};
use crate::config::sinks::KINDS;
use crate::config::template::Template;

/// The schema of a whole config, without overrides from the environment.
#[must_use]
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let kinds: Vec<Value> = KINDS
        .iter()
        .map(|kind| of_kind(kind.name, (kind.json_schema)(&mut generator).to_value()))
        .collect();
    let mut schema = generator.into_root_schema_for::<Raw>().to_value();
    let sink = &mut schema["$defs"]["Sink"];
    let common = sink["properties"].take();
    *sink = json!({ "description": sink["description"].take(), "anyOf": kinds });
    for kind in sink["anyOf"].as_array_mut().into_iter().flatten() {
        add_common_keys(kind, &common);
    }
    tidy(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), "central-forwarder".into());
    }
    schema
}

/// The schema of the own keys of one kind of sink, and of its `type`.
fn of_kind(name: &str, mut schema: Value) -> Value {
    if schema["properties"].is_null() {
        schema["properties"] = json!({});
    }
    schema["properties"]["type"] = json!({ "const": name });
    schema["title"] = name.into();
    schema
}

/// Adds the keys of every kind of sink.
fn add_common_keys(kind: &mut Value, common: &Value) {
    for (key, schema) in common.as_object().into_iter().flatten() {
        let own = &mut kind["properties"][key];
        if own.is_null() {
            *own = schema.clone();
        } else {
            own["description"] = schema["description"].clone();
        }
    }
}

/// TOML has no null: what may be left out is left out. That nothing is there by default goes without
/// saying. Descriptions are one line each: editors wrap them by themselves.
fn tidy(schema: &mut Value) {
    let is_null = |value: &Value| value == "null" || value["type"] == "null";
    let is_nothing = |value: &Value| value.is_null() || *value == json!({}) || *value == json!([]);
    match schema {
        Value::Object(keywords) => {
            if keywords.get("default").is_some_and(is_nothing) {
                keywords.remove("default");
            }
            if let Some(Value::String(text)) = keywords.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            for keyword in ["type", "anyOf"] {
                let Some(Value::Array(choices)) = keywords.get_mut(keyword) else {
                    continue;
                };
                choices.retain(|choice| !is_null(choice));
                if choices.len() != 1 {
                    continue;
                }
                match (keywords.remove(keyword), keyword) {
                    (Some(Value::Array(mut choices)), "type") => {
                        keywords.insert(keyword.to_owned(), choices.remove(0));
                    }
                    (Some(Value::Array(mut choices)), _) => {
                        if let Value::Object(only) = choices.remove(0) {
                            keywords.extend(only);
                        }
                    }
                    _ => {}
                }
            }
            keywords.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// What the hand-written readers of `config::raw` take.
macro_rules! taken_by {
    ($($type:ident: $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    )*};
}

taken_by! {
    Span: |_| json_schema!({
        "type": "string",
        "title": "duration",
        "description": "a duration, such as \"30s\"",
    });
    Size: |_| json_schema!({
        "type": ["string", "integer"],
        "minimum": 0,
        "title": "size",
        "description": "a size, such as \"64 MiB\"",
    });
    Endpoint: |_| json_schema!({
        "type": "string",
        "pattern": "^wss?://",
        "title": "URL",
        "description": "a URL, such as \"wss://HOST/streaming/api\"",
    });
    Listen: |_| json_schema!({
        "type": "string",
        "title": "address",
        "description": "an address, such as \"127.0.0.1:9600\"",
    });
    Template: |_| json_schema!({
        "type": "string",
        "title": "template",
        "description": "a template, such as \"central.{topic}\"",
    });
    Names: |_| json_schema!({
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        "title": "list of strings",
        "description": "a list of strings; one alone may stand without brackets",
    });
    Topic: |generator| json_schema!({
        "anyOf": [{ "type": "string" }, generator.subschema_for::<Parts>()],
    });
    Topics: |generator| json_schema!({
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": generator.subschema_for::<Topic>() },
        ],
        "title": "list of topics",
        "description": "a list of topics; one alone may stand without brackets",
    });
    SecretSource: |_| json_schema!({
        "anyOf": [{ "type": "string" }, source("file"), source("env")],
        "title": "secret",
        "description": "a string, { file = \"PATH\" } or { env = \"NAME\" }",
    });
    Setting: |_| json_schema!({
        "anyOf": [{ "type": ["string", "number", "boolean"] }, source("file"), source("env")],
        "description": "a string, number or boolean, { file = \"PATH\" } or { env = \"NAME\" }",
    });
    Literal: |_| json_schema!({ "type": ["string", "number", "boolean"], "title": "literal" });
}

fn source(key: &str) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { key: { "type": "string" } },
        "required": [key],
        "additionalProperties": false,
    })
}
